"""Parse, format and count with the times and timeouts of runs."""

from datetime import UTC, datetime, timedelta
from typing import Final

from resultsfw.cluster import Object
from resultsfw.durations import parse_duration

__all__ = ["DEFAULT_TIMEOUT", "format_time", "latest_start", "parse_time", "timeout_of"]


DEFAULT_TIMEOUT: Final = "1h0m0s"
"""``spec.timeout`` where no one sets it (Tekton's ``default-timeout-minutes``)."""

_FRACTION: Final = timedelta(seconds=1)
"""Kubernetes stores times without their fraction of a second: a stored one may be this much too early."""


def parse_time(text: str | None) -> datetime | None:
    """Parse an RFC 3339 time as Kubernetes and the entrypoint write it; ``None`` if it is none."""
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def format_time(when: datetime) -> str:
    """Format a time as the API server stores it: RFC 3339 in UTC with seconds."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def timeout_of(taskrun: Object) -> float:
    """Return the seconds that a run's attempt may take; 0: no limit.

    An invalid timeout is refused by validation; until then the default counts.
    """
    given = taskrun["spec"].get("timeout") or DEFAULT_TIMEOUT
    try:
        return parse_duration(given) / 1_000_000_000
    except ValueError:
        return parse_duration(DEFAULT_TIMEOUT) / 1_000_000_000


def latest_start(stored: datetime) -> datetime:
    """Return the latest start of something whose time is stored without its fraction of a second.

    Limits are counted from here, so that none is early; Tekton's are, by up to a second.
    """
    return stored + _FRACTION
