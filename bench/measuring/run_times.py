"""Notes from watch events when each run reached each of its states; on a cluster and on the local engine."""

import threading
import time
from typing import Any

from resultsfw.tekton.api.conditions import is_done

Object = dict[str, Any]


class RunTimes:
    """The times of runs by this machine's monotonic clock, and checks of what they report.

    Args:
        backend: The backend that each run must report; "" for any.
        size: Bytes that the results of each TaskRun must have together; ``None`` for any.
        managed_by: The ``spec.managedBy`` that each TaskRun must have.

    Attributes:
        pods: When the pod of each TaskRun was created.
        first: When the first Step of each TaskRun ran.
        last: When all Steps of each TaskRun had terminated.
        done: When each TaskRun was done.
        children: The TaskRuns of each PipelineRun that are done.
        pipelines: When each PipelineRun was done.
        wrong: Sentences on what was not as expected.
        over: Whether no further events are needed.
    """

    def __init__(self, backend: str = "", size: int | None = None, managed_by: str = "") -> None:
        self.pods: dict[str, float] = {}
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.done: dict[str, float] = {}
        self.children: dict[str, list[str]] = {}
        self.pipelines: dict[str, float] = {}
        self.wrong: set[str] = set()
        self.over = False
        self._backend, self._size, self._managed_by = backend, size, managed_by
        self._changed = threading.Condition()

    def event(self, change: str, obj: Object) -> None:
        """Take in a watch event."""
        now = time.monotonic()
        if change not in ("ADDED", "MODIFIED"):
            return
        with self._changed:
            {"Pod": self._pod, "TaskRun": self._taskrun, "PipelineRun": self._pipelinerun}[obj["kind"]](
                obj, now
            )
            self._changed.notify_all()

    def wait(self, count: int, seconds: float, *, pipelines: bool) -> None:
        """Wait until ``count`` runs are done.

        Raises:
            SystemExit: They are not done after ``seconds``.
        """
        done = self.pipelines if pipelines else self.done
        with self._changed:
            if not self._changed.wait_for(lambda: len(done) >= count, seconds):
                raise SystemExit(f"after {seconds:.0f} s only {len(done)} of {count} runs are done")

    def figures(self) -> dict[str, Any]:
        """Return the milliseconds of each run, and stop watching."""
        self.over = True
        return {
            "start_ms": _between(self.pods, self.first),
            "status_ms": _between(self.last, self.done),
            "pipeline_ms": [
                round((end - max(self.done[name] for name in self.children[run])) * 1000)
                for run, end in self.pipelines.items()
                if self.children.get(run)
            ],
            "wrong": sorted(self.wrong),
        }

    def _pod(self, pod: Object, now: float) -> None:
        name = pod["metadata"]["labels"].get("tekton.dev/taskRun")
        if name is None:
            return
        self.pods.setdefault(name, now)
        steps = [
            container["state"]
            for container in pod.get("status", {}).get("containerStatuses") or ()
            if container["name"].startswith("step-")
        ]
        if any("waiting" not in state for state in steps):
            self.first.setdefault(name, now)
        if steps and all("terminated" in state for state in steps):
            self.last.setdefault(name, now)

    def _taskrun(self, run: Object, now: float) -> None:
        name = run["metadata"]["name"]
        if name in self.done or not is_done(run):
            return
        self.done[name] = now
        if (pipeline := (run["metadata"].get("labels") or {}).get("tekton.dev/pipelineRun")) is not None:
            self.children.setdefault(pipeline, []).append(name)
        self._verdict(run)
        flags = run["status"].get("provenance", {}).get("featureFlags", {})
        if self._backend and (used := flags.get("resultExtractionMethod")) != self._backend:
            self.wrong.add(f"results-from {used}")
        if (managed_by := run["spec"].get("managedBy", "")) != self._managed_by:
            self.wrong.add(f"spec.managedBy {managed_by!r}")
        bytes_ = sum(len(result["value"]) for result in run["status"].get("results") or ())
        if self._size is not None and bytes_ != self._size:
            self.wrong.add(f"{bytes_} bytes of results")

    def _pipelinerun(self, run: Object, now: float) -> None:
        if run["metadata"]["name"] not in self.pipelines and is_done(run):
            self.pipelines[run["metadata"]["name"]] = now
            self._verdict(run)

    def _verdict(self, run: Object) -> None:
        condition = run["status"]["conditions"][0]
        if condition["status"] != "True":
            self.wrong.add(f"{run['kind']} {condition['reason']}: {condition.get('message', '')[:200]}")


def _between(begin: dict[str, float], end: dict[str, float]) -> list[int]:
    return [round((end[name] - begin[name]) * 1000) for name in begin if name in end]
