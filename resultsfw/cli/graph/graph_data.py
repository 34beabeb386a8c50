"""Read from a PipelineRun what its picture shows: Tasks, their results, and who used them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from resultsfw.cli.output import show
from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.api.kinds import PIPELINES
from resultsfw.tekton.pipelinerun.child_statuses import children_of
from resultsfw.tekton.pipelinerun.dag import CycleError, graph_of, refs_of
from resultsfw.tekton.pipelinerun.models import validate_pipeline_document
from resultsfw.tekton.pipelinerun.result_refs import ResultRef, result_refs
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of

__all__ = [
    "Edge",
    "Graph",
    "Outcome",
    "Passed",
    "ResultRow",
    "TaskNode",
    "Use",
    "check_drawable",
    "graph_data",
]

MOST_TASKS: Final = 150
"""Tasks that are drawn. Lines from each to all others, through all columns, take time by the third power."""

_PIPELINE: Final = {
    "apiVersion": PIPELINES.api_version,
    "kind": PIPELINES.kind,
    "metadata": {"name": "pipeline"},
}


class Outcome(StrEnum):
    """What became of a Task."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    RUNNING = "running"
    NOT_STARTED = "not started"


class Passed(StrEnum):
    """What an edge stands for."""

    USED = "used"
    """A result that its Task got."""
    UNUSED = "unused"
    """A result that was not written, or whose Task was skipped or has not started."""
    ORDER = "order"
    """No result: one Task runs after another."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A result of a Task, or of the PipelineRun.

    Attributes:
        name: As declared.
        size: Its bytes, of a matrix those of all combinations; ``None`` if none was written.
        count: The number of values.
    """

    name: str
    size: int | None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNode:
    """A Pipeline Task.

    Attributes:
        name: Of the Pipeline Task.
        column: From 0; right of all that it depends on, ``finally`` right of all others.
        is_finally: Whether it is under ``finally``.
        outcome: What became of it.
        detail: Why it failed or was skipped, in a word or a sentence; or "".
        message: The message of the run that failed.
        runs: The number of its runs: more than one of a matrix.
        results: Declared, written, and used.
    """

    name: str
    column: int
    is_finally: bool
    outcome: Outcome
    detail: str = ""
    message: str = ""
    runs: int = 1
    results: Sequence[ResultRow] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """A result of another Task that is used.

    Attributes:
        task: The Task that writes it.
        result: Its name.
    """

    task: str
    result: str


@dataclass(frozen=True, slots=True)
class Edge:
    """What one Task is to another.

    Attributes:
        source: The Task that comes first.
        target: The Task that comes later; ``None``: the results of the PipelineRun.
        result: What is passed on; "" if only the order matters.
        passed: Whether it was.
    """

    source: str
    target: str | None
    result: str
    passed: Passed


@dataclass(frozen=True, slots=True)
class Graph:
    """A PipelineRun.

    Attributes:
        name: Of the PipelineRun.
        tasks: In the order of the Pipeline, ``finally`` last.
        edges: In the order of the Tasks that use something.
        results: The results of the PipelineRun; empty if it declares none.
    """

    name: str
    tasks: Sequence[TaskNode]
    edges: Sequence[Edge]
    results: Sequence[ResultRow]


def check_drawable(pipelinerun: Mapping[str, Any]) -> None:
    """Check that a PipelineRun can be drawn, whose status may be anything that its types allow.

    Raises:
        InputError: It has not started, its Pipeline is invalid, or it has too many Tasks.
    """
    spec = (pipelinerun.get("status") or {}).get("pipelineSpec")
    name = str(pipelinerun["metadata"]["name"])
    if not spec:
        raise InputError("its status has no Pipeline yet", subject=name)
    validate_pipeline_document({**_PIPELINE, "spec": spec})
    if (count := len(tasks_of(spec))) > MOST_TASKS:
        raise InputError(f"it has {count} Tasks, and at most {MOST_TASKS} can be drawn", subject=name)
    try:
        graph_of(spec)
    except CycleError as error:
        raise InputError(str(error), subject=name) from error


def graph_data(pipelinerun: Mapping[str, Any], children: Sequence[Object]) -> Graph:
    """Return what the picture of a PipelineRun that has started shows.

    Args:
        pipelinerun: With its status.
        children: Its TaskRuns, child PipelineRuns and CustomRuns. Those that are missing count as running.
    """
    status = pipelinerun["status"]
    spec = status["pipelineSpec"]
    given = {child["metadata"]["name"]: child for child in children}
    runs: dict[str, list[Object]] = {}
    for child in children_of(status):
        runs.setdefault(child.get("pipelineTaskName", ""), []).append(given.get(child.get("name"), {}))
    skipped = {task["name"]: str(task.get("reason", "")) for task in status.get("skippedTasks") or ()}
    names = {task["name"] for _, task in tasks_of(spec)}
    uses = {task["name"]: _uses(refs_of(task), names) for _, task in tasks_of(spec)}
    declared = spec.get("results") or ()
    shown = {result["name"]: _uses(result_refs(result.get("value")), names) for result in declared}
    used: dict[str, list[str]] = {}
    for use in (use for found in (*uses.values(), *shown.values()) for use in found):
        used.setdefault(use.task, []).append(use.result)
    columns = _columns(spec)
    tasks = []
    for section, task in tasks_of(spec):
        name = task["name"]
        outcome, detail, message = _outcome(runs.get(name, ()), skipped.get(name))
        tasks.append(
            TaskNode(
                name=name,
                column=columns[name],
                is_finally=section == "finally",
                outcome=outcome,
                detail=detail,
                message=message,
                runs=len(runs.get(name, ())),
                results=list(_rows(task, runs.get(name, ()), used.get(name, ()))),
            )
        )
    values = {result["name"]: result["value"] for result in status.get("results") or ()}
    rows = [ResultRow(name, show.size_of(values[name]) if name in values else None) for name in shown]
    edges = [*_edges(tasks, uses), *_order(spec, uses), *_shown_edges(shown, values)]
    return Graph(str(pipelinerun["metadata"]["name"]), tasks, edges, rows)


def _edges(tasks: Sequence[TaskNode], uses: Mapping[str, Sequence[Use]]) -> Iterator[Edge]:
    """Yield an edge for each result that a Task uses."""
    written = {(task.name, row.name) for task in tasks for row in task.results if row.size is not None}
    for task in tasks:
        started = task.outcome not in (Outcome.SKIPPED, Outcome.NOT_STARTED)
        for use in uses[task.name]:
            passed = started and (use.task, use.result) in written
            yield Edge(use.task, task.name, use.result, Passed.USED if passed else Passed.UNUSED)


def _order(spec: Object, uses: Mapping[str, Sequence[Use]]) -> Iterator[Edge]:
    """Yield an edge for each ``runAfter`` between Tasks that no result joins."""
    for _, task in tasks_of(spec):
        sources = {use.task for use in uses[task["name"]]}
        for name in dict.fromkeys(task.get("runAfter") or ()):
            if name in uses and name not in sources:
                yield Edge(name, task["name"], "", Passed.ORDER)


def _shown_edges(shown: Mapping[str, Sequence[Use]], values: Collection[str]) -> Iterator[Edge]:
    """Yield an edge for each result of a Task that is a result of the PipelineRun, too."""
    for name, found in shown.items():
        for use in found:
            yield Edge(use.task, None, use.result, Passed.USED if name in values else Passed.UNUSED)


def _uses(refs: Iterator[ResultRef], names: set[str]) -> list[Use]:
    return list(dict.fromkeys(Use(ref.task, ref.result) for ref in refs if ref.task in names))


def _columns(spec: Object) -> dict[str, int]:
    graph = graph_of(spec)
    columns: dict[str, int] = {}
    for name in graph.order:
        columns[name] = 1 + max((columns[parent] for parent in graph.parents[name]), default=-1)
    last = 1 + max(columns.values(), default=-1)
    return columns | {task["name"]: last for task in spec.get("finally") or ()}


def _outcome(runs: Sequence[Object], skipped: str | None) -> tuple[Outcome, str, str]:
    """Return what became of a Task with all its runs, why in a word, and the message of the run."""
    if skipped is not None:
        return Outcome.SKIPPED, skipped, ""
    if not runs:
        return Outcome.NOT_STARTED, "", ""
    verdicts = [show.verdict_of(run) for run in runs]
    if failed := next((verdict for verdict in verdicts if verdict.failed), None):
        return Outcome.FAILED, failed.reason, failed.message
    succeeded = all(verdict.succeeded for verdict in verdicts)
    return (Outcome.SUCCEEDED if succeeded else Outcome.RUNNING), "", ""


def _rows(task: Object, runs: Sequence[Object], used: Sequence[str]) -> Iterator[ResultRow]:
    """Yield each result that is declared, written, or used by another Task."""
    statuses = [run.get("status") or {} for run in runs]
    specs = [task.get("taskSpec") or {}, *(status.get("taskSpec") or {} for status in statuses)]
    sizes: dict[str, list[int]] = {}
    for status in statuses:
        for result in status.get("results") or ():
            sizes.setdefault(result["name"], []).append(show.size_of(result["value"]))
    declared = (str(result["name"]) for spec in specs for result in spec.get("results") or ())
    for name in dict.fromkeys([*declared, *sizes, *used]):
        found = sizes.get(name, [])
        yield ResultRow(name, sum(found) if found else None, len(found))
