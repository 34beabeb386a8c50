"""Find which of the results and artifacts that a Pipeline Task names are not there."""

from collections.abc import Callable

from resultsfw.tekton.api.artifact_refs import ArtifactRef
from resultsfw.tekton.pipelinerun.artifact_values import ArtifactValues
from resultsfw.tekton.pipelinerun.dag import NamedValues
from resultsfw.tekton.pipelinerun.result_refs import (
    ReadValue,
    ResultMissing,
    Results,
    ResultUnread,
    resolve_result,
)

__all__ = ["describe_missing", "owner_of_missing"]


def describe_missing(
    name: str,
    named: NamedValues,
    results: Results,
    artifacts: ArtifactValues,
    *,
    read_value: ReadValue,
    has_succeeded: Callable[[str], bool],
) -> str:
    """Return what to say of the first result or artifact that is not there; empty if all are.

    Args:
        name: The Pipeline Task that names them.
        named: What it names.
        results: Of the Tasks that have ended.
        artifacts: Likewise.
        read_value: Reads the value of a result by reference, of which a part is named.
        has_succeeded: Returns whether a Pipeline Task succeeded.
    """
    for ref in named.results:
        try:
            resolve_result(ref, results, read_value)
        except ResultUnread:
            continue  # it is there
        except ResultMissing as missing:
            is_there = ref.result in results.get(ref.task, {})
            if has_succeeded(ref.task) and not is_there:
                return (
                    f'task "{ref.task}" completed successfully but did not emit the result '
                    f'"{ref.result}", which is referenced by task "{name}"'
                )
            return missing.message if is_there else f"Invalid task result reference: {missing.message}"
    if (lacking := _missing_artifact(named, artifacts)) is not None:
        kind = f'{lacking.kind[:-1]} artifact "{lacking.artifact}"' if lacking.artifact else lacking.kind
        return f'task "{lacking.owner}" has no {kind}, which task "{name}" names'
    return ""


def owner_of_missing(named: NamedValues, results: Results, artifacts: ArtifactValues) -> str:
    """Return the Pipeline Task of the first result, else artifact, that is not there; empty if all are.

    A result that is there and lacks the element or key that is named counts as there.
    """
    for ref in named.results:
        if ref.result not in results.get(ref.task, {}):
            return ref.task
    lacking = _missing_artifact(named, artifacts)
    return "" if lacking is None else lacking.owner


def _missing_artifact(named: NamedValues, artifacts: ArtifactValues) -> ArtifactRef | None:
    return next((ref for ref in named.artifacts if artifacts.find(ref) is None), None)
