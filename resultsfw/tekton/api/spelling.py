"""Correct the case of field names, as Tekton's webhook does when it decodes and stores a document.

Go's decoder (encoding/json) takes ``mountpath`` for ``mountPath``, and so a cluster stores the right name.
Where no webhook reads a document, it is corrected here (decision 0046).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.api.fields import FIELDS, ROOTS, VARIANTS
from resultsfw.tekton.api.unknown import kubernetes_structures

__all__ = ["correct_case"]

_SHOWN: Final = 80


def correct_case(document: Object) -> tuple[Object, tuple[str, ...]]:
    """Return a document with field names in Tekton's and Kubernetes' case, and a sentence for each corrected.

    Args:
        document: Of any kind, and of any shape below ``spec``; it is not changed. Only the ``spec`` of a
            TaskRun, Task, PipelineRun or Pipeline is read, by the names that v1 has. It is read as deep as it
            nests: the caller limits that.

    Raises:
        InputError: A mapping has a field in two cases; ``subject`` is the path of the wrong one.
    """
    root = ROOTS.get(str(document.get("kind")))
    if root is None or "spec" not in document:
        return document, ()
    notes: list[str] = []
    spec = _corrected(document["spec"], root, "spec", notes, in_tekton=True)
    return ({**document, "spec": spec}, tuple(notes)) if notes else (document, ())


def _corrected(value: Any, of: str, path: str, notes: list[str], *, in_tekton: bool) -> Any:
    """Return a value of a structure of Tekton's or of Kubernetes', with the right names."""
    if isinstance(value, list):
        return [
            _corrected(item, of, f"{path}[{index}]", notes, in_tekton=in_tekton)
            for index, item in enumerate(value)
        ]
    if not isinstance(value, Mapping):
        return value
    structures = kubernetes_structures()
    links = structures["tekton"].get(VARIANTS.get(of, of), {}) if in_tekton else structures["kubernetes"][of]
    known = {**dict.fromkeys(FIELDS[of]), **links} if in_tekton else links
    fields = {}
    for given, held in value.items():
        name = given if given in known else _right_name(given, known)
        where = f"{path}.{name}"
        if name != given:
            wrong = f"{path}.{given}"[:_SHOWN]
            if name in value or name in fields:
                raise InputError(f"{wrong}: {name} is given as well", subject=f"{path}.{given}")
            notes.append(f"{wrong}: read as {name}, the correct spelling")
        rule = FIELDS[of].get(name) if in_tekton else None
        if links.get(name):
            fields[name] = _corrected(held, links[name], where, notes, in_tekton=False)
        elif rule is not None and rule.of:
            fields[name] = _corrected(held, rule.of, where, notes, in_tekton=True)
        else:
            fields[name] = held
    return fields


def _right_name(given: str, known: Iterable[str]) -> str:
    """Return the known field that differs in case only, or the given name."""
    folded = given.lower()
    return next((name for name in known if name.lower() == folded), given)
