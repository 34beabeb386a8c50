"""What a failed run's reader is told to do next, by what failed."""

import pytest

from resultsfw.cli.advice import advice_for, advice_on, larger
from resultsfw.types import Problem, ProblemCode


def failed(reason, message, backend="termination-message"):
    condition = {"type": "Succeeded", "status": "False", "reason": reason, "message": message}
    flags = {"featureFlags": {"resultExtractionMethod": backend}}
    return {"status": {"conditions": [condition], "provenance": flags}}


def commands(advice):
    return [command for _, some in advice.commands for command in some]


def test_a_small_overflow_needs_the_sidecar_only():
    """The TEP's own command, letter by letter."""
    patch = (
        """kubectl patch cm feature-flags -n tekton-pipelines -p '{"data":{"results-from":"sidecar-logs"}}'"""
    )
    assert commands(larger("termination-message", 3500)) == [
        patch,
        "kubectl apply -f config/enable-log-access-to-controller/",
    ]


def test_a_large_one_needs_a_larger_limit_too():
    patch = """kubectl patch cm feature-flags -n tekton-pipelines -p '{"data":{"max-result-size":"8192"}}'"""
    assert patch in commands(larger("termination-message", 4572))
    assert commands(larger("sidecar-logs", 8192)) == [patch]


def test_the_limit_never_goes_over_what_an_object_holds():
    assert '"1572864"' in commands(larger("sidecar-logs", 1_572_864))[0]
    assert "set results-from: object-store" in larger("sidecar-logs", 1_572_865).what
    assert "max-object-size" in larger("object-store", 2**31).what
    assert larger("sidecar-logs", 0).commands == ()


def test_here_is_the_command_that_was_typed():
    advice = larger("termination-message", 4572, again=lambda flags: f"again {sorted(flags.items())}")
    assert advice.commands[0] == (
        "here",
        ("again [('max-result-size', '8192'), ('results-from', 'sidecar-logs')]",),
    )


@pytest.mark.parametrize(
    ("reason", "message", "said"),
    [
        (
            "StepFailed",
            'result "a" has 5000 bytes and does not fit into the termination message',
            "sidecar-logs",
        ),
        ("TaskRunResultLargerThanAllowedLimit", "cut short", "sidecar-logs"),
        (
            "TaskRunResultLargerThanAllowedLimit",
            "results have 9 bytes together, over the limit of 8",
            "write less",
        ),
        (
            "TaskRunValidationFailed",
            "Provided results don't match declared results; x",
            "JSON array of strings",
        ),
        ("TaskRunValidationFailed", "missing keys for these results which", "properties name"),
        ("StepFailed", 'x; results: result "a" was refused in container "b": NotUtf8', "base64"),
        ("TaskRunTimeout", "x", "spec.timeout"),
        ("TaskRunResultMissing", "x", '"missing-results"'),
        ("TaskRunResultsIncomplete", "x", "run it again"),
        ("TaskRunResultsCorrupt", "x", "what else writes there"),
    ],
)
def test_by_reason_and_message(reason, message, said):
    assert said in advice_on(failed(reason, message))[0].what


def test_a_pod_that_a_parameter_is_too_large_for_says_so_itself():
    said = 'its parameter "p" has 9 bytes by reference, over the limit of 8 bytes of the pod'
    assert advice_on(failed("PodCreationFailed", said)) == []


def test_an_object_that_is_too_large_says_so_itself():
    """No result is too large: advice on results would lead away from it."""
    said = "the PipelineRun would have 1600562 bytes, over the limit of 1556480 bytes one object may have"
    assert advice_on({**failed("PipelineRunTooLarge", said), "kind": "PipelineRun"}) == []
    said = "the run with its status is larger than the API server stores: too large (1801166 bytes)"
    assert advice_on(failed("TaskRunResultLargerThanAllowedLimit", said)) == []


@pytest.mark.parametrize("reason", ["StepFailed", "TaskRunCancelled", "SomethingNew"])
def test_nothing_is_made_up(reason):
    assert advice_on(failed(reason, "a Step failed")) == []


@pytest.mark.parametrize(
    "code", sorted(set(ProblemCode) - {ProblemCode.TRANSPORT_FOREIGN, ProblemCode.TRANSPORT_UNREADABLE})
)
def test_every_problem_that_has_a_cure_has_advice(code):
    assert advice_for(Problem(code=code, message="x", size=5000), "sidecar-logs")


def test_a_run_of_which_nothing_ran_is_not_told_about_backends():
    """Its params were too large, and no other way out of a pod would help."""
    condition = {"type": "Succeeded", "status": "False", "reason": "TaskRunValidationFailed"}
    condition["message"] = "default of parameter p6: ... has 2000000 bytes, over the limit of 1572864 bytes"
    assert advice_on({"kind": "TaskRun", "status": {"podName": "", "conditions": [condition]}}) == []
