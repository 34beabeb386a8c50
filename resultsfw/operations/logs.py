"""Logs as JSON, one object a line, each with the run, pod and backend that were worked on."""

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
"""Messages that are remembered as said."""

_about: ContextVar[dict[str, str] | None] = ContextVar("about", default=None)


@contextmanager
def about(**fields: str) -> Iterator[dict[str, str]]:
    """Within it, every line this thread logs carries these fields; what is given can still be added to."""
    known = {**(_about.get() or {}), **fields}
    token = _about.set(known)
    try:
        yield known
    finally:
        _about.reset(token)


class AboutFilter(logging.Filter):
    """Puts the fields of `about` on every record that passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never refuses a record."""
        record.about = _about.get() or {}
        return True


class OnceFilter(logging.Filter):
    """Lets a message pass the first time: a plugin is loaded again whenever flags change."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it was not said before."""
        message = record.getMessage()
        new = message not in self._said
        if len(self._said) < _MOST_ONCE:
            self._said.add(message)
        return new


class JsonFormatter(logging.Formatter):
    """A record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger and message first, then what the record is about."""
        line: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        line |= {key: value for key, value in getattr(record, "about", {}).items() if value}
        if record.exc_info:
            line["error"] = _cut(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=True)


def _cut(text: str) -> str:
    """A text of bounded length, its beginning and its end: it may repeat what tenants wrote."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]} ... ({len(text)} characters) ... {text[-half:]}"


def set_up(level: str = "info", stream: IO[str] | None = None) -> None:
    """Have everything this process logs come out as JSON on standard error, or on ``stream``.

    So do warnings; that a plugin is of yesterday is said once, and ends nothing.
    """
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").addFilter(OnceFilter())
    # Not "once": Python forgets what it warned of whenever its filters change.
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
