"""What the TaskRun of a Pipeline Task is given: what all have, with what the one has merged into it."""

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task


def _env(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _spec(**fields):
    harness = PipelineRunHarness(pipeline_task("a"), pipeline_task("b"), **fields)
    harness.reconcile()
    taskrun = harness.taskrun("a")
    assert taskrun is not None
    return taskrun["spec"]


def test_the_pod_template_of_one_task_merges_by_name_with_that_of_all():
    spec = _spec(
        run_taskRunTemplate={
            "podTemplate": {
                "env": _env(PROXY="p", LEVEL="all"),
                "volumes": [{"name": "ca", "emptyDir": {}}],
                "nodeSelector": {"disk": "ssd"},
            }
        },
        run_taskRunSpecs=[
            {
                "pipelineTaskName": "a",
                "podTemplate": {"env": _env(LEVEL="one"), "volumes": [{"name": "own", "emptyDir": {}}]},
            }
        ],
    )
    assert spec["podTemplate"] == {
        "env": _env(LEVEL="one", PROXY="p"),
        "volumes": [{"name": "own", "emptyDir": {}}, {"name": "ca", "emptyDir": {}}],
        "nodeSelector": {"disk": "ssd"},
    }


def test_two_entries_for_one_task_are_one_over_the_other():
    spec = _spec(
        run_taskRunTemplate={"serviceAccountName": "all"},
        run_taskRunSpecs=[
            {
                "pipelineTaskName": "a",
                "serviceAccountName": "first",
                "podTemplate": {"env": _env(A="1", B="1")},
                "timeout": "1m",
            },
            {"pipelineTaskName": "a", "podTemplate": {"env": _env(B="2")}},
        ],
    )
    assert spec["serviceAccountName"] == "first"
    assert spec["podTemplate"] == {"env": _env(B="2", A="1")}
    assert "timeout" not in spec  # of anything else the last entry decides


@pytest.mark.parametrize(
    ("of_run", "of_task", "joined"),
    [("a", "b", "a/b"), ("a", "/b", "a/b"), ("a/", "./b", "a/b"), ("a", "", "a"), ("", "b", "b")],
)
def test_the_path_of_a_task_is_below_that_of_the_run(of_run, of_task, joined):
    harness = PipelineRunHarness(
        pipeline_task("a", workspaces=[{"name": "w", "workspace": "src", "subPath": of_task}]),
        workspaces=[{"name": "src"}],
        run_workspaces=[{"name": "src", "emptyDir": {}, "subPath": of_run}],
    )
    harness.reconcile()
    taskrun = harness.taskrun("a")
    assert taskrun is not None
    assert taskrun["spec"]["workspaces"][0]["subPath"] == joined
