"""Tekton's artifacts, which are not supported: Tasks and Pipelines that use their variables are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipelinerun_harness import PipelineRunHarness, pipeline_task
from taskrun_harness import TaskRunHarness

from resultsfw import PODS
from resultsfw.local.store import Store
from resultsfw.tekton.api.models import validate_taskrun_document
from resultsfw.tekton.api.unsupported import artifact_variable

STEP = {"name": "s", "image": "i", "script": "true"}


def document(kind="TaskRun", **spec):
    return {"apiVersion": "tekton.dev/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize(
    "variable",
    [
        "$(step.artifacts.path)",
        "$(artifacts.path)",
        "$(steps.S.outputs.A)",
        "$(steps.S.inputs.A)",
        "$(tasks.T.outputs.A)",
        "$(steps.S.outputs)",
        "/tekton/artifacts/provenance.json",
        "/tekton/steps/step-s/artifacts/provenance.json",
    ],
)
@pytest.mark.parametrize(
    ("place", "path"),
    [
        ({"steps": [{**STEP, "script": "cat {}"}]}, "steps[0].script"),
        ({"steps": [{**STEP, "env": [{"name": "A", "value": "{}"}]}]}, "steps[0].env[0].value"),
        ({"steps": [{"image": "i", "command": ["c"], "args": ["a", "{}"]}]}, "steps[0].args[1]"),
        ({"steps": [STEP], "sidecars": [{"name": "s", "image": "i", "script": "{}"}]}, "sidecars[0].script"),
        ({"steps": [STEP], "stepTemplate": {"workingDir": "{}"}}, "stepTemplate.workingDir"),
    ],
)
def test_a_task_that_uses_artifacts_is_refused_and_not_run_with_an_empty_text(variable, place, path):
    task = json.loads(json.dumps(place).replace("{}", variable))
    harness = TaskRunHarness()
    harness.submit(taskSpec=task)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert f"spec.taskSpec.{path}: {variable}: artifacts are not supported" in harness.condition["message"]
    assert Store.list(harness.cluster, PODS) == []


def test_a_pipeline_that_passes_artifacts_on_is_refused():
    given = [{"name": "p", "value": "$(tasks.a.outputs.image)"}]
    harness = PipelineRunHarness(pipeline_task("a"), pipeline_task("b", params=given))
    harness.reconcile()
    assert harness.condition[1] == "PipelineValidationFailed"
    assert "spec.pipelineSpec.tasks[1].params[0].value: $(tasks.a.outputs.image)" in harness.condition[2]
    assert harness.taskruns_made == []


def test_a_description_and_a_value_may_speak_of_artifacts():
    """A value is data, and what a person reads is no variable."""
    text = "$(step.artifacts.path)"
    task = {"steps": [STEP], "description": text, "params": [{"name": "p", "default": text}]}
    validate_taskrun_document(document(taskSpec=task, params=[{"name": "p", "value": text}]))


@given(st.text(alphabet="$().ainoprstux[]") | st.text())
def test_text_without_a_variable_of_artifacts_is_let_through(text):
    found = artifact_variable(text)
    assert found in text
    assert not found or found.startswith(("$(", "/tekton/"))


@pytest.mark.parametrize(
    "text",
    [
        "$(steps.x.outputs." * 60_000,
        "$(steps." * 120_000,
        "$(tasks." + "a" * 10**6,
        "$(steps.a.outputs." + "b" * 10**6,
    ],
)
def test_the_search_for_variables_of_artifacts_is_linear(text):
    """Quadratic work on these would take minutes."""
    assert artifact_variable(f"{text}$(artifacts.path)") == "$(artifacts.path)"
