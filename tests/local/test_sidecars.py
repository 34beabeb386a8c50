"""Sidecars on the local engine: probed as a kubelet probes them, or refused by name."""

import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import PODS, ResultsManager
from resultsfw.local.admission import problems_of
from resultsfw.local.engine import Engine
from resultsfw.local.pod_status import Container, new_id
from resultsfw.local.prober import Probe
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.taskrun.reconciler import Reconciler

UP = "/workspace/up"


def run(tmp_path, sidecar, script, options=None):
    """The TaskRun when it is over, and its pod."""
    task = {
        "steps": [{"name": "one", "image": "i", "script": f"#!/bin/sh\n{script}"}],
        "sidecars": [{"name": "side", "image": "i", **sidecar}],
    }
    core = ResultsManager.from_flags({"results-from": "termination-message"})
    with Engine(lambda cluster: Reconciler(core, cluster, options=options), workdir=tmp_path) as engine:
        metadata = {"name": "run", "namespace": "default"}
        engine.submit(
            {
                "apiVersion": "tekton.dev/v1",
                "kind": "TaskRun",
                "metadata": metadata,
                "spec": {"taskSpec": task, "timeout": "1m"},
            }
        )
        (final,) = engine.run_until_done(timeout=90)
        return final, engine.store.list(PODS)


def verdict(final):
    (one,) = [one for one in final["status"]["conditions"] if one["type"] == "Succeeded"]
    return one


def late(seconds=1, then="exec sleep 600"):
    return f"#!/bin/sh\nsleep {seconds}\ntouch {UP}\n{then}"


READY = {"exec": {"command": ["test", "-f", UP]}, "periodSeconds": 1, "failureThreshold": 60}


@pytest.mark.parametrize("field", ["readinessProbe", "startupProbe"])
def test_the_first_step_waits_until_a_probed_sidecar_is_ready(field, tmp_path):
    final, _ = run(tmp_path, {"script": late(), field: READY}, f"test -f {UP}")
    assert verdict(final)["status"] == "True"


def test_a_native_sidecar_starts_before_the_first_step_and_is_ended_by_the_kubelet(tmp_path):
    """With ``enable-kubernetes-sidecar``; in Tekton's way the image would be replaced by ``nop``."""
    options = PodOptions(native_sidecars=True)
    script = "test -f /workspace/up"
    ends = "trap 'exit 0' TERM; while :; do sleep 0.02; done"
    final, (pod,) = run(tmp_path, {"script": late(0.2, ends), "startupProbe": READY}, script, options)
    assert verdict(final)["status"] == "True"
    (side,) = final["status"]["sidecars"]
    assert side["container"] == "sidecar-side"
    assert [container["name"] for container in pod["spec"]["containers"]] == ["step-one"]
    (native,) = [one for one in pod["spec"]["initContainers"] if one["name"] == "sidecar-side"]
    assert native["image"] == "i"


def test_readiness_is_probed_after_the_startup_probe_succeeded(tmp_path):
    second = {**READY, "exec": {"command": ["test", "-f", f"{UP}2"]}}
    script = f"#!/bin/sh\ntouch {UP}\nsleep 1\ntouch {UP}2\nexec sleep 600"
    final, _ = run(
        tmp_path, {"script": script, "startupProbe": READY, "readinessProbe": second}, f"test -f {UP}2"
    )
    assert verdict(final)["status"] == "True"


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("handler", ["httpGet", "tcpSocket"])
def test_a_server_is_probed_by_http_and_tcp(handler, tmp_path):
    port = free_port()
    probe = {handler: {"port": "web"}, "periodSeconds": 1, "failureThreshold": 60}
    sidecar = {
        "command": [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
        "ports": [{"name": "web", "containerPort": port}],
        "readinessProbe": probe,
    }
    ask = f"{sys.executable} -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:{port}/\").read()'"
    final, _ = run(tmp_path, sidecar, ask)
    assert verdict(final)["status"] == "True", verdict(final)["message"]


def test_a_sidecar_whose_startup_probe_fails_is_stopped_and_fails_the_run(tmp_path):
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2}
    sidecar = {"script": "#!/bin/sh\nexec sleep 600", "startupProbe": probe}
    final, _ = run(tmp_path, sidecar, "sleep 3")  # it ends in a later second than the Sidecar
    (side,) = final["status"]["sidecars"]
    assert side["terminated"]["exitCode"] == 143
    assert verdict(final)["status"] == "False"


def test_a_probe_over_its_timeout_counts_as_failed(tmp_path):
    probe = {"exec": {"command": ["sleep", "600"]}, "periodSeconds": 1, "failureThreshold": 1}
    final, _ = run(tmp_path, {"script": "#!/bin/sh\nexec sleep 600", "startupProbe": probe}, "true")
    assert final["status"]["sidecars"][0]["terminated"]["exitCode"] == 143


@pytest.mark.parametrize(
    ("sidecar", "said"),
    [
        ({}, 'Sidecar "side" has no command, and that of its image is not known'),
        ({"args": ["x"]}, 'Sidecar "side" has no command'),
        (
            {"command": ["x"], "readinessProbe": {"grpc": {"port": 1}}},
            "readinessProbe that is not one of exec",
        ),
        ({"command": ["x"], "startupProbe": {"grpc": {"port": 1}}}, "startupProbe that is not one of exec"),
        ({"command": ["x"], "livenessProbe": READY}, "has a livenessProbe"),
        ({"command": ["x"], "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}, "has a lifecycle"),
    ],
)
def test_a_sidecar_with_unsupported_fields_is_refused_before_a_pod_exists(sidecar, said, tmp_path):
    final, pods = run(tmp_path, sidecar, "true")
    assert verdict(final)["reason"] == "PodCreationFailed"
    assert said in verdict(final)["message"]
    assert pods == []


def test_steps_and_the_results_sidecar_are_admitted():
    containers = [{"name": "step-a"}, {"name": "sidecar-x", "command": ["c"]}]
    assert list(problems_of({"spec": {"containers": containers}})) == []


def test_a_container_without_probes_is_ready_when_it_runs():
    container = Container({"name": "c"}, init=False, id=new_id())
    container.set_running()
    assert container.ready
    container.readiness_passed = False
    assert not container.ready


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_a_probe_changes_after_as_many_equal_outcomes_as_its_threshold(outcomes, passes, fails):
    probe = Probe.of({"exec": {}, "successThreshold": passes, "failureThreshold": fails}, 0.0)
    for count, ok in enumerate(outcomes, 1):
        probe.begin(0.0)
        judged = probe.judge(0.0, ok=ok)
        row = 0
        for earlier in reversed(outcomes[:count]):
            if earlier != ok:
                break
            row += 1
        assert judged == (ok if row >= (passes if ok else fails) else None)
