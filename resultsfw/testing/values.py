"""Guarantees 1, 2, 5, 6: every value whole, or refused by name with both numbers."""

from typing import Final

import pytest

from resultsfw.core import ResultsManager
from resultsfw.testing.base import Base, Runs
from resultsfw.testing.judging import (
    breach,
    closed,
    must_be_true,
    must_be_verdict,
    must_be_whole,
    problems_in_words,
    refused,
    values_of,
)
from resultsfw.testing.tasks import MARK, Write
from resultsfw.testing.world import Life, World
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
    "newlines": f"\n{MARK}\n\nb\r\nc\r\n",
    "quotes": f"\"{MARK}\" 'single' `back`",
    "backslashes": f"\\n \\\\ {MARK} \\u0041 \\",
    "spaces": f"  \t {MARK} leading and trailing \t ",
    "control": "".join(map(chr, range(1, 32))) + f"{MARK}\x7f\x85",
    "nul": f"a\x00{MARK}\x00",
    "accents": f"é ß 漢字 \u05d0 {MARK}",
    "emoji": f"👩\u200d🚀 🏳\ufe0f {MARK}",
    "separators": f"\u2028{MARK}\u2029\ufeff\ufffd",
    "json": '{"name":"x","value":[1,null]}',
    "array": '["a","b"]',
    "number": "007.50",
    "null": "null",
    "markup": "<a href='x'>&amp;</a> $(x) %s {0}",
}
AWKWARD_WRITES: Final = (
    *(Write(name=f"a-{name}", data=text.encode()) for name, text in _VALUES.items()),
    Write(name="empty", data=b""),
    Write(name="never"),
)

_ILL: Final = {
    "latin-1": (Write(name="latin-1", data=MARK.encode() + b"\xe9t\xe9"), {ProblemCode.NOT_UTF8}),
    "fifo": (Write(name="fifo", odd="fifo"), {ProblemCode.NOT_REGULAR_FILE}),
    "directory": (Write(name="directory", odd="directory"), {ProblemCode.NOT_REGULAR_FILE}),
    "link-out": (
        Write(name="link-out", odd="link"),
        {ProblemCode.OUTSIDE_FOLDER, ProblemCode.NOT_REGULAR_FILE},
    ),
}
ILL_WRITES: Final = (
    Write(name="good", data=f"good {MARK}".encode()),
    Write(name="no-array", data=f"{MARK} no array".encode(), type="array", value=[]),
    *(one for one, _ in _ILL.values()),
)

TYPED_WRITES: Final = (
    Write(
        name="array",
        data=f'[ "a", "{MARK}", "\\u00e9" ]\n'.encode(),
        type="array",
        value=["a", MARK, "é"],
    ),
    Write(
        name="object",
        data=f'{{"url": "u", "digest": "{MARK}"}}'.encode(),
        type="object",
        value={"url": "u", "digest": MARK},
    ),
    Write(name="text", data=f"text {MARK}".encode()),
    Write(name="own", data=f"of a Step {MARK}".encode(), step="second"),
    Write(name="own", data=f"of another {MARK}".encode(), step="third"),
    Write(name="unwritten", step="third"),
)

_LARGEST: Final = 600
"""Bytes that a value may have where the suite sets the limit: any transport has room for so many."""

_GENERATED: Final = 8_000_000
"""Bytes that Steps write at most."""


class ValueCases(Base):
    """What arrives, and what is refused."""

    @pytest.mark.parametrize("name", [*_VALUES, "empty"])
    def test_value(self, world: World, runs: Runs, name: str) -> None:
        """A value arrives byte for byte, whatever is in it."""
        life = runs("awkward", AWKWARD_WRITES)
        outcome = world.collect(life)
        origin = (None, name if name == "empty" else f"a-{name}")
        must_be_whole(AWKWARD, world, life, outcome, origin)

    def test_absent_is_not_empty(self, world: World, runs: Runs) -> None:
        """One result is written empty, one not at all: the run succeeds, with the first only."""
        life = runs("awkward", AWKWARD_WRITES)
        outcome = world.collect(life)
        must_be_whole(ABSENT, world, life, outcome, (None, "empty"))
        must_be_whole(ABSENT, world, life, outcome, (None, "never"))
        if (collected := must_be_verdict(ABSENT, outcome)).problems:
            breach(ABSENT, f"the run does not succeed: {problems_in_words(collected)}")

    def test_missing_results_fail(self, world: World, runs: Runs) -> None:
        """With ``missing-results: fail`` the one that no Step wrote is named, and no other."""
        life = runs("awkward", AWKWARD_WRITES)
        collected = must_be_verdict(ABSENT, world.collect(life, core=world.core(missing_results="fail")))
        named = [one.result for one in collected.problems if one.code is ProblemCode.MISSING]
        if named != ["never"]:
            breach(
                ABSENT, f'"never" is the one nobody wrote; named are {named} [{problems_in_words(collected)}]'
            )

    def test_forty_results(self, world: World, runs: Runs) -> None:
        """Forty small results of one Step arrive."""
        writes = [Write(name=f"r{number}", data=f"{number} {MARK}".encode()) for number in range(40)]
        life = runs("forty", writes)
        must_be_true(WHOLE, world, life, world.collect(life))

    @pytest.mark.parametrize("name", ["array", "object", "step-results"])
    def test_typed(self, world: World, runs: Runs, name: str) -> None:
        """Arrays, objects and the Steps' own results arrive, each under its owner."""
        life = runs("typed", TYPED_WRITES)
        outcome = world.collect(life)
        if name == "step-results":
            must_be_true(WHOLE, world, life, outcome)
        else:
            must_be_whole(WHOLE, world, life, outcome, (None, name))

    def test_wrong_type(self, world: World, runs: Runs) -> None:
        """A text where an array is declared fails the run by name."""
        life = runs("ill", ILL_WRITES)
        collected = must_be_verdict(TYPE, world.collect(life))
        origin = (None, "no-array")
        if isinstance(values_of(world, collected).get(origin), bytes):
            closed(
                'delivery="reference"', "this backend hands out the bytes themselves, even of a small value"
            )
        if [one.code for one in refused(collected, origin)] != [ProblemCode.TYPE_MISMATCH]:
            breach(TYPE, f'"no-array" is a text and declared an array: {problems_in_words(collected)}')

    @pytest.mark.parametrize("name", _ILL)
    def test_refused(self, world: World, runs: Runs, name: str) -> None:
        """What is no regular file in the results folder, or no UTF-8, is refused by name."""
        write, codes = _ILL[name]
        life = runs("ill", ILL_WRITES)
        collected = must_be_verdict(NAMED, world.collect(life))
        came = values_of(world, collected).get(write.origin)
        if isinstance(came, bytes) and came == write.content:
            closed('delivery="reference"', "this backend hands out the bytes themselves")
        if came is not None:
            breach(NAMED, f'"{name}" arrived as {came!r:.80}')
        if not codes & {one.code for one in refused(collected, write.origin)}:
            wanted = " or ".join(sorted(codes))
            breach(NAMED, f'no problem {wanted} names "{name}": {problems_in_words(collected)}')

    def test_refused_beside_good(self, world: World, runs: Runs) -> None:
        """What did arrive whole is kept beside what was refused."""
        life = runs("ill", ILL_WRITES)
        must_be_whole(NAMED, world, life, world.collect(life), (None, "good"))

    def test_largest(self, world: World, runs: Runs) -> None:
        """A value of exactly the limit arrives."""
        life, core = _at_the_limit(world, runs)
        must_be_whole(LIMIT, world, life, world.collect(life, core=core), (None, "largest"))

    def test_one_byte_more(self, world: World, runs: Runs) -> None:
        """One byte over the limit, and the run fails naming result, bytes and limit."""
        life, core = _at_the_limit(world, runs)
        limit = world.limits(core).result_bytes
        collected = must_be_verdict(LIMIT, world.collect(life, core=core))
        told = [one.message for one in refused(collected, (None, "larger"))]
        if not any(str(limit + 1) in text and str(limit) in text for text in told):
            breach(
                LIMIT,
                f'"larger" has {limit + 1} bytes and may have {limit}: no problem names it with both numbers '
                f"[{problems_in_words(collected)}]",
            )

    def test_at_its_own_wall(self, world: World) -> None:
        """A value of the size its capabilities promise arrives, or is named with its bytes and a limit."""
        can = world.capabilities
        size = can.result_bytes or can.run_bytes or 1_000_000
        if size > _GENERATED:
            closed(f"result_bytes={can.result_bytes}", "so large a value takes too long to make here")
        core = world.core(max_result_size=str(min(size, 1_572_864)))
        life = world.ended([Write(name="wall", size=size)], core=core)
        outcome = world.collect(life, core=core)
        collected = must_be_verdict(WHOLE, outcome)
        no_walls = can.result_bytes is None and can.run_bytes is None
        if no_walls or collected.ok or values_of(world, collected, core):
            must_be_true(WHOLE, world, life, outcome, core)
        elif not any(str(size) in one.message for one in refused(collected, (None, "wall"))):
            breach(
                WHOLE, f'"wall" has {size} bytes and no problem names it so: {problems_in_words(collected)}'
            )

    def test_more_than_a_run_holds(self, world: World) -> None:
        """Values that are too many together: what fits is kept, the others are named, nothing is silent."""
        if world.capabilities.delivery == "reference" and world.capabilities.run_bytes is None:
            closed('delivery="reference", run_bytes=None', "there is no wall for a run")
        limits = world.limits(core := world.core(max_result_size="1000000"))
        size = min(limits.result_bytes, limits.run_bytes, 1_000_000)
        count = limits.run_bytes // size + 1
        if size * count > _GENERATED:
            closed(f"run_bytes={world.capabilities.run_bytes}", "so much takes too long to make here")
        life = world.ended([Write(name=f"r{number}", size=size) for number in range(count)], core=core)
        collected = must_be_verdict(WHOLE, world.collect(life, core=core))
        if collected.ok:
            breach(
                WHOLE,
                f"{count} values of {size} bytes are over the run's {limits.run_bytes}, and the run succeeds",
            )
        came = values_of(world, collected, core)
        for write in life.writes:
            if came.get(write.origin, write.truth) != write.truth:
                breach(WHOLE, f'"{write.name}" arrived changed')


def _at_the_limit(world: World, runs: Runs) -> tuple[Life, ResultsManager]:
    """A run with a value of exactly the limit and one with a byte more, and the core that sets it."""
    can = world.capabilities
    if can.delivery == "reference" and can.result_bytes is None:
        closed('delivery="reference", result_bytes=None', "a value has no limit")
    core = world.core(max_result_size=str(_LARGEST))
    size = world.limits(core).result_bytes
    if size > _GENERATED:
        closed(f"result_bytes={can.result_bytes}", "so large a value takes too long to make here")
    return runs(
        "limit", [Write(name="largest", size=size), Write(name="larger", size=size + 1)], core=core
    ), core
