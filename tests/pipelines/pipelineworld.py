"""A store, a clock and the reconciler of PipelineRuns; what TaskRuns come to is told by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

from resultsfw import Kind, Object, ResultsManager
from resultsfw.errors import NotFoundError
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import condition, is_done
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler


class KilledError(BaseException):
    """The controller is killed at this very call."""


class Counting(Store):
    """The store, every call counted; it can end the process at one of them, before or after it was done."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []
        self.fail_at: int | None = None

    def _count(self, verb: str, kind: Kind) -> None:
        self.calls.append((verb, kind.kind))
        if self.fail_at is not None and len(self.calls) == self.fail_at:
            raise KilledError

    def get(self, kind, namespace, name):
        self._count("get", kind)
        return super().get(kind, namespace, name)

    def create(self, kind, obj):
        self._count("create", kind)
        made = super().create(kind, obj)
        self._count("created", kind)
        return made

    def patch(self, kind, namespace, name, patch, *, subresource=""):
        self._count("patch", kind)
        changed = super().patch(kind, namespace, name, patch, subresource=subresource)
        self._count("patched", kind)
        return changed


def a_task(name: str, *, results: tuple[str, ...] = (), **fields: Any) -> Object:
    declared = [{"name": one, "type": "string"} for one in results]
    steps = [{"name": "s", "image": "i", "script": "true"}]
    spec = {"steps": steps, **({"results": declared} if declared else {})}
    return {"name": name, "taskSpec": spec, **fields}


class World:
    """One PipelineRun ``p``."""

    def __init__(self, *tasks: Object, last: tuple[Object, ...] = (), flags=None, **spec: Any) -> None:
        self.store = Counting()
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.core = ResultsManager.from_flags(flags or {})
        self.start()
        pipeline: Object = {"tasks": list(tasks), **({"finally": list(last)} if last else {})}
        pipeline |= {key: spec.pop(key) for key in ("params", "results", "workspaces") if key in spec}
        given = {name.removeprefix("run_"): value for name, value in spec.items()}
        run = {
            "apiVersion": "tekton.dev/v1",
            "kind": "PipelineRun",
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"pipelineSpec": pipeline, **given},
        }
        self.store.create(PIPELINERUNS, run)

    def start(self) -> None:
        """A controller that knows nothing."""
        self.reconciler = PipelineReconciler(self.core, self.store, clock=lambda: self.now)

    def step(self, seconds: float = 1) -> float | None:
        self.now += timedelta(seconds=seconds)
        return self.reconciler.reconcile("default", "p")

    def ask(self, status: str) -> None:
        Store.patch(self.store, PIPELINERUNS, "default", "p", {"spec": {"status": status}})

    @property
    def run(self) -> Object:
        return Store.get(self.store, PIPELINERUNS, "default", "p")

    @property
    def status(self) -> Object:
        return self.run["status"]

    @property
    def told(self) -> tuple[str, str, str]:
        one = self.status["conditions"][0]
        return one["status"], one["reason"], one["message"]

    @property
    def skipped(self) -> dict[str, str]:
        return {one["name"]: one["reason"] for one in self.status.get("skippedTasks") or ()}

    @property
    def done(self) -> bool:
        return is_done(self.run)

    def taskrun(self, task: str) -> Object | None:
        try:
            return Store.get(self.store, TASKRUNS, "default", f"p-{task}")
        except NotFoundError:
            return None

    @property
    def made(self) -> list[str]:
        return sorted(one["metadata"]["name"][2:] for one in self.store.list(TASKRUNS, "default"))

    def params(self, task: str) -> dict[str, Any]:
        taskrun = self.taskrun(task)
        assert taskrun is not None, f"there is no TaskRun of {task}"
        return {one["name"]: one["value"] for one in taskrun["spec"].get("params") or ()}

    def end(self, task: str, reason: str = "Succeeded", **results: Any) -> None:
        """A TaskRun ends so, with these results."""
        told = "True" if reason == "Succeeded" else "False"
        written = [{"name": name, "type": "string", "value": value} for name, value in results.items()]
        status = {"conditions": [condition(told, reason, "m", self.now)], "results": written}
        Store.patch(self.store, TASKRUNS, "default", f"p-{task}", {"status": status}, subresource="status")
