"""A stream of watch events for one consumer."""

import queue
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from resultsfw.cluster import Object
from resultsfw.jsons import copy

__all__ = ["Event", "Watch"]

Event = tuple[str, Object]
"""``ADDED``, ``MODIFIED`` or ``DELETED``, and the object at that time."""


class Watch:
    """Events in their order. Iterating waits for the next event and ends on `close`.

    Created by `Store.watch`. One thread consumes it; any thread may close it.
    """

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._closed = False

    def put(self, event: Event) -> None:
        """Add an event. Only the store calls it; the object must not change afterwards."""
        self._events.put(event)

    def close(self) -> None:
        """End the stream; events that were not consumed are dropped."""
        self._closed = True
        self._events.put(None)

    @property
    def closed(self) -> bool:
        """Return whether the stream was closed."""
        return self._closed

    def get(self, timeout: float | None = None) -> Event | None:
        """Return the next event, its object copied; ``None`` when closed or after ``timeout`` seconds."""
        if self._closed:
            return None
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        if event is None or self._closed:
            self._closed = True
            return None
        return event[0], copy(event[1])

    def __iter__(self) -> Iterator[Event]:
        while (event := self.get()) is not None:
            yield event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
