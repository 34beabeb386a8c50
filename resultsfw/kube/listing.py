"""Lists in pages and the lines of a watch, as raw JSON; nothing is kept here."""

import random
from collections.abc import Iterator
from typing import Any, Final

from resultsfw.cluster import Kind, Object
from resultsfw.errors import ClusterError, UnavailableError
from resultsfw.kube.answers import error_of_status
from resultsfw.kube.bare import loads_bare
from resultsfw.kube.connect import TROUBLE, Connection, Response, unavailable
from resultsfw.kube.paths import path_of, subject

__all__ = ["events_of", "open_watch", "pages"]

PAGE: Final = 100
"""Objects of a page: some megabytes, decoded. That is what a list costs in memory."""

_WATCH_SECONDS: Final = (300, 600)
"""A server ends a watch after so long; spread, so that not all come back at once."""


def pages(
    connection: Connection, kind: Kind, namespace: str | None, label_selector: str, *, limit: int = PAGE
) -> Iterator[tuple[list[Object], str]]:
    """The objects as they are now, page by page, each with the version of the whole list.

    Raises:
        GoneError: The list is no longer to be had at that version: begin again.
        ClusterError: The server refused, or was not there.
    """
    path, about = path_of(kind, namespace), subject(kind, namespace)
    query: dict[str, Any] = {"limit": limit}
    if label_selector:
        query["labelSelector"] = label_selector
    while True:
        page = connection.json("GET", path, subject=about, query=query)
        try:
            items, metadata = page.get("items") or [], page["metadata"]
            version = metadata["resourceVersion"]
        except (LookupError, TypeError, AttributeError) as error:
            raise UnavailableError("the answer is not a list", subject=about) from error
        for item in items:
            # Only a single object, or one in a watch, says what it is.
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.kind)
        yield items, version
        if not metadata.get("continue"):
            return
        query["continue"] = metadata["continue"]


def open_watch(
    connection: Connection,
    kind: Kind,
    namespace: str | None,
    label_selector: str,
    version: str,
    *,
    silence: float,
) -> Response:
    """The stream of what happens after a version; silent for ``silence`` seconds, it is given up.

    Raises:
        GoneError: The version is too old: list again.
        ClusterError: The server refused, or was not there.
    """
    query = {
        "watch": "1",
        "resourceVersion": version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": random.randint(*_WATCH_SECONDS),  # noqa: S311 - spreads load, hides nothing
    }
    if label_selector:
        query["labelSelector"] = label_selector
    return connection.open(
        "GET",
        path_of(kind, namespace),
        subject=subject(kind, namespace),
        query=query,
        timeouts=(5, silence),
        limited=False,
    )


def events_of(response: Response, about: str) -> Iterator[tuple[str, Object]]:
    """What a watch says: the change and the object, each decoded once; ``managedFields`` are left out.

    The rest of a stream that ends within a line is no event. An ERROR event is raised.

    Raises:
        GoneError: List again.
        ClusterError: The stream was cut, fell silent, or says what no API server says.
    """
    for line in _lines(response, about):
        if not line.strip():
            continue
        try:
            event = loads_bare(line)
            change, obj = event["type"], event["object"]
            if change != "ERROR":
                obj["metadata"]["resourceVersion"]
        except (ValueError, LookupError, TypeError) as error:
            # Resumed, it would say so again.
            raise ClusterError("a line of the watch is no event", subject=about) from error
        if change == "ERROR":
            raise error_of_status(obj, about)
        yield change, obj


def _lines(response: Response, about: str) -> Iterator[bytes]:
    parts: list[bytes] = []
    try:
        for piece in response.stream(65_536, decode_content=False):
            head, *lines = piece.split(b"\n")
            parts.append(head)
            for line in lines:
                yield b"".join(parts)
                parts = [line]
    except TROUBLE as error:
        raise unavailable(error, about) from error
