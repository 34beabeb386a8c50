"""The declared results and provenance of artifacts, in order, and their values, wherever their files lie."""

# ruff: noqa: PTH115, PTH116
# Paths are bytes here, and pathlib would cost the start-up 3 ms.

import os
import stat

from . import wire
from .files import File, Folder, RefusedError, check_name
from .settings import Flags

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterator


_PROVENANCE = "provenance.json"


class Result:
    """A declared result, or provenance of artifacts.

    Attributes:
        name: As printed.
        of: `wire.TYPE_TASK` or `wire.TYPE_STEP`.
        is_artifacts: Whether it is provenance of artifacts, which a status contains itself.
    """

    is_artifacts = False

    def __init__(self, name: str, of: str, file_name: str, folder: Folder | RefusedError | None) -> None:
        self.name = name
        self.of = of
        self._file_name = file_name
        self._folder = folder

    def beside(self, name: str) -> "Result":
        """The result of that name in the same folder."""
        return Result(name, self.of, name, self._folder)

    def read(self, limit: int) -> bytes | None:
        """Its value in UTF-8; None if no Step wrote it.

        Raises:
            RefusedError: It cannot be passed on.
        """
        if isinstance(self._folder, RefusedError):
            raise self._folder
        value = self._folder.read(self._file_name, limit) if self._folder else None
        try:
            for _ in wire.text_pieces(value or b""):
                pass
        except UnicodeDecodeError as error:
            raise not_utf8(error.object[error.start], error.start) from None
        return value

    def open(self, limit: int) -> File | None:
        """Its file, for a value that is too large to be held, to be closed; None if no Step wrote it.

        Whether it is UTF-8 is for whoever reads it.

        Raises:
            RefusedError: It cannot be passed on.
        """
        if isinstance(self._folder, RefusedError):
            raise self._folder
        return self._folder.open(self._file_name, limit) if self._folder else None


class Artifacts(Result):
    """Provenance of artifacts.

    Attributes:
        container: Of the Step; empty for the Task's.
    """

    is_artifacts = True

    def __init__(self, container: str, folder: Folder | RefusedError | None) -> None:
        name = f"{container}.{wire.ARTIFACTS}" if container else wire.ARTIFACTS
        super().__init__(name, wire.TYPE_STEP if container else wire.TYPE_TASK, _PROVENANCE, folder)
        self.container = container


def not_utf8(byte: int, at: int) -> RefusedError:
    """Returns the error for a value that is no UTF-8 text.

    Args:
        byte: The first that is none.
        at: Its place, from 0.
    """
    return RefusedError(wire.NOT_UTF8, f"not UTF-8: byte 0x{byte:02x} at offset {at}")


def declared(root: bytes, flags: Flags, *, task_artifacts: bool = False) -> "Iterator[Result]":
    """Gives every declared result, and then provenance of artifacts.

    One folder is open at a time: read each before the next.
    """
    if flags.task_results:
        folder = _volume(flags.results_folder)
        for name in flags.task_results:
            yield Result(name, wire.TYPE_TASK, name, folder)
        _close(folder)
    if flags.step_results or flags.artifact_steps or task_artifacts:
        above = _volume(root)
        steps = _volume(root + b"/steps")
        for step, names in flags.step_results.items():
            below = steps if isinstance(steps, RefusedError) else _step_folder(above, step, b"/results")
            for name in names:
                yield Result(f"{step}.{name}", wire.TYPE_STEP, name, below)
            _close(below)
        if task_artifacts:
            folder = _volume(root + b"/artifacts")
            yield Artifacts("", folder)
            _close(folder)
        for step in flags.artifact_steps:
            below = steps if isinstance(steps, RefusedError) else _step_folder(above, step, b"/artifacts")
            yield Artifacts(step, below)
            _close(below)


def blocked(root: bytes, flags: Flags) -> bool:
    """Returns whether a Step that has ended left a FIFO in place of a Step result, or of its artifacts.

    Tekton's entrypoint opens that file where a later Step refers to it, and waits for ever. The run cannot
    succeed any more, whatever later Steps do: it is refused.
    """
    files = {
        step: [b"/results/" + name for name in _names(names)] for step, names in flags.step_results.items()
    }
    for step in flags.artifact_steps:
        files.setdefault(step, []).append(b"/" + wire.ARTIFACTS.encode())
    for step, names in files.items():
        try:
            link = os.readlink(root + b"/steps/" + check_name(step))  # Tekton's: .../run/INDEX/status
            os.stat(root + b"/run/" + link.split(b"/")[-2] + b"/out")
        except (OSError, IndexError, RefusedError):
            continue  # not a link of Tekton's, or the Step has not ended
        for name in names:
            try:
                if stat.S_ISFIFO(os.stat(root + b"/steps/" + check_name(step) + name).st_mode):
                    return True
            except OSError:
                continue
    return False


def _names(names: list[str]) -> "Iterator[bytes]":
    """Yields the file names of results; without those that are no file names."""
    for name in names:
        try:
            yield check_name(name)
        except RefusedError:
            continue


def _volume(path: bytes) -> Folder | RefusedError:
    # Without the pod's volume it is unknown what Steps wrote: no result may be reported as absent.
    try:
        return Folder.at(path)
    except OSError as error:
        shown = path.decode("utf-8", "backslashreplace")
        return RefusedError(wire.UNREADABLE, f"results folder {shown}: {error.strerror}")


def _step_folder(root: Folder | RefusedError, step: str, part: bytes) -> Folder | RefusedError | None:
    # Tekton's steps/step-x is an absolute link to run/N/status, which the Step could replace by a link
    # to anywhere: all of Tekton's folder is its border.
    if isinstance(root, RefusedError):
        return root
    try:
        return root.folder(b"steps/" + check_name(step) + part)
    except FileNotFoundError:
        return None  # the entrypoint makes it when the Step begins
    except RefusedError as refused:
        return refused


def _close(folder: Folder | RefusedError | None) -> None:
    if isinstance(folder, Folder):
        folder.close()
