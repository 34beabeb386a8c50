"""Log as JSON, one object a line, with the run, pod and backend that the line is about."""

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Final

from resultsfw.hookspecs import HookDeprecationWarning

__all__ = ["AboutFilter", "JsonFormatter", "OnceFilter", "about", "set_up"]

FIELDS: Final = ("run", "pod", "backend")

LONGEST: Final = 8192
"""Characters of a message, or of a traceback."""

_MOST_ONCE: Final = 1000
"""Messages that are remembered as logged."""

_about: ContextVar[dict[str, str] | None] = ContextVar("about", default=None)


@contextmanager
def about(**fields: str) -> Iterator[dict[str, str]]:
    """Enter a context in which each line that this thread logs has these fields; more may be added."""
    known = {**(_about.get() or {}), **fields}
    token = _about.set(known)
    try:
        yield known
    finally:
        _about.reset(token)


class AboutFilter(logging.Filter):
    """Adds the fields of `about` to every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True: no record is dropped."""
        record.about = _about.get() or {}
        return True


class OnceFilter(logging.Filter):
    """Drops repeated messages: a plugin is loaded again, and warns again, whenever flags change."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the message was not logged before."""
        message = record.getMessage()
        new = message not in self._logged
        if len(self._logged) < _MOST_ONCE:
            self._logged.add(message)
        return new


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: time, level, logger, message, then the fields of `about`."""
        line: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _truncate(record.getMessage()),
        }
        line |= {key: value for key, value in getattr(record, "about", {}).items() if value}
        if record.exc_info:
            line["error"] = _truncate(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=True)


def _truncate(text: str) -> str:
    """Return a text of limited length, its start and its end: it may repeat what tenants wrote."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]} ... ({len(text)} characters) ... {text[-half:]}"


def set_up(level: str = "info", stream: IO[str] | None = None) -> None:
    """Log everything in this process as JSON to standard error, or to ``stream``.

    Python warnings are logged, too. A deprecated plugin is logged once.
    """
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").addFilter(OnceFilter())
    # Not "once": Python forgets which warnings it issued whenever its filters change.
    warnings.filterwarnings("always", category=HookDeprecationWarning)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(AboutFilter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    ours = logging.getLogger("resultsfw")
    ours.handlers = []
    ours.propagate = True
    ours.setLevel(level.upper())
