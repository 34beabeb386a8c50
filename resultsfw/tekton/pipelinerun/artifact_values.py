"""Find artifacts that Pipeline Tasks name in the status of those that have ended, and print their values."""

from collections.abc import Callable, Sequence

from resultsfw.artifacts import artifact_values
from resultsfw.cluster import Object
from resultsfw.provenance import merge_artifacts
from resultsfw.tekton.api.artifact_refs import ArtifactRef, parse_artifact_ref

__all__ = ["ArtifactValues"]


class ArtifactValues:
    """Values of artifacts by variable.

    Args:
        taskruns_of: Returns the TaskRuns of a Pipeline Task that has ended, with their artifacts; nothing if
            it has not ended, or has other children.
    """

    def __init__(self, taskruns_of: Callable[[str], Sequence[Object]]) -> None:
        self._taskruns_of = taskruns_of
        self._known: dict[str, Object] = {}

    def lookup(self, variable: str) -> str | None:
        """Return the value of a variable; ``None`` if it does not name an existing artifact."""
        ref = parse_artifact_ref(variable)
        return None if ref is None or ref.section != "tasks" else self.find(ref)

    def find(self, ref: ArtifactRef) -> str | None:
        """Return the values of an artifact as JSON; without a name, of the first one."""
        for artifact in self._of(ref.owner).get(ref.kind) or ():
            if not ref.artifact or artifact.get("name", "") == ref.artifact:
                return artifact_values(artifact)
        return None

    def _of(self, name: str) -> Object:
        """Return what a Pipeline Task's TaskRuns wrote; those of a matrix together, as Tekton merges them."""
        if name not in self._known:
            taskruns = self._taskruns_of(name)
            if not taskruns:
                return {}
            found = [(taskrun.get("status") or {}).get("artifacts") or {} for taskrun in taskruns]
            self._known[name] = found[0] if len(found) == 1 else merge_artifacts(found)
        return self._known[name]
