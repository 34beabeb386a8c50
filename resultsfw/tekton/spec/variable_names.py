"""What the variables of one TaskRun stand for, beside its parameters: contexts, paths, workspaces."""

from collections.abc import Mapping, Sequence
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.names import step_name
from resultsfw.tekton.spec.workspaces import mount_path, workspace_volumes

__all__ = [
    "Names",
    "common_names",
    "context_names",
    "mounted_elsewhere",
    "step_names",
    "workspace_names",
]

STEPS_DIR: Final = "/tekton/steps"
RESULTS_DIR: Final = "/tekton/results"
ARTIFACTS_DIR: Final = "/tekton/artifacts"
CREDENTIALS_DIR: Final = "/tekton/creds"

Names = Mapping[str, str]
"""What variables stand for, by name."""


def context_names(taskrun: Object, task_name: str = "") -> Names:
    """Return the run's context; without a Task's name, as Tekton, that of ``taskRef`` or the run's own."""
    metadata = taskrun.get("metadata") or {}
    reference = (taskrun.get("spec") or {}).get("taskRef") or {}
    retries = (taskrun.get("status") or {}).get("retriesStatus") or []
    return {
        "context.taskRun.name": metadata.get("name", ""),
        "context.taskRun.namespace": metadata.get("namespace", ""),
        "context.taskRun.uid": metadata.get("uid", ""),
        "context.task.name": task_name or reference.get("name") or metadata.get("name", ""),
        "context.task.retry-count": str(len(retries)),
    }


def common_names(spec: Object, taskrun: Object, task_name: str) -> Names:
    """Return what every container of a Task knows: contexts, paths of results and of exit codes."""
    return {
        **context_names(taskrun, task_name),
        **_result_paths(spec.get("results") or []),
        **_exit_code_paths(spec.get("steps") or []),
        "credentials.path": CREDENTIALS_DIR,
    }


def _result_paths(results: Sequence[Object]) -> Names:
    return {
        form.format(result["name"]): f"{RESULTS_DIR}/{result['name']}"
        for result in results
        for form in ("results.{}.path", 'results["{}"].path', "results['{}'].path")
        if result.get("name")
    }


def step_names(step: Object, index: int) -> Names:
    """Return what only a Step itself knows: paths of its results and artifacts."""
    folder = f"{STEPS_DIR}/step-{step_name(step, index)}"
    paths = {
        form.format(result["name"]): f"{folder}/results/{result['name']}"
        for result in step.get("results") or []
        for form in ("step.results.{}.path", 'step.results["{}"].path', "step.results['{}'].path")
        if result.get("name")
    }
    paths["step.artifacts.path"] = f"{folder}/artifacts/provenance.json"
    paths["artifacts.path"] = f"{ARTIFACTS_DIR}/provenance.json"
    return paths


def _exit_code_paths(steps: Sequence[Object]) -> Names:
    names = [step_name(step, index) for index, step in enumerate(steps)]
    return {f"steps.step-{name}.exitCode.path": f"{STEPS_DIR}/step-{name}/exitCode" for name in names}


def workspace_names(declared: Sequence[Object], bound: Sequence[Object]) -> Names:
    """Return the workspaces' variables in a container that mounts them where they are declared."""
    if not declared:
        return {}
    claims = {
        binding["name"]: (binding.get("persistentVolumeClaim") or {}).get("claimName") or ""
        for binding in bound
    }
    volumes = {name: volume["name"] for name, volume in workspace_volumes(bound).items()}
    values: dict[str, str] = {}
    for workspace in declared:
        name = workspace["name"]
        is_bound = name in claims or not workspace.get("optional")
        values[f"workspaces.{name}.bound"] = "true" if is_bound else "false"
        values[f"workspaces.{name}.path"] = mount_path(workspace) if is_bound else ""
        # Tekton leaves these two as they are written where an optional workspace is not bound.
        values[f"workspaces.{name}.claim"] = claims.get(name, "")
        values[f"workspaces.{name}.volume"] = volumes.get(name, "")
    return values


def mounted_elsewhere(container: Object, workspaces: Names) -> Names:
    """Return the paths of the workspaces that a container mounts where it says itself."""
    return {
        path: usage["mountPath"]
        for usage in container.get("workspaces") or []
        if usage.get("mountPath") and workspaces.get(path := f"workspaces.{usage['name']}.path")
    }
