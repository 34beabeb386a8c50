"""Keep a copy of one kind's objects of the whole cluster, or of some namespaces with a reflector for each."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from resultsfw.cluster import Kind, Object
from resultsfw.kube.connection import Connection
from resultsfw.kube.reflector import Reflector

__all__ = ["ReflectorGroup"]


class ReflectorGroup:
    """The copies of one kind's objects, of the whole cluster or of some namespaces.

    Each namespace is listed and watched by itself: no request is cluster-wide, and a namespace that
    refuses its watch, or whose objects change quickly, delays no other. Handlers are called by one thread at
    a time, as a single reflector calls them. Objects of other namespaces are not held.

    Args:
        connection: To the API server.
        kind: The kind of the objects.
        namespaces: Those that are watched; none: the whole cluster.
        on_change: See `Reflector`.
        on_restart: Called with the namespace (``None``: the whole cluster) and the cause. See `Reflector`.
        options: Further arguments of each `Reflector`.
    """

    def __init__(
        self,
        connection: Connection,
        kind: Kind,
        namespaces: Sequence[str],
        *,
        on_change: Callable[[str, Object], None],
        on_restart: Callable[[str | None, str], None],
        **options: Any,
    ) -> None:
        self.kind = kind
        self._on_change = on_change
        self._on_restart = on_restart
        self._calls = threading.Lock()
        self._reflectors: dict[str | None, Reflector] = {
            namespace: Reflector(
                connection,
                kind,
                namespace=namespace,
                on_change=self._change,
                on_restart=self._restart_of(namespace),
                **options,
            )
            for namespace in (namespaces or (None,))
        }

    def __iter__(self) -> Iterator[Reflector]:
        """Yield the reflector of each namespace."""
        return iter(self._reflectors.values())

    def start(self) -> None:
        """Start all reflectors."""
        for reflector in self:
            reflector.start()

    def stop(self) -> None:
        """Stop all reflectors; the handler is not called afterwards."""
        for reflector in self:
            reflector.stop()

    def reflector(self, namespace: str | None) -> Reflector | None:
        """Return the reflector that holds a namespace's objects; ``None`` if it is not watched."""
        return self._reflectors.get(None if None in self._reflectors else namespace)

    def holds(self, namespace: str, name: str) -> bool:
        """Return whether an object was seen and its deletion was not."""
        reflector = self.reflector(namespace)
        return reflector is not None and reflector.holds(namespace, name)

    def get(self, namespace: str, name: str) -> Object | None:
        """Return an object as it was last seen. See `Reflector.get`."""
        reflector = self.reflector(namespace)
        return None if reflector is None else reflector.get(namespace, name)

    def get_fresh(self, namespace: str, name: str) -> Object | None:
        """Return an object unless a later version is known to exist. See `Reflector.get_fresh`."""
        reflector = self.reflector(namespace)
        return None if reflector is None else reflector.get_fresh(namespace, name)

    def put_if_newer(self, obj: Object) -> None:
        """Hold the answer to a request until the watch sends it. See `Reflector.put_if_newer`."""
        if (reflector := self.reflector(obj["metadata"].get("namespace", ""))) is not None:
            reflector.put_if_newer(obj)

    def mark_stale(self, namespace: str, name: str) -> None:
        """Note that a later version of an object exists. See `Reflector.mark_stale`."""
        if (reflector := self.reflector(namespace)) is not None:
            reflector.mark_stale(namespace, name)

    def retransform(self, namespace: str, names: Iterable[str]) -> None:
        """Transform held objects again. See `Reflector.retransform`."""
        if (reflector := self.reflector(namespace)) is not None:
            reflector.retransform(namespace, names)

    def _change(self, change: str, obj: Object) -> None:
        with self._calls:
            self._on_change(change, obj)

    def _restart_of(self, namespace: str | None) -> Callable[[str], None]:
        return lambda reason: self._on_restart(namespace, reason)
