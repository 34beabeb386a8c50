"""Two benchmarks on one machine would remove each other's runs and change each other's flags."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(namespace: str) -> Iterator[None]:
    """Nobody else on this machine measures with a namespace meanwhile; a process that dies holds nothing.

    Raises:
        SystemExit: Somebody does.
    """
    with Path(tempfile.gettempdir(), f"resultsfw-bench-{namespace}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SystemExit(f"another benchmark is at work in namespace {namespace}") from error
        yield
