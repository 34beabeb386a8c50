"""A harness for tests of the PipelineRun reconciler: a store, a clock, and TaskRuns that tests end."""

from datetime import UTC, datetime, timedelta
from typing import Any

from resultsfw import Kind, Object, ResultsManager
from resultsfw.errors import NotFoundError
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import condition, is_done
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler


class KilledError(KeyboardInterrupt):
    """The controller is killed at this very call."""


class RecordingStore(Store):
    """A store that records every call, and can kill the controller before or after one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []
        self.fail_at: int | None = None

    def _record(self, verb: str, kind: Kind) -> None:
        self.calls.append((verb, kind.kind))
        if self.fail_at is not None and len(self.calls) == self.fail_at:
            raise KilledError

    def get(self, kind, namespace, name):
        self._record("get", kind)
        return super().get(kind, namespace, name)

    def create(self, kind, obj):
        self._record("create", kind)
        made = super().create(kind, obj)
        self._record("created", kind)
        return made

    def patch(self, kind, namespace, name, patch, *, subresource=""):
        self._record("patch", kind)
        changed = super().patch(kind, namespace, name, patch, subresource=subresource)
        self._record("patched", kind)
        return changed


def pipeline_task(name: str, *, results: tuple[str, ...] = (), **fields: Any) -> Object:
    """Return a Pipeline Task with an embedded Task of one Step."""
    declared = [{"name": result, "type": "string"} for result in results]
    steps = [{"name": "s", "image": "i", "script": "true"}]
    spec = {"steps": steps, **({"results": declared} if declared else {})}
    return {"name": name, "taskSpec": spec, **fields}


class PipelineRunHarness:
    """One PipelineRun ``p``, its reconciler and its cluster; tests say how its TaskRuns end."""

    def __init__(
        self, *tasks: Object, last: tuple[Object, ...] = (), flags=None, coscheduling=None, **spec: Any
    ) -> None:
        self.coscheduling = coscheduling
        self.store = RecordingStore()
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.core = ResultsManager.from_flags(flags or {})
        self.restart_controller()
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

    def restart_controller(self) -> None:
        """Replace the reconciler by one that has seen nothing."""
        self.reconciler = PipelineReconciler(
            self.core, self.store, clock=lambda: self.now, coscheduling=self.coscheduling
        )

    def reconcile(self, seconds: float = 1) -> float | None:
        """Reconcile once, so many seconds later; return after how many the reconciler asks to be requeued."""
        self.now += timedelta(seconds=seconds)
        return self.reconciler.reconcile("default", "p")

    def request_status(self, status: str) -> None:
        """Set ``spec.status``: cancel, stop or hold back the run."""
        Store.patch(self.store, PIPELINERUNS, "default", "p", {"spec": {"status": status}})

    @property
    def pipelinerun(self) -> Object:
        return Store.get(self.store, PIPELINERUNS, "default", "p")

    @property
    def status(self) -> Object:
        return self.pipelinerun["status"]

    @property
    def condition(self) -> tuple[str, str, str]:
        """Status, reason and message of the run's condition."""
        succeeded = self.status["conditions"][0]
        return succeeded["status"], succeeded["reason"], succeeded["message"]

    @property
    def skipped_tasks(self) -> dict[str, str]:
        """Why each skipped Task was skipped, by name."""
        return {task["name"]: task["reason"] for task in self.status.get("skippedTasks") or ()}

    @property
    def is_done(self) -> bool:
        return is_done(self.pipelinerun)

    def taskrun(self, task: str) -> Object | None:
        """Return the TaskRun of a Task; ``None`` if there is none."""
        try:
            return Store.get(self.store, TASKRUNS, "default", f"p-{task}")
        except NotFoundError:
            return None

    @property
    def taskruns_made(self) -> list[str]:
        """The Tasks that have a TaskRun."""
        return sorted(taskrun["metadata"]["name"][2:] for taskrun in self.store.list(TASKRUNS, "default"))

    def params_of(self, task: str) -> dict[str, Any]:
        taskrun = self.taskrun(task)
        assert taskrun is not None, f"there is no TaskRun of {task}"
        return {param["name"]: param["value"] for param in taskrun["spec"].get("params") or ()}

    def finish_task(self, task: str, reason: str = "Succeeded", **results: Any) -> None:
        """End the TaskRun of a Task with this reason and these results."""
        verdict = "True" if reason == "Succeeded" else "False"
        written = [{"name": name, "type": "string", "value": value} for name, value in results.items()]
        status = {"conditions": [condition(verdict, reason, "m", self.now)], "results": written}
        Store.patch(self.store, TASKRUNS, "default", f"p-{task}", {"status": status}, subresource="status")
