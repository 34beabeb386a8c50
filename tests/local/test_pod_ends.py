"""How Pods end: deletion, deadlines, timeouts, signals; and that nothing of them stays."""

import os
import signal

import pytest
from localpods import (
    argument,
    await_gone,
    await_pod,
    await_true,
    entries,
    log_of,
    log_so_far,
    make_pod,
    over,
    processes_with,
    results,
    running,
    state,
    terminated,
)

from resultsfw.cluster import PODS
from resultsfw.errors import NotFoundError, UnavailableError


def test_deletion_stops_the_containers_and_then_removes_the_pod(kubelet, store, tmp_path):
    """SIGTERM, the final statuses, and only then is the object gone, with its log and its folder."""
    script = "trap 'exit 0' TERM; printf d > /tekton/results/digest; echo up; while :; do sleep 0.05; done"
    store.create(PODS, make_pod(script, "true", results="digest"))
    await_true(lambda: log_so_far(store, "step-s0") == "up\n")
    store.delete(PODS, "default", "run-pod")
    pod = await_gone(store, "run-pod")
    assert pod["metadata"]["deletionTimestamp"]
    assert terminated(pod, "step-s0")["exitCode"] == 0
    assert results(pod, "step-s0") == {"digest": "d"}
    # Done, told while it waited, or told while its command ran (255: capture sl-cancelled, step-two).
    assert terminated(pod, "step-s1")["exitCode"] in (0, 143, 255)
    with pytest.raises(NotFoundError):
        store.read_log("default", "run-pod", "step-s0", limit=1)
    await_true(lambda: processes_with(str(tmp_path / "work")) == [kubelet._runtime.pid])


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_period(kubelet, store):
    script = "trap '' TERM; printf start > /tekton/results/digest; echo up; while :; do sleep 0.05; done"
    store.create(PODS, make_pod(script, results="digest"))
    await_true(lambda: log_so_far(store, "step-s0") == "up\n")
    store.delete(PODS, "default", "run-pod", grace_seconds=1)
    pod = await_gone(store, "run-pod")
    assert terminated(pod, "step-s0")["exitCode"] == 137
    assert "message" not in terminated(pod, "step-s0")


def test_finalizers_keep_a_pod_that_has_stopped(kubelet, store):
    pod = make_pod("sleep 100")
    pod["metadata"]["finalizers"] = ["resultsfw.dev/results"]
    store.create(PODS, pod)
    await_pod(store, "run-pod", lambda pod: running(pod, "step-s0"))
    store.delete(PODS, "default", "run-pod")
    held = await_pod(store, "run-pod", over)
    assert held["metadata"]["deletionTimestamp"]
    assert log_of(store, "run-pod", "step-s0") == ""
    await_pod(store, "run-pod", lambda pod: pod["metadata"]["deletionGracePeriodSeconds"] == 0)
    store.patch(PODS, "default", "run-pod", {"metadata": {"finalizers": None}})
    await_true(lambda: not store.list(PODS))


def test_active_deadline_seconds_fails_the_pod(kubelet, store):
    store.create(PODS, make_pod("sleep 100", activeDeadlineSeconds=1))
    pod = await_pod(store, "run-pod", over)
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    assert terminated(pod, "step-s0")["exitCode"] in (143, 255)


def test_a_step_timeout_kills_the_steps_processes(kubelet, store):
    flags = (("-timeout", "300ms"),)
    script = "printf d > /tekton/results/digest; sleep 1234 & sleep 1234"
    store.create(PODS, make_pod(script, "true", flags=flags, results="digest"))
    pod = await_pod(store, "run-pod", over)
    assert terminated(pod, "step-s0")["exitCode"] == 1
    assert results(pod, "step-s0") == {"digest": "d"}
    reasons = {one["key"]: one["value"] for one in entries(pod, "step-s0")}
    assert reasons["Reason"] == "TimeoutExceeded"


def test_the_cancel_annotation_stops_the_steps(kubelet, store):
    pod = make_pod("echo up; sleep 100", "true")
    (downward,) = [one for one in pod["spec"]["volumes"] if "downwardAPI" in one]
    downward["downwardAPI"]["items"].append(
        {"path": "cancel", "fieldRef": {"fieldPath": "metadata.annotations['tekton.dev/cancel']"}}
    )
    store.create(PODS, pod)
    await_true(lambda: log_so_far(store, "step-s0") == "up\n")
    store.patch(PODS, "default", "run-pod", {"metadata": {"annotations": {"tekton.dev/cancel": "CANCEL"}}})
    pod = await_pod(store, "run-pod", over)
    assert terminated(pod, "step-s0")["exitCode"] == 9
    assert {one["key"]: one["value"] for one in entries(pod, "step-s0")}["Reason"] == "Cancelled"


def test_a_sidecar_is_stopped_by_its_image(kubelet, store):
    """How Tekton does it: another image, with which the container is started again and does nothing."""
    sidecar = {"name": "sidecar-web", "image": "web:1", "command": ["sh", "-c", "sleep 1000 & wait"]}
    store.create(PODS, make_pod("true", sidecars=(sidecar,)))
    pod = await_pod(store, "run-pod", lambda pod: "terminated" in state(pod, "step-s0"))
    assert pod["status"]["phase"] == "Running"
    changed = [
        {**one, "image": "nop:1"} if one["name"] == "sidecar-web" else one
        for one in pod["spec"]["containers"]
    ]
    store.patch(PODS, "default", "run-pod", {"spec": {"containers": changed}})
    pod = await_pod(store, "run-pod", over)
    assert pod["status"]["phase"] == "Succeeded"
    assert terminated(pod, "sidecar-web")["exitCode"] == 0
    (status,) = [one for one in pod["status"]["containerStatuses"] if one["name"] == "sidecar-web"]
    assert status["lastState"]["terminated"]["exitCode"] == 143
    assert (status["image"], status["restartCount"]) == ("nop:1", 1)


def test_a_native_sidecar_runs_until_the_others_have_ended(kubelet, store):
    pod = make_pod("true")
    pod["spec"]["initContainers"].append(
        {
            "name": "native",
            "image": "web:1",
            "command": ["sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done"],
            "restartPolicy": "Always",
        }
    )
    store.create(PODS, pod)
    pod = await_pod(store, "run-pod", over)
    assert pod["status"]["phase"] == "Succeeded"
    assert terminated(pod, "native")["exitCode"] in (0, 143)


def test_a_native_sidecar_that_ends_is_restarted_with_a_new_log(kubelet, store):
    pod = make_pod("while [ ! -e /workspace/second ]; do sleep 0.02; done")
    again = "if [ -e /workspace/first ]; then touch /workspace/second; echo two; exec sleep 600; fi"
    pod["spec"]["initContainers"].append(
        {
            "name": "native",
            "image": "web:1",
            "command": ["sh", "-c", f"{again}; touch /workspace/first; echo one; exit 3"],
            "restartPolicy": "Always",
            "volumeMounts": [{"name": "tekton-internal-workspace", "mountPath": "/workspace"}],
        }
    )
    store.create(PODS, pod)
    pod = await_pod(store, "run-pod", over)
    assert pod["status"]["phase"] == "Succeeded"
    (native,) = [one for one in pod["status"]["initContainerStatuses"] if one["name"] == "native"]
    assert native["restartCount"] == 1
    assert native["lastState"]["terminated"]["exitCode"] == 3
    assert native["state"]["terminated"]["exitCode"] == 143
    assert log_of(store, "run-pod", "native") == "two\n"


def test_a_results_sidecar_stopped_at_its_start_still_writes_its_records(kubelet, store):
    """In a container it has number 1, and no SIGTERM ends it before it has a handler."""
    pod = make_pod("true")
    mounts = pod["spec"]["containers"][0]["volumeMounts"]
    sidecar = {"name": "native", "image": "i", "restartPolicy": "Always", "volumeMounts": mounts}
    flags = ["-result-names", "digest", "-kubernetes-sidecar-mode", "true"]
    sidecar["command"] = ["/ko-app/sidecarlogresults", *flags]
    sidecar["env"] = [{"name": "RESULTSFW_WIRE", "value": "1"}]
    pod["spec"]["initContainers"] = [sidecar]
    pod["spec"]["containers"] = [{"name": "step-s0", "image": "i", "command": ["true"]}]
    store.create(PODS, pod)
    pod = await_pod(store, "run-pod", over)
    assert terminated(pod, "native")["exitCode"] == 0
    assert '"why":"stopped"' in log_of(store, "run-pod", "native")


def test_a_native_sidecar_that_cannot_start_is_retried_and_blocks_the_pod(kubelet, store):
    pod = make_pod("true")
    broken = {"name": "native", "image": "web:1", "command": ["/no/such"], "restartPolicy": "Always"}
    pod["spec"]["initContainers"].append(broken)
    store.create(PODS, pod)
    pod = await_pod(
        store,
        "run-pod",
        lambda pod: any(one["restartCount"] == 2 for one in pod["status"].get("initContainerStatuses", ())),
    )
    assert state(pod, "native")["waiting"]["reason"] == "CrashLoopBackOff"
    assert pod["status"]["phase"] == "Pending"
    store.delete(PODS, "default", "run-pod")
    await_gone(store, "run-pod")


def test_a_failing_init_container_fails_the_pod(kubelet, store):
    pod = make_pod("true")
    pod["spec"]["initContainers"][1]["args"] = ["-c", "exit 5"]
    store.create(PODS, pod)
    pod = await_pod(store, "run-pod", over)
    assert pod["status"]["phase"] == "Failed"
    assert terminated(pod, "place-scripts")["exitCode"] == 5
    assert state(pod, "step-s0") == {"waiting": {"reason": "PodInitializing"}}
    with pytest.raises(UnavailableError):
        store.read_log("default", "run-pod", "step-s0", limit=1)


def test_a_container_killed_from_outside_has_its_exit_code(kubelet, store, tmp_path):
    """SIGKILL of the first process ends the container, and what it started with it."""
    store.create(PODS, make_pod("echo up; sleep 4321", "true"))
    await_true(lambda: log_so_far(store, "step-s0") == "up\n")
    own = processes_with(str(tmp_path))
    (first,) = [pid for pid in own if argument(pid, "/run/0/out\0-termination_path")]
    os.kill(first, signal.SIGKILL)
    pod = await_pod(store, "run-pod", lambda pod: "terminated" in state(pod, "step-s0"))
    assert terminated(pod, "step-s0")["exitCode"] == 137
    assert not [pid for pid in processes_with("4321") if argument(pid, "4321")]


def test_background_processes_of_a_step_end_with_it(kubelet, store):
    """Also what left its session, its parent and its process group."""
    store.create(PODS, make_pod("setsid sh -c 'sleep 9876 & sleep 9876' & sleep 0.1; echo done"))
    pod = await_pod(store, "run-pod", over)
    assert pod["status"]["phase"] == "Succeeded"
    assert not [pid for pid in processes_with("9876") if argument(pid, "9876")]


def test_an_invalid_pod_fails_at_once(kubelet, store):
    store.create(PODS, {"metadata": {"name": "odd"}, "spec": {"containers": [{"image": "x"}]}})
    pod = await_pod(store, "odd", over)
    assert pod["status"]["reason"] == "UnexpectedAdmissionError"


def test_a_native_sidecar_gets_sigterm_after_the_others_have_ended(kubelet, store):
    """Of a pod that is deleted, too; it gets two seconds at least, however short the grace."""
    pod = make_pod("true")
    pod["metadata"]["finalizers"] = ["test/keep"]
    mounts = pod["spec"]["containers"][0]["volumeMounts"]
    native = "trap 'cat /workspace/end; exit 0' TERM; while :; do sleep 0.02; done"
    main = "trap 'sleep 0.3; echo ended > /workspace/end; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    pod["spec"]["initContainers"] = [
        {"name": "native", "command": ["sh", "-c", native], "restartPolicy": "Always", "volumeMounts": mounts}
    ]
    pod["spec"]["containers"] = [
        {"name": "step-s0", "command": ["sh", "-c", main], "volumeMounts": mounts},
    ]
    store.create(PODS, pod)
    await_true(lambda: log_so_far(store, "step-s0") == "up\n")
    store.delete(PODS, "default", "run-pod", grace_seconds=5)
    await_pod(store, "run-pod", over)
    assert log_of(store, "run-pod", "native").endswith("ended\n")
    store.patch(PODS, "default", "run-pod", {"metadata": {"finalizers": None}})
