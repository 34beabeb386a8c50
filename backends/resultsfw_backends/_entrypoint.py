"""What both built-in backends know of the arguments Tekton's entrypoint takes in a Step's container."""

from collections.abc import Sequence

from resultsfw import Object, Run

__all__ = ["add_arguments", "container_status", "container_statuses", "containers", "terminated"]


def containers(pod: Object) -> dict[str, Object]:
    """The pod's containers by name, init containers too (native sidecars are among them)."""
    spec = pod.get("spec", {})
    return {
        one["name"]: one for one in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    }


def container_status(pod: Object, name: str) -> Object:
    """All the kubelet has reported of one container; empty as long as that is nothing."""
    return _statuses(pod).get(name, {})


def container_statuses(pod: Object) -> dict[str, Object]:
    """The states of the pod's containers by name, as far as the kubelet has reported them."""
    return {name: one.get("state", {}) for name, one in _statuses(pod).items()}


def _statuses(pod: Object) -> dict[str, Object]:
    status = pod.get("status", {})
    lists = (status.get("initContainerStatuses") or (), status.get("containerStatuses") or ())
    return {one["name"]: one for some in lists for one in some}


def terminated(pod: Object) -> dict[str, Object]:
    """The ``terminated`` part of those containers' states that have one."""
    return {
        name: state["terminated"] for name, state in container_statuses(pod).items() if "terminated" in state
    }


def add_arguments(run: Run, pod: Object, arguments: Sequence[str]) -> None:
    """Put arguments of Tekton's entrypoint where Tekton puts them, in every Step's container.

    A Step whose container is not started through the entrypoint (an embedder's own pod) is left alone.
    """
    by_name = containers(pod)
    for step in run.steps:
        given: list[str] = by_name[step.container].get("args") or []
        if "-step_metadata_dir" in given:
            place = given.index("-step_metadata_dir") + 2
            by_name[step.container]["args"] = [*given[:place], *arguments, *given[place:]]
