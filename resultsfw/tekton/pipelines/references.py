"""References in a Pipeline's texts: to parameters, to results of Tasks, to how Tasks ended."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.errors import ResultsError
from resultsfw.tekton.params import REFERENCE, is_reference, names_in
from resultsfw.types import Value

__all__ = [
    "Find",
    "Read",
    "ResultMissing",
    "ResultRef",
    "ResultUnread",
    "Results",
    "first_of",
    "looked_up",
    "parse_reference",
    "result_finder",
    "result_refs",
    "substitute",
    "unread",
]

Find = Callable[[str], Value | None]
"""From what is between the brackets of a reference to what stands for it; ``None``: not known here."""

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
        index: Of an element of an array; ``None``: not one.
        key: Of an object's value; ``None``: not one.
        whole: Whether it ends in ``[*]``.
    """

    section: str
    task: str
    result: str
    index: int | None = None
    key: str | None = None
    whole: bool = False


Read = Callable[[ResultRef, Object, str], Value]
"""From a reference (its mapping) that a result's value is, and the kind of value that is needed, to it.

Raises `ResultUnread` where it cannot be had."""


def unread(ref: ResultRef, value: Object, kind: str) -> Value:  # noqa: ARG001 - a `Read`
    """Reads nothing.

    Raises:
        ResultUnread: Always.
    """
    raise ResultUnread(f'the value of result "{ref.result}" of task "{ref.task}" stands elsewhere')


def parse_reference(text: str) -> ResultRef | None:
    """What is between a reference's brackets, if it is one to a result."""
    match = _RESULT.fullmatch(text)
    if match is None:
        return None
    section, task, bare, single, double, index, dotted, bracketed = match.groups()
    return ResultRef(
        section=section,
        task=task,
        result=bare or single or double,
        index=None if index in (None, "*") else int(index),
        key=dotted or bracketed,
        whole=index == "*",
    )


def result_refs(value: Any) -> Iterator[ResultRef]:
    """Every reference to a result in plain data, in order."""
    for name in names_in(value):
        if (ref := parse_reference(name)) is not None:
            yield ref


def looked_up(ref: ResultRef, results: Results, read: Read) -> Value:
    """What a reference to a result stands for; of one by reference, a part of its value or that reference.

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


def result_finder(results: Results, read: Read, *, passing: bool = False) -> Find:
    """Finds results of Tasks that have ended; what is missing stays as it is written.

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
            value = looked_up(ref, results, read)
        except ResultMissing:
            return None
        if is_reference(value) and not passing:
            return read(ref, dict(value), "array" if ref.whole else "string")
        return value

    return find


def first_of(*finds: Find) -> Find:
    """Asks each in turn."""

    def find(name: str) -> Value | None:
        return next((value for one in finds if (value := one(name)) is not None), None)

    return find


def substitute(value: Any, find: Find, *, whole: Find | None = None) -> Any:
    """A copy of plain data with references put in, in one pass; those nobody knows stay as they are.

    A text that is one reference becomes what it stands for, a list or a mapping too; in a list, a reference
    to a whole array becomes its elements. ``whole`` is asked instead where the value itself is one.
    """
    if isinstance(value, str):
        return _of_text(value, find, whole or find)
    if isinstance(value, list):
        elements: list[Any] = []
        for one in value:
            every = _whole(one, find) if isinstance(one, str) else None
            if isinstance(every, list):
                elements += every
            else:
                elements.append(_in_text(one, find) if isinstance(one, str) else substitute(one, find))
        return elements
    if isinstance(value, dict):
        return {key: substitute(one, find) for key, one in value.items()}
    return value


def _of_text(text: str, find: Find, whole: Find) -> Any:
    every = _whole(text, whole)
    if isinstance(every, list):
        return list(every)
    return dict(every) if isinstance(every, dict) else _in_text(text, find)


def _whole(text: str, find: Find) -> Value | None:
    """What stands for a text that is one reference."""
    match = REFERENCE.fullmatch(text) if text.startswith("$(") else None
    return None if match is None else find(match[1])


def _in_text(text: str, find: Find) -> str:
    if "$(" not in text:
        return text

    def put(match: re.Match[str]) -> str:
        found = find(match[1])
        return found if isinstance(found, str) else match[0]

    return REFERENCE.sub(put, text)


def _kind(value: Value) -> str:
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else "text"
