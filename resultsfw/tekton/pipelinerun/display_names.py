"""Name the children of a Pipeline Task for people, by the params that each is given."""

import contextlib
from collections.abc import Iterator
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.result_refs import ResultUnread
from resultsfw.tekton.spec.expansion import Budget, Expansion, TooLargeError
from resultsfw.tekton.spec.params import given_params
from resultsfw.tekton.spec.variables import unprotect

__all__ = ["display_names"]

_SHOWN: Final = 1024
"""Characters of a name that a status shows."""


def display_names(facts: Facts, name: str) -> Iterator[str]:
    """Yield the display name of each child of a Pipeline Task, empty if it has none.

    As in Tekton (``getDisplayName``): the names of all ``include`` that agree with the child's params, else
    the ``displayName`` of the Pipeline Task. Params of the child are put into both.
    """
    task = facts.tasks[name][1]
    text = facts.inputs.shown_text(name, task.get("displayName") or "")
    includes = [include for include in _includes(facts, name) if include.get("name")]
    for child in facts.runs[name]:
        if not (text or includes):
            yield ""
            continue
        values = {f"params.{param}": value for param, value in given_params(child)}
        agreeing = [include["name"] for include in includes if _agrees(include, values)]
        shown = [_expand(part, values) for part in agreeing or [text]]
        yield " ".join(shown).strip()[:_SHOWN]


def _includes(facts: Facts, name: str) -> list[Object]:
    """Return the ``include`` list of a Pipeline Task's matrix, with results in it."""
    matrix = facts.tasks[name][1].get("matrix") or {}
    if not matrix.get("include"):
        return []
    with contextlib.suppress(ResultUnread, TooLargeError):  # else those agree whose values are known
        matrix = unprotect(facts.inputs.matrix(name))
    return list(matrix["include"])


def _agrees(include: Object, values: Object) -> bool:
    params = include.get("params") or ()
    return all(values.get(f"params.{param['name']}") == param.get("value") for param in params)


def _expand(text: str, values: Object) -> str:
    """Return a text with the texts among these values put in."""
    texts = {name: value[:_SHOWN] for name, value in values.items() if isinstance(value, str)}
    try:
        return Expansion(texts.get, Budget()).text(text, "displayName")
    except TooLargeError:
        return text
