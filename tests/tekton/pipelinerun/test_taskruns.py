"""What TaskRuns are given: params, workspaces, labels; and the labels of the run itself."""

import pytest
from pipelinerun_harness import PipelineRunHarness, RecordingStore, pipeline_task

from resultsfw.errors import ForbiddenError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, PIPELINES


def test_params_of_the_run_and_their_defaults_reach_the_params_of_a_task():
    harness = PipelineRunHarness(
        pipeline_task(
            "a",
            params=[
                {"name": "text", "value": "$(params.text)-$(params['text'])"},
                {"name": "all", "value": ["$(params.list[*])", "z"]},
                {"name": "one", "value": "$(params.list[1])"},
                {"name": "key", "value": "$(params.map.k)"},
                {"name": "map", "value": "$(params.map[*])"},
                {"name": "who", "value": "$(context.pipelineRun.name) $(context.pipeline.name)"},
            ],
        ),
        params=[
            {"name": "text", "default": "d"},
            {"name": "list", "type": "array", "default": ["x", "y"]},
            {
                "name": "map",
                "type": "object",
                "properties": {"k": {}, "l": {}},
                "default": {"k": "v", "l": "w"},
            },
        ],
        run_params=[{"name": "text", "value": "given"}, {"name": "map", "value": {"k": "mine"}}],
    )
    harness.reconcile()
    assert harness.params_of("a") == {
        "text": "given-given", "all": ["x", "y", "z"], "one": "y", "key": "mine",
        "map": {"k": "mine", "l": "w"}, "who": "p p",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "given", "reason"),
    [
        ([{"name": "x"}], [], "ParameterMissing"),
        ([{"name": "x"}], [{"name": "x", "value": ["a"]}], "ParameterTypeMismatch"),
        ([{"name": "x", "properties": {"k": {}}}], [{"name": "x", "value": {}}], "ObjectParameterMissKeys"),
    ],
)
def test_params_that_do_not_fit_the_pipeline_fail_the_run(params, given, reason):
    harness = PipelineRunHarness(pipeline_task("a"), params=params, run_params=given)
    harness.reconcile()
    assert harness.condition[:2] == ("False", reason)
    assert harness.taskruns_made == []


def test_a_workspace_is_bound_in_each_task_and_its_claim_is_created_once():
    template = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    used = [{"name": "mine", "workspace": "shared", "subPath": "below"}]
    harness = PipelineRunHarness(
        pipeline_task("a", workspaces=used),
        pipeline_task("b", workspaces=used),
        workspaces=[{"name": "shared"}],
        run_workspaces=[{"name": "shared", "subPath": "top", "volumeClaimTemplate": template}],
    )
    harness.reconcile()
    a, b = (harness.taskrun(one)["spec"]["workspaces"] for one in "ab")
    assert a == b
    assert (a[0]["name"], a[0]["subPath"]) == ("mine", "top/below")
    assert harness.store.calls.count(("created", "PersistentVolumeClaim")) == 1


def test_a_workspace_that_the_run_does_not_bind_fails_it():
    harness = PipelineRunHarness(pipeline_task("a"), workspaces=[{"name": "shared"}])
    harness.reconcile()
    assert harness.condition[:2] == ("False", "InvalidWorkspaceBindings")


@pytest.mark.parametrize(
    ("usage", "bound", "reason", "message"),
    [
        (
            {"name": "w", "workspace": "cache"},
            True,
            "RequiredWorkspaceMarkedOptional",
            '[User error] Optional workspace not supported by task: pipeline workspace "cache" is marked',
        ),
        (
            {"name": "cache"},
            False,
            "CreateRunFailed",
            'expected workspace "cache" to be provided by pipelinerun for pipeline task "a"',
        ),
        ({"name": "cache"}, True, "Running", ""),
    ],
)
def test_an_optional_workspace_that_a_task_requires_is_refused_in_tektons_words(
    usage, bound, reason, message
):
    task = pipeline_task("a", workspaces=[usage])
    task["taskSpec"]["workspaces"] = [{"name": usage["name"]}]
    harness = PipelineRunHarness(
        task,
        workspaces=[{"name": "cache", "optional": True}],
        run_workspaces=[{"name": "cache", "emptyDir": {}}] if bound else [],
    )
    harness.reconcile()
    assert harness.condition[1] == reason
    assert harness.condition[2].startswith(message)


def test_a_workspace_that_pipeline_and_task_call_optional_need_not_be_bound():
    workspaces = [{"name": "w", "optional": True}]
    task = pipeline_task("a", workspaces=[{"name": "w"}])
    task["taskSpec"]["workspaces"] = workspaces
    harness = PipelineRunHarness(task, workspaces=workspaces)
    harness.reconcile()
    assert harness.taskruns_made == ["a"]


def test_fields_of_the_run_and_of_the_pipeline_task_reach_the_taskrun():
    harness = PipelineRunHarness(
        pipeline_task("a", retries=2, timeout="5m", onError="continue"),
        run_managedBy="resultsfw.dev/controller",
        run_taskRunTemplate={"serviceAccountName": "sa", "podTemplate": {"nodeSelector": {"a": "b"}}},
        run_taskRunSpecs=[{"pipelineTaskName": "a", "metadata": {"labels": {"x": "y"}}, "timeout": "7m"}],
    )
    harness.reconcile()
    made = harness.taskrun("a")
    assert made["spec"]["retries"] == 2
    assert made["spec"]["timeout"] == "7m"
    assert made["spec"]["managedBy"] == "resultsfw.dev/controller"
    assert made["spec"]["serviceAccountName"] == "sa"
    assert made["metadata"]["labels"]["x"] == "y"
    assert made["metadata"]["annotations"] == {"pipeline.tekton.dev/pipeline-task-on-error": "continue"}


def test_a_run_gets_the_labels_of_its_pipeline_and_passes_them_to_its_taskruns():
    harness = PipelineRunHarness(pipeline_task("a"))
    harness.reconcile()
    assert harness.pipelinerun["metadata"]["labels"] == {"tekton.dev/pipeline": "p"}
    named = PipelineRunHarness(run_pipelineRef={"name": "named"})
    labels, last = {"team": "x", "own": "pipeline"}, "kubectl.kubernetes.io/last-applied-configuration"
    metadata = {
        "name": "named",
        "namespace": "default",
        "labels": labels,
        "annotations": {"n": "1", last: ""},
    }
    pipeline = {"apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": metadata}
    named.store.create(PIPELINES, {**pipeline, "spec": {"tasks": [pipeline_task("a")]}})
    patch = {"metadata": {"labels": {"own": "run"}}, "spec": {"pipelineSpec": None}}
    Store.patch(named.store, PIPELINERUNS, "default", "p", patch)
    named.reconcile()
    marked = named.pipelinerun["metadata"]
    assert marked["labels"] == {"team": "x", "own": "run", "tekton.dev/pipeline": "named"}
    assert marked["annotations"] == {"n": "1"}
    made = named.taskrun("a")["metadata"]
    assert marked["labels"].items() <= made["labels"].items()
    assert made["annotations"] == {"n": "1"}


def test_runs_with_a_generated_name_have_one_label_for_their_embedded_pipeline():
    harness = PipelineRunHarness(pipeline_task("a"))
    patch = {"metadata": {"generateName": "build-and-test-"}}
    Store.patch(harness.store, PIPELINERUNS, "default", "p", patch)
    harness.reconcile()
    assert harness.pipelinerun["metadata"]["labels"] == {"tekton.dev/pipeline": "build-and-test"}
    assert harness.taskrun("a")["metadata"]["labels"]["tekton.dev/pipeline"] == "build-and-test"


class Strict(RecordingStore):
    """A server on which the role of an earlier version is in force."""

    def patch(self, kind, namespace, name, patch, *, subresource=""):
        if kind == PIPELINERUNS and not subresource:
            raise ForbiddenError("may not patch pipelineruns")
        return super().patch(kind, namespace, name, patch, subresource=subresource)


def test_a_run_that_the_controller_may_not_label_still_runs(caplog):
    strict, harness = Strict(), PipelineRunHarness(pipeline_task("a"))
    strict.create(PIPELINERUNS, {**harness.pipelinerun, "metadata": {"name": "p", "namespace": "default"}})
    harness.store = strict
    harness.restart_controller()
    harness.reconcile()
    assert harness.taskruns_made == ["a"]
    assert "gets no labels: may not patch pipelineruns" in caplog.text
