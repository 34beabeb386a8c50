"""Determine which controller reconciles a run, and which run a pod or a TaskRun belongs to."""

from dataclasses import dataclass
from typing import Final

from resultsfw.cluster import Object
from resultsfw.kube import lacks_string
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pod.builder import MANAGED_BY

__all__ = ["TASKRUN_LABEL", "RunSelector", "managed_by", "pipelinerun_of", "taskrun_of"]

TASKRUN_LABEL: Final = "tekton.dev/taskRun"
"""The label of a TaskRun's pod. Only pods that have it are watched."""


@dataclass(frozen=True, slots=True)
class RunSelector:
    """Selects the runs that this controller reconciles.

    Args:
        managed_by: The value of their ``spec.managedBy``; "" for all runs.
    """

    managed_by: str

    def selects(self, run: Object) -> bool:
        """Return whether this controller reconciles the run."""
        return not self.managed_by or managed_by(run) == self.managed_by

    def rules_out(self, event: bytes) -> bool:
        """Return whether a watch event, as JSON, is certainly of another controller's run."""
        return bool(self.managed_by) and lacks_string(event, self.managed_by)

    @property
    def pod_selector(self) -> str:
        """The label selector of the pods of these runs.

        Tekton's controller gives each of its pods a label that ours never have (`MANAGED_BY`): the API server
        need not send them. An admission webhook may give it to ours; then `TASKRUN_LABEL` selects them.
        """
        return f"{TASKRUN_LABEL},!{MANAGED_BY}" if self.managed_by else TASKRUN_LABEL


def managed_by(run: Object) -> str:
    """Return a run's ``spec.managedBy``; "" where it has none, or no spec that could have one."""
    spec = run.get("spec")
    named = spec.get("managedBy") if isinstance(spec, dict) else None
    return named if isinstance(named, str) else ""


def taskrun_of(pod: Object) -> tuple[str, str] | None:
    """Return namespace and name of the TaskRun of a pod: by owner reference, without one by label."""
    metadata = pod["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        api_version = str(reference.get("apiVersion", ""))
        if reference.get("kind") == TASKRUNS.kind and api_version.startswith("tekton.dev/"):
            return metadata.get("namespace", ""), reference["name"]
    name = (metadata.get("labels") or {}).get(TASKRUN_LABEL)
    return (metadata.get("namespace", ""), name) if name else None


def pipelinerun_of(taskrun: Object) -> tuple[str, str] | None:
    """Return namespace and name of the PipelineRun of a TaskRun; ``None`` for a standalone one."""
    metadata = taskrun["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("kind") == PIPELINERUNS.kind:
            return metadata.get("namespace", ""), reference.get("name", "")
    return None
