"""Finds fields that Kubernetes' own structures do not have, where no API server reads the document.

`kubernetes.json` holds the fields of the structures that Tekton's specs contain (k8s.io/api/core/v1 as
tektoncd/pipeline uses it at commit 3ee1745), and where they occur in Tekton's types. A cluster may be newer:
what is found is worth a warning, not a refusal.
"""

import difflib
import functools
import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from resultsfw.tekton.api.fields import FIELDS, ROOTS, VARIANTS

__all__ = ["kubernetes_structures", "unknown_fields"]

_NEAR = 0.7


@functools.cache
def kubernetes_structures() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """Return structures by origin (``kubernetes``, ``tekton``), type and field: the type of Kubernetes there.

    An empty text is a plain value. Under ``tekton`` are only the fields that hold a structure of Kubernetes.
    """
    facts: Mapping[str, Mapping[str, Mapping[str, str]]] = json.loads(
        resources.files(__package__).joinpath("kubernetes.json").read_text(encoding="utf-8")
    )
    return facts


def unknown_fields(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each field of a document that no structure of Kubernetes has there.

    Args:
        document: A TaskRun, Task, PipelineRun or Pipeline that was parsed.
    """
    root = ROOTS.get(str(document.get("kind")))
    if root is not None:
        yield from _in_tekton(document.get("spec"), root, "spec")


def _in_tekton(value: Any, of: str, path: str) -> Iterator[str]:
    links = kubernetes_structures()["tekton"].get(VARIANTS.get(of, of), {})
    for item, where in _items(value, path):
        for name, inner in item.items():
            rule = FIELDS[of].get(name)
            if name in links:
                yield from _in_kubernetes(inner, links[name], f"{where}.{name}")
            elif rule is not None and rule.of:
                yield from _in_tekton(inner, rule.of, f"{where}.{name}")


def _in_kubernetes(value: Any, of: str, path: str) -> Iterator[str]:
    fields = kubernetes_structures()["kubernetes"][of]
    for item, where in _items(value, path):
        for name, inner in item.items():
            if name not in fields:
                near = difflib.get_close_matches(name, fields, n=1, cutoff=_NEAR)
                hint = f'; did you mean "{near[0]}"?' if near else ""
                yield f"{where}.{name}: no field of Kubernetes that is known here{hint}"
            elif fields[name]:
                yield from _in_kubernetes(inner, fields[name], f"{where}.{name}")


def _items(value: Any, path: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield a mapping, or the mappings of a list, each with its path."""
    listed = [(value, path)]
    if isinstance(value, list):
        listed = [(item, f"{path}[{index}]") for index, item in enumerate(value)]
    return ((item, where) for item, where in listed if isinstance(item, Mapping))
