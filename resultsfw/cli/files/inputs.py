"""Read manifests into documents that know their file, their number and the lines of their fields."""

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from resultsfw import documents
from resultsfw.cli.files.folders import files_in
from resultsfw.cluster import Object
from resultsfw.errors import InputError

__all__ = ["STDIN", "Document", "read_bytes", "read_files", "without_nulls"]

STDIN: Final = "-"

FILE_BYTES: Final = 64 * 1024 * 1024
"""Limit of one file. An API object has 1.5 MiB at most, so a larger file is not a manifest."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file.

    Attributes:
        source: The file's name as it was given, or "standard input".
        number: Number of the document in the file, from 1; 0: of an object that was read from a cluster.
        obj: A mapping whose ``apiVersion`` and ``kind`` are text.
        text: The whole file, to find the line of a field.
        within: Path of the object in a List, such as ``items[2]``; "" outside of a List.
    """

    source: str
    number: int
    obj: Object
    text: str
    within: str = ""

    @property
    def kind(self) -> str:
        """Return the object's kind."""
        return str(self.obj["kind"])

    @property
    def name(self) -> str:
        """Return the object's name; "" if it has none that is a text."""
        return self._metadata("name")

    @property
    def namespace(self) -> str:
        """Return the object's namespace; "" if it names none as a text."""
        return self._metadata("namespace")

    def _metadata(self, field: str) -> str:
        metadata = self.obj.get("metadata")
        value = metadata.get(field) if isinstance(metadata, dict) else None
        return value if isinstance(value, str) else ""

    @property
    def label(self) -> str:
        """Return kind and name, for messages."""
        metadata = self.obj.get("metadata")
        given = metadata if isinstance(metadata, dict) else {}
        name = given.get("name") or given.get("generateName")
        return f'{self.kind} "{name}"' if name else f"{self.kind} without a name"

    @property
    def where(self) -> str:
        """Return file and document, for messages."""
        if not self.number:
            return self.source
        inner = f", {self.within}" if self.within else ""
        return f"{self.source}, document {self.number}{inner}"

    def refuse(self, why: str, field: str = "", *, names_field: bool = False) -> InputError:
        """Return the error that refuses a field of this document, or the whole document.

        Args:
            why: What is wrong.
            field: Dotted path in the object, such as ``spec.steps[0].image``.
            names_field: Whether ``why`` names the field itself.
        """
        path = ".".join(part for part in (self.within, field) if part)
        line = _line(self.text, self.number, path) if self.number else None
        at_line = f", line {line}" if line else ""
        named = f" {field}:" if field and not names_field else ""
        return InputError(f"{self.where}{at_line}:{named} {why}", subject=self.where)


def read_files(names: Sequence[str]) -> list[Document]:
    """Return the objects of all files in order. The items of a List are objects.

    Args:
        names: Files; folders, whose manifests are read in the order of their names (as kubectl does, not
            those in folders below); "-" is standard input.

    Raises:
        InputError: A file cannot be read or is not a manifest; the message names file, document and line.
    """
    if names.count(STDIN) > 1:
        raise InputError('standard input ("-") can be read only once', subject=STDIN)
    return [document for file in files_in(names) for document in _read_file(file)]


def read_bytes(name: str, *, limit: int) -> bytes:
    """Return the bytes of a file; ``-`` is standard input.

    Raises:
        InputError: It cannot be read, or has more than ``limit`` bytes.
    """
    source = _source(name)
    try:
        if name == STDIN:
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(limit + 1)
    except IsADirectoryError as error:
        raise InputError(f"{source} is a directory; name the files in it", subject=source) from error
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
        at_line = f", line {error.line}" if error.line else ""
        raise InputError(
            f"{source}, document {error.number}{at_line}: {error}",
            subject=f"{source}, document {error.number}",
        ) from error
    for number, obj in enumerate(objects, 1):
        if obj is not None:
            yield from _documents(source, number, without_nulls(obj), text)


def _documents(source: str, number: int, obj: Any, text: str, within: str = "") -> Iterator[Document]:
    """Yield the document, or the documents in it if it is a List."""
    document = Document(source, number, obj, text, within)
    if not isinstance(obj, dict):
        raise document.refuse("is not an object: a manifest begins with apiVersion and kind")
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
        # kubectl leaves both out of the items of a List of one kind.
        named = {"apiVersion": obj["apiVersion"], "kind": obj["kind"].removesuffix("List")}
        bare = isinstance(item, dict) and named["kind"]
        yield from _documents(source, number, {**named, **item} if bare else item, text, inner)


def without_nulls(value: Any) -> Any:
    """Return the value without fields that are null: an API server takes them as absent."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _line(text: str, number: int, path: str) -> int | None:
    """Return the line of a field, or of the nearest field around it that exists."""
    lines = documents.lines_of(text, number)
    while path not in lines and path:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path)
