"""Results between Tasks, and the run's own results."""

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task

PARAM_OF_A = {"name": "v", "value": "$(tasks.a.results.r)"}


@pytest.mark.parametrize(
    ("value", "given", "passed"),
    [
        ("$(tasks.a.results.r)", "x", "x"),
        ("$(tasks.a.results['r'])", "x", "x"),
        ('$(tasks.a.results["r"])', "x", "x"),
        ("<$(tasks.a.results.r)$(tasks.a.results.r)>", "x", "<xx>"),
        ("$(tasks.a.results.r[*])", ["x", "y"], ["x", "y"]),
        ("$(tasks.a.results.r[1])", ["x", "y"], "y"),
        ("$(tasks.a.results.r.k)", {"k": "v"}, "v"),
        ("$(tasks.a.results.r[*])", {"k": "v"}, {"k": "v"}),
        (["a", "$(tasks.a.results.r[*])", "b"], ["x", "y"], ["a", "x", "y", "b"]),
        ({"k": "$(tasks.a.results.r)"}, "x", {"k": "x"}),
        (
            "$(tasks.a.results.r)",
            "$(tasks.a.results.r) $(params.x) \n\"\u2028'",
            "$(tasks.a.results.r) $(params.x) \n\"\u2028'",
        ),
    ],
)
def test_a_result_named_by_a_param_is_passed_on_unchanged(value, given, passed):
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)), pipeline_task("b", params=[{"name": "v", "value": value}])
    )
    harness.reconcile()
    harness.finish_task("a", r=given)
    harness.reconcile()
    assert harness.params_of("b") == {"v": passed}


def test_a_result_is_put_into_the_text_of_an_embedded_task_that_comes_after():
    spec = {"steps": [{"name": "s", "image": "i", "script": "echo $(tasks.a.results.r) $(params.own)"}]}
    spec["params"] = [{"name": "own", "default": "d"}]
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)), {"name": "b", "runAfter": ["a"], "taskSpec": spec}
    )
    harness.reconcile()
    harness.finish_task("a", r="x")
    harness.reconcile()
    assert harness.taskrun("b")["spec"]["taskSpec"]["steps"][0]["script"] == "echo x $(params.own)"


def test_a_result_that_its_task_does_not_declare_fails_the_run_naming_both():
    harness = PipelineRunHarness(pipeline_task("a"), pipeline_task("b", params=[PARAM_OF_A]))
    harness.reconcile()
    said = 'invalid result reference in pipeline task "b": "r" is not a named result returned by '
    assert harness.condition == ("False", "InvalidTaskResultReference", f'{said}pipeline task "a"')
    assert harness.taskruns_made == []


def test_a_pipeline_result_that_no_task_declares_fails_the_run():
    harness = PipelineRunHarness(
        pipeline_task("a"), results=[{"name": "out", "value": "$(tasks.a.results.r)"}]
    )
    harness.reconcile()
    assert harness.condition[1] == "InvalidPipelineResultReference"
    assert 'pipeline result "out"' in harness.condition[2]


@pytest.mark.parametrize(
    ("value", "given", "said"),
    [
        (
            "$(tasks.a.results.r[2])",
            ["x", "y"],
            "array Result Index 2 for Task a Result r is out of bound of size 2",
        ),
        ("$(tasks.a.results.r.q)", {"k": "v"}, 'result "r" of pipeline task "a" has no key "q"'),
    ],
)
def test_an_index_or_key_that_a_result_does_not_have_fails_the_run(value, given, said):
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)), pipeline_task("b", params=[{"name": "v", "value": value}])
    )
    harness.reconcile()
    harness.finish_task("a", r=given)
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert said in harness.condition[2]
    assert harness.taskruns_made == ["a"]


def test_finally_runs_after_a_missing_result_and_the_run_fails():
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)),
        pipeline_task("b", params=[PARAM_OF_A]),
        last=(pipeline_task("f"),),
    )
    harness.reconcile()
    harness.finish_task("a")
    harness.reconcile()
    assert harness.taskruns_made == ["a", "f"]
    assert harness.condition[0] == "Unknown"
    harness.finish_task("f")
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert 'did not emit the result "r", which is referenced by task "b"' in harness.condition[2]


def test_a_task_of_finally_whose_result_is_missing_is_skipped():
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)), last=(pipeline_task("f", params=[PARAM_OF_A]), pipeline_task("g"))
    )
    harness.reconcile()
    harness.finish_task("a", "Failed")
    harness.reconcile()
    assert harness.taskruns_made == ["a", "g"]
    assert harness.skipped_tasks == {"f": "Results were missing"}


def test_a_pipelines_own_results_are_written_but_those_of_tasks_that_failed():
    results = [
        {"name": "text", "value": "<$(tasks.a.results.r)>"},
        {"name": "gone", "value": "$(tasks.b.results.r)"},
        {"name": "last", "value": "$(finally.f.results.r)"},
        {"name": "mapped", "type": "object", "value": {"k": "$(tasks.a.results.r)"}},
    ]
    failing = pipeline_task("b", results=("r",), onError="continue")
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)),
        failing,
        last=(pipeline_task("f", results=("r",)),),
        results=results,
    )
    harness.reconcile()
    harness.finish_task("a", r="1")
    harness.finish_task("b", "Failed")
    harness.reconcile()
    harness.finish_task("f", r="2")
    harness.reconcile()
    assert harness.condition[0] == "True"
    assert harness.status["results"] == [
        {"name": "text", "value": "<1>"},
        {"name": "last", "value": "2"},
        {"name": "mapped", "value": {"k": "1"}},
    ]


def test_a_pipeline_result_that_a_task_did_not_write_fails_the_run():
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)), results=[{"name": "out", "value": "$(tasks.a.results.r)"}]
    )
    harness.reconcile()
    harness.finish_task("a")
    harness.reconcile()
    assert harness.condition[:2] == ("False", "CouldntGetPipelineResult")
    assert "invalid pipelineresults [out]" in harness.condition[2]


def test_an_invalid_task_is_the_reason_before_a_missing_pipeline_result():
    value = "$(tasks.a.results.r)"
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)),
        pipeline_task("b", params=[{"name": "v", "value": value}]),
        results=[{"name": "out", "value": value}],
    )
    harness.reconcile()
    harness.finish_task("a")
    harness.reconcile()
    status, reason, message = harness.condition
    assert (status, reason) == ("False", "PipelineValidationFailed")
    assert "Failed Validation: 1" in message
    assert "invalid pipelineresults [out]" in message
