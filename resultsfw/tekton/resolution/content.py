"""Read the document that a resolver found: its text is from anywhere, and is parsed within limits."""

from collections.abc import Mapping
from typing import Final

from resultsfw.cluster import Kind, Object
from resultsfw.documents import DocumentError, read_first
from resultsfw.errors import InputError
from resultsfw.tekton.api.kinds import PIPELINES, STEP_ACTIONS, TASKS
from resultsfw.tekton.api.model_parts import quoted
from resultsfw.tekton.api.v1beta1 import convert_to_v1
from resultsfw.tekton.resolution.outcomes import ResolutionFailed

__all__ = ["document_of"]

_FIRST_STEP_ACTIONS: Final = "tekton.dev/v1alpha1"

_NAMED: Final[Mapping[str, str]] = {
    TASKS.kind: "task",
    PIPELINES.kind: "pipeline",
    STEP_ACTIONS.kind: "StepAction",
}
"""Tekton's name of each kind in the message about another kind that was found."""


def document_of(text: str, kind: Kind) -> Object:
    """Return the first document of a text, as Tekton does, in the version that the reconcilers read.

    Args:
        text: YAML or JSON.
        kind: What is expected, with that version.

    Raises:
        ResolutionFailed: It is not such a document. Its shape is not checked.
    """
    try:
        document = read_first(text)
    except DocumentError as error:
        at = "" if error.line is None else f" (line {error.line})"
        raise ResolutionFailed(f"invalid runtime object: it {error.why}{at}") from error
    if not isinstance(document, dict) or not isinstance(document.get("metadata") or {}, dict):
        raise ResolutionFailed("invalid runtime object: it is not a mapping with metadata")
    version, named = str(document.get("apiVersion")), str(document.get("kind"))
    if named != kind.kind or version.partition("/")[0] != kind.group:
        raise ResolutionFailed(
            f"resource is not a {_NAMED[kind.kind]}: it has apiVersion {quoted(version)} and kind "
            f"{quoted(named)}"
        )
    # Owners are of the place where it was found (a cluster), and mean nothing here.
    kept = {key: value for key, value in (document.get("metadata") or {}).items() if key != "ownerReferences"}
    document = {**document, "metadata": kept}
    if named == STEP_ACTIONS.kind and version == _FIRST_STEP_ACTIONS:
        return {**document, "apiVersion": kind.api_version}  # the two have the same fields
    try:
        converted = convert_to_v1(document).document
    except InputError as error:
        raise ResolutionFailed(f"failed to convert obj {version}, Kind={named}: {error.message}") from error
    if converted["apiVersion"] != kind.api_version:
        raise ResolutionFailed(f"invalid runtime object: there is no {named} of version {quoted(version)}")
    return converted
