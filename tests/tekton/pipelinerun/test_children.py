"""The children of a Pipeline Task: names as Tekton's, and their state together."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.children import (
    end_of,
    names_of,
    reason_of,
    running_of,
    verdict_of,
    was_cancelled,
    was_ended_for_time,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _child(status: str = "", reason: str = "r", *, after: int = 0, spec: Any = None) -> dict[str, Any]:
    conditions = [condition(status, reason, "", NOW + timedelta(seconds=after))] if status else []
    return {"metadata": {"name": "c"}, "spec": spec or {}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("statuses", "together"),
    [
        ([], ""),
        ([""], "Unknown"),
        (["Unknown"], "Unknown"),
        (["True"], "True"),
        (["False"], "False"),
        (["True", "True"], "True"),
        (["True", "False"], "False"),
        (["False", ""], "Unknown"),
        (["False", "Unknown", "True"], "Unknown"),
    ],
)
def test_children_end_together(statuses: list[str], together: str) -> None:
    assert verdict_of(tuple(map(_child, statuses))) == together


def test_the_reason_is_the_first_failed_ones() -> None:
    assert reason_of(()) == ""
    assert reason_of((_child("True", "Succeeded"),)) == "Succeeded"
    assert reason_of((_child("True", "Succeeded"), _child("False", "Broken"))) == "Broken"
    assert reason_of((_child(), _child("True", "Succeeded"))) == "Succeeded"


def test_children_end_with_the_last_of_them() -> None:
    ended = (_child("True", after=5), _child("False", after=9), _child("Unknown", after=20), _child())
    assert end_of(ended) == NOW + timedelta(seconds=9)
    assert end_of(()) is None


def test_a_cancelled_child_is_asked_only_once() -> None:
    asked = _child("Unknown", spec={"status": "TaskRunCancelled"})
    running = _child("Unknown")
    assert running_of((_child("True"), asked, running)) == [running]


def test_cancelled_children() -> None:
    late = {"status": "TaskRunCancelled", "statusMessage": reasons.CHILD_TIMED_OUT}
    assert was_cancelled((_child("True"), _child("False", "TaskRunCancelled")))
    assert not was_cancelled((_child("True", "TaskRunCancelled"), _child("False", "Failed")))
    assert was_ended_for_time((_child(), _child(spec=late)))
    assert not was_ended_for_time((_child(),))


def test_names_are_tektons() -> None:
    assert names_of("run", "task") == ("run-task",)
    assert names_of("run", "task", 3) == ("run-task-0", "run-task-1", "run-task-2")
    assert names_of("run", "task", 0) == ()


NAMES = st.text("abcdefghij-0123456789", min_size=1, max_size=253)


@given(NAMES, NAMES, st.integers(1, 300))
def test_names_are_different_and_not_too_long(pipelinerun: str, task: str, count: int) -> None:
    names = names_of(pipelinerun, task, count)
    assert len(set(names)) == len(names) == count
    assert max(map(len, names)) <= 63
