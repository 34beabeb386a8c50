"""Kubernetes Events at start, success and failure of a run: best effort, on a thread of their own."""

import logging
import queue
import threading
from dataclasses import dataclass
from typing import Final, Protocol

from resultsfw.cluster import Object
from resultsfw.controller.metrics import Metrics, backend_of, succeeded
from resultsfw.errors import ResultsError
from resultsfw.operations.logs import about
from resultsfw.tekton.api.reasons import HELD
from resultsfw.tekton.pipelinerun.reasons import PENDING, STARTED

__all__ = [
    "Events",
    "Notice",
    "cut",
    "log_change",
    "log_pipelinerun",
    "notice_of",
    "notices_of_pipelinerun",
]

log = logging.getLogger(__name__)

LONGEST: Final = 1024
"""Bytes of an Event's message (Kubernetes: NoteLengthLimit)."""

UNKNOWN: Final[Object] = {"status": "Unknown"}

_WAITING: Final = 1000
"""Events that may wait to be written; more are dropped: runs come first."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One Event, before it has an object."""

    type: str
    reason: str
    message: str


class Poster(Protocol):
    """Writes one Event about an object."""

    def __call__(self, obj: Object, notice: Notice, /) -> object:
        """Raises a ClusterError, or has written it."""
        ...


def notice_of(old: Object, new: Object) -> Notice | None:
    """What a change of the Succeeded condition is told as, with Tekton's reasons; ``None``: as nothing.

    Args:
        old: The condition before; empty for none.
        new: The condition as it was written.
    """
    if old.get("status") in ("True", "False") or not new:
        return None
    message = cut(new.get("message", ""))
    if new.get("status") == "True":
        return Notice("Normal", "Succeeded", message)
    if new.get("status") == "False":
        return Notice("Warning", "Failed", message)
    was_pending, is_pending = (
        one.get("reason") == HELD for one in (old, new)
    )  # TaskRunPending: it has not begun
    return Notice("Normal", "Started", "") if (not old or was_pending) and not is_pending else None


def notices_of_pipelinerun(old: Object, new: Object) -> list[Notice]:
    """What a change of a PipelineRun's Succeeded condition is told as: each of its stages, as Tekton's.

    Args:
        old: The condition before; empty for none. One without a reason is not known: of stages that may have
            been told already, none is told again.
        new: The condition as it was written.
    """
    if old.get("status") in ("True", "False") or not new:
        return []
    started = [] if old else [Notice("Normal", "Started", "")]
    if (end := notice_of(UNKNOWN, new)) is not None:
        return [*started, end]
    known = [old.get(key) for key in ("reason", "message")]
    stage = [new.get("reason", ""), new.get("message", "")]
    if known == stage or (old and not old.get("reason")) or (not old and stage[0] in (PENDING, STARTED)):
        return started
    return [*started, Notice("Normal", stage[0], cut(stage[1]))]


def log_change(old: Object, taskrun: Object) -> None:
    """Say in the log what is told as an Event."""
    new = succeeded(taskrun)
    if (notice := notice_of(old, new)) is not None:
        pod = taskrun["status"].get("podName") or ""
        with about(pod=pod, backend=backend_of(taskrun)):
            log.info("run %s: %s", notice.reason.lower(), " ".join(cut(new.get("message", ""), 300).split()))


def log_pipelinerun(old: Object, pipelinerun: Object) -> None:
    """Say in the log that a PipelineRun begins, and how it ends."""
    new = succeeded(pipelinerun)
    if (notice := notice_of(old, new)) is not None:
        log.info("run %s: %s", notice.reason.lower(), " ".join(cut(new.get("message", ""), 300).split()))


def cut(text: str, size: int = LONGEST) -> str:
    """A text of at most so many bytes of UTF-8."""
    raw = text.encode()
    return text if len(raw) <= size else raw[: size - 3].decode(errors="ignore") + "..."


class Events:
    """Writes Events one after the other; nobody waits for them and none is written twice.

    Args:
        post: Writes one.
        metrics: Counts those that were not written.
    """

    def __init__(self, post: Poster, metrics: Metrics) -> None:
        self._post = post
        self._metrics = metrics
        self._waiting: queue.Queue[tuple[Object, Notice] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._write, name="events", daemon=True)
        self._thread.start()

    def changed(self, old: Object, taskrun: Object) -> None:
        """A run's Succeeded condition was written, and was ``old`` before."""
        notice = notice_of(old, succeeded(taskrun))
        if notice is not None:
            self.send(taskrun, notice)

    def pipelinerun_changed(self, old: Object, pipelinerun: Object) -> None:
        """The same of a PipelineRun."""
        for notice in notices_of_pipelinerun(old, succeeded(pipelinerun)):
            self.send(pipelinerun, notice)

    def send(self, obj: Object, notice: Notice) -> None:
        """Have an Event written about an object, some time soon, if that is possible."""
        metadata = {
            key: obj["metadata"].get(key, "") for key in ("namespace", "name", "uid", "resourceVersion")
        }
        about = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
        try:
            self._waiting.put_nowait((about, notice))
        except queue.Full:
            self._metrics.events_dropped.inc()

    def close(self, seconds: float) -> None:
        """Write what still waits, for at most so many seconds."""
        try:
            self._waiting.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _write(self) -> None:
        while (one := self._waiting.get()) is not None:
            obj, notice = one
            metadata = obj["metadata"]
            try:
                self._post(obj, notice)
            except ResultsError as error:
                self._metrics.events_dropped.inc()
                log.info(
                    "could not write Event %s of %s %s/%s: %s",
                    *(notice.reason, obj["kind"], metadata["namespace"], metadata["name"], error.message),
                )
            except Exception:
                self._metrics.events_dropped.inc()
                log.exception(
                    "could not write Event %s of %s/%s",
                    notice.reason,
                    metadata["namespace"],
                    metadata["name"],
                )
