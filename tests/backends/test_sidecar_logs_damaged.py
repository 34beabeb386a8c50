"""The backend ``sidecar-logs`` reads a damaged log: no wrong value, and the damage is named."""

import hashlib
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sidecarlogs import (
    CORE,
    UID,
    Logs,
    a_pod,
    a_run,
    codes,
    collect,
    facts,
    log_of,
    value,
    values_of,
)

from resultsfw import ProblemCode
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw_sidecar import wire

RUN = a_run("a1", "a2", "none", "big", own=["one.a1"])
TRUE = {"a1": 'x"\\é', "a2": "y", "one.a1": "z"}
LOG = log_of(
    value("a1", TRUE["a1"]),
    value("a2", TRUE["a2"]),
    wire.absent_line("none", "task"),
    wire.refused_line("big", "task", wire.TOO_LARGE, "too large", size=5000, limit=4096),
    value("step-one.a1", TRUE["one.a1"], "step"),
)
VERDICT = facts(collect(RUN, LOG))


def test_the_log_that_is_damaged_here_is_sound():
    assert values_of(collect(RUN, LOG)) == TRUE
    assert codes(collect(RUN, LOG)) == [ProblemCode.RESULT_TOO_LARGE]


def unharmed_or_failed(log, place):
    """Hold what the reader promises: no wrong value; all is as it was, or the damage is told."""
    collected = collect(RUN, log)
    assert values_of(collected).items() <= TRUE.items(), place
    if facts(collected) != VERDICT:
        damage = {
            ProblemCode.TRANSPORT_CORRUPT,
            ProblemCode.TRANSPORT_FOREIGN,
            ProblemCode.TRANSPORT_INCOMPLETE,
        }
        assert damage & set(codes(collected)), place


@pytest.mark.parametrize("bit", range(8))
def test_a_bit_flipped_anywhere_never_gives_a_wrong_value_nor_passes(bit):
    """Guarantee 1: a damaged log is a failure, not an absence."""
    for place in range(len(LOG)):
        unharmed_or_failed(LOG[:place] + bytes([LOG[place] ^ (1 << bit)]) + LOG[place + 1 :], place)


@pytest.mark.slow
@given(st.integers(0, len(LOG) - 1), st.integers(0, 255))
@settings(max_examples=300)
def test_a_byte_replaced_anywhere_never_gives_a_wrong_value_nor_passes(place, byte):
    unharmed_or_failed(LOG[:place] + bytes([byte]) + LOG[place + 1 :], place)


@given(st.integers(0, len(LOG)), st.integers(0, len(LOG)), st.binary(max_size=20))
@settings(max_examples=200)
def test_any_part_replaced_by_any_bytes_never_passes(start, stop, junk):
    start, stop = sorted((start, stop))
    unharmed_or_failed(LOG[:start] + junk + LOG[stop:], (start, stop))


@pytest.mark.parametrize(("old", "new"), [("a2", "a1"), ("a1", "a2"), ("step-one.a1", "a1")])
def test_a_name_damaged_into_another_declared_name_gives_no_wrong_value(old, new):
    """A value's digest is over its type and name too."""
    collected = collect(RUN, LOG.replace(b'"name":"%s"' % old.encode(), b'"name":"%s"' % new.encode()))
    assert values_of(collected).items() < TRUE.items()
    messages = " ".join(problem.message for problem in collected.problems)
    assert f'result "{old.removeprefix("step-one.")}"' in messages


def test_every_truncation_fails_and_keeps_only_whole_values():
    """Guarantee 1: a log without its end record is a failure, not an absence."""
    for length in range(len(LOG) - 1):
        collected = collect(RUN, LOG[:length])
        assert ProblemCode.TRANSPORT_INCOMPLETE in codes(collected), length
        assert values_of(collected).items() <= TRUE.items()
        assert values_of(collected) == {
            name: text for name, text in TRUE.items() if LOG.index(b'"%s"' % sha(name, text)) + 67 <= length
        }


def sha(name, text):
    """A value's digest, made independently of the sidecar's code."""
    whose = f"step\0step-{name}" if "." in name else f"task\0{name}"
    return hashlib.sha256(f"{whose}\0{text}".encode()).hexdigest().encode()


def test_a_log_without_its_end_names_what_it_says_nothing_of():
    log = log_of(value("a", "1"), end=False)
    collected = collect(a_run("a", "b", own=["one.c"]), log, pod=a_pod(exit_code=137))
    [problem] = collected.problems
    assert problem.code is ProblemCode.TRANSPORT_INCOMPLETE
    for part in (RESULTS_SIDECAR, "without its end record", "exit code 137", '"b", "one.c"'):
        assert part in problem.message
    assert values_of(collected) == {"a": "1"}


def test_the_sidecars_own_failure_is_reported():
    log = log_of(wire.error_line(wire.INTERNAL, "no space: \ud800"), end=False)
    [problem] = collect(a_run("a"), log, pod=a_pod(exit_code=1)).problems
    assert "Internal: no space: \\ud800" in problem.message


@pytest.mark.parametrize(
    "end",
    [
        wire.end_line(UID, 1, hashlib.sha256(b"").hexdigest(), "stopped"),
        wire.end_line(UID, 3, "", "stopped"),
        wire.end_line(UID, 2, "", "stopped"),
        b'{"type":"end","pod":"%s"}\n' % UID.encode(),
        b'{"type":"end","pod":"%s","count":true,"sha256":null}\n' % UID.encode(),
    ],
)
def test_an_end_record_with_a_wrong_count_or_digest_fails_and_the_values_are_kept(end):
    log = log_of(value("a", "1"), end=False) + end
    collected = collect(a_run("a"), log)
    assert codes(collected) == [ProblemCode.TRANSPORT_CORRUPT]
    assert values_of(collected) == {"a": "1"}


def test_a_wrong_count_is_reported_with_both_numbers():
    log = log_of(value("a", "1"), end=False)
    end = wire.end_line(UID, 7, hashlib.sha256(log).hexdigest(), wire.WHY_STEPS_DONE)
    [problem] = collect(a_run("a"), log + end).problems
    assert "has 2 lines before its end record, which counts 7" in problem.message


def test_a_line_lost_without_a_trace_but_the_end_record_is_a_failure():
    log = log_of(value("a", "1"), value("b", "2")).replace(value("b", "2"), b"")
    collected = collect(a_run("a", "b"), log)
    assert values_of(collected) == {"a": "1"}
    assert codes(collected) == [ProblemCode.TRANSPORT_CORRUPT] * 2
    assert collected.problems[1].result == "b"


def test_a_declared_result_a_whole_log_says_nothing_of_is_a_failure_with_its_name():
    """Guarantee 1: absent must be said; silence is a loss."""
    [problem] = collect(a_run("a", "b"), log_of(value("a", "1"))).problems
    assert (problem.code, problem.result) == (ProblemCode.TRANSPORT_CORRUPT, "b")


@pytest.mark.parametrize("where", ["start", "end", "both"])
def test_the_log_of_another_pod_is_refused_as_a_whole(where):
    """Guarantee 7: a record of another attempt or another pod is refused."""
    log = log_of(value("a", "stale"), uid="another" if where != "end" else UID)
    if where == "start":
        log = log[: log.rindex(b"\n", 0, -1) + 1]
        log += wire.end_line(UID, 2, hashlib.sha256(log).hexdigest(), "stopped")
    if where == "end":
        log = log.replace(b'"end","wire":1,"pod":"' + UID.encode(), b'"end","wire":1,"pod":"another')
    collected = collect(a_run("a"), log)
    assert values_of(collected) == {}
    assert codes(collected)[0] is ProblemCode.TRANSPORT_FOREIGN
    assert UID in collected.problems[0].message
    assert '"another"' in collected.problems[0].message


def test_a_pod_without_a_uid_takes_any():
    assert collect(a_run("a"), log_of(value("a", "1"), uid=""), pod=a_pod(uid="")).ok


@given(
    st.binary(max_size=400)
    | st.lists(st.sampled_from([*LOG.splitlines(keepends=True), b"\n", b"{}"])).map(b"".join),
    st.integers(1, 50),
    st.sampled_from([wire.WIRE, wire.TEKTON]),
)
@example(b"\n" * 30_000, 50, wire.WIRE)
def test_any_log_gives_the_same_verdict_in_any_pieces(log, piece, speaks):
    """Guarantee 0: whatever a log holds, there is a verdict, and its words can be written."""
    collected = collect(RUN, log, speaks=speaks)
    assert values_of(collected).items() <= TRUE.items()
    cut = collect(RUN, Logs([log[at : at + piece] for at in range(0, len(log), piece)]), speaks=speaks)
    assert facts(cut) == facts(collected)
    if speaks == wire.WIRE and log != LOG:
        assert not collected.ok
    json.dumps(CORE.status_patch(collected, {}, now="now"), ensure_ascii=False).encode()


@pytest.mark.parametrize("size", [10**30, -1, True, "5000"])
def test_a_size_that_no_file_has_is_left_out_of_the_problem(size):
    line = {"name": "big", "type": "refused", "of": "task", "reason": wire.TOO_LARGE, "message": "why"}
    outcome = collect(
        a_run("big"), log_of(json.dumps({**line, "bytes": size, "limit": 4096}).encode() + b"\n")
    )
    [problem] = outcome.problems
    assert (problem.result, problem.size, problem.limit) == ("big", None, None)
    assert problem.message.endswith("was refused by the results sidecar: why")
