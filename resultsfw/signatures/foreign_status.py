"""Read parts of a status that anybody may have written: what has another form counts as absent."""

from typing import Any

from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.signatures.status_digests import status_results

__all__ = ["as_object", "values_of"]


def as_object(value: object) -> Object:
    """Return an object; an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def values_of(status: Object) -> list[tuple[str, Any]]:
    """Return subject and value of each result, as `status_results` does; none of a malformed status."""
    try:
        return list(status_results(status))
    except InputError:
        return []
