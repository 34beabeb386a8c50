"""Documents as people write them: accepted, or refused by the path of a field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.errors import InputError
from resultsfw.tekton.api.models import Task, TaskRun, validate_task_document, validate_taskrun_document


def taskrun(**spec):
    spec = spec or {"taskSpec": {"steps": [{"image": "i", "script": "x"}]}}
    return {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": "run"}, "spec": spec}


def refusal(document, validate=validate_taskrun_document):
    with pytest.raises(InputError) as caught:
        validate(document)
    return caught.value


def valid_taskrun(document):
    """The model of a document that is valid."""
    validate_taskrun_document(document)
    return TaskRun.model_validate(document)


def valid_task(document):
    validate_task_document(document)
    return Task.model_validate(document)


def test_captured_runs_are_valid_as_created_and_as_returned(capture):
    """Captured runs, before and after: with status, ``computeResources: {}``, ``provenance: {}``."""
    assert valid_taskrun(capture["taskrun"]).metadata.name == capture["name"]
    stored = capture["tekton_final"]
    stored["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]
    assert valid_taskrun(stored).metadata.uid == stored["metadata"]["uid"]


def test_a_kind_in_small_letters_and_a_sidecar_without_a_name_are_accepted_as_by_tekton():
    """Both are in Tekton's own examples (``emit-array-results``, ``workspace-in-sidecar``)."""
    assert valid_taskrun(taskrun(taskRef={"name": "t", "kind": "task"})).spec.task_ref.name == "t"
    spec = {"steps": [{"image": "i", "script": "x"}], "sidecars": [{"image": "i", "script": "x"}]}
    assert valid_taskrun(taskrun(taskSpec=spec)).spec.task_spec.sidecars[0].name == ""


def test_a_valid_document_has_typed_fields():
    run = valid_taskrun(
        taskrun(
            taskSpec={
                "steps": [{"name": "s", "onError": "continue", "timeout": "5s"}],
                "results": [{"name": "r"}],
            },
            params=[{"name": "p", "value": ["a"]}],
            retries=2,
        )
    )
    assert run.spec.task_spec.steps[0].on_error == "continue"
    assert run.spec.params[0].value == ["a"]
    assert run.spec.retries == 2


def test_a_task_is_valid_and_another_kind_is_refused():
    task = {
        "apiVersion": "tekton.dev/v1",
        "kind": "Task",
        "metadata": {"name": "t"},
        "spec": {"steps": [{"image": "i", "script": "x"}]},
    }
    assert valid_task(task).spec.steps[0].script == "x"
    assert refusal({**task, "kind": "ClusterTask"}, validate_task_document).subject == "kind"


def test_kubernetes_own_structures_pass_as_they_are():
    step = {
        "image": "i",
        "script": "x",
        "env": [{"name": "A", "valueFrom": {"anything": {"new": 1}}}],
        "securityContext": {"new": True},
        "volumeMounts": [{"name": "v", "mountPath": "/x", "new": 1}],
    }
    spec = {"steps": [step], "volumes": [{"name": "v", "newKind": {}}]}
    validate_taskrun_document(taskrun(taskSpec=spec, podTemplate={"affinity": {"anything": {}}}))


def test_a_field_without_a_value_is_absent():
    """``env:`` with nothing behind it, as YAML has it."""
    validate_taskrun_document(
        taskrun(taskSpec={"steps": [{"image": "i", "script": "x", "env": None}], "results": None})
    )


@pytest.mark.parametrize(
    ("spec", "path", "said"),
    [
        (
            {"taskSpec": {"steps": [{}, {"onError": "ignore"}]}},
            "spec.taskSpec.steps[1].onError",
            'is neither "continue" nor "stopAndFail"',
        ),
        ({"taskSpec": {"steps": [{"imge": "i"}]}}, "spec.taskSpec.steps[0].imge", 'did you mean "image"?'),
        ({"taskSpec": {"zzz": 1}}, "spec.taskSpec.zzz", "unknown field"),
        ({"taskSpec": {"steps": {}}}, "spec.taskSpec.steps", "must be a list, not a mapping"),
        ({"taskSpec": {"steps": ["x"]}}, "spec.taskSpec.steps[0]", "must be a mapping, not text"),
        ({"taskSpec": {"steps": [{"args": [1]}]}}, "spec.taskSpec.steps[0].args[0]", "put it in quotes"),
        ({"taskSpec": {"steps": [{"timeout": "5"}]}}, "spec.taskSpec.steps[0].timeout", "no duration"),
        ({"taskSpec": {"steps": [{"timeout": "-5s"}]}}, "spec.taskSpec.steps[0].timeout", "below zero"),
        ({"taskSpec": {"results": [{"type": "text"}]}}, "spec.taskSpec.results[0].name", "is missing"),
        (
            {"taskSpec": {"results": [{"name": "r", "type": "text"}]}},
            "spec.taskSpec.results[0].type",
            "must be 'string', 'array' or 'object'",
        ),
        ({"taskSpec": {}, "retries": -1}, "spec.retries", "must be at least 0"),
        (
            {"taskSpec": {"results": [{"name": "r", "type": "strng"}]}},
            "spec.taskSpec.results[0].type",
            'did you mean "string"?',
        ),
        ({"taskSpec": {}, "retries": "1"}, "spec.retries", "must be a whole number"),
        ({"taskSpec": {}, "status": "Cancelled"}, "spec.status", "TaskRunCancelled"),
        ({"serviceAccountName": "x"}, "spec", "exactly one of taskRef and taskSpec"),
        ({"taskSpec": {}, "taskRef": {}}, "spec", "exactly one of taskRef and taskSpec"),
        ({"taskSpec": {}, "workspaces": [{"emptyDir": {}}]}, "spec.workspaces[0].name", "is missing"),
        ({"taskSpec": {}, "resources": {}}, "spec.resources", "unknown field"),
    ],
)
def test_an_invalid_field_is_refused_by_its_path(spec, path, said):
    refused = refusal(taskrun(**spec))
    assert refused.subject == path
    assert refused.message.startswith(f"{path}: ")
    assert said in refused.message


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"apiVersion": "tekton.dev/v1beta1"}, "apiVersion"),
        ({"kind": "PipelineRun"}, "kind"),
        ({"metadata": {}}, "metadata"),
        ({"metadata": {"name": "Run"}}, "metadata.name"),
        ({"metadata": {"name": "r", "labels": {"a": 1}}}, "metadata.labels.a"),
        ({"spec": None}, "spec"),
        ({"more": 1}, "more"),
    ],
)
def test_a_document_that_is_no_taskrun_is_refused_by_path(change, path):
    assert refusal({**taskrun(), **change}).subject == path


def test_several_errors_are_in_one_message():
    refused = refusal(taskrun(taskSpec={"steps": [{"imge": "i"}], "results": 1}, retries=-1))
    assert refused.subject == "spec.taskSpec.steps[0].imge"
    assert [part.split(":")[0] for part in refused.message.split("; ") if ":" in part] == [
        "spec.taskSpec.steps[0].imge",
        "spec.taskSpec.results",
        "spec.retries",
    ]


def test_a_long_value_is_not_repeated_whole():
    assert len(refusal(taskrun(taskSpec={"steps": [{"onError": "x" * 10_000}]})).message) < 300


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(plain, st.sampled_from(["spec", "taskSpec", "steps", "step", "metadata", "document"]))
def test_any_document_is_accepted_or_refused(value, where):
    """Whatever YAML holds, never another exception."""
    document = taskrun()
    match where:
        case "document":
            document = value
        case "spec" | "metadata":
            document[where] = value
        case "taskSpec":
            document["spec"]["taskSpec"] = value
        case "steps":
            document["spec"]["taskSpec"]["steps"] = value
        case _:
            document["spec"]["taskSpec"]["steps"] = [value]
    try:
        validate_taskrun_document(document)
    except InputError as error:
        assert error.message  # noqa: PT017 - most are refused


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (
            {"taskSpec": {"steps": [{"env": [{"name": "A", "value": 5}]}]}},
            "spec.taskSpec.steps[0].env[0].value",
        ),
        (
            {"taskSpec": {"steps": [{"volumeMounts": [{"name": "v"}]}]}},
            "spec.taskSpec.steps[0].volumeMounts[0].mountPath",
        ),
        ({"taskSpec": {"volumes": [{"emptyDir": {}}]}}, "spec.taskSpec.volumes[0].name"),
        ({"taskSpec": {}, "podTemplate": {"nodeSelektor": {}}}, "spec.podTemplate.nodeSelektor"),
        ({"taskSpec": {}, "computeResources": {"limits": 1}}, "spec.computeResources.limits"),
    ],
)
def test_what_is_read_of_kubernetes_structures_is_checked(spec, path):
    assert refusal(taskrun(**spec)).subject == path


@pytest.mark.parametrize(
    "path", ["spec.taskSpec.results[0].default", "spec.taskSpec.steps[0].results[0].default"]
)
def test_a_default_of_a_result_is_refused_as_tekton_has_none(path):
    """Neither results of Tasks and Steps nor those of Pipelines have one (result_types.go, August 2026)."""
    step = {"image": "i", "script": "x", "results": [{"name": "r"}]}
    spec = {"results": [{"name": "r"}], "steps": [step]}
    (step if "steps" in path else spec)["results"][0]["default"] = "x"
    assert refusal(taskrun(taskSpec=spec)).message == f"{path}: unknown field"
