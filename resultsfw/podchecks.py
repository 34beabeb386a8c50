"""Refuse pods that cannot deliver results, or whose Steps could act as the results sidecar.

Public for backends. Steps are somebody else's code. A Step with the sidecar's credentials can deliver in its
place. A Step in the same process namespace can read the sidecar's environment and files through ``/proc``,
and write its termination message.
"""

from collections.abc import Collection, Sequence
from typing import Final

from resultsfw.cluster import Object
from resultsfw.errors import BackendError, InputError
from resultsfw.pods import containers, restart_policy
from resultsfw.types import Run

__all__ = [
    "check_plain_pod",
    "refuse_containers",
    "refuse_mounts",
    "refuse_secrets",
    "refuse_shared_processes",
    "refuse_tokens",
    "refuse_volumes",
]

_SHARED: Final = ("shareProcessNamespace", "hostPID")


def check_plain_pod(run: Run, pod: Object) -> None:
    """Refuse a pod without entrypoint that can deliver results with no backend; the core calls it.

    Sets ``restartPolicy`` to ``Never`` if the pod has none.

    Raises:
        InputError: The message names what is wrong.
    """
    spec = pod["spec"]
    if not run.steps:
        raise InputError(
            f'run "{run.name}" names no Step: give each container that writes results a Step of the Run',
            subject="Run.steps",
        )
    if run.writes_artifacts:
        raise InputError(
            "provenance of artifacts is written in Tekton's pods only: declare a result in its place",
            subject="Run.artifacts",
        )
    main = {container["name"] for container in spec.get("containers") or ()}
    taken: dict[str, str] = {}
    for step in run.steps:
        if (other := taken.setdefault(step.container, step.name)) != step.name:
            raise InputError(
                f'Steps "{other}" and "{step.name}" run in one container, "{step.container}": nothing tells '
                f"one's results from the other's; make them one Step",
                subject=f"Step {step.name}",
            )
        if step.container not in main:
            raise InputError(
                f'Step "{step.name}" runs in container "{step.container}", which is none of the pod\'s '
                f"spec.containers ({', '.join(sorted(main)) or 'it has none'})",
                subject=f"Step {step.name}",
            )
    # The API server's default, Always, would restart the containers for ever.
    policy = spec.setdefault("restartPolicy", "Never")
    for step in run.steps:
        if restart_policy(pod, containers(pod)[step.container]) == "Always":
            raise InputError(
                f'container "{step.container}" is started again whenever it ends (restartPolicy {policy} of '
                f"the pod, or its own): results are read when it has ended for good; say Never or OnFailure",
                subject=f"container {step.container}",
            )


def refuse_containers(pod: Object, name: str) -> None:
    """Refuse a pod that already has a container of the name of a container to be added.

    Raises:
        InputError: The message names it.
    """
    if name in containers(pod):
        raise InputError(
            f'the pod already has a container "{name}", and the backend adds one of that name: rename yours, '
            f"and prepare each pod once, from the pod as it was before",
            subject=f"container {name}",
        )


def refuse_volumes(pod: Object, volumes: Sequence[Object]) -> None:
    """Refuse volumes to be added whose names the pod has already.

    Raises:
        InputError: The message names the volume.
    """
    present = {volume["name"] for volume in pod["spec"].get("volumes") or ()}
    for volume in volumes:
        if volume["name"] in present:
            raise InputError(
                f'the pod has a volume "{volume["name"]}" of its own, and the backend adds one of that name: '
                f"rename yours",
                subject=f"volume {volume['name']}",
            )


def refuse_mounts(pod: Object, volumes: Collection[str], *, own: str) -> None:
    """Refuse a pod in which another container mounts a volume of the results sidecar.

    The mount can be in the pod before the volume is added: the API server sees both at once.

    Args:
        pod: The pod.
        volumes: Names of the sidecar's volumes.
        own: The name of the sidecar's container.

    Raises:
        BackendError: The message names container and volume.
    """
    for name, container in containers(pod).items():
        for mount in container.get("volumeMounts") or ():
            if name != own and mount.get("name") in volumes:
                raise BackendError(
                    f'container "{name}" mounts volume "{mount["name"]}", which is for the results sidecar '
                    f"alone: remove the mount, or rename your volume",
                    subject=f"container {name}",
                )


def refuse_tokens(pod: Object, audience: str, *, backend: str) -> None:
    """Refuse a pod with a volume of its own that has a token for an audience.

    Args:
        pod: The pod before the sidecar and its volume are added.
        audience: The audience of the sidecar's token.
        backend: The backend's name, for the error's subject.

    Raises:
        BackendError: The message names the volume.
    """
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if (source.get("serviceAccountToken") or {}).get("audience") == audience:
                raise BackendError(
                    f'volume "{volume["name"]}" has a token for the audience "{audience}", by which a Step '
                    f"could deliver results in place of the results sidecar: use another audience",
                    subject=backend,
                )


def refuse_shared_processes(
    pod: Object, *, backend: str, what: str, instead: str = "by another results-from"
) -> None:
    """Refuse a pod whose containers see each other's processes.

    Args:
        pod: The pod before the sidecar is added.
        backend: The backend's name, for the error's subject.
        what: What Steps could read of the sidecar, for the message.
        instead: How such a pod can be run, for the message.

    Raises:
        BackendError: The message names the field.
    """
    for field in _SHARED:
        if pod["spec"].get(field):
            raise BackendError(
                f'the pod has "{field}: true", by which Steps could read {what}: run it without, or '
                f"{instead}",
                subject=backend,
            )


def refuse_secrets(pod: Object, secret: str, *, backend: str, own: Collection[str] = ()) -> None:
    """Refuse a pod of which another container can read the Secret with the sidecar's credentials.

    Args:
        pod: The pod before the sidecar is added.
        secret: The Secret's name.
        backend: The backend's name, for the message and the error's subject.
        own: Names of containers of the backend itself, which may have it.

    Raises:
        BackendError: The message names the container or the volume.
    """
    exposed = [
        f'container "{name}"'
        for name, container in containers(pod).items()
        if name not in own and secret in _secrets_of(container)
    ]
    for volume in pod["spec"].get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        secrets = [source.get("secret") or {} for source in sources]
        if any(secret in (named.get("secretName"), named.get("name")) for named in secrets):
            exposed.append(f'volume "{volume["name"]}"')
    if exposed:
        raise BackendError(
            f'{exposed[0]} takes from the Secret "{secret}", whose credentials are for the results sidecar '
            f"alone (secret of config.{backend}): give Steps a Secret of their own",
            subject=backend,
        )


def _secrets_of(container: Object) -> set[str]:
    """Return the names of the Secrets in a container's environment."""
    sources = [source.get("secretRef") or {} for source in container.get("envFrom") or ()]
    variables = container.get("env") or ()
    keys = [(variable.get("valueFrom") or {}).get("secretKeyRef") or {} for variable in variables]
    return {reference.get("name", "") for reference in [*sources, *keys]}
