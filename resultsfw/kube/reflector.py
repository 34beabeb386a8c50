"""Keep a copy of one kind of objects by a list and a watch, however often the streams break."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from resultsfw.cluster import UNREADABLE, Kind, Object
from resultsfw.errors import ClusterError
from resultsfw.kube.connection import Connection, Response
from resultsfw.kube.list_watch import PAGE, IsForeign, SilentError, list_pages, open_watch, watch_events
from resultsfw.kube.paths import describe
from resultsfw.kube.status_errors import GoneError, TryLaterError
from resultsfw.kube.store import (
    IDENTITY,
    CacheEntry,
    Key,
    WatchState,
    differences,
    entry,
    is_known_as,
    is_newer,
    key_of,
    matches_selector,
)

__all__ = ["Reflector"]

log = logging.getLogger(__name__)

_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
_LONGEST_RETRY_AFTER: Final = 60.0
"""Seconds of a server's Retry-After that are respected."""

_COMPRESS_ABOVE: Final = 256
"""Objects from which on entries are compressed rather than packed quickly: some megabytes of pods."""

_UNREADABLE_KEEPS: Final = (*IDENTITY, "labels", "ownerReferences")
"""Of the metadata, what is held of an unreadable object."""

_DEFECT_LENGTH: Final = 300
"""Characters of the cause that are logged."""

_STEADY_SECONDS: Final = 5.0
"""A watch that lasted so long ended for no fault: the next one begins at once."""


def _unchanged(obj: Object) -> Object:
    return obj


def _ignore(reason: str) -> None:
    del reason


class Reflector:
    """Keep a copy of a kind's objects by a list and a watch, and call a handler for every change.

    ``on_change`` is called on one thread, so the changes of each object come in their order, and after the
    cache has them: ``"ADDED"``, ``"MODIFIED"`` or ``"DELETED"``, and the object, transformed, as that change
    left it. Changes may be left out where a later one follows; the last never is. What it raises is logged.

    An object that ``is_foreign`` recognizes as another controller's is held by its identity only (name,
    namespace, uid and resourceVersion), and so is one of which ``transform`` keeps nothing but the metadata.
    The handler is called when such an object is first seen and when it is deleted.

    Args:
        connection: The way to the server.
        kind: The kind of the objects.
        namespace: ``None``: all.
        name: Of the only object to watch; "": all. See `resultsfw.kube.list_watch.list_pages`.
        label_selector: As the API reads it.
        wider_selector: Replaces ``label_selector`` once only this one fits an object of ours:
            an object that a request of this process returned, or that left the watch by a change of labels.
        on_change: Called for every change.
        on_restart: Called when a watch begins again, with the cause: "ended", "cut", "gone", "fault".
        transform: Applied to an object before it is held; must leave its name, namespace, uid,
            resourceVersion and labels.
        is_foreign: Recognizes watch events of other controllers' objects; lists are decoded whole.
        silence: Seconds without a byte until a watch is given up. A server sends a bookmark a minute, but
            none of a kind in which nothing has changed since the server started.
        page: Objects a page of a list.

    Attributes:
        synced: Set once the first list is held and its objects were passed to ``on_change``.
        unreadable: Unreadable objects (`resultsfw.cluster.UNREADABLE`), with their version.
    """

    def __init__(
        self,
        connection: Connection,
        kind: Kind,
        *,
        namespace: str | None = None,
        name: str = "",
        label_selector: str = "",
        wider_selector: str = "",
        on_change: Callable[[str, Object], None],
        on_restart: Callable[[str], None] = _ignore,
        transform: Callable[[Object], Object] = _unchanged,
        is_foreign: IsForeign | None = None,
        silence: float = 120,
        page: int = PAGE,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.synced = threading.Event()
        self.unreadable: dict[Key, str] = {}
        self._connection = connection
        self._selector = label_selector
        self._wider_selector = wider_selector
        self._on_change = on_change
        self._on_restart = on_restart
        self._transform = transform
        self._is_foreign = is_foreign
        self._silence = silence
        self._page = page
        self._about = describe(kind, namespace, name)
        self._lock = threading.Lock()
        self._entries: dict[Key, CacheEntry] = {}
        self._stale: set[Key] = set()
        self._version = ""
        self._must_list = True
        self._stopped = threading.Event()
        self._stream: Response | None = None
        self._event_at: float | None = None
        self._restarts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name=f"watch-{kind.plural}", daemon=True)

    def start(self) -> None:
        """Start listing and watching, on a thread of its own."""
        self._thread.start()

    def stop(self, *, timeout: float = 5) -> None:
        """Stop within ``timeout`` seconds; the handler is not called afterwards."""
        self._stopped.set()
        with self._lock:
            stream = self._stream
        if stream is not None:
            _shut(stream)
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def version(self) -> str:
        """The resourceVersion up to which the cache has all changes."""
        return self._version

    @property
    def state(self) -> WatchState:
        """The state of the watch, for its operators."""
        at = self._event_at
        return WatchState(None if at is None else time.monotonic() - at, dict(self._restarts))

    def __len__(self) -> int:
        """Return how many objects are held."""
        return len(self._entries)

    def keys(self) -> list[Key]:
        """Return namespace and name of every object that is held."""
        with self._lock:
            return list(self._entries)

    def holds(self, namespace: str, name: str) -> bool:
        """Return whether an object was seen and its deletion was not."""
        return (namespace, name) in self._entries

    @property
    def _compress(self) -> bool:
        return len(self._entries) > _COMPRESS_ABOVE

    def get(self, namespace: str, name: str) -> Object | None:
        """Return an object as it was last seen, the caller's own copy; ``None`` if none is held.

        Of an object that is held by its identity only, that.
        """
        with self._lock:
            found = self._entries.get((namespace, name))
        return None if found is None else found.object()

    def get_fresh(self, namespace: str, name: str) -> Object | None:
        """Return an object; ``None`` before the first list, if it may have changed, or is held in part."""
        if not self.synced.is_set():
            return None
        with self._lock:
            found = None if (namespace, name) in self._stale else self._entries.get((namespace, name))
        return None if found is None or not found.whole else found.object()

    def put_if_newer(self, obj: Object) -> None:
        """Hold the answer to a write, or to a read past the cache, until the watch sends it.

        Only an answer that is later than all events of the watch is held: of an earlier one the watch sent
        everything already, or, worse, its deletion.
        """
        metadata = obj["metadata"]
        key, version = key_of(obj), metadata.get("resourceVersion", "")
        self._widen_for(obj)
        selected = (
            self.namespace in (None, key[0])
            and self.name in ("", key[1])
            and matches_selector(self._selector, obj)
        )
        answer = None
        if selected:
            answer = entry(self._transformed(obj), compress=self._compress, notified=False)
        with self._lock:
            after_watch = is_newer(version, self._version)
            held = self._entries.get(key)
            after_held = True if held is None else is_newer(version, held.version)
            if None in (after_watch, after_held) or (after_watch and answer is None):
                self._stale.add(key)
                return
            self._stale.discard(key)
            if after_watch and after_held and answer is not None:
                self._entries[key] = answer

    def mark_stale(self, namespace: str, name: str) -> None:
        """Note that a later version of an object exists: `get_fresh` returns none until the cache has it."""
        with self._lock:
            if (namespace, name) in self._entries:
                self._stale.add((namespace, name))

    def retransform(self, namespace: str, names: Iterable[str]) -> None:
        """Transform held objects again: the transform now keeps less of them."""
        for name in names:
            key = (namespace, name)
            with self._lock:
                held = self._entries.get(key)
            if held is None or not held.whole:
                continue
            less = entry(self._transform(held.object()), compress=self._compress, notified=held.notified)
            with self._lock:
                if self._entries.get(key) is held:
                    self._entries[key] = less

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            pause, reason, began, version = 0.0, "ended", time.monotonic(), self._version
            try:
                if self._must_list:
                    self._list()
                self._watch()
            except TryLaterError as error:
                pause, reason = min(error.retry_after, _LONGEST_RETRY_AFTER), self._failed(error)
            except ClusterError as error:
                reason = self._failed(error)
            except Exception:
                if not self._stopped.is_set():
                    log.exception("watch of %s", self._about)
                self._must_list, reason = True, "fault"
            if self._stopped.is_set():
                break
            self._restarts[reason] += 1
            _call(self._on_restart, reason)
            steady = time.monotonic() - began > _STEADY_SECONDS or (version and self._version != version)
            failures = 0 if steady and reason != "gone" else failures + 1
            jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads load
            grown = min(_SHORTEST_PAUSE * 2 ** min(failures, 10), _LONGEST_PAUSE) if failures else 0
            self._stopped.wait(max(pause, grown * jitter))

    def _failed(self, error: ClusterError) -> str:
        """Decide what follows an error, and return the cause for ``on_restart``."""
        if isinstance(error, GoneError):
            log.info("watch of %s: its resourceVersion is too old; listing again", self._about)
            self._must_list = True
            return "gone"
        if isinstance(error, SilentError):
            log.debug("watch of %s: silent for %g s; watching again", self._about, self._silence)
        elif not self._stopped.is_set():
            log.warning("watch of %s: %s", self._about, error.message)
        if not error.retryable:
            self._must_list = True
            return "fault"
        return "cut"

    def _list(self) -> None:
        fresh: dict[Key, CacheEntry] = {}
        version, selector = "", self._selector
        pages = list_pages(
            self._connection, self.kind, self.namespace, selector, name=self.name, limit=self._page
        )
        for items, at in pages:
            version = version or at
            for item in items:
                fresh[key_of(item)] = entry(self._transformed(item), compress=True, notified=True)
            if self._stopped.is_set():
                return
        with self._lock:
            changes = differences(
                self._entries, fresh, version, reset=is_newer(self._version, version) is True
            )
            self._entries, self._version = fresh, version
            self._stale.clear()
            for key in self.unreadable.keys() - fresh.keys():
                del self.unreadable[key]
        self._must_list = selector != self._selector
        for change, changed in changes:
            if self._stopped.is_set():
                return
            _call(self._on_change, change, changed.object())
        self._event_at = time.monotonic()
        self.synced.set()

    def _watch(self) -> None:
        stream = open_watch(
            self._connection,
            self.kind,
            self.namespace,
            self._selector,
            self._version,
            name=self.name,
            silence=self._silence,
        )
        with self._lock:
            self._stream = stream
        try:
            if self._stopped.is_set() or self._must_list:
                return
            for event in watch_events(stream, self._about, self._is_foreign):
                if self._stopped.is_set():
                    return
                self._event_at = time.monotonic()
                if event.change == "BOOKMARK":
                    self._version = event.obj["metadata"]["resourceVersion"]
                elif event.change in ("ADDED", "MODIFIED", "DELETED"):
                    self._apply(event.change, event.obj, foreign=event.foreign)
        except ClusterError:
            if not self._must_list:  # else it was shut to list by another selector
                raise
        finally:
            with self._lock:
                self._stream = None
            stream.close()

    def _apply(self, change: str, obj: Object, *, foreign: bool = False) -> None:
        metadata = obj["metadata"]
        key, version = key_of(obj), metadata["resourceVersion"]
        if change == "DELETED":
            self._widen_for(obj)
        if not foreign:
            obj = self._transformed(obj)
        now = None if change == "DELETED" else entry(obj, compress=self._compress, notified=True)
        with self._lock:
            before = self._entries.get(key)
            # The response to a write of this process may be held already, and be later than the event.
            if before is None or is_newer(before.version, version) is not True:
                if now is not None:
                    self._entries[key] = now
                else:
                    self._entries.pop(key, None)
            self._version = version
            self._stale.discard(key)
            if now is None:
                self.unreadable.pop(key, None)
        if now is not None and before is not None and is_known_as(now, before):
            return
        _call(self._on_change, change, obj)

    def _widen_for(self, obj: Object) -> None:
        """List and watch by the wider selector if that fits an object and the present one does not."""
        wider = self._wider_selector
        if not wider or matches_selector(self._selector, obj) or not matches_selector(wider, obj):
            return
        with self._lock:
            if self._selector == wider:
                return
            narrow, self._selector = self._selector, wider
            self._must_list, stream = True, self._stream
        log.warning(
            "%s is not selected by %s: watching %s by %s from now on",
            describe(self.kind, *key_of(obj)),
            narrow,
            self._about,
            wider,
        )
        if stream is not None:
            _shut(stream)

    def _transformed(self, obj: Object) -> Object:
        """Transform an object; an unreadable one is logged, once for each version."""
        try:
            transformed = self._transform(obj)
        except MemoryError:  # not caused by the object: list again
            raise
        except Exception as error:
            # One object must not keep all others of its kind from being seen.
            log.exception("watch of %s: %s/%s is held by its name only", self._about, *key_of(obj))
            metadata = {name: obj["metadata"][name] for name in _UNREADABLE_KEEPS if name in obj["metadata"]}
            transformed = {"metadata": metadata, UNREADABLE: f"{type(error).__name__} while it was read"}
        key, defect = key_of(obj), transformed.get(UNREADABLE)
        if defect is None:
            self.unreadable.pop(key, None)
            return transformed
        version = str(obj["metadata"].get("resourceVersion", ""))
        if self.unreadable.get(key) != version:
            self.unreadable[key] = version
            log.error("%s is unreadable: %s", describe(self.kind, *key), str(defect)[:_DEFECT_LENGTH])
        return transformed


def _call(function: Callable[..., None], *arguments: object) -> None:
    try:
        function(*arguments)
    except Exception:
        log.exception("a handler failed")


def _shut(stream: Response) -> None:
    """Wake up the thread that waits for the stream's next byte."""
    try:
        stream.shutdown()
    except (OSError, ValueError, RuntimeError):
        log.debug("the stream was closed already")
