"""Map watch events of PipelineRuns and their children to reconcile requests, and track the PipelineRuns."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Final

from resultsfw.cluster import UNREADABLE, Object
from resultsfw.controller.cache_transforms import RESULT_FIELDS
from resultsfw.controller.controller import Controller, MarkFailed, Reconciler
from resultsfw.controller.failures import stalls_of
from resultsfw.controller.ownership import RunSelector, pipelinerun_of
from resultsfw.controller.requests import Request, RequestQueue
from resultsfw.limits import object_size
from resultsfw.operations.logs import about
from resultsfw.tekton.api.conditions import is_done, succeeded

__all__ = ["ChildEvents", "PipelineRunController", "PipelineRunEvents", "PipelineRunIndex"]

DELAY: Final = 0.02
"""Seconds for which events of a PipelineRun's children are gathered before it is reconciled."""

KEPT_BYTES: Final = 16_384
"""Bytes of a TaskRun's results that the cache keeps while its PipelineRun runs: more than termination
messages carry. Larger results are read from the API server when a Task is due that references them."""

_RUNNING: Final = ""
"""The fingerprint of a child that is not finished, whatever its progress."""


class PipelineRunIndex:
    """The PipelineRuns that are not finished, from the watch.

    Args:
        selector: Selects this controller's PipelineRuns.

    Attributes:
        copies_statuses: Whether a PipelineRun's status repeats that of its TaskRuns (``embedded-status``), so
            that each change of theirs counts. It changes with the flags.
    """

    def __init__(self, selector: RunSelector) -> None:
        self.copies_statuses = False
        self._selector = selector
        self._children: dict[Request, dict[str, str]] = {}
        self._defects: dict[Request, str] = {}

    def __len__(self) -> int:
        """Return how many PipelineRuns are not finished."""
        return len(self._children)

    def __contains__(self, request: Request) -> bool:
        """Return whether a PipelineRun is known and not finished."""
        return request in self._children

    def selects(self, pipelinerun: Object) -> bool:
        """Return whether this controller reconciles a PipelineRun."""
        return self._selector.selects(pipelinerun)

    def children(self, request: Request) -> dict[str, str] | None:
        """Return the fingerprints of a PipelineRun's children by name; ``None`` for an unknown one."""
        return self._children.get(request)

    def defect(self, request: Request) -> str:
        """Return why a PipelineRun cannot be reconciled; "" if it can."""
        return self._defects.get(request, "")

    def update(self, request: Request, pipelinerun: Object) -> None:
        """Note a PipelineRun that is not finished."""
        if defect := pipelinerun.get(UNREADABLE):
            self._defects[request] = defect
        else:
            self._defects.pop(request, None)
        self._children.setdefault(request, {})

    def remove(self, request: Request) -> Iterable[str]:
        """Forget a PipelineRun that finished or was deleted, and return the names of its children."""
        self._defects.pop(request, None)
        return self._children.pop(request, ())

    def has_child(self, child: Object) -> bool:
        """Return whether a CustomRun is of a PipelineRun that is known and not finished."""
        return pipelinerun_of(child) in self._children

    def keeps_results(self, taskrun: Object) -> bool:
        """Return whether the cache keeps a TaskRun's results: small ones, while its PipelineRun runs."""
        if not is_done(taskrun) or pipelinerun_of(taskrun) not in self._children:
            return False
        found = [taskrun["status"][field] for field in RESULT_FIELDS if taskrun["status"].get(field)]
        return bool(found) and object_size(found) <= KEPT_BYTES


class PipelineRunEvents:
    """Enqueues PipelineRuns that somebody else wrote.

    Args:
        index: Kept up to date.
        queue: Where requests go.
        release_results: Called with the namespace and names of the TaskRuns of a finished PipelineRun: the
            cache need not keep their results any more.
    """

    def __init__(
        self,
        index: PipelineRunIndex,
        queue: RequestQueue,
        release_results: Callable[[str, Iterable[str]], None],
    ) -> None:
        self._index = index
        self._queue = queue
        self._release_results = release_results

    def on_pipelinerun(self, change: str, pipelinerun: Object) -> None:
        """Handle a watch event of a PipelineRun."""
        metadata = pipelinerun["metadata"]
        request = (metadata.get("namespace", ""), metadata["name"])
        if change == "DELETED":
            self._index.remove(request)
            self._queue.discard(request)
        elif not self._index.selects(pipelinerun):
            self._index.remove(request)
        elif is_done(pipelinerun):
            self._release_results(request[0], list(self._index.remove(request)))
        else:
            self._index.update(request, pipelinerun)
            version = metadata.get("resourceVersion", "")
            self._queue.enqueue(request, version, stalled=stalls_of(pipelinerun) > 0)


class ChildEvents:
    """Enqueues the PipelineRuns of children whose events bring something that a reconciliation reads.

    Args:
        index: Kept up to date.
        queue: Where requests go.
    """

    def __init__(self, index: PipelineRunIndex, queue: RequestQueue) -> None:
        self._index = index
        self._queue = queue

    def on_child(self, change: str, child: Object) -> None:
        """Handle a watch event of a TaskRun, CustomRun or PipelineRun."""
        request = pipelinerun_of(child)
        if request is None or (children := self._index.children(request)) is None:
            return
        name = child["metadata"]["name"]
        if change == "DELETED":
            children.pop(name, None)
            self._queue.add_after(request, DELAY)
            return
        fingerprint = self._fingerprint(child)
        if children.get(name, _RUNNING) != fingerprint:
            children[name] = fingerprint
            self._queue.add_after(request, DELAY)

    def _fingerprint(self, child: Object) -> str:
        """Return a text that changes with everything that reconciling a PipelineRun reads of its child.

        A running child is only awaited. That it exists is known to the reconciliation that created it, and
        to the first one of a new leader, which every PipelineRun gets.
        """
        if self._index.copies_statuses:
            return str(child["metadata"].get("resourceVersion", ""))
        if UNREADABLE in child:
            return UNREADABLE
        if not is_done(child):
            return _RUNNING
        condition = succeeded(child)
        return f"{condition.get('status')} {condition.get('reason')}"


class PipelineRunController(Controller):
    """Reconciles PipelineRuns.

    Args:
        index: The PipelineRuns' state.
        queue: See `Controller`.
        reconciler: See `Controller`.
        mark_failed: See `Controller`.
        record_result: Counts the reconciliations, by result.
        threads: How many workers.
    """

    def __init__(
        self,
        index: PipelineRunIndex,
        queue: RequestQueue,
        reconciler: Reconciler,
        mark_failed: MarkFailed,
        *,
        record_result: Callable[[str], None],
        threads: int,
    ) -> None:
        super().__init__("pipelines", queue, reconciler, mark_failed, threads=threads)
        self._index = index
        self._record_result = record_result

    def needs_reconcile(self, request: Request) -> bool:
        """Return whether a PipelineRun is not finished."""
        return request in self._index

    def exists(self, request: Request) -> bool:
        """Return whether a PipelineRun is known and not finished."""
        return request in self._index

    def defect(self, request: Request) -> str:
        """Return why a PipelineRun cannot be reconciled; "" if it can."""
        return self._index.defect(request)

    def log_context(self, request: Request) -> AbstractContextManager[object]:
        """Return a context within which log lines name the PipelineRun."""
        return about(run="/".join(request))

    def describe(self, request: Request) -> str:
        """Return a PipelineRun's name for the log."""
        return f"PipelineRun {request[0]}/{request[1]}"

    def record_result(self, result: str) -> None:
        """Count a reconciliation."""
        self._record_result(result)
