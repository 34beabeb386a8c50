"""Conditions of Pipeline Tasks in CEL: as Tekton evaluates them, with params, results and states as text."""

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task

from resultsfw.tekton.api.policies import Policies, policies_of, violations
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.pipelinerun.validate_pipeline import MOST_CEL

ALLOWED = Policies(cel=True)


def cel(*expressions):
    return [{"cel": expression} for expression in expressions]


def allowed(*tasks, **spec):
    """A PipelineRun whose operator allows CEL."""
    harness = PipelineRunHarness(*tasks, **spec)
    harness.reconciler = PipelineReconciler(
        harness.core, harness.store, clock=lambda: harness.now, policies=ALLOWED
    )
    harness.reconcile()
    return harness


def test_a_condition_decides_with_params_results_and_states_in_it():
    harness = allowed(
        pipeline_task("yes", when=cel("'$(params.path)' == 'README.md'"), results=("exists",)),
        pipeline_task("no", when=cel("'$(params.path)' != 'README.md'")),
        pipeline_task("later", when=cel("'$(tasks.yes.results.exists)' == 'yes'")),
        pipeline_task("never", when=cel("'$(tasks.yes.results.exists)' in ['no', 'missing']")),
        last=(
            pipeline_task(
                "last", when=cel("'$(tasks.later.status)' == 'Succeeded'", "'$(tasks.status)' == 'Completed'")
            ),
            pipeline_task("not-last", when=cel("'$(tasks.status)' == 'Failed'")),
        ),
        params=[{"name": "path"}],
        run_params=[{"name": "path", "value": "README.md"}],
    )
    assert sorted(harness.taskruns_made) == ["yes"]
    harness.finish_task("yes", exists="yes")
    harness.reconcile()
    harness.finish_task("later")
    harness.reconcile()
    assert "last" in harness.taskruns_made
    harness.finish_task("last")
    harness.reconcile()
    why = "When Expressions evaluated to false"
    assert harness.skipped_tasks == {"no": why, "never": why, "not-last": why}
    assert harness.condition[:2] == ("True", "Completed")
    shown = {entry["name"]: entry["whenExpressions"] for entry in harness.status["skippedTasks"]}
    assert shown["never"] == cel("'yes' in ['no', 'missing']")
    children = {child["pipelineTaskName"]: child for child in harness.status["childReferences"]}
    assert children["later"]["whenExpressions"] == cel("'yes' == 'yes'")


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("params.path == 'a'", "undeclared reference to 'params' (in container '')"),
        ("$(tasks.a.results.r) > 3", "Syntax error at character 1"),
        ("'a'", "The CEL expression 'a' is not evaluated to a boolean"),
        ("1 == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("[1,2,3,4,5,6,7,8,9].all(a, " * 4 + "true" + ")" * 4, "costs more than 5000 steps"),
    ],
)
def test_a_condition_that_cannot_be_evaluated_fails_the_run_before_any_task(expression, why):
    harness = allowed(
        pipeline_task("a", results=("r",)), pipeline_task("b", when=cel(expression), runAfter=["a"])
    )
    status, reason, message = harness.condition
    assert (status, reason) == ("False", "CELEvaluationFailed")
    assert message.startswith("[User error] Error evaluating CEL p: ")
    assert why in message
    assert harness.taskruns_made == []


def test_a_result_that_breaks_a_condition_fails_the_run_by_name():
    harness = allowed(
        pipeline_task("a", results=("r",)), pipeline_task("b", when=cel("'$(tasks.a.results.r)' == 'x'"))
    )
    harness.finish_task("a", r="it's")
    harness.reconcile()
    assert harness.condition[:2] == ("False", "CELEvaluationFailed")
    assert harness.taskruns_made == ["a"]


def test_a_result_too_large_for_a_condition_is_named_with_its_size_and_the_limit():
    harness = allowed(
        pipeline_task("a", results=("r",)), pipeline_task("b", when=cel("'$(tasks.a.results.r)' == 'x'"))
    )
    harness.finish_task("a", r="x" * 100_000)
    harness.reconcile()
    assert harness.condition[1] == "CELEvaluationFailed"
    assert "size: 100009, limit 100000" in harness.condition[2]


def test_cel_is_refused_while_the_flag_is_off_as_by_tektons_webhook():
    harness = PipelineRunHarness(pipeline_task("a", when=cel("true")))
    harness.reconcile()
    assert harness.condition[1] == "PipelineValidationFailed"
    assert (
        "feature flag enable-cel-in-whenexpression should be set to true to use CEL: true in WhenExpression: "
        "spec.pipelineSpec.tasks[0].when"
    ) in harness.condition[2]


@pytest.mark.parametrize(("value", "refused"), [("true", False), ("false", True), ("", True), ("T", False)])
def test_the_flag_is_read_as_go_reads_it(value, refused):
    policies = policies_of({"enable-cel-in-whenexpression": value}, {})
    spec = {"pipelineSpec": {"tasks": [pipeline_task("a", when=cel("true"))]}}
    assert bool(violations({"kind": "PipelineRun", "spec": spec}, policies)) is refused


def test_cel_beside_input_is_refused():
    when = [{"cel": "true", "input": "a", "operator": "in", "values": ["a"]}]
    harness = allowed(pipeline_task("a", when=when))
    assert harness.condition[1] == "PipelineValidationFailed"
    assert "cel and input+operator+values cannot be set in one WhenExpression" in harness.condition[2]


def test_more_conditions_than_one_reconcile_can_evaluate_are_refused():
    harness = allowed(pipeline_task("a", when=cel(*["true"] * (MOST_CEL + 1))))
    assert harness.condition[1] == "PipelineValidationFailed"
    assert f"{MOST_CEL + 1} when expressions in CEL, over the limit of {MOST_CEL}" in harness.condition[2]
    assert harness.taskruns_made == []
