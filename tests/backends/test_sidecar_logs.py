"""The backend ``sidecar-logs``: the pod it prepares and any log it may be given to read."""

import hashlib
import itertools
import json
import tracemalloc

import captures
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
    prepared,
    value,
    values_of,
)

from resultsfw import Declared, Found, Limits, ProblemCode, Run, Stamp, Step
from resultsfw.errors import FlagError, ForbiddenError, NotFoundError, UnavailableError
from resultsfw.plugins import load_backend
from resultsfw_backends.sidecar_logs import CONTAINER, TEKTON_LOG_BYTES
from resultsfw_sidecar import wire

BACKEND = load_backend("sidecar-logs")
WHOLE = st.text(st.characters(exclude_categories=["Cs"]))


# True logs.


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


# Damaged logs.

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
    told = " ".join(problem.message for problem in collected.problems)
    assert f'result "{old.removeprefix("step-one.")}"' in told


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
    for part in (CONTAINER, "without its end record", "exit code 137", '"b", "one.c"'):
        assert part in problem.message
    assert values_of(collected) == {"a": "1"}


def test_the_sidecars_own_failure_is_told():
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


def test_a_wrong_count_is_told_with_both_numbers():
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


# Foreign lines between.


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
    assert "behind the end record" in collected.problems[0].message
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


# Tekton's wire.


def tektons(*pairs, of="task"):
    """Lines as Tekton's sidecar prints them."""
    return b"".join(wire.value_line(name, text, of, wire=wire.TEKTON) for name, text in pairs)


def test_tektons_log_is_taken_without_an_end_record():
    log = tektons(("a", "1"), ("forged", "x")) + tektons(("step-one.x", "2"), of="step")
    log += b'{"name":"art","value":"{}","type":"stepArtifact"}\n'
    log += b'{"name":"","value":"","type":"taskArtifact"}\n'
    collected = collect(a_run("a", "absent", own=["one.x"]), log, speaks=wire.TEKTON)
    assert collected.ok
    assert values_of(collected) == {"a": "1", "one.x": "2"}
    assert collected.ignored == ("forged",)


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,6}\Z"), WHOLE, max_size=5))
def test_tektons_log_round_trips(values):
    collected = collect(a_run(*values), tektons(*values.items()), speaks=wire.TEKTON)
    assert collected.ok
    assert values_of(collected) == values


def test_of_tektons_two_lines_of_one_name_the_later_counts():
    collected = collect(a_run("a"), tektons(("a", "1"), ("a", "2")), speaks=wire.TEKTON)
    assert values_of(collected) == {"a": "2"}


def test_a_record_that_only_our_sidecar_prints_is_no_record_of_tektons():
    log = tektons(("a", "1")) + wire.absent_line("b", "task")
    collected = collect(a_run("a", "b"), log, speaks=wire.TEKTON)
    assert codes(collected) == [ProblemCode.TRANSPORT_CORRUPT]
    assert values_of(collected) == {"a": "1"}


@pytest.mark.parametrize("state", [{"terminated": {"exitCode": 2, "reason": "Error"}}, {"running": {}}, {}])
def test_a_sidecar_that_did_not_end_well_may_have_lost_results(state):
    pod = a_pod(state=state)
    collected = collect(a_run("a", "b"), tektons(("a", "1")), speaks=wire.TEKTON, pod=pod)
    assert codes(collected) == [ProblemCode.TRANSPORT_INCOMPLETE]
    assert values_of(collected) == {"a": "1"}


def test_tektons_last_line_without_its_end_is_cut():
    log = tektons(("a", "1"), ("b", "2"))
    for length in range(log.index(b"\n") + 2, len(log)):
        collected = collect(a_run("a", "b"), log[:length], speaks=wire.TEKTON)
        assert ProblemCode.TRANSPORT_INCOMPLETE in codes(collected)
        assert values_of(collected).items() <= {"a": "1", "b": "2"}.items()


def test_a_value_too_long_to_keep_is_measured_and_named():
    """sl-oversize and worse: any size, with both numbers."""
    log = tektons(("big", "é" * 50_000), ("small", "s"))
    collected = collect(a_run("big", "small"), log, speaks=wire.TEKTON)
    [problem] = collected.problems
    assert (problem.code, problem.result, problem.size, problem.limit) == (
        ProblemCode.RESULT_TOO_LARGE,
        "big",
        100_000,
        4096,
    )
    assert values_of(collected) == {"small": "s"}


# Any bytes.


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


# Bounds of reading.


def test_a_line_of_100_megabytes_stops_reading_at_the_cap():
    """Guarantee 3: stop reading at the first byte too many."""
    cluster = Logs(itertools.chain([log_of(end=False)], itertools.repeat(b"x" * 65_536, 1600)))
    collected = collect(a_run("a"), cluster)
    assert codes(collected)[0] is ProblemCode.TRANSPORT_CORRUPT
    most = collected.problems[0].limit
    assert f"more than {most} bytes" in collected.problems[0].message
    assert most < 70_000
    assert cluster.asked == ("default", "pod", CONTAINER, most + 1)
    assert cluster.pulled == most + 1
    assert cluster.closed
    assert collected.carriers[0].cut
    assert collected.carriers[0].used == most


def test_a_stream_that_gives_more_than_was_asked_for_is_left_at_the_cap():
    pulled = []

    def stream(*_args, **_more):
        for _ in range(1600):
            pulled.append(1)
            yield b"x" * 65_536

    cluster = Logs([])
    cluster.read_log = stream
    assert not collect(a_run("a"), cluster).ok
    assert len(pulled) == 1


@pytest.mark.parametrize("junk", [b"\n", b"{}\n", b'{"type":"task","name":"n","value":"v","sha256":""}\n'])
def test_a_log_of_nothing_but_junk_takes_bounded_memory(junk):
    """Guarantee 3: a problem is larger than the empty line it speaks of; there must not be one for each."""
    size = 1_500_000
    tracemalloc.start()
    try:
        cluster = Logs(itertools.repeat(junk * (50_000 // len(junk)), 40))
        collected = collect(a_run("a"), cluster, size=size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024
    assert len(collected.problems) < 110
    assert cluster.pulled < 1_000_000
    assert cluster.closed
    assert any("more lines" in one.message and "stopped" in one.message for one in collected.problems)


def test_of_many_bad_lines_each_declared_result_is_still_named():
    names = [f"r{index}" for index in range(300)]
    lines = [value(name, "1")[:-20] + b"\n" for name in names]
    collected = collect(a_run(*names), log_of(b"junk\n" * 200, *lines))
    assert {one.result for one in collected.problems} >= set(names)
    assert any("100 more lines" in one.message for one in collected.problems)


def test_forged_names_without_number_are_not_all_handed_on():
    """Guarantee 3, on Tekton's wire, whose log may have many more bytes than the limits allow values."""
    log = tektons(*((f"forged{index}", "x") for index in range(5000)), ("a", "1"))
    collected = collect(a_run("a"), log, speaks=wire.TEKTON)
    assert values_of(collected) == {"a": "1"}
    assert len(collected.ignored) == 1000


def test_tektons_log_may_be_as_large_as_it_prints():
    cluster = Logs([tektons(("a", "1"))])
    collect(a_run("a"), cluster, speaks=wire.TEKTON)
    assert cluster.asked[3] == TEKTON_LOG_BYTES + 1


# Reading that fails.


@pytest.mark.parametrize("error", [UnavailableError("cut stream"), ForbiddenError("no pods/log")])
def test_a_read_that_can_come_right_is_raised_and_at_the_end_a_verdict(error):
    """Guarantee 0: a failed read is retried while it can come right, and then a failure of its own."""
    log = log_of(value("a", "1"))
    cluster = Logs([log[:-50]], error)
    with pytest.raises(type(error)):
        collect(a_run("a"), cluster)
    assert cluster.closed
    collected = collect(a_run("a"), Logs([log[:-50]], error), final=True)
    assert codes(collected) == [ProblemCode.TRANSPORT_UNREADABLE]
    assert error.message in collected.problems[0].message


def test_a_log_that_is_gone_is_a_verdict_at_once():
    collected = collect(a_run("a"), Logs([], NotFoundError("log gone")))
    assert codes(collected) == [ProblemCode.TRANSPORT_UNREADABLE]


def test_a_stream_that_is_no_generator_is_closed_too():
    class Stream:
        closed = False

        def __iter__(self):
            return iter([log_of(value("a", "1"))])

        def close(self):
            self.closed = True

    cluster = Logs([])
    stream = Stream()
    cluster.read_log = lambda *_args, **_more: stream
    assert collect(a_run("a"), cluster).ok
    assert stream.closed


def test_a_pod_without_the_sidecar_cannot_be_read():
    pod = a_pod()
    pod["spec"]["containers"].pop()
    [problem] = collect(a_run("a"), b"", pod=pod).problems
    assert problem.code is ProblemCode.TRANSPORT_UNREADABLE
    assert CONTAINER in problem.message


@pytest.mark.parametrize(
    ("state", "phase", "ready"),
    [
        ({"terminated": {}}, "Running", True),
        ({"running": {}}, "Running", False),
        ({"running": {}}, "Failed", False),
        ({"waiting": {}}, "Pending", False),
        ({"waiting": {}}, "Failed", True),
        ({}, "Succeeded", True),
    ],
)
def test_a_pod_is_ready_when_the_sidecar_has_spoken(state, phase, ready):
    """Guarantee 0: no verdict while the sidecar may still print."""
    assert CORE.ready(a_run("a"), a_pod(state=state, phase=phase), stamp=Stamp("sidecar-logs", 1, 1)) is ready


# The pod.


def test_the_sidecar_is_tektons_but_for_read_only_mounts():
    """Wire compatibility: either sidecar image works under either controller."""
    _, ours, theirs = prepared("sidecar: plain")
    assert ours["command"] == theirs["command"]
    assert ours["env"][0] == theirs["env"][0] == {"name": "SIDECAR_LOG_POLLING_INTERVAL", "value": "100ms"}
    added = "/var/run/secrets/kubernetes.io/serviceaccount"  # by the API server
    mounts = [{**one, "readOnly": True} for one in theirs["volumeMounts"] if one["mountPath"] != added]
    assert [{**one, "readOnly": True} for one in ours["volumeMounts"]] == mounts
    assert ours["volumeMounts"] == mounts


def test_the_steps_are_told_as_tekton_tells_them_but_for_the_files_of_results():
    """Tekton's entrypoint opens every file of ``-results`` after its ``out`` file, a FIFO for ever."""
    [original] = captures.first_pods(captures.load("sl-basic"))
    for container in original["spec"]["containers"][:2]:
        at = container["args"].index("-results")
        del container["args"][at : at + 2]
    out, ours, _ = prepared("sidecar: plain")
    assert out["spec"]["containers"][:2] == original["spec"]["containers"][:2]
    assert out["spec"]["containers"][2:] == [ours]
    assert {**out["spec"], "containers": []} == {**original["spec"], "containers": []}


def test_the_sidecar_has_no_more_rights_than_it_needs():
    """Guarantee 8: the sidecar runs read-only, non-root, without capabilities."""
    _, ours, _ = prepared()
    assert ours["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert ours["resources"] == {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}}


def test_the_sidecar_is_told_limits_wire_and_its_pod():
    _, ours, _ = prepared(flags={"max-result-size": "9000"})
    assert ours["env"][1:] == [
        {"name": "RESULTSFW_WIRE", "value": "1"},
        {"name": "RESULTSFW_MAX_RESULT_SIZE", "value": "9000"},
        {"name": "RESULTSFW_MAX_RUN_SIZE", "value": "1572864"},
        {"name": "RESULTSFW_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
    ]


def test_tektons_image_is_told_what_tektons_controller_tells_it():
    out, ours, theirs = prepared("wire: tekton\nimage: tekton/sidecarlogresults:1")
    assert ours["env"] == theirs["env"]
    assert ours["image"] == theirs["image"]
    assert out["metadata"]["annotations"]["resultsfw.dev/stamp"] == "sidecar-logs/0"
    assert prepared()[0]["metadata"]["annotations"]["resultsfw.dev/stamp"] == "sidecar-logs/1"


def test_every_option_arrives():
    _, ours, _ = prepared("image: i\npolling-interval: 1.5s\ncpu: 7m\nmemory: 64Mi")
    assert ours["image"] == "i"
    assert ours["env"][0]["value"] == "1.5s"
    assert ours["resources"] == {"requests": {"cpu": "7m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}


@pytest.mark.parametrize(
    "config",
    [
        "wire: other",
        "polling-interval: soon",
        "polling-interval: '100'",
        'polling-interval: "1s\\n"',
        "image: 5",
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(config):
    with pytest.raises(FlagError) as caught:
        prepared(config)
    assert config.partition(":")[0] in caught.value.message


def test_steps_own_results_are_told_as_tekton_tells_them():
    run = Run(
        namespace="n",
        name="r",
        uid="u",
        steps=(
            Step(name="push", container="step-push", results=(Declared(name="b"), Declared(name="a"))),
            Step(name="build", container="step-build", results=(Declared(name="c"),)),
        ),
    )
    _, ours, _ = prepared(run=run)
    command = ours["command"]
    assert command[command.index("-step-results") + 1] == '{"step-build":["c"],"step-push":["b","a"]}'
    assert command[command.index("-result-names") + 1] == ""


def test_a_pod_of_an_embedder_needs_no_volumes():
    pod = {"spec": {"containers": [{"name": "step-one"}], "volumes": None}}
    (ours,) = CORE.prepare_pod(a_run("a"), pod)["spec"]["initContainers"]
    assert [one["name"] for one in ours["volumeMounts"]] == ["resultsfw-results"]


def test_the_permission_it_needs_is_stated():
    """Guarantee 8: a missing permission can be reported by name."""
    [permission] = BACKEND.capabilities.permissions
    assert (permission.verb, permission.resource, permission.group) == ("get", "pods/log", "")


def test_a_backend_hands_over_plain_data():
    extraction = BACKEND.hook.extract(
        run=a_run("a"),
        pod=a_pod(),
        cluster=Logs([log_of(value("a", "1"))]),
        limits=Limits(result=4096, run=1 << 20),
        config=BACKEND.configure({}),
        wire=1,
    )
    source = f'log of container "{CONTAINER}"'
    assert extraction.found == (Found(name="a", value="1", source=source),)
    assert extraction.carriers[0].results == ("a",)
