"""Whole processes: the run of a good tenant ends while a hostile object is there, whoever leads."""

import signal

import hostile
import pytest
from controllerroom import MANAGED_BY, NAMESPACE, condition
from pluginsite import Site

from resultsfw.cluster import Kind
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease")
LIMITS = {"RLIMIT_AS": 4 << 30, "RLIMIT_CPU": 300}
QUICK = {"lease_seconds": 6, "renew_deadline": 4}
PATIENCE = 180
"""Seconds that nothing here comes near, on an idle machine."""

_GOOD = {"name": "one", "image": "i", "script": "printf x > $(results.digest.path)"}

_REASONS = ("TaskRunValidationFailed", "PipelineValidationFailed", "TaskRunResolutionFailed")
"""Of a run that is unreadable itself, or whose Task is."""


def create(room, objects):
    for kind, obj in objects:
        room.store.create(kind, obj)


def good(room, number):
    """A good tenant's TaskRun and PipelineRun."""
    room.create(f"good{number}")
    task = {"results": [{"name": "digest"}], "steps": [_GOOD]}
    spec = {"managedBy": MANAGED_BY, "pipelineSpec": {"tasks": [{"name": "a", "taskSpec": task}]}}
    name = f"good-pipeline{number}"
    room.store.create(PIPELINERUNS, {"metadata": {"name": name, "namespace": "runs"}, "spec": spec})


def ended_well(room, number):
    pipelinerun = room.store.get(PIPELINERUNS, "runs", f"good-pipeline{number}")
    return all(condition(run).get("status") == "True" for run in (room.run(f"good{number}"), pipelinerun))


def bad(room):
    return [one for kind in (TASKRUNS, PIPELINERUNS) for one in room.store.list(kind, "bad")]


def refused(room):
    """Whether every hostile run of ours was ended by name."""
    return all(condition(one).get("status") == "False" for one in bad(room))


def two_replicas(room, objects, so):
    """The good tenant's runs end before and after the leader dies, and the hostile ones are ``so``."""
    room.server.splices.update(hostile.SPLICES)
    create(room, objects)
    leader = room.start(limits=LIMITS, **QUICK)
    leader.wait_for("this replica is the leader", PATIENCE)
    standby = room.start(limits=LIMITS, **QUICK)
    good(room, 1)
    room.until(lambda: ended_well(room, 1), PATIENCE)
    room.until(lambda: so(room), PATIENCE)
    standby.wait_for("caches synced", PATIENCE)
    leader.signal(signal.SIGKILL)
    standby.wait_for("this replica is the leader", PATIENCE)
    good(room, 2)
    room.until(lambda: ended_well(room, 2), PATIENCE)
    assert standby.process.poll() is None
    assert standby.page("/healthz") == (200, "ok\n")
    return leader, standby


@pytest.mark.parametrize("objects", hostile.UNREADABLE.values(), ids=hostile.UNREADABLE)
def test_an_object_that_cannot_be_worked_on_is_ended_by_name_and_costs_nobody_else(room, objects):
    two_replicas(room, objects, refused)
    for one in bad(room):
        assert condition(one)["reason"] in _REASONS
        assert one["status"]["completionTime"]


@pytest.mark.parametrize("objects", hostile.FOREIGN.values(), ids=hostile.FOREIGN)
def test_an_object_of_somebody_else_that_cannot_be_worked_on_is_left_alone(room, objects):
    two_replicas(room, objects, lambda _: True)
    assert not any(one.get("status") for one in bad(room))


def test_an_object_that_cannot_be_decoded_is_named_in_the_log_and_counted(room):
    leader, standby = two_replicas(
        room, hostile.FOREIGN["a PipelineRun of another controller"], lambda _: True
    )
    for process in (leader, standby):
        assert (
            "PipelineRun bad/bad cannot be worked on: it is nested"
            in process.wait_for("nested in")["message"]
        )
    metrics = standby.page("/metrics")[1]
    assert 'resultsfw_unreadable_objects{kind="pipelineruns"} 1.0' in metrics
    assert 'resultsfw_unreadable_objects{kind="taskruns"} 0.0' in metrics
    room.store.delete(PIPELINERUNS, "bad", "bad")
    good(room, 3)
    room.until(lambda: ended_well(room, 3), PATIENCE)
    assert 'resultsfw_unreadable_objects{kind="pipelineruns"} 0.0' in standby.page("/metrics")[1]


def test_an_object_becomes_unreadable_while_it_is_watched(room):
    process = room.start("--no-leader-elect", limits=LIMITS)
    process.wait_for("this replica is the leader", PATIENCE)
    room.server.splices.update(hostile.SPLICES)
    for objects in (*hostile.UNREADABLE.values(), *hostile.FOREIGN.values()):
        create(room, objects[:1])
        for kind, obj in objects[:1]:
            room.store.patch(kind, "bad", obj["metadata"]["name"], {"metadata": {"labels": {"a": "b"}}})
            room.store.delete(kind, "bad", obj["metadata"]["name"])
    good(room, 1)
    room.until(lambda: ended_well(room, 1), PATIENCE)
    restarts = [line for line in process.page("/metrics")[1].splitlines() if "watch_restarts_total{" in line]
    assert not restarts, restarts


@pytest.mark.parametrize("name", hostile.SUBSTITUTION)
def test_substitution_of_a_hostile_run_costs_nobody_else(room, name):
    grows = any(word in name for word in ("grow", "8,000", "elements"))
    two_replicas(
        room,
        hostile.SUBSTITUTION[name],
        refused if grows else lambda room: all(one.get("status") for one in bad(room)),
    )
    if grows:
        for one in bad(room):
            assert "over the limit of 1572864 bytes" in condition(one)["message"]


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Where a backend leaves word that it was imported, before it ends its process."""
    folder, word = tmp_path / "site", tmp_path / "imported"
    folder.mkdir()
    site = Site(folder)
    site.backend("hostile", f"import os, pathlib\npathlib.Path({str(word)!r}).touch()\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return word


@pytest.mark.parametrize("objects", hostile.BACKENDS.values(), ids=hostile.BACKENDS)
def test_a_text_that_names_a_backend_no_flag_allows_imports_nothing(room, objects, imported):
    for kind, obj in objects:
        room.server.splices.update(hostile.SPLICES)
        room.store.create(kind, obj)
    if any("finalizers" in obj["metadata"] for _, obj in objects):
        room.store.delete(TASKRUNS, "bad", "bad")
        so = lambda room: not bad(room)  # noqa: E731
    else:
        so = lambda room: all(condition(one).get("status") in ("True", "False") for one in bad(room))  # noqa: E731
    process = room.start("--no-leader-elect", limits=LIMITS)
    process.wait_for("this replica is the leader", PATIENCE)
    room.until(lambda: so(room), PATIENCE)
    good(room, 1)
    room.until(lambda: ended_well(room, 1), PATIENCE)
    assert not imported.exists()
    assert process.process.poll() is None


def test_the_lease_is_the_leaders_all_the_time(room):
    two_replicas(room, [one for rows in hostile.UNREADABLE.values() for one in rows[:1]][:1], refused)
    assert room.store.get(LEASES, NAMESPACE, "resultsfw-controller")["spec"]["leaseTransitions"] == 1


STALLING = """
import time
from resultsfw import Capabilities, Extraction, ExtractedResult, hookimpl

capabilities = Capabilities(summary="does not come back for one run")

@hookimpl
def prepare_pod(run, pod):
    while run.namespace == "bad":
        time.sleep(0.05)
    return 0

@hookimpl
def pod_ready(pod):
    return pod["status"]["phase"] == "Succeeded"

@hookimpl
def extract(run, pod):
    return Extraction(found=(ExtractedResult(name="digest", value=pod["metadata"]["name"], source="s"),))
"""


def test_a_run_that_stalls_a_worker_turns_the_health_red_is_named_and_stalls_no_third_process(
    room, tmp_path, monkeypatch
):
    folder = tmp_path / "site"
    folder.mkdir()
    Site(folder).backend("stalling", STALLING)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    room.flags(results_from="stalling")
    create(room, [hostile.taskrun(results=[{"name": "digest"}])])
    first = room.start(stalled_after=4, leader_elect=False)
    said = first.wait_for("TaskRun bad/bad: a worker has been reconciling it for more than 4 s", PATIENCE)
    assert "prepare_pod" in said["message"], "where it is"
    status, text = first.page("/healthz")
    assert (status, text) == (503, "a worker is stalled by TaskRun bad/bad\n")
    shown = 'resultsfw_stalled_run_seconds{kind="TaskRun",name="bad",namespace="bad"}'
    assert shown in first.page("/metrics")[1]
    good(room, 1)
    room.until(lambda: ended_well(room, 1), PATIENCE)
    noted = {"resultsfw.dev/stalled": "1"}
    room.until(lambda: bad(room)[0]["metadata"].get("annotations") == noted, PATIENCE)
    first.signal(signal.SIGKILL)  # as the liveness probe does in the end
    second = room.start(stalled_after=4, leader_elect=False)
    second.wait_for("this replica is the leader", PATIENCE)
    good(room, 2)
    room.until(lambda: ended_well(room, 2), PATIENCE)
    room.until(lambda: refused(room), PATIENCE)
    (run,) = bad(room)
    assert condition(run)["reason"] == "TaskRunReconcileFailed"
    second.signal(signal.SIGKILL)
    third = room.start(stalled_after=4, leader_elect=False)
    third.wait_for("this replica is the leader", PATIENCE)
    good(room, 3)
    room.until(lambda: ended_well(room, 3), PATIENCE)
    assert third.page("/healthz") == (200, "ok\n")
