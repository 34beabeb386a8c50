"""Tekton's resources and the names it reserves in a pod."""

from typing import Final

from resultsfw.cluster import Kind

__all__ = [
    "ASSISTANT_ANNOTATION",
    "CANCEL_ANNOTATION",
    "CLAIMS",
    "CUSTOMRUNS",
    "ON_ERROR_ANNOTATION",
    "PIPELINERUNS",
    "PIPELINES",
    "PIPELINE_LABEL",
    "READY_ANNOTATION",
    "RELEASED_ANNOTATION",
    "RESOLUTION_REQUESTS",
    "SECRETS",
    "SERVICE_ACCOUNTS",
    "STEP_ACTIONS",
    "TASKRUNS",
    "TASKS",
    "TASK_LABEL",
    "VERIFICATION_POLICIES",
    "is_sidecar",
    "is_step",
]


TASKRUNS: Final = Kind("tekton.dev", "v1", "taskruns", "TaskRun")
CLAIMS: Final = Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SECRETS: Final = Kind("", "v1", "secrets", "Secret")
SERVICE_ACCOUNTS: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
TASKS: Final = Kind("tekton.dev", "v1", "tasks", "Task")
STEP_ACTIONS: Final = Kind("tekton.dev", "v1beta1", "stepactions", "StepAction")
PIPELINES: Final = Kind("tekton.dev", "v1", "pipelines", "Pipeline")
PIPELINERUNS: Final = Kind("tekton.dev", "v1", "pipelineruns", "PipelineRun")
RESOLUTION_REQUESTS: Final = Kind(
    "resolution.tekton.dev", "v1beta1", "resolutionrequests", "ResolutionRequest"
)
CUSTOMRUNS: Final = Kind("tekton.dev", "v1beta1", "customruns", "CustomRun")
VERIFICATION_POLICIES: Final = Kind("tekton.dev", "v1alpha1", "verificationpolicies", "VerificationPolicy")

TASK_LABEL: Final = "tekton.dev/task"
"""By this ``tkn task`` and others find the runs of a Task."""

PIPELINE_LABEL: Final = "tekton.dev/pipeline"
"""By this ``tkn pipeline`` and others find a Pipeline's runs."""

READY_ANNOTATION: Final = "tekton.dev/ready"
"""On a pod: "READY" lets the first Step begin (it waits for the downward API file of it)."""

RELEASED_ANNOTATION: Final = "resultsfw.dev/released"
"""On a pod: when its first Step was allowed to start; removed so that the kubelet reads the pod again."""

ON_ERROR_ANNOTATION: Final = "pipeline.tekton.dev/pipeline-task-on-error"
"""On a TaskRun: "continue" if its PipelineRun goes on whatever becomes of it."""

ASSISTANT_ANNOTATION: Final = "pipeline.tekton.dev/affinity-assistant"
"""On a TaskRun: the affinity assistant of its PipelineRun beside which its pod is placed."""

CANCEL_ANNOTATION: Final = "tekton.dev/cancel"
"""On a pod: "CANCEL" makes its Steps end themselves, where they watch for it."""


def is_step(container: str) -> bool:
    """Return whether a container of that name is a Step's."""
    return container.startswith("step-")


def is_sidecar(container: str) -> bool:
    """Return whether a container of that name is a Sidecar's."""
    return container.startswith("sidecar-")
