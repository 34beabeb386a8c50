"""Print objects for people and programs: tables, wrapped text, YAML, JSON."""

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import click
import yaml
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from resultsfw.cli.output import terminal
from resultsfw.cli.output.advice import Advice, without_hints
from resultsfw.cli.output.printable import escaped_lines, has_printable_lines, plain
from resultsfw.cli.output.tables import INDENT, columns
from resultsfw.cluster import Object
from resultsfw.documents import means_itself
from resultsfw.errors import CorruptError
from resultsfw.provenance import KINDS
from resultsfw.references import read_reference, read_reference_list
from resultsfw.status import ALL_DONE, VERIFIED
from resultsfw.types import CollectionOutcome, Reference
from resultsfw.values import escape_surrogates

__all__ = [
    "INDENT",
    "VERIFICATION_WORDS",
    "Verdict",
    "as_data",
    "as_json",
    "as_yaml",
    "columns",
    "console",
    "counted",
    "plain",
    "print_advice",
    "print_note",
    "print_taskrun",
    "print_text",
    "shortened",
    "size_of",
    "verdict_line",
    "verdict_of",
    "write",
]

WIDTH: Final = 100
"""Greatest width of the output in columns, and the width where no terminal says its own."""

VERIFICATION_WORDS: Final = {"True": "verified", "False": "not verified", "Unknown": "not verified yet"}
"""The status of a `Verification`, in words."""

_ARTIFACTS: Final = 20
"""Artifacts that are listed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A run's ``Succeeded`` condition."""

    status: str
    reason: str
    message: str

    @property
    def succeeded(self) -> bool:
        """Return whether the run succeeded."""
        return self.status == "True"

    @property
    def failed(self) -> bool:
        """Return whether the run failed."""
        return self.status == "False"

    @property
    def word(self) -> str:
        """Return the verdict in a word or two."""
        return "succeeded" if self.succeeded else "failed" if self.failed else "not finished"

    @property
    def style(self) -> str:
        """Return the style of the word, for rich."""
        return "bold green" if self.succeeded else "bold red" if self.failed else "bold yellow"

    @property
    def reason_beside_word(self) -> str:
        """Return the reason, or "" where it only repeats the word."""
        return "" if self.reason.lower() == self.word else self.reason


def verdict_of(taskrun: Mapping[str, Any]) -> Verdict:
    """Return the verdict of a TaskRun or PipelineRun; its status is "Unknown" if there is none yet."""
    conditions = taskrun.get("status", {}).get("conditions") or ()
    condition: Mapping[str, Any] = next(
        (condition for condition in conditions if condition.get("type") == "Succeeded"), {}
    )
    return Verdict(
        condition.get("status", "Unknown"), condition.get("reason", ""), condition.get("message", "")
    )


def write(text: str) -> None:
    """Write text to standard output as UTF-8, whatever the locale is: JSON and YAML must be UTF-8."""
    click.echo(text.encode("utf-8", "surrogatepass"), nl=False)


def as_json(value: Any) -> str:
    """Return a value as JSON that ends with a newline; what is not printable is escaped, as JSON allows."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return escaped_lines(text, lambda char: json.dumps(char)[1:-1]) + "\n"


def as_data(value: Any, form: str) -> str:
    """Return a value that JSON can hold in the form "json" or "yaml"."""
    text = as_json(value)
    return as_yaml(json.loads(text)) if form == "yaml" else text


def as_yaml(value: Any) -> str:
    """Return a value as YAML, with multi-line text as block scalars.

    What is not printable is escaped, as YAML allows in quotes. A lone surrogate, which YAML cannot express,
    becomes the text of its escape.
    """
    text = str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH))
    return escaped_lines(text, lambda char: f"\\U{ord(char):08x}")


if TYPE_CHECKING:
    _Base = yaml.SafeDumper
else:
    _Base = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's, if PyYAML was built with it


class _Dumper(_Base):
    """Writes repeated values again instead of anchors and aliases, which are hard to read."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    text = escape_surrogates(text)
    style = "|" if "\n" in text else None if means_itself(text) else "'"
    if not has_printable_lines(text):
        style = '"'  # there alone `as_yaml` can escape what libyaml leaves as it is
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


_COLOR_SYSTEMS: Final[Mapping[terminal.Color, Literal["auto", "standard"] | None]] = {
    "auto": "auto",
    "always": "standard",
    "never": None,
}


class _ErrorConsole(Console):
    """A console on standard error: if its reader is gone, the command goes on without printing there."""

    def on_broken_pipe(self) -> None:
        """Print nothing more.

        What is still in the buffer goes to /dev/null: Python would try again to write it at its end, and exit
        with status 120.
        """
        self.quiet = True
        with open(os.devnull, "wb") as devnull:  # noqa: PTH123 - a device
            os.dup2(devnull.fileno(), self.file.fileno())


def console(*, stderr: bool = False, widest: int | None = WIDTH) -> Console:
    """Return a console as wide as the terminal, at most ``widest`` columns; ``None`` is without limit.

    Colors, and whether notes on standard error are printed at all, are as the user chose
    (`resultsfw.cli.output.terminal`). A color that is forced makes no terminal of a pipe: nothing moves
    there.
    """
    chosen = terminal.color()
    created = (_ErrorConsole if stderr else Console)(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=(sys.stderr if stderr else sys.stdout).isatty(),
        color_system=_COLOR_SYSTEMS[chosen],
        no_color=chosen == "never",
        quiet=stderr and terminal.is_quiet(),
    )
    created.width = min(created.width, widest or created.width) if created.is_terminal else WIDTH
    return created


def print_text(out: Console, text: str, *, indent: str = INDENT, hanging: str = "", style: str = "") -> None:
    """Print text with each line wrapped: its first line after ``indent``, the rest after ``hanging``, too."""
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


def print_note(text: str) -> None:
    """Print what a person should know beside the output, on standard error."""
    out = console(stderr=True)
    print_text(out, f"note: {text}", indent="", hanging=INDENT)


def verdict_line(run: Mapping[str, Any], after: str = "") -> Text:
    """Return the line that says how a run ended: its name, the verdict and the reason.

    Args:
        run: A TaskRun or PipelineRun with its status.
        after: To be printed behind the verdict.
    """
    verdict = verdict_of(run)
    line = Text.assemble((plain(run["metadata"]["name"]), "bold"), " ", (verdict.word, verdict.style))
    if verdict.reason_beside_word:
        line.append(f" {plain(verdict.reason_beside_word)}")
    if after:
        line.append(f" {after}", "dim")
    return line


def print_taskrun(
    out: Console,
    taskrun: Mapping[str, Any],
    collected: CollectionOutcome | None = None,
    *,
    after: str = "",
    below: str = "",
) -> None:
    """Print a finished run: its verdict, its results as a table, and what failed.

    Args:
        out: Where to print.
        taskrun: With its status.
        collected: The verdict over its results, where it is known: hints that `print_advice` repeats as
            commands are then left out of the message.
        after: To be printed behind the verdict.
        below: A line to be printed below the verdict.
    """
    verdict = verdict_of(taskrun)
    out.print(verdict_line(taskrun, after), soft_wrap=True)
    if below:
        print_text(out, below, hanging=INDENT, style="dim")
    if rows := list(_rows(taskrun)):
        for text in _results_table(rows, out.width):
            out.print(text, soft_wrap=True)
    elif verdict.succeeded:
        print_text(out, "it declares no results")
    for text_line in _artifact_lines((taskrun.get("status") or {}).get("artifacts") or {}):
        print_text(out, text_line, hanging=INDENT)
    if signatures := _verification_line(taskrun):
        print_text(out, signatures, hanging=INDENT)
    if verdict.succeeded and (more := verdict.message.partition(f"{ALL_DONE}; ")[2]):
        print_text(out, more)
    if not verdict.succeeded and verdict.message:
        print_text(out, without_hints(taskrun, collected))


def _verification_line(taskrun: Mapping[str, Any]) -> str:
    """Return a line on the condition about signatures in a status; "" if the verdict's message has it."""
    verdict = verdict_of(taskrun)
    for condition in taskrun.get("status", {}).get("conditions") or ():
        if condition.get("type") == VERIFIED and condition.get("message", "") not in verdict.message:
            word = VERIFICATION_WORDS.get(condition.get("status", ""), "not verified")
            return f"signatures {word}: {condition.get('message', '')}"
    return ""


def _artifact_lines(artifacts: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each of the first artifacts in a status: its name and its first value."""
    found = [(kind, artifact) for kind in KINDS for artifact in artifacts.get(kind) or ()]
    for kind, artifact in found[:_ARTIFACTS]:
        values = artifact.get("values") or [{}]
        first = values[0].get("uri") or as_json(values[0].get("digest") or "no value").strip()
        more = f" and {len(values) - 1} more" if len(values) > 1 else ""
        yield f"{kind[:-1]} artifact {shortened(artifact.get('name', ''), 60)}: {shortened(first, 200)}{more}"
    if len(found) > _ARTIFACTS:
        yield f"and {len(found) - _ARTIFACTS} more artifacts"


def print_advice(out: Console, advice: Sequence[Advice]) -> None:
    """Print what to do next. A command is never wrapped, so that it can be copied."""
    for item in advice:
        print_text(out, f"what to do: {item.what}", hanging=INDENT, style="bold")
        for where, commands in item.commands:
            print_text(out, f"{where}:")
            for command in commands:
                out.print(Text(f"{INDENT}{plain(command)}", style="cyan"), soft_wrap=True)


def counted(number: int, what: str) -> str:
    """Return a number with its noun: ``1 byte``, ``2 bytes``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    type: str
    value: Any = None


def _rows(taskrun: Mapping[str, Any]) -> Iterator[_Row]:
    """Yield all declared results of the Task, then those of its Steps, with or without a value."""
    status = taskrun.get("status", {})
    values = {result.get("name", ""): result for result in status.get("results") or ()}
    spec = status.get("taskSpec") or {}
    steps = {step.get("name"): step for step in status.get("steps") or ()}
    yield from _rows_of(spec.get("results"), values, "")
    for step in spec.get("steps") or ():
        results = steps.get(step.get("name"), {}).get("results") or ()
        own = {result["name"]: result for result in results}
        yield from _rows_of(step.get("results"), own, f"{step.get('name')}.")


def _rows_of(declared: Sequence[Object] | None, values: Mapping[str, Object], prefix: str) -> Iterator[_Row]:
    for result in declared or ():
        name = result.get("name", "")
        found = values.get(name)
        default = "object" if result.get("properties") else "string"
        kind = (found or {}).get("type") or result.get("type") or default
        yield _Row(plain(prefix + name), kind, _read(found["value"]) if found else None)


def _read(value: Any) -> Any:
    """Return a value of a status, as a `Reference` if it is one."""
    if isinstance(value, Reference):
        return value
    try:
        if (elements := read_reference_list(value)) is not None:  # of a matrix, aggregated
            return [_text(read_reference(element) or element) for element in elements]
        return read_reference(value) or value
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
    value_width = width - sum(max(map(cell_len, column)) for column in fixed) - len(INDENT) * len(head)
    values = ["none" if row.value is None else shortened(row.value, max(value_width, 16)) for row in rows]
    table = [(row.name, row.type, size, value) for row, size, value in zip(rows, sizes, values, strict=True)]
    return columns(width, head, table, right={2})


def _text(value: Any) -> str:
    """Return a value as text: an array or object as its shortest JSON, a reference as its location."""
    if isinstance(value, Reference):
        return value.location
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def size_of(value: Any) -> int:
    """Return the bytes of a value or referenced value; an array or object counts as its shortest JSON."""
    known = _read(value)
    return known.size if isinstance(known, Reference) else len(_text(known).encode("utf-8", "surrogatepass"))


def shortened(value: Any, width: int) -> str:
    """Return a value on one line of ``width`` columns; where it is cut, with its length."""
    value = _read(value)
    text = plain(_text(value))
    if isinstance(value, Reference):
        return text  # whole, to be copied
    if cell_len(text) <= width:
        return text
    unit = "element" if isinstance(value, list) else "key" if isinstance(value, dict) else "character"
    end = f" ... {counted(len(value), unit)}"
    return set_cell_size(text, max(width - len(end), 0)) + end
