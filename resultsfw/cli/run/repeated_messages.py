"""Print each log message of one call once: what is tried again fails with the same words each time."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["each_once"]

_LOGGER: Final = "resultsfw"
_MOST: Final = 1_000
"""Messages that are remembered."""


@contextmanager
def each_once() -> Iterator[None]:
    """Print only the first of equal messages of this package's loggers, until the context is left."""
    handlers, once = list(logging.getLogger(_LOGGER).handlers), _Once()
    for handler in handlers:
        handler.addFilter(once)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(once)


class _Once(logging.Filter):
    """Lets a message through once."""

    def __init__(self) -> None:
        super().__init__()
        self._messages: set[tuple[int, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a message is new."""
        key = (record.levelno, record.getMessage())
        if key in self._messages:
            return False
        if len(self._messages) < _MOST:
            self._messages.add(key)
        return True
