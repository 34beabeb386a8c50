"""Documents of v1beta1: converted as Tekton's webhook does, or refused by the path of a field."""

import copy
import json
from pathlib import Path

import pytest
from document_shapes import SHAPES
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.errors import InputError
from resultsfw.tekton.api.v1beta1 import V1BETA1, convert_to_v1

BOUNDED = {"requests": {"memory": "1Mi"}}


def document(kind, spec, version=V1BETA1):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "n"}, "spec": spec}


def converted(kind, spec):
    """The converted spec; the original stays as it was."""
    given_document = document(kind, spec)
    before = copy.deepcopy(given_document)
    conversion = convert_to_v1(given_document)
    assert given_document == before
    assert conversion.document == document(kind, conversion.document["spec"], "tekton.dev/v1")
    assert conversion.dropped == ()
    return conversion.document["spec"]


TASK = {
    "steps": [{"name": "s", "image": "i", "resources": BOUNDED, "script": "x", "timeout": "1m"}],
    "stepTemplate": {"resources": BOUNDED},
    "sidecars": [{"name": "c", "image": "i", "resources": BOUNDED, "readinessProbe": {"exec": {}}}],
    "results": [{"name": "r", "type": "array"}],
    "params": [{"name": "resources", "default": {"resources": "x"}}],
}
TASK_V1 = {
    **TASK,
    "steps": [{"name": "s", "image": "i", "computeResources": BOUNDED, "script": "x", "timeout": "1m"}],
    "stepTemplate": {"computeResources": BOUNDED},
    "sidecars": [{"name": "c", "image": "i", "computeResources": BOUNDED, "readinessProbe": {"exec": {}}}],
}


def test_resources_of_containers_get_their_new_name_wherever_a_task_is_embedded():
    assert converted("Task", TASK) == TASK_V1
    pipeline = {"tasks": [{"name": "a", "taskSpec": {**TASK, "metadata": {"labels": {"resources": "x"}}}}]}
    pipeline_v1 = {
        "tasks": [{"name": "a", "taskSpec": {**TASK_V1, "metadata": {"labels": {"resources": "x"}}}}]
    }
    nested = {"finally": [{"name": "b", "pipelineSpec": pipeline}]}
    assert converted("Pipeline", nested) == {"finally": [{"name": "b", "pipelineSpec": pipeline_v1}]}


def test_a_taskrun_gets_the_new_names_of_its_overrides():
    override = [{"name": "s", "resources": BOUNDED}]
    spec = {
        "taskSpec": TASK,
        "stepOverrides": override,
        "sidecarOverrides": override,
        "managedBy": "m",
        "computeResources": BOUNDED,
    }
    specs = [{"name": "s", "computeResources": BOUNDED}]
    assert converted("TaskRun", spec) == {
        "taskSpec": TASK_V1,
        "stepSpecs": specs,
        "sidecarSpecs": specs,
        "managedBy": "m",
        "computeResources": BOUNDED,
    }


def test_a_pipelinerun_gets_a_template_and_timeouts():
    override = [{"name": "s", "resources": BOUNDED}]
    spec = {
        "pipelineRef": {"name": "p"},
        "serviceAccountName": "builder",
        "podTemplate": {"hostNetwork": True},
        "timeout": "5m",
        "taskRunSpecs": [
            {
                "pipelineTaskName": "a",
                "taskServiceAccountName": "other",
                "taskPodTemplate": {"hostUsers": False},
                "stepOverrides": override,
                "sidecarOverrides": override,
            }
        ],
    }
    specs = [{"name": "s", "computeResources": BOUNDED}]
    assert converted("PipelineRun", spec) == {
        "pipelineRef": {"name": "p"},
        "taskRunTemplate": {"serviceAccountName": "builder", "podTemplate": {"hostNetwork": True}},
        "timeouts": {"pipeline": "5m"},
        "taskRunSpecs": [
            {
                "pipelineTaskName": "a",
                "serviceAccountName": "other",
                "podTemplate": {"hostUsers": False},
                "stepSpecs": specs,
                "sidecarSpecs": specs,
            }
        ],
    }
    timeouts = {"pipelineRef": {"name": "p"}, "timeouts": {"pipeline": "1h", "tasks": "5m"}}
    assert converted("PipelineRun", timeouts) == timeouts


@pytest.mark.parametrize(
    ("kind", "spec", "path"),
    [
        ("Task", {"resources": {"inputs": [{"name": "x", "type": "git"}]}}, "spec.resources"),
        ("TaskRun", {"resources": {"inputs": [{"name": "x"}]}}, "spec.resources"),
        ("PipelineRun", {"resources": [{"name": "x"}]}, "spec.resources"),
        ("Pipeline", {"tasks": [{"resources": {"inputs": [1]}}]}, "spec.tasks[0].resources"),
        ("Pipeline", {"tasks": [{"taskSpec": {"resources": {"a": 1}}}]}, "spec.tasks[0].taskSpec.resources"),
        ("TaskRun", {"taskRef": {"name": "t", "bundle": "r/i:1"}}, "spec.taskRef.bundle"),
        ("PipelineRun", {"pipelineRef": {"name": "t", "bundle": "r/i:1"}}, "spec.pipelineRef.bundle"),
        ("Task", {"steps": [{}, {"computeResources": BOUNDED}]}, "spec.steps[1].computeResources"),
        ("TaskRun", {"stepSpecs": []}, "spec.stepSpecs"),
        ("PipelineRun", {"taskRunTemplate": {}}, "spec.taskRunTemplate"),
        ("PipelineRun", {"timeout": "1m", "timeouts": {"pipeline": "2m"}}, "spec.timeout"),
    ],
)
def test_what_tekton_refuses_is_refused_by_its_path(kind, spec, path):
    with pytest.raises(InputError, match=r": ") as caught:
        convert_to_v1(document(kind, spec))
    assert caught.value.subject == path


def test_deprecated_fields_of_steps_have_no_effect_and_are_listed():
    spec = {"steps": [{"image": "i", "tty": True, "stdin": False, "ports": [{"containerPort": 1}]}]}
    conversion = convert_to_v1(document("Task", {**spec, "stepTemplate": {"name": "x", "image": "j"}}))
    assert conversion.document["spec"] == {"steps": [{"image": "i"}], "stepTemplate": {"image": "j"}}
    assert conversion.dropped == ("spec.steps[0].tty", "spec.steps[0].ports", "spec.stepTemplate.name")


def test_other_documents_are_returned_as_they_are():
    for kind, version in (("Task", "tekton.dev/v1"), ("StepAction", V1BETA1), ("Deployment", "apps/v1")):
        other = document(kind, {"resources": 1, "steps": [{"tty": True}]}, version)
        assert convert_to_v1(other).document is other


def test_nesting_without_end_is_refused():
    spec = {}
    for _ in range(2000):
        spec = {"tasks": [{"pipelineSpec": spec}]}
    with pytest.raises(InputError, match="nested deeper"):
        convert_to_v1(document("Pipeline", spec))


@given(st.sampled_from(["Task", "TaskRun", "Pipeline", "PipelineRun"]), SHAPES)
def test_documents_of_any_shape_are_converted_or_refused(kind, spec):
    try:
        conversion = convert_to_v1(document(kind, spec))
    except InputError:
        return
    assert conversion.document["apiVersion"] == "tekton.dev/v1"
    assert convert_to_v1(conversion.document).document is conversion.document


PAIRS = json.loads((Path(__file__).parents[2] / "data/tekton/v1beta1.json").read_text(encoding="utf-8"))
ALWAYS_WRITTEN = ({}, [], "", None, "string")
"""What Go writes where nothing was given: empty structures, and the type of a param or result."""


def bare(value):
    """Plain data without fields that say nothing."""
    if isinstance(value, dict):
        kept = {key: bare(part) for key, part in value.items()}
        return {key: part for key, part in kept.items() if part not in ALWAYS_WRITTEN}
    return [bare(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["v1beta1"]["metadata"]["name"])
def test_a_document_is_converted_as_by_tektons_own_code(pair):
    """Every field of v1beta1 that is not refused or dropped, through ``ConvertTo`` of tektoncd/pipeline."""
    conversion = convert_to_v1(pair["v1beta1"])
    assert conversion.dropped == ()
    assert bare(conversion.document["spec"]) == bare(pair["v1"]["spec"])
    assert bare(conversion.document["metadata"]) == bare(pair["v1"]["metadata"])


@pytest.mark.parametrize("kind", [None, 1, [], {}, {"Task": 1}])
def test_a_document_whose_kind_is_no_text_is_none_of_tektons(kind):
    document = {"apiVersion": "tekton.dev/v1beta1", "kind": kind, "spec": {}}
    assert convert_to_v1(document).document is document
