"""Hermetic execution, which is not enforced: what asks for it is refused."""

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task
from taskrun_harness import TaskRunHarness

from resultsfw import PODS
from resultsfw.errors import InputError
from resultsfw.local.store import Store
from resultsfw.tekton.api.fields import HERMETIC_ANNOTATION
from resultsfw.tekton.api.kinds import PIPELINERUNS
from resultsfw.tekton.api.models import validate_task_document

STEP = {"name": "s", "image": "i", "script": "true"}


def document(kind="TaskRun", **spec):
    return {"apiVersion": "tekton.dev/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def refusal(parse, obj):
    with pytest.raises(InputError) as caught:
        parse(obj)
    return caught.value


HERMETIC = {HERMETIC_ANNOTATION: "hermetic"}


def test_a_hermetic_run_is_refused():
    harness = TaskRunHarness()
    harness.submit(annotations=HERMETIC)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert f"metadata.annotations[{HERMETIC_ANNOTATION}]" in harness.condition["message"]
    assert Store.list(harness.cluster, PODS) == []


def test_another_execution_mode_is_ignored_as_tekton_ignores_it():
    harness = TaskRunHarness()
    harness.submit(annotations={HERMETIC_ANNOTATION: "standard"})
    harness.reconcile()
    assert harness.pod()


def test_a_hermetic_task_is_refused_as_its_annotation_passes_to_its_runs():
    task = {**document("Task", steps=[STEP]), "metadata": {"name": "t", "annotations": HERMETIC}}
    assert "hermetic execution" in refusal(validate_task_document, task).message


@pytest.mark.parametrize("place", ["run", "task", "specs"])
def test_a_hermetic_pipelinerun_is_refused_before_there_is_a_taskrun(place):
    own = {"pipelineTaskName": "a", "metadata": {"annotations": HERMETIC}}
    task = pipeline_task("a")
    if place == "task":
        task["taskSpec"]["metadata"] = {"annotations": HERMETIC}
    harness = PipelineRunHarness(task, **({"taskRunSpecs": [own]} if place == "specs" else {}))
    if place == "run":
        patch = {"metadata": {"annotations": HERMETIC}}
        Store.patch(harness.store, PIPELINERUNS, "default", "p", patch)
    harness.reconcile()
    assert harness.condition[1] == "PipelineValidationFailed"
    assert "hermetic execution" in harness.condition[2]
    assert harness.taskruns_made == []
