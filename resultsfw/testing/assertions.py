"""Compare what arrived with what was written; every failure describes the difference in words."""

from collections.abc import Iterable
from typing import Any, NoReturn

import pytest

from resultsfw.core import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.testing.harness import Harness, Outcome, SamplePod
from resultsfw.testing.tasks import VALUE_MARK, Origin
from resultsfw.types import CollectionOutcome, Reference
from resultsfw.values import label

__all__ = [
    "abbreviate",
    "assert_intact",
    "assert_result_intact",
    "differences",
    "fail",
    "leaks",
    "problems_of",
    "skip",
]

_SHOWN = 60


def fail(guarantee: str, what: str) -> NoReturn:
    """Fail the test: name the guarantee and what violates it."""
    pytest.fail(f"{guarantee}\n  {what}", pytrace=False)


def skip(capability: str, why: str) -> NoReturn:
    """Skip the test: name the capability that closes it, and why."""
    pytest.skip(f"closed ({capability}): {why}")


def abbreviate(value: Any) -> str:
    """Abbreviate a value for a message: its beginning, its end and its size."""
    if value is None:
        return "nothing"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = value if isinstance(value, str) else repr(value)
    size = len(text.encode("utf-8", "surrogatepass"))
    shown = repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}...{text[-8:]!r}"
    return f"{shown} ({size} bytes)"


def collected_values(
    harness: Harness, collected: CollectionOutcome, core: ResultsManager | None = None
) -> dict[Origin, Any]:
    """Return what arrived by Step and name; a reference as its bytes, or the error of reading them."""
    found: dict[Origin, Any] = {(None, result.name): result.value for result in collected.results}
    for step, results in collected.step_results.items():
        found |= {(step, result.name): result.value for result in results}
    return {origin: _resolved(harness, value, core) for origin, value in found.items()}


def _resolved(harness: Harness, value: Any, core: ResultsManager | None) -> Any:
    if not isinstance(value, Reference):
        return value
    try:
        return b"".join((core or harness.core()).dereference(value, harness.cluster))
    except ResultsError as error:
        return error


def differences(
    harness: Harness,
    sample: SamplePod,
    collected: CollectionOutcome,
    core: ResultsManager | None = None,
    *,
    missing: bool = True,
    damaged: bool = True,
) -> list[str]:
    """Describe each result that differs from what its Step wrote.

    Args:
        harness: Has the backend.
        sample: The pod.
        collected: What arrived of it.
        core: Dereferences references; by default the harness's.
        missing: Whether a missing result is a difference.
        damaged: Whether the data was damaged: then a reference that raises an error of resultsfw is no
            difference.
    """
    found = collected_values(harness, collected, core)
    expected = sample.expected
    contents = {write.origin: write.content for write in sample.writes}
    found_differences = []
    for origin in [*expected, *(other for other in found if other not in expected)]:
        came = found.get(origin)
        if isinstance(came, ResultsError):
            if not damaged:
                found_differences.append(f"{label(origin[1], origin[0])}: its reference raises {came}")
            continue
        if came is None and not missing:
            continue
        # Behind a reference are the bytes themselves, whatever type they are declared as.
        wanted = contents[origin] if isinstance(came, bytes) else expected.get(origin)
        if came != wanted:
            found_differences.append(
                f"{label(origin[1], origin[0])}: written {abbreviate(wanted)}, arrived {abbreviate(came)}"
            )
    return found_differences


def describe_problems(collected: CollectionOutcome) -> str:
    """Describe the problems of an outcome."""
    return "; ".join(f"{problem.code}: {problem.message}" for problem in collected.problems) or "no problem"


def assert_intact(
    guarantee: str, harness: Harness, sample: SamplePod, outcome: Outcome, core: ResultsManager | None = None
) -> CollectionOutcome:
    """Fail unless everything that was written arrived, and nothing else."""
    collected = assert_collected(guarantee, outcome)
    if wrong := differences(harness, sample, collected, core, damaged=False):
        fail(guarantee, f"{'; '.join(wrong)} [{describe_problems(collected)}]")
    if not collected.ok:
        fail(guarantee, f"all arrived, and still the run does not succeed: {describe_problems(collected)}")
    return collected


def assert_result_intact(
    guarantee: str, harness: Harness, sample: SamplePod, outcome: Outcome, origin: Origin
) -> None:
    """Fail unless that one result arrived as it was written; the other results do not matter."""
    collected = assert_collected(guarantee, outcome)
    for difference in differences(harness, sample, collected, damaged=False):
        if difference.startswith(f"{label(origin[1], origin[0])}: "):
            fail(guarantee, f"{difference} [{describe_problems(collected)}]")


def assert_collected(guarantee: str, outcome: Outcome) -> CollectionOutcome:
    """Return the outcome of a pod that has ended; fail if there is none."""
    if outcome.collected is None:
        fail(
            guarantee,
            f"no verdict over a pod that has ended: {type(outcome.error).__name__}: {outcome.error}",
        )
    return outcome.collected


def problems_of(collected: CollectionOutcome, origin: Origin) -> list[Any]:
    """Return the problems that name that result."""
    step, name = origin
    return [problem for problem in collected.problems if problem.result == name and problem.step == step]


def leaks(outcomes: Iterable[Outcome]) -> list[str]:
    """Return the messages that contain a value; there must be none."""
    return [text for outcome in outcomes for text in outcome.output if VALUE_MARK in text]
