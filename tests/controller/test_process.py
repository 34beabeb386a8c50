"""The controller process against an API server that fails now and then."""

import json
import signal
from datetime import UTC, datetime

import pytest
from controllerharness import NAMESPACE, condition

from resultsfw.cluster import CONFIG_MAPS, EVENTS, PODS, Kind
from resultsfw.tekton.api.kinds import TASKRUNS

pytestmark = pytest.mark.slow

LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease")


def names(count):
    return [f"r{number:02}" for number in range(count)]


def events(harness):
    return sorted(
        (one["involvedObject"]["name"], one["reason"], one["type"])
        for one in harness.store.list(EVENTS)
        if one["involvedObject"]["kind"] == "TaskRun"
    )


def test_runs_succeed_are_counted_and_logged_and_sigterm_releases_the_lease(harness):
    process = harness.start()
    harness.create("before")
    process.wait_for("this replica is the leader")
    harness.create("after", "two")
    harness.create("foreign", managed_by="somebody/else")
    harness.until(lambda: harness.done("before", "after", "two"))
    assert "status" not in harness.run("foreign")
    harness.store.delete(TASKRUNS, "runs", "foreign")
    harness.assert_all_succeeded("before", "after", "two")
    assert process.page("/healthz") == (200, "ok\n")
    assert process.page("/readyz") == (200, "leader\n")
    assert process.page("/else")[0] == 404
    state = json.loads(process.page("/debug")[1])
    assert state["leader"]["isLeader"]
    assert state["flags"]["results-from"] == "termination-message"
    assert {"taskruns", "pods", "pipelineruns"} <= {cache["resource"] for cache in state["caches"]}
    assert all(cache["alive"] for cache in state["caches"] if cache["resource"] == "taskruns")
    assert [queue["kind"] for queue in state["queues"]] == ["TaskRun", "PipelineRun"]
    process.process.send_signal(signal.SIGUSR1)
    process.wait_for('state: leader: {\\"isLeader\\": true')
    text = process.page("/metrics")[1]
    succeeded = 'backend="termination-message",outcome="succeeded",reason="Succeeded"'
    assert f"resultsfw_taskrun_total{{{succeeded}}} 3.0" in text
    assert "resultsfw_is_leader 1.0" in text
    assert 'resultsfw_result_size_bytes_sum{backend="termination-message"} 26.0' in text
    assert process.signal(signal.SIGTERM) == 0
    for name in ("before", "after", "two"):
        assert [one[1:] for one in events(harness) if one[0] == name] == [
            ("Started", "Normal"),
            ("Succeeded", "Normal"),
        ]
    lines = [json.loads(line) for line in process.lines]
    ended = [one for one in lines if one["message"].startswith("run succeeded")]
    assert sorted((one["run"], one["pod"], one["backend"]) for one in ended) == [
        (f"runs/{name}", f"{name}-pod", "termination-message") for name in ("after", "before", "two")
    ]
    assert harness.store.get(LEASES, NAMESPACE, "resultsfw-controller")["spec"]["holderIdentity"] == ""


def test_runs_succeed_although_requests_fail_and_watches_end(harness):
    process = harness.start("--no-leader-elect")
    process.wait_for("this replica is the leader")
    harness.server.faults.fail("PATCH", "/status", 409, 4)
    harness.server.faults.fail("POST", "/pods", 500, 3)
    harness.server.faults.fail("PATCH", "/pods", 500, 2)
    harness.server.faults.fail("POST", "/events", 500, 2)
    harness.kubelet.go.clear()
    harness.create(*names(10))
    harness.until(lambda: len(harness.store.list(PODS)) == 10)
    harness.server.cut()
    harness.kubelet.go.set()
    harness.until(lambda: harness.done(*names(10)))
    harness.assert_all_succeeded(*names(10))
    text = process.page("/metrics")[1]
    assert 'resultsfw_watch_restarts_total{resource="pods"}' in text
    assert 'resultsfw_workqueue_retries_total{kind="TaskRun"} 0.0' not in text
    assert 'resultsfw_reconciles_total{kind="TaskRun",result="bug"} 0.0' in text
    assert process.signal(signal.SIGINT) == 0


def test_a_429_is_retried_and_the_run_succeeds(harness):
    process = harness.start("--no-leader-elect")
    process.wait_for("this replica is the leader")
    harness.server.faults.fail("POST", "/pods", 429, 1)
    harness.create("one")
    harness.until(lambda: harness.done("one"))
    harness.assert_all_succeeded("one")


def test_a_leader_survives_an_api_server_that_is_gone_for_two_thirds_of_the_renew_deadline(harness):
    """Nobody's process ends, nothing is lost.

    Scaled down to four refused renewals of seven, as ten seconds are by default: waiting for time to go by
    would prove no more.
    """
    process = harness.start(lease_seconds=7, renew_deadline=5.25)
    process.wait_for("this replica is the leader")
    harness.kubelet.go.clear()
    harness.create(*names(5))
    harness.until(lambda: all(condition(harness.run(name)).get("reason") == "Running" for name in names(5)))
    harness.server.down()
    harness.create("meanwhile")  # as another server of the same cluster would have it
    harness.kubelet.go.set()
    refused = f"lease {NAMESPACE}/resultsfw-controller: ConnectionRefusedError"
    process.wait_for(refused, times=4, seconds=60)
    assert process.process.poll() is None
    harness.server.up()
    harness.until(lambda: harness.done("meanwhile", *names(5)), seconds=60)
    harness.assert_all_succeeded("meanwhile", *names(5))
    assert process.process.poll() is None


def test_a_new_process_finishes_the_runs_after_a_sigterm(harness):
    first = harness.start()
    first.wait_for("this replica is the leader")
    harness.kubelet.go.clear()
    harness.create(*names(15))
    harness.until(lambda: len(harness.store.list(PODS)) >= 5)
    assert first.signal(signal.SIGTERM) == 0
    first.wait_for("shutting down")
    before = harness.store.list(TASKRUNS)
    harness.kubelet.go.set()
    second = harness.start()
    second.wait_for("this replica is the leader")
    harness.until(lambda: harness.done(*names(15)))
    harness.assert_all_succeeded(*names(15))
    assert len(before) == 15


def test_repeated_sigkills_lose_no_run(harness):
    # Guarantee 4: stopped at any instant and started again, it reaches the same status.
    harness.create(*names(12))
    harness.kubelet.go.clear()
    for pods in (1, 6):
        process = harness.start("--no-leader-elect")
        harness.until(lambda: len(harness.store.list(PODS)) >= pods)  # noqa: B023 - called at once
        process.signal(signal.SIGKILL)
    harness.kubelet.go.set()
    harness.start("--no-leader-elect")
    harness.until(lambda: harness.done(*names(12)))
    harness.assert_all_succeeded(*names(12))


def test_the_standby_takes_over_when_the_leader_is_killed(harness):
    quick = {"lease_seconds": 3, "renew_deadline": 2}
    leader = harness.start(**quick)
    leader.wait_for("this replica is the leader")
    standby = harness.start(**quick)
    standby.wait_for("caches synced")
    assert standby.page("/readyz") == (200, "standby\n")
    harness.kubelet.go.clear()
    harness.create(*names(12))
    harness.until(lambda: len(harness.store.list(PODS)) >= 6)
    leader.signal(signal.SIGKILL)
    harness.kubelet.go.set()
    standby.wait_for("this replica is the leader")
    harness.until(lambda: harness.done(*names(12)))
    harness.assert_all_succeeded(*names(12))
    assert "resultsfw_is_leader 1.0" in standby.page("/metrics")[1]


def test_a_leader_whose_lease_was_taken_exits(harness):
    process = harness.start(lease_seconds=3, renew_deadline=2)
    process.wait_for("this replica is the leader")
    spec = {"holderIdentity": "other", "leaseDurationSeconds": 60, "renewTime": "2026-01-01T00:00:00.0Z"}
    harness.store.patch(LEASES, NAMESPACE, "resultsfw-controller", {"spec": spec})
    assert process.wait() == 1
    process.wait_for("the lease was lost")


def test_a_run_fails_after_the_optional_time_without_a_node(harness):
    """The reconciler looks again by itself: nothing of the pod changes."""
    harness.kubelet.close()
    process = harness.start(
        settings={"resultsfw.controller.taskruns.PENDING_DELAY": 0.1},
        leader_elect=False,
        unschedulable_after=1.0,
    )
    process.wait_for("this replica is the leader")
    harness.create("one")
    harness.until(lambda: harness.store.list(PODS))
    (pod,) = harness.store.list(PODS)
    told = {"reason": "Unschedulable", "message": "0/3 nodes are available"}
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    homeless = {"type": "PodScheduled", "status": "False", "lastTransitionTime": since, **told}
    status = {"phase": "Pending", "conditions": [homeless]}
    name = pod["metadata"]["name"]
    harness.store.patch(PODS, pod["metadata"]["namespace"], name, {"status": status}, subresource="status")
    harness.until(lambda: condition(harness.run("one")).get("reason") == "TaskRunPodUnschedulable")
    harness.until(lambda: not harness.store.list(PODS))
    assert process.signal(signal.SIGTERM) == 0


def test_flags_take_effect_without_a_restart(harness):
    process = harness.start("--no-leader-elect", "--sidecar-image", "mine:1")
    process.wait_for("this replica is the leader")
    harness.flags(results_from="sidecar-logs")
    process.wait_for("results-from=sidecar-logs")
    harness.flags(results_from="nonsense")
    process.wait_for("is rejected")
    harness.create("one")
    harness.until(lambda: harness.store.list(PODS))
    (pod,) = harness.store.list(PODS)
    assert pod["metadata"]["annotations"]["resultsfw.dev/stamp"].startswith("sidecar-logs/")
    assert "mine:1" in [one["image"] for one in pod["spec"]["initContainers"]]
    assert "resultsfw_flags_reload_failures_total 1.0" in process.page("/metrics")[1]
    assert process.signal(signal.SIGTERM) == 0
    told = [one for one in harness.store.list(EVENTS) if one["involvedObject"]["kind"] == "ConfigMap"]
    assert [one["reason"] for one in told] == ["FlagsRefused"]


def test_pod_flags_take_effect_without_a_restart(harness):
    process = harness.start("--no-leader-elect")
    process.wait_for("this replica is the leader")
    harness.flags(set_security_context="true")
    harness.until(lambda: _has_restricted_pod(harness))
    assert process.signal(signal.SIGTERM) == 0


def _has_restricted_pod(harness):
    """Whether a run made now gets a pod that the ``restricted`` Pod Security level lets in."""
    name = f"r{len(harness.store.list(TASKRUNS))}"
    harness.create(name)
    harness.until(lambda: harness.done(name))
    prepare = harness.store.get(PODS, "runs", f"{name}-pod")["spec"]["initContainers"][0]
    return prepare.get("securityContext", {}).get("runAsNonRoot", False)


def test_without_a_configmap_the_defaults_take_effect(harness):
    harness.store.delete(CONFIG_MAPS, NAMESPACE, "feature-flags")
    process = harness.start("--no-leader-elect")
    process.wait_for("the defaults are in effect")
    harness.create("one")
    harness.until(lambda: harness.done("one"))


def test_missing_permissions_are_logged_before_the_first_pod(harness):
    harness.flags(results_from="sidecar-logs")
    harness.server.denied = {"get pods/log", "create pods"}
    process = harness.start("--no-leader-elect")
    process.wait_for("this replica is the leader")
    said = process.wait_for("get pods/log")
    assert said["level"] == "error"
    assert "kubectl apply -f config/enable-log-access-to-controller/" in said["message"]
    assert "kubectl apply -k config/" in process.wait_for("create pods")["message"]
    assert harness.server.requests["POST pods"] == 0


def test_a_listen_address_in_use_is_an_input_error(harness):
    process = harness.start("--no-leader-elect")
    port = process.page("/metrics") and process.wait_for("status pages")["message"].rpartition(" ")[2]
    other = harness.start("--listen", f"127.0.0.1:{port}")
    assert other.wait() == 2
