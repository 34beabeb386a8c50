"""The order of a Pipeline's Tasks: what each waits for, by ``runAfter`` and by the results it names."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from resultsfw.cluster import Object
from resultsfw.tekton.api.artifact_refs import ArtifactRef, parse_artifact_ref
from resultsfw.tekton.pipelinerun.matrix import is_matrixed
from resultsfw.tekton.pipelinerun.matrix_results import parse_length
from resultsfw.tekton.pipelinerun.result_refs import ResultRef, parse_reference, result_refs
from resultsfw.tekton.spec.variables import variables_in

__all__ = ["REFERRING", "CycleError", "Graph", "NamedValues", "graph_of", "named_values_of", "refs_of"]

REFERRING = ("displayName", "taskRef", "when", "params", "matrix", "workspaces")
"""Fields of a Pipeline Task in which a result of another one may be named."""

_EMBEDDED = ("steps", "sidecars", "stepTemplate", "volumes")
"""Parts of an embedded Task whose texts may name one, too (Tekton's docs, Propagated Results)."""


class CycleError(Exception):
    """The Tasks wait for each other or for a Task that does not exist, or a Task occurs twice."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Which Task waits for which.

    Attributes:
        parents: Of each Task under ``tasks``, those it waits for.
        order: All of them, each behind its parents.
    """

    parents: Mapping[str, frozenset[str]]
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NamedValues:
    """What a Pipeline Task names of others.

    Attributes:
        results: References to results, in the order of the text.
        artifacts: References to artifacts, likewise.
    """

    results: tuple[ResultRef, ...]
    artifacts: tuple[ArtifactRef, ...]


def refs_of(task: Object) -> Iterator[ResultRef]:
    """Yield the results of others that a Pipeline Task names, and so waits for.

    Those in the text of its embedded Task are among them, as in Tekton (``PipelineTaskResultRefs``).
    """
    yield from result_refs(list(_referring(task)))


def named_values_of(task: Object) -> NamedValues:
    """Return the results and artifacts of others that a Pipeline Task names, and so waits for.

    Tekton replaces artifacts only in an embedded Task, and the author must write ``runAfter``.
    """
    results: list[ResultRef] = []
    artifacts: list[ArtifactRef] = []
    for name in variables_in(list(_referring(task))):
        if (result := parse_reference(name)) is not None:
            results.append(result)
        elif (artifact := parse_artifact_ref(name)) is not None and artifact.section == "tasks":
            artifacts.append(artifact)
    return NamedValues(tuple(results), tuple(artifacts))


def _referring(task: Object) -> Iterator[Any]:
    """Yield the parts of a Pipeline Task in which others may be named."""
    embedded = task.get("taskSpec") or {}
    yield from (task.get(field) for field in REFERRING)
    yield from (embedded.get(part) for part in _EMBEDDED)


def _measured(task: Object, varying: Collection[str]) -> Iterator[str]:
    """Yield the Tasks whose matrices must have run before their lengths can be used in a Task.

    In Tekton the author writes ``runAfter``; without it, the length is 0 or 1.

    Args:
        task: A Pipeline Task.
        varying: Those whose number of combinations depends on results.
    """
    for field in (*REFERRING, "taskSpec"):
        for variable in variables_in(task.get(field)):
            length = parse_length(variable)
            if length is not None and (length.result or length.task in varying):
                yield length.task


def graph_of(spec: Object) -> Graph:
    """Return the order of the Tasks under ``tasks``, in time linear in Tasks and references.

    Raises:
        CycleError: There is none; in Tekton's words.
    """
    tasks = spec.get("tasks") or ()
    names = {task["name"] for task in tasks}
    parents: dict[str, frozenset[str]] = {}
    matrixed = any(is_matrixed(task) for task in tasks)
    varying = {task["name"] for task in tasks if next(result_refs(task.get("matrix")), None) is not None}
    for task in tasks:
        name = task["name"]
        if name in parents:
            raise CycleError(
                f"task {name} is already present in Graph, can't add it again: duplicate pipeline task"
            )
        values = named_values_of(task)
        named = {ref.task for ref in values.results} | {ref.owner for ref in values.artifacts}
        if matrixed:
            named |= set(_measured(task, varying))
        for parent in [*(task.get("runAfter") or ()), *sorted(named)]:
            if parent not in names:
                raise CycleError(
                    f"couldn't add link between {name} and {parent}: task {name} depends on {parent} but "
                    f"{parent} wasn't present in Pipeline"
                )
        parents[name] = frozenset(task.get("runAfter") or ()) | frozenset(named)
    order = _ordered(parents)
    if len(order) < len(parents):
        left = parents.keys() - set(order)
        first = min(left)
        after = ", ".join(f'"{name}"' for name in sorted(parents[first] & left))
        raise CycleError(f'cycle detected; task "{first}" depends on {after}')
    return Graph(parents, tuple(order))


def _ordered(parents: Mapping[str, frozenset[str]]) -> list[str]:
    """Return the Tasks, each behind its parents; without those that wait for a cycle (Kahn's algorithm)."""
    waiting = {name: len(waits) for name, waits in parents.items()}
    children: dict[str, list[str]] = {name: [] for name in parents}
    for name, waits in parents.items():
        for parent in waits:
            children[parent].append(name)
    order = [name for name, count in waiting.items() if count == 0]
    for name in order:  # grows while it is walked
        for child in children[name]:
            waiting[child] -= 1
            if waiting[child] == 0:
                order.append(child)
    return order
