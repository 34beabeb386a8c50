"""Make the pictures of the documentation from what the commands do today: `make pictures`."""

# ruff: noqa: INP001

import sys
from pathlib import Path

from terminal_picture import draw, record

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def main() -> None:
    """Run everything, and write the pictures."""
    demo = record([sys.executable, ROOT / "examples" / "01-images" / "demo.py"], folder=ROOT)
    if demo.status != 0:
        sys.exit(demo.screen.text)
    title = "make demo: a list of 4572 bytes is refused by termination message, and arrives by sidecar log"
    (HERE / "demo.svg").write_text(draw(demo.screen, title=title), encoding="utf-8")


if __name__ == "__main__":
    main()
