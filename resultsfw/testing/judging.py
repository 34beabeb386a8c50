"""Comparing what arrived with what was written; every failure says it in words."""

from collections.abc import Iterable
from typing import Any, NoReturn

import pytest

from resultsfw.core import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.testing.tasks import MARK, Origin
from resultsfw.testing.world import Life, Outcome, World
from resultsfw.types import CollectionOutcome, Reference
from resultsfw.values import label

__all__ = ["breach", "closed", "differences", "must_be_true", "must_be_whole", "refused", "shown", "tellings"]

_SHOWN = 60


def breach(guarantee: str, what: str) -> NoReturn:
    """Fail: which guarantee, and what happened against it."""
    pytest.fail(f"{guarantee}\n  {what}", pytrace=False)


def closed(capability: str, why: str) -> NoReturn:
    """Skip: which capability closes the test, and why."""
    pytest.skip(f"closed ({capability}): {why}")


def shown(value: Any) -> str:
    """A value as failures show it: its beginning, its end, how long it is."""
    if value is None:
        return "nothing"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = value if isinstance(value, str) else repr(value)
    size = len(text.encode("utf-8", "surrogatepass"))
    told = repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}...{text[-8:]!r}"
    return f"{told} ({size} bytes)"


def values_of(
    world: World, collected: CollectionOutcome, core: ResultsManager | None = None
) -> dict[Origin, Any]:
    """What arrived, by whose it is; a reference as the bytes it stands for, or the error they raise."""
    found: dict[Origin, Any] = {(None, one.name): one.value for one in collected.results}
    for step, results in collected.step_results.items():
        found |= {(step, one.name): one.value for one in results}
    return {origin: _resolved(world, value, core) for origin, value in found.items()}


def _resolved(world: World, value: Any, core: ResultsManager | None) -> Any:
    if not isinstance(value, Reference):
        return value
    try:
        return b"".join((core or world.core()).dereference(value, world.cluster))
    except ResultsError as error:
        return error


def differences(
    world: World,
    life: Life,
    collected: CollectionOutcome,
    core: ResultsManager | None = None,
    *,
    missing: bool = True,
    damaged: bool = True,
) -> list[str]:
    """In words, each result that is not as its Step wrote it.

    Args:
        world: With the backend.
        life: The run.
        collected: What arrived of it.
        core: Dereferences; else the world's.
        missing: One that is not there is a difference.
        damaged: The way is: a reference that raises an error of resultsfw's own is none, it is noticed.
    """
    found = values_of(world, collected, core)
    truth = life.truth
    contents = {one.origin: one.content for one in life.writes}
    told = []
    for origin in [*truth, *(one for one in found if one not in truth)]:
        came = found.get(origin)
        if isinstance(came, ResultsError):
            if not damaged:
                told.append(f"{label(origin[1], origin[0])}: its reference raises {came}")
            continue
        if came is None and not missing:
            continue
        # Behind a reference are the bytes themselves, whatever type they are declared as.
        wanted = contents[origin] if isinstance(came, bytes) else truth.get(origin)
        if came != wanted:
            told.append(f"{label(origin[1], origin[0])}: written {shown(wanted)}, arrived {shown(came)}")
    return told


def problems_in_words(collected: CollectionOutcome) -> str:
    """The problems of a verdict, for a failure's text."""
    return "; ".join(f"{one.code}: {one.message}" for one in collected.problems) or "no problem"


def must_be_true(
    guarantee: str, world: World, life: Life, outcome: Outcome, core: ResultsManager | None = None
) -> CollectionOutcome:
    """Fail unless everything that was written arrived, and nothing else."""
    collected = must_be_verdict(guarantee, outcome)
    if told := differences(world, life, collected, core, damaged=False):
        breach(guarantee, f"{'; '.join(told)} [{problems_in_words(collected)}]")
    if not collected.ok:
        breach(guarantee, f"all arrived, and still the run does not succeed: {problems_in_words(collected)}")
    return collected


def must_be_whole(guarantee: str, world: World, life: Life, outcome: Outcome, origin: Origin) -> None:
    """Fail unless that one result arrived as it was written; of the others nothing is asked."""
    collected = must_be_verdict(guarantee, outcome)
    for told in differences(world, life, collected, damaged=False):
        if told.startswith(f"{label(origin[1], origin[0])}: "):
            breach(guarantee, f"{told} [{problems_in_words(collected)}]")


def must_be_verdict(guarantee: str, outcome: Outcome) -> CollectionOutcome:
    """The verdict over a pod that is over; fail where there is none."""
    if outcome.collected is None:
        breach(
            guarantee,
            f"no verdict over a pod that has ended: {type(outcome.error).__name__}: {outcome.error}",
        )
    return outcome.collected


def refused(collected: CollectionOutcome, origin: Origin) -> list[Any]:
    """The problems that name that result."""
    step, name = origin
    return [one for one in collected.problems if one.result == name and one.step == step]


def tellings(outcomes: Iterable[Outcome]) -> list[str]:
    """What was said that shows a value: nothing may."""
    return [text for outcome in outcomes for text in outcome.said if MARK in text]
