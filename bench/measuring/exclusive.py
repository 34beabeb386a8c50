"""A lock: two benchmarks on one machine would remove each other's runs and change each other's flags."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(namespace: str) -> Iterator[None]:
    """Let no other benchmark of this machine use a namespace meanwhile. The lock ends with the process.

    Raises:
        SystemExit: Another benchmark uses it.
    """
    with Path(tempfile.gettempdir(), f"resultsfw-bench-{namespace}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SystemExit(f"another benchmark runs in namespace {namespace}") from error
        yield
