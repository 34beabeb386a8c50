"""From a TaskRun and its Task's spec to the Pod, built as Tekton builds it."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.limits import OBJECT_BYTES, OBJECT_HEADROOM, object_size
from resultsfw.tekton.api.kinds import CANCEL_ANNOTATION, READY_ANNOTATION
from resultsfw.tekton.api.names import pod_name, step_name
from resultsfw.tekton.api.owners import owner_reference
from resultsfw.tekton.api.refusals import creation_failed, pod_refused
from resultsfw.tekton.api.times import timeout_of
from resultsfw.tekton.pod.affinity import with_affinity_assistant
from resultsfw.tekton.pod.breakpoints import breakpoints_of
from resultsfw.tekton.pod.containers import (
    PARAMS_MOUNT,
    given,
    mount_params,
    place_scripts_container,
    prepare_container,
    shared_volumes,
    sidecar_container,
    step_container,
    working_dir_container,
)
from resultsfw.tekton.pod.credentials import NO_CREDENTIALS, Credentials
from resultsfw.tekton.pod.hermetic import hermetic_variables, is_hermetic
from resultsfw.tekton.pod.image_commands import NO_IMAGES, ImageCommands, with_image_command
from resultsfw.tekton.pod.param_maps import PIECES_MOUNT, ParamMaps, param_maps
from resultsfw.tekton.pod.scripts import place_scripts
from resultsfw.tekton.spec.merge import merged_steps, with_resources, with_shared_resources
from resultsfw.tekton.spec.param_files import (
    PARAMS_DIR,
    exceeds_argument_limit,
    large_params,
    params_as_files,
)
from resultsfw.tekton.spec.run_texts import run_texts
from resultsfw.tekton.spec.workspaces import with_workspaces

__all__ = ["PodOptions", "build_pod", "build_pod_and_maps", "container_security"]

_POD_BYTES: Final = OBJECT_BYTES - 4 * OBJECT_HEADROOM
"""Bytes of a pod beside what a backend, webhooks and the kubelet's status add to it."""

_LONGEST_DEADLINE: Final = 2**31 - 1
_LATER: Final = 2
"""Seconds: the controller counts a timeout from the end of the second in which the run began."""
_NANOSECONDS: Final = 10**9
_TEMPLATE_FIELDS: Final = (
    "nodeSelector",
    "tolerations",
    "affinity",
    "securityContext",
    "runtimeClassName",
    "automountServiceAccountToken",
    "schedulerName",
    "hostNetwork",
    "hostUsers",
    "dnsPolicy",
    "dnsConfig",
    "enableServiceLinks",
    "priorityClassName",
    "imagePullSecrets",
    "hostAliases",
    "topologySpreadConstraints",
)
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
"""A label that no pod of ours may have: Tekton's controller watches the pods that have it, whatever its
value, and takes up the TaskRun that owns one without asking whose it is (``spec.managedBy``)."""

# Of a TaskRun's annotations, these are not its pod's: a whole manifest, and the pod's own signals.
_NOT_CARRIED: Final = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        READY_ANNOTATION,
        CANCEL_ANNOTATION,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodOptions:
    """What an operator decides about every pod.

    Attributes:
        entrypoint_image: Tekton's entrypoint.
        shell_image: Has ``sh``; places the scripts.
        workingdirinit_image: Tekton's, makes the Steps' working directories.
        nop_image: Exits at once; takes the place of a Sidecar that must end.
        service_account: For a run that names none.
        security_context: Give the init containers what the ``restricted`` Pod Security level asks
            (Tekton's ``set-security-context``).
        read_only_root_filesystem: With ``security_context``, theirs is read-only too.
        native_sidecars: Sidecars are init containers with ``restartPolicy: Always``: they start before the
            Steps, and the kubelet ends them (Tekton's ``enable-kubernetes-sidecar``).
        container_resources: Resources of containers that have none, by container name, ``prefix-NAME`` or
            ``default`` (``default-container-resource-requirements``).
        keep_pod_on_cancel: The pod of a run that is cancelled or out of time is not deleted; its Steps
            watch the annotation ``tekton.dev/cancel`` and end themselves, as Tekton's.
        disable_creds_init: Steps get no credentials of their service account, and no folder for them.
        require_git_ssh_known_hosts: An SSH key for git without the servers' keys is refused.
    """

    entrypoint_image: str = "ghcr.io/tektoncd/pipeline/entrypoint-bff0a22da108bc2f16c818c97641a296:v1.15.0"
    shell_image: str = (
        "cgr.dev/chainguard/busybox@sha256:19f02276bf8dbdd62f069b922f10c65262cc34b710eea26ff928129a736be791"
    )
    workingdirinit_image: str = (
        "ghcr.io/tektoncd/pipeline/workingdirinit-0c558922ec6a1b739e550e349f2d5fc1:v1.15.0"
    )
    nop_image: str = "ghcr.io/tektoncd/pipeline/nop-8eac7c133edad5df719dc37b36b62482:v1.15.0"
    service_account: str = "default"
    security_context: bool = False
    read_only_root_filesystem: bool = False
    keep_pod_on_cancel: bool = False
    native_sidecars: bool = False
    container_resources: Mapping[str, Object] = field(default_factory=dict)
    disable_creds_init: bool = False
    require_git_ssh_known_hosts: bool = False


def build_pod(
    taskrun: Object,
    task_spec: Object,
    *,
    attempt: int,
    options: PodOptions,
    files: Collection[str] = (),
    credentials: Credentials = NO_CREDENTIALS,
    images: Mapping[str, ImageCommands] = NO_IMAGES,
) -> Object:
    """Build the pod that runs a TaskRun's Steps and hands out results by termination message.

    A backend adds what it needs. The same arguments make the same pod; it shares nothing with them.

    Args:
        taskrun: With name, namespace and uid.
        task_spec: Substituted (`resultsfw.tekton.spec.substitution.apply`) and valid
            (`resultsfw.tekton.spec.validate_taskrun.refuse_invalid`).
        attempt: 0 for the first try, one more for each retry.
        options: What the operator decided.
        files: Paths of parameters that somebody else places.
        credentials: Of the run's service account.
        images: Those that were looked up, for Steps without a command.

    Raises:
        RefusedRun: Substitution made it invalid: ``onError``, a volume's name twice. Or an amount of
            ``computeResources`` is no quantity.
    """
    inputs = _Inputs(taskrun, task_spec, attempt, options, files, credentials, images)
    return _build(inputs, outside=False)[0]


def build_pod_and_maps(
    taskrun: Object,
    task_spec: Object,
    *,
    attempt: int,
    options: PodOptions,
    files: Collection[str] = (),
    credentials: Credentials = NO_CREDENTIALS,
    images: Mapping[str, ImageCommands] = NO_IMAGES,
) -> tuple[Object, tuple[Object, ...]]:
    """Build the pod, and the ConfigMaps to create before it: parameters that do not fit into the pod.

    For arguments and errors see `build_pod`.
    """
    inputs = _Inputs(taskrun, task_spec, attempt, options, files, credentials, images)
    pod, maps = _build(inputs, outside=False)
    if object_size(pod) <= _POD_BYTES:
        return pod, maps
    return _build(inputs, outside=True)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a pod is built from; see `build_pod`."""

    taskrun: Object
    task_spec: Object
    attempt: int
    options: PodOptions
    files: Collection[str]
    credentials: Credentials
    images: Mapping[str, ImageCommands]


def _build(inputs: _Inputs, *, outside: bool) -> tuple[Object, tuple[Object, ...]]:
    """Build the pod, and the ConfigMaps with its parameters; none unless ``outside`` is set."""
    taskrun, task_spec = inputs.taskrun, inputs.task_spec
    attempt, options, files = inputs.attempt, inputs.options, inputs.files
    credentials = None if options.disable_creds_init else inputs.credentials
    spec = taskrun.get("spec") or {}
    metadata = taskrun["metadata"]
    texts = run_texts(taskrun, task_spec)
    template = texts.pod_template
    affinity = with_affinity_assistant(taskrun, template.get("affinity"))
    # Twice merged: Tekton's validation merges, too, and so decides the order of mounts.
    merged = merged_steps(task_spec.get("steps") or [], task_spec.get("stepTemplate"))
    task = with_workspaces({**task_spec, "steps": merged}, texts.bindings)
    steps = _steps(taskrun, task, inputs.images)
    sidecars = with_resources(task.get("sidecars") or [], spec.get("sidecarSpecs"))
    contents = params_as_files(
        taskrun, task_spec, [container.get("script") for container in (*steps, *sidecars)]
    )
    params = {name: content for name, content in contents.items() if f"{PARAMS_DIR}/{name}" not in files}
    maps = param_maps(taskrun, params) if outside else ParamMaps((), {})
    breakpoints = breakpoints_of(taskrun, steps)
    placed = place_scripts(
        steps,
        sidecars,
        seed=f"{metadata.get('uid', '')}/{attempt}",
        others=breakpoints.scripts(),
        params=params,
        sources=maps.sources,
    )
    results = _written_result_names(task)
    containers = [
        step_container(
            step,
            index,
            count=len(steps),
            script=placed.steps[index],
            results=results,
            cancellable=options.keep_pod_on_cancel,
            credentials=credentials,
            breakpoints=breakpoints,
        )
        for index, step in enumerate(steps)
    ]
    if env := template.get("env"):  # the Steps' only; it comes last and so has the last word
        for container in containers:
            container["env"] = [*container.get("env", []), *jsons.copy(env)]
    if is_hermetic(taskrun):  # behind everything that a Step or the template sets
        for container in containers:
            container["env"] = [*container.get("env", []), *hermetic_variables(container)]
    containers += [
        sidecar_container(sidecar, script=script)
        for sidecar, script in zip(sidecars, placed.sidecars, strict=True)
    ]
    if params or files:
        mount_params(containers)
    if why := exceeds_argument_limit(containers, {**large_params(taskrun, task_spec), **contents}):
        raise pod_refused(taskrun, why)
    native: list[Object] = []
    if options.native_sidecars:
        native = [{**sidecar, "restartPolicy": "Always"} for sidecar in containers[len(steps) :]]
        del containers[len(steps) :]
    volumes = shared_volumes(
        len(steps),
        scripts=bool(placed.shell),
        cancellable=options.keep_pod_on_cancel,
        credentials=credentials,
        breakpoints=breakpoints,
        params=bool(params or files),
    )
    own = len(volumes)
    volumes += jsons.copy([*(task.get("volumes") or []), *(template.get("volumes") or [])])
    _refuse_volumes(taskrun, volumes)
    if maps.config_maps:  # of a name that nobody else's volume may have
        volumes.insert(own, maps.volume())
    mounts = breakpoints.script_mounts()
    mounts += [PARAMS_MOUNT] if params else []
    mounts += [PIECES_MOUNT] if maps.config_maps else []
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(taskrun, attempt),
        "spec": {
            "restartPolicy": "Never",
            "initContainers": [
                *_init_containers(steps, placed.shell, options, mounts=mounts),
                *native,
            ],
            "containers": containers,
            "volumes": volumes,
            "serviceAccountName": spec.get("serviceAccountName") or options.service_account,
            "activeDeadlineSeconds": _deadline(timeout_of(taskrun)),
            **given({**template, "affinity": affinity}, _TEMPLATE_FIELDS),
        },
    }
    return pod, maps.config_maps


def _steps(taskrun: Object, task: Object, images: Mapping[str, ImageCommands]) -> list[Object]:
    """Return the Steps, merged with all that adds to them."""
    spec = taskrun.get("spec") or {}
    steps = merged_steps(task.get("steps") or [], task.get("stepTemplate"))
    _refuse_steps(taskrun, steps, images)
    steps = with_resources(steps, spec.get("stepSpecs"))
    steps = [with_image_command(step, images) for step in steps]
    try:
        return with_shared_resources(steps, spec.get("computeResources"))
    except ValueError as error:
        raise creation_failed(
            taskrun, f"translating TaskSpec to Pod: spec.computeResources: {error}"
        ) from error


def _written_result_names(task: Object) -> str | None:
    """Names of the Task results that Steps write; ``None`` for a Task that declares none at all."""
    results = task.get("results")
    if not results:
        return None
    return ",".join(result["name"] for result in results if result.get("value") is None)


def _metadata(taskrun: Object, attempt: int) -> Object:
    metadata = taskrun["metadata"]
    annotations = metadata.get("annotations") or {}
    return {
        "name": pod_name(metadata["name"], attempt),
        "namespace": metadata.get("namespace", ""),
        "labels": {
            **{key: value for key, value in (metadata.get("labels") or {}).items() if key != MANAGED_BY},
            "tekton.dev/taskRun": metadata["name"],
            "tekton.dev/taskRunUID": metadata.get("uid", ""),
        },
        "annotations": {key: value for key, value in annotations.items() if _is_carried(key)},
        "ownerReferences": [owner_reference(taskrun)],
    }


def _is_carried(annotation: str) -> bool:
    """Return whether a TaskRun's annotation is copied to its pod; this project's own are not copied."""
    return annotation not in _NOT_CARRIED and not annotation.startswith("resultsfw.dev/")


def _deadline(timeout: float) -> int:
    """Seconds until the kubelet ends the pod, should the controller not: later than the timeout.

    Tekton's is half as long again as the timeout. That is before the timeout where this has few seconds.
    """
    if timeout == 0:
        return _LONGEST_DEADLINE
    return min(max(int(timeout * 1.5), math.ceil(timeout) + _LATER), _LONGEST_DEADLINE)


def _init_containers(
    steps: Sequence[Object], shell: Sequence[str], options: PodOptions, *, mounts: Sequence[Object]
) -> list[Object]:
    containers = [prepare_container(steps, options.entrypoint_image)]
    if shell:
        containers.append(place_scripts_container(shell, options.shell_image, mounts=mounts))
    if working_dirs := working_dir_container(steps, options.workingdirinit_image):
        containers.append(working_dirs)
    if options.security_context:
        for container in containers:
            container["securityContext"] = container_security(options)
    return containers


def container_security(options: PodOptions) -> Object:
    """Return the security context of a container of ours at the Pod Security level ``restricted``."""
    context: Object = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if options.read_only_root_filesystem:
        context["readOnlyRootFilesystem"] = True
    return context


def _refuse_steps(taskrun: Object, steps: Sequence[Object], images: Collection[str]) -> None:
    """Refuse what only shows when Steps are merged with their template and references are replaced."""
    if not steps:
        raise creation_failed(taskrun, "translating TaskSpec to Pod: no steps specified")
    for index, step in enumerate(steps):
        on_error = step.get("onError") or "continue"
        if on_error not in {"continue", "stopAndFail"}:
            raise creation_failed(
                taskrun,
                'translating TaskSpec to Pod: task step onError must be either "continue" or "stopAndFail" '
                "but it is set to an invalid value",
            )
        if not step.get("script") and not step.get("command") and step.get("image") not in images:
            name = step_name(step, index)
            raise creation_failed(
                taskrun,
                f'translating TaskSpec to Pod: Step "{name}" has neither script nor command, and the command '
                "of its image is not looked up here; give the Step a script or a command",
            )


def _refuse_volumes(taskrun: Object, volumes: Sequence[Object]) -> None:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        name = volume.get("name", "")
        if name.startswith("resultsfw-"):
            # The Task's own were refused before; a pod template's are seen here first.
            why = (
                f'translating TaskSpec to Pod: volume name "{name}" cannot start with "resultsfw-": '
                f"[{index}].name"
            )
            raise creation_failed(taskrun, why)
        if name in seen:
            why = f'translating TaskSpec to Pod: multiple volumes with same name "{name}": [{index}].name'
            raise creation_failed(taskrun, why)
        seen.add(name)
