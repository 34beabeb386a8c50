"""Events are written once, truncated, best effort."""

import threading

import pytest

from resultsfw.controller.events import Event, EventWriter, pipelinerun_events, taskrun_event, truncate
from resultsfw.controller.metrics import Metrics
from resultsfw.errors import ForbiddenError

TASKRUN = {
    "apiVersion": "tekton.dev/v1",
    "kind": "TaskRun",
    "metadata": {"namespace": "n", "name": "r", "uid": "u", "resourceVersion": "3"},
}
UNKNOWN = {"status": "Unknown", "reason": "Running"}
RUN_PENDING = {"status": "Unknown", "reason": "TaskRunPending"}


def end(status, message="m"):
    return {"type": "Succeeded", "status": status, "reason": "X", "message": message}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({}, UNKNOWN, ("Normal", "Started")),
        (UNKNOWN, {"status": "Unknown", "reason": "Pending"}, None),
        ({}, RUN_PENDING, None),
        (RUN_PENDING, {"status": "Unknown", "reason": "Pending"}, ("Normal", "Started")),
        (UNKNOWN, end("True"), ("Normal", "Succeeded")),
        (UNKNOWN, end("False"), ("Warning", "Failed")),
        ({}, end("False"), ("Warning", "Failed")),
        (end("True"), end("True", "other"), None),
        (end("False"), end("True"), None),
        (UNKNOWN, {}, None),
    ],
)
def test_a_change_of_the_condition_has_tektons_event(old, new, told):
    notice = taskrun_event(old, new)
    assert (notice and (notice.type, notice.reason)) == told


def test_a_message_is_truncated_to_the_limit_of_an_event():
    assert truncate("x" * 1024) == "x" * 1024
    assert truncate("x" * 1025) == "x" * 1021 + "..."
    assert len(truncate("é" * 1000).encode()) <= 1024
    assert taskrun_event(UNKNOWN, end("False", "é" * 2000)).message.endswith("é...")


def test_events_are_written_in_order_with_their_objects():
    seen, done = [], threading.Event()

    def post(obj, notice):
        seen.append((obj["metadata"]["uid"], obj["kind"], notice.reason))
        if len(seen) == 2:
            done.set()

    events = EventWriter(post, Metrics([]))
    events.on_taskrun_condition({}, {**TASKRUN, "status": {"conditions": [{"type": "Succeeded", **UNKNOWN}]}})
    events.on_taskrun_condition(UNKNOWN, {**TASKRUN, "status": {"conditions": [end("True")]}})
    assert done.wait(5)
    events.close(5)
    assert seen == [("u", "TaskRun", "Started"), ("u", "TaskRun", "Succeeded")]


@pytest.mark.parametrize("error", [ForbiddenError("no"), RuntimeError("bug")])
def test_an_event_that_cannot_be_written_is_counted_and_the_next_is_written(error, caplog):
    seen = []

    def post(obj, notice):
        if notice.reason == "A":
            raise error
        seen.append(notice.reason)

    metrics = Metrics([])
    events = EventWriter(post, metrics)
    events.send(TASKRUN, Event("Normal", "A", ""))
    events.send(TASKRUN, Event("Normal", "B", ""))
    events.close(5)
    assert seen == ["B"]
    assert metrics.events_dropped._value.get() == 1


def test_too_many_events_are_dropped_and_senders_do_not_wait(monkeypatch):
    monkeypatch.setattr("resultsfw.controller.events._MAX_QUEUED", 2)
    block = threading.Event()
    metrics = Metrics([])
    events = EventWriter(lambda *_: block.wait(5), metrics)
    for _ in range(10):
        events.send(TASKRUN, Event("Normal", "A", ""))
    assert metrics.events_dropped._value.get() >= 7
    block.set()
    events.close(5)


def stage(reason, message="m", status="Unknown"):
    return {"type": "Succeeded", "status": status, "reason": reason, "message": message}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({}, stage("Running", "0"), [("Normal", "Started", ""), ("Normal", "Running", "0")]),
        ({}, stage("PipelineRunPending"), [("Normal", "Started", "")]),
        ({}, stage("Started", ""), [("Normal", "Started", "")]),
        (stage("Started", ""), stage("Running", "0"), [("Normal", "Running", "0")]),
        (stage("PipelineRunPending"), stage("Running"), [("Normal", "Running", "m")]),
        (stage("Running", "0"), stage("Running", "1"), [("Normal", "Running", "1")]),
        (stage("Running"), stage("Running"), []),
        (
            stage("Running"),
            stage("CancelledRunningFinally", "1"),
            [("Normal", "CancelledRunningFinally", "1")],
        ),
        ({"type": "Succeeded", "status": "Unknown"}, stage("Running"), []),
        ({}, stage("X", status="False"), [("Normal", "Started", ""), ("Warning", "Failed", "m")]),
        (stage("Running"), stage("Succeeded", status="True"), [("Normal", "Succeeded", "m")]),
        (stage("X", status="False"), stage("X", "other", status="False"), []),
    ],
)
def test_each_stage_of_a_pipelinerun_has_tektons_event(old, new, told):
    assert [(one.type, one.reason, one.message) for one in pipelinerun_events(old, new)] == told
