"""Read and remove what a claim holds through short-lived pods, where the controller does not mount it.

A pod's name follows from what it does: a later request finds the pod of an earlier one, also after a crash.
"""

import binascii
import contextlib
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from resultsfw import PODS, Cluster, Object, Reference
from resultsfw.errors import AlreadyExistsError, NotFoundError, TooEarlyError, UnavailableError
from resultsfw.pods import container_statuses, has_finished
from resultsfw_backends._claim import CLAIMS, NAME, VOLUME, Config, add_claim, find_claim, is_going
from resultsfw_backends._encryption import stored_size
from resultsfw_backends._results_sidecar import add_fetch
from resultsfw_transports.claim_tasks import ENV_PRINT, ENV_REMOVE, GONE, LINE

__all__ = ["TRANSPORT", "read_value", "remove_folder"]

TRANSPORT: Final = "resultsfw_transports.claim_tasks"

_MOUNT: Final = "/results-claim"
_CONTAINER: Final = "results"
_LINE_BYTES: Final = 32_768
"""Far more than a line of the log has: whoever may create pods can have made the pod of that name."""
_DEADLINE: Final = 600
"""Seconds after which Kubernetes ends such a pod, if nobody asks for it any more."""
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


def read_value(
    reference: Reference, path: tuple[str, str, str], cluster: Cluster, config: Config
) -> Iterator[bytes]:
    """Yield a value that a pod prints.

    Args:
        reference: The reference.
        path: The value's file below the claim: namespace, folder, name.
        cluster: Creates the pod and reads its log.
        config: The options.

    Raises:
        NotFoundError: The claim or the value is gone.
        TooEarlyError: The pod has not ended in time.
        UnavailableError: It failed, or its log is damaged.
        ClusterError: A request failed.
    """
    namespace, folder, name = path
    claim = find_claim(cluster, namespace, config)
    wanted = {"folder": _MOUNT, "name": name, "bytes": stored_size(reference)}
    pod = _pod("read", reference.location, namespace, claim, config)
    _add_container(
        pod, config, {ENV_PRINT: json.dumps(wanted)}, within=f"{namespace}/{folder}", read_only=True
    )
    ended = _follow(cluster, pod, config.read_wait, keep=False)
    try:
        if fault := _fault_of(ended):
            if fault.startswith(GONE):
                why = fault.removeprefix(GONE)
                raise NotFoundError(f"{reference.location} is gone: {why}", subject=reference.location)
            raise UnavailableError(
                f"{reference.location} could not be read: {fault}", subject=reference.location
            )
        size = stored_size(reference)
        lines = size // LINE + 2
        most = 4 * (size // 3 + 2) + 5 * lines
        log = cluster.read_log(namespace, pod["metadata"]["name"], _CONTAINER, limit=most)
        yield from _decoded(log, reference.location)
    finally:
        _delete(cluster, pod)


def remove_folder(path: Sequence[str], cluster: Cluster, config: Config) -> None:
    """Remove a folder by a pod. With the claim, what it held is gone.

    Args:
        path: The folder below the claim: namespace, name.
        cluster: Creates the pod.
        config: The options.

    Raises:
        TooEarlyError: The pod has not ended yet: try again.
        UnavailableError: It failed.
        ClusterError: A request failed.
    """
    namespace, name = path
    try:
        claim = cluster.get(CLAIMS, namespace, config.claim)
    except NotFoundError:
        return
    if is_going(claim):
        return
    folder = f"{config.claim}/{namespace}/{name}"
    pod = _pod("purge", folder, namespace, claim, config)
    wanted = {"folder": _MOUNT, "name": name}
    _add_container(pod, config, {ENV_REMOVE: json.dumps(wanted)}, within=namespace, read_only=False)
    ended = _follow(cluster, pod, config.purge_wait, keep=True)
    _delete(cluster, pod)
    if fault := _fault_of(ended):
        raise UnavailableError(
            f"{NAME}://{folder} could not be removed: {fault}", subject=f"{NAME}://{folder}"
        )


def _pod(purpose: str, subject: str, namespace: str, claim: Object, config: Config) -> Object:
    """Return a pod without containers, named after its purpose and what it is about."""
    pod: Object = {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {
            "name": f"resultsfw-{purpose}-{hashlib.sha256(subject.encode()).hexdigest()[:20]}",
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/managed-by": "resultsfw",
                "app.kubernetes.io/component": f"{NAME}-{purpose}",
            },
        },
        "spec": {
            "activeDeadlineSeconds": _DEADLINE,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
        },
    }
    add_claim(pod, config, claim)
    return pod


def _add_container(
    pod: Object, config: Config, variables: dict[str, str], *, within: str, read_only: bool
) -> None:
    mount = {"name": VOLUME, "mountPath": _MOUNT, "subPath": within, "readOnly": read_only}
    env = [{"name": name, "value": value} for name, value in variables.items()]
    add_fetch(pod, config, name=_CONTAINER, transport=TRANSPORT, env=env, mount=mount)
    pod["spec"]["containers"] = pod["spec"].pop("initContainers")


def _follow(cluster: Cluster, pod: Object, wait: float, *, keep: bool) -> Object:
    """Create a pod unless it exists, and return it when it has ended.

    Args:
        cluster: The cluster.
        pod: The pod.
        wait: Seconds to wait.
        keep: Whether a later request will come for a pod that found no node in that time.

    Raises:
        TooEarlyError: It has not ended yet. What has a node is kept, for a later request.
    """
    end, pause = time.monotonic() + wait, _FIRST_PAUSE
    while True:
        found = _get_or_create(cluster, pod)
        if found is not None and has_finished(found):
            return found
        if (left := end - time.monotonic()) <= 0:
            break
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    if not keep and found is not None and "startTime" not in (found.get("status") or {}):
        _delete(cluster, pod)
    metadata = pod["metadata"]
    raise TooEarlyError(
        f'pod "{metadata["name"]}", which mounts the claim, has not ended{_progress(found)}',
        subject=f"Pod {metadata['namespace']}/{metadata['name']}",
    )


def _get_or_create(cluster: Cluster, pod: Object) -> Object | None:
    """Return the pod; ``None`` while an earlier one of its name is being deleted."""
    metadata = pod["metadata"]
    try:
        found = cluster.get(PODS, metadata["namespace"], metadata["name"])
    except NotFoundError:
        try:
            return cluster.create(PODS, pod)
        except AlreadyExistsError:  # of another request for the same
            return None
    return None if "deletionTimestamp" in found["metadata"] else found


def _delete(cluster: Cluster, pod: Object) -> None:
    metadata = pod["metadata"]
    with contextlib.suppress(NotFoundError):
        cluster.delete(PODS, metadata["namespace"], metadata["name"])


def _progress(pod: Object | None) -> str:
    """Return why a pod has not ended, as far as its status says; with a colon before it."""
    status: Object = (pod or {}).get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f": {condition.get('message') or condition.get('reason', '')}"
    waiting = container_statuses(pod or {}).get(_CONTAINER, {}).get("state", {}).get("waiting") or {}
    words = [waiting[key] for key in ("reason", "message") if waiting.get(key)]
    return "".join(f": {word}" for word in words)


def _fault_of(pod: Object) -> str:
    """Return why a pod that has ended failed; empty if it did not."""
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return ""
    ended = container_statuses(pod).get(_CONTAINER, {}).get("state", {}).get("terminated") or {}
    words = [ended.get("message"), ended.get("reason"), status.get("message"), status.get("reason")]
    return next((str(word) for word in words if word), "its pod failed")


def _decoded(log: Iterable[bytes], location: str) -> Iterator[bytes]:
    """Yield the bytes of a value from lines of base64.

    Raises:
        UnavailableError: The log has something else, such as the error of a kubelet.
    """
    held = b""
    for piece in log:
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            yield _line(line, location)
        if len(held) > _LINE_BYTES:
            raise _damaged(location, "a line that is too long")
    if held:
        yield _line(held, location)


def _line(line: bytes, location: str) -> bytes:
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error as error:
        raise _damaged(location, str(error)) from None


def _damaged(location: str, why: str) -> UnavailableError:
    return UnavailableError(
        f"{location} could not be read: the log of its pod is damaged ({why})", subject=location
    )
