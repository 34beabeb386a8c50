"""``resultsfw value``: one result of a saved TaskRun, fetched from where a reference leads, and verified."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from resultsfw.cli.inputs import Document, read_files
from resultsfw.cli.saved import no_cluster
from resultsfw.cli.settings import Given, core_of
from resultsfw.errors import CorruptError, InputError
from resultsfw.references import reference_of

__all__ = ["print_value"]


def print_value(file: str, name: str, *, flags: Given, output: str | None) -> int:
    """Write a result's value to a file, or to standard output, and return the exit status.

    Nothing is written before all of it is there and has the reference's size and digest.

    Args:
        file: Of the TaskRun; "-" is standard input.
        name: Of the result; of a Step's own ``STEP.RESULT``.
        flags: By which the backend of a reference is configured.
        output: The file to write; it is replaced when all is well, and only then.

    Raises:
        InputError: The file holds no such TaskRun or result, or the output cannot be written.
        ResultsError: The value cannot be had, or is not what was stored.
    """
    document = _taskrun(file)
    pieces = _pieces(_value(document, name), flags)
    try:
        target = None if output is None else Path(output).resolve()
        if target is None:
            _pass_on(pieces, sys.stdout.buffer)
        elif target.exists() and not target.is_file():
            # A pipe or a device is written to; put in its place, a file would take /dev/null from everybody.
            with target.open("wb") as special:
                _pass_on(pieces, special)
        else:
            _replace(target, pieces)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = output or "the temporary folder"
        raise InputError(f"{where}: {error.strerror}", subject=where) from error
    return 0


def _taskrun(file: str) -> Document:
    documents = read_files([file])
    runs = [one for one in documents if one.kind == "TaskRun"]
    if len(runs) != 1:
        there = ", ".join(one.label for one in documents) or "nothing"
        raise InputError(f"{file}: a file with one TaskRun is needed; found: {there}", subject=file)
    return runs[0]


def _value(document: Document, name: str) -> Any:
    """What the status holds for a result: the value, or a reference as a mapping."""
    try:
        found = dict(_results(document.obj))
    except (AttributeError, KeyError, TypeError):
        raise document.refuse("cannot be read: it is not what a controller writes", "status") from None
    if name not in found:
        named = ", ".join(found) or "none"
        raise document.refuse(f'has no result "{name}" (it has: {named})', "status.results", said=True)
    return found[name]


def _results(taskrun: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    status = taskrun.get("status", {})
    for step in status.get("steps") or ():
        yield from ((f"{step['name']}.{one['name']}", one["value"]) for one in step.get("results") or ())
    # A Task's own result may be called so too; it comes first.
    yield from ((one["name"], one["value"]) for one in status.get("results") or ())


def _pieces(value: Any, flags: Given) -> Iterator[bytes]:
    try:
        reference = reference_of(value)
    except CorruptError as error:
        raise InputError(error.message, subject=error.subject) from error
    if reference is None:
        text = (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        )
        return iter([text.encode("utf-8", "surrogatepass")])
    # Who asks for the value of a file of theirs asks for the backend, too.
    return core_of(flags).dereference(reference, no_cluster(), backend=reference.backend)


def _pass_on(pieces: Iterator[bytes], out: IO[bytes]) -> None:
    """Write all pieces once the last one came."""
    with tempfile.TemporaryFile() as held:
        _fill(held, pieces)
        held.seek(0)
        shutil.copyfileobj(held, out)
        out.flush()


def _fill(file: IO[bytes], pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        file.write(piece)


def _replace(target: Path, pieces: Iterator[bytes]) -> None:
    """Write a file beside the target, which takes its place when it is whole."""
    number, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    try:
        with os.fdopen(number, "wb") as file:
            _fill(file, pieces)
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
