"""What becomes of each field of Tekton's specs: it is honoured, or the run is refused naming it.

`FIELDS` is the table; `docs/reference/tekton-fields.md` shows it, and a test holds it to the recorded list of
Tekton's own fields (`tests/data/tekton/fields.txt`). Types are Tekton's Go types. A structure of
Kubernetes itself (a volume, a probe, a security context) goes to the pod as a whole, and the API server
judges it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["FIELDS", "MAX_NESTED_PIPELINES", "ROOTS", "VARIANTS", "Rule"]

MAX_NESTED_PIPELINES: Final = 8
"""How deep Pipelines may be nested: each level multiplies the runs that one run creates."""

_OTHERWISE: Final = "remove it, or run it with Tekton's own controller"


@dataclass(frozen=True, slots=True)
class Rule:
    """How a field is treated.

    Attributes:
        refused: Why the field is refused and what to do instead; empty where it is honoured.
        of: The type in `FIELDS` of the value, or of its items; empty for a plain value.
    """

    refused: str = ""
    of: str = ""


def _honoured(fields: str) -> dict[str, Rule]:
    """Return rules of honoured fields: ``NAME``, or ``NAME:TYPE`` where the value's type is listed, too."""
    rules = {}
    for field in fields.split():
        name, _, of = field.partition(":")
        rules[name] = Rule(of=of)
    return rules


_CONTAINER: Final = (
    "image command args workingDir env envFrom computeResources volumeMounts volumeDevices imagePullPolicy "
    "securityContext"
)
_TASK: Final = (
    "params:ParamSpec displayName description steps:Step volumes stepTemplate:StepTemplate sidecars:Sidecar "
    "workspaces:WorkspaceDeclaration results:TaskResult"
)

FIELDS: Final[Mapping[str, Mapping[str, Rule]]] = {
    "TaskRunSpec": _honoured(
        "debug:TaskRunDebug params:Param serviceAccountName taskRef:TaskRef taskSpec:TaskSpec status "
        "statusMessage retries timeout podTemplate:Template workspaces:WorkspaceBinding "
        "stepSpecs:TaskRunStepSpec sidecarSpecs:TaskRunSidecarSpec computeResources managedBy"
    ),
    "TaskRunDebug": _honoured("breakpoints:TaskBreakpoints"),
    "TaskBreakpoints": _honoured("onFailure beforeSteps"),
    "TaskRunStepSpec": _honoured("name computeResources"),
    "TaskRunSidecarSpec": _honoured("name computeResources"),
    "TaskRef": _honoured("name kind apiVersion resolver params:Param"),
    "TaskSpec": _honoured(_TASK),
    "ParamSpec": _honoured("name type description properties default enum"),
    "PropertySpec": _honoured("type"),
    "Param": _honoured("name value"),
    "Step": {
        **_honoured(
            f"{_CONTAINER} name displayName script timeout workspaces:WorkspaceUsage onError "
            "stdoutConfig:StepOutputConfig stderrConfig:StepOutputConfig results:StepResult "
            "when:WhenExpression ref:Ref params:Param"
        ),
    },
    "Ref": _honoured("name resolver params:Param"),
    "StepTemplate": _honoured(_CONTAINER),
    "StepOutputConfig": _honoured("path"),
    "StepResult": _honoured("name type properties description"),
    "Sidecar": _honoured(
        f"{_CONTAINER} name ports livenessProbe readinessProbe startupProbe lifecycle terminationMessagePath "
        "terminationMessagePolicy stdin stdinOnce tty script workspaces:WorkspaceUsage restartPolicy"
    ),
    "WhenExpression": _honoured("input operator values cel"),
    "WorkspaceDeclaration": _honoured("name description mountPath readOnly optional"),
    "WorkspaceUsage": _honoured("name mountPath"),
    "WorkspaceBinding": _honoured(
        "name subPath volumeClaimTemplate persistentVolumeClaim emptyDir configMap secret projected csi"
    ),
    "TaskResult": _honoured("name type properties description value"),
    "Template": _honoured(
        "nodeSelector env tolerations affinity securityContext volumes runtimeClassName "
        "automountServiceAccountToken "
        "dnsPolicy dnsConfig enableServiceLinks priorityClassName schedulerName imagePullSecrets hostAliases "
        "hostNetwork hostUsers topologySpreadConstraints"
    ),
    "PipelineRunSpec": _honoured(
        "pipelineRef:PipelineRef pipelineSpec:PipelineSpec params:Param status timeouts:TimeoutFields "
        "taskRunTemplate:PipelineTaskRunTemplate workspaces:WorkspaceBinding "
        "taskRunSpecs:PipelineTaskRunSpec "
        "managedBy"
    ),
    "PipelineRef": _honoured("name apiVersion resolver params:Param"),
    "TimeoutFields": _honoured("pipeline tasks finally"),
    "PipelineTaskRunTemplate": _honoured("podTemplate:Template serviceAccountName"),
    "PipelineTaskRunSpec": _honoured(
        "pipelineTaskName serviceAccountName podTemplate:Template stepSpecs:TaskRunStepSpec "
        "sidecarSpecs:TaskRunSidecarSpec metadata:PipelineTaskMetadata computeResources timeout"
    ),
    "PipelineTaskMetadata": _honoured("labels annotations"),
    "PipelineSpec": _honoured(
        "displayName description tasks:PipelineTask params:ParamSpec workspaces:PipelineWorkspaceDeclaration "
        "results:PipelineResult finally:PipelineTask"
    ),
    "PipelineTask": {
        **_honoured(
            "name displayName description taskRef:TaskRef taskSpec:EmbeddedTask pipelineRef:PipelineRef "
            "pipelineSpec:PipelineSpec when:PipelineWhen retries runAfter "
            "params:Param matrix:Matrix workspaces:WorkspacePipelineTaskBinding timeout onError"
        ),
    },
    "EmbeddedTask": _honoured(f"{_TASK} metadata:PipelineTaskMetadata apiVersion kind spec"),
    "PipelineWhen": _honoured("input operator values cel"),
    "Matrix": _honoured("params:Param include:IncludeParams"),
    "IncludeParams": _honoured("name params:Param"),
    "PipelineWorkspaceDeclaration": _honoured("name description optional"),
    "WorkspacePipelineTaskBinding": _honoured("name workspace subPath"),
    "PipelineResult": _honoured("name type description value"),
    "StepActionSpec": _honoured(
        "description image command args env script workingDir params:ParamSpec results:StepResult "
        "securityContext volumeMounts"
    ),
}
"""The rules by type and field."""

VARIANTS: Final[Mapping[str, str]] = {"PipelineWhen": "WhenExpression"}
"""Types of Tekton's that `FIELDS` splits, because the place decides: the name here, and Tekton's name."""

ROOTS: Final[Mapping[str, str]] = {
    "TaskRun": "TaskRunSpec",
    "Task": "TaskSpec",
    "PipelineRun": "PipelineRunSpec",
    "Pipeline": "PipelineSpec",
    "StepAction": "StepActionSpec",
}
"""The type of ``spec`` by kind."""
