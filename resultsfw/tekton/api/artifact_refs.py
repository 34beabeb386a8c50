"""Find variables and paths of artifacts in a Task's texts (internal/artifactref and pkg/pod in Tekton)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from resultsfw.cluster import Object
from resultsfw.tekton.api.names import step_name
from resultsfw.types import ARTIFACTS

__all__ = [
    "ArtifactRef",
    "artifact_variable",
    "parse_artifact_ref",
    "uses_artifacts",
    "writes_step_artifacts",
    "writes_task_artifacts",
]

_REFERENCE: Final = re.compile(r"(steps|tasks)\.([^.()]+)\.(inputs|outputs)(?:\.([^.()]+))?")
# No repetition in it can match what the next part begins with: linear on any text.
_VARIABLE: Final = re.compile(
    r"\$\((?:(?:steps|tasks)\.[^.()$]+\.(?:inputs|outputs)(?:\.[^()$]*)?|(?:step\.)?artifacts\.path)\)"
)
_STEP_PATH: Final = "$(step.artifacts.path)"
_TASK_PATHS: Final = ("$(artifacts.path)", f"/tekton/{ARTIFACTS}")


class ArtifactRef(NamedTuple):
    """A reference to the values of an artifact, ``$(steps.S.outputs.A)`` or ``$(tasks.T.outputs.A)``.

    Attributes:
        section: ``steps`` or ``tasks``.
        owner: The Step, or the Pipeline Task.
        kind: ``inputs`` or ``outputs``.
        artifact: The artifact's name; empty for the first one of a Pipeline Task.
    """

    section: str
    owner: str
    kind: str
    artifact: str


def parse_artifact_ref(name: str) -> ArtifactRef | None:
    """Return the reference that a variable is; ``None`` for any other, and for a Step's without a name."""
    match = _REFERENCE.fullmatch(name)
    if match is None or (match[1] == "steps" and not match[4]):
        return None
    return ArtifactRef(match[1], match[2], match[3], match[4] or "")


def artifact_variable(text: str) -> str:
    """Return the first variable of artifacts in a text, or an empty text."""
    if "puts" not in text and "artifacts" not in text:
        return ""
    match = _VARIABLE.search(text)
    return match[0] if match else ""


def uses_artifacts(task_spec: Object) -> bool:
    """Return whether a Step names an artifact, or the path of artifacts."""
    containers = (*(task_spec.get("steps") or []), task_spec.get("stepTemplate") or {})
    variables = any(artifact_variable(text) for container in containers for text in _texts(container))
    return variables or any(writes_step_artifacts(task_spec)) or writes_task_artifacts(task_spec)


def writes_step_artifacts(task_spec: Object) -> tuple[bool, ...]:
    """Return of each Step whether it names the path of its own artifacts, as variable or as text."""
    shared = list(_texts(task_spec.get("stepTemplate") or {}))
    return tuple(
        _contains(
            [*_texts(step), *shared], (_STEP_PATH, f"/tekton/steps/step-{step_name(step, index)}/{ARTIFACTS}")
        )
        for index, step in enumerate(task_spec.get("steps") or [])
    )


def writes_task_artifacts(task_spec: Object) -> bool:
    """Return whether a Step names the path of the Task's artifacts.

    Tekton looks for paths of Steps' artifacts only, and loses the Task's where results come by sidecar.
    """
    containers = (*(task_spec.get("steps") or []), task_spec.get("stepTemplate") or {})
    return any(_contains(_texts(container), _TASK_PATHS) for container in containers)


def _texts(container: Object) -> Iterator[str]:
    """Yield the texts of a Step or of a template in which Tekton looks for paths of artifacts."""
    yield container.get("script") or ""
    yield from container.get("command") or ()
    yield from container.get("args") or ()
    for variable in container.get("env") or ():
        yield variable.get("value") or ""


def _contains(texts: Iterable[str], paths: Sequence[str]) -> bool:
    joined = "\n".join(texts)  # no path has a line break
    return any(path in joined for path in paths)
