"""Nine PipelineRuns as Tekton ended them, and ours from the same TaskRuns."""

from datetime import UTC, datetime, timedelta

import pytest
from captured_runs import NAMES, load, plain

from resultsfw import ResultsManager, jsons
from resultsfw.errors import NotFoundError
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler


class CapturedRun:
    """One captured PipelineRun, whose TaskRuns end as they did under Tekton, one after each reconcile."""

    def __init__(self, capture):
        self.capture = capture
        self.store = Store()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.reconciler = PipelineReconciler(
            ResultsManager.from_flags({}), self.store, clock=lambda: self.now
        )
        self.name = capture["name"]
        self.theirs = {one["metadata"]["name"]: one for one in capture["tekton_taskruns"]}
        self.made = {}
        run = jsons.copy(capture["pipelinerun"])
        run["metadata"]["namespace"] = "default"
        self.store.create(PIPELINERUNS, run)

    @property
    def pipelinerun(self):
        return self.store.get(PIPELINERUNS, "default", self.name)

    def end_taskruns(self):
        """The status that each TaskRun that is there had in the end, if it had ended."""
        for name, theirs in self.theirs.items():
            try:
                ours = self.store.get(TASKRUNS, "default", name)
            except NotFoundError:
                continue
            self.made.setdefault(name, ours)
            verdict = theirs["status"]["conditions"][0]
            cancelled = verdict["reason"] == "TaskRunCancelled"
            if cancelled and ours["spec"].get("status") != "TaskRunCancelled":
                continue
            if ours.get("status", {}).get("conditions") != theirs["status"]["conditions"]:
                status = {key: value for key, value in theirs["status"].items() if key != "taskSpec"}
                self.store.patch(TASKRUNS, "default", name, {"status": status}, subresource="status")

    def play(self):
        for _ in range(12):
            self.reconciler.reconcile("default", self.name)
            self.end_taskruns()
            self.now += timedelta(seconds=3)
            if is_done(self.pipelinerun):
                return self.pipelinerun["status"]
            if "patch" in self.capture and len(self.made) == len(self.theirs):
                patch = {"spec": self.capture["patch"]}
                self.store.patch(PIPELINERUNS, "default", self.name, patch)
        return self.pipelinerun["status"]


@pytest.mark.parametrize("name", NAMES)
def test_the_status_equals_tektons(name):
    capture = load(name)
    run = CapturedRun(capture)
    ours, theirs = plain(run.play()), plain(capture["tekton_final"]["status"])
    assert ours == theirs
    assert run.theirs.keys() == run.made.keys()


@pytest.mark.parametrize("name", NAMES)
def test_the_taskruns_equal_tektons(name):
    capture = load(name)
    run = CapturedRun(capture)
    run.play()
    for which, theirs in run.theirs.items():
        ours = run.made[which]
        labels = dict(theirs["metadata"]["labels"])
        del labels["app.kubernetes.io/managed-by"]  # decision 0006
        labels["tekton.dev/pipelineRunUID"] = run.pipelinerun["metadata"]["uid"]
        assert ours["metadata"]["labels"] == labels
        wanted = {
            key: value for key, value in theirs["metadata"]["annotations"].items() if "/release" not in key
        }
        assert ours["metadata"].get("annotations", {}) == wanted
        assert ours["spec"].get("params") == theirs["spec"].get("params")
        assert bare(ours["spec"].get("taskSpec")) == bare(theirs["spec"].get("taskSpec"))
        (owner,) = ours["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("PipelineRun", name)
        assert not owner["controller"]  # decision 0006


def bare(value):
    """Without the empty fields Tekton's types add."""
    if isinstance(value, dict):
        return {key: bare(one) for key, one in value.items() if one not in ({}, None, "")}
    return [bare(one) for one in value] if isinstance(value, list) else value
