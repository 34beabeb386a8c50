"""What watches say of runs, and what a benchmark may not overlook."""

import pytest

from measuring import run_times as module
from measuring.run_times import RunTimes
from measuring.runs import pipelinerun

DONE = {"type": "Succeeded", "status": "True", "reason": "Succeeded"}


@pytest.fixture
def clock(monkeypatch):
    """A second for every event."""
    ticks = iter(range(1000))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(ticks))


def pod(*states):
    containers = [{"name": f"step-{number}", "state": {state: {}}} for number, state in enumerate(states)]
    sidecar = {"name": "sidecar-results", "state": {"running": {}}}
    return {
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"tekton.dev/taskRun": "t"}},
        "status": {"containerStatuses": [sidecar, *containers]} if states else {},
    }


def taskrun(condition=DONE, used="sidecar-logs", managed_by="me", value="xx"):
    return {
        "kind": "TaskRun",
        "metadata": {"name": "t", "labels": {"tekton.dev/pipelineRun": "r"}},
        "spec": {"managedBy": managed_by},
        "status": {
            "conditions": [condition],
            "provenance": {"featureFlags": {"resultExtractionMethod": used}},
            "results": [{"name": "result-0", "value": value}],
        },
    }


def test_times_are_from_the_first_event_that_says_so(clock):
    times = RunTimes("sidecar-logs", 2, "me")
    done = {"kind": "PipelineRun", "metadata": {"name": "r"}, "status": {"conditions": [DONE]}}
    events = [
        pod(),  # 0
        pod("waiting", "waiting"),
        pod("running", "waiting"),  # 2: the first Step runs
        pod("running", "running"),
        pod("terminated", "running"),
        pod("terminated", "terminated"),  # 5: the last has ended
        pod("terminated", "terminated"),
        taskrun({**DONE, "status": "Unknown"}),
        taskrun(),  # 8
        taskrun(),
        done,  # 10
        done,
    ]
    for event in events:
        times.event("MODIFIED", event)
    times.event("DELETED", pod())
    assert times.figures() == {
        "start_ms": [2000],
        "status_ms": [3000],
        "pipeline_ms": [2000],
        "wrong": [],
    }


@pytest.mark.parametrize(
    ("run", "wrong"),
    [
        (taskrun(used="termination-message"), "results-from termination-message"),
        (taskrun(managed_by="another"), "spec.managedBy 'another'"),
        (taskrun(value="x"), "1 bytes of results"),
        (
            taskrun({"type": "Succeeded", "status": "False", "reason": "Failed", "message": "no"}),
            "TaskRun Failed: no",
        ),
    ],
)
def test_a_run_that_was_not_as_it_has_to_be_is_told(run, wrong):
    times = RunTimes("sidecar-logs", 2, "me")
    times.event("MODIFIED", run)
    assert times.figures()["wrong"] == [wrong]


def test_runs_that_do_not_end_are_told():
    with pytest.raises(SystemExit, match="only 0 of 1 runs are done"):
        RunTimes().wait(1, 0, pipelines=True)


def test_pods_for_nodes_that_run_nothing_go_there_whatever_the_taints():
    run = pipelinerun("n", "ns", {}, size=200, image="i", managed_by="me", node_selector={"kind": "fake"})
    template = run["spec"]["taskRunTemplate"]["podTemplate"]
    assert template == {"nodeSelector": {"kind": "fake"}, "tolerations": [{"operator": "Exists"}]}
    assert run["spec"]["managedBy"] == "me"
    assert "managedBy" not in pipelinerun("n", "ns", {}, size=200, image="i")["spec"]
