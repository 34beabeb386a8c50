"""Backend ``sidecar-logs``: a sidecar prints the results, the controller reads its log (TEP-0127).

What the sidecar prints, and in which versions, stands in `resultsfw_sidecar.wire`; version 0 is what
Tekton's own sidecar prints, which says neither where its log ends nor what it left out.
"""

import json
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from resultsfw import (
    Capabilities,
    Carrier,
    Cluster,
    Extraction,
    Limits,
    Object,
    Permission,
    Problem,
    ProblemCode,
    Run,
    hookimpl,
)
from resultsfw_backends._entrypoint import (
    add_arguments,
    container_status,
    container_statuses,
    containers,
    terminated,
)
from resultsfw_backends._log_lines import LogLines
from resultsfw_backends._sidecar_log import SidecarLog, declared_names
from resultsfw_sidecar import wire as wires

__all__ = ["CONTAINER", "Config", "capabilities", "extract", "pod_ready", "prepare_pod"]

CONTAINER: Final = "sidecar-tekton-log-results"
"""The container's name, Tekton's (a Sidecar ``tekton-log-results`` behind Tekton's ``sidecar-``)."""

_MOUNTED: Final = ("bin", "workspace", "home", "results", "steps", "artifacts")
"""Tekton's volumes ``tekton-internal-NAME`` that its own sidecar has mounted."""

_PLACES: Final = {"workspace": "/workspace"}

_SIGKILL: Final = 137
"""Exit code of a container ended by SIGKILL, the kernel's for memory included."""

TEKTON_LOG_BYTES: Final = 32 * 1024 * 1024
"""Bytes read of the log of Tekton's sidecar at most: it prints values of any size."""


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


class Config(BaseModel):
    """Options of ``config.sidecar-logs``."""

    model_config = ConfigDict(
        extra="forbid", alias_generator=_hyphens, populate_by_name=True, use_attribute_docstrings=True
    )

    image: str = "resultsfw/sidecar:0.1.0"
    """The sidecar's image."""
    wire: Literal["resultsfw", "tekton"] = "resultsfw"
    """Whose sidecar the image holds; Tekton's sends no end record, so a cut log cannot be told."""
    polling_interval: str = Field(default="100ms", pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$")
    """Between two looks for the Steps' end, where the sidecar cannot watch for it."""
    cpu: str = "10m"
    """Requested for the sidecar, so that quotas that demand a request accept the pod."""
    memory: str = "32Mi"
    """Requested, and its limit."""
    sidecar: Literal["native", "plain"] = "native"
    """A native sidecar, which Kubernetes 1.29 and later start again and end last, or a plain container."""


capabilities = Capabilities(
    summary="results in the log of a sidecar: as large as max-result-size and one API object allow",
    permissions=(
        Permission(verb="get", resource="pods/log", why="the results are in the log of the results sidecar"),
    ),
)


@hookimpl
def prepare_pod(run: Run, pod: Object, limits: Limits, config: Config) -> int:
    """Add the sidecar, with the arguments and mounts Tekton gives it, but everything read-only."""
    version = wires.TEKTON if config.wire == "tekton" else wires.WIRE
    add_arguments(run, pod, ["-result_from", "sidecar-logs"])
    volumes = {volume["name"] for volume in pod["spec"].get("volumes") or ()}
    mounts = [
        {"name": f"tekton-internal-run-{index}", "mountPath": f"/tekton/run/{index}", "readOnly": True}
        for index in range(len(run.steps))
    ]
    mounts += [
        {"name": name, "mountPath": _PLACES.get(place, f"/tekton/{place}"), "readOnly": True}
        for place in _MOUNTED
        if (name := f"tekton-internal-{place}") in volumes
    ]
    own = {f"step-{step.name}": [one.name for one in step.results] for step in run.steps if step.results}
    sidecar: Object = {
        "name": CONTAINER,
        "image": config.image,
        "command": [
            "/ko-app/sidecarlogresults",
            *("-results-dir", "/tekton/results"),
            *("-result-names", ",".join(one.name for one in run.results)),
            *("-step-names", ""),
            *("-step-results", json.dumps(own, separators=(",", ":"), sort_keys=True)),
        ],
        "env": [{"name": wires.ENV_POLLING_INTERVAL, "value": config.polling_interval}],
        "resources": {
            "requests": {"cpu": config.cpu, "memory": config.memory},
            "limits": {"memory": config.memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts,
    }
    if version == wires.WIRE:
        sidecar["env"] += [
            {"name": wires.ENV_WIRE, "value": str(version)},
            {"name": wires.ENV_MAX_RESULT_SIZE, "value": str(limits.result)},
            {"name": wires.ENV_MAX_RUN_SIZE, "value": str(limits.run)},
            {"name": wires.ENV_POD_UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        ]
    if config.sidecar == "native":
        sidecar["restartPolicy"] = "Always"
        # Having printed it must stay: Kubernetes would start it again.
        sidecar["command"] += ["-kubernetes-sidecar-mode", "true"]
        pod["spec"]["initContainers"] = [*(pod["spec"].get("initContainers") or ()), sidecar]
    else:
        pod["spec"]["containers"].append(sidecar)
    return version


@hookimpl
def pod_ready(run: Run, pod: Object, wire: int) -> bool:
    """The sidecar has ended for good, or it runs and should have printed all: the Steps have ended.

    Whether it has is seen only in its log, and only where that has an end record (`extract`).
    """
    state = container_statuses(pod).get(CONTAINER, {})
    if _over(pod):
        return "running" not in state
    if "terminated" in state:
        # A native one that ends before the Steps is started again and prints everything anew.
        return not _is_native(pod) or _steps_ended(run, pod)
    if "running" not in state or wire != wires.WIRE:
        return False
    return _leaving(pod) or (_steps_ended(run, pod) and not _killed(run, pod))


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, limits: Limits, wire: int) -> Extraction:
    """Read the log once, line by line, never more of it than the limits allow a true one to have."""
    if CONTAINER not in containers(pod):
        missing = Problem(
            code=ProblemCode.TRANSPORT_UNREADABLE,
            message=f'the pod has no container "{CONTAINER}" to read results from',
        )
        return Extraction(problems=(missing,))
    if wire not in (wires.TEKTON, wires.WIRE):
        unknown = Problem(
            code=ProblemCode.TRANSPORT_UNREADABLE,
            message=f"the pod's sidecar speaks wire version {wire}; this version of resultsfw reads "
            f"{wires.TEKTON} and {wires.WIRE}: read it with the version that made the pod",
        )
        return Extraction(problems=(unknown,))
    status = container_status(pod, CONTAINER)
    state = status.get("state", {})
    ended: Object | None = state.get("terminated") or status.get("lastState", {}).get("terminated")
    if "waiting" in state and ended is None:
        never = Problem(
            code=ProblemCode.TRANSPORT_UNREADABLE,
            message=f'container "{CONTAINER}" never started, so nobody read what a Step may have written',
        )
        return Extraction(problems=(never,))
    declared = declared_names(run)
    longest_name = max([2 * wires.NAME_LIMIT + 1, *(len(name.encode()) for _, name in declared)])
    longest = wires.max_line_bytes(limits.result, longest_name)
    values = min(limits.run, limits.result * len(declared))
    most = wires.max_line_bytes(values) + wires.max_line_bytes(0, longest_name) * (len(declared) + 2)
    if wire == wires.TEKTON:
        most = max(most, TEKTON_LOG_BYTES)
    metadata = pod["metadata"]
    running = "running" in state
    log = SidecarLog(
        container=CONTAINER, pod_uid=metadata.get("uid", ""), declared=declared, limits=limits, wire=wire
    )
    # One byte more than a true log can have, to see that there are too many.
    stream = cluster.read_log(metadata["namespace"], metadata["name"], CONTAINER, limit=most + 1)
    lines = LogLines(stream, longest=longest, limit=most)
    try:
        log.read(lines)
    finally:
        # An iterator need not have one; one that has a connection behind it does.
        if callable(close := getattr(stream, "close", None)):
            close()
    log.conclude(None if running else ended, outlived=_outlived(run, pod, ended))
    problems = log.problems
    if lines.over:
        over = Problem(
            code=ProblemCode.TRANSPORT_CORRUPT,
            message=f'the log of container "{CONTAINER}" has more than {most} bytes, more than all results '
            f"together may need; reading stopped there",
            size=most + 1,
            limit=most,
        )
        problems = [over, *problems]
    carrier = Carrier(
        container=CONTAINER,
        transport="log",
        used=lines.total,
        budget=most,
        results=tuple(name if step is None else f"step-{step}.{name}" for step, name in log.found),
        cut=lines.over,
    )
    early = running and log.open and not lines.over and not _over(pod)
    return Extraction(
        found=tuple(log.found.values()), problems=tuple(problems), carriers=(carrier,), early=early
    )


def _over(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _leaving(pod: Object) -> bool:
    """Whether the pod is deleted or evicted: its log goes with it."""
    told = pod.get("status", {}).get("conditions") or ()
    return "deletionTimestamp" in pod["metadata"] or any(
        one.get("type") == "DisruptionTarget" and one.get("status") == "True" for one in told
    )


def _is_native(pod: Object) -> bool:
    """Whether the pod has the sidecar as an init container that Kubernetes restarts."""
    return any(one["name"] == CONTAINER for one in pod["spec"].get("initContainers") or ())


def _steps_ended(run: Run, pod: Object) -> bool:
    ended = terminated(pod)
    return bool(run.steps) and all(step.container in ended for step in run.steps)


def _killed(run: Run, pod: Object) -> bool:
    """Whether a Step was killed with its entrypoint: the sidecar does not hear of such an end."""
    ended = terminated(pod)
    return any(ended.get(step.container, {}).get("exitCode") == _SIGKILL for step in run.steps)


def _outlived(run: Run, pod: Object, sidecar: Object | None) -> bool:
    """Whether a Step may have gone on after the sidecar was told to stop: what it wrote then, nobody read.

    Times have seconds. One that was killed in the sidecar's last second was killed before it, as the
    kubelet ends native sidecars last, or wrote nothing on SIGTERM.
    """
    states = container_statuses(pod)
    ends = [states.get(step.container, {}).get("terminated") for step in run.steps]
    if any("running" in states.get(step.container, {}) for step in run.steps):
        return True
    known = [end for end in ends if end is not None]
    if known and not any(end.get("exitCode") for end in known):
        return True
    at = (sidecar or {}).get("finishedAt", "")
    return any(
        end.get("finishedAt", "") > at
        or (end.get("finishedAt", "") == at != "" and end.get("exitCode") != _SIGKILL)
        for end in known
    )
