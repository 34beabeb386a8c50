"""Find in Pipelines and PipelineRuns what Tekton's admission webhook refuses (``pkg/apis/pipeline/v1``)."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.durations import format_duration, parse_duration
from resultsfw.tekton.pipelinerun.children import is_custom
from resultsfw.tekton.pipelinerun.dag import CycleError, graph_of
from resultsfw.tekton.pipelinerun.result_refs import result_refs
from resultsfw.tekton.pipelinerun.validate_pipeline import SECTIONS, pipeline_errors, tasks_of
from resultsfw.tekton.spec.admission import (
    binding_errors,
    declarations,
    declared_by_name,
    duplicates,
    embedded_task_errors,
    override_errors,
    within,
)
from resultsfw.tekton.spec.validate_steps import FieldError, excerpt, quoted
from resultsfw.tekton.spec.validate_task import param_errors
from resultsfw.tekton.spec.variables import find_prefixed, texts_in

__all__ = ["pipeline_admission_errors", "pipelinerun_admission_errors"]

_VARIABLE: Final = re.compile(r"\$\(([_a-zA-Z0-9.-]+)(?:\[(?:[0-9]+|\*)\])?\)")
_PREFIXES: Final = frozenset({"params", "tasks", "finally", "context", "workspaces", "results"})
_CONTEXTS: Final = {
    "context.pipelineRun": frozenset({"name", "namespace", "uid"}),
    "context.pipeline": frozenset({"name"}),
    "context.pipelineTask": frozenset({"retries"}),
}
_DEFAULT_TIMEOUT: Final = 60 * 60 * 1_000_000_000
_NOT_STATUS: Final = (
    "invalid value: pipeline tasks can not refer to execution status of any other pipeline task or aggregate "
    "status of tasks"
)


def pipeline_admission_errors(pipeline: Object) -> Iterator[FieldError]:
    """Yield what the webhook refuses in a Pipeline of valid shape."""
    spec = pipeline["spec"]
    yield from within("spec", _spec_errors(spec))
    yield from within("spec", _workspace_errors(spec))


def pipelinerun_admission_errors(pipelinerun: Object) -> Iterator[FieldError]:
    """Yield what the webhook refuses in a PipelineRun of valid shape."""
    spec = pipelinerun["spec"]
    yield from within("spec", duplicates("params", spec.get("params") or ()))
    for param in spec.get("params") or ():
        if list(result_refs(param.get("value"))):
            message = "invalid value: cannot use result expressions as PipelineRun parameter values"
            yield FieldError(message, (f"spec.params[{param['name']}].value",))
    yield from within("spec", binding_errors(spec.get("workspaces") or ()))
    yield from within("spec", _timeout_errors(spec))
    for index, entry in enumerate(spec.get("taskRunSpecs") or ()):
        yield from within(f"spec.taskRunSpecs[{index}]", override_errors(entry))
    if (pipeline_spec := spec.get("pipelineSpec")) is not None:
        # Every name that is given or declared anywhere in an embedded Pipeline reaches all of its Tasks.
        inner = [task for _, task in tasks_of(pipeline_spec)]
        given = [spec.get("params") or (), *(task.get("params") or () for task in inner)]
        declared = [(task.get("taskSpec") or {}).get("params") or () for task in inner]
        seen = [*declarations(chain.from_iterable(given)), *chain.from_iterable(declared)]
        yield from within("spec.pipelineSpec", _spec_errors(pipeline_spec, seen))


def _spec_errors(spec: Object, others: Sequence[Object] = ()) -> Iterator[FieldError]:
    """Yield what is wrong with a Pipeline's spec.

    Args:
        spec: Of the Pipeline.
        others: Declarations of params that its Tasks see besides its own.
    """
    seen = declared_by_name([*(spec.get("params") or ()), *others])
    for text in pipeline_errors(spec):
        message, _, paths = text.rpartition(": ")
        yield FieldError(message, tuple(paths.split(", ")))
    try:
        graph_of(spec)
    except CycleError as error:
        yield FieldError(f"invalid value: {error}", ("tasks",))
    yield from param_errors(spec.get("params") or ())
    yield from _result_errors(spec)
    for section in SECTIONS:
        for index, task in enumerate(spec.get(section) or ()):
            at = f"{section}[{index}]"
            yield from within(at, _task_errors(task, seen))
            yield from within(at, _variable_errors(task, seen))
    yield from _status_errors(spec)


def _task_errors(task: Object, seen: Mapping[str, Object]) -> Iterator[FieldError]:
    """Yield what is wrong with a Pipeline Task by itself."""
    yield from duplicates("params", task.get("params") or ())
    if task.get("onError") == "continue" and (task.get("retries") or 0) > 0:
        message = 'PipelineTask OnError cannot be set to "continue" when Retries is greater than 0'
        yield FieldError(message, ("onError",))
    if (task_spec := task.get("taskSpec")) is not None and not is_custom(task):
        yield from within("taskSpec", embedded_task_errors(task_spec, seen))
    if (inner := task.get("pipelineSpec")) is not None:
        yield from within("pipelineSpec", _spec_errors(inner, list(seen.values())))


def _variable_errors(task: Object, names: Collection[str]) -> Iterator[FieldError]:
    """Yield variables in a Pipeline Task's params, matrix and conditions that name nothing."""
    for path, text in _texts(task):
        for match in _VARIABLE.finditer(text):
            if match[1].partition(".")[0] not in _PREFIXES:
                yield FieldError(
                    f"invalid value: invalid variable reference {quoted(match[0])}, must start with a valid "
                    f"prefix: {', '.join(sorted(_PREFIXES))}; if you meant a shell variable, use ${{VAR}}",
                    (path,),
                )
        for found in find_prefixed(text, "params"):
            name = (found.dotted or found.quoted).partition("[")[0]
            if name not in names and name.partition(".")[0] not in names:
                yield FieldError(f"non-existent variable in {excerpt(text, found.start)}", (path,))
        for prefix, known in _CONTEXTS.items():
            for found in find_prefixed(text, prefix):
                if path.startswith("params") and found.dotted not in known:
                    yield FieldError(f"non-existent variable in {excerpt(text, found.start)}", (path,))


def _texts(task: Object) -> Iterator[tuple[str, str]]:
    """Yield the texts of a Pipeline Task in which variables are looked for, and where they are."""
    matrix = task.get("matrix") or {}
    lists = [("params", task.get("params") or ()), ("matrix.params", matrix.get("params") or ())]
    lists += [
        (f"matrix.include[{index}].params", include.get("params") or ())
        for index, include in enumerate(matrix.get("include") or ())
    ]
    for path, params in lists:
        for index, param in enumerate(params):
            for text in texts_in(param.get("value")):
                yield f"{path}[{index}].value", text
    for index, when in enumerate(task.get("when") or ()):
        for text in texts_in([when.get("input"), when.get("values")]):
            yield f"when[{index}]", text


def _result_errors(spec: Object) -> Iterator[FieldError]:
    """Yield results of a Pipeline that are no results of its Tasks, and those that finally cannot use."""
    for index, result in enumerate(spec.get("results") or ()):
        if not list(result_refs(result.get("value"))):
            message = "invalid value: expected pipeline results to be task result expressions"
            yield FieldError(message, (f"results[{index}].value",))
    first = {task["name"] for task in spec.get("tasks") or ()}
    last = {task["name"] for task in spec.get("finally") or ()}
    for index, task in enumerate(spec.get("finally") or ()):
        for path, text in _texts(task):
            for ref in result_refs(text):
                if ref.task in last or ref.task not in first:
                    which = (
                        "a final task" if ref.task in last else "a task that is not defined in the pipeline:"
                    )
                    message = f"invalid value: final task has task result reference from {which} {ref.task}"
                    yield FieldError(message, (f"finally[{index}].{path}",))


def _status_errors(spec: Object) -> Iterator[FieldError]:
    """Yield variables for the status of a Task where it is not known, or of no Task."""
    names = {task["name"] for task in spec.get("tasks") or ()}
    tasks = [
        (section, index, task) for section in SECTIONS for index, task in enumerate(spec.get(section) or ())
    ]
    for section, index, task in tasks:
        for path, text in _texts(task):
            if path.startswith("matrix") or list(result_refs(text)):
                continue
            for variable in _statuses(text):
                at = f"{section}[{index}].{path}"
                if section == "tasks":
                    yield FieldError(_NOT_STATUS, (at,))
                elif variable != "tasks.status" and variable.split(".", 1)[1].rpartition(".")[0] not in names:
                    yield FieldError(f"invalid value: no pipeline task is defined for $({variable})", (at,))


def _statuses(text: str) -> Iterable[str]:
    found = [match[1] for match in _VARIABLE.finditer(text)]
    return [name for name in found if name.startswith("tasks.") and name.endswith((".status", ".reason"))]


def _workspace_errors(spec: Object) -> Iterator[FieldError]:
    """Yield workspaces that the Tasks of a Pipeline use and it does not declare."""
    names = {workspace["name"] for workspace in spec.get("workspaces") or ()}
    for section in SECTIONS:
        for index, task in enumerate(spec.get(section) or ()):
            for number, usage in enumerate(task.get("workspaces") or ()):
                wanted = usage.get("workspace") or usage["name"]
                if wanted not in names:
                    yield FieldError(
                        f"invalid value: pipeline task {quoted(task['name'])} expects workspace with name "
                        f"{quoted(wanted)} but none exists in pipeline spec",
                        (f"{section}[{index}].workspaces[{number}]",),
                    )


def _timeout_errors(spec: Object) -> Iterator[FieldError]:
    """Yield timeouts of parts of a PipelineRun that are longer than the run's."""
    timeouts = spec.get("timeouts") or {}
    given = {name: _nanoseconds(timeouts.get(name)) for name in ("pipeline", "tasks", "finally")}
    whole = _DEFAULT_TIMEOUT if given["pipeline"] is None else given["pipeline"]
    for name in ("tasks", "finally"):
        part = given[name]
        if part is not None and whole and (part > whole or part == 0):
            message = f"invalid value: {format_duration(part)} should be <= pipeline duration"
            yield FieldError(message, (f"timeouts.{name}",))
    both = (given["tasks"] or 0) + (given["finally"] or 0)
    if given["tasks"] and given["finally"] and whole and both > whole:
        message = f"invalid value: {format_duration(both)} should be <= pipeline duration"
        yield FieldError(message, ("timeouts.tasks", "timeouts.finally"))
    most = given["tasks"] if given["tasks"] is not None else whole
    for index, entry in enumerate(spec.get("taskRunSpecs") or ()):
        part = _nanoseconds(entry.get("timeout"))
        if part is not None and most and part > most:
            message = f"invalid value: {format_duration(part)} should be <= {format_duration(most)}"
            yield FieldError(message, (f"taskRunSpecs[{index}].timeout",))


def _nanoseconds(duration: Any) -> int | None:
    """Return a duration of a document of valid shape; ``None`` if it is not there."""
    return None if duration is None else parse_duration(duration)
