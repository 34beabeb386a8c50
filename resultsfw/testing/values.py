"""Test guarantees 1, 2, 5 and 6: every value arrives intact, or is refused by name with both numbers."""

from typing import Final

import pytest

from resultsfw.core import ResultsManager
from resultsfw.limits import OBJECT_BYTES
from resultsfw.testing.assertions import (
    assert_collected,
    assert_intact,
    assert_result_intact,
    collected_values,
    describe_problems,
    fail,
    problems_of,
    skip,
)
from resultsfw.testing.base import Base, FinishedPods
from resultsfw.testing.harness import Harness, SamplePod
from resultsfw.testing.tasks import VALUE_MARK, Write
from resultsfw.types import ProblemCode

__all__ = ["ValueCases"]

WHOLE: Final = "guarantee 1: every declared result that a Step wrote arrives whole, or the run ends naming it"
AWKWARD: Final = "guarantee 6: awkward bytes survive"
NAMED: Final = "guarantees 5 and 6: what cannot be a result is refused by name, and the others arrive"
TYPE: Final = "guarantee 1: a value that is not of its declared type fails the run by name"
LIMIT: Final = "guarantee 2: limits count the value's bytes, and messages print both numbers"
ABSENT: Final = (
    "guarantee 1: a result that no Step wrote is absent, never confused with an empty or a lost one"
)

_VALUES: Final = {
    "newlines": f"\n{VALUE_MARK}\n\nb\r\nc\r\n",
    "quotes": f"\"{VALUE_MARK}\" 'single' `back`",
    "backslashes": f"\\n \\\\ {VALUE_MARK} \\u0041 \\",
    "spaces": f"  \t {VALUE_MARK} leading and trailing \t ",
    "control": "".join(map(chr, range(1, 32))) + f"{VALUE_MARK}\x7f\x85",
    "nul": f"a\x00{VALUE_MARK}\x00",
    "accents": f"é ß 漢字 \u05d0 {VALUE_MARK}",
    "emoji": f"👩\u200d🚀 🏳\ufe0f {VALUE_MARK}",
    "separators": f"\u2028{VALUE_MARK}\u2029\ufeff\ufffd",
    "json": '{"name":"x","value":[1,null]}',
    "array": '["a","b"]',
    "number": "007.50",
    "null": "null",
    "markup": "<a href='x'>&amp;</a> $(x) %s {0}",
    "line": f"{VALUE_MARK} is the only line of a text that ends as most texts do\n",
    "blank-lines": f"{VALUE_MARK} and after the text two lines with nothing in them\n\n\n",
}
AWKWARD_WRITES: Final = (
    *(Write(name=f"a-{name}", data=text.encode()) for name, text in _VALUES.items()),
    Write(name="empty", data=b""),
    Write(name="never"),
)

_ILL: Final = {
    "latin-1": (Write(name="latin-1", data=VALUE_MARK.encode() + b"\xe9t\xe9"), {ProblemCode.NOT_UTF8}),
    "fifo": (Write(name="fifo", special_file="fifo"), {ProblemCode.NOT_REGULAR_FILE}),
    "directory": (Write(name="directory", special_file="directory"), {ProblemCode.NOT_REGULAR_FILE}),
    "link-out": (
        Write(name="link-out", special_file="link"),
        {ProblemCode.OUTSIDE_FOLDER, ProblemCode.NOT_REGULAR_FILE},
    ),
}
ILL_WRITES: Final = (
    Write(name="good", data=f"good {VALUE_MARK}".encode()),
    Write(name="no-array", data=f"{VALUE_MARK} no array".encode(), type="array", value=[]),
    *(write for write, _ in _ILL.values()),
)

TYPED_WRITES: Final = (
    Write(
        name="array",
        data=f'[ "a", "{VALUE_MARK}", "\\u00e9" ]\n'.encode(),
        type="array",
        value=["a", VALUE_MARK, "é"],
    ),
    Write(
        name="object",
        data=f'{{"url": "u", "digest": "{VALUE_MARK}"}}'.encode(),
        type="object",
        value={"url": "u", "digest": VALUE_MARK},
    ),
    Write(name="text", data=f"text {VALUE_MARK}".encode()),
    Write(name="own", data=f"of a Step {VALUE_MARK}".encode(), step="second"),
    Write(name="own", data=f"of another {VALUE_MARK}".encode(), step="third"),
    Write(name="unwritten", step="third"),
)

_LARGEST: Final = 600
"""Bytes that a value may have where the suite sets the limit: any transport has room for so many."""

_ABOVE_A_MEGABYTE: Final = 1_300_003
"""Bytes of the largest value of a backend without limits: more than 1 MiB, ending in a newline."""

_GENERATED: Final = 8_000_000
"""Bytes that Steps write at most; a larger limit of a backend is scaled down to fewer."""

_LARGEST_OF_MANY: Final = 1_000_000
"""Bytes of each of the values that are too many together."""

_MANY: Final = 40
_PIECE: Final = 20_003
"""Bytes of each of several values; they end in a newline."""
_ABOVE_A_BUFFER: Final = 70_000
"""Bytes of a run: more than a pipe holds, and than buffers of 64 KiB."""


class ValueCases(Base):
    """What arrives, and what is refused."""

    @pytest.mark.quick
    @pytest.mark.parametrize("name", [*_VALUES, "empty"])
    def test_value(self, harness: Harness, finished_pods: FinishedPods, name: str) -> None:
        """A value arrives byte for byte, whatever is in it."""
        sample = finished_pods("awkward", AWKWARD_WRITES)
        outcome = harness.collect(sample)
        origin = (None, name if name == "empty" else f"a-{name}")
        assert_result_intact(AWKWARD, harness, sample, outcome, origin)

    @pytest.mark.quick
    def test_absent_is_not_empty(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """One result is written empty, one not at all: the run succeeds, with the first only."""
        sample = finished_pods("awkward", AWKWARD_WRITES)
        outcome = harness.collect(sample)
        assert_result_intact(ABSENT, harness, sample, outcome, (None, "empty"))
        assert_result_intact(ABSENT, harness, sample, outcome, (None, "never"))
        if (collected := assert_collected(ABSENT, outcome)).problems:
            fail(ABSENT, f"the run does not succeed: {describe_problems(collected)}")

    @pytest.mark.quick
    def test_missing_results_fail(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """With ``missing-results: fail`` only the result that no Step wrote is named."""
        sample = finished_pods("awkward", AWKWARD_WRITES)
        collected = assert_collected(
            ABSENT, harness.collect(sample, core=harness.core(missing_results="fail"))
        )
        named = [problem.result for problem in collected.problems if problem.code is ProblemCode.MISSING]
        if named != ["never"]:
            fail(
                ABSENT, f'"never" is the one nobody wrote; named are {named} [{describe_problems(collected)}]'
            )

    def test_forty_results(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """Forty results of one Step arrive, with more than 64 KiB together if a run may have so many."""
        core = harness.core(max_result_size="32768")
        limits = harness.limits(core)
        size = min(_PIECE, limits.result_bytes)
        large = -(-_ABOVE_A_BUFFER // size)
        if large > _MANY or limits.run_bytes < _ABOVE_A_BUFFER + size + _MANY * len(VALUE_MARK) * 2:
            large = 0
        writes = [
            Write(name=f"r{number}", data=f"{number} {VALUE_MARK}".encode())
            if number < _MANY - large
            else Write(name=f"r{number}", size=size)
            for number in range(_MANY)
        ]
        sample = finished_pods("forty", writes, core=core)
        assert_intact(WHOLE, harness, sample, harness.collect(sample, core=core), core)

    @pytest.mark.quick
    @pytest.mark.parametrize("name", ["array", "object", "step-results"])
    def test_typed(self, harness: Harness, finished_pods: FinishedPods, name: str) -> None:
        """Arrays, objects and the Steps' own results arrive, each under its owner."""
        sample = finished_pods("typed", TYPED_WRITES)
        outcome = harness.collect(sample)
        if name == "step-results":
            assert_intact(WHOLE, harness, sample, outcome)
        else:
            assert_result_intact(WHOLE, harness, sample, outcome, (None, name))

    def test_wrong_type(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """A text where an array is declared fails the run by name."""
        sample = finished_pods("ill", ILL_WRITES)
        collected = assert_collected(TYPE, harness.collect(sample))
        origin = (None, "no-array")
        if isinstance(collected_values(harness, collected).get(origin), bytes):
            skip('delivery="reference"', "this backend hands out the bytes themselves, even of a small value")
        if [problem.code for problem in problems_of(collected, origin)] != [ProblemCode.TYPE_MISMATCH]:
            fail(TYPE, f'"no-array" is a text and declared an array: {describe_problems(collected)}')

    @pytest.mark.quick
    @pytest.mark.parametrize("name", _ILL)
    def test_refused(self, harness: Harness, finished_pods: FinishedPods, name: str) -> None:
        """What is no regular file in the results folder, or no UTF-8, is refused by name."""
        write, codes = _ILL[name]
        sample = finished_pods("ill", ILL_WRITES)
        collected = assert_collected(NAMED, harness.collect(sample))
        came = collected_values(harness, collected).get(write.origin)
        if isinstance(came, bytes) and came == write.content:
            skip('delivery="reference"', "this backend hands out the bytes themselves")
        if came is not None:
            fail(NAMED, f'"{name}" arrived as {came!r:.80}')
        if not codes & {problem.code for problem in problems_of(collected, write.origin)}:
            wanted = " or ".join(sorted(codes))
            fail(NAMED, f'no problem {wanted} names "{name}": {describe_problems(collected)}')

    @pytest.mark.quick
    def test_refused_beside_good(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """What did arrive whole is kept beside what was refused."""
        sample = finished_pods("ill", ILL_WRITES)
        assert_result_intact(NAMED, harness, sample, harness.collect(sample), (None, "good"))

    def test_largest(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """A value of exactly the limit arrives."""
        sample, core = _at_the_limit(harness, finished_pods)
        assert_result_intact(LIMIT, harness, sample, harness.collect(sample, core=core), (None, "largest"))

    def test_one_byte_more(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """One byte over the limit, and the run fails naming result, bytes and limit."""
        sample, core = _at_the_limit(harness, finished_pods)
        limit = harness.limits(core).result_bytes
        collected = assert_collected(LIMIT, harness.collect(sample, core=core))
        messages = [problem.message for problem in problems_of(collected, (None, "larger"))]
        if not any(str(limit + 1) in text and str(limit) in text for text in messages):
            fail(
                LIMIT,
                f'"larger" has {limit + 1} bytes and may have {limit}: no problem names it with both numbers '
                f"[{describe_problems(collected)}]",
            )

    def test_at_its_own_wall(self, harness: Harness) -> None:
        """A value of the size its capabilities promise arrives, or is named with its bytes and a limit."""
        can = harness.capabilities
        size = min(can.result_bytes or can.run_bytes or _ABOVE_A_MEGABYTE, _GENERATED)
        core = harness.core(max_result_size=str(min(size, OBJECT_BYTES)))
        sample = harness.run_pod([Write(name="wall", size=size)], core=core)
        outcome = harness.collect(sample, core=core)
        collected = assert_collected(WHOLE, outcome)
        no_walls = can.result_bytes is None and can.run_bytes is None
        if no_walls or collected.ok or collected_values(harness, collected, core):
            assert_intact(WHOLE, harness, sample, outcome, core)
        elif not any(str(size) in problem.message for problem in problems_of(collected, (None, "wall"))):
            fail(WHOLE, f'"wall" has {size} bytes and no problem names it so: {describe_problems(collected)}')

    def test_more_than_a_run_holds(self, harness: Harness) -> None:
        """Values that are too many together: what fits is kept, the others are named, nothing is silent."""
        if harness.capabilities.delivery == "reference" and harness.capabilities.run_bytes is None:
            skip('delivery="reference", run_bytes=None', "there is no wall for a run")
        core = harness.scaled_core(result_bytes=_LARGEST_OF_MANY, run_bytes=_GENERATED)
        limits = harness.limits(core)
        size = min(limits.result_bytes, limits.run_bytes, _LARGEST_OF_MANY)
        count = limits.run_bytes // size + 1
        sample = harness.run_pod([Write(name=f"r{number}", size=size) for number in range(count)], core=core)
        collected = assert_collected(WHOLE, harness.collect(sample, core=core))
        if collected.ok:
            fail(
                WHOLE,
                f"{count} values of {size} bytes are over the run's {limits.run_bytes}, and the run succeeds",
            )
        came = collected_values(harness, collected, core)
        for write in sample.writes:
            if came.get(write.origin, write.expected) != write.expected:
                fail(WHOLE, f'"{write.name}" arrived changed')


def _at_the_limit(harness: Harness, finished_pods: FinishedPods) -> tuple[SamplePod, ResultsManager]:
    """Return a run with a value of the limit and a value of a byte more, and the core with that limit."""
    can = harness.capabilities
    if can.delivery == "reference" and can.result_bytes is None:
        skip('delivery="reference", result_bytes=None', "a value has no limit")
    core = harness.scaled_core(result_bytes=_LARGEST)
    size = harness.limits(core).result_bytes
    return finished_pods(
        "limit", [Write(name="largest", size=size), Write(name="larger", size=size + 1)], core=core
    ), core
