"""Stores and reads values as files of a folder, each under the SHA-256 of its bytes.

Used in the pod, where the folder is a mounted claim, and by a controller that mounts the same storage. Others
may be able to write there: no symbolic link is followed, and only a regular file is read.
"""

import contextlib
import errno
import os
import stat

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_MODE = 0o644  # the next Task's pod may run as another user
_PIECE = 262_144
_BATCH = 1000  # names in memory
_MOST = 1_000_000  # files that are removed at once: others may add some meanwhile, for ever
_DEPTH = 50  # of folders that are removed: a run's has none in it
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def put(folder: str, name: str, pieces: "Iterable[bytes]", *, part: str) -> None:
    """Stores a value: after a crash it is complete, or it does not exist.

    Args:
        folder: The folder, which exists.
        name: The file's name.
        pieces: The bytes. An exception of the iterator ends the writing, and nothing stays.
        part: Name of the file until it is complete; nobody else's.

    Raises:
        OSError: It is not stored.
    """
    at = _below(folder, ())
    try:
        _remove_file(at, part)  # of this process's predecessor, which was killed
        number = os.open(part, _WRITE, _MODE, dir_fd=at)
        try:
            try:
                os.fchmod(number, _MODE)
                for piece in pieces:
                    left = memoryview(piece)
                    while left:
                        left = left[os.write(number, left) :]
                os.fsync(number)
            finally:
                os.close(number)
            os.rename(part, name, src_dir_fd=at, dst_dir_fd=at)
        except BaseException:
            _remove_file(at, part)
            raise
        os.fsync(at)
    finally:
        os.close(at)


def size(folder: str, name: str) -> int | None:
    """Returns the bytes of a stored value; None if there is none.

    Raises:
        OSError: The folder cannot be read.
    """
    try:
        status = os.stat(f"{folder}/{name}", follow_symlinks=False)  # noqa: PTH116 - pathlib costs 3 ms
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def free_bytes(folder: str) -> int | None:
    """Returns the bytes for which the folder's file system has room; None if it does not say."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def pieces(root: str, names: "Sequence[str]", most: int) -> "Iterator[bytes]":
    """Yields a file's bytes.

    Args:
        root: A folder.
        names: Names of the folders below it and, last, of the file.
        most: Bytes to read at most.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read, is no regular file, or a name is that of a symbolic link.
    """
    at = _below(root, names[:-1])
    try:
        number = os.open(names[-1], _READ, dir_fd=at)
    finally:
        os.close(at)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        while most > 0 and (piece := os.read(number, min(_PIECE, most))):
            most -= len(piece)
            yield piece
    finally:
        os.close(number)


def remove(root: str, names: "Sequence[str]") -> None:
    """Removes a folder with everything in it, if it exists.

    Args:
        root: A folder.
        names: Names of the folders below it, the last of which is removed.

    Raises:
        OSError: Something may be left.
    """
    try:
        at = _below(root, names[:-1])
    except FileNotFoundError:
        if os.path.isdir(root):  # noqa: PTH112 - pathlib costs 3 ms
            return
        raise  # what was to be mounted there is not: nobody knows what it holds
    try:
        with contextlib.suppress(FileNotFoundError):
            _remove_tree(at, names[-1], _DEPTH, [_MOST])
    finally:
        os.close(at)


def _below(root: str, names: "Sequence[str]") -> int:
    """Opens a folder, following no link below the root."""
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in names:
        try:
            below = os.open(name, _FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def _remove_tree(at: int, name: str, depth: int, left: list[int]) -> None:
    """Removes a file, or a folder with everything in it; `shutil` would cost the start-up 10 ms.

    Raises:
        OSError: Something is left; folders are nested too deeply, or there are more files than may be removed
            at once, of which `left` counts down.
    """
    if not stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=at)
        return
    if not depth:
        raise OSError(errno.ENAMETOOLONG, "its folders are nested too deeply")
    below = os.open(name, _FOLDER, dir_fd=at)
    try:
        while names := _names(below):
            for entry in names:
                if not left[0]:
                    raise OSError(errno.ENOTEMPTY, "it has too many files to be removed at once")
                left[0] -= 1
                with contextlib.suppress(FileNotFoundError):
                    _remove_tree(below, entry, depth - 1, left)
    finally:
        os.close(below)
    os.rmdir(name, dir_fd=at)


def _names(at: int) -> "Sequence[str]":
    """Returns names in a folder, but not all at once: whoever mounts the claim can make any number."""
    with os.scandir(at) as entries:
        return [entry.name for entry, _ in zip(entries, range(_BATCH), strict=False)]


def _remove_file(at: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=at)
