"""Parse references to results of Tasks in a Pipeline's texts, and resolve them."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cluster import Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import BackendError, ClusterError, CorruptError, FlagError, ResultsError
from resultsfw.limits import OBJECT_CAPACITY, object_size
from resultsfw.references import read_reference, read_reference_list
from resultsfw.tekton.pipelinerun.timeouts import Times
from resultsfw.tekton.spec.expansion import Lookup
from resultsfw.tekton.spec.param_references import VALUE_BYTES, read_value
from resultsfw.tekton.spec.params import is_reference
from resultsfw.tekton.spec.variables import array_index, protect, variables_in
from resultsfw.types import Reference, Value

__all__ = [
    "ReadValue",
    "ResultLate",
    "ResultMissing",
    "ResultRef",
    "ResultUnread",
    "Results",
    "parse_reference",
    "protected_lookup",
    "read_nothing",
    "resolve_result",
    "result_lookup",
    "result_refs",
    "value_reader",
]

Results = Mapping[str, Mapping[str, Value]]
"""Results by Pipeline Task and name, of Tasks that have ended; by value, or as references to values."""

_RESULT: Final = re.compile(
    r"(tasks|finally)\.([^.\[\]]+)\.results"
    r"(?:\.([^.\[\]'\"]+)|\[(?:'([^'\]]+)'|\"([^\"\]]+)\")\])"
    r"(?:\[(\*|[0-9]+)\]|\.([^.\[\]]+)|\[([^\[\]'\"*0-9][^\[\]'\"]*)\])?"
)


class ResultMissing(ResultsError):  # noqa: N818 - a finding about a run, not a failure of ours
    """A reference to a result that is not there; ``subject`` is the reference."""

    code = "ResultMissing"


class ResultUnread(ResultsError):  # noqa: N818 - likewise
    """The value of a result is needed where it is named, and it stays where its reference says."""

    code = "ResultUnread"


@dataclass(frozen=True, slots=True)
class ResultRef:
    """A reference to a Task's result, or to one of its parts.

    Attributes:
        section: ``tasks`` or ``finally``.
        task: The Pipeline Task.
        result: The result's name.
        index: Of an element of an array; ``None`` if it names none.
        key: Of an object's value; ``None`` if it names none.
        whole: Whether it ends in ``[*]``.
    """

    section: str
    task: str
    result: str
    index: int | None = None
    key: str | None = None
    whole: bool = False


ReadValue = Callable[[ResultRef, Object, str], Value]
"""From a reference (its mapping) that a result's value is, and the kind of value that is needed, to it.

Raises `ResultUnread` where it cannot be read."""


def read_nothing(ref: ResultRef, value: Object, kind: str) -> Value:  # noqa: ARG001 - a `ReadValue`
    """Refuse to read a value: where no text needs one.

    Raises:
        ResultUnread: Always.
    """
    raise ResultUnread(f'the value of result "{ref.result}" of task "{ref.task}" stands elsewhere')


def parse_reference(text: str) -> ResultRef | None:
    """Return what is between a reference's brackets, if it is one to a result."""
    match = _RESULT.fullmatch(text)
    if match is None:
        return None
    section, task, bare, single, double, index, dotted, bracketed = match.groups()
    return ResultRef(
        section=section,
        task=task,
        result=bare or single or double,
        index=None if index in (None, "*") else array_index(index),
        key=dotted or bracketed,
        whole=index == "*",
    )


def result_refs(value: Any) -> Iterator[ResultRef]:
    """Yield every reference to a result in plain data, in order."""
    for name in variables_in(value):
        if (ref := parse_reference(name)) is not None:
            yield ref


def resolve_result(ref: ResultRef, results: Results, read: ReadValue) -> Value:
    """Return the result, or the part of a result, that a reference names; by value or by reference.

    Raises:
        ResultUnread: A part is wanted of a value that cannot be read.
        ResultMissing: There is no such result, element or key; in Tekton's words.
    """
    subject = f"$({ref.section}.{ref.task}.results.{ref.result})"
    value = results.get(ref.task, {}).get(ref.result)
    if value is None:
        raise ResultMissing(
            f"Could not find result with name {ref.result} for pipeline task {ref.task}", subject=subject
        )
    if is_reference(value) and (ref.index is not None or ref.key is not None):
        value = read(ref, dict(value), "object" if ref.index is None else "array")
    if ref.index is not None and isinstance(value, list):
        if ref.index >= len(value):
            raise ResultMissing(
                f"array Result Index {ref.index} for Task {ref.task} Result {ref.result} is out of bound of "
                f"size {len(value)}",
                subject=subject,
            )
        return value[ref.index]
    if ref.key is not None and isinstance(value, dict):
        if ref.key not in value:
            raise ResultMissing(
                f'result "{ref.result}" of pipeline task "{ref.task}" has no key "{ref.key}"', subject=subject
            )
        return value[ref.key]
    if ref.index is not None or ref.key is not None:
        part = f"element {ref.index}" if ref.key is None else f'key "{ref.key}"'
        raise ResultMissing(
            f'result "{ref.result}" of pipeline task "{ref.task}" is a {_kind(value)} and has no {part}',
            subject=subject,
        )
    return value


def result_lookup(results: Results, read: ReadValue, *, passing: bool = False) -> Lookup:
    """Return a lookup of results of Tasks that have ended; what is missing stays as it is written.

    Args:
        results: Of all of them.
        read: Of those by reference, reads the value.
        passing: References are handed on, not read.
    """

    def find(name: str) -> Value | None:
        ref = parse_reference(name)
        if ref is None:
            return None
        try:
            value = resolve_result(ref, results, read)
        except ResultMissing:
            return None
        if is_reference(value) and not passing:
            return read(ref, dict(value), "array" if ref.whole else "string")
        if isinstance(value, list) and (size := object_size(value)) > OBJECT_CAPACITY:
            raise ResultUnread(
                f'needs result "{ref.result}" of task "{ref.task}", whose {len(value)} elements have {size} '
                f"bytes together, over the limit of {OBJECT_CAPACITY} bytes one object may have: keep them "
                f"outside (results-from: object-store), or write less"
            )
        return value

    return find


def protected_lookup(lookup: Lookup) -> Lookup:
    """Return a lookup whose values are protected, for texts in which others are still to be put in."""

    def protected(name: str) -> Value | None:
        value = lookup(name)
        if isinstance(value, str):
            return protect(value)
        if isinstance(value, list):
            return [protect(element) for element in value]
        if isinstance(value, dict) and not is_reference(value):
            return {key: protect(element) for key, element in value.items()}
        return value

    return protected


def _kind(value: Value) -> str:
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else "text"


class ResultLate(ResultUnread):
    """The value could not be read before the time of the run, or of the part that needs it, was over."""

    code = "ResultLate"


def value_reader(core: ResultsManager, cluster: Cluster, namespace: str, times: Times) -> ReadValue:
    """Return what reads values for one reconcile of a run.

    Args:
        core: Knows the backends.
        cluster: The way to the world.
        namespace: Of the run.
        times: Its timeouts: errors that may pass are retried no longer than that.
    """
    known: dict[tuple[Reference, str], Value] = {}  # a reconcile asks for the same more than once

    def read(ref: ResultRef, value: Object, kind: str) -> Value:
        what = f'needs the value of result "{ref.result}" of task "{ref.task}" in a text'
        if (elements := _elements(value, what)) is not None:
            size = sum(_bytes_of(element) for element in elements)
            if size > VALUE_BYTES:
                raise ResultUnread(
                    f"{what}, whose {len(elements)} elements have {size} bytes together, over the limit of "
                    f"{VALUE_BYTES} bytes one object may have: give each to a combination of a matrix"
                )
            found = (
                element if isinstance(element, str) else read(ref, element, "string") for element in elements
            )
            return [element for element in found if isinstance(element, str)]
        try:
            reference = read_reference(value)
            if reference is not None and reference.size <= VALUE_BYTES:
                if (reference, kind) not in known:
                    # It is in the status of a TaskRun, which only a controller writes.
                    known[reference, kind] = read_value(
                        core, cluster, reference, kind, namespace=namespace, backend=reference.backend
                    )
                return known[reference, kind]
        except (CorruptError, BackendError, FlagError) as error:
            raise ResultUnread(f"{what}: {error.message}") from error
        except ClusterError as error:
            # A store that is away is waited for, as long as there is time.
            if error.retryable:
                if not times.part_elapsed:
                    raise
                raise ResultLate(f"{what}: {error.message}") from error
            raise ResultUnread(f"{what}: {error.message}") from error
        size = 0 if reference is None else reference.size
        raise ResultUnread(
            f"{what}, which has {size} bytes by reference, over the limit of {VALUE_BYTES} bytes one object "
            f"may have: give it to a param as a whole, and read its file"
        )

    return read


def _elements(value: Object, what: str) -> list[str | Object] | None:
    """Return the elements of an array with references; ``None`` if it is one reference."""
    try:
        return read_reference_list(value)
    except CorruptError as error:
        raise ResultUnread(f"{what}: {error.message}") from error


def _bytes_of(element: str | Object) -> int:
    return len(element.encode()) if isinstance(element, str) else int(element["size"])
