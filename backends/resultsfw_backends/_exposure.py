"""Refuse pods whose other containers could read the results sidecar's credentials.

A Step with the sidecar's token can deliver in its place. A Step in the same process namespace can read the
sidecar's environment and files through ``/proc``, and write its termination message.
"""

from collections.abc import Collection, Iterator
from typing import Final

from resultsfw import Object
from resultsfw.errors import BackendError

__all__ = ["refuse_mounts", "refuse_shared_processes", "refuse_tokens"]

_SHARED: Final = ("shareProcessNamespace", "hostPID")


def refuse_shared_processes(pod: Object, *, backend: str, what: str) -> None:
    """Reject a pod whose containers see each other's processes.

    Args:
        pod: The pod before the sidecar is added.
        backend: The backend's name, for the error's subject.
        what: What Steps could read of the sidecar, for the message.

    Raises:
        BackendError: The message names the field.
    """
    for field in _SHARED:
        if pod["spec"].get(field):
            raise BackendError(
                f'the pod has "{field}: true", by which Steps could read {what}: run it without, or by '
                f"another results-from",
                subject=backend,
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
    for container in _containers(pod):
        for mount in container.get("volumeMounts") or ():
            if container["name"] != own and mount.get("name") in volumes:
                raise BackendError(
                    f'container "{container["name"]}" mounts volume "{mount["name"]}", which is for the '
                    f"results sidecar alone: remove the mount, or rename your volume",
                    subject=f"container {container['name']}",
                )


def _containers(pod: Object) -> Iterator[Object]:
    for kind in ("initContainers", "containers"):
        yield from pod["spec"].get(kind) or ()
