"""Watches folders by inotify, called through ctypes; admits it where that does not work."""

import os
import sys

from .stop import drain

_OPEN, _MOVED_TO, _CREATE, _ONLYDIR = 0x20, 0x80, 0x100, 0x1000000

# File systems whose every change goes through this kernel. On a network or FUSE file system inotify
# can be used, and stays silent about what others do. Numbers: linux/magic.h.
_LOCAL = {
    0xEF53,  # ext2, ext3, ext4
    0x58465342,  # XFS
    0x9123683E,  # Btrfs
    0x01021994,  # tmpfs
    0x858458F6,  # ramfs
    0x794C7630,  # overlayfs
    0x2FC12FC1,  # ZFS
    0xF2F52010,  # F2FS
    0xCA451A4E,  # bcachefs
}


class Inotify:
    """An inotify instance.

    Attributes:
        file: Its file descriptor; readable when something happened.
    """

    def __init__(self, file: int) -> None:
        self.file = file

    @classmethod
    def of(cls, folders: list[bytes]) -> "Inotify | None":
        """Watches folders for files that appear.

        Returns:
            None where that does not work: no ctypes, no C library, a limit reached, a file system
            that is not local, or no event of what we do ourselves.
        """
        try:
            import ctypes  # noqa: PLC0415 - 3 ms, and an interpreter may lack it

            libc = ctypes.CDLL(None, use_errno=True)
            file = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
            start = ctypes.create_string_buffer(512)  # struct statfs begins with the type
        except (ImportError, OSError, AttributeError):
            return None

        def works(folder: bytes) -> bool:
            return (
                libc.statfs(folder, start) == 0
                and int.from_bytes(start.raw[:4], sys.byteorder) in _LOCAL
                and libc.inotify_add_watch(file, folder, _OPEN | _ONLYDIR) >= 0
                and _opening_gives_event(file, folder)
                and libc.inotify_add_watch(file, folder, _CREATE | _MOVED_TO | _ONLYDIR) >= 0
            )

        if file < 0:
            return None
        if not all(map(works, folders)):
            os.close(file)
            return None
        return cls(file)

    def drain(self) -> None:
        """Discard all events: the folders themselves show the state."""
        drain(self.file)


def _opening_gives_event(file: int, folder: bytes) -> bool:
    """Returns whether opening the folder gives an event; the kernel queues it before open returns."""
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError:
        return False
    return bool(drain(file))
