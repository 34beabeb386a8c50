"""Reads and writes the entrypoint's files, safe from FIFOs, links and devices that a hostile Step creates."""

import errno
import os
import stat

NOT_UTF8 = "NotUtf8"
NOT_REGULAR = "NotRegularFile"
OUTSIDE = "OutsideFolder"
UNREADABLE = "Unreadable"


class RefusedError(Exception):
    """A result's file must not be read.

    Attributes:
        reason: One of this module's constants.
        size: Bytes of the file; ``None`` if it is not a regular file.
    """

    def __init__(self, reason: str, size: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.size = size


def write(path: str, text: str = "") -> None:
    """Write a file, creating its folder if necessary.

    Raises:
        OSError: It cannot be written.
    """
    folder = os.path.dirname(path)  # noqa: PTH120 - pathlib costs 10 ms
    if folder:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    try:
        _write_all(descriptor, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)


def write_message(path: str, data: bytes) -> None:
    """Write the termination message.

    In a container its file is a mount, which a Step cannot replace; here it can, so anything else is removed.

    Raises:
        OSError: It cannot be written.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    try:
        _write_all(descriptor, data)
    finally:
        os.close(descriptor)


def read(path: str, most: int) -> tuple[bytes, int] | None:
    """Return the first bytes and the size of a regular file; ``None`` if it does not exist.

    Raises:
        RefusedError: It is not a regular file, or cannot be read.
    """
    try:
        # Without O_NONBLOCK, a FIFO without a writer would block for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        # A socket, a link that was created meanwhile, or a device without a driver.
        special = error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV)
        raise RefusedError(NOT_REGULAR if special else UNREADABLE) from None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise RefusedError(NOT_REGULAR)
        data = bytearray()
        while len(data) < most and (piece := os.read(descriptor, most - len(data))):
            data += piece
    except OSError:
        raise RefusedError(UNREADABLE) from None
    finally:
        os.close(descriptor)
    return bytes(data), max(facts.st_size, len(data))


def read_result(folder: str, name: str, most: int) -> tuple[str | None, int] | None:
    """Return a result's text and size; no text if it is over ``most``, ``None`` if it does not exist.

    Raises:
        RefusedError: Its file is not a regular file inside the folder, or not UTF-8.
    """
    path = os.path.realpath(os.path.join(folder, name))  # noqa: PTH118
    inside = os.path.realpath(folder)
    # A Step may have replaced the folder by a link, which must not lead out of the parent folder.
    around = os.path.realpath(os.path.dirname(folder))  # noqa: PTH120
    if not (path.startswith(f"{inside}/") and inside.startswith(f"{around}/")):
        raise RefusedError(OUTSIDE)
    found = read(path, most + 1)
    if found is None:
        return None
    data, size = found
    if size > most:
        return None, size
    try:
        return data.decode(), size
    except UnicodeDecodeError:
        raise RefusedError(NOT_UTF8, size) from None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
