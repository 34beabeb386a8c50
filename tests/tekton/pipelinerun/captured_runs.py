"""PipelineRuns as Tekton ended them, played again with our reconciler, and what of them can be compared."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from resultsfw import ResultsManager, jsons
from resultsfw.errors import NotFoundError
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import PIPELINERUNS, PIPELINES
from resultsfw.tekton.api.policies import policies_of
from resultsfw.tekton.pipelinerun.children import kind_of_reference
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler

CAPTURES = Path(__file__).parents[2] / "data" / "pipelines"


def _names(folder):
    return sorted(path.name.removesuffix(".json.gz") for path in folder.glob("*.json.gz"))


NAMES = _names(CAPTURES)
CHILD_NAMES = _names(CAPTURES / "children")
"""Those with custom tasks, or with Pipelines in Pipelines."""


def load(name):
    folder = CAPTURES / "children" if name in CHILD_NAMES else CAPTURES
    return json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))


def plain(status):
    """Without times, spec (Tekton adds empty fields) and flags."""
    left = {"pipelineSpec", "provenance", "startTime", "completionTime", "finallyStartTime"}
    comparable = {key: value for key, value in status.items() if key not in left}
    for condition in comparable["conditions"]:
        condition.pop("lastTransitionTime")
    return comparable


def without_nested_skips(status):
    """Without what Tekton says of a Pipeline whose child PipelineRun ran and failed: that it was skipped."""
    nested = {
        child["pipelineTaskName"] for child in status["childReferences"] if child["kind"] == "PipelineRun"
    }
    skipped = [task for task in status.get("skippedTasks", ()) if task["name"] not in nested]
    left = {key: value for key, value in status.items() if key != "skippedTasks"}
    return {**left, **({"skippedTasks": skipped} if skipped else {})}


def bare(value):
    """Without the empty fields Tekton's types add."""
    if isinstance(value, dict):
        return {key: bare(inner) for key, inner in value.items() if inner not in ({}, None, "")}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


class CapturedRun:
    """One captured PipelineRun, whose children end as they did under Tekton, one after each reconcile."""

    def __init__(self, capture):
        self.capture = capture
        self.store = Store()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.reconciler = PipelineReconciler(
            ResultsManager.from_flags({}),
            self.store,
            clock=lambda: self.now,
            policies=policies_of(capture["flags"], {}),
        )
        self.name = capture["name"]
        self.theirs = {child["metadata"]["name"]: child for child in capture["tekton_taskruns"]}
        self.made = {}
        for pipeline in capture.get("pipelines", ()):
            self.store.create(
                PIPELINES, {**pipeline, "metadata": {**pipeline["metadata"], "namespace": "default"}}
            )
        run = jsons.copy(capture["pipelinerun"])
        run["metadata"]["namespace"] = "default"
        self.store.create(PIPELINERUNS, run)

    @property
    def pipelinerun(self):
        return self.store.get(PIPELINERUNS, "default", self.name)

    def end_children(self):
        """Give each child that is there the status that it had in the end, if it had ended."""
        for name, theirs in self.theirs.items():
            kind = kind_of_reference(theirs)
            try:
                ours = self.store.get(kind, "default", name)
            except NotFoundError:
                continue
            self.made.setdefault(name, ours)
            verdict = theirs["status"]["conditions"][0]
            if verdict["reason"].endswith("RunCancelled") and not ours["spec"].get("status"):
                continue
            if ours.get("status", {}).get("conditions") != theirs["status"]["conditions"]:
                status = {key: value for key, value in theirs["status"].items() if key != "taskSpec"}
                self.store.patch(kind, "default", name, {"status": status}, subresource="status")

    def play(self):
        for _ in range(12):
            self.reconciler.reconcile("default", self.name)
            self.end_children()
            self.now += timedelta(seconds=3)
            if is_done(self.pipelinerun):
                return self.pipelinerun["status"]
            if "patch" in self.capture and len(self.made) + self.capture.get("made_later", 0) == len(
                self.theirs
            ):
                patch = {"spec": self.capture["patch"]}
                self.store.patch(PIPELINERUNS, "default", self.name, patch)
        return self.pipelinerun["status"]
