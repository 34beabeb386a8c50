"""Start the watches of each namespace in their order; a namespace that cannot be listed delays no other."""

import logging
import threading
from collections.abc import Sequence
from typing import Final

from resultsfw.kube import ReflectorGroup

__all__ = ["NamespaceWatches"]

log = logging.getLogger(__name__)

_PATIENCE: Final = 60.0
"""Seconds after which a namespace that takes long to list is no longer waited for."""


class NamespaceWatches:
    """Starts the reflectors of each namespace, one kind after the other, and tracks which are synced.

    Args:
        namespaces: Those that are watched; none: the whole cluster.
    """

    def __init__(self, namespaces: Sequence[str]) -> None:
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._changed = threading.Condition()
        self._synced: set[str | None] = set()
        self._failed: set[str | None] = set()

    def start(self, groups: Sequence[ReflectorGroup]) -> None:
        """Start the reflectors, on a thread for each namespace.

        Args:
            groups: Of the kinds, in the order in which each namespace's reflectors start.
        """
        for namespace in self._namespaces:
            name = f"start-{namespace or 'cluster'}"
            threading.Thread(target=self._start, args=(namespace, groups), name=name, daemon=True).start()

    def wait(self) -> None:
        """Wait until each namespace is synced, or has failed or takes long, and at least one is synced."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._synced and self._synced | self._failed == {*self._namespaces}, _PATIENCE
            )
            self._changed.wait_for(lambda: self._synced)

    def missing(self) -> int:
        """Return how many of the namespaces have not been synced yet; 0 for the whole cluster."""
        return len({*self._namespaces} - self._synced - {None})

    def on_restart(self, namespace: str | None, reason: str) -> None:
        """Note that a watch ended: if its namespace was not synced before, others go on without it."""
        del reason
        if namespace in self._synced:
            return
        with self._changed:
            if namespace is not None and namespace not in self._failed:
                log.error(
                    'the namespace "%s" is not watched: its runs wait until the API server lists them; '
                    "resultsfw doctor --watch-namespaces says which permissions are missing",
                    namespace,
                )
            self._failed.add(namespace)
            self._changed.notify_all()

    def _start(self, namespace: str | None, groups: Sequence[ReflectorGroup]) -> None:
        for group in groups:
            reflector = group.reflector(namespace)
            if reflector is not None:
                reflector.start()
                reflector.synced.wait()
        with self._changed:
            if namespace in self._failed and namespace is not None:
                log.info('the namespace "%s" is watched from now on', namespace)
            self._synced.add(namespace)
            self._changed.notify_all()
