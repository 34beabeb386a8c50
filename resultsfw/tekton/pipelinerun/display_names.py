"""Build the display names of a Pipeline Task's children from the params of each child.

The params are computed again: of a child that has ended, a cache need not hold them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.pipelinerun.children import names_of
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.result_refs import ResultUnread
from resultsfw.tekton.spec.expansion import Budget, Expansion, TooLargeError
from resultsfw.tekton.spec.variables import unprotect

__all__ = ["display_names"]

_SHOWN: Final = 1024
"""Characters of a name, before and after params are put in, and of a param in it, that a status shows."""


def display_names(facts: Facts, name: str) -> Iterator[str]:
    """Yield the display name of each child of a Pipeline Task, empty if it has none.

    As in Tekton (``getDisplayName``): the names of all ``include`` that agree with the child's params, else
    the ``displayName`` of the Pipeline Task. Params of the child are put into both.
    """
    task = facts.tasks[name][1]
    text = facts.inputs.shown_text(name, task.get("displayName") or "")
    includes = _named_includes(facts, name)
    if not includes and "$(params" not in text:
        yield from (text for _ in facts.runs[name])
        return
    shared = _texts(facts.inputs.shown_params(name))
    combinations = _combinations_by_child(facts, name)
    for child in facts.runs[name]:
        combination = combinations.get(child["metadata"]["name"], {})
        agreeing = " ".join(include["name"] for include in includes if _agrees(include, combination))
        yield _expand(agreeing or text, shared | _texts(combination)).strip()[:_SHOWN]


def _combinations_by_child(facts: Facts, name: str) -> Mapping[str, Mapping[str, Any]]:
    try:
        combinations = facts.combinations(name)
    except (RefusedRun, ResultUnread, TooLargeError):
        return {}  # it has children, and what they were made of cannot be read any more
    run = facts.plan.names.later["context.pipelineRun.name"]
    names = names_of(run, name, len(combinations))
    return dict(zip(names, map(unprotect, combinations), strict=True))


def _named_includes(facts: Facts, name: str) -> list[Object]:
    """Return the ``include`` entries of a Pipeline Task's matrix that have a name, with results in them."""
    matrix = facts.tasks[name][1].get("matrix") or {}
    named = [include for include in matrix.get("include") or () if include.get("name")]
    if not named:
        return []
    try:
        matrix = unprotect(facts.inputs.matrix(name))
    except (ResultUnread, TooLargeError):
        return []
    return [include for include in matrix["include"] if include.get("name")]


def _agrees(include: Object, combination: Mapping[str, Any]) -> bool:
    params = include.get("params") or ()
    return all(combination.get(param["name"]) == param.get("value") for param in params)


def _texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Return what the variables of those params stand for that are texts, cut."""
    return {f"params.{name}": value[:_SHOWN] for name, value in params.items() if isinstance(value, str)}


def _expand(text: str, texts: Mapping[str, str]) -> str:
    """Return the shown part of a text with params put in."""
    text = text[:_SHOWN]
    try:
        return Expansion(texts.get, Budget()).text(text, "displayName")
    except TooLargeError:
        return text
