"""From what a backend found to the verdict over a run, and from the verdict to its status."""

import logging

import pytest

from resultsfw import (
    CollectionOutcome,
    ExtractedResult,
    Extraction,
    Limits,
    Problem,
    ProblemCode,
    Reference,
    ResultsManager,
    ResultSpec,
    Run,
    Step,
    StepResultRef,
    TransportUsage,
)
from resultsfw.status import build_outcome, failure_message, result_entries

LIMITS = Limits(result_bytes=4096, run_bytes=1 << 20)
NOW = "2026-11-23T16:33:37Z"


def a_run(*results, steps=()):
    return Run(namespace="default", name="run", uid="u", results=results, steps=steps)


def found(name, value, *, step=None, source="here"):
    return ExtractedResult(name=name, value=value, step=step, source=source)


def judge(run, *values, problems=(), limits=LIMITS, missing_fails=False):
    return build_outcome(
        run, Extraction(results=values, problems=problems), limits, missing_fails=missing_fails
    )


def values_of(collected):
    return {one.name: one.value for one in collected.results}


# Which values count.


def test_results_come_in_declaration_order_whatever_the_order_found():
    run = a_run(ResultSpec(name="b"), ResultSpec(name="a"), ResultSpec(name="c"))
    collected = judge(run, found("a", "1"), found("c", "2"), found("b", "3"))
    assert [(one.name, one.value) for one in collected.results] == [("b", "3"), ("a", "1"), ("c", "2")]
    assert collected.ok


def test_of_two_values_of_one_name_the_later_wins():
    run = a_run(ResultSpec(name="a"))
    collected = judge(run, found("a", "first"), found("a", "second", source="there"))
    [one] = collected.results
    assert (one.value, one.source, one.size) == ("second", "there", 6)


def test_a_result_no_step_wrote_is_absent_and_the_run_succeeds():
    """Guarantee 1: one that no Step wrote is simply absent, as in Tekton."""
    collected = judge(a_run(ResultSpec(name="a"), ResultSpec(name="b")), found("b", ""))
    assert values_of(collected) == {"b": ""}
    assert collected.ok


def test_what_is_not_declared_is_ignored_and_logged(caplog):
    """Guarantee 7: only what is declared counts."""
    run = a_run(
        ResultSpec(name="a"), steps=(Step(name="s", container="step-s", results=(ResultSpec(name="own"),)),)
    )
    with caplog.at_level(logging.WARNING, "resultsfw"):
        collected = judge(
            run,
            found("a", "1"),
            found("b", "forged"),
            found("own", "of the Task? no"),
            found("a", "of the Step? no", step="s"),
            found("own", "of another", step="t"),
        )
    assert values_of(collected) == {"a": "1"}
    assert collected.step_results == {}
    assert collected.ignored == ("b", "own", "s.a", "t.own")
    assert len(caplog.records) == 4
    assert all("default/run" in record.getMessage() for record in caplog.records)
    assert collected.ok


def test_a_name_without_bytes_is_ignored_in_letters_that_can_be_printed():
    collected = judge(a_run(ResultSpec(name="a")), found("\ud800", "1"))
    assert collected.ignored == ("\\ud800",)


def test_problems_and_carriers_of_a_backend_can_be_printed_whatever_they_quote():
    problem = Problem(code=ProblemCode.TRANSPORT_CORRUPT, message="of pod \ud800", result="\udfff")
    carrier = TransportUsage(container="c", transport="log", used=1, results=("\ud800", "ok"))
    extraction = Extraction(problems=(problem,), transports=(carrier,))
    collected = build_outcome(a_run(ResultSpec(name="a")), extraction, LIMITS)
    assert collected.problems[0].message == "of pod \\ud800"
    assert collected.problems[0].result == "\\udfff"
    assert collected.transports[0].results == ("\\ud800", "ok")


def test_a_value_that_is_not_utf8_is_refused_by_name_and_the_others_are_kept():
    """Guarantee 6: what is not UTF-8 is refused by name, not replaced in silence."""
    run = a_run(ResultSpec(name="a"), ResultSpec(name="b"))
    collected = judge(run, found("a", "x\udce9"), found("b", "ok"))
    [problem] = collected.problems
    assert (problem.code, problem.result) == (ProblemCode.NOT_UTF8, "a")
    assert 'result "a"' in problem.message
    assert values_of(collected) == {"b": "ok"}


def test_results_are_kept_beside_every_failure():
    """Guarantee 1: what did arrive whole is kept beside the failure."""
    run = a_run(
        ResultSpec(name="big"),
        ResultSpec(name="list", type="array"),
        ResultSpec(name="map", type="object", properties=("k",)),
        ResultSpec(name="small"),
    )
    lost = Problem(code=ProblemCode.TRANSPORT_CUT, message="cut", result="other")
    collected = judge(
        run,
        found("small", "hello"),
        found("big", "x" * 4097),
        found("list", "no"),
        found("map", "{}"),
        problems=(lost,),
    )
    assert values_of(collected) == {"small": "hello"}
    assert [one.code for one in collected.problems] == [
        ProblemCode.TRANSPORT_CUT,
        ProblemCode.RESULT_TOO_LARGE,
        ProblemCode.TYPE_MISMATCH,
        ProblemCode.MISSING_KEYS,
    ]


def test_types():
    run = a_run(ResultSpec(name="s"), ResultSpec(name="a", type="array"), ResultSpec(name="o", type="object"))
    collected = judge(run, found("s", '["x"]'), found("a", '["x"]'), found("o", '{"k":"v"}'))
    assert values_of(collected) == {"s": '["x"]', "a": ["x"], "o": {"k": "v"}}
    assert [one.size for one in collected.results] == [5, 5, 9]


# Steps' own results.

BUILD = Step(name="build", container="step-build", results=(ResultSpec(name="img"), ResultSpec(name="sha")))
PUSH = Step(name="push", container="step-push", results=(ResultSpec(name="img"),))


def test_steps_own_results_are_kept_apart_in_declaration_order():
    collected = judge(
        a_run(steps=(BUILD, PUSH)),
        found("sha", "1", step="build"),
        found("img", "2", step="push"),
        found("img", "3", step="build"),
    )
    assert {
        step: [(one.name, one.value) for one in some] for step, some in collected.step_results.items()
    } == {
        "build": [("img", "3"), ("sha", "1")],
        "push": [("img", "2")],
    }


def test_a_step_without_results_that_came_is_left_out():
    collected = judge(a_run(steps=(BUILD, PUSH)), found("img", "2", step="push"))
    assert list(collected.step_results) == ["push"]


def from_step(name, step, result, **more):
    return ResultSpec(name=name, from_step=StepResultRef(step, result), **more)


def test_a_task_result_is_taken_from_a_steps():
    run = a_run(
        from_step("image", "build", "img"),
        from_step("pushed", "push", "img"),
        from_step("absent", "build", "sha"),
        steps=(BUILD, PUSH),
    )
    collected = judge(run, found("img", "1", step="build"), found("img", "2", step="push"))
    assert values_of(collected) == {"image": "1", "pushed": "2"}
    assert collected.ok


def test_a_task_result_taken_from_a_steps_is_not_written_by_name():
    """Guarantee 7: a file of the Task result's own name is not where it is taken from."""
    run = a_run(from_step("image", "build", "img"), steps=(BUILD,))
    collected = judge(run, found("image", "forged"), found("img", "1", step="build"))
    assert values_of(collected) == {"image": "1"}
    assert collected.ignored == ("image",)


def test_a_task_result_taken_from_a_steps_has_a_type_of_its_own():
    run = a_run(from_step("list", "build", "img", type="array"), steps=(BUILD,))
    good = judge(run, found("img", '["x"]', step="build"))
    assert values_of(good) == {"list": ["x"]}
    assert good.step_results["build"][0].value == '["x"]'
    bad = judge(run, found("img", "x", step="build"))
    [problem] = bad.problems
    assert (problem.code, problem.result, problem.step) == (ProblemCode.TYPE_MISMATCH, "list", None)
    assert bad.step_results["build"][0].value == "x"


def test_a_steps_result_that_is_too_large_is_no_task_result_and_is_told_once():
    run = a_run(from_step("image", "build", "img"), steps=(BUILD,))
    collected = judge(run, found("img", "x" * 4097, step="build"), missing_fails=True)
    large = [one for one in collected.problems if one.code is ProblemCode.RESULT_TOO_LARGE]
    assert [(one.step, one.result, one.size, one.limit) for one in large] == [("build", "img", 4097, 4096)]
    missing = [one for one in collected.problems if one.code is ProblemCode.MISSING]
    assert [(one.step, one.result) for one in missing] == [("build", "sha")]
    assert collected.results == ()


def test_a_steps_own_mismatch_names_the_step():
    step = Step(name="s", container="c", results=(ResultSpec(name="l", type="array"),))
    [problem] = judge(a_run(steps=(step,)), found("l", "x", step="s")).problems
    assert '"s.l": step result is expected to be "array"' in failure_message([problem])


def test_a_source_that_no_step_declares_is_absent():
    run = a_run(from_step("image", "build", "undeclared"), steps=(BUILD,))
    collected = judge(run, found("undeclared", "1", step="build"))
    assert (collected.results, collected.ignored) == ((), ("build.undeclared",))


# missing-results: fail.


def test_with_missing_results_fail_what_no_step_wrote_fails_the_run_by_name():
    run = a_run(ResultSpec(name="a"), ResultSpec(name="b"), from_step("c", "build", "sha"), steps=(BUILD,))
    collected = judge(run, found("b", ""), found("img", "", step="build"), missing_fails=True)
    assert [(one.step, one.result) for one in collected.problems] == [
        ("build", "sha"),
        (None, "a"),
        (None, "c"),
    ]
    assert {one.code for one in collected.problems} == {ProblemCode.MISSING}
    assert collected.problems[1].message == (
        'result "a" is declared and no Step wrote it (the feature flag "missing-results" is "fail")'
    )
    assert values_of(collected) == {"b": ""}


@pytest.mark.parametrize(
    "lost",
    [
        Problem(code=ProblemCode.TRANSPORT_INCOMPLETE, message="no end record"),
        Problem(code=ProblemCode.TRANSPORT_CUT, message="cut at b, and what came after it", result="b"),
        Problem(code=ProblemCode.TRANSPORT_FOREIGN, message="of another pod"),
    ],
    ids=lambda problem: str(problem.code),
)
def test_what_may_be_lost_is_never_said_to_be_unwritten(lost):
    """Guarantee 1: absent must never be confused with lost: behind a loss nobody knows what was written."""
    run = a_run(ResultSpec(name="a"), ResultSpec(name="b"))
    collected = judge(run, problems=(lost,), missing_fails=True)
    assert collected.problems == (lost,)


def test_a_loss_with_a_name_leaves_the_others_missing():
    run = a_run(ResultSpec(name="a"), ResultSpec(name="b"))
    lost = Problem(code=ProblemCode.NOT_UTF8, message="not UTF-8", result="a")
    collected = judge(run, problems=(lost,), missing_fails=True)
    assert [(one.code, one.result) for one in collected.problems] == [
        (ProblemCode.NOT_UTF8, "a"),
        (ProblemCode.MISSING, "b"),
    ]


def test_a_result_over_the_runs_limit_is_not_said_to_be_missing():
    run = a_run(ResultSpec(name="a"), ResultSpec(name="b"), ResultSpec(name="c"))
    limits = Limits(result_bytes=10, run_bytes=5)
    collected = judge(
        run, found("a", "12345"), found("b", "1"), found("c", "1"), limits=limits, missing_fails=True
    )
    assert [one.code for one in collected.problems] == [ProblemCode.RUN_TOO_LARGE]


# References.

REFERENCE = Reference(backend="store", location="bucket/key", size=2000, digest="sha256:00")


def test_a_reference_stays_a_reference_and_is_written_as_a_mapping():
    run = a_run(ResultSpec(name="big", type="array"))
    collected = judge(run, found("big", REFERENCE))
    [one] = collected.results
    assert (one.value, one.size, one.type) == (REFERENCE, 2000, "array")
    assert result_entries(collected.results) == [
        {
            "name": "big",
            "type": "array",
            "value": {
                "resultsfw-reference": "1",
                "backend": "store",
                "location": "bucket/key",
                "size": "2000",
                "digest": "sha256:00",
                "mediaType": "text/plain; charset=utf-8",
            },
        }
    ]


# The patch.


def condition(patch):
    return patch["status"]["conditions"][0]


TOO_LARGE = Problem(code=ProblemCode.RESULT_TOO_LARGE, message="too large", hint="do this")


def test_a_patch_is_conditional_on_the_version_that_was_read():
    obj = {"metadata": {"name": "r", "resourceVersion": "7"}}
    assert ResultsManager.status_patch(CollectionOutcome(), obj, now=NOW)["metadata"] == {
        "resourceVersion": "7"
    }
    assert (
        ResultsManager.status_patch(CollectionOutcome(), {"metadata": {"name": "r"}}, now=NOW)["metadata"]
        == {}
    )
    assert ResultsManager.status_patch(CollectionOutcome(), {}, now=NOW)["metadata"] == {}


def test_results_of_an_earlier_attempt_do_not_stay():
    obj = {"metadata": {}, "status": {"results": [{"name": "old"}]}}
    assert ResultsManager.status_patch(CollectionOutcome(), obj, now=NOW)["status"]["results"] is None


def test_the_arguments_are_left_as_they_were():
    status = {"steps": [{"name": "build"}], "conditions": [{"type": "Succeeded", "status": "False"}]}
    collected = judge(a_run(steps=(BUILD,)), found("img", "1", step="build"), problems=(TOO_LARGE,))
    obj = {"metadata": {}, "status": {"conditions": []}}
    ResultsManager.status_patch(collected, obj, now=NOW, status=status)
    assert status == {"steps": [{"name": "build"}], "conditions": [{"type": "Succeeded", "status": "False"}]}
    assert obj == {"metadata": {}, "status": {"conditions": []}}


def test_steps_results_go_beside_their_mirror():
    collected = judge(
        a_run(steps=(BUILD, PUSH)), found("img", "1", step="build"), found("img", "2", step="push")
    )
    status = {"steps": [{"name": "build", "container": "step-build"}, {"name": "other"}]}
    patch = ResultsManager.status_patch(collected, {}, now=NOW, status=status)
    assert patch["status"]["steps"] == [
        {"name": "build", "container": "step-build", "results": [entry("img", "1")]},
        {"name": "other"},
        {"name": "push", "results": [entry("img", "2")]},
    ]


def entry(name, value):
    return {"name": name, "type": "string", "value": value}


def test_a_failure_tells_reason_and_message_and_hints_once():
    collected = CollectionOutcome(problems=(TOO_LARGE, TOO_LARGE))
    assert condition(ResultsManager.status_patch(collected, {}, now=NOW)) == {
        "lastTransitionTime": NOW,
        "type": "Succeeded",
        "status": "False",
        "reason": "ResultTooLarge",
        "message": "too large; do this",
    }


def test_an_embedder_words_reason_and_message_itself():
    patch = ResultsManager.status_patch(
        CollectionOutcome(problems=(TOO_LARGE,)),
        {},
        now=NOW,
        reason_and_message=lambda problems: ("Mine", problems[0].message),
    )
    assert (condition(patch)["reason"], condition(patch)["message"]) == ("Mine", "too large")


@pytest.mark.parametrize(
    ("cause", "joined"), [("It broke.", "It broke. results: "), ("It broke", "It broke; results: ")]
)
def test_another_cause_stays_the_reason_and_is_told_first(cause, joined):
    given = {"type": "Succeeded", "status": "False", "reason": "Failed", "message": cause, "more": 1}
    patch = ResultsManager.status_patch(
        CollectionOutcome(problems=(TOO_LARGE,)), {}, now=NOW, status={"conditions": [given]}
    )
    assert condition(patch) == {**given, "lastTransitionTime": NOW, "message": f"{joined}too large; do this"}


def test_another_cause_is_left_alone_where_results_are_fine():
    given = {"type": "Succeeded", "status": "False", "reason": "F", "message": "m", "lastTransitionTime": "t"}
    patch = ResultsManager.status_patch(CollectionOutcome(), {}, now=NOW, status={"conditions": [given]})
    assert condition(patch) == given


def test_a_condition_that_says_success_gives_way_to_a_failure():
    given = {"type": "Succeeded", "status": "True", "reason": "Succeeded", "message": "fine"}
    patch = ResultsManager.status_patch(
        CollectionOutcome(problems=(TOO_LARGE,)), {}, now=NOW, status={"conditions": [given]}
    )
    assert condition(patch)["status"] == "False"
    assert "fine" not in condition(patch)["message"]


def test_conditions_of_others_stay():
    """A merge patch replaces the list: what others wrote into the object must be in ours."""
    obj = {"status": {"conditions": [{"type": "Verified", "status": "True"}, {"type": "Succeeded", "n": 1}]}}
    patch = ResultsManager.status_patch(
        CollectionOutcome(), obj, now=NOW, status={"conditions": [{"type": "Mine"}]}
    )
    assert [one["type"] for one in patch["status"]["conditions"]] == ["Succeeded", "Verified", "Mine"]
    assert "n" not in condition(patch)
    patch = ResultsManager.status_patch(
        CollectionOutcome(), obj, now=NOW, status={"conditions": [{"type": "Verified", "status": "False"}]}
    )
    assert patch["status"]["conditions"][1:] == [{"type": "Verified", "status": "False"}]


def test_a_failure_says_tektons_sentences_once_for_the_whole_run():
    run = a_run(ResultSpec(name="a", type="array"), ResultSpec(name="b", type="array"))
    collected = judge(run, found("a", "x"), found("b", "x"))
    told = failure_message(collected.problems)
    assert told.count("Provided results don't match") == 1
    assert '"a"' in told
    assert '"b"' in told
