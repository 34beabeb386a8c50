"""Objects as a person or a program reads them: columns, YAML, JSON."""

import json
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click
import yaml
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from resultsfw.cli.advice import Advice, without_hints
from resultsfw.cli.documents import means_itself
from resultsfw.cluster import Object
from resultsfw.errors import CorruptError
from resultsfw.references import reference_of
from resultsfw.types import CollectionOutcome, Reference

__all__ = [
    "Verdict",
    "as_json",
    "as_yaml",
    "columns",
    "console",
    "counted",
    "plain",
    "print_advice",
    "print_taskrun",
    "print_text",
    "shortened",
    "size_of",
    "verdict_of",
    "write",
]

WIDTH: Final = 100
"""Columns at most, and where nobody says how many there are."""

INDENT: Final = "  "


@dataclass(frozen=True, slots=True)
class Verdict:
    """A run's ``Succeeded`` condition."""

    status: str
    reason: str
    message: str

    @property
    def succeeded(self) -> bool:
        """Whether the run is over and all is well."""
        return self.status == "True"

    @property
    def failed(self) -> bool:
        """Whether the run is over and all is not well."""
        return self.status == "False"

    @property
    def word(self) -> str:
        """For people."""
        return "succeeded" if self.succeeded else "failed" if self.failed else "not finished"

    @property
    def style(self) -> str:
        """Of the word, for rich."""
        return "bold green" if self.succeeded else "bold red" if self.failed else "bold yellow"


def verdict_of(taskrun: Mapping[str, Any]) -> Verdict:
    """The verdict a TaskRun carries; its status is "Unknown" if it carries none."""
    conditions = taskrun.get("status", {}).get("conditions") or ()
    found: Mapping[str, Any] = next((one for one in conditions if one.get("type") == "Succeeded"), {})
    return Verdict(found.get("status", "Unknown"), found.get("reason", ""), found.get("message", ""))


def write(text: str) -> None:
    """Write to standard output as UTF-8, whatever the locale says: JSON and YAML are."""
    click.echo(text.encode("utf-8", "surrogatepass"), nl=False)


def as_json(value: Any) -> str:
    """JSON with a newline at its end."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def as_yaml(value: Any) -> str:
    """YAML, texts of several lines as such."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH))


if TYPE_CHECKING:
    _Base = yaml.SafeDumper
else:
    _Base = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's where there is one


class _Dumper(_Base):
    """Repeats what stands twice; anchors are for no person."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None if means_itself(text) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


class _Aside(Console):
    """A console for what is said beside the answer: that nobody listens any more ends nothing."""

    def on_broken_pipe(self) -> None:
        """Say no more."""
        self.quiet = True


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, 100 columns at most."""
    kind = _Aside if stderr else Console
    made = kind(stderr=stderr, highlight=False, markup=False, emoji=False)
    made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    return made


def plain(text: str) -> str:
    """A text on one line, with nothing in it that a terminal would obey."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def print_text(out: Console, text: str, *, indent: str = INDENT, hanging: str = "", style: str = "") -> None:
    """Print plain text, each line of it wrapped: its beginning after ``indent``, the rest deeper."""
    wrapper = textwrap.TextWrapper(
        out.width,
        initial_indent=indent,
        subsequent_indent=indent + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for paragraph in text.split("\n"):
        for line in wrapper.wrap(plain(paragraph)):
            out.print(Text(line, style=style), soft_wrap=True)


def print_taskrun(
    out: Console, taskrun: Mapping[str, Any], collected: CollectionOutcome | None = None
) -> None:
    """Print a finished run: its verdict, its results as a table, and what failed.

    Args:
        out: Where to print.
        taskrun: With its status.
        collected: The verdict over its results, where it is known: hints that `print_advice` repeats as
            commands are then left out of the message.
    """
    verdict = verdict_of(taskrun)
    line = Text.assemble((plain(taskrun["metadata"]["name"]), "bold"), " ", (verdict.word, verdict.style))
    if verdict.reason and verdict.reason.lower() != verdict.word:
        line.append(f" {plain(verdict.reason)}")
    out.print(line, soft_wrap=True)
    if rows := list(_rows(taskrun)):
        for text in _results_table(rows, out.width):
            out.print(text, soft_wrap=True)
    elif verdict.succeeded:
        print_text(out, "it declares no results")
    if not verdict.succeeded and verdict.message:
        print_text(out, without_hints(taskrun, collected))


def print_advice(out: Console, advice: Sequence[Advice]) -> None:
    """What to do next, each command on one line, however long: it is there to be copied."""
    for one in advice:
        print_text(out, f"what to do: {one.what}", hanging=INDENT, style="bold")
        for where, commands in one.commands:
            print_text(out, f"{where}:")
            for command in commands:
                out.print(Text(f"{INDENT}{plain(command)}", style="cyan"), soft_wrap=True)


def counted(number: int, what: str) -> str:
    """A number of things: ``1 byte``, ``2 bytes``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def columns(
    width: int, head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()
) -> Iterator[Text]:
    """Rows below their head in columns; the last column is wrapped to the width, the others are not.

    Args:
        width: Of all columns together, with the indent.
        head: The columns' names.
        rows: Their texts, already without control characters.
        right: Indexes of the columns that are flush right.
    """
    widths = [max(map(cell_len, column)) for column in zip(head, *rows, strict=True)]
    room = max(width - sum(widths[:-1]) - len(INDENT) * len(widths), 16)
    hanging = " " * (sum(widths[:-1]) + len(INDENT) * len(widths))
    for index, row in enumerate([head, *rows]):
        cells = [
            cell.rjust(size) if place in right else set_cell_size(cell, size)
            for place, (cell, size) in enumerate(zip(row[:-1], widths, strict=False))
        ]
        last = [row[-1]]
        if cell_len(row[-1]) > room:
            last = textwrap.wrap(row[-1], room, break_long_words=False, break_on_hyphens=False)
        line = INDENT + INDENT.join([*cells, f"\n{hanging}".join(last)])
        yield Text(line.rstrip(), style="dim" if index == 0 else "")


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    type: str
    value: Any = None


def _rows(taskrun: Mapping[str, Any]) -> Iterator[_Row]:
    """All declared results, those without a value too, then what Steps declare of their own."""
    status = taskrun.get("status", {})
    values = {one.get("name", ""): one for one in status.get("results") or ()}
    spec = status.get("taskSpec") or {}
    steps = {step.get("name"): step for step in status.get("steps") or ()}
    yield from _of(spec.get("results"), values, "")
    for step in spec.get("steps") or ():
        own = {one["name"]: one for one in steps.get(step.get("name"), {}).get("results") or ()}
        yield from _of(step.get("results"), own, f"{step.get('name')}.")


def _of(declared: Sequence[Object] | None, values: Mapping[str, Object], prefix: str) -> Iterator[_Row]:
    for one in declared or ():
        name = one.get("name", "")
        found = values.get(name)
        kind = (
            (found or {}).get("type") or one.get("type") or ("object" if one.get("properties") else "string")
        )
        yield _Row(plain(prefix + name), kind, _read(found["value"]) if found else None)


def _read(value: Any) -> Any:
    """A value as the status holds it, a reference as such."""
    if isinstance(value, Reference):
        return value
    try:
        return reference_of(value) or value
    except CorruptError:
        return value


def _results_table(rows: Sequence[_Row], width: int) -> Iterator[Text]:
    head = ("result", "type", "bytes", "value")
    sizes = ["-" if row.value is None else str(size_of(row.value)) for row in rows]
    fixed = [
        ("result", *(row.name for row in rows)),
        ("type", *(row.type for row in rows)),
        ("bytes", *sizes),
    ]
    room = width - sum(max(map(cell_len, column)) for column in fixed) - len(INDENT) * len(head)
    values = ["none" if row.value is None else shortened(row.value, max(room, 16)) for row in rows]
    table = [(row.name, row.type, size, value) for row, size, value in zip(rows, sizes, values, strict=True)]
    return columns(width, head, table, right={2})


def _text(value: Any) -> str:
    """A value as one text; an array or object as its shortest JSON, a reference as where it leads."""
    if isinstance(value, Reference):
        return value.location
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def size_of(value: Any) -> int:
    """Bytes of a value, or of what a reference stands for; of an array or object, of its shortest JSON."""
    known = _read(value)
    return known.size if isinstance(known, Reference) else len(_text(known).encode("utf-8", "surrogatepass"))


def shortened(value: Any, room: int) -> str:
    """A value on one line of so many columns; one that is cut says how much there is."""
    value = _read(value)
    text = plain(_text(value))
    if isinstance(value, Reference):
        return text  # to be copied: a cut address leads nowhere
    if cell_len(text) <= room:
        return text
    unit = "element" if isinstance(value, list) else "key" if isinstance(value, dict) else "character"
    end = f" ... {counted(len(value), unit)}"
    return set_cell_size(text, max(room - len(end), 0)) + end
