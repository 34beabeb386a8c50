"""Watch objects of a kind that a cluster may lack, as soon as the server has the kind."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from resultsfw.errors import ClusterError
from resultsfw.kube import ReflectorGroup

__all__ = ["OptionalWatch"]

log = logging.getLogger(__name__)

_PAUSE: Final = 60.0
"""Seconds between two checks whether the server has the kind."""


class OptionalWatch:
    """Starts the reflectors of a kind once the API server serves it. Nothing waits for them.

    Until then objects are read from the server, and no event of theirs arrives.

    Args:
        reflectors: Not started.
        is_served: Asks the API server whether it serves the kind. Raises ClusterError.
    """

    def __init__(self, reflectors: ReflectorGroup, is_served: Callable[[], bool]) -> None:
        self._reflectors = reflectors
        self._is_served = is_served
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start checking, on a thread of its own."""
        name = f"find-{self._reflectors.kind.plural}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """Stop checking."""
        self._stopped.set()

    def _run(self) -> None:
        plural = self._reflectors.kind.plural
        while not self._stopped.is_set():
            try:
                if self._is_served():
                    log.info("the server has %s: watching them", plural)
                    self._reflectors.start()
                    return
            except ClusterError as error:
                log.warning("cannot find out whether the server has %s: %s", plural, error.message)
            self._stopped.wait(_PAUSE)
