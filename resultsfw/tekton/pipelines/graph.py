"""The order of a Pipeline's Tasks: what each waits for, by ``runAfter`` and by the results it names."""

from collections.abc import Mapping
from dataclasses import dataclass

from resultsfw.cluster import Object
from resultsfw.tekton.pipelines.references import result_refs

__all__ = ["REFERRING", "CycleError", "Graph", "graph_of"]

REFERRING = ("displayName", "taskRef", "when", "params", "workspaces")
"""Fields of a Pipeline Task in which a result of another one may be named, and makes it wait for that one.

In an embedded Task's own text a result may be named, too, but there it makes nobody wait (Tekton's docs,
Propagated Results)."""


class CycleError(Exception):
    """The Tasks wait for each other, or for one that is not there; or one is there twice."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Who waits for whom.

    Attributes:
        parents: Of each Task under ``tasks``, those it waits for.
    """

    parents: Mapping[str, frozenset[str]]


def graph_of(spec: Object) -> Graph:
    """The order of the Tasks under ``tasks``.

    Raises:
        CycleError: There is none; in Tekton's words.
    """
    tasks = spec.get("tasks") or ()
    names = {task["name"] for task in tasks}
    parents: dict[str, frozenset[str]] = {}
    for task in tasks:
        name = task["name"]
        if name in parents:
            raise CycleError(
                f"task {name} is already present in Graph, can't add it again: duplicate pipeline task"
            )
        named = {ref.task for field in REFERRING for ref in result_refs(task.get(field))}
        for parent in [*(task.get("runAfter") or ()), *sorted(named)]:
            if parent not in names:
                raise CycleError(
                    f"couldn't add link between {name} and {parent}: task {name} depends on {parent} but "
                    f"{parent} wasn't present in Pipeline"
                )
        parents[name] = frozenset(task.get("runAfter") or ()) | frozenset(named)
    left = dict(parents)
    while left:
        free = [name for name, waits in left.items() if not waits & left.keys()]
        if not free:
            first = min(left)
            after = ", ".join(f'"{name}"' for name in sorted(left[first] & left.keys()))
            raise CycleError(f'cycle detected; task "{first}" depends on {after}')
        for name in free:
            del left[name]
    return Graph(parents)
