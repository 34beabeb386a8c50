"""Bind the workspaces that a TaskRun leaves unbound: ``default-task-run-workspace-binding``."""

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.errors import FlagError
from resultsfw.tekton.api.configmap_values import yaml_mapping
from resultsfw.tekton.api.model_errors import field_errors
from resultsfw.tekton.api.task_models import WorkspaceBinding

__all__ = ["default_binding_of", "with_default_bindings"]

_KEY: Final = "default-task-run-workspace-binding"
_SOURCES: Final = ("volumeClaimTemplate", "persistentVolumeClaim", "emptyDir", "configMap", "secret")
"""The volume sources that Tekton accepts in the default (``updateTaskRunWithDefaultWorkspaces``)."""


def default_binding_of(defaults: Mapping[str, str]) -> Object | None:
    """Return the binding that ``config-defaults`` sets; ``None`` without one.

    Raises:
        FlagError: It is not a binding to exactly one of these volume sources.
    """
    binding = yaml_mapping(defaults, _KEY)
    if not binding:
        return None
    try:
        WorkspaceBinding.model_validate({**binding, "name": ""})
    except ValidationError as error:
        problems = "; ".join(f"{path}: {why}" for path, why in field_errors(WorkspaceBinding, error))
        raise FlagError(f'the key "{_KEY}": {problems}', subject=_KEY) from error
    volumes = {field: value for field, value in binding.items() if field not in ("name", "subPath")}
    chosen = {field: value for field, value in volumes.items() if value is not None}
    if len(chosen) != 1 or next(iter(chosen)) not in _SOURCES:
        raise FlagError(f'the key "{_KEY}": give exactly one of {", ".join(_SOURCES)}', subject=_KEY)
    return {**chosen, **({"subPath": binding["subPath"]} if binding.get("subPath") else {})}


def with_default_bindings(taskrun: Object, task_spec: Object, binding: Object | None) -> Object:
    """Return a TaskRun that binds each required workspace of its Task; the run itself is not changed.

    Args:
        taskrun: The run, valid.
        task_spec: Its Task's spec.
        binding: The default; ``None``: nothing is bound.
    """
    if binding is None:
        return taskrun
    given = taskrun["spec"].get("workspaces") or []
    bound = {entry["name"] for entry in given}
    missing = [
        {"name": workspace["name"], **jsons.copy(binding)}
        for workspace in task_spec.get("workspaces") or ()
        if not workspace.get("optional") and workspace["name"] not in bound
    ]
    if not missing:
        return taskrun
    return {**taskrun, "spec": {**taskrun["spec"], "workspaces": [*given, *missing]}}
