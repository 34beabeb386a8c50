"""Read parts of a status that anybody may have written: what has another form counts as absent."""

from datetime import UTC, datetime
from typing import Any

from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.signatures.status_digests import status_results

__all__ = ["as_object", "timestamp", "values_of"]


def as_object(value: object) -> Object:
    """Return an object; an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def timestamp(text: object) -> datetime | None:
    """Return a time with its time zone, in UTC; ``None`` if it is none."""
    if not isinstance(text, str):
        return None
    try:
        when = datetime.fromisoformat(text)
        return when.astimezone(UTC) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None


def values_of(status: Object) -> list[tuple[str, Any]]:
    """Return subject and value of each result, as `status_results` does; none of a malformed status."""
    try:
        return list(status_results(status))
    except InputError:
        return []
