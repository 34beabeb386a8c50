"""Have requests of a reconciler to its cluster fail, for tests of what it reports and when it goes on."""

from collections.abc import Callable
from typing import Any

from resultsfw import Object
from resultsfw.errors import ResultsError


def fail_requests(
    cluster: Any, verb: str, kind: str, error: ResultsError, *, after: int = 0
) -> Callable[[], None]:
    """Have requests fail until the function that is returned is called. Writes of a status do not fail.

    Args:
        cluster: The cluster; its method is replaced.
        verb: The method: ``get``, ``create``, ``patch``.
        kind: Of the objects.
        error: What is raised.
        after: How many requests succeed before.
    """
    real, broken, seen = getattr(cluster, verb), True, 0

    def request(of: Any, *arguments: Any, **more: Any) -> Object:
        nonlocal seen
        if broken and of.kind == kind and not more.get("subresource"):
            seen += 1
            if seen > after:
                raise error
        return real(of, *arguments, **more)

    def mend() -> None:
        nonlocal broken
        broken = False

    setattr(cluster, verb, request)
    return mend
