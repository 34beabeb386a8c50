"""``resultsfw list``: list runs with their status, and how many of their declared results arrived."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rich.cells import cell_len
from rich.text import Text

from resultsfw.cli.files.inputs import Document
from resultsfw.cli.output import show
from resultsfw.cli.output.advice import MESSAGES
from resultsfw.cli.sources.run_names import KINDS, kind_of_word, parse_names, qualified
from resultsfw.cli.sources.saved_run import checked_status, result_values
from resultsfw.cli.sources.source import Source
from resultsfw.errors import CorruptError, InputError
from resultsfw.limits import OBJECT_BYTES
from resultsfw.messages import POD_MESSAGE_BYTES
from resultsfw.references import read_reference
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.times import parse_time

__all__ = ["Row", "age", "list_runs", "row_of"]

_NONE: Final = "-"
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_HEAD: Final = ("NAME", "KIND", "STATUS", "BACKEND", "RESULTS", "BYTES", "AGE")
_WIDE: Final = ("BUDGET", "TASK", "POD", "MISSING")
_REASON: Final = "REASON"
_RIGHT: Final = frozenset({"RESULTS", "BYTES", "AGE", "BUDGET"})
_COLUMN_GAP: Final = 2
_NOT_BESIDE: Final = (_REASON, "BACKEND", "KIND")
"""What a narrow terminal does without first: a reason is then below its row, the others left out."""
_LONGEST_BACKEND: Final = 64
"""Characters of a backend's name that are printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is listed of a run.

    Attributes:
        namespace: Of the run; "" if a file names none.
        name: Of the run.
        kind: "TaskRun" or "PipelineRun".
        verdict: Its condition.
        backend: Which carried a TaskRun's results; "" if that is not known.
        declared: How many results are declared; ``None`` while that is not known.
        missing: Names of declared results that are not in the status; a Step's as ``STEP.RESULT``.
        size: Bytes of all results in the status.
        budget: Bytes that the status can receive through that backend; ``None`` where it takes references.
        created: When the run was created; ``None`` if that is not known.
        task: The Task or Pipeline to which it refers; "" if it is embedded.
        pod: Of a TaskRun; "" without one.
    """

    namespace: str
    name: str
    kind: str
    verdict: show.Verdict
    backend: str = ""
    declared: int | None = None
    missing: Sequence[str] = ()
    size: int = 0
    budget: int | None = None
    created: datetime | None = None
    task: str = ""
    pod: str = ""


def list_runs(
    words: Sequence[str], source: Source, *, selector: str, output: str, all_namespaces: bool = False
) -> int:
    """Print the runs and return the exit status.

    Args:
        words: A kind, then names; all runs without names.
        source: Where the runs are read.
        selector: Of labels; "" selects all.
        output: ``table``, ``wide``, ``name``, ``json`` or ``yaml``.
        all_namespaces: Whether a table says the namespace of each run, even if all have the same.

    Raises:
        InputError: A word is invalid.
        ClusterError: The runs cannot be read.
    """
    kind = kind_of_word(words[0]) if words else None
    kinds = KINDS if kind is None else (kind,)
    names = words if kind is None else words[1:]
    if names and selector:
        raise InputError("-l selects among all runs: give either it or names", subject="-l")
    if names:
        prefixed = [name if "/" in name or kind is None else f"{kind.plural}/{name}" for name in names]
        documents: Iterable[Document] = source.find(parse_names(prefixed))
    else:
        documents = source.runs(kinds, selector)
    if output == "json":
        _write_json(documents)
    elif output == "yaml":
        _write_yaml(documents)
    elif output == "name":
        for document in documents:
            show.write(f"{show.plain(qualified(document.kind, document.name))}\n")
    else:
        _print_table(documents, wide=output == "wide", all_namespaces=all_namespaces)
    return 0


def _write_json(documents: Iterable[Document]) -> None:
    """Write a List, each item as it is read: there may be thousands."""
    show.write('{\n  "apiVersion": "v1",\n  "kind": "List",\n  "items": [')
    separator = "\n"
    for document in documents:
        show.write(separator + textwrap.indent(show.as_json(document.obj).rstrip("\n"), "    "))
        separator = ",\n"
    show.write("\n  ]\n}\n")


def _write_yaml(documents: Iterable[Document]) -> None:
    show.write("apiVersion: v1\nkind: List\nitems:")
    empty = True
    for document in documents:
        show.write(("\n" if empty else "") + show.as_yaml([document.obj]))
        empty = False
    if empty:
        show.write(" []\n")


def _print_table(documents: Iterable[Document], *, wide: bool, all_namespaces: bool) -> None:
    rows = sorted(map(row_of, documents), key=_newest_first)
    if not rows:
        show.print_note("no runs found")
        return
    now = datetime.now(UTC)
    spaces = all_namespaces or len({row.namespace for row in rows}) > 1
    head = [*(["NAMESPACE"] if spaces else []), *_HEAD, *(_WIDE if wide else ()), _REASON]
    cells = [
        [*([row.namespace or _NONE] if spaces else []), *_cells(row, now, wide=wide), _reason(row)]
        for row in rows
    ]
    widths = [max(map(cell_len, column)) for column in zip(head, *cells, strict=True)]
    out = show.console(widest=None)
    beside = _beside(head, widths, out.width if out.is_terminal and not wide else None)
    styles: list[str] = ["dim", *(row.verdict.style for row in rows)]
    status = head.index("STATUS")
    for line, style in zip([head, *cells], styles, strict=True):
        text = Text()
        for place in beside:
            gap = " " * (widths[place] - cell_len(line[place]))
            padded = gap + line[place] if head[place] in _RIGHT else line[place] + gap
            text.append(padded, style=style if place == status or line is head else "")
            text.append(" " * _COLUMN_GAP)
        text.rstrip()
        out.print(text, soft_wrap=True)
        if len(head) - 1 not in beside and line is not head:
            show.print_text(out, line[-1], indent=show.INDENT, hanging=show.INDENT, style=style)
    if len(beside) < len(head) - 1:
        show.print_note("this terminal is too narrow for all columns; -o wide prints them")


def _beside(head: Sequence[str], widths: Sequence[int], width: int | None) -> list[int]:
    """Return the places of the columns that stand beside each other; ``None`` is a width without limit."""
    places = list(range(len(head)))
    for name in _NOT_BESIDE:
        used = sum(widths[place] for place in places) + _COLUMN_GAP * (len(places) - 1)
        if width is not None and used > width:
            places.remove(head.index(name))
    return places


def _cells(row: Row, now: datetime, *, wide: bool) -> Iterator[str]:
    yield row.name
    yield row.kind
    yield _status(row.verdict)
    yield row.backend or _NONE
    yield _NONE if row.declared is None else f"{row.declared - len(row.missing)}/{row.declared}"
    yield str(row.size)
    yield _NONE if row.created is None else age((now - row.created).total_seconds())
    if wide:
        yield f"{row.size / row.budget:.1%}" if row.budget else _NONE
        yield row.task or _NONE
        yield row.pod or _NONE
        yield ",".join(row.missing) or _NONE


def _status(verdict: show.Verdict) -> str:
    if verdict.succeeded or verdict.failed:
        return verdict.word.capitalize()
    if not verdict.status:
        return "Unreadable"
    return show.plain(verdict.reason) or "Not started"


def _reason(row: Row) -> str:
    return show.plain(row.verdict.reason_beside_word) if row.verdict.status != "Unknown" else ""


def _newest_first(row: Row) -> tuple[str, float, str]:
    return (row.namespace, -row.created.timestamp() if row.created else 0.0, row.name)


def row_of(document: Document) -> Row:
    """Return what is listed of a run; if it cannot be read, its name and why."""
    try:
        run = checked_status(document).obj
    except InputError as error:
        return Row(
            namespace=show.plain(document.namespace),
            name=show.plain(document.name),
            kind=document.kind,
            verdict=show.Verdict("", error.message, ""),
        )
    status = run.get("status") or {}
    metadata = run["metadata"]
    is_taskrun = document.kind == TASKRUNS.kind
    spec = status.get("taskSpec" if is_taskrun else "pipelineSpec")
    declared = None if spec is None else list(_declared(spec))
    values = dict(result_values(run))
    flags = (status.get("provenance") or {}).get("featureFlags") or {}
    backend = str(flags.get("resultExtractionMethod") or "") if is_taskrun else ""
    reference = (run.get("spec") or {}).get("taskRef" if is_taskrun else "pipelineRef") or {}
    name = reference.get("name") if isinstance(reference, dict) else ""
    by_reference = any(map(_is_reference, values.values()))
    return Row(
        namespace=show.plain(metadata.get("namespace") or ""),
        name=show.plain(metadata["name"]),
        kind=document.kind,
        verdict=show.verdict_of(run),
        backend=show.plain(backend[:_LONGEST_BACKEND]),
        declared=None if declared is None else len(declared),
        missing=[show.plain(result) for result in declared or () if result not in values],
        size=sum(map(show.size_of, values.values())),
        budget=None if by_reference or not backend else _budget(backend),
        created=parse_time(metadata.get("creationTimestamp")),
        task=show.plain(name if isinstance(name, str) else ""),
        pod=show.plain(status.get("podName") or ""),
    )


def _is_reference(value: Any) -> bool:
    try:
        return read_reference(value) is not None
    except CorruptError:
        return False


def _budget(backend: str) -> int:
    return POD_MESSAGE_BYTES if backend == MESSAGES else OBJECT_BYTES


def _declared(spec: Mapping[str, Any]) -> Iterator[str]:
    for result in spec.get("results") or ():
        yield result["name"]
    for step in spec.get("steps") or ():
        for result in step.get("results") or ():
            yield f"{step.get('name', '')}.{result['name']}"


def age(seconds: float) -> str:
    """Return an age as kubectl prints it: its largest unit, and a second one where the first is small."""
    whole = max(int(seconds), 0)
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return f"{whole // _MINUTE}m{whole % _MINUTE or ''}{'s' if whole % _MINUTE else ''}"
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        minutes = whole % _HOUR // _MINUTE
        return f"{whole // _HOUR}h{minutes}m" if minutes else f"{whole // _HOUR}h"
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    return f"{whole // _DAY}d"
