"""Reads result files that a hostile Step may have made: regular files inside the results folder, no more.

Nothing here blocks: what is not a regular file is not opened, and if it was swapped in, not read.
"""

import os
import stat

from . import wire
from .safe_path import OutsideError, Walk

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_READS = 5  # of a file that changes meanwhile
_PIECE = 65_536
_LARGE_PIECE = 262_144  # of a file that is large: fewer calls
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class RefusedError(Exception):
    """A result was written and cannot be passed on; the message is for a person.

    Attributes:
        reason: One of `wire.TOO_LARGE` to `wire.UNREADABLE`.
        size: Bytes there are, where that makes sense.
        limit: Bytes allowed, likewise.
    """

    def __init__(self, reason: str, message: str, size: int | None = None, limit: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.size = size
        self.limit = limit


class Folder:
    """An open folder, the border that no name below it may cross."""

    def __init__(self, path: bytes, file: int) -> None:
        self._path = path
        self._file = file
        # An absolute link stays inside if it names the folder as we do, or as the kernel does.
        self._names = {path.rstrip(b"/"), os.path.realpath(path)}

    @classmethod
    def at(cls, path: bytes) -> "Folder":
        """Opens a folder that no Step can replace.

        Raises:
            OSError: It cannot be opened.
        """
        path = path or b"/"
        return cls(path, os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    def folder(self, path: bytes) -> "Folder":
        """Opens a folder below this one, which a Step may have made.

        Raises:
            FileNotFoundError: There is none.
            RefusedError: A link leads out, or it cannot be opened.
        """
        whole = self._path + b"/" + path
        try:
            with Walk(self._file, self._names, path) as walk:
                return Folder(whole, walk.folder())
        except FileNotFoundError:
            raise
        except (OutsideError, OSError) as error:
            raise _refusal(whole, error) from None

    def close(self) -> None:
        """Closes it."""
        os.close(self._file)

    def read(self, name: str, limit: int) -> bytes | None:
        """Reads the file of a result.

        Args:
            name: The result's name.
            limit: Bytes it may have.

        Returns:
            Its bytes; None if there is no such file.

        Raises:
            RefusedError: It cannot be passed on.
        """
        file = self.open(name, limit)
        if file is None:
            return None
        try:
            return _read(file.number, file.path, limit)
        except OSError as error:
            raise _refusal(file.path, error) from None
        finally:
            file.close()

    def open(self, name: str, limit: int) -> "File | None":
        """Opens the file of a result and reads nothing of it: for a value that is too large for memory.

        Args:
            name: The result's name.
            limit: Bytes it may have.

        Returns:
            To be closed; None if there is no such file.

        Raises:
            RefusedError: It cannot be passed on.
        """
        path = check_name(name)
        whole = self._path + b"/" + path
        with Walk(self._file, self._names, path) as walk:
            try:
                part, mode = walk.file() or (b"", stat.S_IFDIR)
                _check_regular(whole, mode)
                return File(os.open(part, _READ, dir_fd=walk.at), whole, limit)
            except FileNotFoundError:
                if walk.links:  # a Step did make something, so the result is not absent
                    raise RefusedError(wire.UNREADABLE, f"{_printable(whole)} is a link to nothing") from None
                return None
            except (OutsideError, OSError) as error:
                raise _refusal(whole, error) from None


class File:
    """The open file of a result.

    Attributes:
        number: Its descriptor.
        path: For messages.
    """

    def __init__(self, number: int, path: bytes, limit: int) -> None:
        self.number = number
        self.path = path
        self._limit = limit

    def pieces(self) -> "Iterator[bytes]":
        """Yields all its bytes in pieces; each call begins again with the first byte.

        Only who finds the same twice knows that it was not written to meanwhile.

        Raises:
            RefusedError: It is no regular file, has more bytes than it may have, or cannot be read.
        """
        at = 0
        try:
            status = os.fstat(self.number)
            _check_regular(self.path, status.st_mode)  # it may have been swapped since we looked
            if status.st_size > self._limit:
                raise _too_large(status.st_size, self._limit)
            while piece := os.pread(self.number, _LARGE_PIECE, at):
                at += len(piece)
                if at > self._limit:
                    raise _too_large(max(at, os.fstat(self.number).st_size), self._limit)
                yield piece
        except OSError as error:
            raise _refusal(self.path, error) from None

    def changing(self) -> RefusedError:
        """Returns the error for a file of which no two reads were the same."""
        return RefusedError(wire.UNREADABLE, f"{_printable(self.path)} is still being written")

    def close(self) -> None:
        """Closes it."""
        os.close(self.number)


def check_name(name: str) -> bytes:
    """Returns the file name of a result or a Step.

    Raises:
        RefusedError: It is not the name of one file.
    """
    try:
        encoded = name.encode()
    except UnicodeEncodeError:  # JSON can name half a character
        encoded = b""
    if encoded in (b"", b".", b"..") or b"/" in encoded or b"\0" in encoded:
        raise RefusedError(wire.OUTSIDE_FOLDER, f"{name!a} is not the name of a file in the results folder")
    if len(encoded) > wire.NAME_LIMIT:
        raise RefusedError(
            wire.UNREADABLE, f"the name has {len(encoded)} bytes, a file name at most {wire.NAME_LIMIT}"
        )
    return encoded


def _read(file: int, whole: bytes, limit: int) -> bytes:
    """Reads a file whole and consistently, or refuses it: a mixture of two writes was never a value."""
    for turn in range(_READS):
        before = os.fstat(file)
        _check_regular(whole, before.st_mode)  # it may have been swapped since we looked
        if before.st_size > limit:
            raise _too_large(before.st_size, limit)
        # First as much as the file says it has and a byte more; some files do not say.
        data = _read_up_to(file, limit + 1) if turn else os.pread(file, before.st_size + 1, 0)
        after = os.fstat(file)
        if len(data) > limit:
            raise _too_large(max(len(data), after.st_size), limit)
        unchanged = after.st_size == before.st_size and after.st_mtime_ns == before.st_mtime_ns
        # The clock of a modification is coarse: what counts is that a second read finds the same bytes.
        if unchanged and len(data) >= after.st_size and _unchanged(file, data):
            return data
    raise RefusedError(wire.UNREADABLE, f"{_printable(whole)} is still being written")


def _unchanged(file: int, data: bytes) -> bool:
    """Returns whether a file still holds exactly these bytes; reads pieces: memory holds a value once."""
    at = 0
    while piece := os.pread(file, _PIECE, at):
        if data[at : at + len(piece)] != piece:
            return False
        at += len(piece)
    return at == len(data)


def _read_up_to(file: int, most: int) -> bytes:
    data = os.pread(file, most, 0)
    while data and len(data) < most:
        more = os.pread(file, most - len(data), len(data))
        if not more:
            break
        data += more
    return data


def _check_regular(shown: bytes, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise RefusedError(wire.NOT_REGULAR_FILE, f"{_printable(shown)} is {kind}, not a regular file")


def _too_large(size: int, limit: int) -> RefusedError:
    return RefusedError(
        wire.TOO_LARGE, f"the value has {size} bytes, the limit for one result is {limit} bytes", size, limit
    )


def _refusal(path: bytes, error: Exception) -> RefusedError:
    if isinstance(error, OSError):
        return RefusedError(wire.UNREADABLE, f"{_printable(path)}: {error.strerror}")
    return RefusedError(wire.OUTSIDE_FOLDER, f"{_printable(path)} is a link out of its folder")


def _printable(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
