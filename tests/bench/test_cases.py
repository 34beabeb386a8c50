"""Which cases are measured, and what a backend's record leaves out."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from measuring.cases import SERIES, TEKTONS, Part, can_carry, capabilities, left, max_result_size, plan
from measuring.options import pairs
from measuring.runs import STEPS, shares
from resultsfw import Capabilities

SMALL = Capabilities(summary="small", result_bytes=100, run_bytes=150)
LARGE = Capabilities(summary="large")


@given(st.integers(0, 2_000_000), st.integers(1, 9))
def test_shares_are_the_whole_and_alike(total, count):
    found = shares(total, count)
    assert sum(found) == total
    assert len(found) == count
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize(
    ("size", "fits"), [(150, True), (151, False)], ids=["all that a run may have", "one more"]
)
def test_the_record_of_a_run_is_the_end(size, fits):
    assert can_carry(SMALL, size) is fits


def test_the_record_of_a_result_is_the_end():
    record = replace(SMALL, run_bytes=None)
    assert can_carry(record, 200)
    assert not can_carry(record, 201)  # one of the two Steps has one byte more


def test_the_last_of_the_series_is_nothing_for_a_termination_message():
    record = capabilities("termination-message", {})
    assert [size for size in SERIES if can_carry(record, size)] == [200, 1_000, 2_500]
    assert all(can_carry(capabilities("sidecar-logs", {}), size) for size in SERIES)


@given(st.integers(0, 3_000_000))
def test_the_flag_lets_every_result_pass_that_it_can(size):
    assert 4096 <= max_result_size(size) <= 1_572_864
    assert max_result_size(size) >= min(1_572_864, max(shares(size, STEPS)))


PART = Part(name="series", backends=["small", "sidecar-logs"], sizes=[100, 1000], runs=[2], rounds=2)
RECORDS = {"small": SMALL, "sidecar-logs": LARGE}


def test_sides_and_backends_take_turns_and_what_a_side_cannot_do_is_left_out():
    found = plan([PART], ["resultsfw", "Tekton"], RECORDS)
    first = [(case.bytes, case.backend, case.side) for case in found if case.round == 0]
    assert first == [
        (100, "small", "resultsfw"),
        (100, "sidecar-logs", "resultsfw"),
        (100, "sidecar-logs", "Tekton"),
        (1000, "sidecar-logs", "resultsfw"),
        (1000, "sidecar-logs", "Tekton"),
    ]
    assert [case.round for case in found] == [0] * 5 + [1] * 5
    assert "small" not in TEKTONS


def test_what_is_done_is_not_done_again():
    found = plan([PART], ["resultsfw"], RECORDS)
    assert left(found, set(found[:2])) == found[2:]


def test_what_is_no_pair_is_refused():
    assert pairs(["a=b=c"]) == {"a": "b=c"}
    with pytest.raises(SystemExit, match="'a' is not KEY=VALUE"):
        pairs(["a"])
