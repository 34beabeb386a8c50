"""Name pods, containers and other children of a run as Tekton names them."""

import hashlib
import re
from typing import Final

from resultsfw.cluster import Object

__all__ = ["LONGEST_NAME", "child_name", "container_name", "pod_name", "step_name"]


LONGEST_NAME: Final = 63
"""Characters of a name that is a DNS label."""

_HEAD: Final = LONGEST_NAME - 32  # what remains beside a hex MD5


def pod_name(name: str, attempt: int) -> str:
    """Return the pod of a TaskRun's attempt, as Tekton names it: ``NAME-pod``, ``NAME-pod-retry1``."""
    return child_name(name, "-pod" if attempt == 0 else f"-pod-retry{attempt}")


def child_name(parent: str, suffix: str) -> str:
    """Return a name for what belongs to ``parent``, at most 63 characters: too long, it is cut and hashed.

    As knative's ``kmeta.ChildName``, so that Tekton's names and ours are the same.
    """
    if len(parent) + len(suffix) <= LONGEST_NAME:
        return parent + suffix
    if len(suffix) < _HEAD:
        return f"{parent[: _HEAD - len(suffix)]}{_md5(parent)}{suffix}"
    name = parent[:_HEAD] + _md5(parent + suffix)
    return container_name(name + suffix[: LONGEST_NAME - len(name)])


def container_name(name: str) -> str:
    """Return a container's name: cut to 63 characters, its end a letter or a digit."""
    return re.sub("[^a-zA-Z0-9]+$", "", name[:LONGEST_NAME])


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def step_name(step: Object, index: int) -> str:
    """Return a Step's name as paths and containers have it, without ``step-``."""
    return step.get("name") or f"unnamed-{index}"
