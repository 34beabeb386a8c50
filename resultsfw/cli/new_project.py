"""``resultsfw new-backend`` and ``new-extension``: create a project that works, for an author to change."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from resultsfw.cli.output import show
from resultsfw.errors import InputError
from resultsfw.plugins import BACKENDS, EXTENSIONS, installed_plugins
from resultsfw.site import page

__all__ = ["BACKEND", "EXTENSION", "ProjectKind", "write_project"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST: Final = 40
"""Limit of characters in a name: with a prefix it becomes part of a container's and a finalizer's name."""

_RENAMED: Final = {"gitignore": ".gitignore", "ci.yml": ".github/workflows/test.yml"}
"""Files that would take effect under their own name in the folder of the template."""

_MARKS: Final = re.compile(
    r"my-(?:backend|extension)|my_(?:backend|extension)|My(?:Backend|Extension)|>=0\.0\.0"
)
"""What is replaced in templates: the plugin's name in three forms, and the version of resultsfw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectKind:
    """What kind of plugin a project contains.

    Attributes:
        word: What it is called.
        group: Its group of entry points.
        template: Folder of its files, below ``resultsfw/cli``.
        shared: Files that are taken from the template of backends.
        contents: What the new project contains, for the author.
        try_it: The arguments of ``resultsfw run`` that use it; ``{name}`` is its name.
        guide: The page of the documentation about it.
    """

    word: str
    group: str
    template: str
    shared: tuple[str, ...] = ()
    contents: str
    try_it: str
    guide: str


BACKEND: Final = ProjectKind(
    word="backend",
    group=BACKENDS,
    template="template",
    contents="a working backend that reads the log of a sidecar",
    try_it="example.yaml --results-from {name}",
    guide=page("how-to/writing-a-backend"),
)

EXTENSION: Final = ProjectKind(
    word="extension",
    group=EXTENSIONS,
    template="template_extension",
    shared=("ci.yml", "gitignore"),
    contents="a working extension that trims and counts results",
    try_it="example.yaml --feature-flags feature-flags.yaml",
    guide=page("how-to/writing-an-extension"),
)


def write_project(kind: ProjectKind, name: str, *, into: str) -> int:
    """Create the project of a plugin in a new directory below ``into`` and print the next steps.

    Raises:
        InputError: The name is invalid or taken, or the directory exists or cannot be created.
    """
    _check_name(kind, name)
    folder = Path(into) / f"resultsfw-{name}"
    try:
        folder.mkdir(parents=True)
        for path, text in _files(kind, name):
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except FileExistsError:
        raise InputError(f"{folder} already exists; nothing was written", subject=str(folder)) from None
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}", subject=str(folder)) from error
    show.write(
        f"{folder}: {kind.contents}, for you to change\n"
        f"next:\n"
        f"  cd {folder}\n"
        f"  python3 -m venv .venv && . .venv/bin/activate\n"
        f"  pip install -e '.[test]'\n"
        f"  pytest\n"
        f"  resultsfw run {kind.try_it.format(name=name)}\n"
        f"{kind.guide} describes the hooks; choose a license before you publish\n"
    )
    return 0


def _check_name(kind: ProjectKind, name: str) -> None:
    if not _NAME.fullmatch(name):
        near = "-".join(re.findall("[a-z0-9]+", name.lower())).lstrip("0123456789-")
        hint = f'; try "{near}"' if _NAME.fullmatch(near) else ""
        raise InputError(
            f'"{name}" is not a valid {kind.word} name: use lower case letters, digits and single hyphens, '
            f"and begin with a letter{hint}",
            subject=name,
        )
    if len(name) > _LONGEST:
        raise InputError(f'"{name}" has {len(name)} characters, at most {_LONGEST} are allowed', subject=name)
    for other in (BACKEND, EXTENSION):  # options are found by the name alone: config.NAME
        if taken := [plugin for plugin in installed_plugins(other.group) if plugin.name == name]:
            article = "an" if other.word == "extension" else "a"
            raise InputError(
                f'"{name}" is already {article} {other.word} of {taken[0].distribution} {taken[0].version}, '
                f"which is installed here; two plugins cannot have the same name",
                subject=name,
            )


def _files(kind: ProjectKind, name: str) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file of the project."""
    forms = {
        f"my-{kind.word}": name,
        f"my_{kind.word}": name.replace("-", "_"),
        f"My{kind.word.capitalize()}": "".join(part.capitalize() for part in name.split("-")),
        ">=0.0.0": ">=" + metadata.version("resultsfw"),
    }

    def filled(text: str) -> str:
        return _MARKS.sub(lambda match: forms[match[0]], text)

    root = resources.files("resultsfw.cli")
    files = [*_walk(root / kind.template), *((name, root / BACKEND.template / name) for name in kind.shared)]
    for path, file in files:
        yield filled(_RENAMED.get(path, path)), filled(file.read_text("utf-8"))


def _walk(folder: Traversable, before: str = "") -> Iterator[tuple[str, Traversable]]:
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name == "__pycache__":
            continue
        path = f"{before}{file.name}"
        if file.is_dir():
            yield from _walk(file, f"{path}/")
        else:
            yield path, file
