"""``resultsfw value``: print the value of a result of a saved TaskRun, fetched and verified if referenced."""

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
from resultsfw.core import ResultsManager
from resultsfw.errors import CorruptError, InputError
from resultsfw.references import read_reference
from resultsfw.types import Reference

__all__ = ["print_value"]


def print_value(file: str, name: str, *, flags: Given, output: str | None) -> int:
    """Write a result's value to a file, or to standard output, and return the exit status.

    Nothing is written before the whole value is fetched and has the reference's size and digest.

    Args:
        file: File of the TaskRun; "-" is standard input.
        name: Name of the result; ``STEP.RESULT`` for a Step's own.
        flags: Flags that configure the backend of a reference.
        output: File to write, replaced only when the value is verified; ``None``: standard output.

    Raises:
        InputError: The file has no such TaskRun or result, or the output cannot be written.
        ResultsError: The value cannot be fetched, or differs from what was stored.
    """
    document = _taskrun(file)
    pieces = _pieces(_value(document, name), flags)
    try:
        target = None if output is None else Path(output).resolve()
        if target is None:
            _write_when_complete(pieces, sys.stdout.buffer)
        elif target.exists() and not target.is_file():
            # Write to a pipe or device: replaced by a file, /dev/null would be gone for everybody.
            with target.open("wb") as special:
                _write_when_complete(pieces, special)
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
    taskruns = [document for document in documents if document.kind == "TaskRun"]
    if len(taskruns) != 1:
        found = ", ".join(document.label for document in documents) or "nothing"
        raise InputError(f"{file}: a file with one TaskRun is needed; found: {found}", subject=file)
    return taskruns[0]


def _value(document: Document, name: str) -> Any:
    """Return what the status holds for a result: its value, or a reference as a mapping."""
    try:
        found = dict(_results(document.obj))
    except (AttributeError, KeyError, TypeError):
        raise document.refuse("cannot be read: it is not what a controller writes", "status") from None
    if name not in found:
        named = ", ".join(found) or "none"
        raise document.refuse(f'has no result "{name}" (it has: {named})', "status.results", names_field=True)
    return found[name]


def _results(taskrun: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    status = taskrun.get("status", {})
    for step in status.get("steps") or ():
        for result in step.get("results") or ():
            yield f"{step['name']}.{result['name']}", result["value"]
    # Last, to win: a Task's result can have such a name, too.
    yield from ((result["name"], result["value"]) for result in status.get("results") or ())


def _pieces(value: Any, flags: Given) -> Iterator[bytes]:
    try:
        reference = read_reference(value)
    except CorruptError as error:
        raise InputError(error.message, subject=error.subject) from error
    if reference is None:
        text = (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        )
        return iter([text.encode("utf-8", "surrogatepass")])
    return _dereferenced(reference, core_of(flags))


def _dereferenced(reference: Reference, core: ResultsManager) -> Iterator[bytes]:
    with core:
        # The file is the user's own, so the backend it names may be imported.
        yield from core.dereference(reference, no_cluster(), backend=reference.backend)


def _write_when_complete(pieces: Iterator[bytes], out: IO[bytes]) -> None:
    """Write all pieces after the last one has arrived."""
    with tempfile.TemporaryFile() as buffer:
        _fill(buffer, pieces)
        buffer.seek(0)
        shutil.copyfileobj(buffer, out)
        out.flush()


def _fill(file: IO[bytes], pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        file.write(piece)


def _replace(target: Path, pieces: Iterator[bytes]) -> None:
    """Write a file beside the target and rename it to the target when it is complete."""
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
