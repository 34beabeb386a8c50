"""Fill in what a TaskRun or PipelineRun leaves out, from Tekton's ConfigMap ``config-defaults``.

Tekton's webhook writes these defaults into each run, and its reconcilers fill them in again when they read
one (``pkg/apis/pipeline/v1/taskrun_defaults.go`` and ``pipelinerun_defaults.go``). Here the reconcilers do,
which also serves clusters whose webhook leaves runs alone, and the local engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from resultsfw.cluster import Object
from resultsfw.durations import format_duration
from resultsfw.errors import FlagError
from resultsfw.tekton.api.configmap_values import duration_seconds, whole_number, yaml_mapping
from resultsfw.tekton.api.model_errors import field_errors
from resultsfw.tekton.api.models import PodTemplate
from resultsfw.tekton.api.times import DEFAULT_TIMEOUT
from resultsfw.tekton.spec.default_workspaces import default_binding_of
from resultsfw.tekton.spec.pod_template import merge_pod_templates

__all__ = ["RunDefaults", "run_defaults_of", "with_run_defaults"]

_TIMEOUT: Final = "default-timeout-minutes"
_POD_TEMPLATE: Final = "default-pod-template"
_RESOLVER: Final = "default-resolver-type"
_RESOLUTION_TIMEOUT: Final = "default-maximum-resolution-timeout"
_NANOSECONDS_OF_A_MINUTE: Final = 60 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDefaults:
    """The defaults of runs.

    Attributes:
        timeout: A duration; ``0s`` means no limit.
        pod_template: Merged below a run's own; ``None``: there is none.
        workspace_binding: Of workspaces that a TaskRun must bind and does not; ``None``: it is refused.
        resolver: Of references that have neither a name nor a resolver; empty: there is none.
        resolution_timeout: Seconds that a resolver may take.
    """

    timeout: str = DEFAULT_TIMEOUT
    pod_template: Object | None = None
    workspace_binding: Object | None = None
    resolver: str = ""
    resolution_timeout: float = 60


def run_defaults_of(defaults: Mapping[str, str]) -> RunDefaults:
    """Return the defaults of runs under the data of ``config-defaults``.

    Raises:
        FlagError: A key has a value it cannot have; its subject is the key.
    """
    minutes = whole_number(defaults, _TIMEOUT)
    template = yaml_mapping(defaults, _POD_TEMPLATE)
    resolution = duration_seconds(defaults, _RESOLUTION_TIMEOUT)
    try:
        PodTemplate.model_validate(template)
    except ValidationError as error:
        problems = "; ".join(
            f"{path}: {why}" if path else why for path, why in field_errors(PodTemplate, error)
        )
        raise FlagError(f'the key "{_POD_TEMPLATE}": {problems}', subject=_POD_TEMPLATE) from error
    return RunDefaults(
        timeout=DEFAULT_TIMEOUT if minutes is None else format_duration(minutes * _NANOSECONDS_OF_A_MINUTE),
        pod_template=template or None,
        workspace_binding=default_binding_of(defaults),
        resolver=(defaults.get(_RESOLVER) or "").strip(),
        resolution_timeout=60 if resolution is None else resolution,
    )


def with_run_defaults(run: Object, defaults: RunDefaults) -> Object:
    """Return a TaskRun or PipelineRun with the defaults in its spec; the run itself is not changed.

    Args:
        run: As read, valid or not; what has the wrong shape stays as it is.
        defaults: What to fill in.
    """
    spec = run.get("spec")
    if not isinstance(spec, dict):
        return run
    if run.get("kind") == "PipelineRun":
        return {**run, "spec": spec | _pipelinerun_fields(spec, defaults)}
    return {**run, "spec": spec | _taskrun_fields(spec, defaults)}


def _taskrun_fields(spec: Object, defaults: RunDefaults) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if spec.get("timeout") is None:
        fields["timeout"] = defaults.timeout
    if (reference := _with_resolver(spec.get("taskRef"), defaults)) is not None:
        fields["taskRef"] = reference
    return fields | _template_field(spec, defaults)


def _pipelinerun_fields(spec: Object, defaults: RunDefaults) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    timeouts = {} if spec.get("timeouts") is None else spec["timeouts"]
    if isinstance(timeouts, dict) and timeouts.get("pipeline") is None:
        fields["timeouts"] = {**timeouts, "pipeline": defaults.timeout}
    if (reference := _with_resolver(spec.get("pipelineRef"), defaults)) is not None:
        fields["pipelineRef"] = reference
    template = {} if spec.get("taskRunTemplate") is None else spec["taskRunTemplate"]
    if isinstance(template, dict) and (pod := _template_field(template, defaults)):
        fields["taskRunTemplate"] = template | pod
    return fields


def _with_resolver(reference: Any, defaults: RunDefaults) -> Object | None:
    """Return a reference that names nothing with the default resolver; ``None`` if it is to stay as it is."""
    if not isinstance(reference, dict) or not defaults.resolver:
        return None
    if reference.get("name") or reference.get("resolver"):
        return None
    return {**reference, "resolver": defaults.resolver}


def _template_field(spec: Object, defaults: RunDefaults) -> dict[str, Any]:
    """Return the pod template over the default; nothing where there is no default."""
    own = spec.get("podTemplate")
    if defaults.pod_template is None or not _is_mergeable(own):
        return {}
    return {"podTemplate": merge_pod_templates(own, defaults.pod_template)}


def _is_mergeable(template: Any) -> bool:
    """Return whether a pod template has the shape that merging relies on; if not, validation refuses it."""
    if template is None:
        return True
    return isinstance(template, dict) and all(
        isinstance(items := template.get(field) or [], list) and all(isinstance(item, dict) for item in items)
        for field in ("env", "volumes")
    )
