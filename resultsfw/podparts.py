"""Add to a pod what a backend needs: folders for results, a sidecar, an init container, volumes.

Public for backends. Every function that adds something changes the pod in place, as ``prepare_pod`` and
``place_files`` do, and refuses names that the pod has already.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from resultsfw.cluster import Object
from resultsfw.entrypoint import add_arguments
from resultsfw.errors import InputError
from resultsfw.podchecks import refuse_containers, refuse_mounts, refuse_volumes
from resultsfw.pods import containers, is_plain
from resultsfw.types import ARTIFACTS, Run

__all__ = [
    "PLAIN_ROOT",
    "TEKTON_ROOT",
    "ResultFile",
    "add_init_container",
    "add_result_folders",
    "add_sidecar",
    "add_volumes",
    "confined",
    "result_files",
    "result_mounts",
    "run_mounts",
    "sidecar_arguments",
    "wait_for_sigterm_handler",
]

TEKTON_ROOT: Final = "/tekton"
"""Folder in which Steps of Tekton's pods write results."""

PLAIN_ROOT: Final = "/resultsfw"
"""Folder in which Steps of pods without Tekton's entrypoint write results."""

USER: Final = 65532
"""The user id of a container whose pod runs as root."""

_RESULTS: Final = "RESULTSFW_RESULTS"
_STEP_RESULTS: Final = "RESULTSFW_STEP_RESULTS"
"""Variables that name a Step's folders in pods without Tekton's entrypoint."""

_HANDLES_SIGTERM: Final = "until grep -q '^SigCgt:.*[4-7c-f]...$' /proc/1/status; do sleep 0.1; done"
"""Shell command that waits until process 1 has a handler for SIGTERM (bit 14 of the mask, proc(5))."""

_TEKTON_FOLDERS: Final = ("results", "steps", "artifacts")
"""Tekton's volumes ``tekton-internal-NAME`` with what Steps write, each mounted at ``/tekton/NAME``."""

_NAME: Final = re.compile(r"(?!\.\.?$)[A-Za-z0-9_.-]{1,200}")
_FILE_BYTES: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """The file of a result, or of provenance of artifacts, as the Step and a sidecar see it.

    Attributes:
        name: The result's name, or `ARTIFACTS`.
        step: The Step that declares it; ``None`` if the Task declares it.
        path: The absolute path.
    """

    name: str
    step: str | None = None
    path: str


def result_files(run: Run, pod: Object) -> tuple[ResultFile, ...]:
    """Return the files of everything that Steps may write, always in the same order: the Steps' own first.

    Args:
        run: The run.
        pod: Its pod, before or after it was prepared.
    """
    root = PLAIN_ROOT if is_plain(run, pod) else TEKTON_ROOT
    steps = [(step, f"{root}/steps/step-{step.name}") for step in run.steps]
    return (
        *(
            ResultFile(name=result.name, step=step.name, path=f"{folder}/results/{result.name}")
            for step, folder in steps
            for result in step.results
        ),
        *(
            ResultFile(name=ARTIFACTS, step=step.name, path=f"{folder}/{ARTIFACTS}")
            for step, folder in steps
            if step.artifacts
        ),
        *(
            ResultFile(name=result.name, path=f"{root}/results/{result.name}")
            for result in run.written_results
        ),
        *([ResultFile(name=ARTIFACTS, path=f"{root}/{ARTIFACTS}")] if run.artifacts else ()),
    )


def add_result_folders(run: Run, pod: Object, *, result_from: str) -> list[Object]:
    """Give each Step its folders for results, and return them as read-only mounts for a sidecar.

    In Tekton's pods the folders exist; an argument keeps results out of termination messages.
    In other pods, each Step's container gets a folder, and the variable ``RESULTSFW_RESULTS`` names it; if
    the Step declares results of its own, another one, which ``RESULTSFW_STEP_RESULTS`` names.

    Args:
        run: The run.
        pod: Its pod; it is changed.
        result_from: The name of the backend, for the entrypoint's argument ``-result_from``.

    Raises:
        InputError: Something of the pod's own conflicts; the message names it.
    """
    if is_plain(run, pod):
        return _add_plain_folders(run, pod)
    add_arguments(run, pod, ["-result_from", result_from])
    return result_mounts(run, pod)


def result_mounts(run: Run, pod: Object) -> list[Object]:
    """Return read-only mounts of the folders in which Steps write results, for a container that reads them.

    Args:
        run: The run.
        pod: Its pod. Without Tekton's entrypoint, one that got folders by `add_result_folders`; otherwise the
            result is empty.
    """
    if is_plain(run, pod):
        by_name = containers(pod)
        mounts = {
            mount["mountPath"]: {**mount, "readOnly": True}
            for step in run.steps
            for mount in by_name[step.container].get("volumeMounts") or ()
            if mount["mountPath"].startswith(f"{PLAIN_ROOT}/")
        }
        return list(mounts.values())
    present = {volume["name"] for volume in pod["spec"].get("volumes") or ()}
    return [
        {"name": f"tekton-internal-{name}", "mountPath": f"{TEKTON_ROOT}/{name}", "readOnly": True}
        for name in _TEKTON_FOLDERS
        if f"tekton-internal-{name}" in present
    ]


def run_mounts(run: Run, pod: Object) -> list[Object]:
    """Return read-only mounts of the folders in which Tekton's entrypoint records the end of each Step.

    Args:
        run: The run.
        pod: Its pod; without Tekton's entrypoint, the result is empty.
    """
    if is_plain(run, pod):
        return []
    return [
        {"name": f"tekton-internal-run-{index}", "mountPath": f"{TEKTON_ROOT}/run/{index}", "readOnly": True}
        for index in range(len(run.steps))
    ]


def sidecar_arguments(run: Run, pod: Object) -> list[str]:
    """Return the arguments by which Tekton's results sidecar, and ours, know what a run declares.

    Source: pkg/pod/pod.go (createResultsSidecar).

    Args:
        run: The run.
        pod: Its pod, before or after it was prepared.
    """
    own = {
        f"step-{step.name}": [result.name for result in step.results] for step in run.steps if step.results
    }
    return [
        *("-results-dir", f"{PLAIN_ROOT if is_plain(run, pod) else TEKTON_ROOT}/results"),
        *("-result-names", ",".join(result.name for result in run.results)),
        *("-step-names", ",".join(f"step-{step.name}" for step in run.steps if step.artifacts)),
        *("-step-results", json.dumps(own, separators=(",", ":"), sort_keys=True)),
    ]


def confined(pod: Object, *, cpu: str, memory: str, user: int | None = None) -> Object:
    """Return resources and security context of a container that every namespace admits.

    The security context complies with the Pod Security level ``restricted``, and the requests with quotas
    that demand them.

    Args:
        pod: The pod that the container is for.
        cpu: CPU request.
        memory: Memory request and limit.
        user: The user id, if the image has none of its own other than root. A user of the pod other than
            root takes precedence: the container can then read what Steps of that user wrote.
    """
    security: Object = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pods = (pod["spec"].get("securityContext") or {}).get("runAsUser")
    if pods == 0 or (pods is None and user is not None):
        # As root, the container could not start, nor could the pod.
        security["runAsUser"] = USER if user is None else user
    return {
        "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}},
        "securityContext": security,
    }


def add_sidecar(
    pod: Object, container: Object, *, volumes: Sequence[Object] = (), native: bool = True
) -> None:
    """Add a sidecar, and volumes that no other container may mount.

    Args:
        pod: The pod; it is changed.
        container: The container; see `confined` and `add_result_folders` for its parts.
        volumes: Volumes for the sidecar alone.
        native: Whether it is a native sidecar, which Kubernetes (1.29 and later) starts before the Steps and
            ends with SIGTERM when all of them have ended. Else a plain container, which must end by itself;
            in pods without Tekton's entrypoint nothing tells it when.

    Raises:
        InputError: The pod has a container or volume of that name.
        BackendError: Another container mounts one of the volumes.
    """
    refuse_containers(pod, container["name"])
    refuse_mounts(pod, {volume["name"] for volume in volumes}, own=container["name"])
    add_volumes(pod, volumes)
    spec = pod["spec"]
    if native:
        sidecar = {**container, "restartPolicy": "Always"}
        spec["initContainers"] = [*(spec.get("initContainers") or ()), sidecar]
    else:
        spec["containers"].append(container)


def wait_for_sigterm_handler(run: Run, pod: Object) -> Object:
    """Return the field ``lifecycle`` of a sidecar that collects on SIGTERM, where it needs one.

    The kernel drops a SIGTERM for which process 1 has no handler yet. A Step of a pod without Tekton's
    entrypoint may end before a slowly starting sidecar has installed its handler. The hook ``postStart``
    delays the Steps until it has, as the kubelet starts them after it. In Tekton's pods the result is empty:
    their Steps wait until all containers run.

    Args:
        run: The run.
        pod: Its pod. The sidecar's image must have ``sh``, ``grep`` and ``sleep``.
    """
    if not is_plain(run, pod):
        return {}
    return {"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", _HANDLES_SIGTERM]}}}}


def add_init_container(pod: Object, container: Object) -> None:
    """Add a container that ends before the Steps start, after the pod's own init containers.

    Args:
        pod: The pod; it is changed.
        container: The container. If it fails, it says why in its termination message.

    Raises:
        InputError: The pod has a container of that name.
    """
    refuse_containers(pod, container["name"])
    spec = pod["spec"]
    spec["initContainers"] = [*(spec.get("initContainers") or ()), container]


def add_volumes(pod: Object, volumes: Sequence[Object]) -> None:
    """Add volumes to the pod.

    Raises:
        InputError: The pod has a volume of one of the names.
    """
    if volumes:
        refuse_volumes(pod, volumes)
        pod["spec"]["volumes"] = [*(pod["spec"].get("volumes") or ()), *volumes]


def _add_plain_folders(run: Run, pod: Object) -> list[Object]:
    by_name = containers(pod)
    _refuse_names(run)
    for step in run.steps:
        _refuse_taken(by_name[step.container])
    volumes: list[Object] = [{"name": "resultsfw-results", "emptyDir": {}}]
    shared: Object = {"name": "resultsfw-results", "mountPath": f"{PLAIN_ROOT}/results"}
    mounts = [shared]
    for index, step in enumerate(run.steps):
        container = by_name[step.container]
        _add_folder(container, shared, _RESULTS)
        if step.results:
            name = f"resultsfw-step-{index}"
            volumes.append({"name": name, "emptyDir": {}})
            own = {"name": name, "mountPath": f"{PLAIN_ROOT}/steps/step-{step.name}/results"}
            _add_folder(container, own, _STEP_RESULTS)
            mounts.append(own)
    add_volumes(pod, volumes)
    return [{**mount, "readOnly": True} for mount in mounts]


def _add_folder(container: Object, mount: Object, variable: str) -> None:
    container["volumeMounts"] = [*(container.get("volumeMounts") or ()), dict(mount)]
    # First, so that the container's own variables may refer to it.
    container["env"] = [{"name": variable, "value": mount["mountPath"]}, *(container.get("env") or ())]


def _refuse_names(run: Run) -> None:
    """Refuse names that are not valid file names, or that the sidecar's flags cannot hold."""
    for step in run.steps:
        if step.results and not _NAME.fullmatch(step.name):
            raise InputError(
                f'the name of Step "{step.name}" cannot be that of a folder: use letters, digits, "-", "_" '
                f'and "."',
                subject=f"Step {step.name}",
            )
    step_results = [result for step in run.steps for result in step.results]
    for name in [result.name for result in (*run.results, *step_results)]:
        is_valid = name not in ("", ".", "..") and not any(char in name for char in "/,\0")
        if not is_valid or len(name.encode()) > _FILE_BYTES:
            raise InputError(
                f'result "{name}" cannot be the name of a file in {PLAIN_ROOT}/results: use no "/" and no '
                f'",", and at most {_FILE_BYTES} bytes',
                subject=f"result {name}",
            )


def _refuse_taken(container: Object) -> None:
    """Refuse variables and mounts of the container's own that are to be added."""
    name = container["name"]
    for variable in container.get("env") or ():
        if variable["name"] in (_RESULTS, _STEP_RESULTS):
            raise InputError(
                f'container "{name}" has a variable {variable["name"]} of its own, which is to name its '
                f"results folder: rename yours",
                subject=f"container {name}",
            )
    for mount in container.get("volumeMounts") or ():
        if f"{mount['mountPath']}/".startswith(f"{PLAIN_ROOT}/"):
            raise InputError(
                f'container "{name}" mounts volume "{mount["name"]}" at {mount["mountPath"]}, and '
                f"{PLAIN_ROOT} is where its results folders are: mount yours elsewhere",
                subject=f"container {name}",
            )
