"""Make the pictures of the documentation from what the commands do today: `make pictures`."""

# ruff: noqa: INP001

import subprocess
import sys
import tempfile
from pathlib import Path

from terminal_picture import draw, record

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IMAGES = ROOT / "examples" / "01-images"


def main() -> None:
    """Run everything, and write the pictures."""
    demo = record([sys.executable, IMAGES / "demo.py"], folder=ROOT)
    if demo.status != 0:
        sys.exit(demo.screen.text)
    title = "make demo: a list of 4572 bytes is refused by termination message, and arrives by sidecar log"
    (HERE / "demo.svg").write_text(draw(demo.screen, title=title), encoding="utf-8")
    large = ("--results-from", "sidecar-logs", "--max-result-size", "16384")
    resultsfw("run", HERE / "release.yaml", *large, "--graph", HERE / "graph.svg")
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs.yaml"
        kept = ("--keep", "--workdir", Path(folder) / "pods")
        runs.write_bytes(resultsfw("run", IMAGES / "task.yaml", *kept, "-o", "yaml", fails=True))
        page = resultsfw("explain", "-f", runs, "-o", "html", fails=True)
    (HERE / "explain.html").write_bytes(page)


def resultsfw(*words: str | Path, fails: bool = False) -> bytes:
    """Run a resultsfw command whose run succeeds or fails as expected, and return its output."""
    done = subprocess.run([sys.executable, "-m", "resultsfw", *words], stdout=subprocess.PIPE, check=False)
    if done.returncode != int(fails):
        sys.exit(f"resultsfw {words[0]}: exit status {done.returncode}, not {int(fails)}")
    return done.stdout


if __name__ == "__main__":
    main()
