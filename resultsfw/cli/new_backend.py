"""``resultsfw new-backend``: create a project that contains a working backend, for an author to change."""

import re
from collections.abc import Iterator
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from resultsfw.cli import show
from resultsfw.errors import InputError
from resultsfw.plugins import installed_plugins

__all__ = ["write_backend"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST: Final = 40
"""Limit of characters in a name: with a prefix it becomes part of a container's and a finalizer's name."""

_RENAMED: Final = {"gitignore": ".gitignore", "ci.yml": ".github/workflows/test.yml"}
"""Files that would take effect under their own name in the folder of the template."""


def write_backend(name: str, *, into: str) -> int:
    """Create the project of a backend in a new directory below ``into`` and print the next steps.

    Raises:
        InputError: The name is invalid or taken, or the directory exists or cannot be created.
    """
    _check_name(name)
    folder = Path(into) / f"resultsfw-{name}"
    try:
        folder.mkdir(parents=True)
        for path, text in _files(name):
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except FileExistsError:
        raise InputError(f"{folder} already exists; nothing was written", subject=str(folder)) from None
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}", subject=str(folder)) from error
    show.write(
        f"{folder}: a working backend that reads the log of a sidecar, for you to change\n"
        f"next:\n"
        f"  cd {folder}\n"
        f"  python3 -m venv .venv && . .venv/bin/activate\n"
        f"  pip install -e '.[test]'\n"
        f"  pytest\n"
        f"  resultsfw run example.yaml --results-from {name}\n"
        f"docs/writing-a-backend.md of resultsfw describes the hooks; choose a license before you publish\n"
    )
    return 0


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        near = "-".join(re.findall("[a-z0-9]+", name.lower())).lstrip("0123456789-")
        hint = f'; try "{near}"' if _NAME.fullmatch(near) else ""
        raise InputError(
            f'"{name}" is not a valid backend name: use lower case letters, digits and single hyphens, and '
            f"begin with a letter{hint}",
            subject=name,
        )
    if len(name) > _LONGEST:
        raise InputError(f'"{name}" has {len(name)} characters, at most {_LONGEST} are allowed', subject=name)
    if taken := [plugin for plugin in installed_plugins() if plugin.name == name]:
        raise InputError(
            f'"{name}" is already a backend of {taken[0].distribution} {taken[0].version}, which is '
            f"installed here; two backends cannot have the same name",
            subject=name,
        )


def _files(name: str) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file of the project."""
    title = "".join(part.capitalize() for part in name.split("-"))
    changes = {
        "my-backend": name,
        "my_backend": name.replace("-", "_"),
        "MyBackend": title,
        ">=0.0.0": ">=" + metadata.version("resultsfw"),
    }
    pattern = re.compile("|".join(changes))
    for path, file in _walk(resources.files("resultsfw.cli") / "template"):
        yield (
            pattern.sub(lambda match: changes[match[0]], path),
            pattern.sub(lambda match: changes[match[0]], file.read_text("utf-8")),
        )


def _walk(folder: Traversable, before: str = "") -> Iterator[tuple[str, Traversable]]:
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name == "__pycache__":
            continue
        path = f"{before}{file.name}"
        if file.is_dir():
            yield from _walk(file, f"{path}/")
        else:
            yield _RENAMED.get(path, path), file
