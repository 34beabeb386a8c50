"""Tekton's artifacts in Tasks: where their variables may stand, and which Steps are found to write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskrun_harness import TaskRunHarness

from resultsfw import PODS, ResultsManager
from resultsfw.local.store import Store
from resultsfw.tekton.api.artifact_refs import (
    ArtifactRef,
    artifact_variable,
    parse_artifact_ref,
    uses_artifacts,
    writes_step_artifacts,
    writes_task_artifacts,
)
from resultsfw.tekton.api.models import validate_taskrun_document
from resultsfw.tekton.api.policies import Policies
from resultsfw.tekton.spec.unreplaced import in_task
from resultsfw.tekton.taskrun.reconciler import Reconciler

STEP = {"name": "s", "image": "i", "script": "true"}
FIRST = {"name": "first", "image": "i", "script": "#!/bin/sh\necho {} > $(step.artifacts.path)"}


def document(kind="TaskRun", **spec):
    return {"apiVersion": "tekton.dev/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize(
    ("texts", "step", "task"),
    [
        ({"script": "cat > $(step.artifacts.path)"}, True, False),
        ({"script": "cat > /tekton/steps/step-s/artifacts/provenance.json"}, True, False),
        ({"script": "cat /tekton/steps/step-other/artifacts/provenance.json"}, False, False),
        ({"command": ["c"], "args": ["--to", "$(step.artifacts.path)"]}, True, False),
        ({"command": ["c"], "env": [{"name": "A", "value": "$(artifacts.path)"}]}, False, True),
        ({"command": ["/tekton/artifacts/provenance.json"]}, False, True),
        ({"script": "echo $(steps.first.outputs.image)"}, False, False),
    ],
)
def test_a_step_writes_artifacts_if_a_text_of_it_names_their_path(texts, step, task):
    spec = {"steps": [FIRST, {"name": "s", "image": "i", **texts}]}
    assert writes_step_artifacts(spec) == (True, step)
    assert writes_task_artifacts(spec) == task
    assert uses_artifacts(spec)


def test_a_path_in_the_template_is_each_steps():
    env = [{"name": "A", "value": "/tekton/steps/step-s/artifacts/provenance.json"}]
    spec = {"steps": [STEP, {**STEP, "name": "other"}], "stepTemplate": {"env": env}}
    assert writes_step_artifacts(spec) == (True, False)


@pytest.mark.parametrize("field", ["script", "args", "command", "env"])
def test_an_earlier_steps_artifact_may_stand_where_the_entrypoint_puts_it_in(field):
    text = "$(steps.first.outputs.image)"
    later = {"script": text} if field == "script" else {"command": ["c"]}
    later |= {"args": {"args": [text]}, "command": {"command": [text]}}.get(field, {})
    later |= {"env": [{"name": "A", "value": text}]} if field == "env" else {}
    second = {"name": "second", "image": "i", **later}
    first = {**FIRST, "script": "true"}
    assert list(in_task({"steps": [first, second]}, ())) == []
    assert [found.variable for found in in_task({"steps": [second, first]}, ())] == [text[2:-1]]


@pytest.mark.parametrize(
    ("later", "says"),
    [
        ({"image": "$(steps.first.outputs.image)"}, "stepArtifact substitutions are only allowed in env"),
        ({"script": "cat $(step.artifacts.path)", "args": ["$(steps.none.outputs.a)"]}, "stands for nothing"),
        ({"script": "echo $(steps.first.outputs)"}, "stands for nothing"),
        ({"script": "echo '$(steps.first.inputs.a)'", "args": ["x"]}, "script that has args"),
    ],
)
def test_an_artifact_that_would_reach_a_shell_unreplaced_refuses_the_run(later, says):
    harness = TaskRunHarness()
    harness.submit(taskSpec={"steps": [FIRST, {"name": "second", "image": "i", "script": "true", **later}]})
    harness.reconcile()
    assert harness.condition["reason"] == "PodCreationFailed"
    assert says in harness.condition["message"]
    assert Store.list(harness.cluster, PODS) == []


@pytest.mark.parametrize("enabled", [True, False])
def test_the_feature_flag_lets_artifacts_through(enabled):
    harness = TaskRunHarness()
    core = ResultsManager.from_flags({})
    policies = Policies(artifacts=enabled)
    harness.reconciler = Reconciler(core, harness.cluster, policies=policies, clock=harness.clock)
    harness.submit(taskSpec={"steps": [FIRST]})
    harness.reconcile()
    assert len(Store.list(harness.cluster, PODS)) == enabled
    if not enabled:
        assert "feature flag enable-artifacts should be set to true" in harness.condition["message"]


def test_a_description_and_a_value_may_speak_of_artifacts():
    """A value is data, and what a person reads is no variable."""
    text = "$(step.artifacts.path)"
    task = {"steps": [STEP], "description": text, "params": [{"name": "p", "default": text}]}
    validate_taskrun_document(document(taskSpec=task, params=[{"name": "p", "value": text}]))


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        ("steps.s.outputs.image", ArtifactRef("steps", "s", "outputs", "image")),
        ("tasks.t.inputs.a b", ArtifactRef("tasks", "t", "inputs", "a b")),
        ("tasks.t.outputs", ArtifactRef("tasks", "t", "outputs", "")),
        ("steps.s.outputs", None),
        ("tasks.t.results.outputs", None),
        ("tasks.t.outputs.a.b", None),
    ],
)
def test_references_are_parsed_as_tekton_finds_them(name, ref):
    assert parse_artifact_ref(name) == ref


@given(st.text(alphabet="$().ainoprstux[]") | st.text())
def test_text_without_a_variable_of_artifacts_is_let_through(text):
    found = artifact_variable(text)
    assert found in text
    assert not found or found.startswith("$(")


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
    assert writes_step_artifacts({"steps": [{**STEP, "script": text}]}) == (False,)
