"""Files a person names, read to objects that know their file, document and fields' lines."""

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from resultsfw.cli import documents
from resultsfw.cluster import Object
from resultsfw.errors import InputError

__all__ = ["STDIN", "Document", "read_bytes", "read_files"]

STDIN: Final = "-"

FILE_BYTES: Final = 64 * 1024 * 1024
"""Of one file. An API object has 1.5 MiB at most; a larger file is another kind of file."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file.

    Attributes:
        source: The file's name as it was given, or "standard input".
        number: Of the document in the file, from 1.
        obj: A mapping with text under ``apiVersion`` and ``kind``.
        text: The whole file, to find a field's line if one must be named.
        within: "", or of one that stands in a List its path there: ``items[2]``.
    """

    source: str
    number: int
    obj: Object
    text: str
    within: str = ""

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self.obj["kind"])

    @property
    def label(self) -> str:
        """For people: kind and name."""
        metadata = self.obj.get("metadata")
        given = metadata if isinstance(metadata, dict) else {}
        name = given.get("name") or given.get("generateName")
        return f'{self.kind} "{name}"' if name else f"{self.kind} without a name"

    @property
    def where(self) -> str:
        """For people: file and document."""
        inner = f", {self.within}" if self.within else ""
        return f"{self.source}, document {self.number}{inner}"

    def refuse(self, why: str, field: str = "", *, said: bool = False) -> InputError:
        """The error that refuses a field of this document, or all of it.

        Args:
            why: What is wrong.
            field: Dotted path in the object: ``spec.steps[0].image``.
            said: Whether ``why`` names the field itself.
        """
        path = ".".join(part for part in (self.within, field) if part)
        line = _line(self.text, self.number, path)
        told = f", line {line}" if line else ""
        named = f" {field}:" if field and not said else ""
        return InputError(f"{self.where}{told}:{named} {why}", subject=self.where)


def read_files(names: Sequence[str]) -> list[Document]:
    """The objects of all files in order; ``-`` is standard input. Lists are taken apart.

    Raises:
        InputError: A file cannot be read or is no manifest; the message names file, document and line.
    """
    if names.count(STDIN) > 1:
        raise InputError('standard input ("-") can be read once only', subject=STDIN)
    return [document for name in names for document in _read_file(name)]


def read_bytes(name: str, *, limit: int) -> bytes:
    """A file's bytes, at most ``limit``; ``-`` is standard input.

    Raises:
        InputError: It cannot be read, or has more.
    """
    source = _source(name)
    try:
        if name == STDIN:
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(limit + 1)
    except IsADirectoryError as error:
        raise InputError(f"{source} is a folder; name the files in it", subject=source) from error
    except OSError as error:
        why = "no such file" if error.errno == errno.ENOENT else os.strerror(error.errno or 0)
        raise InputError(f"{source}: {why}", subject=source) from error
    if len(data) > limit:
        raise InputError(f"{source} has more than {limit} bytes", subject=source)
    return data


def _source(name: str) -> str:
    return "standard input" if name == STDIN else name


def _read_file(name: str) -> Iterator[Document]:
    source = _source(name)
    data = read_bytes(name, limit=FILE_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{source}, line {line}: is not UTF-8", subject=source) from error
    try:
        objects = documents.read(text)
    except documents.DocumentError as error:
        line_told = f", line {error.line}" if error.line else ""
        raise InputError(
            f"{source}, document {error.number}{line_told}: {error}",
            subject=f"{source}, document {error.number}",
        ) from error
    for number, obj in enumerate(objects, 1):
        if obj is not None:
            yield from _documents(source, number, _without_nulls(obj), text)


def _documents(source: str, number: int, obj: Any, text: str, within: str = "") -> Iterator[Document]:
    """The document itself, or those in it if it is a List."""
    document = Document(source, number, obj, text, within)
    if not isinstance(obj, dict):
        raise document.refuse("is no object: a manifest begins with apiVersion and kind")
    for field in ("apiVersion", "kind"):
        if not isinstance(value := obj.get(field), str) or not value:
            raise document.refuse("is missing" if value is None else "must be text", field)
    if not (obj["kind"].endswith("List") and "items" in obj):
        yield document
        return
    items = obj["items"]
    if not isinstance(items, list):
        raise document.refuse("must be a list", "items")
    for index, item in enumerate(items):
        inner = f"{within}.items[{index}]" if within else f"items[{index}]"
        # kubectl leaves these two out of the items of a List of one kind.
        named = {"apiVersion": obj["apiVersion"], "kind": obj["kind"].removesuffix("List")}
        bare = isinstance(item, dict) and named["kind"]
        yield from _documents(source, number, {**named, **item} if bare else item, text, inner)


def _without_nulls(value: Any) -> Any:
    """A field whose value is null is one that is not there, as for the API server."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _line(text: str, number: int, path: str) -> int | None:
    """The line of a field, or of the nearest one around it that is there."""
    lines = documents.lines_of(text, number)
    while path not in lines and path:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path)
