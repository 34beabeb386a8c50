"""What a failed run's reader is told to do next, by what failed."""

from dataclasses import replace
from pathlib import Path

import pytest

from resultsfw.cli.output.advice import advice_for, advice_on, failed_for_size, larger, without_hints
from resultsfw.limits import result_too_large, run_too_large
from resultsfw.tekton.api import reasons
from resultsfw.types import ARTIFACTS, CollectionOutcome, Problem, ProblemCode, Result

TASK = Path(__file__).parents[2] / "examples" / "01-images" / "task.yaml"


def failed(reason, message="x", backend="termination-message"):
    condition = {"type": "Succeeded", "status": "False", "reason": reason, "message": message}
    flags = {"featureFlags": {"resultExtractionMethod": backend}}
    return {"status": {"conditions": [condition], "provenance": flags}}


def lost(*problems):
    """The verdict over a run, from problems or the codes of problems."""
    made = [one if isinstance(one, Problem) else Problem(code=one, message="x") for one in problems]
    return CollectionOutcome(problems=tuple(made))


def commands(advice):
    return [command for _, some in advice.commands for command in some]


def test_a_result_too_large_for_a_message_gets_advice_to_use_sidecar_logs():
    """The TEP's own command, letter by letter."""
    patch = (
        """kubectl patch cm feature-flags -n tekton-pipelines -p '{"data":{"results-from":"sidecar-logs"}}'"""
    )
    assert commands(larger("termination-message", 3500)) == [
        patch,
        "resultsfw install --enable-log-access",
    ]


def test_a_result_over_the_default_limit_gets_advice_to_raise_max_result_size():
    patch = """kubectl patch cm feature-flags -n tekton-pipelines -p '{"data":{"max-result-size":"8192"}}'"""
    assert patch in commands(larger("termination-message", 4572))
    assert commands(larger("sidecar-logs", 8192)) == [patch]


def test_advice_never_raises_max_result_size_over_what_an_object_holds():
    assert '"1572864"' in commands(larger("sidecar-logs", 1_572_864))[0]
    assert "set results-from: object-store" in larger("sidecar-logs", 1_572_865).what
    assert "max-object-size" in larger("object-store", 2**31).what
    assert larger("sidecar-logs", 0).commands == ()


def test_provenance_that_no_status_holds_gets_no_advice_to_store_it_elsewhere():
    problem = Problem(
        code=ProblemCode.RESULT_TOO_LARGE, message="x", result=ARTIFACTS, size=4_000_000, hint="h"
    )
    (advice,) = advice_on(failed(reasons.TOO_LARGE, backend="sidecar-logs"), lost(problem))
    assert advice.what.startswith("record fewer artifacts")
    assert advice_for(problem, "sidecar-logs") == [advice]
    small = replace(problem, size=5000)
    assert '"8192"' in commands(advice_for(small, "sidecar-logs")[0])[0]


def test_a_local_run_gets_the_command_that_repeats_it():
    advice = larger("termination-message", 4572, rerun=lambda flags: f"again {sorted(flags.items())}")
    assert advice.commands[0] == (
        "here",
        ("again [('max-result-size', '8192'), ('results-from', 'sidecar-logs')]",),
    )


LIMIT = "TaskRunResultLargerThanAllowedLimit"
OVER_MESSAGE = Problem(
    code=ProblemCode.RESULT_TOO_LARGE,
    message='result "a" has 5000 bytes and does not fit into the termination message',
    size=5000,
    limit=4096,
)


@pytest.mark.parametrize(
    ("reason", "problems", "said"),
    [
        ("StepFailed", [OVER_MESSAGE], "sidecar-logs and max-result-size: 8192"),
        (LIMIT, [ProblemCode.TRANSPORT_CUT], "sidecar-logs"),
        (LIMIT, [run_too_large(["a"], 9, 8)], "write less"),
        (LIMIT, [OVER_MESSAGE, run_too_large(["a"], 9, 8)], "write less"),
        ("TaskRunValidationFailed", [ProblemCode.TYPE_MISMATCH], "JSON array of strings"),
        ("TaskRunValidationFailed", [ProblemCode.MISSING_KEYS], "properties name"),
        ("StepFailed", [ProblemCode.NOT_UTF8], "base64"),
        ("TaskRunResultRefused", [ProblemCode.WITHHELD], "an extension that the operator enabled"),
        ("TaskRunTimeout", [], "spec.timeout"),
        ("TaskRunTimeout", [ProblemCode.TRANSPORT_INCOMPLETE], "spec.timeout"),
        ("TaskRunResultMissing", [ProblemCode.MISSING], '"missing-results"'),
        ("TaskRunResultsIncomplete", [ProblemCode.TRANSPORT_INCOMPLETE], "run it again"),
        ("TaskRunResultsCorrupt", [ProblemCode.TRANSPORT_CORRUPT], "what else writes where"),
    ],
)
def test_reason_and_problems_choose_the_advice(reason, problems, said):
    (advice,) = advice_on(failed(reason), lost(*problems))
    assert said in advice.what


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (LIMIT, "sidecar-logs"),
        ("TaskRunTimeout", "spec.timeout"),
        ("TaskRunResultRefused", "base64"),
        ("TaskRunResultMissing", '"missing-results"'),
        ("TaskRunResultsIncomplete", "run it again"),
        ("TaskRunResultsCorrupt", "what else writes where"),
    ],
)
def test_the_reason_alone_chooses_the_advice_where_no_problem_is_known(reason, said):
    (advice,) = advice_on(failed(reason))
    assert said in advice.what


@pytest.mark.parametrize("code", list(ProblemCode))
@pytest.mark.parametrize("reason", [LIMIT, "StepFailed", "TaskRunValidationFailed", "TaskRunTimeout"])
def test_rewording_a_message_does_not_change_the_advice(reason, code):
    texts = [
        "x",
        "over the limit of",
        "has 9999 bytes together",
        "was refused",
        "missing keys for these results",
    ]
    problems = [lost(Problem(code=code, message=text, size=5000)) for text in texts]
    advice = [advice_on(failed(reason, text), found) for text, found in zip(texts, problems, strict=True)]
    assert all(other == advice[0] for other in advice)
    sizes = {
        failed_for_size(failed(reason, text), found) for text, found in zip(texts, problems, strict=True)
    }
    assert len(sizes) == 1


def test_results_that_the_object_had_no_space_for_ask_to_write_less():
    """The status lacks a result that arrived, and no problem says so."""
    result = Result(name="a", type="string", value="v", size=1, source="x")
    (advice,) = advice_on(failed(LIMIT), CollectionOutcome(results=(result,)))
    assert "write less: keep large data" in advice.what


@pytest.mark.parametrize(
    ("backend", "problem", "stays"),
    [
        ("sidecar-logs", result_too_large("a", 9, 8), False),
        ("termination-message", Problem(code=ProblemCode.TRANSPORT_CUT, message="m", hint="h"), False),
        ("config-map", Problem(code=ProblemCode.RESULT_TOO_LARGE, message="m", hint="h"), True),
        ("sidecar-logs", Problem(code=ProblemCode.WITHHELD, message="m", hint="h"), True),
    ],
)
def test_a_hint_is_left_out_of_the_message_only_where_the_advice_repeats_it(backend, problem, stays):
    taskrun = failed(LIMIT, f"{problem.message}; {problem.hint}", backend)
    whole = f"{problem.message}; {problem.hint}"
    assert without_hints(taskrun, lost(problem)) == (whole if stays else problem.message)
    assert without_hints(taskrun, None) == whole


def test_a_parameter_too_large_for_the_pod_gets_no_advice():
    said = 'its parameter "p" has 9 bytes by reference, over the limit of 8 bytes of the pod'
    assert advice_on(failed("PodCreationFailed", said)) == []


def test_a_run_object_that_is_too_large_gets_no_advice_on_results():
    """No result is too large: advice on results would lead away from it."""
    said = "the PipelineRun would have 1600562 bytes, over the limit of 1556480 bytes one object may have"
    assert advice_on({**failed("PipelineRunTooLarge", said), "kind": "PipelineRun"}) == []
    said = "the run with its status is larger than the API server stores: too large (1801166 bytes)"
    taskrun = failed(LIMIT, said)
    taskrun["status"]["podName"] = ""
    assert advice_on(taskrun) == []


@pytest.mark.parametrize("reason", ["StepFailed", "TaskRunCancelled", "SomethingNew"])
def test_a_failure_that_is_not_about_results_gets_no_advice(reason):
    assert advice_on(failed(reason, "a Step failed")) == []
    consequences = (ProblemCode.MISSING, ProblemCode.TRANSPORT_INCOMPLETE, ProblemCode.TRANSPORT_CORRUPT)
    assert advice_on(failed(reason, "a Step failed"), lost(*consequences)) == []


@pytest.mark.parametrize(
    "code", sorted(set(ProblemCode) - {ProblemCode.TRANSPORT_FOREIGN, ProblemCode.TRANSPORT_UNREADABLE})
)
def test_every_problem_code_that_can_be_fixed_has_advice(code):
    assert advice_for(Problem(code=code, message="x", size=5000), "sidecar-logs")


def test_a_run_that_failed_validation_gets_no_advice_on_backends():
    """Its params were too large, and no other way out of a pod would help."""
    condition = {"type": "Succeeded", "status": "False", "reason": "TaskRunValidationFailed"}
    condition["message"] = "default of parameter p6: ... has 2000000 bytes, over the limit of 1572864 bytes"
    assert advice_on({"kind": "TaskRun", "status": {"podName": "", "conditions": [condition]}}) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "collect"])
def test_the_commands_give_the_same_advice_whatever_the_message_says(cli, saved, monkeypatch, command):
    words = ["run", TASK] if command == "run" else ["collect", *saved("tm-overflow"), "-o", "table"]
    advice = [cli(*words).out.partition("what to do: ")[2]]
    original = reasons.reason_and_message
    monkeypatch.setattr(reasons, "reason_and_message", lambda problems: (original(problems)[0], "reworded"))
    reworded = cli(*words).out
    assert " ".join(reworded.split()).count("reworded") == 1
    assert advice == [reworded.partition("what to do: ")[2]]
    assert "results-from: sidecar-logs" in advice[0]
