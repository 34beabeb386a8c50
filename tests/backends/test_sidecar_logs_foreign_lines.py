"""The backend ``sidecar-logs`` reads a log with lines that no sidecar should print."""

import pytest
from sidecarlogs import (
    UID,
    a_run,
    codes,
    collect,
    log_of,
    value,
    values_of,
)

from resultsfw import ProblemCode
from resultsfw_sidecar import wire


def test_interleaved_junk_costs_that_line_and_is_named_by_its_number():
    junk = b"panic: \xff\n" + b"[" * 3000 + b"\n{}\n" + b'{"type":"task","name":"b"}\n' + b"\n"
    log = log_of(value("a", "1"), junk, value("b", "2"))
    collected = collect(a_run("a", "b"), log)
    assert values_of(collected) == {"a": "1", "b": "2"}
    assert codes(collected) == [ProblemCode.TRANSPORT_CORRUPT] * 5
    for number, problem in enumerate(collected.problems, 3):
        assert f"line {number} of the log" in problem.message


def test_a_broken_line_that_names_a_result_names_it_and_its_true_line_still_counts():
    log = log_of(value("a", "1")[:-30] + b"\n", value("a", "1"))
    collected = collect(a_run("a"), log)
    assert values_of(collected) == {"a": "1"}
    assert collected.problems[0].result == "a"


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"task","name":5,"value":"x"}',
        b'{"type":"task","name":"a","value":["x"]}',
        b'{"type":"task","name":"a","value":null}',
        b'{"type":"task","value":"x"}',
        b'{"type":["task"],"name":"a","value":"x"}',
        b'{"type":"stepArtifact","name":"a","value":"x"}',
        b'{"type":"TASK","name":"a","value":"x"}',
        b'{"type":"absent","of":"task"}',
        b'{"type":"absent","name":"a"}',
        b'{"type":"absent","name":"a","of":"pod"}',
        b'{"type":"refused","name":7,"of":"task"}',
        b'{"name":"a","value":"\\ud800","type":"task","sha256":"00"}',
        b'{"name":"a","value":"x","type":"task"}',
        b'{"type":"start","wire":1,"pod":"' + UID.encode() + b'"}',
        b'{"type":' + b"[" * 200 + b"]" * 200 + b"}",
        b"null",
    ],
)
def test_a_record_of_wrong_types_or_without_its_digest_costs_that_line(line):
    collected = collect(a_run("a"), log_of(line + b"\n", wire.absent_line("a", "task")))
    assert values_of(collected) == {}
    assert codes(collected) == [ProblemCode.TRANSPORT_CORRUPT]


def test_a_second_record_of_the_same_value_is_told_and_does_no_harm():
    collected = collect(a_run("a"), log_of(value("a", "1"), value("a", "1")))
    assert values_of(collected) == {"a": "1"}
    assert codes(collected) == [ProblemCode.TRANSPORT_CORRUPT]


@pytest.mark.parametrize(
    "second",
    [
        value("a", "2"),
        wire.absent_line("a", "task"),
        wire.refused_line("a", "task", wire.NOT_UTF8, "not UTF-8"),
    ],
)
def test_of_two_records_that_contradict_each_other_none_counts(second):
    for lines in ((value("a", "1"), second), (second, value("a", "1"))):
        collected = collect(a_run("a"), log_of(*lines))
        assert values_of(collected) == {}
        assert ProblemCode.TRANSPORT_CORRUPT in codes(collected)


def test_lines_behind_the_end_are_not_read_as_results():
    log = log_of(wire.absent_line("a", "task")) + value("a", "late")
    collected = collect(a_run("a"), log)
    assert values_of(collected) == {}
    assert codes(collected) == [ProblemCode.TRANSPORT_CORRUPT]
    collected = collect(a_run("a"), log_of() + value("a", "late"))
    assert values_of(collected) == {}
    assert "after the end record" in collected.problems[0].message
    assert collected.problems[-1].result == "a"


def test_undeclared_names_are_handed_over_and_ignored():
    """Guarantee 7: only what is declared counts."""
    log = log_of(
        value("a", "1"),
        value("forged", "x"),
        value("a", "x", "step"),
        value("step-one.x", "x", "step"),
        value("step-\ud800", "x", "step"),
        wire.absent_line("unknown", "task"),
        wire.refused_line("unheard-of", "task", wire.NOT_UTF8, "not UTF-8"),
    )
    collected = collect(a_run("a"), log)
    assert values_of(collected) == {"a": "1"}
    assert collected.ok
    assert set(collected.ignored) == {"forged", "a.", "one.x", "\\ud800."}


def test_a_step_result_is_not_a_task_result_of_the_same_spelling():
    run = a_run("step-one.x", own=["one.x"])
    collected = collect(run, log_of(value("step-one.x", "task's"), value("step-one.x", "step's", "step")))
    assert values_of(collected) == {"step-one.x": "task's", "one.x": "step's"}
