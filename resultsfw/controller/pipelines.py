"""Which PipelineRuns to look at, and the threads that do: woken by them and by their TaskRuns."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from resultsfw.cluster import Object
from resultsfw.controller.logs import about
from resultsfw.errors import ClusterError, ConflictError, NotFoundError, ResultsError
from resultsfw.tekton.conditions import is_done
from resultsfw.tekton.kinds import PIPELINERUNS
from resultsfw.tekton.workqueue import WorkQueue

__all__ = ["PipelineRuns", "slim_pipelinerun"]

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""A PipelineRun: namespace and name."""

CONFLICT_PAUSE = 0.05
"""Seconds after which a run is looked at again that somebody else wrote."""

PAUSE = 0.02
"""Seconds in which more changes of a run's TaskRuns may come before it is looked at."""

_NAMES = ("name", "namespace", "uid", "resourceVersion")


class Reconciler(Protocol):
    """What brings PipelineRuns forward."""

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take a PipelineRun one step further; seconds until it wants to look again by itself."""
        ...


class PipelineRuns:
    """A queue of PipelineRuns and the threads that empty it.

    Args:
        managed_by: Whose are taken (``spec.managedBy``); "": all.
        threads: Workers.
        looked: Told what came of each look: ``done``, ``conflict``, ``retry``, ``failed``, ``bug``.

    Attributes:
        queue: Runs to look at.
        reconciler: Looks at one; to be set before `work`.
    """

    def __init__(
        self, *, managed_by: str, threads: int, looked: Callable[[str], None] = lambda _result: None
    ) -> None:
        self._looked = looked
        self._managed_by = managed_by
        self.queue: WorkQueue[Key] = WorkQueue()
        self._open: set[Key] = set()
        self.reconciler: Reconciler
        self._threads = [
            threading.Thread(target=self._work, name=f"pipelines-{number}", daemon=True)
            for number in range(threads)
        ]

    def is_mine(self, pipelinerun: Object) -> bool:
        """Whether this controller takes the run."""
        return not self._managed_by or pipelinerun.get("spec", {}).get("managedBy") == self._managed_by

    def on_pipelinerun(self, change: str, obj: Object) -> None:
        """A PipelineRun was seen."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        if change == "DELETED":
            self._open.discard(key)
            self.queue.discard(key)
        elif self.is_mine(obj):
            if is_done(obj):
                self._open.discard(key)
            else:
                self._open.add(key)
                self.queue.add(key)

    def on_taskrun(self, _change: str, obj: Object) -> None:
        """A TaskRun was seen: its PipelineRun is to be looked at."""
        metadata = obj["metadata"]
        for one in metadata.get("ownerReferences") or ():
            key = (metadata.get("namespace", ""), one.get("name", ""))
            if one.get("kind") == PIPELINERUNS.kind and key in self._open:
                self.queue.add_after(key, PAUSE)

    def slim(self, pipelinerun: Object) -> Object:
        """A PipelineRun as it is kept: of another controller's, only that it is there."""
        return slim_pipelinerun(pipelinerun, mine=self.is_mine(pipelinerun))

    @property
    def open(self) -> int:
        """How many runs are not over."""
        return len(self._open)

    def work(self) -> None:
        """Begin to look at runs."""
        for thread in self._threads:
            thread.start()

    @property
    def works(self) -> bool:
        """Whether every worker that was started is there."""
        return all(thread.is_alive() for thread in self._threads if thread.ident is not None)

    def _work(self) -> None:
        while (key := self.queue.get()) is not None:
            try:
                with about(run="/".join(key)):
                    self._look(key)
            except Exception:  # pragma: no cover - a worker outlives even a fault in its own error handling
                log.exception("looking at PipelineRun %s/%s", *key)
            finally:
                self.queue.done(key)

    def _look(self, key: Key) -> None:
        try:
            again = self.reconciler.reconcile(*key)
        except ConflictError:
            self._looked("conflict")
            self.queue.add_after(key, CONFLICT_PAUSE)
            return
        except ResultsError as error:
            if isinstance(error, NotFoundError) and key not in self._open:
                return
            pause = self.queue.retry(key)
            passing = isinstance(error, ClusterError) and error.retryable
            self._looked("retry" if passing else "failed")
            level = logging.WARNING if passing else logging.ERROR
            log.log(level, "%s: %s; again in %.3f s", error.subject or "request", error.message, pause)
            return
        except Exception:
            self._looked("bug")
            pause = self.queue.retry(key)
            log.exception("PipelineRun %s/%s: a fault of resultsfw; again in %.3f s", *key, pause)
            return
        self._looked("done")
        self.queue.forget(key)
        if again is not None:
            self.queue.add_after(key, again)


def slim_pipelinerun(pipelinerun: Object, *, mine: bool) -> Object:
    """A PipelineRun without what no look reads."""
    if mine:
        metadata = {key: value for key, value in pipelinerun["metadata"].items() if key != "managedFields"}
        return {**pipelinerun, "metadata": metadata}
    metadata = {name: pipelinerun["metadata"][name] for name in _NAMES if name in pipelinerun["metadata"]}
    return {"metadata": metadata, "spec": {"managedBy": pipelinerun.get("spec", {}).get("managedBy", "")}}
