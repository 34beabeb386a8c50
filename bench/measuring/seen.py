"""When what happened to runs, from what a watch says of them: the same on a cluster and without one."""

import threading
import time
from typing import Any

from resultsfw.tekton.api.conditions import is_done

Object = dict[str, Any]


class Seen:
    """When each run got its pod, its first Step, its last, its verdict. Times are of this machine's clock.

    Args:
        backend: What the runs are to say that carried their results.
        size: Bytes that each TaskRun's results are to have together; ``None``: whatever they have.
        managed_by: ``spec.managedBy`` that each TaskRun is to have: no other controller had a hand in it.

    Attributes:
        pods: TaskRun to when its pod was there.
        first: TaskRun to when the container of one of its Steps ran.
        last: TaskRun to when all its Steps had ended.
        done: TaskRun to when its status had the verdict.
        children: PipelineRun to its TaskRuns that are over.
        pipelines: PipelineRun to when its status had the verdict.
        wrong: What was not as it has to be.
        over: Nobody waits for more.
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
        """Take in what a watch says."""
        now = time.monotonic()
        if change not in ("ADDED", "MODIFIED"):
            return
        with self._changed:
            {"Pod": self._pod, "TaskRun": self._taskrun, "PipelineRun": self._pipelinerun}[obj["kind"]](
                obj, now
            )
            self._changed.notify_all()

    def wait(self, count: int, seconds: float, *, pipelines: bool) -> None:
        """Until so many runs have their verdict.

        Raises:
            SystemExit: They have it not after so many seconds.
        """
        done = self.pipelines if pipelines else self.done
        with self._changed:
            if not self._changed.wait_for(lambda: len(done) >= count, seconds):
                raise SystemExit(f"after {seconds:.0f} s only {len(done)} of {count} runs are over")

    def figures(self) -> dict[str, Any]:
        """Milliseconds of each run; nothing is watched any longer."""
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
            one["state"]
            for one in pod.get("status", {}).get("containerStatuses") or ()
            if one["name"].startswith("step-")
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
        if (whose := run["spec"].get("managedBy", "")) != self._managed_by:
            self.wrong.add(f"spec.managedBy {whose!r}")
        bytes_ = sum(len(one["value"]) for one in run["status"].get("results") or ())
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
