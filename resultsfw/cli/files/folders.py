"""Name the manifests of folders, by kubectl's rules."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from resultsfw.errors import InputError

__all__ = ["files_in"]

_SUFFIXES: Final = frozenset({".json", ".yaml", ".yml"})
"""Of the manifests in a folder (kubectl's ``FileExtensions``)."""


def files_in(names: Sequence[str], *, recursive: bool | None = None) -> list[str]:
    """Return the names with each folder replaced by the manifests in it, in the order of their names.

    Args:
        names: Of files and folders; ``-`` is standard input, and stays.
        recursive: Whether to read the folders in a folder, too, but no links to folders; ``None``: not, and
            there is no option ``-R`` for it.

    Raises:
        InputError: A folder has no manifests, or cannot be read.
    """
    return [file for name in names for file in _files(name, recursive=recursive)]


def _files(name: str, *, recursive: bool | None) -> list[str]:
    folder = Path(name)
    if not folder.is_dir():
        return [name]
    try:
        found = list(_manifests(folder, recursive=recursive))
        has_folders = any(entry.is_dir() for entry in folder.iterdir())
    except OSError as error:
        raise InputError(f"{error.filename or name}: {error.strerror}", subject=name) from error
    if not found:
        hint = "; -R also reads the folders in it" if has_folders and recursive is False else ""
        raise InputError(f"{name} has no file *.json, *.yaml or *.yml{hint}", subject=name)
    return found


def _manifests(folder: Path, *, recursive: bool | None) -> Iterator[str]:
    waiting = _last_first(folder)
    while waiting:  # no recursion: folders may be nested in thousands of others
        entry = waiting.pop()
        if entry.is_dir():
            if recursive and not entry.is_symlink():
                waiting += _last_first(entry)
        elif entry.suffix in _SUFFIXES:
            if entry.exists() and not entry.is_file():  # to read a pipe or a device could last for ever
                raise InputError(f"{entry} is no regular file: name it with -f itself", subject=str(entry))
            yield str(entry)


def _last_first(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda entry: entry.name, reverse=True)
