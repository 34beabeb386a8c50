"""Collect what is logged and printed while a backend's hook runs."""

import contextlib
import io
import logging
from collections.abc import Iterator

__all__ = ["captured_output"]


class _LogCollector(logging.Handler):
    """Collects log records with their tracebacks."""

    def __init__(self, output: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = output
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Append the record as it would be printed."""
        self._lines.append(self.format(record))


@contextlib.contextmanager
def captured_output() -> Iterator[list[str]]:
    """Collect everything that is logged meanwhile, at every level, and at the end what was printed."""
    output: list[str] = []
    printed = io.StringIO()
    root, listener = logging.getLogger(), _LogCollector(output)
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield output
    finally:
        root.setLevel(level)
        root.removeHandler(listener)
        output += printed.getvalue().splitlines()
