"""Read and add times of objects that anybody may have written."""

from datetime import UTC, datetime, timedelta

__all__ = ["later", "timestamp"]


def timestamp(text: object) -> datetime | None:
    """Return a time with its time zone, in UTC; ``None`` if it is none."""
    if not isinstance(text, str):
        return None
    try:
        when = datetime.fromisoformat(text)
        return when.astimezone(UTC) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None


def later(when: datetime, seconds: float) -> datetime:
    """Return the time some seconds later; the last one that there is, if it is not before that."""
    try:
        return when + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
