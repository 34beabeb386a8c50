"""Parameters that are references to results: read where the Task needs their value, else placed as files."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cluster import Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import BackendError, ClusterError, CorruptError
from resultsfw.limits import OBJECT_CAPACITY
from resultsfw.references import read_reference, read_reference_list
from resultsfw.tekton.api.refusals import invalid_value, pod_refused
from resultsfw.tekton.spec.expansion import Budget, Expansion, TooLargeError
from resultsfw.tekton.spec.param_files import PARAMS_DIR, is_needed_as_file, named_param_files
from resultsfw.tekton.spec.params import Params, has_references, param_type, parse_name
from resultsfw.tekton.spec.substitution import substitute_spec, with_values
from resultsfw.tekton.spec.validate_taskrun import refuse_values
from resultsfw.tekton.spec.variables import escape_protection, unprotect, variables_in
from resultsfw.types import Reference, Value

__all__ = ["MOST_READ", "VALUE_BYTES", "ResolvedReferences", "read_value", "resolve_references"]

VALUE_BYTES: Final = OBJECT_CAPACITY
"""Bytes above which a value is not read: no object could hold what it is put into."""

MOST_READ: Final = 1000
"""Elements of one array that are read, one request each: many more would keep a worker for minutes."""

_NOT_A_TEXT: Final = frozenset({"params", "results", "description", "displayName"})
"""Parts of a Task's spec in which nothing is put in."""


@dataclass(frozen=True, slots=True)
class ResolvedReferences:
    """What a pod is built of.

    Attributes:
        taskrun: With the values in its parameters that the Task needs; other references as they are.
        task_spec: With those values put in.
        files: References by path, for a backend to place.
    """

    taskrun: Object
    task_spec: Object
    files: Mapping[str, Reference]


def resolve_references(
    core: ResultsManager, cluster: Cluster, taskrun: Object, task_spec: Object
) -> ResolvedReferences:
    """Read the values that a Task puts into its texts; the others become files.

    Args:
        core: Knows the backends.
        cluster: The way to the world.
        taskrun: Its parameters may be references.
        task_spec: Substituted, but for those.

    Raises:
        RefusedRun: A value is needed and does not fit or is not what was stored, or a reference cannot be
            followed at all.
        ClusterError: It cannot be read now.
    """
    params = (taskrun.get("spec") or {}).get("params") or ()
    if not has_references(taskrun):
        return ResolvedReferences(taskrun, task_spec, {})
    named = named_param_files(task_spec, taskrun)
    declared = {param["name"]: param for param in task_spec.get("params") or ()}
    types = {name: param_type(param) for name, param in declared.items()}
    named_values = _named_params(
        [value for key, value in task_spec.items() if key not in _NOT_A_TEXT],
        [taskrun["spec"].get(part) for part in ("podTemplate", "workspaces")],
    )
    namespace = taskrun["metadata"].get("namespace", "")
    values: dict[str, Value] = {}
    files: dict[str, Reference] = {}
    for param in params:
        name = param["name"]
        with _refusing(taskrun, name):
            elements = read_reference_list(param.get("value"))
            if elements is not None:
                size = sum(map(_bytes_of, elements))
                if name in named_values or is_needed_as_file(name, size, named):
                    _refuse_large_array(taskrun, name, elements, size)
                    values[name] = _read_elements(core, cluster, elements, namespace=namespace)
                continue
            reference = read_reference(param.get("value"))
            if reference is None:
                continue
            can_place_files = core.can_place_files(reference)
            as_file = is_needed_as_file(name, reference.size, named)
            if as_file and can_place_files:
                files[f"{PARAMS_DIR}/{name}"] = reference
            enum = declared.get(name, {}).get("enum") or ()
            _refuse_beyond(taskrun, name, reference, enum)
            if (as_file and not can_place_files) or enum or name in named_values:
                _refuse_large(taskrun, name, reference, can_place_files=can_place_files)
                kind = types.get(name, "string")
                values[name] = read_value(core, cluster, reference, kind, namespace=namespace)
    if values:
        taskrun = with_values(taskrun, values)
        refuse_values(taskrun, task_spec)
        task_spec = _with_values(taskrun, task_spec, values)
    return ResolvedReferences(taskrun, unprotect(task_spec), files)


@contextlib.contextmanager
def _refusing(taskrun: Object, name: str) -> Iterator[None]:
    """Refuse a run with a parameter whose value cannot be read; raise a temporary error unchanged."""
    try:
        yield
    except (BackendError, CorruptError) as error:
        raise pod_refused(taskrun, f'its parameter "{name}": {error.message}') from error
    except ClusterError as error:
        if error.retryable:
            raise
        raise pod_refused(taskrun, f'its parameter "{name}": {error.message}') from error


def _with_values(taskrun: Object, task_spec: Object, values: Mapping[str, Value]) -> Object:
    """Return the spec with values put in; all others are in it already, protected from this.

    Raises:
        RefusedRun: It would be larger than one object can be.
    """
    lookup, budget = Params((), list(escape_protection(dict(values)).items())).lookup(), Budget()
    try:
        return substitute_spec(task_spec, lambda *_: Expansion(lookup, budget))
    except TooLargeError as error:
        raise pod_refused(taskrun, error.message) from error


def read_value(
    core: ResultsManager,
    cluster: Cluster,
    reference: Reference,
    kind: str,
    *,
    namespace: str,
    backend: str = "",
) -> Value:
    """Return the value a reference stands for.

    Args:
        core: Knows its backend.
        cluster: The way to the world.
        reference: Where it is; of at most `VALUE_BYTES`, which is not checked here.
        kind: ``string``, ``array`` or ``object``.
        namespace: On whose behalf.
        backend: Its backend, where the caller knows that a controller wrote the reference; without it the
            flags must allow the backend that the reference names.

    Raises:
        ClusterError: It cannot be read now, or ever.
        CorruptError: It is not what was stored, or nothing of that kind.
        BackendError: Its backend cannot be loaded, or failed.
    """
    content = b"".join(core.dereference(reference, cluster, namespace=namespace, backend=backend))
    try:
        text = content.decode()
        if kind == "string":
            return text
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"the {len(content)} bytes are no {kind}: {error}") from error
    wanted, elements = (list, value) if kind == "array" else (dict, ())
    if isinstance(value, dict):
        elements = list(value.values())
    if not isinstance(value, wanted) or not all(isinstance(element, str) for element in elements):
        raise CorruptError(f"the {len(content)} bytes are no {kind} of strings")
    return value


def _read_elements(
    core: ResultsManager, cluster: Cluster, elements: Sequence[str | Object], *, namespace: str
) -> list[str]:
    """Return the texts of an array with references."""
    texts: list[str] = []
    for element in elements:
        reference = read_reference(element)
        value = (
            element
            if reference is None
            else read_value(core, cluster, reference, "string", namespace=namespace)
        )
        texts.append(str(value))
    return texts


def _bytes_of(element: str | Object) -> int:
    return len(element.encode()) if isinstance(element, str) else int(element["size"])


def _refuse_large_array(taskrun: Object, name: str, elements: Sequence[str | Object], size: int) -> None:
    """Refuse an array that no pod could hold, or that takes too many requests, before any of it is read."""
    count, requests = len(elements), sum(not isinstance(element, str) for element in elements)
    if requests > MOST_READ:
        raise pod_refused(
            taskrun,
            f'its parameter "{name}" has {requests} elements by reference, over the limit of {MOST_READ} '
            f"that are read for one parameter: take each in a combination of a matrix",
        )
    if size > VALUE_BYTES:
        raise pod_refused(
            taskrun,
            f'its parameter "{name}" has {count} elements with {size} bytes together by reference, over the '
            f"limit of {VALUE_BYTES} bytes of the pod they would be put into: take each in a combination of "
            f"a matrix",
        )


def _refuse_large(taskrun: Object, name: str, reference: Reference, *, can_place_files: bool) -> None:
    """Refuse a value that no pod could hold, before any of it is read."""
    if reference.size <= VALUE_BYTES:
        return
    instead = (
        f"read it from the file {PARAMS_DIR}/{name} instead of $(params.{name})"
        if can_place_files
        else f'backend "{reference.backend}" places no files, so a Task cannot have it'
    )
    raise pod_refused(
        taskrun,
        f'its parameter "{name}" has {reference.size} bytes by reference, over the limit of '
        f"{VALUE_BYTES} bytes of the pod it would be put into: {instead}",
    )


def _refuse_beyond(taskrun: Object, name: str, reference: Reference, enum: Sequence[str]) -> None:
    """Refuse a value that is longer than all that its parameter allows, before any of it is read."""
    if enum and reference.size > max(len(entry.encode()) for entry in enum):
        why = f"param `{name}` has {reference.size} bytes by reference: it is not in the enum list"
        raise invalid_value(taskrun, why)


def _named_params(*parts: Any) -> set[str]:
    """Return the parameters whose values, or parts of them, are named in texts."""
    names: set[str] = set()
    for variable in variables_in(list(parts)):
        if (name := parse_name(variable)) is not None:
            names.add(name.base)
            if not name.quoted:
                names.add(name.base.partition(".")[0])
    return names
