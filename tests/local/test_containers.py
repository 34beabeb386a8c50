"""What containers are started with: programs, environment, volumes, folders."""

import pytest
from localpods import (
    await_pod,
    await_true,
    log_of,
    make_pod,
    over,
    results,
    state,
    terminated,
)

from resultsfw.cluster import CONFIG_MAPS, PODS
from resultsfw.local.kubelet import Kubelet


def test_a_missing_interpreter_is_named(kubelet, store):
    store.create(PODS, make_pod("#!/usr/bin/env no-such-node\n1", "true"))
    pod = await_pod(store, "run-pod", over)
    assert terminated(pod, "step-s0")["exitCode"] == 127
    assert log_of(store, "run-pod", "step-s0") == (
        'the Step asks for "#!/usr/bin/env no-such-node" and this machine has no no-such-node; '
        "install it or run on a cluster\n"
    )
    assert "Skipped" in terminated(pod, "step-s1")["message"]


def test_a_sidecar_that_cannot_start_terminates_with_start_error(kubelet, store):
    sidecar = {"name": "sidecar-web", "image": "web:1", "command": ["no-such-server"]}
    store.create(PODS, make_pod("true", sidecars=(sidecar,)))
    pod = await_pod(store, "run-pod", over)
    ended = terminated(pod, "sidecar-web")
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert '"no-such-server" is not on this machine' in ended["message"]


def test_a_container_without_a_command_terminates_and_says_why(kubelet, store):
    store.create(PODS, make_pod("true", sidecars=({"name": "sidecar-db", "image": "postgres:17"},)))
    pod = await_pod(store, "run-pod", over)
    assert "images are not pulled" in terminated(pod, "sidecar-db")["message"]


def test_the_environment_has_declared_and_inherited_variables(kubelet, store):
    store.create(CONFIG_MAPS, {"metadata": {"name": "settings"}, "data": {"colour": "blue"}})
    sidecar = {
        "name": "sidecar-env",
        "image": "busybox:1",
        "command": ["sh", "-c", "echo $NAME '$(BOTH)' $COLOUR $PLACE $(GREETING) '$$(GREETING)'; pwd"],
        "workingDir": "/workspace/src",
        "env": [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "GREETING", "value": "hello"},
            {"name": "BOTH", "value": "$(NAME)/$(GREETING)/$(UNKNOWN)"},
            {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
            {"name": "PLACE", "value": "file:///workspace/x"},
        ],
    }
    store.create(PODS, make_pod("true", sidecars=(sidecar,)))
    await_pod(store, "run-pod", over)
    first, second = log_of(store, "run-pod", "sidecar-env").splitlines()
    words = first.split()
    assert words[:3] == ["run-pod", "run-pod/hello/$(UNKNOWN)", "blue"]
    assert words[3].startswith("file:///")
    assert words[3].endswith("/root/workspace/x")
    assert words[4:] == ["hello", "$(GREETING)"]
    assert second.endswith("/root/workspace/src")


@pytest.mark.parametrize(
    "source",
    [
        {"fieldRef": {"fieldPath": "status.nowhere"}},
        {"secretKeyRef": {"name": "absent", "key": "k"}},
        {"resourceFieldRef": {"resource": "limits.cpu"}},
    ],
)
def test_a_reference_to_a_missing_object_is_a_config_error(kubelet, store, source):
    sidecar = {
        "name": "sidecar-env",
        "image": "x",
        "command": ["env"],
        "env": [{"name": "A", "valueFrom": source}],
    }
    store.create(PODS, make_pod("true", sidecars=(sidecar,)))
    pod = await_pod(
        store,
        "run-pod",
        lambda pod: (
            "reason" in state(pod, "sidecar-env").get("waiting", {})
            and state(pod, "sidecar-env")["waiting"]["reason"] != "PodInitializing"
        ),
    )
    assert state(pod, "sidecar-env")["waiting"]["reason"] == "CreateContainerConfigError"
    assert state(pod, "sidecar-env")["waiting"]["message"]


def test_volumes_of_each_kind_have_their_content(kubelet, store):
    store.create(CONFIG_MAPS, {"metadata": {"name": "settings"}, "data": {"a.txt": "from the store"}})
    pod = make_pod("cat /etc/settings/a.txt; cat /data/one/a.txt; ls /workspace/shared")
    pod["spec"]["volumes"] += [
        {"name": "settings", "configMap": {"name": "settings"}},
        {
            "name": "about",
            "projected": {
                "sources": [
                    {"downwardAPI": {"items": [{"path": "who", "fieldRef": {"fieldPath": "metadata.name"}}]}}
                ]
            },
        },
        {"name": "parts", "emptyDir": {}},
    ]
    pod["spec"]["containers"][0]["volumeMounts"] += [
        {"name": "settings", "mountPath": "/etc/settings"},
        {"name": "settings", "mountPath": "/data/one"},
        {"name": "about", "mountPath": "/workspace/shared"},
        {"name": "parts", "mountPath": "/parts/one", "subPath": "one"},
    ]
    store.create(PODS, pod)
    await_pod(store, "run-pod", over)
    assert log_of(store, "run-pod", "step-s0") == "from the storefrom the storewho\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"persistentVolumeClaim": {"claimName": "c"}}, 'PersistentVolumeClaim "c"'),
        ({"configMap": {"name": "absent"}}, 'configMap "absent" not found'),
        ({"secret": {"secretName": "absent"}}, 'secret "absent" not found'),
        ({"csi": {"driver": "d"}}, "kind csi"),
    ],
)
def test_an_unsupported_volume_makes_containers_wait_with_the_reason(kubelet, store, source, said):
    pod = make_pod("true")
    pod["spec"]["volumes"].append({"name": "v", **source})
    pod["spec"]["containers"][0]["volumeMounts"].append({"name": "v", "mountPath": "/v"})
    store.create(PODS, pod)
    waits = await_pod(store, "run-pod", lambda pod: "message" in state(pod, "step-s0").get("waiting", {}))
    assert state(waits, "step-s0")["waiting"]["reason"] == "FailedMount"
    assert said in state(waits, "step-s0")["waiting"]["message"]
    store.delete(PODS, "default", "run-pod")
    await_true(lambda: not store.list(PODS))


def test_each_step_has_its_own_creds_and_termination_file(kubelet, store):
    """Paths that two containers mount different volumes at."""
    store.create(PODS, make_pod("echo a > /tekton/creds/secret", "ls /tekton/creds | wc -l"))
    await_pod(store, "run-pod", over)
    assert log_of(store, "run-pod", "step-s1").strip() == "0"


def test_variables_of_the_engines_process_do_not_reach_steps(kubelet, store, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    monkeypatch.setenv("https_proxy", "http://proxy")
    store.create(PODS, make_pod("env"))
    await_pod(store, "run-pod", over)
    log = log_of(store, "run-pod", "step-s0")
    assert "s3cret" not in log
    assert "https_proxy=http://proxy" in log


def test_a_working_directory_with_blanks_works(store, tmp_path):
    """Paths are put into shell text: the folder's own name must not be taken apart there."""
    kubelet = Kubelet(store, workdir=tmp_path / "my work; rm -rf $HOME", keep=True)
    try:
        store.create(PODS, make_pod("printf d > /tekton/results/digest", results="digest"))
        pod = await_pod(store, "run-pod", over)
        assert results(pod, "step-s0") == {"digest": "d"}
    finally:
        kubelet.stop()
    assert list(kubelet.workdir.rglob("results/digest"))
