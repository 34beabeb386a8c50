"""Pods that cannot start, are taken away or vanish, on a real cluster: each ends its run, and soon."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from api import ApiServer

from resultsfw import PODS, Object, ResultsManager
from resultsfw.errors import ClusterError, NotFoundError
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.tekton.taskrun.requeue import Timing

NAMESPACE = "default"
PATIENCE = 150  # seconds for one run; a kubelet looks at full volumes once a minute
ON_TERM = "trap 'printf late > $(results.late.path); exit 143' TERM; sleep 100 & wait"


class Live:
    """One run, looked at by our reconciler again and again."""

    def __init__(self, server: ApiServer, options: PodOptions, name: str) -> None:
        self.server = server
        self.options = options
        self.name = name

    def run(
        self,
        *scripts: str,
        flags: dict[str, str] | None = None,
        meanwhile: Callable[[Object], None] = lambda _pod: None,
        task: dict[str, Any] | None = None,
        step: dict[str, Any] | None = None,
        **spec: Any,
    ) -> Object:
        """The TaskRun as it ended; ``meanwhile`` sees its pod at each look."""
        steps = [
            {"name": f"s{number}", "image": "busybox:1", "script": f"#!/bin/sh\n{script}"}
            for number, script in enumerate(scripts)
        ]
        steps[-1] |= step or {}
        results = [{"name": name, "type": "string"} for name in ("early", "late")]
        body = {
            "managedBy": f"resultsfw.dev/{self.name}",
            "serviceAccountName": "default",
            "taskSpec": {"results": results, "steps": steps, **(task or {})},
            **spec,
        }
        metadata = {"name": self.name, "namespace": NAMESPACE}
        self.server.create(
            TASKRUNS,
            {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": metadata, "spec": body},
        )
        image = os.environ.get("RESULTSFW_SIDECAR_IMAGE")
        own = {"config.sidecar-logs": f"image: {image}"} if image else {}
        core = ResultsManager.from_flags({"results-from": "sidecar-logs", **own, **(flags or {})})
        reconciler = Reconciler(core, self.server, options=self.options, timing=Timing(unschedulable=5))
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                reconciler.reconcile(NAMESPACE, self.name)
            except ClusterError as error:
                if not error.retryable:
                    raise
            run = self.server.get(TASKRUNS, NAMESPACE, self.name)
            if is_done(run):
                return run
            if (pod := self.pod(run)) is not None:
                meanwhile(pod)
            time.sleep(0.1)
        raise AssertionError(f"no verdict in {PATIENCE} s: {run.get('status')}")

    def pod(self, run: Object) -> Object | None:
        try:
            return self.server.get(PODS, NAMESPACE, run.get("status", {}).get("podName") or "none")
        except NotFoundError:
            return None

    def when_the_first_step_ended(self, do: Callable[[Object], None]) -> Callable[[Object], None]:
        """Once, when the second one runs: it polls for the first one's end once a second."""
        seen: list[float] = []

        def look(pod: Object) -> None:
            states = {one["name"]: one["state"] for one in pod["status"].get("containerStatuses", ())}
            if "terminated" in states.get("step-s0", {}):
                seen.append(time.monotonic())
                if seen[-1] - seen[0] > 1.5:
                    seen[0] = float("inf")
                    do(pod)

        return look


@pytest.fixture
def live(server: ApiServer, options: PodOptions, name: str) -> Iterator[Live]:
    yield (one := Live(server, options, name))
    server.delete(TASKRUNS, NAMESPACE, one.name)


def condition(run: Object) -> Object:
    (one,) = [one for one in run["status"]["conditions"] if one["type"] == "Succeeded"]
    return one


def results(run: Object) -> dict[str, Any]:
    return {one["name"]: one["value"] for one in run["status"].get("results", ())}


@pytest.mark.parametrize("image", ["registry.invalid/none:1", "not an image"])
def test_an_image_that_cannot_be_pulled(live, image):
    run = live.run("printf d > $(results.early.path)", "true", step={"image": image})
    assert condition(run)["reason"] == "TaskRunImagePullFailed"
    assert f'the step "s1" in TaskRun "{live.name}" failed to pull the image' in condition(run)["message"]
    assert results(run) == {}
    assert all("terminated" in step for step in run["status"]["steps"])


def test_a_pod_that_finds_no_node(live):
    run = live.run("true", podTemplate={"nodeSelector": {"resultsfw.dev/no-such": "node"}})
    assert condition(run)["reason"] == "TaskRunPodUnschedulable"
    assert "node affinity/selector" in condition(run)["message"]
    assert live.pod(run) is None


def test_a_secret_that_is_not_there(live):
    missing = [{"name": "WHO", "valueFrom": {"secretKeyRef": {"name": "no-such", "key": "k"}}}]
    run = live.run("true", step={"env": missing})
    assert condition(run)["reason"] == "CreateContainerConfigError"
    assert 'secret "no-such" not found' in condition(run)["message"]


def test_a_volume_that_is_not_there_ends_with_the_runs_timeout(live):
    """The kubelet tells it by Events only, and tries again for ever: the Secret may still be made."""
    run = live.run(
        "true",
        task={"volumes": [{"name": "v", "secret": {"secretName": "no-such"}}]},
        step={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        timeout="5s",
    )
    assert condition(run)["reason"] == "TaskRunTimeout"


@pytest.mark.parametrize("sidecar", ["plain", "native"])
def test_a_pod_that_is_deleted(live, server, sidecar):
    image = os.environ.get("RESULTSFW_SIDECAR_IMAGE", "docker.io/resultsfw/sidecar:0.1.0")
    run = live.run(
        "printf early > $(results.early.path)",
        ON_TERM,
        flags={"config.sidecar-logs": f"sidecar: {sidecar}\nimage: {image}"},
        meanwhile=live.when_the_first_step_ended(
            lambda pod: server.delete(PODS, NAMESPACE, pod["metadata"]["name"])
        ),
    )
    assert condition(run)["reason"] == "TaskRunPodDeleted"
    assert results(run).get("early") == "early", condition(run)


@pytest.mark.parametrize("backend", ["termination-message", "sidecar-logs"])
def test_a_pod_that_is_deleted_by_force(live, server, backend):
    """Its log is gone with it; of a Step that had ended, the message stands in the run's status."""
    run = live.run(
        "printf early > $(results.early.path)",
        ON_TERM,
        flags={"results-from": backend},
        meanwhile=live.when_the_first_step_ended(
            lambda pod: server.delete(PODS, NAMESPACE, pod["metadata"]["name"], grace_seconds=0)
        ),
    )
    assert condition(run)["reason"] == "TaskRunPodDeleted"
    if backend == "termination-message":
        assert results(run) == {"early": "early"}
    else:
        assert "could not be read" in condition(run)["message"] or results(run)


def test_a_pod_that_is_evicted(live):
    """Where all containers end with 0, Kubernetes itself calls the pod Succeeded and says nothing of it."""
    run = live.run(
        "printf early > $(results.early.path)",
        f"dd if=/dev/zero of=/full/file bs=1M count=20; {ON_TERM}",
        task={"volumes": [{"name": "full", "emptyDir": {"sizeLimit": "1Mi"}}]},
        step={"volumeMounts": [{"name": "full", "mountPath": "/full"}]},
    )
    assert condition(run)["reason"] == "PodEvicted"
    assert "EmptyDir" in condition(run)["message"]
    assert results(run) or "could not be read" in condition(run)["message"]


def test_a_run_out_of_time_keeps_what_its_step_writes_last(live):
    """The sidecar speaks after the Steps."""
    run = live.run("printf early > $(results.early.path)", ON_TERM, timeout="12s")
    assert condition(run)["reason"] == "TaskRunTimeout"
    assert results(run) == {"early": "early", "late": "late"}


def test_a_native_sidecar_that_cannot_run(live):
    """No Step begins without it."""
    run = live.run("true", flags={"config.sidecar-logs": "image: busybox:1"})
    assert condition(run)["reason"] in ("SidecarFailed", "CreateContainerConfigError")
    assert "tekton-log-results" in condition(run)["message"]
