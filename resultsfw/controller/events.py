"""Write Kubernetes Events at the start, success and failure of runs: best effort, on its own thread."""

import logging
import queue
import threading
from dataclasses import dataclass
from typing import Final, Protocol

from resultsfw.cluster import Object
from resultsfw.controller.metrics import Metrics
from resultsfw.controller.run_metrics import backend_of
from resultsfw.errors import ResultsError
from resultsfw.operations.logs import about
from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.reasons import RUN_PENDING
from resultsfw.tekton.pipelinerun.reasons import PENDING, STARTED

__all__ = [
    "Event",
    "EventWriter",
    "log_pipelinerun_condition",
    "log_taskrun_condition",
    "pipelinerun_events",
    "taskrun_event",
    "truncate",
]

log = logging.getLogger(__name__)

MAX_MESSAGE: Final = 1024
"""Bytes of an Event's message (Kubernetes: NoteLengthLimit)."""

UNKNOWN: Final[Object] = {"status": "Unknown"}

_MAX_QUEUED: Final = 1000
"""Events that may wait to be written; further ones are dropped, because runs must not wait for them."""


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event, without the object it is about."""

    type: str
    reason: str
    message: str


class WriteEvent(Protocol):
    """Writes one Event about an object to the API server."""

    def __call__(self, obj: Object, event: Event, /) -> object:
        """Write the Event. Raises ClusterError."""
        ...


def taskrun_event(old: Object, new: Object) -> Event | None:
    """Return the Event for a change of a TaskRun's Succeeded condition, as Tekton has it; ``None`` for none.

    Args:
        old: The condition before; empty for none.
        new: The condition as it was written.
    """
    if old.get("status") in ("True", "False") or not new:
        return None
    message = truncate(new.get("message", ""))
    if new.get("status") == "True":
        return Event("Normal", "Succeeded", message)
    if new.get("status") == "False":
        return Event("Warning", "Failed", message)
    was_pending, is_pending = (condition.get("reason") == RUN_PENDING for condition in (old, new))
    return Event("Normal", "Started", "") if (not old or was_pending) and not is_pending else None


def pipelinerun_events(old: Object, new: Object) -> list[Event]:
    """Return the Events for a change of a PipelineRun's Succeeded condition: one for each stage, as Tekton's.

    Args:
        old: The condition before; empty for none. One without a reason is unknown: then no stage is reported,
            because it may have been reported already.
        new: The condition as it was written.
    """
    if old.get("status") in ("True", "False") or not new:
        return []
    started = [] if old else [Event("Normal", "Started", "")]
    if (end := taskrun_event(UNKNOWN, new)) is not None:
        return [*started, end]
    known = [old.get(key) for key in ("reason", "message")]
    stage = [new.get("reason", ""), new.get("message", "")]
    if known == stage or (old and not old.get("reason")) or (not old and stage[0] in (PENDING, STARTED)):
        return started
    return [*started, Event("Normal", stage[0], truncate(stage[1]))]


def log_taskrun_condition(old: Object, taskrun: Object) -> None:
    """Log the start and end of a TaskRun."""
    with about(pod=taskrun["status"].get("podName") or "", backend=backend_of(taskrun)):
        log_pipelinerun_condition(old, taskrun)


def log_pipelinerun_condition(old: Object, pipelinerun: Object) -> None:
    """Log the start and end of a PipelineRun."""
    new = succeeded(pipelinerun)
    if (event := taskrun_event(old, new)) is not None:
        message = " ".join(truncate(new.get("message", ""), 300).split())
        log.info("run %s: %s", event.reason.lower(), message)


def truncate(text: str, size: int = MAX_MESSAGE) -> str:
    """Return a text cut to at most so many bytes of UTF-8."""
    raw = text.encode()
    return text if len(raw) <= size else raw[: size - 3].decode(errors="ignore") + "..."


class EventWriter:
    """Writes Events one after the other on its own thread. None is retried, so none is written twice.

    Args:
        write: Writes one Event.
        metrics: Count the Events that were not written.
    """

    def __init__(self, write: WriteEvent, metrics: Metrics) -> None:
        self._write = write
        self._metrics = metrics
        self._queue: queue.Queue[tuple[Object, Event] | None] = queue.Queue(_MAX_QUEUED)
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def on_taskrun_condition(self, old: Object, taskrun: Object) -> None:
        """Write the Event for a TaskRun's new Succeeded condition, which was ``old`` before."""
        event = taskrun_event(old, succeeded(taskrun))
        if event is not None:
            self.send(taskrun, event)

    def on_pipelinerun_condition(self, old: Object, pipelinerun: Object) -> None:
        """Write the Events for a PipelineRun's new Succeeded condition, which was ``old`` before."""
        for event in pipelinerun_events(old, succeeded(pipelinerun)):
            self.send(pipelinerun, event)

    def send(self, obj: Object, event: Event) -> None:
        """Queue an Event about an object; drop it if the queue is full."""
        metadata = {
            key: obj["metadata"].get(key, "") for key in ("namespace", "name", "uid", "resourceVersion")
        }
        about = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
        try:
            self._queue.put_nowait((about, event))
        except queue.Full:
            self._metrics.events_dropped.inc()

    def close(self, seconds: float) -> None:
        """Write the queued Events, for at most so many seconds."""
        try:
            self._queue.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        while (queued := self._queue.get()) is not None:
            obj, event = queued
            metadata = obj["metadata"]
            try:
                self._write(obj, event)
            except ResultsError as error:
                self._metrics.events_dropped.inc()
                log.info(
                    "could not write Event %s of %s %s/%s: %s",
                    *(event.reason, obj["kind"], metadata["namespace"], metadata["name"], error.message),
                )
            except Exception:
                self._metrics.events_dropped.inc()
                log.exception(
                    "could not write Event %s of %s/%s",
                    event.reason,
                    metadata["namespace"],
                    metadata["name"],
                )
