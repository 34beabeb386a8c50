"""Starts this engine's version of Tekton's entrypoint: ``python -I -S entrypoint.py FLAGS -- ARGS``.

It uses only the standard library: importing `resultsfw` would import pydantic, a second for every Step.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib costs 10 ms
    program = __import__("step.entrypointer", fromlist=["main"])
    # Without the interpreter's cleanup, which is of no use here while the next Step waits.
    os._exit(program.main(sys.argv[1:]))
