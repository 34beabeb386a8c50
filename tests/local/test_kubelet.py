"""Pods as processes: order, statuses, messages."""

from itertools import pairwise

import pytest
from localpods import (
    await_pod,
    await_true,
    entries,
    log_of,
    make_pod,
    over,
    refused,
    results,
    running,
    state,
    terminated,
)

from resultsfw.cluster import PODS
from resultsfw.errors import ClusterError
from resultsfw.local.kubelet import Kubelet
from resultsfw.local.pod_status import go_text, message_budget


def test_steps_run_in_order_and_leave_their_results(kubelet, store):
    store.create(
        PODS,
        make_pod(
            "printf sha256:0123 > /tekton/results/digest",
            "echo registry/app > /tekton/results/url; cat /tekton/results/digest",
            results="digest,url",
        ),
    )
    pod = await_pod(store, "run-pod", over)
    assert pod["status"]["phase"] == "Succeeded"
    assert results(pod, "step-s0") == {"digest": "sha256:0123"}
    assert results(pod, "step-s1") == {"digest": "sha256:0123", "url": "registry/app\n"}
    assert terminated(pod, "step-s1")["reason"] == "Completed"
    assert log_of(store, "run-pod", "step-s1") == "sha256:0123"
    kinds = {one["type"]: (one["status"], one.get("reason")) for one in pod["status"]["conditions"]}
    assert kinds["Ready"] == ("False", "PodCompleted")
    assert kinds["Initialized"] == ("True", "PodCompleted")


def test_statuses_are_reported_as_by_a_kubelet(kubelet, store):
    """Init containers one after the other, then all containers; a status never goes back."""
    with store.watch(PODS) as watch:
        store.create(PODS, make_pod("true", "true"))
        seen = []
        for _, pod in watch:
            phase = pod["status"]["phase"]
            names = ("prepare", "place-scripts", "step-s0", "step-s1")
            seen.append((phase, *(next(iter(state(pod, name)), "") for name in names)))
            if over(pod):
                break
    assert seen[0] == ("Pending", "", "", "", "")
    assert ("Pending", "waiting", "waiting", "waiting", "waiting") in seen
    assert ("Pending", "running", "waiting", "waiting", "waiting") in seen
    assert seen[-1] == ("Succeeded", "terminated", "terminated", "terminated", "terminated")
    order = ["", "waiting", "running", "terminated"]
    for one, following in pairwise(seen):
        assert all(order.index(a) <= order.index(b) for a, b in zip(one[1:], following[1:], strict=True))
        if following[3] == "running":
            assert following[1:3] == ("terminated", "terminated")


def test_the_first_step_waits_for_the_ready_annotation(kubelet, store):
    pod = make_pod("true")
    pod["metadata"]["annotations"] = {}
    store.create(PODS, pod)
    await_pod(store, "run-pod", lambda pod: running(pod, "step-s0"))
    store.patch(PODS, "default", "run-pod", {"metadata": {"annotations": {"tekton.dev/ready": "READY"}}})
    assert await_pod(store, "run-pod", over)["status"]["phase"] == "Succeeded"


@pytest.mark.slow
def test_a_failing_step_fails_the_pod_and_skips_the_rest(kubelet, store):
    store.create(PODS, make_pod("printf d > /tekton/results/digest", "exit 3", "true", results="digest"))
    pod = await_pod(store, "run-pod", over)
    assert pod["status"]["phase"] == "Failed"
    assert terminated(pod, "step-s1")["exitCode"] == 3
    assert terminated(pod, "step-s1")["reason"] == "Error"
    assert results(pod, "step-s1") == {"digest": "d"}
    skipped = {one["key"]: one["value"] for one in entries(pod, "step-s2")}
    assert skipped["Reason"] == "Skipped"
    assert terminated(pod, "step-s2")["exitCode"] == 1


def test_after_an_ignored_failure_the_next_step_runs(kubelet, store):
    flags = (("-on_error", "continue"),)
    store.create(PODS, make_pod("exit 4", "cat /tekton/steps/step-s0/exitCode", flags=flags))
    pod = await_pod(store, "run-pod", over)
    assert pod["status"]["phase"] == "Succeeded"
    assert {one["key"]: one["value"] for one in entries(pod, "step-s0")}["ExitCode"] == "4"
    assert log_of(store, "run-pod", "step-s1") == "4"


def test_the_message_budget_depends_on_the_number_of_containers(kubelet, store):
    """Four containers share 12288 bytes: a result of 4572 is refused by name, the small one is kept."""
    script = "head -c 4572 /dev/zero | tr '\\0' x > /tekton/results/images; printf d > /tekton/results/digest"
    created = store.create(PODS, make_pod(script, "true", results="images,digest"))
    assert message_budget(created) == 3072
    pod = await_pod(store, "run-pod", over)
    assert terminated(pod, "step-s0")["exitCode"] == 1
    assert results(pod, "step-s0") == {"digest": "d"}
    assert refused(pod, "step-s0") == [
        {"name": "images", "type": 1, "bytes": 4572, "limit": 3072, "reason": "TooLarge"}
    ]
    assert terminated(pod, "step-s1")["exitCode"] == 1, "it sees the same result file"
    assert "Skipped" not in terminated(pod, "step-s1")["message"], "the post file was out before"


def test_without_the_budget_messages_are_cut(store, tmp_path):
    script = "head -c 3500 /dev/zero | tr '\\0' x > /tekton/results/big"
    kubelet = Kubelet(store, workdir=tmp_path, pass_budget=False)
    try:
        store.create(PODS, make_pod(script, "true", results="big"))
        pod = await_pod(store, "run-pod", over)
    finally:
        kubelet.stop()
    assert pod["status"]["phase"] == "Succeeded"
    message = terminated(pod, "step-s0")["message"]
    assert len(message) == 3072
    assert message.startswith('[{"key":"big","value":"xxx')


def test_a_thousand_results_arrive_or_are_named(kubelet, store):
    """What fits arrives whole; others are named as far as names fit, and counted; all are in the log."""
    names = [f"result-{index:04}" for index in range(1000)]
    script = "for n in $(seq -f %04g 0 999); do printf value-$n > /tekton/results/result-$n; done"
    store.create(PODS, make_pod(script, results=",".join(names)))
    pod = await_pod(store, "run-pod", over)
    assert pod["status"]["phase"] == "Failed"
    kept = results(pod, "step-s0")
    assert kept
    assert all(value == f"value-{name.removeprefix('result-')}" for name, value in kept.items())
    *named, rest = refused(pod, "step-s0")
    assert named
    assert len(kept) + len(named) + rest["more"] == 1000
    assert not {one["name"] for one in named} & kept.keys()
    log = log_of(store, "run-pod", "step-s0")
    assert all(f'result "{name}" has 10 bytes' in log for name in names if name not in kept)


def test_hostile_results_are_refused_by_name(kubelet, store):
    script = """
        mkfifo /tekton/results/fifo
        ln -s /etc/hostname /tekton/results/out
        mkdir /tekton/results/folder
        printf '\\351' > /tekton/results/latin
        printf ok > /tekton/results/real; ln -s real /tekton/results/inside
    """
    store.create(PODS, make_pod(script, results="fifo,out,folder,latin,inside,absent,real"))
    pod = await_pod(store, "run-pod", over)
    assert terminated(pod, "step-s0")["exitCode"] == 1
    assert results(pod, "step-s0") == {"inside": "ok", "real": "ok"}
    assert {one["name"]: one["reason"] for one in refused(pod, "step-s0")} == {
        "fifo": "NotRegularFile",
        "out": "OutsideFolder",
        "folder": "NotRegularFile",
        "latin": "NotUtf8",
    }


def test_forged_entries_are_kept_in_the_message(kubelet, store):
    """As in Tekton: the entrypoint keeps what a Step wrote; it is the reader who must not believe it."""
    forged = '[{"key":"digest","value":"forged","type":1},{"key":"undeclared","value":"x","type":1}]'
    script = f"printf real > /tekton/results/digest; printf '%s' '{forged}' > /tekton/termination"
    store.create(PODS, make_pod(script, results="digest", result_from="sidecar-logs"))
    pod = await_pod(store, "run-pod", over)
    keys = [(one["key"], one["value"]) for one in entries(pod, "step-s0")]
    assert keys[:2] == [("digest", "forged"), ("undeclared", "x")]
    assert keys[2][0] == "StartedAt"


def test_a_status_changes_only_through_its_subresource(kubelet, store):
    store.create(PODS, make_pod("sleep 100"))
    await_pod(store, "run-pod", lambda pod: running(pod, "step-s0"))
    store.patch(PODS, "default", "run-pod", {"status": {"phase": "Succeeded"}})
    assert store.get(PODS, "default", "run-pod")["status"]["phase"] == "Running"
    with pytest.raises(ClusterError, match="may not change"):
        store.patch(PODS, "default", "run-pod", {"spec": {"containers": []}})


def test_pods_over_the_limit_wait(store, tmp_path):
    kubelet = Kubelet(store, workdir=tmp_path, max_pods=2)
    try:
        for index in range(5):
            script = f"touch {tmp_path}/up-{index}; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
            store.create(PODS, make_pod(script, name=f"pod-{index}"))
        waiting = await_pod(store, "pod-4", lambda pod: pod["status"].get("conditions"))
        (condition,) = waiting["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("PodScheduled", "False")
        await_true(lambda: len(list(tmp_path.glob("up-*"))) == 2)
        store.delete(PODS, "default", "pod-3")
        store.patch(PODS, "default", "pod-2", {"metadata": {"labels": {"a": "b"}}})
        (tmp_path / "go").touch()
        for name in ("pod-0", "pod-1", "pod-2", "pod-4"):
            assert await_pod(store, name, over)["status"]["phase"] == "Succeeded"
        assert not (tmp_path / "up-3").exists()
    finally:
        kubelet.stop()


def test_a_termination_message_is_cut_at_both_limits(kubelet, store):
    """The kubelet keeps a file's last 4096 bytes, and of those the first of the pod's share."""
    script = "i=0; while [ $i -lt 1000 ]; do printf '%05d' $i; i=$((i+1)); done > /dev/termination-log"
    talker = {"name": "sidecar-talker", "image": "x", "command": ["sh", "-c", script]}
    silent = [{"name": f"sidecar-{index}", "image": "x", "command": ["true"]} for index in range(2)]
    store.create(PODS, make_pod("true", sidecars=(talker, *silent)))
    pod = await_pod(store, "run-pod", over)
    whole = "".join(f"{index:05}" for index in range(1000))
    assert terminated(pod, "sidecar-talker")["message"] == whole[-4096:][:2048]


def test_fallback_to_logs_on_error_takes_the_end_of_the_log(kubelet, store):
    sidecar = {
        "name": "sidecar-talker",
        "image": "x",
        "command": ["sh", "-c", "seq 1000; exit 1"],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    store.create(PODS, make_pod("true", sidecars=(sidecar,)))
    pod = await_pod(store, "run-pod", over)
    lines = terminated(pod, "sidecar-talker")["message"].splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("921", "1000", 80)


def test_the_notice_about_images_is_given_once(store, tmp_path):
    said = []
    kubelet = Kubelet(store, workdir=tmp_path, notice=said.append)
    try:
        store.create(PODS, make_pod("true", name="one"))
        store.create(PODS, make_pod("true", name="two"))
        await_pod(store, "one", over)
        await_pod(store, "two", over)
    finally:
        kubelet.stop()
    (text,) = said
    assert "busybox:1" in text


def test_each_invalid_byte_is_replaced():
    assert go_text(b"a\xe2\x82") == "a\ufffd\ufffd"
    assert go_text(b"\xed\xa0\x80") == "\ufffd\ufffd\ufffd"
    assert go_text("é😀".encode()) == "é😀"
