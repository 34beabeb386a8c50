"""The state of the controller names runs, and contains nothing of what is in them."""

import json
import threading

from controllerharness import taskrun
from taskrunharness import TaskRunHarness

from resultsfw.cluster import PODS
from resultsfw.controller.debug_state import DebugState
from resultsfw.flags import parse_flags
from resultsfw.kube import Connection, Reflector


class Elector:
    leader = "replica-1"
    lease_age = 1.23456


def test_the_state_has_workers_queues_caches_flags_and_the_lease():
    taskruns = TaskRunHarness()
    entered, go = threading.Event(), threading.Event()

    class Blocked:
        def reconcile(self, _namespace, _name):
            entered.set()
            go.wait(10)

    taskruns.reconciler = Blocked()
    for number in range(15):
        run = taskrun(f"r{number:02}")
        run["spec"]["params"] = [{"name": "password", "value": "hunter2"}]
        taskruns.on_taskrun("ADDED", run)
    flags = parse_flags({"extensions": "redact", "config.http": "{url: 'https://user:hunter2@host', ca: x}"})
    cache = Reflector(Connection.__new__(Connection), PODS, on_change=lambda *_: None)
    debug = DebugState({"TaskRun": taskruns.controller}, [cache], lambda: flags, lambda: True)
    assert debug()["leader"] == {"isLeader": True, "lease": {}}
    debug.elector = Elector()
    taskruns.start()
    try:
        assert entered.wait(10)
        state = debug()
    finally:
        go.set()
        taskruns.queue.shut_down_with_drain(5)
    assert "hunter2" not in json.dumps(state)
    assert state["leader"] == {"isLeader": True, "lease": {"holder": "replica-1", "seconds": 1.235}}
    assert state["flags"]["config"] == {"http": ["ca", "url"]}
    assert state["flags"]["extensions"] == ["redact"]
    [worker] = state["workers"]
    assert (worker["kind"], worker["namespace"], worker["name"]) == ("TaskRun", "runs", "r00")
    assert worker["seconds"] >= 0
    assert any("Blocked.reconcile" in frame for frame in worker["stack"])
    [queue] = state["queues"]
    assert (queue["ready"], queue["processing"], queue["workers"]) == (14, 1, 1)
    assert [run["name"] for run in queue["oldest"]] == [f"r{number:02}" for number in range(1, 11)]
    [pods] = state["caches"]
    assert (pods["resource"], pods["synced"], pods["alive"], pods["objects"]) == ("pods", False, False, 0)
    assert (pods["secondsSinceEvent"], pods["restarts"]) == (None, {})
    assert {thread["name"] for thread in state["threads"]}.isdisjoint({"worker-0"})


def test_there_are_no_flags_before_the_first():
    assert DebugState({}, [], lambda: None, lambda: False)()["flags"] == {}
