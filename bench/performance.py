"""Writes docs/explanation/performance.md and its plots from records: `bench/performance.py [FILE.json...]`.

Without files it takes all of docs/explanation/performance. It measures nothing, so one measurement can be
repeated without the others. It needs the dependency group `plots`.
"""

# ruff: noqa: INP001

import argparse
from pathlib import Path

from measuring import large, page, plots, records, side_by_side, signed
from measuring.runs import TASKS
from measuring.summary import rows_of

DOCS = Path(__file__).resolve().parents[1] / "docs" / "explanation"


def main() -> None:
    """Read the records, draw the plots and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="records that --json wrote")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder for the page")
    options = parser.parse_args()
    files = options.files or sorted((options.docs / "performance").glob("*.json"))
    if not files:
        parser.error(f"there is no measurement in {options.docs / 'performance'}")
    found = [records.read(file) for file in files]
    own_tables = (large.PLACE, side_by_side.PLACE, signed.PLACE)
    rows = rows_of([record for record in found if record.place not in own_tables], TASKS)
    drawn = plots.draw(rows, options.docs / "performance")
    (options.docs / "performance.md").write_text(page.page(found, rows, drawn, files))


if __name__ == "__main__":
    main()
