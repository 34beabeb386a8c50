"""Collect what is logged while a backend's hook runs."""

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["captured_logs"]


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
def captured_logs() -> Iterator[list[str]]:
    """Collect everything that is logged meanwhile, at every level."""
    output: list[str] = []
    root, listener = logging.getLogger(), _LogCollector(output)
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        yield output
    finally:
        root.setLevel(level)
        root.removeHandler(listener)
