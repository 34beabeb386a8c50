"""What a Pipeline cannot be run with."""

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task


def when_list(**fields):
    return [fields]


@pytest.mark.parametrize(
    ("spec", "reason", "said"),
    [
        (
            {"tasks": [pipeline_task("a", when=when_list(input="x", operator="isnt", values=["y"]))]},
            "PipelineValidationFailed",
            'operator "isnt" is not recognized',
        ),
        (
            {"tasks": [pipeline_task("a", when=when_list(input="x", operator="in", values=[]))]},
            "PipelineValidationFailed",
            "non-empty values",
        ),
        ({"tasks": []}, "PipelineValidationFailed", "expected at least one, got none"),
        (
            {"tasks": [], "last": [pipeline_task("z")]},
            "PipelineValidationFailed",
            "spec.tasks is empty but spec.finally has 1 tasks",
        ),
        (
            {"tasks": [pipeline_task("a")], "last": [pipeline_task("a")]},
            "PipelineValidationFailed",
            "expected exactly one, got both: finally[0].name",
        ),
        (
            {"tasks": [pipeline_task("a")], "last": [pipeline_task("z", runAfter=["a"])]},
            "PipelineValidationFailed",
            "no runAfter allowed under spec.finally",
        ),
        (
            {"tasks": [pipeline_task("a")], "results": [{"name": "o", "value": "$(tasks.q.results.r)"}]},
            "PipelineValidationFailed",
            "referencing a nonexistent task: results[0].value",
        ),
        (
            {"tasks": [pipeline_task("a", workspaces=[{"name": "w", "workspace": "nope"}])]},
            "CreateRunFailed",
            'expected workspace "nope" to be provided by pipelinerun for pipeline task "a"',
        ),
        (
            {
                "tasks": [pipeline_task("a")],
                "params": [{"name": "p", "type": "string", "enum": ["a", "b"]}],
                "run_params": [{"name": "p", "value": "c"}],
            },
            "InvalidParamValue",
            "param `p` value: (1 bytes, not shown) is not in the enum list",
        ),
    ],
)
def test_an_invalid_pipeline_fails_the_run_before_a_taskrun_is_created(spec, reason, said):
    harness = PipelineRunHarness(*spec.pop("tasks"), **spec)
    harness.reconcile()
    assert harness.condition[:2] == ("False", reason)
    assert said in harness.condition[2]
    if reason == "PipelineValidationFailed":
        assert harness.condition[2].startswith(
            "[User error] Pipeline default/p can't be Run; it has an invalid spec: "
        )
    assert harness.taskruns_made == []


def test_a_task_param_without_a_value_fails_the_run():
    task = pipeline_task("a")
    task["taskSpec"]["params"] = [{"name": "x", "type": "string"}]
    harness = PipelineRunHarness(task)
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert harness.condition[2] == (
        "[User error] Validation failed for pipelinerun p with error invalid input params for task : missing "
        "values for these params which have no default values: [x]"
    )
    assert harness.taskruns_made == []


def test_an_index_of_any_length_is_beyond_the_end():
    digits = "9" * 5000
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)),
        {**pipeline_task("b"), "params": [{"name": "p", "value": f"$(tasks.a.results.r[{digits}])"}]},
    )
    harness.store.calls.clear()
    harness.reconcile()
    harness.finish_task("a", r=["x"])
    harness.reconcile()
    assert harness.condition[0] == "False"
    assert "is out of bound of size 1" in harness.condition[2]
