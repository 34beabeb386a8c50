"""Combine handlers of watch events, and enqueue runs for them."""

from collections.abc import Callable

from resultsfw.cluster import Object
from resultsfw.controller.pipelineruns import PipelineRunIndex
from resultsfw.controller.requests import Request, RequestQueue
from resultsfw.controller.taskruns import TaskRunIndex

__all__ = ["OnEvent", "enqueue_selected", "enqueue_unfinished", "in_turn", "when_deleted"]

OnEvent = Callable[[str, Object], None]
"""Handles a watch event: "ADDED", "MODIFIED" or "DELETED", and the object."""


def in_turn(*handlers: OnEvent) -> OnEvent:
    """Return an event handler that calls these in turn."""

    def on_event(change: str, obj: Object) -> None:
        for handler in handlers:
            handler(change, obj)

    return on_event


def when_deleted(*forget: Callable[[str, str], None]) -> OnEvent:
    """Return an event handler that makes these forget a deleted object, by namespace and name."""

    def on_event(change: str, obj: Object) -> None:
        if change == "DELETED":
            for call in forget:
                call(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])

    return on_event


def enqueue_selected(index: TaskRunIndex, queue: RequestQueue) -> Callable[[Request], None]:
    """Return what enqueues a TaskRun if it is this controller's."""

    def enqueue(request: Request) -> None:
        if (state := index.get(request)) is not None and state.selected:
            queue.add(request)

    return enqueue


def enqueue_unfinished(index: PipelineRunIndex, queue: RequestQueue) -> Callable[[Request], None]:
    """Return what enqueues a PipelineRun if it is this controller's and has not ended."""

    def enqueue(request: Request) -> None:
        if request in index:
            queue.add(request)

    return enqueue
