"""Start a container's process with some folders read-only, as the kubelet mounts them.

A program of its own (``python -I -S read_only.py [FROM TO]... -- FILE ARGV...``), standard library only. It
makes each folder FROM visible at the empty folder TO, read-only, in a mount namespace of its own, and becomes
FILE. Where this machine allows no such namespace, TO becomes a link to FROM, which tells the engine that FROM
can be written. Nothing is printed: the log of a results sidecar has nothing but records.
"""

import ctypes
import os
import sys

_NEW_MOUNTS = 0x0002_0000
_NEW_USER = 0x1000_0000
_READ_ONLY = 0x1
_REMOUNT = 0x20
_BIND = 0x1000
_RECURSIVE = 0x4000
_PRIVATE = 0x4_0000
_KEPT = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME
"""Flags of the mount below, which a user namespace may not drop; their values are those of mount(2), too."""


def main(words: list[str]) -> None:
    """Make the folders read-only and execute the program, both given by the command line."""
    end = words.index("--")
    pairs = list(zip(words[0:end:2], words[1:end:2], strict=True))
    file, *argv = words[end + 1 :]
    try:
        enter_namespace()
        for source, target in pairs:
            bind(source, target)
    except OSError:
        for source, target in pairs:
            link(source, target)
    os.chdir(os.getcwd())  # noqa: PTH109 - the same path, which may be in one of the folders now
    os.execve(file, argv, os.environ)  # noqa: S606 - what the container is


def enter_namespace() -> None:
    """Enter a mount namespace; for a user who may not, in a user namespace with the same user and group.

    Raises:
        OSError: This machine allows neither.
    """
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS):
        if libc.unshare(_NEW_USER | _NEW_MOUNTS):
            raise _last_error()
        for name, content in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib costs 10 ms
                file.write(content)
    _mount(None, "/", _RECURSIVE | _PRIVATE)


def bind(source: str, target: str) -> None:
    """Make a folder visible at another one, read-only.

    Raises:
        OSError: The kernel refused.
    """
    _mount(source, target, _BIND | _RECURSIVE)
    _mount(None, target, _REMOUNT | _BIND | _READ_ONLY | (os.statvfs(target).f_flag & _KEPT))


def link(source: str, target: str) -> None:
    """Replace a folder by a link to another one, unless it is one already."""
    if not os.path.islink(target):  # noqa: PTH114
        os.rename(target, f"{target}.unused")  # noqa: PTH104
        os.symlink(source, target)  # noqa: PTH211


def _mount(source: str | None, target: str, flags: int) -> None:
    from_bytes = None if source is None else os.fsencode(source)
    if ctypes.CDLL(None, use_errno=True).mount(from_bytes, os.fsencode(target), None, flags, None):
        raise _last_error()


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
