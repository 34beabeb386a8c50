"""Run the release twice: with Tekton's default, for which a result is too large, then by sidecar log.

`make demo` runs this. Exit status 0 if the first run fails naming the list and the second succeeds.
"""

import os
import shlex
import subprocess
import sys
import termios
from pathlib import Path

HERE = Path(__file__).resolve().parent
TASK = HERE / "task.yaml"
FLAGS = HERE / "flags-sidecar-logs.yaml"
LIST = "4572"  # bytes of the result `images`
ADVICE = '"results-from":"sidecar-logs"'  # in a command, which no terminal wraps


def main() -> int:
    """Run it twice, check both outcomes, and return the exit status."""
    say("By default results travel in termination messages: 4096 bytes a Step, or less.")
    first, message = resultsfw("run", TASK)
    say("\nNow through the log of a sidecar, and up to 8192 bytes a result:")
    second, table = resultsfw("run", TASK, "--feature-flags", FLAGS)
    refused = first == 1 and LIST in message and ADVICE in message
    arrived = second == 0 and LIST in table
    if refused and arrived:
        say(f"\nThe list of {int(LIST):,} bytes was refused by name, then it arrived unchanged.")
        return 0
    say(f"\nThis is not the expected outcome: exit status {first}, then {second}; expected 1, then 0.")
    return 1


def resultsfw(*words: str | Path) -> tuple[int, str]:
    """Run a resultsfw command where the demo runs, on a terminal or not; return exit status and output."""
    shown = [os.path.relpath(word) if isinstance(word, Path) else word for word in words]
    say(f"$ resultsfw {shlex.join(shown)}")
    command = [sys.executable, "-m", "resultsfw.cli", *shown]
    ours, its = terminal() if sys.stdout.isatty() else os.pipe()
    with subprocess.Popen(command, stdout=its) as process:
        os.close(its)
        output = b""
        while data := read(ours):
            os.write(sys.stdout.fileno(), data)
            output += data
        os.close(ours)
    return process.returncode, output.decode("utf-8", "replace")


def terminal() -> tuple[int, int]:
    """Open a terminal of the size of ours: a command prints there what it prints on ours."""
    ours, its = os.openpty()
    termios.tcsetwinsize(its, termios.tcgetwinsize(sys.stdout.fileno()))
    return ours, its


def read(ours: int) -> bytes:
    """Return what a command prints next; nothing at its end, on Linux an error of a terminal."""
    try:
        return os.read(ours, 65536)
    except OSError:
        return b""


def say(line: str) -> None:
    """Print a line at once, before a subprocess prints."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
