"""Parse the names of runs as kubectl writes them: ``NAME``, ``taskrun/NAME``, ``pr/NAME``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resultsfw.cluster import Kind
from resultsfw.errors import InputError
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

__all__ = ["KINDS", "RunName", "kind_of_word", "parse_names", "qualified"]

KINDS: Final = (TASKRUNS, PIPELINERUNS)
"""Kinds of runs, in the order in which a bare name is looked up."""

_WORDS: Final = {
    word: kind
    for kind, short in zip(KINDS, ("tr", "pr"), strict=True)
    for word in (
        *(short, f"{short}s", kind.plural, kind.kind.lower()),
        *(f"{kind.plural}.{kind.group}", f"{kind.kind.lower()}.{kind.group}"),
        f"{kind.plural}.{kind.version}.{kind.group}",
    )
}


@dataclass(frozen=True, slots=True)
class RunName:
    """The name of a run.

    Attributes:
        name: Of the object.
        kind: Its kind; ``None``: a TaskRun or a PipelineRun.
    """

    name: str
    kind: Kind | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return the kinds that the name can mean."""
        return KINDS if self.kind is None else (self.kind,)

    @property
    def label(self) -> str:
        """Return kind and name, for messages."""
        return f'{" or ".join(kind.kind for kind in self.kinds)} "{self.name}"'


def kind_of_word(word: str) -> Kind | None:
    """Return the kind that a word such as ``taskruns`` or ``pr`` names; ``None`` if it names none."""
    return _WORDS.get(word.lower())


def qualified(kind: str, name: str) -> str:
    """Return the name as ``kubectl get -o name`` prints it: ``taskrun.tekton.dev/NAME``."""
    return f"{kind.lower()}.{TASKRUNS.group}/{name}"


def parse_names(words: Sequence[str]) -> list[RunName]:
    """Return the names that the words of a command line say.

    Raises:
        InputError: A word names a file, or a kind that is no run.
    """
    return [_parse(word) for word in words]


def _parse(word: str) -> RunName:
    prefix, slash, name = word.partition("/")
    if slash and name and (kind := kind_of_word(prefix)) is not None:
        return RunName(name, kind)
    if _is_file(word):
        where = f", or taskrun/{word} if it is the name of a run" if not slash else ""
        raise InputError(f"{word} is a file: use -f {word}{where}", subject=word)
    if slash:
        raise InputError(
            f'"{word}" is not the name of a run: write NAME, taskrun/NAME or pipelinerun/NAME', subject=word
        )
    if not word or word == "-":
        raise InputError(f'"{word}" is not the name of a run; standard input is -f -', subject=word)
    return RunName(word)


def _is_file(word: str) -> bool:
    """Return whether a word names a file, or a folder by a path: a run may have the name of a folder."""
    path = Path(word)
    try:
        return path.is_file() or ("/" in word and path.is_dir())
    except OSError:  # too long for a path
        return False
