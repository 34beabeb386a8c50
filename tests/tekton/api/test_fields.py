"""Tekton's fields: each is honoured or refused by name, and the models know exactly those of the table."""

import json

import pytest
from document_shapes import SHAPES
from hypothesis import given
from pipelinerun_harness import PipelineRunHarness, pipeline_task
from taskrun_harness import TaskRunHarness
from tektonfields import PAGE, a_value, over, page, recorded, sample, way_to

from resultsfw import PODS
from resultsfw.errors import InputError
from resultsfw.local.store import Store
from resultsfw.tekton.api import models, task_models
from resultsfw.tekton.api.fields import FIELDS, VARIANTS, Rule
from resultsfw.tekton.api.kinds import PIPELINERUNS
from resultsfw.tekton.api.models import validate_taskrun_document
from resultsfw.tekton.api.unsupported import unsupported_parts
from resultsfw.tekton.pipelinerun import models as pipelines

ALL = [(owner, field) for owner, fields in recorded().items() for field in fields]


MODELS = {
    "TaskRunSpec": models.TaskRunSpec,
    "TaskRunDebug": models.Debug,
    "TaskBreakpoints": models.Breakpoints,
    "TaskRunStepSpec": models.Resources,
    "TaskRunSidecarSpec": models.Resources,
    "TaskRef": task_models.TaskRef,
    "TaskSpec": task_models.TaskSpec,
    "ParamSpec": task_models.ParamSpec,
    "PropertySpec": task_models.Property,
    "Param": task_models.Param,
    "Step": task_models.TaskStep,
    "StepTemplate": task_models.StepTemplate,
    "StepOutputConfig": task_models.Output,
    "StepResult": task_models.Result,
    "Sidecar": task_models.Sidecar,
    "WhenExpression": task_models.When,
    "WorkspaceDeclaration": task_models.WorkspaceDeclaration,
    "WorkspaceUsage": task_models.WorkspaceUsage,
    "WorkspaceBinding": task_models.WorkspaceBinding,
    "TaskResult": task_models.TaskResult,
    "Template": models.PodTemplate,
    "PipelineRunSpec": pipelines.PipelineRunSpec,
    "PipelineRef": pipelines.PipelineRef,
    "TimeoutFields": pipelines.Timeouts,
    "PipelineTaskRunTemplate": pipelines.TaskRunTemplate,
    "PipelineTaskRunSpec": pipelines.TaskRunSpec,
    "PipelineTaskMetadata": pipelines.EmbeddedMetadata,
    "PipelineSpec": pipelines.PipelineSpec,
    "PipelineTask": pipelines.PipelineTask,
    "EmbeddedTask": pipelines.EmbeddedTask,
    "PipelineWhen": pipelines.PipelineWhen,
    "Matrix": pipelines.Matrix,
    "IncludeParams": pipelines.IncludeParams,
    "PipelineWorkspaceDeclaration": pipelines.PipelineWorkspace,
    "WorkspacePipelineTaskBinding": pipelines.TaskWorkspace,
    "PipelineResult": pipelines.PipelineResult,
    "Ref": task_models.Ref,
    "StepActionSpec": task_models.StepActionSpec,
}


STEP = {"name": "s", "image": "i", "script": "true"}


@pytest.mark.parametrize(("owner", "field"), ALL)
def test_each_field_that_tekton_has_is_in_the_table(owner, field):
    assert field in FIELDS[owner]


def test_the_table_has_no_field_that_tekton_does_not_have():
    known = recorded()
    extra = [
        f"{owner}.{field}"
        for owner, rules in FIELDS.items()
        for field in rules
        if field not in known[VARIANTS.get(owner, owner)]
    ]
    assert extra == []


def test_the_table_leads_on_to_the_types_that_tekton_has_there():
    known = recorded()
    for owner, rules in FIELDS.items():
        for field, rule in rules.items():
            if rule.of:
                assert known[VARIANTS.get(owner, owner)][field].removeprefix("[]") == VARIANTS.get(
                    rule.of, rule.of
                )


@pytest.mark.parametrize("owner", MODELS)
def test_the_models_know_exactly_the_fields_of_the_table(owner):
    """What the models refuse as unknown is what the table does not have."""
    assert {field.alias for field in MODELS[owner].model_fields.values()} == set(FIELDS[owner])


def test_every_type_without_a_model_is_refused_as_a_whole():
    for owner in set(FIELDS) - set(MODELS):
        assert all(rule.refused for rule in FIELDS[owner].values())


def spec_with(root, owner, field):
    of = recorded()[VARIANTS.get(owner, owner)][field]
    return sample([*way_to(root, owner), (owner, field)], a_value(of))


def is_reachable(root, owner):
    try:
        way_to(root, owner)
    except LookupError:
        return False
    return True


@pytest.fixture
def refuse(monkeypatch):
    """Refuses a field, as the table did before the field was supported."""

    def refuse(owner, field):
        monkeypatch.setitem(FIELDS[owner], field, Rule(refused="it is not supported here"))

    return refuse


@pytest.mark.parametrize(
    ("owner", "field"),
    [
        ("TaskRunSpec", "retries"),
        ("Step", "timeout"),
        ("Sidecar", "script"),
        ("WorkspaceBinding", "csi"),
        ("ParamSpec", "enum"),
    ],
)
def test_a_refused_field_of_a_taskrun_is_refused_by_name_before_there_is_a_pod(owner, field, refuse):
    part, _, path = spec_with("TaskRunSpec", owner, field)
    refuse(owner, field)
    harness = TaskRunHarness()
    harness.submit(**over({"taskSpec": {"steps": [STEP]}}, part))
    harness.reconcile()
    assert harness.condition["status"] == "False"
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert f"{path}: it is not supported here" in harness.condition["message"]
    assert Store.list(harness.cluster, PODS) == []


@pytest.mark.parametrize(
    ("owner", "field"),
    [("PipelineRunSpec", "timeouts"), ("PipelineTask", "retries"), ("PipelineTaskRunSpec", "timeout")],
)
def test_a_refused_field_of_a_pipelinerun_is_refused_by_name_before_there_is_a_taskrun(owner, field, refuse):
    part, _, path = spec_with("PipelineRunSpec", owner, field)
    refuse(owner, field)
    part = over({"pipelineSpec": {"tasks": [pipeline_task("a")]}}, part)
    harness = PipelineRunHarness(run_pipelineSpec=None)
    Store.patch(harness.store, PIPELINERUNS, "default", "p", {"spec": {"pipelineSpec": None, **part}})
    harness.reconcile()
    verdict, reason, message = harness.condition
    assert verdict == "False"
    assert reason == "PipelineValidationFailed"
    assert f"{path}: it is not supported here" in message
    assert harness.taskruns_made == []


def test_many_honoured_fields_of_a_taskrun_reach_its_pod():
    """One value of its own in each; all of them are in the pod."""
    marks = iter(range(1, 1000))
    given = []

    def mark():
        given.append(f"mark-{next(marks)}-end")
        return given[-1]

    container = {
        "image": mark(),
        "workingDir": f"/w/{mark()}",
        "env": [{"name": "A", "value": mark()}],
        "envFrom": [{"configMapRef": {"name": mark()}}],
        "computeResources": {"limits": {mark(): "1"}},
        "volumeMounts": [{"name": "v", "mountPath": f"/m/{mark()}"}],
        "volumeDevices": [{"name": "v", "devicePath": f"/d/{mark()}"}],
        "imagePullPolicy": mark(),
        "securityContext": {"seccompProfile": {"localhostProfile": mark()}},
    }
    step = {
        **container,
        "name": "s",
        "command": [mark()],
        "args": [mark()],
        "onError": "continue",
        "timeout": "77s",
        "stdoutConfig": {"path": mark()},
        "stderrConfig": {"path": mark()},
        "results": [{"name": mark()}],
        "when": [{"input": mark(), "operator": "in", "values": [mark()]}],
    }
    probe = {"exec": {"command": [mark()]}}
    sidecar = {
        **container,
        "image": mark(),
        "name": "side",
        "command": [mark()],
        "ports": [{"containerPort": 80, "name": mark()}],
        "livenessProbe": probe,
        "readinessProbe": {"exec": {"command": [mark()]}},
        "startupProbe": {"exec": {"command": [mark()]}},
        "lifecycle": {"preStop": {"exec": {"command": [mark()]}}},
        "terminationMessagePath": f"/t/{mark()}",
        "terminationMessagePolicy": mark(),
    }
    template = {
        "nodeSelector": {"k": mark()},
        "env": [{"name": "B", "value": mark()}],
        "tolerations": [{"key": mark()}],
        "affinity": {"nodeAffinity": {"x": mark()}},
        "securityContext": {"runAsUser": 4711, "x": mark()},
        "volumes": [{"name": "t", "secret": {"secretName": mark()}}],
        "runtimeClassName": mark(),
        "dnsPolicy": mark(),
        "dnsConfig": {"searches": [mark()]},
        "priorityClassName": mark(),
        "schedulerName": mark(),
        "imagePullSecrets": [{"name": mark()}],
        "hostAliases": [{"ip": mark()}],
        "topologySpreadConstraints": [{"topologyKey": mark()}],
    }
    flags = {"automountServiceAccountToken": False, "enableServiceLinks": False, "hostNetwork": True}
    flags |= {"hostUsers": False}
    harness = TaskRunHarness({"results-from": "termination-message"})
    harness.submit(
        taskSpec={
            "steps": [step],
            "sidecars": [sidecar],
            "volumes": [{"name": "v", "configMap": {"name": mark()}}],
            "workspaces": [{"name": "w", "mountPath": f"/ws/{mark()}"}],
            "params": [{"name": "p", "type": "string"}],
        },
        params=[{"name": "p", "value": "x"}],
        workspaces=[{"name": "w", "configMap": {"name": mark()}, "subPath": mark()}],
        podTemplate={**template, **flags},
        serviceAccountName=mark(),
    )
    harness.reconcile()
    pod = json.dumps(harness.pod())
    assert [one for one in given if one not in pod] == []
    assert "77s" in pod or "1m17s" in pod
    assert {key: harness.pod()["spec"][key] for key in flags} == flags


def document(kind="TaskRun", **spec):
    return {"apiVersion": "tekton.dev/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def refusal(parse, obj):
    with pytest.raises(InputError) as caught:
        parse(obj)
    return caught.value


@pytest.mark.parametrize(
    ("spec", "near"),
    [
        ({"taskSpec": {"stepz": []}}, 'spec.taskSpec.stepz: unknown field; did you mean "steps"?'),
        ({"taskSpec": {"steps": [{"scirpt": "x"}]}}, 'did you mean "script"?'),
        ({"taskSpec": {"steps": [STEP]}, "podTemplate": {"nodeSelectr": {}}}, 'did you mean "nodeSelector"?'),
    ],
)
def test_a_field_that_tekton_does_not_have_is_refused_with_the_nearest_name(spec, near):
    assert near in refusal(validate_taskrun_document, document(**spec)).message


def test_an_empty_field_asks_for_nothing():
    validate_taskrun_document(document(taskSpec={"steps": [{**STEP, "params": []}]}, debug=None))


def test_params_of_a_reference_without_a_resolver_are_refused():
    error = refusal(
        validate_taskrun_document, document(taskRef={"name": "t", "params": [{"name": "a", "value": "b"}]})
    )
    assert (error.subject, "name, params" in error.message) == ("spec.taskRef", True)


@given(SHAPES)
def test_the_search_never_fails_whatever_the_shape_of_a_document(value):
    for kind in ("TaskRun", "PipelineRun", "Task", "Pipeline", "Other"):
        list(unsupported_parts({"kind": kind, "metadata": value, "spec": value}))
    list(unsupported_parts(value))


def test_the_page_shows_the_table():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/tekton/tektonfields.py"
