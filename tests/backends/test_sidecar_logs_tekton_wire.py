"""The backend ``sidecar-logs`` reads the log of Tekton's sidecar, which has no end record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sidecarlogs import (
    a_pod,
    a_run,
    codes,
    collect,
    tekton_lines,
    values_of,
)

from resultsfw import ProblemCode
from resultsfw_sidecar import wire

WHOLE = st.text(st.characters(exclude_categories=["Cs"]))


def test_tektons_log_is_taken_without_an_end_record():
    log = tekton_lines(("a", "1"), ("forged", "x")) + tekton_lines(("step-one.x", "2"), of="step")
    log += b'{"name":"step-one","value":"{\\"outputs\\":[{\\"name\\":\\"i\\"}]}","type":"stepArtifact"}\n'
    log += b'{"name":"","value":"{}","type":"taskArtifact"}\n'
    collected = collect(a_run("a", "absent", own=["one.x"]), log, speaks=wire.TEKTON)
    assert collected.ok
    assert values_of(collected) == {"a": "1", "one.x": "2"}
    assert collected.ignored == ("forged",)
    assert collected.artifacts == {None: {}, "one": {"outputs": [{"name": "i"}]}}


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,6}\Z"), WHOLE, max_size=5))
def test_tektons_log_round_trips(values):
    collected = collect(a_run(*values), tekton_lines(*values.items()), speaks=wire.TEKTON)
    assert collected.ok
    assert values_of(collected) == values


def test_of_tektons_two_lines_of_one_name_the_later_counts():
    collected = collect(a_run("a"), tekton_lines(("a", "1"), ("a", "2")), speaks=wire.TEKTON)
    assert values_of(collected) == {"a": "2"}


def test_a_record_that_only_our_sidecar_prints_is_no_record_of_tekton_lines():
    log = tekton_lines(("a", "1")) + wire.absent_line("b", "task")
    collected = collect(a_run("a", "b"), log, speaks=wire.TEKTON)
    assert codes(collected) == [ProblemCode.TRANSPORT_CORRUPT]
    assert values_of(collected) == {"a": "1"}


@pytest.mark.parametrize("state", [{"terminated": {"exitCode": 2, "reason": "Error"}}, {"running": {}}, {}])
def test_a_sidecar_that_did_not_end_well_may_have_lost_results(state):
    pod = a_pod(state=state)
    collected = collect(a_run("a", "b"), tekton_lines(("a", "1")), speaks=wire.TEKTON, pod=pod)
    assert codes(collected) == [ProblemCode.TRANSPORT_INCOMPLETE]
    assert values_of(collected) == {"a": "1"}


def test_tektons_last_line_without_its_end_is_cut():
    log = tekton_lines(("a", "1"), ("b", "2"))
    for length in range(log.index(b"\n") + 2, len(log)):
        collected = collect(a_run("a", "b"), log[:length], speaks=wire.TEKTON)
        assert ProblemCode.TRANSPORT_INCOMPLETE in codes(collected)
        assert values_of(collected).items() <= {"a": "1", "b": "2"}.items()


def test_a_value_too_long_to_keep_is_measured_and_named():
    """sl-oversize and worse: any size, with both numbers."""
    log = tekton_lines(("big", "é" * 50_000), ("small", "s"))
    collected = collect(a_run("big", "small"), log, speaks=wire.TEKTON)
    [problem] = collected.problems
    assert (problem.code, problem.result, problem.size, problem.limit) == (
        ProblemCode.RESULT_TOO_LARGE,
        "big",
        100_000,
        4096,
    )
    assert values_of(collected) == {"small": "s"}
