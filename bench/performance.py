"""Writes docs/performance.md and its plots of measurements: `bench/performance.py [FILE.json...]`.

Without files: all in docs/performance. Nothing is measured here, so one measurement can be done again without
the others. Needs the dependency group `plots`.
"""

# ruff: noqa: INP001

import argparse
from pathlib import Path

from measuring import page, plots, records
from measuring.runs import TASKS
from measuring.summary import rows_of

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="as --json wrote them")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder for the page")
    options = parser.parse_args()
    files = options.files or sorted((options.docs / "performance").glob("*.json"))
    if not files:
        parser.error(f"there is no measurement in {options.docs / 'performance'}")
    found = [records.read(file) for file in files]
    rows = rows_of(found, TASKS)
    drawn = plots.draw(rows, options.docs / "performance")
    (options.docs / "performance.md").write_text(page.page(found, rows, drawn, files))


if __name__ == "__main__":
    main()
