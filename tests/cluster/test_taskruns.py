"""Every captured situation live, through our reconciler, backends, pods and sidecar, on a real cluster."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import captures
import pytest
from api import ApiServer

from resultsfw import PODS, Core, Object
from resultsfw.errors import ClusterError, NotFoundError
from resultsfw.tekton.kinds import TASKRUNS
from resultsfw.tekton.reconciler import Reconciler, is_done

TOO_LARGE = "TaskRunResultLargerThanAllowedLimit"

# What each ends with: reason, results, words of the message. Where this is not Tekton's verdict, the
# design says why.
ENDS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "sl-100k": ("Succeeded", {"big": "x" * 100_000}, ()),
    "sl-array-object": (
        "Succeeded",
        {"images": ["a", "b", ""], "image": {"url": "r/app", "digest": "sha256:1"}},
        (),
    ),
    "sl-awkward-bytes": (
        "TaskRunResultRefused",
        {"lines": 'a\nb\t"c"\\d\r\n', "emoji": "\U0001f680", "html": "<a>&</a>"},
        ('"latin1"',),
    ),
    "sl-basic": ("Succeeded", {"digest": "sha256:0123", "url": "registry/app\n"}, ()),
    "sl-cancelled": ("TaskRunCancelled", {"digest": "d"}, ("was cancelled",)),
    "sl-crd-overflow": (
        TOO_LARGE,
        {"a": "a" * 600_000, "b": "b" * 600_000},
        ('"c"', "1800000 bytes", "1572864 bytes"),
    ),
    "sl-exactly-4096": ("Succeeded", {"big": "x" * 4096}, ()),
    "sl-forged": ("Succeeded", {"digest": "real"}, ()),
    "sl-oversize": (TOO_LARGE, {"small": "s"}, ('"big"', "5000 bytes", "4096 bytes")),
    "sl-reserved-sidecar": ("PodCreationFailed", {}, ("cannot use reserved sidecar name",)),
    "sl-step-fails": ("StepFailed", {"digest": "d"}, ('"step-two" exited with code 3: Error',)),
    "sl-step-oom": ("StepOOM", {"digest": "d"}, ('"step-one" exited with code 137: OOMKilled',)),
    "sl-step-results": ("Succeeded", {"digest": "sha256:9"}, ()),
    "sl-step-results-only": ("Succeeded", {}, ()),
    "sl-user-sidecar": ("Succeeded", {"digest": "d"}, ()),
    "tm-array-object": (
        "Succeeded",
        {"images": ["a", "b", ""], "image": {"url": "r/app", "digest": "sha256:1"}},
        (),
    ),
    "tm-basic": ("Succeeded", {"digest": "sha256:0123", "url": "registry/app\n"}, ()),
    "tm-missing-result": ("Succeeded", {"here": "d"}, ()),
    "tm-onerror-continue": ("Succeeded", {"digest": "d"}, ()),
    "tm-overflow": (TOO_LARGE, {"small": "hello"}, ('"big"', "3072 bytes", '"step-one"')),
    "tm-overflow-entrypoint": ("StepFailed", {}, ('"step-one" exited with code 1',)),
    "tm-retries": ("StepFailed", {"digest": "first"}, ('"step-one" exited with code 1',)),
    "tm-step-fails": ("StepFailed", {"digest": "d"}, ('"step-two" exited with code 3: Error',)),
}

DEADLINE = 120  # seconds for one situation; the slowest waits for a grace of 30


def test_every_capture_is_here():
    assert sorted(ENDS) == sorted(captures.names())


@pytest.mark.parametrize(
    ("situation", "sidecar"),
    [(one, way) for one in sorted(ENDS) for way in ("plain", "native") if one[:2] == "sl" or way == "plain"],
)
def test_live(situation, sidecar, server, options, name):
    capture = captures.load(situation)
    core = Core.from_flags({**capture["flags"], **_sidecar(sidecar)})
    taskrun = json.loads(json.dumps(capture["taskrun"]))
    taskrun["metadata"] |= {"name": name, "namespace": "default"}
    taskrun["spec"]["managedBy"] = f"resultsfw.dev/{name}"
    server.create(TASKRUNS, taskrun)
    cancel = _cancel_when_the_second_step_runs if situation == "sl-cancelled" else None
    try:
        final = _drive(server, Reconciler(core, server, options=options), name, cancel)
        reason, results, words = ENDS[situation]
        (condition,) = [one for one in final["status"]["conditions"] if one["type"] == "Succeeded"]
        assert condition["reason"] == reason, condition
        assert {one["name"]: one["value"] for one in final["status"].get("results", [])} == results
        for word in words:
            assert word in condition["message"]
        if situation == "sl-step-results-only":
            assert final["status"]["steps"][0]["results"][0]["value"] == "sha256:9"
    finally:
        server.delete(TASKRUNS, "default", name)


def _sidecar(way: str) -> dict[str, str]:
    image = os.environ.get("RESULTSFW_SIDECAR_IMAGE")
    return {"config.sidecar-logs": f"sidecar: {way}\n" + (f"image: {image}" if image else "")}


def _drive(
    server: ApiServer,
    reconciler: Reconciler,
    name: str,
    meanwhile: Callable[[ApiServer, Object], None] | None,
) -> Object:
    """Look at the run again and again until it has its verdict."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            reconciler.reconcile("default", name)
        except ClusterError as error:
            if not error.retryable:
                raise
        taskrun = server.get(TASKRUNS, "default", name)
        if is_done(taskrun):
            return taskrun
        if meanwhile is not None:
            meanwhile(server, taskrun)
        time.sleep(0.1)
    raise AssertionError(f"no verdict in {DEADLINE} s: {taskrun.get('status')}")


def _cancel_when_the_second_step_runs(server: ApiServer, taskrun: Object) -> None:
    try:
        pod = server.get(PODS, "default", taskrun.get("status", {}).get("podName") or "none")
    except NotFoundError:
        return
    states = {one["name"]: one["state"] for one in pod["status"].get("containerStatuses", [])}
    if "terminated" in states.get("step-one", {}) and taskrun["spec"].get("status") is None:
        server.patch(
            TASKRUNS, "default", taskrun["metadata"]["name"], {"spec": {"status": "TaskRunCancelled"}}
        )
