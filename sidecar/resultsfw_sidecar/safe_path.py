"""Resolves a path below an open folder and never leaves that folder, whatever links a Step makes.

Each component is looked up in an open folder and each link is followed by hand, so a component that is
replaced meanwhile cannot lead outside. (openat2 with RESOLVE_BENEATH is no alternative: it refuses absolute
links that lead back inside, which Tekton makes, and older kernels lack it.)
"""

import errno
import os
import stat

_LINKS = 40  # followed on one path, as Linux does


class OutsideError(Exception):
    """The path leads out of the folder."""


class Walk:
    """Follows one path; a context manager, which closes the folders it opened.

    Attributes:
        links: Links followed so far.
    """

    def __init__(self, folder: int, names: set[bytes], path: bytes) -> None:
        """Starts in the folder.

        Args:
            folder: The folder, open.
            names: Its absolute paths: an absolute link that begins with one stays inside.
            path: The path to walk.
        """
        self.links = 0
        self._names = names
        self._folders = [folder]  # from there down to where we are
        self._pending = path.split(b"/")[::-1]

    @property
    def at(self) -> int:
        """The open folder reached so far."""
        return self._folders[-1]

    def __enter__(self) -> "Walk":  # noqa: PYI034 - Self is typing's, which costs the start-up 5 ms
        return self

    def __exit__(self, *_: object) -> None:
        self._go_back()

    def file(self) -> tuple[bytes, int] | None:
        """Follows the path to the folder of its last component.

        Returns:
            The last component's name and mode; None if the path ends in a folder that is open already.

        Raises:
            OutsideError: The path leads out of the folder.
            OSError: A component does not exist or cannot be read.
        """
        while found := self._next():
            if not self._pending:
                return found
            self._enter(found[0])
        return None

    def folder(self) -> int:
        """Opens the folder at the end of the path; the caller closes it.

        Raises:
            OutsideError: The path leads out of the folder.
            OSError: A component does not exist or cannot be read.
        """
        while found := self._next():
            self._enter(found[0])
        return os.dup(self.at)

    def _next(self) -> tuple[bytes, int] | None:
        """Returns the next component that is not a link, and its mode."""
        while self._pending:
            part = self._pending.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if len(self._folders) == 1:
                    raise OutsideError
                os.close(self._folders.pop())
                continue
            mode = os.stat(part, dir_fd=self.at, follow_symlinks=False).st_mode
            if not stat.S_ISLNK(mode):
                return part, mode
            self._follow(part)
        return None

    def _enter(self, part: bytes) -> None:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._folders.append(os.open(part, flags, dir_fd=self.at))

    def _follow(self, link: bytes) -> None:
        self.links += 1
        if self.links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink(link, dir_fd=self.at)
        if target.startswith(b"/"):
            target = self._inside(target)
            self._go_back()
        self._pending += target.split(b"/")[::-1]

    def _inside(self, target: bytes) -> bytes:
        for name in self._names:
            if (target + b"/").startswith(name + b"/"):
                return target[len(name) :]
        raise OutsideError

    def _go_back(self) -> None:
        while len(self._folders) > 1:
            os.close(self._folders.pop())
