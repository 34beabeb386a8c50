"""Pods in the shape of `shared/captures`, and what waits for them."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resultsfw.cluster import PODS, Object
from resultsfw.errors import NotFoundError, UnavailableError
from resultsfw.local.store import Store

PATIENCE = 30.0


def make_pod(
    *scripts: str,
    name: str = "run-pod",
    results: str = "",
    flags: tuple[tuple[str, ...], ...] = (),
    sidecars: tuple[Object, ...] = (),
    result_from: str = "",
    **spec: Any,
) -> Object:
    """A pod as Tekton builds it for a TaskRun whose Steps are these scripts; ``flags`` adds to theirs."""
    steps = [f"step-s{index}" for index in range(len(scripts))]
    placing = ""
    containers = []
    runs = [
        {"name": f"tekton-internal-run-{index}", "mountPath": f"/tekton/run/{index}"}
        for index in range(len(steps))
    ]
    for index, (step, script) in enumerate(zip(steps, scripts, strict=True)):
        file = f"/tekton/scripts/script-{index}-x"
        text = script if script.startswith("#!") else f"#!/bin/sh\n{script}"
        placing += (
            f'scriptfile="{file}"\ntouch ${{scriptfile}} && chmod +x ${{scriptfile}}\n'
            f"cat > ${{scriptfile}} << '_EOF_'\n{base64.b64encode(text.encode()).decode()}\n_EOF_\n"
            f'/tekton/bin/entrypoint decode-script "${{scriptfile}}"\n'
        )
        wait = (
            ["/tekton/downward/ready", "-wait_file_content"]
            if index == 0
            else [f"/tekton/run/{index - 1}/out"]
        )
        containers.append(
            {
                "name": step,
                "image": "busybox:1",
                "command": ["/tekton/bin/entrypoint"],
                "args": [
                    "-wait_file",
                    *wait,
                    "-post_file",
                    f"/tekton/run/{index}/out",
                    "-termination_path",
                    "/tekton/termination",
                    "-step_metadata_dir",
                    f"/tekton/run/{index}/status",
                    *(["-result_from", result_from] if result_from else []),
                    *(["-results", results] if results else []),
                    *(flags[index] if index < len(flags) else ()),
                    "-entrypoint",
                    file,
                    "--",
                ],
                "volumeMounts": [
                    {"name": "tekton-internal-scripts", "mountPath": "/tekton/scripts", "readOnly": True},
                    {"name": "tekton-internal-downward", "mountPath": "/tekton/downward", "readOnly": True},
                    {"name": f"tekton-creds-init-home-{index}", "mountPath": "/tekton/creds"},
                    *runs,
                    *MOUNTS,
                ],
                "terminationMessagePath": "/tekton/termination",
                "terminationMessagePolicy": "File",
            }
        )
    inits: list[Object] = [
        {
            "name": "prepare",
            "image": "tekton/entrypoint:1",
            "command": ["/ko-app/entrypoint", "init", "/ko-app/entrypoint", "/tekton/bin/entrypoint", *steps],
            "workingDir": "/",
            "volumeMounts": [
                {"name": "tekton-internal-bin", "mountPath": "/tekton/bin"},
                {"name": "tekton-internal-steps", "mountPath": "/tekton/steps"},
            ],
        },
        {
            "name": "place-scripts",
            "image": "busybox:1",
            "command": ["sh"],
            "args": ["-c", placing],
            "volumeMounts": [
                {"name": "tekton-internal-scripts", "mountPath": "/tekton/scripts"},
                {"name": "tekton-internal-bin", "mountPath": "/tekton/bin"},
            ],
        },
    ]
    volumes = ["workspace", "home", "results", "steps", "artifacts", "scripts", "bin"]
    own = [f"tekton-internal-run-{index}" for index in range(len(steps))]
    own += [f"tekton-creds-init-home-{index}" for index in range(len(steps))]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "annotations": {"tekton.dev/ready": "READY"}},
        "spec": {
            "volumes": [
                *({"name": f"tekton-internal-{volume}", "emptyDir": {}} for volume in volumes),
                *({"name": volume, "emptyDir": {}} for volume in own),
                {
                    "name": "tekton-internal-downward",
                    "downwardAPI": {
                        "items": [
                            {
                                "path": "ready",
                                "fieldRef": {
                                    "apiVersion": "v1",
                                    "fieldPath": "metadata.annotations['tekton.dev/ready']",
                                },
                            }
                        ]
                    },
                },
            ],
            "initContainers": inits,
            "containers": [*containers, *sidecars],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 30,
            "activeDeadlineSeconds": 5400,
            **spec,
        },
    }


MOUNTS = [
    {"name": "tekton-internal-bin", "mountPath": "/tekton/bin", "readOnly": True},
    {"name": "tekton-internal-workspace", "mountPath": "/workspace"},
    {"name": "tekton-internal-home", "mountPath": "/tekton/home"},
    {"name": "tekton-internal-results", "mountPath": "/tekton/results"},
    {"name": "tekton-internal-steps", "mountPath": "/tekton/steps", "readOnly": True},
    {"name": "tekton-internal-artifacts", "mountPath": "/tekton/artifacts"},
]


def await_pod(store: Store, name: str, holds: Callable[[Object], bool], patience: float = PATIENCE) -> Object:
    """The pod as soon as it is as wanted; fails the test when that takes too long."""
    until = time.monotonic() + patience
    with store.watch(PODS) as watch:
        while (event := watch.get(max(until - time.monotonic(), 0.001))) is not None:
            change, pod = event
            if pod["metadata"]["name"] == name and change != "DELETED" and holds(pod):
                return pod
    pytest.fail(f"pod {name} is not as wanted: {store.get(PODS, 'default', name).get('status')}")


def await_gone(store: Store, name: str, patience: float = PATIENCE) -> Object:
    """The pod as it was deleted."""
    until = time.monotonic() + patience
    with store.watch(PODS) as watch:
        try:
            store.get(PODS, "default", name)
        except NotFoundError:
            pytest.fail(f"pod {name} was gone before it was watched")
        while (event := watch.get(max(until - time.monotonic(), 0.001))) is not None:
            change, pod = event
            if pod["metadata"]["name"] == name and change == "DELETED":
                return pod
    pytest.fail(f"pod {name} is still there")


def await_true(holds: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for what no watch tells of."""
    until = time.monotonic() + patience
    while not holds():
        if time.monotonic() > until:
            pytest.fail("it did not come true")
        time.sleep(0.005)


def over(pod: Object) -> bool:
    """Whether the pod has ended."""
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def state(pod: Object, container: str) -> Object:
    """A container's state."""
    status = pod["status"]
    for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if one["name"] == container:
            return one["state"]
    return {}


def terminated(pod: Object, container: str) -> Object:
    """How a container ended; fails the test when it did not."""
    return state(pod, container)["terminated"]


def running(pod: Object, container: str) -> bool:
    """Whether a container runs."""
    return "running" in state(pod, container)


def log_of(store: Store, pod: str, container: str) -> str:
    """A container's log."""
    return b"".join(store.read_log("default", pod, container, limit=1 << 20)).decode()


def processes_with(text: str) -> list[int]:
    """Processes that have a text in their arguments or environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                facts = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            except OSError:
                continue
            if text.encode() in facts and folder.name != str(Path("/proc/self").resolve().name):
                found.append(int(folder.name))
    return found


def entries(pod: Object, container: str) -> list[Object]:
    """What a container's message says."""
    return json.loads(terminated(pod, container)["message"])


def results(pod: Object, container: str) -> dict[str, str]:
    """The Task results in a container's message."""
    return {one["key"]: one["value"] for one in entries(pod, container) if one.get("type") == 1}


def refused(pod: Object, container: str) -> list[Object]:
    """The results that a container's message names as left out."""
    (entry,) = [one for one in entries(pod, container) if one["key"] == "ResultsRefused"]
    return json.loads(entry["value"])


def log_so_far(store: Store, container: str) -> str:
    """A container's log, empty before it starts."""
    try:
        return log_of(store, "run-pod", container)
    except UnavailableError:
        return ""


def argument(pid: int, text: str) -> bool:
    """Whether a process has a text in its arguments."""
    try:
        return text in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
