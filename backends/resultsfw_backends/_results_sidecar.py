"""The results sidecar in a pod: how it is put in, when it has said all, and reading what it said.

Shared by all backends whose results leave a pod through it, whichever way it takes.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from resultsfw import (
    Cluster,
    Extraction,
    Limits,
    Object,
    Problem,
    ProblemCode,
    Reference,
    Run,
    TransportUsage,
)
from resultsfw.errors import InputError, LogUnavailableError
from resultsfw.pods import (
    RESULTS_SIDECAR,
    container_states,
    container_statuses,
    containers,
    has_finished,
    is_terminating,
    terminated_states,
)
from resultsfw_backends._entrypoint import add_arguments
from resultsfw_backends._exposure import refuse_mounts
from resultsfw_backends._log_lines import LogLines
from resultsfw_backends._plain_pod import (
    RESULTS,
    ROOT,
    add_folders,
    check_pod,
    is_plain,
    may_have_missed,
    refuse_volumes,
    steps_ended,
)
from resultsfw_backends._sidecar_log import SidecarLog, declared_names, value_of
from resultsfw_sidecar import wire as wires

__all__ = [
    "SidecarConfig",
    "add_fetch",
    "add_sidecar",
    "end_of",
    "has_ended",
    "has_said_all",
    "may_start_again",
    "read_log",
    "read_records",
    "unread",
]

_PROGRAM: Final = "/ko-app/sidecarlogresults"

_MOUNTED: Final = ("bin", "workspace", "home", "results", "steps", "artifacts")
"""Tekton's volumes ``tekton-internal-NAME`` that its own sidecar has mounted."""

_PLACES: Final = {"workspace": "/workspace"}

_USER: Final = 65532
"""The user of our image."""

_SIGKILL: Final = 137
"""Exit code of a container ended by SIGKILL, the kernel's for memory included."""

Resolve = Callable[[dict[str, Any]], str | Reference | None]
"""From a value's record to the value; ``None`` where the record is none that can be."""


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


class SidecarConfig(BaseModel):
    """Options of every backend that has the results sidecar in its pods."""

    model_config = ConfigDict(
        extra="forbid", alias_generator=_hyphens, populate_by_name=True, use_attribute_docstrings=True
    )

    image: str = "resultsfw/sidecar:0.1.0"
    """The sidecar's image."""
    polling_interval: str = Field(default="100ms", pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$")
    """Between two looks for the Steps' end, where the sidecar cannot watch for it."""
    cpu: str = "10m"
    """Requested for the sidecar, so that quotas that demand a request accept the pod."""
    memory: str = "32Mi"
    """Requested, and its limit."""
    sidecar: Literal["native", "plain"] = "native"
    """A native sidecar, which Kubernetes 1.29 and later start again and end last, or a plain container."""


def add_sidecar(
    run: Run,
    pod: Object,
    config: SidecarConfig,
    *,
    limits: Limits,
    transport: str = "",
    env: Sequence[Object] = (),
    mounts: Sequence[Object] = (),
    volumes: Sequence[Object] = (),
    tekton: bool = False,
) -> None:
    """Add the sidecar, with the arguments and mounts Tekton gives it, but everything read-only.

    A pod that is not Tekton's (`is_plain`) gets folders for results as well, and a sidecar that waits until
    the kubelet tells it that the pod's containers have ended.

    Args:
        run: Whose results it hands out.
        pod: Changed.
        config: The backend's.
        limits: Told to the sidecar, in bytes.
        transport: The sidecar's module that carries the results, ``resultsfw_sidecar.to_NAME``; none: its
            log.
        env: More variables for it alone.
        mounts: More mounts for it alone.
        volumes: More volumes of the pod, for those.
        tekton: Whether Tekton's own sidecar is in the image: it takes no variables of ours.

    Raises:
        InputError: The pod is not Tekton's, and something in it is in the way; the message names it.
        BackendError: Another container mounts one of those volumes.
    """
    spec = pod["spec"]
    refuse_mounts(pod, {volume["name"] for volume in volumes}, own=RESULTS_SIDECAR)
    plain = is_plain(run, pod)
    if plain:
        folders, waiting = _prepare_plain(run, pod, config, volumes=volumes, tekton=tekton)
    else:
        # The entrypoint takes any name but "termination-message" for: write no results into the message.
        add_arguments(run, pod, ["-result_from", "sidecar-logs"])
        folders, waiting = _tekton_folders(run, pod), []
    own = {f"step-{step.name}": [one.name for one in step.results] for step in run.steps if step.results}
    sidecar: Object = {
        "name": RESULTS_SIDECAR,
        "image": config.image,
        "command": [
            _PROGRAM,
            *("-results-dir", RESULTS if plain else "/tekton/results"),
            *("-result-names", ",".join(one.name for one in run.results)),
            *("-step-names", ""),
            *("-step-results", json.dumps(own, separators=(",", ":"), sort_keys=True)),
        ],
        "env": [{"name": wires.ENV_POLLING_INTERVAL, "value": config.polling_interval}],
        **_confined(spec, config),
        "volumeMounts": [*folders, *mounts],
    }
    if not tekton:
        sidecar["env"] += [
            {"name": wires.ENV_WIRE, "value": str(wires.WIRE)},
            {"name": wires.ENV_MAX_RESULT_SIZE, "value": str(limits.result_bytes)},
            {"name": wires.ENV_MAX_RUN_SIZE, "value": str(limits.run_bytes)},
            {"name": wires.ENV_POD_UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            *waiting,
            *([{"name": wires.ENV_TRANSPORT, "value": transport}] if transport else ()),
            *env,
        ]
    if volumes:
        spec["volumes"] = [*(spec.get("volumes") or ()), *volumes]
    if config.sidecar == "native":
        sidecar["restartPolicy"] = "Always"
        # Having said all it stays, since Kubernetes starts it again. A Step that has not ended a minute
        # later shows by that: it ends itself then, says everything once more, and the controller sees it.
        sidecar["command"] += ["-kubernetes-sidecar-mode", "true"]
        spec["initContainers"] = [*(spec.get("initContainers") or ()), sidecar]
    else:
        spec["containers"].append(sidecar)


def add_fetch(
    pod: Object, config: SidecarConfig, *, name: str, transport: str, env: Sequence[Object], mount: Object
) -> None:
    """Add an init container with the sidecar's program, which brings values into the pod.

    Args:
        pod: Changed.
        config: The backend's.
        name: The container's.
        transport: The program's module that knows how.
        env: What to bring, and from where.
        mount: Where to put it.
    """
    spec = pod["spec"]
    container: Object = {
        "name": name,
        "image": config.image,
        "command": [_PROGRAM, "fetch"],
        "env": [{"name": wires.ENV_TRANSPORT, "value": transport}, *env],
        **_confined(spec, config),
        "volumeMounts": [mount],
    }
    spec["initContainers"] = [*(spec.get("initContainers") or ()), container]


def _confined(spec: Object, config: SidecarConfig) -> Object:
    """What our program gets of a node, and may do there."""
    security: Object = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if (spec.get("securityContext") or {}).get("runAsUser") == 0:
        # The pod's own user would be root, as which it may not start: nor would the pod, ever.
        security["runAsUser"] = _USER
    return {
        "resources": {
            "requests": {"cpu": config.cpu, "memory": config.memory},
            "limits": {"memory": config.memory},
        },
        "securityContext": security,
    }


def _tekton_folders(run: Run, pod: Object) -> list[Object]:
    """What Tekton's own sidecar has mounted."""
    present = {volume["name"] for volume in pod["spec"].get("volumes") or ()}
    runs = [(f"tekton-internal-run-{index}", f"/tekton/run/{index}") for index in range(len(run.steps))]
    others = [(f"tekton-internal-{place}", _PLACES.get(place, f"/tekton/{place}")) for place in _MOUNTED]
    mounted = [*runs, *(one for one in others if one[0] in present)]
    return [{"name": name, "mountPath": path, "readOnly": True} for name, path in mounted]


def _prepare_plain(
    run: Run, pod: Object, config: SidecarConfig, *, volumes: Sequence[Object], tekton: bool
) -> tuple[list[Object], list[Object]]:
    """Make a pod ready that is not Tekton's; the sidecar's mounts, and variables that say how to wait."""
    if tekton or config.sidecar != "native":
        asked = "wire: tekton" if tekton else f"sidecar: {config.sidecar}"
        raise InputError(
            f"the backend's option {asked} is for Tekton's pods: in a pod without Tekton's entrypoint only "
            f"the kubelet tells when its containers have ended, and only to a native sidecar of ours",
            subject=asked,
        )
    if RESULTS_SIDECAR in containers(pod):
        raise InputError(
            f'the pod already has a container "{RESULTS_SIDECAR}": prepare each pod once, from the pod as it '
            f"was before",
            subject=f"container {RESULTS_SIDECAR}",
        )
    check_pod(run, pod)
    folders = add_folders(run, pod)
    refuse_volumes(pod, volumes)
    waiting = {wires.ENV_WATCH: wires.WATCH_SIGNAL, wires.ENV_TEKTON_ROOT: ROOT}
    return folders, [{"name": name, "value": value} for name, value in waiting.items()]


def _waits_for_signal(pod: Object) -> bool:
    """Whether the pod's sidecar was made to wait for the kubelet's word."""
    env = containers(pod).get(RESULTS_SIDECAR, {}).get("env") or ()
    return {"name": wires.ENV_WATCH, "value": wires.WATCH_SIGNAL} in env


def has_said_all(run: Run, pod: Object, *, wire: int) -> bool:
    """Whether to look into its log: it has ended for good, or it runs and the Steps have ended.

    Whether it has said all is seen only in its log, and only where that has an end record (`read_log`).
    """
    state = container_states(pod).get(RESULTS_SIDECAR, {})
    if "running" in state and not has_finished(pod) and wire == wires.WIRE:
        if _waits_for_signal(pod):
            return is_terminating(pod)  # else it has only begun to speak when it ends, a moment later
        return is_terminating(pod) or (steps_ended(run, pod) and not _killed(run, pod))
    return has_ended(run, pod)


def has_ended(run: Run, pod: Object) -> bool:
    """Whether it has ended for good, and with it all that it has to say elsewhere than in its log."""
    status = container_statuses(pod).get(RESULTS_SIDECAR, {})
    state = status.get("state", {})
    if has_finished(pod):
        return "running" not in state
    if not _is_native(pod):
        return "terminated" in state
    # A native one that ends before the Steps is started again and says everything anew. One that ended well
    # had waited for the Steps; the kubelet lets it wait up to five minutes for its next start.
    said = status.get("lastState", {}).get("terminated", {}).get("exitCode") == 0
    return ("terminated" in state or ("waiting" in state and said)) and steps_ended(run, pod)


def end_of(pod: Object) -> Object | None:
    """The sidecar's ``terminated``, of its last process that ended; ``None`` while its first one runs.

    Where one had ended well, having said all, and the next one was killed, what the first one said stands.
    """
    status = container_statuses(pod).get(RESULTS_SIDECAR, {})
    ended = _end(status)
    before: Object = status.get("lastState", {}).get("terminated") or {}
    return before if ended is not None and ended.get("exitCode") and before.get("exitCode") == 0 else ended


def may_start_again(pod: Object) -> bool:
    """Whether a sidecar that ended can be started once more: a native one, while the pod is not over."""
    return _is_native(pod) and not has_finished(pod)


def unread(pod: Object, *, wire: int, known: Iterable[int]) -> Extraction | None:
    """Why there is nothing to be read of a pod's sidecar, if so."""

    def never(message: str) -> Extraction:
        return Extraction(problems=(Problem(code=ProblemCode.TRANSPORT_UNREADABLE, message=message),))

    if RESULTS_SIDECAR not in containers(pod):
        return never(f'the pod has no container "{RESULTS_SIDECAR}" to read results from')
    if wire not in known:
        versions = " and ".join(str(one) for one in known)
        return never(
            f"the pod's sidecar speaks wire version {wire}; this version of resultsfw reads {versions}: "
            f"read it with the version that made the pod"
        )
    status = container_statuses(pod).get(RESULTS_SIDECAR, {})
    if "waiting" in status.get("state", {}) and _end(status) is None:
        return never(
            f'container "{RESULTS_SIDECAR}" never started, so nobody read what a Step may have written'
        )
    return None


def read_log(
    run: Run,
    pod: Object,
    cluster: Cluster,
    *,
    limits: Limits,
    wire: int,
    least: int = 0,
    resolve: Resolve = value_of,
) -> Extraction:
    """Read its log once, line by line, never more of it than the limits allow a true one to have.

    Args:
        run: Whose.
        pod: As last seen.
        cluster: Where the log is.
        limits: Bytes that stand in one record and in all of them together.
        wire: What the sidecar speaks.
        least: Bytes of log that are read in any case.
        resolve: See `read_records`.
    """
    longest, most = _walls(run, limits)
    most = max(most, least)
    metadata = pod["metadata"]
    running = "running" in container_statuses(pod).get(RESULTS_SIDECAR, {}).get("state", {})
    # One byte more than a true log can have, to see that there are too many.
    stream = cluster.read_log(metadata["namespace"], metadata["name"], RESULTS_SIDECAR, limit=most + 1)
    lines = LogLines(stream, longest=longest, limit=most)
    try:
        extraction = read_records(
            run,
            pod,
            lines,
            whose=f'log of container "{RESULTS_SIDECAR}"',
            limits=limits,
            wire=wire,
            resolve=resolve,
        )
    finally:
        # An iterator need not have one; one that has a connection behind it does.
        if callable(close := getattr(stream, "close", None)):
            close()
    return replace(extraction, too_early=extraction.too_early and running and not has_finished(pod))


def read_records(
    run: Run,
    pod: Object,
    lines: LogLines | bytes,
    *,
    whose: str,
    limits: Limits,
    wire: int = wires.WIRE,
    resolve: Resolve = value_of,
) -> Extraction:
    """What a sidecar's records say, wherever they were carried.

    Args:
        run: Whose.
        pod: As last seen: it says how the sidecar ended, and whether a Step outlived it.
        lines: The records; all of them as bytes where they are known to be few.
        whose: Where they are, for messages: ``log of container "x"``.
        limits: Bytes of a value that is told as too large where its record is cut.
        wire: What the sidecar speaks.
        resolve: Finds the value of a record that says only where it is.

    Returns:
        With ``too_early`` where the end record is not there yet.
    """
    if isinstance(lines, bytes):
        longest, most = _walls(run, limits)
        lines = LogLines([lines], longest=longest, limit=most)
    status = container_statuses(pod).get(RESULTS_SIDECAR, {})
    ended = _end(status)
    records = SidecarLog(
        whose=whose,
        pod_uid=pod["metadata"].get("uid", ""),
        declared=declared_names(run),
        limits=limits,
        wire=wire,
        resolve=resolve,
    )
    records.read(lines)
    running = "running" in status.get("state", {})
    by_signal = _waits_for_signal(pod)
    outlived = (may_have_missed if by_signal else _outlived)(run, pod, None if running else ended)
    records.conclude(None if running else ended, outlived=outlived)
    problems = records.problems
    if lines.over:
        over = Problem(
            code=ProblemCode.TRANSPORT_CORRUPT,
            message=f"the {whose} has more than {lines.limit} bytes, more than all results together may "
            f"need; reading stopped there",
            size=lines.limit + 1,
            limit=lines.limit,
        )
        problems = [over, *problems]
    carrier = TransportUsage(
        container=RESULTS_SIDECAR,
        transport=whose.partition(" ")[0],
        used=lines.total,
        budget=lines.limit,
        results=tuple(name if step is None else f"step-{step}.{name}" for step, name in records.found),
        cut=lines.over,
    )
    return Extraction(
        results=tuple(records.found.values()),
        problems=tuple(problems),
        transports=(carrier,),
        # Of a pod seen before its Steps were seen to end, the next look says whether they had.
        too_early=(records.open and not lines.over) or (by_signal and running and outlived),
        read_error=_kubelet_failed(whose, records.kubelet_error, pod) if records.kubelet_error else None,
    )


def _kubelet_failed(whose: str, error: str, pod: Object) -> LogUnavailableError:
    """The error for a log that a kubelet could not read to its end; the next try may come right."""
    metadata = pod["metadata"]
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    return LogUnavailableError(
        f'the kubelet answered "{error}" in place of the {whose}',
        subject=f"Pod {name}, container {RESULTS_SIDECAR}",
    )


def _walls(run: Run, limits: Limits) -> tuple[int, int]:
    """Bytes of the longest record, and of all of them, that a true sidecar can write."""
    declared = declared_names(run)
    longest_name = max([2 * wires.NAME_LIMIT + 1, *(len(name.encode()) for _, name in declared)])
    values = min(limits.run_bytes, limits.result_bytes * len(declared))
    most = wires.max_line_bytes(values) + wires.max_line_bytes(0, longest_name) * (len(declared) + 2)
    return wires.max_line_bytes(limits.result_bytes, longest_name), most


def _end(status: Object) -> Object | None:
    """How the container ended, or ended last."""
    ended: Object | None = status.get("state", {}).get("terminated") or status.get("lastState", {}).get(
        "terminated"
    )
    return ended


def _is_native(pod: Object) -> bool:
    """Return whether the sidecar is one of the init containers: a native sidecar."""
    return any(one["name"] == RESULTS_SIDECAR for one in pod["spec"].get("initContainers") or ())


def _killed(run: Run, pod: Object) -> bool:
    """Whether a Step was killed with its entrypoint: the sidecar does not hear of such an end."""
    ended = terminated_states(pod)
    return any(ended.get(step.container, {}).get("exitCode") == _SIGKILL for step in run.steps)


def _outlived(run: Run, pod: Object, sidecar: Object | None) -> bool:
    """Whether a Step may have gone on after the sidecar was told to stop: what it wrote then, nobody read.

    Times have seconds. One that was killed in the sidecar's last second was killed before it, as the
    kubelet ends native sidecars last, or wrote nothing on SIGTERM.
    """
    states = container_states(pod)
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
