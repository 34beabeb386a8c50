"""Refuses Pods that this engine cannot run as a cluster would, as an admission webhook does."""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final

from resultsfw.cluster import PODS, Kind, Object
from resultsfw.errors import ClusterError
from resultsfw.local.prober import HANDLERS, can_probe
from resultsfw.tekton.api.kinds import is_sidecar, is_step
from resultsfw.tekton.pod.hermetic import HERMETIC_VARIABLE

__all__ = ["admit", "problems_of"]

_RUN_LABEL: Final = "tekton.dev/taskRun"
_NOT_DONE: Final = {
    "livenessProbe": "liveness probes are not made without a cluster",
    "lifecycle": "lifecycle hooks are not run without a cluster",
}


_HERMETIC: Final = "a hermetic run needs a cluster: here its Steps would keep the network"
_BREAKPOINTS: Final = {
    "-breakpoint_on_failure": "debug.breakpoints.onFailure",
    "-debug_before_step": "debug.breakpoints.beforeSteps",
}
"""Flags of the entrypoint by which a Step waits for a person."""
_SIGNS: Final = "-enable_spire"
"""Flag of the entrypoint by which it signs results."""


def admit(kind: Kind, obj: Object) -> None:
    """Refuse a TaskRun's pod that would behave differently than on a cluster.

    Raises:
        ClusterError: The message names every unsupported field.
    """
    if kind != PODS or _RUN_LABEL not in (obj["metadata"].get("labels") or {}):
        return
    if problems := list(problems_of(obj)):
        raise ClusterError("; ".join(problems), subject=f"pod {obj['metadata'].get('name', '')}")


def problems_of(pod: Object) -> Iterator[str]:
    """Yield a sentence for each field of a pod's Steps and Sidecars that is not supported."""
    spec = pod["spec"]
    yield from _problems_of_steps(
        [container for container in spec.get("containers") or () if is_step(container["name"])]
    )
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if not is_sidecar(container["name"]):
            continue
        what = f'Sidecar "{container["name"].removeprefix("sidecar-")}"'
        if not container.get("command"):
            yield (
                f"{what} has no command, and that of its image is not known, as images are not pulled; "
                f"set a command or a script"
            )
        for field in ("readinessProbe", "startupProbe"):
            if container.get(field) and not can_probe(container[field]):
                yield (
                    f"{what} has a {field} that is not one of {', '.join(HANDLERS)}: only these are made "
                    f"without a cluster; set one of them, or use a cluster"
                )
        for field, why in _NOT_DONE.items():
            if container.get(field):
                yield f"{what} has a {field}: {why}; remove it, or use a cluster"


def _problems_of_steps(steps: Sequence[Object]) -> Iterator[str]:
    if any(
        variable.get("name") == HERMETIC_VARIABLE and variable.get("value") == "1"
        for step in steps
        for variable in step.get("env") or ()
    ):
        yield _HERMETIC
    flags = {flag for step in steps for flag in takewhile("--".__ne__, step.get("args") or ())}
    for flag, field in _BREAKPOINTS.items():
        if flag in flags:
            yield f"{field} needs a cluster, where a person can enter the container of a Step; remove it"
    if _SIGNS in flags:
        yield (
            "Tekton's entrypoint signs results only on a cluster; set the option termination-message of "
            "config.signed to signer"
        )
