"""Infer how a pod without a stamp carries its results: Tekton's own controller created it."""

from typing import Final

from resultsfw.cluster import Object
from resultsfw.flags import DEFAULT_BACKEND, Flags
from resultsfw.stamps import read_stamp
from resultsfw.tekton.api.kinds import is_step
from resultsfw.types import Stamp

__all__ = ["TEKTON_WIRE", "infer_stamp"]

TEKTON_WIRE: Final = 0
"""The wire version, in every backend that reads Tekton's pods, of what Tekton's own programs write."""


def infer_stamp(pod: Object, flags: Flags) -> tuple[Stamp, str]:
    """Return the stamp by which to read a pod, and in words how that is known.

    Tekton tells its entrypoint (``-result_from NAME``) when results do not travel by message; that
    argument, not a flag that may have changed since, says how the pod was made.
    """
    if (stamp := read_stamp(pod)) is not None:
        return stamp, "the pod is stamped with it"
    for container in pod["spec"]["containers"]:
        arguments = container.get("args") or []
        if is_step(container["name"]) and "-result_from" in arguments[:-1]:
            name = arguments[arguments.index("-result_from") + 1]
            how = f'the entrypoint of container "{container["name"]}" was told "-result_from {name}"'
            return Stamp(name, TEKTON_WIRE, flags.max_result_size), how
    how = "no Step's entrypoint was told another way (-result_from)"
    return Stamp(DEFAULT_BACKEND, TEKTON_WIRE, flags.max_result_size), how
