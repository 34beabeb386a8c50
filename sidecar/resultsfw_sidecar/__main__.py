"""Starts the sidecar: signals first, everything else after."""

import os
import sys

from resultsfw_sidecar.stop import Stop


def main() -> int:
    """Runs the sidecar on this process's arguments and environment; returns the exit status."""
    stop = Stop()
    from resultsfw_sidecar.program import run  # noqa: PLC0415 - 5 ms in which SIGTERM would kill us

    return run([os.fsencode(argument) for argument in sys.argv[1:]], dict(os.environb), stop)


if __name__ == "__main__":
    # At once: in the interpreter's own ending a second SIGTERM would kill us and change the status.
    os._exit(main())
