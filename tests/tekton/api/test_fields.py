"""Tekton's fields: each is known, and refused by name before there is a pod, or honoured."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipelinerun_harness import PipelineRunHarness, pipeline_task
from taskrun_harness import TaskRunHarness
from tektonfields import PAGE, a_value, over, page, recorded, sample, way_to

from resultsfw import PODS
from resultsfw.errors import InputError
from resultsfw.local.store import Store
from resultsfw.tekton.api import models
from resultsfw.tekton.api.fields import FIELDS, HERMETIC_ANNOTATION, ROOTS, VARIANTS
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS, TASKS
from resultsfw.tekton.api.models import validate_task_document, validate_taskrun_document
from resultsfw.tekton.api.unknown import unknown_fields
from resultsfw.tekton.api.unsupported import artifact_variable, unsupported_parts
from resultsfw.tekton.pipelinerun import models as pipelines

ALL = [(owner, field) for owner, fields in recorded().items() for field in fields]
REFUSED = [
    (owner, field)
    for owner, rules in FIELDS.items()
    for field, rule in rules.items()
    if rule.refused and owner != "StepActionSpec"
]
MODELS = {
    "TaskRunSpec": models.TaskRunSpec,
    "TaskRunStepSpec": models.Resources,
    "TaskRunSidecarSpec": models.Resources,
    "TaskRef": models.TaskRef,
    "TaskSpec": models.TaskSpec,
    "ParamSpec": models.ParamSpec,
    "PropertySpec": models.Property,
    "Param": models.Param,
    "Step": models.TaskStep,
    "StepTemplate": models.StepTemplate,
    "StepOutputConfig": models.Output,
    "StepResult": models.Result,
    "Sidecar": models.Sidecar,
    "WhenExpression": models.When,
    "WorkspaceDeclaration": models.WorkspaceDeclaration,
    "WorkspaceUsage": models.WorkspaceUsage,
    "WorkspaceBinding": models.WorkspaceBinding,
    "TaskResult": models.TaskResult,
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
    "PipelineWorkspaceDeclaration": pipelines.PipelineWorkspace,
    "WorkspacePipelineTaskBinding": pipelines.TaskWorkspace,
    "PipelineResult": pipelines.PipelineResult,
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


def test_nothing_reads_a_step_action():
    assert not any(rule.of == "StepActionSpec" for rules in FIELDS.values() for rule in rules.values())


def spec_with(root, owner, field):
    of = recorded()[VARIANTS.get(owner, owner)][field]
    return sample([*way_to(root, owner), (owner, field)], a_value(of))


def is_reachable(root, owner):
    try:
        way_to(root, owner)
    except LookupError:
        return False
    return True


@pytest.mark.parametrize(("owner", "field"), [one for one in REFUSED if is_reachable("TaskRunSpec", one[0])])
def test_a_refused_field_of_a_taskrun_is_refused_by_name_before_there_is_a_pod(owner, field):
    part, _, path = spec_with("TaskRunSpec", owner, field)
    harness = TaskRunHarness()
    base = (
        {"taskRef": {"name": "t"}, "taskSpec": None} if "taskRef" in part else {"taskSpec": {"steps": [STEP]}}
    )
    harness.submit(**over(base, part))
    harness.reconcile()
    assert harness.condition["status"] == "False"
    assert harness.condition["reason"] in ("TaskRunValidationFailed", "TaskRunResolutionFailed")
    if harness.condition["reason"] == "TaskRunValidationFailed":
        assert f"{path}: " in harness.condition["message"]
    else:
        assert "resolvers are not supported here" in harness.condition["message"]
    assert Store.list(harness.cluster, PODS) == []


@pytest.mark.parametrize(
    ("owner", "field"), [one for one in REFUSED if is_reachable("PipelineRunSpec", one[0])]
)
def test_a_refused_field_of_a_pipelinerun_is_refused_by_name_before_there_is_a_taskrun(owner, field):
    part, _, path = spec_with("PipelineRunSpec", owner, field)
    if "pipelineSpec" in part:
        task = part["pipelineSpec"]["tasks"][0]
        whole = {"name": "a", "taskRef": {"name": "t"}} if "taskRef" in task else pipeline_task("a")
        part = over({"pipelineSpec": {"tasks": [whole]}}, part)
    harness = PipelineRunHarness(run_pipelineSpec=None)
    Store.patch(harness.store, PIPELINERUNS, "default", "p", {"spec": {"pipelineSpec": None, **part}})
    harness.reconcile()
    verdict, reason, message = harness.condition
    assert verdict == "False"
    if reason == "PipelineValidationFailed":
        assert f"{path}: " in message
    else:
        assert reason in ("CouldntGetPipeline", "CouldntGetTask")
        assert "resolver" in message
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
    assert error.subject == "spec.taskRef.params"


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


WORDS = [
    "spec",
    "taskSpec",
    "steps",
    "kind",
    "metadata",
    "annotations",
    "tasks",
    "pipelineSpec",
    "debug",
    "env",
]
SHAPES = st.deferred(
    lambda: (
        st.none()
        | st.booleans()
        | st.text(max_size=5)
        | st.lists(SHAPES, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS), SHAPES, max_size=4)
    )
)


@given(SHAPES)
def test_the_search_never_fails_whatever_the_shape_of_a_document(value):
    for kind in ("TaskRun", "PipelineRun", "Task", "Pipeline", "Other"):
        list(unsupported_parts({"kind": kind, "metadata": value, "spec": value}))
    list(unsupported_parts(value))


def test_labels_and_annotations_of_a_task_pass_to_its_run_and_pod():
    """As Tekton passes them; what the run says itself wins, and notes of the controller do not pass."""
    harness = TaskRunHarness()
    task = document("Task", steps=[STEP], results=[{"name": "digest"}])
    task["metadata"] = {
        "name": "t",
        "namespace": "default",
        "labels": {"team": "a", "tier": "x"},
        "annotations": {
            "doc": "d",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "resultsfw.dev/stamp": "forged/1",
        },
    }
    Store.create(harness.cluster, TASKS, task)
    harness.submit(taskSpec=None, taskRef={"name": "t"})
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"metadata": {"labels": {"tier": "own"}}})
    harness.reconcile()
    run, pod = harness.taskrun["metadata"], harness.pod()["metadata"]
    for labels in (run["labels"], pod["labels"]):
        assert {key: labels[key] for key in ("team", "tier", "tekton.dev/task")} == {
            "team": "a",
            "tier": "own",
            "tekton.dev/task": "t",
        }
    assert run["annotations"]["doc"] == pod["annotations"]["doc"] == "d"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in run["annotations"]
    assert run["annotations"]["resultsfw.dev/stamp"] == "sidecar-logs/1"


def test_a_run_that_has_its_tasks_labels_is_not_written_again():
    harness = TaskRunHarness()
    task = document("Task", steps=[STEP], results=[{"name": "digest"}])
    task["metadata"] = {"name": "t", "namespace": "default", "labels": {"team": "a"}}
    Store.create(harness.cluster, TASKS, task)
    harness.submit(taskSpec=None, taskRef={"name": "t"})
    labels = {"team": "b", "tekton.dev/task": "t"}
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"metadata": {"labels": labels}})
    harness.reconcile()
    assert harness.cluster.calls.count(("patch", "TaskRun")) == 1  # the stamp
    assert harness.pod()["metadata"]["labels"]["team"] == "b"


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"steps": [{**STEP, "env": [{"nmae": "A"}]}]}, "steps[0].env[0].nmae: no field of Kubernetes"),
        ({"steps": [{**STEP, "securityContext": {"runAsUsr": 1}}]}, 'did you mean "runAsUser"?'),
        (
            {"steps": [STEP], "sidecars": [{"readinessProbe": {"httpGet": {"prt": 1}}}]},
            (
                "sidecars[0].readinessProbe.httpGet.prt: no field of Kubernetes that is known here; "
                'did you mean "port"?'
            ),
        ),
    ],
)
def test_a_field_that_kubernetes_does_not_have_is_found_with_the_nearest_name(task, said):
    (line,) = unknown_fields(document("Task", **task))
    assert said in line


def test_every_capture_has_only_known_fields(capture):
    assert list(unknown_fields(capture["taskrun"])) == []


@given(SHAPES)
def test_the_search_for_unknown_fields_never_fails_whatever_the_shape(value):
    for kind in ROOTS:
        list(unknown_fields({"kind": kind, "spec": value}))


def test_the_page_shows_the_table():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/tekton/tektonfields.py"
