"""The whole controller, as a process, against an API server that fails as such servers do."""

import json
import signal
from datetime import UTC, datetime

from controllerroom import NAMESPACE, condition

from resultsfw.cluster import CONFIG_MAPS, EVENTS, PODS, Kind
from resultsfw.tekton.api.kinds import TASKRUNS

LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease")


def names(count):
    return [f"r{number:02}" for number in range(count)]


def events(room):
    return sorted(
        (one["involvedObject"]["name"], one["reason"], one["type"])
        for one in room.store.list(EVENTS)
        if one["involvedObject"]["kind"] == "TaskRun"
    )


def test_runs_from_creation_to_results_and_the_end_of_the_process(room):
    process = room.start()
    room.create("before")
    process.wait_for("this replica is the leader")
    room.create("after", "two")
    room.create("foreign", managed_by="somebody/else")
    room.until(lambda: room.done("before", "after", "two"))
    assert "status" not in room.run("foreign")
    room.store.delete(TASKRUNS, "runs", "foreign")
    room.assert_all_well("before", "after", "two")
    assert process.page("/healthz") == (200, "ok\n")
    assert process.page("/readyz") == (200, "leader\n")
    assert process.page("/else")[0] == 404
    text = process.page("/metrics")[1]
    succeeded = 'backend="termination-message",outcome="succeeded",reason="Succeeded"'
    assert f"resultsfw_runs_total{{{succeeded}}} 3.0" in text
    assert "resultsfw_is_leader 1.0" in text
    assert 'resultsfw_result_bytes_total{backend="termination-message"} 26.0' in text
    assert process.signal(signal.SIGTERM) == 0
    for name in ("before", "after", "two"):
        assert [one[1:] for one in events(room) if one[0] == name] == [
            ("Started", "Normal"),
            ("Succeeded", "Normal"),
        ]
    lines = [json.loads(line) for line in process.lines]
    ended = [one for one in lines if one["message"].startswith("run succeeded")]
    assert sorted((one["run"], one["pod"], one["backend"]) for one in ended) == [
        (f"runs/{name}", f"{name}-pod", "termination-message") for name in ("after", "before", "two")
    ]
    assert room.store.get(LEASES, NAMESPACE, "resultsfw-controller")["spec"]["holderIdentity"] == ""


def test_requests_that_fail_and_watches_that_are_cut(room):
    process = room.start("--no-leader-elect")
    process.wait_for("this replica is the leader")
    room.server.faults.fail("PATCH", "/status", 409, 4)
    room.server.faults.fail("POST", "/pods", 500, 3)
    room.server.faults.fail("PATCH", "/pods", 500, 2)
    room.server.faults.fail("POST", "/events", 500, 2)
    room.kubelet.go.clear()
    room.create(*names(10))
    room.until(lambda: len(room.store.list(PODS)) == 10)
    room.server.cut()
    room.kubelet.go.set()
    room.until(lambda: room.done(*names(10)))
    room.assert_all_well(*names(10))
    text = process.page("/metrics")[1]
    assert 'resultsfw_watch_restarts_total{kind="pods"}' in text
    assert "resultsfw_queue_retries_total 0.0" not in text
    assert 'resultsfw_reconciles_total{result="bug"}' not in text
    assert process.signal(signal.SIGINT) == 0


def test_a_server_that_asks_for_patience(room):
    process = room.start("--no-leader-elect")
    process.wait_for("this replica is the leader")
    room.server.faults.fail("POST", "/pods", 429, 1)
    room.create("one")
    room.until(lambda: room.done("one"))
    room.assert_all_well("one")


def test_a_server_that_is_gone_for_ten_of_the_fifteen_seconds_a_lease_can_wait(room):
    """Nobody's process ends, nothing is lost.

    Scaled down to four refused renewals of seven, as ten seconds are by default: waiting for time to go by
    would prove no more.
    """
    process = room.start(lease_seconds=7, renew_deadline=5.25)
    process.wait_for("this replica is the leader")
    room.kubelet.go.clear()
    room.create(*names(5))
    room.until(lambda: all(condition(room.run(name)).get("reason") == "Running" for name in names(5)))
    room.server.down()
    room.create("meanwhile")  # as another server of the same cluster would have it
    room.kubelet.go.set()
    refused = f"lease {NAMESPACE}/resultsfw-controller: ConnectionRefusedError"
    process.wait_for(refused, times=4, seconds=60)
    assert process.process.poll() is None
    room.server.up()
    room.until(lambda: room.done("meanwhile", *names(5)), seconds=60)
    room.assert_all_well("meanwhile", *names(5))
    assert process.process.poll() is None


def test_sigterm_in_the_middle_and_a_new_start(room):
    first = room.start()
    first.wait_for("this replica is the leader")
    room.kubelet.go.clear()
    room.create(*names(15))
    room.until(lambda: len(room.store.list(PODS)) >= 5)
    assert first.signal(signal.SIGTERM) == 0
    first.wait_for("shutting down")
    before = room.store.list(TASKRUNS)
    room.kubelet.go.set()
    second = room.start()
    second.wait_for("this replica is the leader")
    room.until(lambda: room.done(*names(15)))
    room.assert_all_well(*names(15))
    assert len(before) == 15


def test_sigkill_in_the_middle_again_and_again(room):
    # Guarantee 4: stopped at any instant and started again, it reaches the same status.
    room.create(*names(12))
    room.kubelet.go.clear()
    for pods in (1, 6):
        process = room.start("--no-leader-elect")
        room.until(lambda: len(room.store.list(PODS)) >= pods)  # noqa: B023 - called at once
        process.signal(signal.SIGKILL)
    room.kubelet.go.set()
    room.start("--no-leader-elect")
    room.until(lambda: room.done(*names(12)))
    room.assert_all_well(*names(12))


def test_two_replicas_and_the_leader_is_killed(room):
    quick = {"lease_seconds": 3, "renew_deadline": 2}
    leader = room.start(**quick)
    leader.wait_for("this replica is the leader")
    standby = room.start(**quick)
    standby.wait_for("caches synced")
    assert standby.page("/readyz") == (200, "standby\n")
    room.kubelet.go.clear()
    room.create(*names(12))
    room.until(lambda: len(room.store.list(PODS)) >= 6)
    leader.signal(signal.SIGKILL)
    room.kubelet.go.set()
    standby.wait_for("this replica is the leader")
    room.until(lambda: room.done(*names(12)))
    room.assert_all_well(*names(12))
    assert "resultsfw_is_leader 1.0" in standby.page("/metrics")[1]


def test_a_replica_whose_lease_was_taken_ends(room):
    process = room.start(lease_seconds=3, renew_deadline=2)
    process.wait_for("this replica is the leader")
    spec = {"holderIdentity": "other", "leaseDurationSeconds": 60, "renewTime": "2026-01-01T00:00:00.0Z"}
    room.store.patch(LEASES, NAMESPACE, "resultsfw-controller", {"spec": spec})
    assert process.wait() == 1
    process.wait_for("the lease was lost")


def test_how_long_a_pod_may_be_without_a_node_is_an_option(room):
    """The reconciler looks again by itself: nothing of the pod changes."""
    room.kubelet.close()
    process = room.start(
        settings={"resultsfw.controller.taskruns.PENDING_DELAY": 0.1},
        leader_elect=False,
        unschedulable_after=1.0,
    )
    process.wait_for("this replica is the leader")
    room.create("one")
    room.until(lambda: room.store.list(PODS))
    (pod,) = room.store.list(PODS)
    told = {"reason": "Unschedulable", "message": "0/3 nodes are available"}
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    homeless = {"type": "PodScheduled", "status": "False", "lastTransitionTime": since, **told}
    status = {"phase": "Pending", "conditions": [homeless]}
    name = pod["metadata"]["name"]
    room.store.patch(PODS, pod["metadata"]["namespace"], name, {"status": status}, subresource="status")
    room.until(lambda: condition(room.run("one")).get("reason") == "TaskRunPodUnschedulable")
    room.until(lambda: not room.store.list(PODS))
    assert process.signal(signal.SIGTERM) == 0


def test_flags_are_live(room):
    process = room.start("--no-leader-elect", "--sidecar-image", "mine:1")
    process.wait_for("this replica is the leader")
    room.flags(results_from="sidecar-logs")
    process.wait_for("results-from=sidecar-logs")
    room.flags(results_from="nonsense")
    process.wait_for("is rejected")
    room.create("one")
    room.until(lambda: room.store.list(PODS))
    (pod,) = room.store.list(PODS)
    assert pod["metadata"]["annotations"]["resultsfw.dev/stamp"].startswith("sidecar-logs/")
    assert "mine:1" in [one["image"] for one in pod["spec"]["initContainers"]]
    assert "resultsfw_flags_reload_failures_total 1.0" in process.page("/metrics")[1]
    assert process.signal(signal.SIGTERM) == 0
    told = [one for one in room.store.list(EVENTS) if one["involvedObject"]["kind"] == "ConfigMap"]
    assert [one["reason"] for one in told] == ["FlagsRefused"]


def test_the_flags_of_pods_are_live(room):
    process = room.start("--no-leader-elect")
    process.wait_for("this replica is the leader")
    room.flags(set_security_context="true")
    room.until(lambda: _has_restricted_pod(room))
    assert process.signal(signal.SIGTERM) == 0


def _has_restricted_pod(room):
    """Whether a run made now gets a pod that the ``restricted`` Pod Security level lets in."""
    name = f"r{len(room.store.list(TASKRUNS))}"
    room.create(name)
    room.until(lambda: room.done(name))
    prepare = room.store.get(PODS, "runs", f"{name}-pod")["spec"]["initContainers"][0]
    return prepare.get("securityContext", {}).get("runAsNonRoot", False)


def test_without_a_configmap_the_defaults_are_in_force(room):
    room.store.delete(CONFIG_MAPS, NAMESPACE, "feature-flags")
    process = room.start("--no-leader-elect")
    process.wait_for("the defaults are in effect")
    room.create("one")
    room.until(lambda: room.done("one"))


def test_what_is_missing_is_said_before_the_first_pod(room):
    room.flags(results_from="sidecar-logs")
    room.server.denied = {"get pods/log", "create pods"}
    process = room.start("--no-leader-elect")
    process.wait_for("this replica is the leader")
    said = process.wait_for("get pods/log")
    assert said["level"] == "error"
    assert "kubectl apply -f config/enable-log-access-to-controller/" in said["message"]
    assert "kubectl apply -k config/" in process.wait_for("create pods")["message"]
    assert room.server.requests["POST pods"] == 0


def test_a_port_in_use_is_refused(room):
    process = room.start("--no-leader-elect")
    port = process.page("/metrics") and process.wait_for("status pages")["message"].rpartition(" ")[2]
    other = room.start("--listen", f"127.0.0.1:{port}")
    assert other.wait() == 2
