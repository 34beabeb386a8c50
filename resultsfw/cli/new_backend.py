"""``resultsfw new-backend``: a distribution with a working backend in it, for an author to start from."""

import re
from collections.abc import Iterator
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from resultsfw.cli import show
from resultsfw.errors import InputError
from resultsfw.plugins import installed

__all__ = ["write_backend"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST: Final = 40
"""Characters of a name: with what is put before it, it is part of a container's name and of a finalizer's."""

_RENAMED: Final = {"gitignore": ".gitignore", "ci.yml": ".github/workflows/test.yml"}
"""Files that would mean something where the template lies."""


def write_backend(name: str, *, into: str) -> int:
    """Write the distribution of a backend ``name`` into a folder of its own below ``into``, say what is next.

    Raises:
        InputError: The name can be none, or is taken; the folder is there, or cannot be made.
    """
    _refuse(name)
    folder = Path(into) / f"resultsfw-{name}"
    try:
        folder.mkdir(parents=True)
        for path, text in _files(name):
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except FileExistsError:
        raise InputError(f"{folder} is there already; nothing was written", subject=str(folder)) from None
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}", subject=str(folder)) from error
    show.write(
        f"{folder}: a backend that works, by a sidecar's log, to make your own of\n"
        f"next:\n"
        f"  cd {folder}\n"
        f"  python3 -m venv .venv && . .venv/bin/activate\n"
        f"  pip install -e '.[test]'\n"
        f"  pytest\n"
        f"  resultsfw run example.yaml --results-from {name}\n"
        f"what each hook promises: docs/writing-a-backend.md of resultsfw; no license is chosen yet\n"
    )
    return 0


def _refuse(name: str) -> None:
    if not _NAME.fullmatch(name):
        near = "-".join(re.findall("[a-z0-9]+", name.lower())).lstrip("0123456789-")
        hint = f'; "{near}" would be one' if _NAME.fullmatch(near) else ""
        raise InputError(
            f'"{name}" is no name for a backend: lower case letters, digits and single hyphens, a letter '
            f"first{hint}",
            subject=name,
        )
    if len(name) > _LONGEST:
        raise InputError(
            f'"{name}" has {len(name)} characters, at most {_LONGEST} are possible', subject=name
        )
    if taken := [one for one in installed() if one.name == name]:
        raise InputError(
            f'"{name}" is the name of a backend of {taken[0].distribution} {taken[0].version}, which is '
            f"installed here; two of one name could not be used beside each other",
            subject=name,
        )


def _files(name: str) -> Iterator[tuple[str, str]]:
    """Paths and texts of the distribution."""
    title = "".join(part.capitalize() for part in name.split("-"))
    changes = {
        "my-backend": name,
        "my_backend": name.replace("-", "_"),
        "MyBackend": title,
        ">=0.0.0": ">=" + metadata.version("resultsfw"),
    }
    pattern = re.compile("|".join(changes))
    for path, file in _walk(resources.files("resultsfw.cli") / "template"):
        put, text = (
            pattern.sub(lambda found: changes[found[0]], one) for one in (path, file.read_text("utf-8"))
        )
        yield put, text


def _walk(folder: Traversable, before: str = "") -> Iterator[tuple[str, Traversable]]:
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name == "__pycache__":
            continue
        path = f"{before}{file.name}"
        if file.is_dir():
            yield from _walk(file, f"{path}/")
        else:
            yield _RENAMED.get(path, path), file
