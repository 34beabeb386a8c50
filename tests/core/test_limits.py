"""The walls: how size is counted, where each wall stands, and what is kept in front of it."""

import json

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from resultsfw import (
    Capabilities,
    CollectionOutcome,
    ExtractedResult,
    Extraction,
    Limits,
    Problem,
    ProblemCode,
    Reference,
    Result,
    ResultsManager,
    ResultSpec,
    Run,
    Step,
    result_too_large,
)
from resultsfw.limits import OBJECT_BYTES, OBJECT_HEADROOM, effective_limits, object_size, run_too_large
from resultsfw.status import build_outcome

ROOM = OBJECT_BYTES - OBJECT_HEADROOM
NOW = "2026-11-23T16:33:37Z"

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
AWKWARD = st.text(st.sampled_from('a"\\/<>&\x00\x08\x0c\n\r\t\x1f\x7f\x85é\u2028\u2029\ufeff\uffff😀'))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT | AWKWARD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | AWKWARD, inner, max_size=4),
    max_leaves=12,
)


def go_text_bytes(text):
    """Bytes of a string as `appendString` of Go's encoding/json writes it, character by character."""
    size = 2
    for char in text:
        point = ord(char)
        if char in '"\\\b\f\n\r\t':
            size += 2
        elif point < 0x20 or char in "<>&\u2028\u2029":
            size += 6
        else:
            size += 1 if point < 0x80 else 2 if point < 0x800 else 3 if point < 0x10000 else 4
    return size


def go_bytes(value):
    """Bytes of a value as Go writes it: the oracle, slow and its own."""
    if value is None or value is True:
        return 4
    if value is False:
        return 5
    if isinstance(value, int):
        return len(f"{value:d}")
    if isinstance(value, str):
        return go_text_bytes(value)
    commas = max(len(value) - 1, 0)
    if isinstance(value, list):
        return 2 + commas + sum(map(go_bytes, value))
    return 2 + commas + sum(go_text_bytes(key) + 1 + go_bytes(one) for key, one in value.items())


def apply(target, patch):
    """RFC 7386, as the API server applies a merge patch."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = apply(out.get(key), value)
    return out


def result(name, value, kind="string"):
    return Result(name=name, type=kind, value=value, size=0, source="a test")


def condition(patch):
    return next(one for one in patch["status"]["conditions"] if one["type"] == "Succeeded")


# How size is counted.


@pytest.mark.slow
@given(JSON)
@example("<>&\u2028\u2029")
@example({"<": "\u2028"})
def test_object_size_is_what_gos_encoder_writes(obj):
    assert object_size(obj) == go_bytes(obj)


@given(st.text())
def test_object_size_of_any_text_is_an_answer(text):
    assert object_size(text) >= len(text) + 2


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 2), ("a", 3), ("é", 4), ("😀", 6), ("<", 8), ("\n", 4), ("\u2028", 8)],
)
def test_object_size_by_hand(text, size):
    assert object_size(text) == size


# Limits in force.


def test_the_lower_of_flag_and_backend_is_in_force():
    assert effective_limits(4096, Capabilities(summary="")) == Limits(
        result_bytes=4096, run_bytes=OBJECT_BYTES
    )
    assert effective_limits(4096, Capabilities(summary="", result_bytes=100)) == Limits(
        result_bytes=100, run_bytes=OBJECT_BYTES
    )
    assert effective_limits(50, Capabilities(summary="", result_bytes=100)) == Limits(
        result_bytes=50, run_bytes=OBJECT_BYTES
    )
    assert effective_limits(4096, Capabilities(summary="", run_bytes=1000)) == Limits(
        result_bytes=1000, run_bytes=1000
    )
    assert effective_limits(4096, Capabilities(summary="", run_bytes=2**40)) == Limits(
        result_bytes=4096, run_bytes=OBJECT_BYTES
    )


def test_by_reference_only_the_backends_own_limits_count():
    by = {"summary": "", "delivery": "reference"}
    assert effective_limits(1, Capabilities(**by)).result_bytes > 2**62
    assert effective_limits(1, Capabilities(**by, result_bytes=2**40, run_bytes=2**41)) == Limits(
        result_bytes=2**40, run_bytes=2**41
    )


# A value.


def judge(values, limits, *, steps=(), step_values=()):
    run = Run(
        namespace="n",
        name="r",
        uid="u",
        results=tuple(ResultSpec(name=name) for name, _ in values),
        steps=tuple(
            Step(name=step, container=f"step-{step}", results=(ResultSpec(name=name),))
            for step, name in steps
        ),
    )
    found = [ExtractedResult(name=name, value=value, source="a test") for name, value in values]
    found += [
        ExtractedResult(name=name, value=value, step=step, source="a test")
        for step, name, value in step_values
    ]
    return build_outcome(run, Extraction(results=tuple(found)), limits)


@pytest.mark.parametrize("char", ["a", "é", "€", "😀", "<", "\n", "\x00", '"'])
def test_a_values_limit_is_exact_and_counts_bytes_of_utf8(char):
    """Guarantee 2: limits count the value's bytes (UTF-8), not characters or JSON; both are printed."""
    width = len(char.encode())
    limit = 12 * width
    at, over = char * 12, char * 12 + "a"
    assert judge([("x", at)], Limits(result_bytes=limit, run_bytes=OBJECT_BYTES)).ok
    collected = judge([("x", over)], Limits(result_bytes=limit, run_bytes=OBJECT_BYTES))
    [problem] = collected.problems
    assert collected.results == ()
    assert problem.code is ProblemCode.RESULT_TOO_LARGE
    assert (problem.result, problem.size, problem.limit) == ("x", limit + 1, limit)
    assert problem.message == f'result "x" has {limit + 1} bytes, over the limit of {limit} bytes'


def test_too_large_names_the_step_and_the_flag():
    problem = result_too_large("x", 5, 4, step="build")
    assert problem.message == 'result "x" of Step "build" has 5 bytes, over the limit of 4 bytes'
    assert (problem.result, problem.step) == ("x", "build")
    assert '"max-result-size"' in problem.hint


# A run.


def test_a_runs_limit_is_exact_and_names_what_is_left_out():
    limits = Limits(result_bytes=10, run_bytes=10)
    assert judge([("a", "é" * 3), ("b", "1234")], limits).ok
    collected = judge([("a", "é" * 3), ("b", "12345"), ("c", "1")], limits)
    assert [one.name for one in collected.results] == ["a", "c"]
    [problem] = collected.problems
    assert problem.code is ProblemCode.RUN_TOO_LARGE
    assert (problem.result, problem.size, problem.limit) == ("b", 12, 10)
    assert problem.message == (
        'results have 12 bytes together, over the limit of 10 bytes for one run; left out: "b"'
    )


def test_a_step_result_over_the_runs_limit_is_named_with_its_step():
    collected = judge(
        [("b", "12345")],
        Limits(result_bytes=10, run_bytes=8),
        steps=[("one", "x"), ("two", "x")],
        step_values=[("one", "x", "12345"), ("two", "x", "12345")],
    )
    [problem] = collected.problems
    assert (problem.step, problem.result) == ("two", "x")
    assert 'left out: "two.x", "b"' in problem.message
    assert list(collected.step_results) == ["one"]


@given(st.lists(st.integers(0, 12), max_size=12), st.integers(0, 40), st.integers(0, 12))
def test_any_sizes_are_kept_or_named(sizes, run_limit, limit):
    """Guarantee 1: every result arrives whole or is named, whatever the limits."""
    values = [(f"r{index}", "x" * size) for index, size in enumerate(sizes)]
    collected = judge(values, Limits(result_bytes=limit, run_bytes=run_limit))
    kept = {one.name: one.value for one in collected.results}
    assert all(dict(values)[name] == value for name, value in kept.items())
    assert list(kept) == [name for name, _ in values if name in kept]
    assert sum(map(len, kept.values())) <= run_limit
    assert all(len(value) <= limit for value in kept.values())
    told = " ".join(one.message for one in collected.problems)
    assert all(name in kept or f'"{name}"' in told for name, _ in values)
    if all(size <= limit for size in sizes) and sum(sizes) <= run_limit:
        assert collected.ok
        assert len(kept) == len(sizes)


def test_a_reference_counts_by_the_size_it_states():
    reference = Reference(backend="b", location="l", size=11, digest="sha256:00")
    collected = judge([("x", reference)], Limits(result_bytes=10, run_bytes=10))
    [problem] = collected.problems
    assert (problem.size, problem.limit) == (11, 10)


def test_over_run_lists_twenty_names_and_counts_the_rest():
    problem = run_too_large([f"r{index}" for index in range(23)], 30, 20)
    assert '"r0"' in problem.message
    assert '"r19" and 3 more' in problem.message
    assert '"r20"' not in problem.message


# The object.


def object_with(spec_bytes, **status):
    metadata = {"name": "run", "namespace": "default", "resourceVersion": "12"}
    return {"metadata": metadata, "spec": {"filler": "s" * spec_bytes}, "status": status}


def test_what_fits_is_written_whole():
    obj = object_with(100, podName="p")
    results = (
        result("a", "1"),
        result("b", ["x", "y"], "array"),
        result("c", {"k": "v"}, "object"),
    )
    patch = ResultsManager.status_patch(CollectionOutcome(results=results), obj, now=NOW)
    assert patch == {
        "metadata": {"resourceVersion": "12"},
        "status": {
            "results": [
                {"name": "a", "type": "string", "value": "1"},
                {"name": "b", "type": "array", "value": ["x", "y"]},
                {"name": "c", "type": "object", "value": {"k": "v"}},
            ],
            "conditions": [
                {
                    "lastTransitionTime": NOW,
                    "type": "Succeeded",
                    "status": "True",
                    "reason": "Succeeded",
                    "message": "All Steps have completed executing",
                }
            ],
        },
    }


@pytest.mark.parametrize("char", ["a", "<", "\u2028", "😀", "\x01"])
def test_the_objects_wall_is_exact(char):
    """Guarantee 2: together over what one object may hold, the run fails saying so, both numbers in it."""
    obj = object_with(100)
    empty = object_size(
        apply(obj, ResultsManager.status_patch(CollectionOutcome(results=(result("a", ""),)), obj, now=NOW))
    )
    width = object_size(char) - 2
    count, rest = divmod(ROOM - empty, width)
    at = result("a", char * count + "x" * rest)
    patch = ResultsManager.status_patch(CollectionOutcome(results=(at,)), obj, now=NOW)
    assert object_size(apply(obj, patch)) == ROOM
    assert condition(patch)["status"] == "True"
    over = result("a", char * count + "x" * (rest + 1))
    patch = ResultsManager.status_patch(CollectionOutcome(results=(over,)), obj, now=NOW)
    assert patch["status"]["results"] is None
    assert condition(patch)["status"] == "False"
    assert condition(patch)["reason"] == "ObjectTooLarge"
    for part in (f"{ROOM + 1} bytes", f"{ROOM} bytes", str(OBJECT_BYTES), 'left out: "a"'):
        assert part in condition(patch)["message"]


def test_of_results_that_do_not_fit_the_last_are_left_out_in_order():
    results = tuple(result(name, "x" * 400_000) for name in "abcdef")
    patch = ResultsManager.status_patch(CollectionOutcome(results=results), object_with(0), now=NOW)
    assert [one["name"] for one in patch["status"]["results"]] == ["a", "b", "c"]
    assert 'left out: "d", "e", "f"' in condition(patch)["message"]


def test_step_results_go_after_the_tasks_and_are_named_with_their_step():
    collected = CollectionOutcome(
        results=(result("a", "x" * 400_000),),
        step_results={
            "one": (result("x", "x" * 900_000),),
            "two": (result("y", "x" * 500_000), result("z", "x" * 500_000)),
        },
    )
    patch = ResultsManager.status_patch(
        collected, object_with(0), now=NOW, status={"steps": [{"name": "one"}]}
    )
    assert patch["status"]["results"] is None
    steps = {step["name"]: [one["name"] for one in step["results"]] for step in patch["status"]["steps"]}
    assert steps == {"one": ["x"], "two": ["y"]}
    assert 'left out: "two.z", "a"' in condition(patch)["message"]


names = st.text(st.sampled_from('abc<"é\u2028😀'), min_size=1, max_size=40)


@st.composite
def verdicts(draw):
    """Verdicts of every kind around the wall: few large results, many small ones, long names and words."""
    near = ROOM - draw(st.integers(0, 3000))
    count = draw(st.sampled_from([1, 2, 3, 20, 21, 300, 2000]))
    prefix = draw(names) * draw(st.sampled_from([1, 1, 1, 10, 100]))
    char = draw(st.sampled_from(["a", "<", "é", "\x01"]))
    each = max(near // count // (object_size(char) - 2) - draw(st.integers(0, 60)), 0)
    results = [result(f"{prefix}{index}", char * each) for index in range(count)]
    split = draw(st.integers(0, count))
    told = draw(st.sampled_from([0, 0, 1, 3, 4000]))
    problems = tuple(
        Problem(code=ProblemCode.RESULT_TOO_LARGE, message=f"{prefix} {index} is too large", result="r")
        for index in range(told)
    )
    by_step = {"one": tuple(results[split:])} if split < count else {}
    return CollectionOutcome(results=tuple(results[:split]), step_results=by_step, problems=problems)


@pytest.mark.slow
@settings(max_examples=40)
@given(
    verdicts(),
    st.sampled_from([0, 10, 700_000]),
    st.sampled_from(["", "The Step failed." * 4000]),
    st.booleans(),
)
def test_the_patched_object_always_fits(collected, spec, cause, provenance):
    """Guarantee 2: "request is too large" never happens, whatever results and words there are to write."""
    obj = object_with(spec, provenance={"kept": "k" * 5000} if provenance else {})
    status = {"steps": [{"name": "one", "container": "step-one"}], "provenance": {"new": "n"}}
    if cause:
        status["conditions"] = [
            {"type": "Succeeded", "status": "False", "reason": "Failed", "message": cause, "other": 1}
        ]
    patch = ResultsManager.status_patch(collected, obj, now=NOW, status=status)
    size = object_size(apply(obj, patch))
    assert size <= ROOM
    written = patch["status"]["results"] or []
    assert [one["name"] for one in written] == [one.name for one in collected.results[: len(written)]]
    given_steps = [one.name for one in collected.step_results.get("one", ())]
    [step] = patch["status"]["steps"]
    steps = [one["name"] for one in step.get("results", ())]
    assert steps == given_steps[: len(steps)]
    left = [one.name for one in collected.results[len(written) :]]
    left += [f"one.{name}" for name in given_steps[len(steps) :]]
    message = condition(patch)["message"]
    if left:
        assert condition(patch)["status"] == "False"
        assert f"over the limit of {ROOM} bytes" in message
        assert f"{len(left) - 20} more" in message if len(left) > 20 else message.count("left out: ") == 1
        assert not written or steps == given_steps
    if cause:
        assert message.startswith("The Step failed.")
        assert condition(patch)["reason"] == "Failed"


@pytest.mark.slow
@settings(max_examples=30)
@given(st.integers(1, 2500), st.integers(0, 3000))
def test_no_more_is_left_out_than_must_be(count, each):
    assume(count * each > 1000)
    filler = "f" * max(ROOM - count * (each + 45), 0)
    results = tuple(result(f"result-{index:04}", "x" * each) for index in range(count))
    obj = object_with(len(filler))
    patch = ResultsManager.status_patch(CollectionOutcome(results=results), obj, now=NOW)
    written = patch["status"]["results"] or []
    if len(written) == count:
        return
    size = object_size(apply(obj, patch))
    assert size <= ROOM < size + each + 45 + 64


def test_ten_thousand_problems_without_a_result_still_fit():
    problems = tuple(result_too_large(f"result-{index:05}" * 5, 5000, 4096) for index in range(20_000))
    patch = ResultsManager.status_patch(CollectionOutcome(problems=problems), object_with(0), now=NOW)
    assert object_size(apply(object_with(0), patch)) <= ROOM
    message = condition(patch)["message"]
    assert message.startswith('result "result-00000')
    assert message.endswith(problems[0].hint)
    assert "characters) ..." in message


def test_a_thousand_problems_are_told_in_full_where_there_is_room():
    """Guarantee 1: the run fails naming every result that did not arrive."""
    problems = tuple(result_too_large(f"result-{index}", 5000, 4096) for index in range(1000))
    message = condition(
        ResultsManager.status_patch(CollectionOutcome(problems=problems), object_with(0), now=NOW)
    )["message"]
    assert all(f'"result-{index}"' in message for index in range(1000))


def test_an_object_that_is_too_large_without_us_gets_a_verdict_and_no_results():
    obj = object_with(OBJECT_BYTES)
    patch = ResultsManager.status_patch(CollectionOutcome(results=(result("a", "1"),)), obj, now=NOW)
    assert patch["status"]["results"] is None
    assert condition(patch)["status"] == "False"
    assert 'left out: "a"' in condition(patch)["message"]


def test_a_patch_is_json():
    collected = judge([("x", "\ud800")], Limits(result_bytes=10, run_bytes=10))
    json.dumps(ResultsManager.status_patch(collected, object_with(0), now=NOW)).encode()
