"""Refuse volumes that cannot be created on this machine, and paths that lead out of a volume."""

from pathlib import PurePosixPath

__all__ = ["MountError", "safe_path"]


class MountError(Exception):
    """A volume cannot be created on this machine. The message is for people."""


def safe_path(path: str, field: str) -> str:
    """Return a path inside a volume as it is given.

    Raises:
        MountError: It is absolute or has a part ``..``, which an API server refuses, too.
    """
    parts = PurePosixPath(path)
    if not path or parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise MountError(f'{field} "{path[:200]}" must be a relative path without ".."')
    return path
