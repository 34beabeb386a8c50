"""Evaluate the CEL expression on standard input: the local engine's Steps run without installed packages.

It prints ``true`` or ``false``, or exits with status 1 and a message on standard error.
"""

import sys

from resultsfw.cel import CelError, evaluate

__all__ = ["main"]


def main() -> None:
    """Evaluate the expression on standard input."""
    try:
        value = evaluate(sys.stdin.buffer.read().decode("utf-8", "surrogatepass"))
    except CelError as error:
        sys.exit(error.message)
    sys.stdout.write("true" if value else "false")


if __name__ == "__main__":
    main()
