"""Run the release twice: with Tekton's default, for which a result is too large, then by sidecar log.

`make demo` runs this. Exit status 0 if the first run fails naming the list and the second succeeds.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TASK = HERE / "task.yaml"
FLAGS = HERE / "flags-sidecar-logs.yaml"
LIST = "4572"  # bytes of the result `images`


def main() -> int:
    """Run it twice, check both outcomes, and return the exit status."""
    say("By default results travel in termination messages: 4096 bytes a Step, or less.")
    first, message = resultsfw("run", TASK)
    say("\nNow through the log of a sidecar, and up to 8192 bytes a result:")
    second, table = resultsfw("run", TASK, "--feature-flags", FLAGS)
    refused = first == 1 and LIST in message and "results-from: sidecar-logs" in message
    arrived = second == 0 and LIST in table
    if refused and arrived:
        say(f"\nThe list of {int(LIST):,} bytes was refused by name, then it arrived unchanged.")
        return 0
    say(f"\nThis is not the expected outcome: exit status {first}, then {second}; expected 1, then 0.")
    return 1


def resultsfw(*words: str | Path) -> tuple[int, str]:
    """Run a resultsfw command with its progress on the terminal; return exit status and output."""
    shown = [os.path.relpath(word) if isinstance(word, Path) else word for word in words]
    say(f"$ resultsfw {shlex.join(shown)}")
    colour = {"FORCE_COLOR": "1"} if sys.stdout.isatty() and "NO_COLOR" not in os.environ else {}
    done = subprocess.run(
        [sys.executable, "-m", "resultsfw.cli", *shown],
        env={**os.environ, **colour},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    print(done.stdout, end="", flush=True)
    return done.returncode, done.stdout


def say(line: str) -> None:
    """Print a line at once, before a subprocess prints."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
