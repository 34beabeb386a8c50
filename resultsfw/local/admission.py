"""Refuses Pods that this engine cannot run as a cluster would, as an admission webhook does."""

from collections.abc import Iterator
from typing import Final

from resultsfw.cluster import PODS, Kind, Object
from resultsfw.errors import ClusterError
from resultsfw.local.prober import HANDLERS, can_probe
from resultsfw.tekton.api.kinds import is_sidecar

__all__ = ["admit", "problems_of"]

_RUN_LABEL: Final = "tekton.dev/taskRun"
_NOT_DONE: Final = {
    "livenessProbe": "liveness probes are not made without a cluster",
    "lifecycle": "lifecycle hooks are not run without a cluster",
}


def admit(kind: Kind, obj: Object) -> None:
    """Refuse a TaskRun's pod with a Sidecar that would behave differently than on a cluster.

    Raises:
        ClusterError: The message names every unsupported field.
    """
    if kind != PODS or _RUN_LABEL not in (obj["metadata"].get("labels") or {}):
        return
    if problems := list(problems_of(obj)):
        raise ClusterError("; ".join(problems), subject=f"pod {obj['metadata'].get('name', '')}")


def problems_of(pod: Object) -> Iterator[str]:
    """Yield a sentence for each field of a pod's Sidecars that is not supported."""
    spec = pod["spec"]
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
                    f"{what} has a {field} that is none of {', '.join(HANDLERS)}: only these are made "
                    f"without a cluster; set one of them, or use a cluster"
                )
        for field, why in _NOT_DONE.items():
            if container.get(field):
                yield f"{what} has a {field}: {why}; remove it, or use a cluster"
