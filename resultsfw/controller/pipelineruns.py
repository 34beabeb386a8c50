"""Which PipelineRuns to look at: woken by them, and by what they wait for in their TaskRuns."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from resultsfw.cluster import UNREADABLE, Object
from resultsfw.controller.failures import stalls_of
from resultsfw.controller.unreadable import defect_of, managed_by, stub
from resultsfw.controller.workers import Key, Workers
from resultsfw.limits import object_size
from resultsfw.operations.logs import about
from resultsfw.tekton.api.conditions import is_done, succeeded
from resultsfw.tekton.api.kinds import PIPELINERUNS

__all__ = ["PipelineRuns", "slim_pipelinerun"]

PAUSE: Final = 0.02
"""Seconds in which more changes of a run's TaskRuns may come before it is looked at."""

KEPT_BYTES: Final = 16_384
"""Bytes of a TaskRun's results that are kept in memory while its PipelineRun goes on: more than termination
messages carry. Larger ones are asked for when a Task is due that names them."""

_NAMES: Final = ("name", "namespace", "uid", "resourceVersion")

_RUNNING: Final = ""
"""What a TaskRun that is not over is to its PipelineRun, however far it is."""


class PipelineRuns(Workers):
    """The PipelineRuns.

    Args:
        managed_by: Whose are taken (``spec.managedBy``); "": all.
        threads: Workers.
        looked: Told what came of each look: ``done``, ``conflict``, ``retry``, ``failed``, ``bug``.

    Attributes:
        copies: Whether their status repeats that of TaskRuns, so that every change of these counts.
        forget_results: Told of the TaskRuns of a run that is over: their results need not be kept.
    """

    def __init__(
        self, *, managed_by: str, threads: int, looked: Callable[[str], None] = lambda _result: None
    ) -> None:
        super().__init__("pipelines", threads)
        self._managed_by = managed_by
        self._looked = looked
        self._open: dict[Key, dict[str, str]] = {}
        self._defects: dict[Key, str] = {}
        self.copies = False
        self.forget_results: Callable[[str, list[str]], None] = lambda _namespace, _names: None

    @property
    def open(self) -> int:
        """How many runs are not over."""
        return len(self._open)

    def is_mine(self, pipelinerun: Object) -> bool:
        """Whether this controller takes the run."""
        return not self._managed_by or managed_by(pipelinerun) == self._managed_by

    def on_pipelinerun(self, change: str, obj: Object) -> None:
        """A PipelineRun was seen."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        self._defects.pop(key, None)
        if change == "DELETED":
            self._open.pop(key, None)
            self.queue.discard(key)
        elif not self.is_mine(obj):
            return
        elif is_done(obj):
            if (children := self._open.pop(key, None)) is not None:
                self.forget_results(key[0], list(children))
        else:
            if defect := obj.get(UNREADABLE):
                self._defects[key] = defect
            self._open.setdefault(key, {})
            self.news(key, metadata.get("resourceVersion", ""), stalled=stalls_of(obj) > 0)

    def on_taskrun(self, change: str, obj: Object) -> None:
        """A TaskRun was seen: what a look at its PipelineRun reads of it may be news."""
        if (key := self._owner(obj)) is None or (children := self._open.get(key)) is None:
            return
        name = obj["metadata"]["name"]
        if change == "DELETED":
            children.pop(name, None)
            self.queue.add_after(key, PAUSE)
            return
        sight = self._sight(obj)
        if children.get(name, _RUNNING) != sight:
            children[name] = sight
            self.queue.add_after(key, PAUSE)

    def keeps_results(self, taskrun: Object) -> bool:
        """Whether the results of a TaskRun that is over are worth their memory: its PipelineRun goes on."""
        results = taskrun["status"].get("results") if is_done(taskrun) else None
        return bool(results) and self._owner(taskrun) in self._open and object_size(results) <= KEPT_BYTES

    def slim(self, pipelinerun: Object) -> Object:
        """A PipelineRun as it is kept: of another controller's, only that it is there."""
        mine = self.is_mine(pipelinerun)
        if mine and (defect := defect_of(pipelinerun)):
            return stub(pipelinerun, defect)
        return slim_pipelinerun(pipelinerun, mine=mine)

    def wants(self, key: Key) -> bool:
        """Whether a run is not over."""
        return key in self._open

    def exists(self, key: Key) -> bool:
        """Whether a run is there and goes on."""
        return key in self._open

    def defect(self, key: Key) -> str:
        """Why no reconciler can work on a run; "" where one can."""
        return self._defects.get(key, "")

    def told(self, key: Key) -> AbstractContextManager[object]:
        """Which run it is."""
        return about(run="/".join(key))

    def name(self, key: Key) -> str:
        """As the log calls the run."""
        return f"PipelineRun {key[0]}/{key[1]}"

    def looked(self, result: str) -> None:
        """Tell what came of the look."""
        self._looked(result)

    @staticmethod
    def _owner(taskrun: Object) -> Key | None:
        metadata = taskrun["metadata"]
        for one in metadata.get("ownerReferences") or ():
            if one.get("kind") == PIPELINERUNS.kind:
                return metadata.get("namespace", ""), one.get("name", "")
        return None

    def _sight(self, taskrun: Object) -> str:
        """A text that changes with all that a look at the PipelineRun reads of one of its TaskRuns.

        One that is not over is awaited. That it is there is known to the look that made it, and to the first
        look of a controller, which every PipelineRun gets.
        """
        if self.copies:
            return str(taskrun["metadata"].get("resourceVersion", ""))
        if not is_done(taskrun):
            return _RUNNING
        verdict = succeeded(taskrun)
        return f"{verdict.get('status')} {verdict.get('reason')}"


def slim_pipelinerun(pipelinerun: Object, *, mine: bool) -> Object:
    """A PipelineRun without what no look reads; of one that is over, only that it is."""
    if mine and not is_done(pipelinerun):
        metadata = {key: value for key, value in pipelinerun["metadata"].items() if key != "managedFields"}
        return {**pipelinerun, "metadata": metadata}
    metadata = {name: pipelinerun["metadata"][name] for name in _NAMES if name in pipelinerun["metadata"]}
    slim: Object = {"metadata": metadata, "spec": {"managedBy": managed_by(pipelinerun)}}
    if isinstance(defect := pipelinerun.get(UNREADABLE), str):  # for the log and the metrics
        slim[UNREADABLE] = defect
    if mine:
        slim["status"] = {"conditions": pipelinerun["status"]["conditions"]}
    return slim
