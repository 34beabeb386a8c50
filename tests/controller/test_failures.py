"""Runs that cannot be reconciled are marked as failed; those that stall a worker are reported first."""

import asyncio
import json
import threading
from datetime import UTC, datetime
from functools import partial

import pytest
from controllerharness import MANAGED_BY, condition, taskrun
from taskrunharness import TaskRunHarness

from resultsfw.cluster import PODS, UNREADABLE
from resultsfw.controller.cache_transforms import TaskRunTransform, trim_pipelinerun
from resultsfw.controller.controller import MAX_FAILURES
from resultsfw.controller.failures import STALLED_ANNOTATION, Failure, RunFailer, stalls_of
from resultsfw.controller.metrics import Metrics
from resultsfw.controller.ownership import RunSelector, managed_by
from resultsfw.controller.unreadable import defect_of, stub
from resultsfw.controller.watchdog import Watchdog
from resultsfw.errors import (
    BackendError,
    ClusterError,
    ConflictError,
    ObjectTooLargeError,
    UnavailableError,
    UnreadableObjectError,
)
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Raises:
    """A reconciler that raises an error, or blocks its worker until it may continue."""

    def __init__(self, error=None):
        self.error = error
        self.calls = 0
        self.changed = threading.Condition()
        self.begun, self.go = threading.Event(), threading.Event()

    def wait_for(self, calls):
        with self.changed:
            assert self.changed.wait_for(lambda: self.calls >= calls, 60)

    def reconcile(self, _namespace, _name):
        with self.changed:
            self.calls += 1
            self.changed.notify_all()
        if self.error is not None:
            raise self.error
        self.begun.set()
        self.go.wait(30)


def seen(name="bad", **status):
    run = taskrun(name)
    run["metadata"] |= {"resourceVersion": "1", "uid": "u"}
    return {**run, "status": status}


@pytest.fixture
def controller():
    """A controller that retries after a millisecond."""
    one = TaskRunHarness(max_delay=0.001)
    one.ended = []
    one.over = threading.Event()

    def mark_failed(request, failure, message):
        one.ended.append((request, failure, message))
        one.over.set()
        return True

    one.mark_failed = mark_failed
    yield one
    one.queue.shut_down_with_drain(5)


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (AttributeError("no"), MAX_FAILURES),
        (KeyError("spec"), MAX_FAILURES),
        (MemoryError(), MAX_FAILURES),
        (SystemExit(3), MAX_FAILURES),
        (asyncio.CancelledError(), MAX_FAILURES),
        (BackendError("no"), MAX_FAILURES),
        (ClusterError("422"), MAX_FAILURES),
        (RecursionError("too deep"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_run_is_marked_as_failed_after_repeated_errors(controller, error, calls):
    controller.reconciler = Raises(error)
    controller.on_taskrun("ADDED", seen())
    controller.start()
    assert controller.over.wait(60)
    [(key, failure, message)] = controller.ended
    assert (key, failure) == (("runs", "bad"), Failure.FAULT)
    assert (type(error).__name__ in message) or error.message in message
    assert controller.reconciler.calls == calls
    assert controller.controller.is_healthy


def test_retryable_errors_are_retried_for_ever(controller):
    controller.reconciler = Raises(UnavailableError("away"))
    controller.on_taskrun("ADDED", seen())
    controller.start()
    controller.reconciler.wait_for(3 * MAX_FAILURES)
    assert controller.controller.is_healthy
    assert controller.ended == []


def test_a_retry_comes_at_the_runs_deadline_if_that_is_earlier_than_the_backoff(controller, monkeypatch):
    monkeypatch.setattr("resultsfw.workqueue.BASE_DELAY", 3600.0)
    monkeypatch.setattr(controller.queue, "_max_delay", 3600.0)
    monkeypatch.setattr(controller.queue, "_jitter", 0.0)
    error = UnavailableError("away")
    error.retry_within = 0.001
    controller.reconciler = Raises(error)
    controller.on_taskrun("ADDED", seen())
    controller.start()
    controller.reconciler.wait_for(3)
    assert controller.controller.is_healthy
    assert controller.ended == []


def test_retryable_errors_reset_the_count_of_other_failures(controller):
    errors = [UnavailableError("away")] * 2 * MAX_FAILURES
    errors += [KeyError("x")] * (MAX_FAILURES - 1) + [UnavailableError("away")]
    errors += [KeyError("x")] * (MAX_FAILURES - 1)
    reconciler = Raises()
    over = threading.Event()

    def reconcile(_namespace, _name):
        if errors:
            raise errors.pop(0)
        over.set()

    reconciler.reconcile = reconcile
    controller.reconciler = reconciler
    controller.on_taskrun("ADDED", seen())
    controller.start()
    assert over.wait(60)
    assert controller.ended == []


def test_a_run_whose_task_cannot_be_decoded_is_marked_as_failed_at_once(controller):
    controller.reconciler = Raises(UnreadableObjectError("Task runs/t is unreadable"))
    controller.on_taskrun("ADDED", seen())
    controller.start()
    assert controller.over.wait(60)
    [(_, failure, message)] = controller.ended
    assert failure is Failure.UNREADABLE
    assert "Task runs/t" in message
    assert controller.reconciler.calls == 1


def test_a_run_that_cannot_be_decoded_is_marked_as_failed_and_not_reconciled(controller):
    controller.reconciler = Raises()
    controller.on_taskrun("ADDED", {**seen(), UNREADABLE: "it is nested"})
    controller.start()
    assert controller.over.wait(60)
    assert "it is nested" in controller.ended[0][2]
    assert controller.reconciler.calls == 0


def test_marking_as_failed_is_retried_after_conflicts_and_errors(controller):
    answers = [ConflictError("c"), UnavailableError("u"), ValueError("v"), False]

    def mark_failed(request, failure, message):
        if answers:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        controller.over.set()
        return True

    controller.mark_failed = mark_failed
    controller.reconciler = Raises(RecursionError())
    controller.on_taskrun("ADDED", seen())
    controller.start()
    assert controller.over.wait(60)


# Ending.


def a_failer(kind=TASKRUNS, store=None):
    store = store or Store()

    def cached(namespace, name):
        return next((one for one in store.list(kind, namespace) if one["metadata"]["name"] == name), None)

    return store, RunFailer(store, kind, cached=cached, clock=lambda: NOW)


def test_marking_a_taskrun_as_failed_deletes_its_pod():
    store, failer = a_failer()
    run = store.create(TASKRUNS, taskrun("bad"))
    owner = {"kind": "TaskRun", "name": "bad", "uid": run["metadata"]["uid"]}
    store.create(PODS, {"metadata": {"name": "bad-pod", "namespace": "runs", "ownerReferences": [owner]}})
    store.create(PODS, {"metadata": {"name": "other-pod", "namespace": "runs"}})
    assert failer.mark_failed(("runs", "bad"), Failure.UNREADABLE, "why" * 1000)
    status = store.get(TASKRUNS, "runs", "bad")["status"]
    assert condition({"status": status})["reason"] == "TaskRunValidationFailed"
    assert len(condition({"status": status})["message"]) <= 1000
    assert (status["startTime"], status["completionTime"], status["podName"]) == (
        "2026-01-02T00:00:00Z",
        "2026-01-02T00:00:00Z",
        "",
    )
    assert [one["metadata"]["name"] for one in store.list(PODS)] == ["other-pod"]


def test_a_finished_unknown_or_deleted_run_is_not_marked_as_failed():
    store, failer = a_failer()
    assert not failer.mark_failed(("runs", "gone"), Failure.FAULT, "why")
    store.create(TASKRUNS, taskrun("over"))
    store.patch(
        *(TASKRUNS, "runs", "over", {"status": {"conditions": [{"type": "Succeeded", "status": "True"}]}}),
        subresource="status",
    )
    assert not failer.mark_failed(("runs", "over"), Failure.FAULT, "why")
    held = taskrun("goes")
    held["metadata"]["finalizers"] = ["a/b"]
    store.create(TASKRUNS, held)
    store.delete(TASKRUNS, "runs", "goes")
    assert not failer.mark_failed(("runs", "goes"), Failure.FAULT, "why")


def test_marking_a_pipelinerun_as_failed_cancels_its_own_taskruns():
    store = Store()
    _, failer = a_failer(PIPELINERUNS, store)
    metadata = {"name": "p", "namespace": "runs"}
    run = store.create(PIPELINERUNS, {"metadata": metadata, "spec": {"managedBy": MANAGED_BY}})
    mine = taskrun("p-a")
    mine["metadata"]["ownerReferences"] = [
        {"kind": "PipelineRun", "name": "p", "uid": run["metadata"]["uid"]}
    ]
    store.create(TASKRUNS, mine)
    store.create(TASKRUNS, taskrun("others"))
    children = [{"kind": "TaskRun", "name": name} for name in ("p-a", "others", "gone")]
    store.patch(
        PIPELINERUNS,
        "runs",
        "p",
        {"status": {"childReferences": [{"kind": "Run"}, *children]}},
        subresource="status",
    )
    assert failer.mark_failed(("runs", "p"), Failure.FAULT, "why")
    assert condition(store.get(PIPELINERUNS, "runs", "p"))["reason"] == "PipelineRunReconcileFailed"
    assert store.get(TASKRUNS, "runs", "p-a")["spec"]["status"] == "TaskRunCancelled"
    assert "status" not in store.get(TASKRUNS, "runs", "others")["spec"]


def test_a_run_too_large_to_be_written_is_marked_as_failed_without_its_spec_in_the_status():
    class Full(Store):
        def patch(self, kind, namespace, name, patch, *, subresource=""):
            if subresource and "taskSpec" not in patch["status"]:
                raise ObjectTooLargeError("full")
            return super().patch(kind, namespace, name, patch, subresource=subresource)

    store, failer = a_failer(store=Full())
    store.create(TASKRUNS, taskrun("bad"))
    assert failer.mark_failed(("runs", "bad"), Failure.FAULT, "why")
    assert condition(store.get(TASKRUNS, "runs", "bad"))["status"] == "False"


def test_the_first_stalled_process_annotates_the_run_and_the_second_marks_it_as_failed():
    store, failer = a_failer()
    store.create(TASKRUNS, taskrun("bad"))
    failer.record_stall(("runs", "bad"), "stalled")
    noted = store.get(TASKRUNS, "runs", "bad")
    assert noted["metadata"]["annotations"] == {STALLED_ANNOTATION: "1"}
    assert not noted.get("status")
    failer.record_stall(("runs", "bad"), "stalled")
    assert condition(store.get(TASKRUNS, "runs", "bad"))["reason"] == "TaskRunReconcileFailed"
    failer.record_stall(("runs", "bad"), "stalled")
    failer.record_stall(("runs", "gone"), "stalled")


@pytest.mark.parametrize("text", ["", "x", "-1", "٣", "9" * 5000, "1.5", 5, None])
def test_an_invalid_stalled_annotation_counts_as_zero(text):
    assert stalls_of({"metadata": {"annotations": {STALLED_ANNOTATION: text}}}) == 0


def test_a_run_that_stalled_another_process_is_delayed_behind_others(controller):
    bad = seen()
    bad["metadata"]["annotations"] = {STALLED_ANNOTATION: "1"}
    controller.on_taskrun("ADDED", bad)
    controller.on_taskrun("ADDED", seen("good"))
    assert controller.queue.get(0) == ("runs", "good")
    assert (len(controller.queue), controller.queue.delayed) == (0, 1)
    controller.queue.done(("runs", "good"))


# The watchdog.


def test_a_stalled_worker_is_reported_in_log_metric_and_health(controller, caplog):
    controller.reconciler = Raises()
    controller.on_taskrun("ADDED", seen())
    controller.start()
    assert controller.reconciler.begun.wait(30)
    noted = []
    metrics = Metrics([])
    watchdog = Watchdog(
        {"TaskRun": controller.controller},
        {"TaskRun": lambda key, message: noted.append((key, message))},
        metrics,
        seconds=-1,
    )
    assert watchdog.stalled() == ["TaskRun runs/bad"]
    watchdog.check()
    watchdog.check()
    assert [key for key, _ in noted] == [("runs", "bad")]
    assert "TaskRun runs/bad: a worker has been reconciling it" in caplog.text
    assert "reconcile" in caplog.text, "where it is"
    shown = 'resultsfw_stalled_run_seconds{kind="TaskRun",name="bad",namespace="runs"}'
    assert shown in metrics.text().decode()
    controller.reconciler.go.set()
    controller.queue.shut_down_with_drain(30)
    watchdog.check()
    assert watchdog.stalled() == []
    assert shown not in metrics.text().decode()


def test_a_worker_within_its_time_is_not_stalled(controller):
    controller.reconciler = Raises()
    controller.on_taskrun("ADDED", seen())
    controller.start()
    assert controller.reconciler.begun.wait(30)
    assert Watchdog({"TaskRun": controller.controller}, {}, Metrics([]), seconds=3600).stalled() == []
    controller.reconciler.go.set()


@pytest.mark.parametrize("error", [UnavailableError("away"), RuntimeError("broken")])
def test_the_watchdog_survives_errors_while_recording_a_stall(controller, error, caplog):
    controller.reconciler = Raises()
    controller.on_taskrun("ADDED", seen())
    controller.start()
    assert controller.reconciler.begun.wait(30)
    tried = threading.Event()

    def note(_key, _message):
        tried.set()
        raise error

    watchdog = Watchdog({"TaskRun": controller.controller}, {"TaskRun": note}, Metrics([]), seconds=0.01)
    watchdog.start()
    assert tried.wait(30)
    assert watchdog._thread.is_alive()
    watchdog.close()
    controller.reconciler.go.set()


# Shapes.


@pytest.mark.parametrize("spec", [None, [], "x", 5, True])
def test_a_run_whose_spec_is_not_an_object_has_a_defect(spec):
    run = {"metadata": {"name": "a", "namespace": "n"}, "spec": spec}
    assert managed_by(run) == ""
    assert defect_of(run) == "its spec is not an object"
    everything = RunSelector("")
    for trim in (TaskRunTransform(everything), partial(trim_pipelinerun, everything)):
        assert trim(run)[UNREADABLE]


@pytest.mark.parametrize("status", [[], "x", {"conditions": "x"}, {"conditions": [None]}, {"conditions": {}}])
def test_a_run_whose_status_is_malformed_has_a_defect_and_can_be_cached(status):
    run = {**seen(), "status": status}
    assert defect_of(run)
    held = stub(run, "why")
    assert held["status"].get("conditions") is None
    json.dumps(held)


@pytest.mark.parametrize("mark", [{"a": 1}, 5, [], None])
def test_an_unreadable_mark_of_another_type_that_a_tenant_wrote_is_ignored(mark):
    assert defect_of({**seen(), UNREADABLE: mark}) == ""


def test_the_number_of_reasons_in_labels_is_limited():
    metrics = Metrics([])
    old = {"status": "Unknown"}
    for number in range(300):
        letters = "".join(chr(97 + int(digit)) for digit in str(number))
        ended = {"type": "Succeeded", "status": "False", "reason": f"Mine{letters}"}
        metrics.runs.on_taskrun_condition(old, {"metadata": {}, "status": {"conditions": [ended]}})
        metrics.runs.on_pipelinerun_condition(
            old, {"metadata": {}, "status": {"conditions": [{**ended, "reason": "é" * 9}]}}
        )
    text = metrics.text().decode()
    lines = [line for line in text.splitlines() if line.startswith("resultsfw_taskrun_total")]
    assert len(lines) == 101
