"""Read how the pods of a PipelineRun are placed beside each other: the flag ``coschedule``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from resultsfw.cluster import Object
from resultsfw.errors import FlagError
from resultsfw.flags import did_you_mean
from resultsfw.tekton.api.configmap_values import yaml_mapping

__all__ = ["COSCHEDULE", "TEMPLATE_FIELDS", "Coscheduling", "Mode", "assistant_template_of", "mode_of"]

COSCHEDULE: Final = "coschedule"
"""The key of the ConfigMap ``feature-flags``."""

Mode = Literal["disabled", "workspaces", "pipelineruns", "isolate-pipelinerun"]
"""Whether pods that share a claim, or all pods of a PipelineRun, are placed on one node;
``isolate-pipelinerun`` keeps other PipelineRuns away from it (Tekton's docs/affinityassistants.md)."""

_TEMPLATE: Final = "default-affinity-assistant-pod-template"
TEMPLATE_FIELDS: Final = (
    "nodeSelector",
    "tolerations",
    "imagePullSecrets",
    "securityContext",
    "priorityClassName",
)
"""Fields of a run's pod template that the pods of its assistants get, too."""

_DEFAULT_FIELDS: Final = (*TEMPLATE_FIELDS, "serviceAccountName")
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Coscheduling:
    """How the pods of PipelineRuns are placed, and what the pods of their affinity assistants contain.

    Attributes:
        mode: ``disabled``: not at all.
        pod_template: Of the assistants' pods, below that of the run
            (``default-affinity-assistant-pod-template``).
        image: Of their container, which does nothing.
        security_context: Of their container.
    """

    mode: Mode = "disabled"
    pod_template: Object | None = None
    image: str = ""
    security_context: Object | None = None


def mode_of(flags: Mapping[str, str]) -> Mode:
    """Return the mode that ``feature-flags`` sets; ``disabled`` if the key is missing or empty.

    Tekton's default is ``workspaces``, which its own ConfigMap names. It needs rights that this controller
    has only on request.

    Raises:
        FlagError: The value is not a mode.
    """
    text = flags.get(COSCHEDULE, "").strip()
    if text and text not in get_args(Mode):
        raise FlagError(
            f'invalid value for feature flag "{COSCHEDULE}": "{text[:_SHOWN]}" is not one of '
            f"{', '.join(get_args(Mode))}{did_you_mean(text, get_args(Mode))}",
            subject=COSCHEDULE,
        )
    return cast("Mode", text or "disabled")


def assistant_template_of(defaults: Mapping[str, str]) -> Object | None:
    """Return the pod template of affinity assistants that ``config-defaults`` sets; ``None`` without one.

    Raises:
        FlagError: It is not a mapping, or has a field that the assistants' pods do not support.
    """
    template = yaml_mapping(defaults, _TEMPLATE)
    for name in template:
        if name not in _DEFAULT_FIELDS:
            raise FlagError(
                f'the key "{_TEMPLATE}": {name[:_SHOWN]}: is not one of {", ".join(_DEFAULT_FIELDS)}',
                subject=_TEMPLATE,
            )
    return {name: value for name, value in template.items() if value is not None} or None
