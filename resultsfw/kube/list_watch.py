"""List objects in pages and watch their changes, by the API server's raw JSON; nothing is cached here."""

import random
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from resultsfw.cluster import Kind, Object
from resultsfw.errors import ClusterError, UnavailableError
from resultsfw.kube.connection import TRANSPORT_ERRORS, Connection, Response, transport_error
from resultsfw.kube.decoding import decode_event, decode_head, decode_list
from resultsfw.kube.paths import collection_path, describe
from resultsfw.kube.response_body import OBJECT_ANSWER_BYTES, AnswerTooLongError
from resultsfw.kube.status_errors import error_from_status

__all__ = ["Event", "SilentError", "has_name", "list_pages", "open_watch", "watch_events"]

PAGE: Final = 100
"""Objects of a page. A decoded page takes some megabytes, and a list no more memory than its page."""

_PAGE_BYTES: Final = 8_388_608
"""Bytes of a page with more than one object. A hundred objects can have 150 MB, and five times as many when
decoded: a larger page is requested again with fewer objects."""

_MAX_OBJECTS: Final = 2_000_000
"""Objects after which a list is taken to be endless; etcd stores some hundred thousand runs."""

_MAX_EMPTY_PAGES: Final = 100
"""Empty pages in a row; a server may send some if a selector fits few objects."""

_WATCH_SECONDS: Final = (300, 600)
"""Range of the seconds after which the server ends a watch; random, so that not all restart at once."""


_CHANGES: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})


IsForeign = Callable[[bytes], bool]
"""Returns whether an event, as JSON in UTF-8, is certainly of another controller's object."""


class SilentError(UnavailableError):
    """Nothing arrived on a watch for a while: the connection is dead, or nothing changes."""

    code = "Silent"


class Event(NamedTuple):
    """An event of a watch.

    Attributes:
        change: "ADDED", "MODIFIED", "DELETED" or "BOOKMARK".
        obj: The object, without ``managedFields``.
        foreign: Whether it is another controller's: then only its metadata are there.
    """

    change: str
    obj: Object
    foreign: bool = False


def list_pages(
    connection: Connection,
    kind: Kind,
    namespace: str | None,
    label_selector: str,
    *,
    name: str = "",
    limit: int = PAGE,
) -> Iterator[tuple[list[Object], str]]:
    """Yield the objects page by page, each page with the resourceVersion of the whole list.

    Objects are decoded by `resultsfw.kube.decoding.decode_list`. With ``name``, only the object of that name
    is listed: Kubernetes authorizes such a list by ``resourceNames``.

    Raises:
        GoneError: The next page has expired: list again.
        ClusterError: The server refused, is transport_error, or sends no list, or an endless one.
    """
    subject = describe(kind, namespace, name)
    query: dict[str, Any] = {"limit": limit, **_selectors(label_selector, name)}
    count, empty = 0, 0
    while True:
        items, version, following = _page(connection, kind, namespace, query)
        count += len(items)
        empty = 0 if items else empty + 1
        yield items, version
        if not following:
            return
        if following == query.get("continue") or empty > _MAX_EMPTY_PAGES or count > _MAX_OBJECTS:
            raise UnavailableError(f"the list does not end: {count} objects so far", subject=subject)
        query["continue"] = following


def _selectors(label_selector: str, name: str) -> dict[str, str]:
    selectors = {"labelSelector": label_selector, "fieldSelector": name and f"metadata.name={name}"}
    return {key: selector for key, selector in selectors.items() if selector}


def _page(
    connection: Connection, kind: Kind, namespace: str | None, query: dict[str, Any]
) -> tuple[list[Object], str, str]:
    """Return a page's objects, the list's version and the next page's token; lower ``limit`` if needed."""
    path, subject = collection_path(kind, namespace), describe(kind, namespace)
    while True:
        response = connection.open("GET", path, subject=subject, query=query)
        most = OBJECT_ANSWER_BYTES if query["limit"] <= 1 else _PAGE_BYTES
        try:
            data = connection.read(response, subject, limit=most)
            break
        except AnswerTooLongError:
            if query["limit"] <= 1:
                raise
            query["limit"] = max(1, query["limit"] // 4)
    try:
        page = decode_list(data)
        items, metadata = page.get("items") or [], page["metadata"]
        version, following = metadata["resourceVersion"], metadata.get("continue") or ""
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnavailableError("the answer is not a list", subject=subject) from error
    texts = isinstance(version, str) and isinstance(following, str)
    if not texts or not isinstance(items, list) or not all(map(has_name, items)):
        raise UnavailableError("the answer is not a list of objects with names", subject=subject)
    for item in items:
        # The API server leaves these two fields out of a list's items.
        item.setdefault("apiVersion", kind.api_version)
        item.setdefault("kind", kind.kind)
    return items, version, following


def open_watch(
    connection: Connection,
    kind: Kind,
    namespace: str | None,
    label_selector: str,
    version: str,
    *,
    name: str = "",
    silence: float,
) -> Response:
    """Open the watch of all changes after a resourceVersion.

    Args:
        connection: The way to the server.
        kind: The kind of the objects.
        namespace: ``None``: all.
        label_selector: As the API reads it.
        version: The resourceVersion.
        name: Of the only object to watch; "": all.
        silence: Seconds without a byte after which reading fails.

    Raises:
        GoneError: The version is too old: list again.
        ClusterError: The server refused or is unavailable.
    """
    query = {
        "watch": "1",
        "resourceVersion": version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": random.randint(*_WATCH_SECONDS),  # noqa: S311 - spreads load
        **_selectors(label_selector, name),
    }
    return connection.open(
        "GET",
        collection_path(kind, namespace),
        subject=describe(kind, namespace, name),
        query=query,
        timeouts=(5, silence),
        limited=False,
    )


def watch_events(response: Response, subject: str, is_foreign: IsForeign | None = None) -> Iterator[Event]:
    """Yield the events of a watch; an ERROR event is raised.

    A stream may end within a line; such a line is no event.

    Args:
        response: The watch.
        subject: How errors name it.
        is_foreign: Recognizes events of which only the object's metadata are decoded.

    Raises:
        GoneError: List again.
        ClusterError: The stream was cut or fell silent, or a line is not an event.
    """
    for line in _lines(response, subject):
        if not line.strip():
            continue
        if is_foreign and is_foreign(line) and (event := _foreign_event(line)):
            yield event
            continue
        try:
            decoded = decode_event(line)
            change, obj = decoded["type"], decoded["object"]
            fits = change == "ERROR" or _is_event_object(change, obj)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # Not retryable: a resumed watch would send the same line again.
            raise ClusterError("a line of the watch is not an event", subject=subject) from error
        if change == "ERROR":
            raise error_from_status(obj, subject)
        if not fits:
            raise ClusterError("a line of the watch is an event without an object", subject=subject)
        yield Event(change, obj)


def _foreign_event(line: bytes) -> Event | None:
    """Return the event of another controller's object; ``None`` if it is to be decoded whole."""
    try:
        head = decode_head(line)
        change, obj = head["type"], {"metadata": head["object"]["metadata"]}
        fits = change in _CHANGES and _is_event_object(change, obj)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return Event(change, obj, foreign=True) if fits else None


def has_name(obj: object) -> bool:
    """Return whether a value is an object with a name, as every object that a server stores."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict):
        return False
    return isinstance(metadata.get("name"), str) and isinstance(metadata.get("namespace") or "", str)


def _is_event_object(change: str, obj: Object) -> bool:
    """Return whether an event's object has a resourceVersion and, unless it is a bookmark, a name."""
    return isinstance(obj["metadata"]["resourceVersion"], str) and (change == "BOOKMARK" or has_name(obj))


def _lines(response: Response, subject: str) -> Iterator[bytes]:
    """Yield the complete lines of a stream."""
    parts: list[bytes] = []
    size = 0
    try:
        for piece in response.stream(65_536, decode_content=False):
            head, *lines = piece.split(b"\n")
            parts.append(head)
            size += len(head)
            if size > OBJECT_ANSWER_BYTES:
                raise AnswerTooLongError(
                    f"a line of the watch has more than {OBJECT_ANSWER_BYTES} bytes", subject=subject
                )
            for line in lines:
                yield b"".join(parts)
                parts, size = [line], len(line)
    except TimeoutError as error:
        raise SilentError("no event and no bookmark arrived", subject=subject) from error
    except TRANSPORT_ERRORS as error:
        raise transport_error(error, subject) from error
