"""The backend ``sidecar-logs`` reads an intact log: every value arrives, and every refusal is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sidecarlogs import (
    Logs,
    a_run,
    collect,
    log_of,
    value,
    values_of,
)

from resultsfw import ProblemCode
from resultsfw_sidecar import wire

WHOLE = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.dictionaries(st.from_regex(r"\A[a-z]{1,6}\Z"), st.none() | WHOLE, max_size=5),
    st.dictionaries(st.from_regex(r"\A(one|two)\.[a-z]{1,3}\Z"), st.none() | WHOLE, max_size=4),
    st.integers(1, 90),
)
def test_a_true_log_round_trips_exactly_in_any_pieces(task, own, piece):
    """Guarantee 6: awkward bytes survive. Guarantee 1: what no Step wrote is absent, and the run succeeds."""
    lines = [
        value(name, text) if text is not None else wire.absent_line(name, "task")
        for name, text in task.items()
    ]
    lines += [
        value(f"step-{name}", text, "step") if text is not None else wire.absent_line(f"step-{name}", "step")
        for name, text in own.items()
    ]
    log = log_of(*lines)
    expected = {name: text for name, text in {**task, **own}.items() if text is not None}
    for chunks in ([log], [log[at : at + piece] for at in range(0, len(log), piece)]):
        collected = collect(a_run(*task, own=own), Logs(chunks))
        assert collected.ok
        assert values_of(collected) == expected


def test_a_value_of_exactly_the_limit_arrives_and_one_more_byte_does_not():
    """Guarantee 2: limits count the value's bytes, not its line's."""
    for text in ("\x01" * 4096, "é" * 2048, "x" * 4096, "<" * 4096):
        collected = collect(a_run("big"), log_of(value("big", text)))
        assert values_of(collected) == {"big": text}
        assert collected.ok
    collected = collect(a_run("big", "small"), log_of(value("big", "x" * 4097), value("small", "s")))
    assert values_of(collected) == {"small": "s"}
    [problem] = collected.problems
    assert (problem.code, problem.result, problem.size, problem.limit) == (
        ProblemCode.RESULT_TOO_LARGE,
        "big",
        4097,
        4096,
    )


def test_the_largest_true_log_is_read_to_its_end():
    """What the limits allow is never over the bound of reading, however it is escaped and named."""
    names = [f"{index}" + "n" * 700 for index in range(5)]
    size = 20_000
    run = a_run(*names)
    collected = collect(run, log_of(*(value(name, "\x01" * size) for name in names)), size=size)
    assert collected.ok
    assert len(collected.results) == 5


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (wire.NOT_UTF8, ProblemCode.NOT_UTF8),
        (wire.NOT_REGULAR_FILE, ProblemCode.NOT_REGULAR_FILE),
        (wire.OUTSIDE_FOLDER, ProblemCode.OUTSIDE_FOLDER),
        (wire.UNREADABLE, ProblemCode.FILE_UNREADABLE),
        ("SomethingNew", ProblemCode.FILE_UNREADABLE),
        (wire.TOO_LARGE, ProblemCode.FILE_UNREADABLE),  # without its numbers
        (wire.RUN_TOO_LARGE, ProblemCode.FILE_UNREADABLE),
    ],
)
def test_what_the_sidecar_refused_is_named_with_its_reason(reason, code):
    """Guarantee 5 and guarantee 6, as the reader sees them: refused and named, the others arrive."""
    log = log_of(wire.refused_line("bad", "task", reason, "because of it"), value("good", "1"))
    collected = collect(a_run("bad", "good"), log)
    [problem] = collected.problems
    assert (problem.code, problem.result) == (code, "bad")
    assert 'result "bad"' in problem.message
    assert "because of it" in problem.message
    assert values_of(collected) == {"good": "1"}


def test_what_the_sidecar_found_too_large_is_told_with_both_numbers():
    """Guarantee 3: the sidecar does not print what is over the limit, it says so."""
    log = log_of(
        wire.refused_line("a", "task", wire.TOO_LARGE, "too large", size=5000, limit=4096),
        wire.refused_line("step-one.b", "step", wire.RUN_TOO_LARGE, "together", size=1572900, limit=1572864),
    )
    first, second = collect(a_run("a", own=["one.b"]), log).problems
    assert (first.code, first.result, first.size, first.limit) == (
        ProblemCode.RESULT_TOO_LARGE,
        "a",
        5000,
        4096,
    )
    assert first.message == 'result "a" has 5000 bytes, over the limit of 4096 bytes'
    assert (second.code, second.step, second.result) == (ProblemCode.RUN_TOO_LARGE, "one", "b")
    assert "1572900 bytes" in second.message
    assert "1572864 bytes" in second.message
