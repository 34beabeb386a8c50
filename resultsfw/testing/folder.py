"""Present a folder as a mutable mapping from file names to bytes, for `backend_external_state`."""

import contextlib
from collections.abc import Iterator, MutableMapping
from pathlib import Path

__all__ = ["Folder"]


class Folder(MutableMapping[str, bytes]):
    """Maps the paths of the files below a folder to their bytes.

    Args:
        path: The folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getitem__(self, name: str) -> bytes:
        try:
            return (self._path / name).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            raise KeyError(name) from None

    def __setitem__(self, name: str, data: bytes) -> None:
        file = self._path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def __delitem__(self, name: str) -> None:
        try:
            (self._path / name).unlink()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        files = (path for path in self._path.rglob("*") if path.is_file())
        return iter(sorted(str(file.relative_to(self._path)) for file in files))

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Let nothing be read or written below the folder within the block: a file is in its place."""
        aside = self._path.with_name(f"{self._path.name}.aside")
        is_there = self._path.exists()
        if is_there:
            self._path.rename(aside)
        self._path.touch()
        try:
            yield
        finally:
            self._path.unlink()
            if is_there:
                aside.rename(self._path)

    def __len__(self) -> int:
        return sum(1 for _ in self)
