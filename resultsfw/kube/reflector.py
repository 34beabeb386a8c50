"""A list and a watch that together keep a copy of one kind of objects, whatever happens to the streams."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from resultsfw.cluster import UNREADABLE, Kind, Object
from resultsfw.errors import ClusterError
from resultsfw.kube.answers import GoneError, TryLaterError
from resultsfw.kube.connect import Connection, Response
from resultsfw.kube.held import Held, Key, held, key_of, matches, newer
from resultsfw.kube.listing import PAGE, events_of, open_watch, pages
from resultsfw.kube.paths import subject

__all__ = ["Reflector"]

log = logging.getLogger(__name__)

_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
_LONGEST_ASKED: Final = 60.0
"""Of the seconds a server asks for in Retry-After, as many are given."""
_MANY: Final = 256
"""Objects of which more are held in few bytes rather than packed quickly: some megabytes of pods."""

_IDENTITY: Final = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences")
"""Of the metadata, what a cache needs of every object."""

_DEFECT: Final = 300
"""Characters of why an object cannot be worked on that are logged."""

_STEADY: Final = 5.0
"""A watch that held for so long ended for no fault: the next one begins at once."""


def _same(obj: Object) -> Object:
    return obj


def _quiet(reason: str) -> None:
    del reason


class Reflector:
    """Holds what the server holds, some milliseconds later, and tells of every change.

    ``on_change`` is called on one thread, so each object's changes come in their order, and after
    the cache has them: ``"ADDED"``, ``"MODIFIED"`` or ``"DELETED"``, and the object, transformed, as
    that change left it. Changes may be left out where a later one follows; the last never is. What it
    raises is logged.

    Args:
        connection: The way to the server.
        kind: Of the objects.
        namespace: ``None``: all.
        label_selector: As the API reads it.
        on_change: Called for every change.
        on_restart: Called when a watch begins again, with a word why: "ended", "cut", "gone", "fault".
        transform: Applied to an object before it is held; must leave its name, namespace, uid,
            resourceVersion and labels.
        silence: Seconds without a sign of life (a server sends one a minute) until a watch is given up.
        page: Objects a page of a list.

    Attributes:
        synced: Set once everything there was is held and was told.
        unreadable: Objects that cannot be worked on (`resultsfw.cluster.UNREADABLE`), with their version.
    """

    def __init__(
        self,
        connection: Connection,
        kind: Kind,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        on_change: Callable[[str, Object], None],
        on_restart: Callable[[str], None] = _quiet,
        transform: Callable[[Object], Object] = _same,
        silence: float = 120,
        page: int = PAGE,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.synced = threading.Event()
        self.unreadable: dict[Key, str] = {}
        self._connection = connection
        self._selector = label_selector
        self._on_change = on_change
        self._on_restart = on_restart
        self._transform = transform
        self._silence = silence
        self._page = page
        self._about = subject(kind, namespace)
        self._lock = threading.Lock()
        self._held: dict[Key, Held] = {}
        self._unsure: set[Key] = set()
        self._version = ""
        self._must_list = True
        self._stopped = threading.Event()
        self._stream: Response | None = None
        self._thread = threading.Thread(target=self._run, name=f"watch-{kind.plural}", daemon=True)

    def start(self) -> None:
        """Begin, on a thread of its own."""
        self._thread.start()

    def stop(self, *, timeout: float = 5) -> None:
        """End, within ``timeout`` seconds; no change is told afterwards."""
        self._stopped.set()
        with self._lock:
            stream = self._stream
        if stream is not None:
            _shut(stream)
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        """Whether it is at work."""
        return self._thread.is_alive()

    @property
    def version(self) -> str:
        """The resourceVersion up to which everything is held."""
        return self._version

    def __len__(self) -> int:
        """How many objects are held."""
        return len(self._held)

    def keys(self) -> list[Key]:
        """Namespace and name of what is held."""
        with self._lock:
            return list(self._held)

    def holds(self, namespace: str, name: str) -> bool:
        """Whether an object was seen, and not its end."""
        return (namespace, name) in self._held

    @property
    def _small(self) -> bool:
        return len(self._held) > _MANY

    def get(self, namespace: str, name: str) -> Object | None:
        """One object as it was last seen, the caller's own; ``None`` where none is held."""
        with self._lock:
            found = self._held.get((namespace, name))
        return None if found is None else found.object()

    def get_sure(self, namespace: str, name: str) -> Object | None:
        """Likewise, but ``None`` also where something later is known to exist."""
        with self._lock:
            found = None if (namespace, name) in self._unsure else self._held.get((namespace, name))
        return None if found is None else found.object()

    def put_if_newer(self, obj: Object) -> None:
        """Hold what a write, or a look past the cache, brought, until the watch brings it.

        Only what is later than all the watch has brought: anything else it brought already, or,
        worse, the end of it.
        """
        metadata = obj["metadata"]
        key, version = key_of(obj), metadata.get("resourceVersion", "")
        selected = self.namespace in (None, key[0]) and matches(self._selector, obj)
        packed = None
        if selected:
            packed = held(self._transformed(obj), small=self._small, told=False)
        with self._lock:
            ahead = newer(version, self._version)
            was = self._held.get(key)
            ahead_of_held = True if was is None else newer(version, was.version)
            if None in (ahead, ahead_of_held) or (ahead and packed is None):
                self._unsure.add(key)
                return
            self._unsure.discard(key)
            if ahead and ahead_of_held and packed is not None:
                self._held[key] = packed

    def doubt(self, namespace: str, name: str) -> None:
        """What is held of that object may be old: somebody changed it. Until something later is known."""
        with self._lock:
            if (namespace, name) in self._held:
                self._unsure.add((namespace, name))

    def transform_anew(self, namespace: str, names: Iterable[str]) -> None:
        """Transform once more what is held: of what the transform kept, something is not needed any more."""
        for name in names:
            key = (namespace, name)
            with self._lock:
                was = self._held.get(key)
            if was is None:
                continue
            fresh = held(self._transform(was.object()), small=self._small, told=was.told)
            with self._lock:
                if self._held.get(key) is was:
                    self._held[key] = fresh

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            pause, reason, began, version = 0.0, "ended", time.monotonic(), self._version
            try:
                if self._must_list:
                    self._list()
                self._watch()
            except TryLaterError as error:
                pause, reason = min(error.retry_after, _LONGEST_ASKED), self._failed(error)
            except ClusterError as error:
                reason = self._failed(error)
            except Exception:
                if not self._stopped.is_set():
                    log.exception("watch of %s", self._about)
                self._must_list, reason = True, "fault"
            if self._stopped.is_set():
                break
            _call(self._on_restart, reason)
            steady = time.monotonic() - began > _STEADY or (version and self._version != version)
            failures = 0 if steady and reason != "gone" else failures + 1
            jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads load
            grown = min(_SHORTEST_PAUSE * 2 ** min(failures, 10), _LONGEST_PAUSE) if failures else 0
            self._stopped.wait(max(pause, grown * jitter))

    def _failed(self, error: ClusterError) -> str:
        """What is to be done after an error, and the word for it."""
        if isinstance(error, GoneError):
            log.info("watch of %s: too far behind, listing again", self._about)
            self._must_list = True
            return "gone"
        if not self._stopped.is_set():
            log.warning("watch of %s: %s", self._about, error.message)
        if not error.retryable:
            self._must_list = True
            return "fault"
        return "cut"

    def _list(self) -> None:
        fresh: dict[Key, Held] = {}
        version = ""
        for items, at in pages(self._connection, self.kind, self.namespace, self._selector, limit=self._page):
            version = version or at
            for item in items:
                fresh[key_of(item)] = held(self._transformed(item), small=True, told=True)
            if self._stopped.is_set():
                return
        with self._lock:
            changes = _differences(self._held, fresh, version, reset=newer(self._version, version) is True)
            self._held, self._version = fresh, version
            self._unsure.clear()
            for key in self.unreadable.keys() - fresh.keys():
                del self.unreadable[key]
        self._must_list = False
        for change, of in changes:
            if self._stopped.is_set():
                return
            _call(self._on_change, change, of.object())
        self.synced.set()

    def _watch(self) -> None:
        stream = open_watch(
            self._connection,
            self.kind,
            self.namespace,
            self._selector,
            self._version,
            silence=self._silence,
        )
        with self._lock:
            self._stream = stream
        try:
            if self._stopped.is_set():
                return
            for change, obj in events_of(stream, self._about):
                if self._stopped.is_set():
                    return
                if change == "BOOKMARK":
                    self._version = obj["metadata"]["resourceVersion"]
                elif change in ("ADDED", "MODIFIED", "DELETED"):
                    self._apply(change, obj)
        finally:
            with self._lock:
                self._stream = None
            stream.close()

    def _apply(self, change: str, obj: Object) -> None:
        metadata = obj["metadata"]
        key, version = key_of(obj), metadata["resourceVersion"]
        obj = self._transformed(obj)
        now = None if change == "DELETED" else held(obj, small=self._small, told=True)
        with self._lock:
            was = self._held.get(key)
            # What we wrote ourselves may be held before the watch has come as far.
            if was is None or newer(was.version, version) is not True:
                if now is not None:
                    self._held[key] = now
                else:
                    self._held.pop(key, None)
            self._version = version
            self._unsure.discard(key)
            if now is None:
                self.unreadable.pop(key, None)
        _call(self._on_change, change, obj)

    def _transformed(self, obj: Object) -> Object:
        """The object as it is held; one that cannot be worked on is logged, once for each version."""
        try:
            transformed = self._transform(obj)
        except MemoryError:  # no fault of the object's: the list is read again
            raise
        except Exception as error:
            # One object must not keep all others of its kind from being seen.
            log.exception("watch of %s: %s/%s is held by its name only", self._about, *key_of(obj))
            metadata = {name: obj["metadata"][name] for name in _IDENTITY if name in obj["metadata"]}
            transformed = {"metadata": metadata, UNREADABLE: f"{type(error).__name__} while it was read"}
        key, defect = key_of(obj), transformed.get(UNREADABLE)
        if defect is None:
            self.unreadable.pop(key, None)
            return transformed
        version = str(obj["metadata"].get("resourceVersion", ""))
        if self.unreadable.get(key) != version:
            self.unreadable[key] = version
            log.error("%s cannot be worked on: %s", subject(self.kind, *key), str(defect)[:_DEFECT])
        return transformed


def _differences(
    old: dict[Key, Held], fresh: dict[Key, Held], version: str, *, reset: bool
) -> list[tuple[str, Held]]:
    """What is to be told after a list; ``fresh`` is completed by what we wrote after it.

    Args:
        old: What was held.
        fresh: What the list brought.
        version: The list's.
        reset: Whether the server went back in time (restored from a backup): then its word alone counts.
    """
    changes: list[tuple[str, Held]] = []
    for key, was in old.items():
        ahead = not reset and newer(was.version, fresh[key].version if key in fresh else version) is True
        if ahead:
            fresh[key] = was
        elif key not in fresh or (fresh[key].uid != was.uid and was.told):
            changes.append(("DELETED", was))
    for key, now in fresh.items():
        before = old.get(key)
        if before is now:
            continue
        if before is None or before.uid != now.uid:
            changes.append(("ADDED", now))
        elif before.version != now.version or not before.told:
            changes.append(("MODIFIED", now))
    return changes


def _call(function: Callable[..., None], *arguments: object) -> None:
    try:
        function(*arguments)
    except Exception:
        log.exception("a handler failed")


def _shut(stream: Response) -> None:
    """Wake up whoever waits for the stream's next byte."""
    try:
        stream.shutdown()
    except (OSError, ValueError, RuntimeError):
        log.debug("the stream was closed already")
