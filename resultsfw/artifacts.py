"""Read the provenance of artifacts that a backend delivered, and print their values."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from resultsfw.cluster import Object
from resultsfw.jsons import go_json
from resultsfw.provenance import MalformedArtifactsError, merge_artifacts, parse_artifacts
from resultsfw.types import ARTIFACTS, ExtractedResult, Extraction, Problem, ProblemCode, Reference, Run
from resultsfw.values import label

__all__ = ["artifact_values", "different_documents", "read_documents"]


def artifact_values(artifact: Mapping[str, Any]) -> str:
    """Return the values of an artifact as the JSON text that replaces ``$(tasks.T.outputs.A)``."""
    values = artifact.get("values")
    # Sorted keys are the order of Go's fields and maps.
    return "null" if values is None else go_json(json.loads(json.dumps(values, sort_keys=True)))


def different_documents(
    run: Run, extraction: Extraction
) -> tuple[list[ExtractedResult], set[tuple[str | None, str]]]:
    """Return the different texts of provenance, and the origins of those whose Step the run does not have.

    The Task's come first, then each Step's. In termination messages every Step repeats the Task's text.
    """
    order = {name: index for index, name in enumerate((None, *(step.name for step in run.steps)))}
    found = [result for result in extraction.results if result.name == ARTIFACTS]
    different = {(result.step, result.value): result for result in found if result.step in order}
    unknown: set[tuple[str | None, str]] = {
        (result.step, result.name) for result in found if result.step not in order
    }
    return sorted(different.values(), key=lambda result: order[result.step]), unknown


def read_documents(
    values: Iterable[ExtractedResult],
) -> tuple[dict[str | None, Object], list[str], list[Problem]]:
    """Return provenance by Step (``None``: the Task's), what was malformed, in words, and problems.

    Malformed provenance does not fail a run in Tekton: it is left out.

    Args:
        values: Values within the limits; those of results are ignored.
    """
    parsed: dict[str | None, list[Object]] = {}
    malformed: list[str] = []
    problems: list[Problem] = []
    for found in values:
        if found.name != ARTIFACTS:
            continue
        whose = label(ARTIFACTS, found.step)
        if isinstance(found.value, Reference):
            message = f"{whose} arrived as a reference, but a status must contain the artifacts themselves"
            code = ProblemCode.TRANSPORT_CORRUPT
            problems.append(Problem(code=code, message=message, result=ARTIFACTS, step=found.step))
            continue
        try:
            parsed.setdefault(found.step, []).append(parse_artifacts(found.value))
        except MalformedArtifactsError as error:
            malformed.append(f"{whose} left out, as in Tekton: {error}")
    merged = {
        step: documents[0] if len(documents) == 1 else merge_artifacts(documents)
        for step, documents in parsed.items()
        if documents
    }
    return merged, malformed, problems
