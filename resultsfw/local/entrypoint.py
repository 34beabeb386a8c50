"""Starts the program that plays Tekton's entrypoint: ``python -I -S entrypoint.py FLAGS -- ARGS``.

It runs by itself, with the standard library alone: importing `resultsfw` would bring pydantic and the
rest along, a second for every Step.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib costs 10 ms
    program = __import__("step.program", fromlist=["main"])
    # At once: what an interpreter does on its way out is of no use here, and the next Step waits.
    os._exit(program.main(sys.argv[1:]))
