"""Show folders of this machine in text as the paths in a container that they stand in for."""

import os
from collections.abc import Mapping

__all__ = ["show_paths", "with_real_paths"]


def with_real_paths(folders: Mapping[str, str]) -> dict[str, str]:
    """Return container paths by folder, with each folder's path without links, too.

    Args:
        folders: The path in a container that each folder stands in for.
    """
    return {**{os.path.realpath(folder): path for folder, path in folders.items()}, **folders}


def show_paths(text: str, folders: Mapping[str, str]) -> str:
    """Return text with each folder of this machine replaced by its path in the container, longest first.

    Args:
        text: For people: a log, a message.
        folders: The path in the container that each folder stands in for.
    """
    for folder in sorted(folders, key=len, reverse=True):
        text = text.replace(folder, folders[folder])
    return text
