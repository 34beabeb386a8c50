"""Let Tekton's entrypoint sign results in termination messages, and verify what it signed.

The agent's socket is in each Step, as in Tekton, so a Step can sign on its own. What else this format leaves
open is in the condition of each run.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from resultsfw import Extraction, Object, Run, podparts
from resultsfw.entrypoint import add_arguments
from resultsfw.errors import InputError
from resultsfw.flags import DEFAULT_BACKEND
from resultsfw.messages import (
    INTERNAL,
    TASK_RESULT,
    Message,
    entry_type,
    message_budget,
    read_message,
)
from resultsfw.pods import containers, is_plain, terminated_states
from resultsfw.signatures import TrustBundle, VerifiedResults
from resultsfw.signatures.tekton_results import StepMessage, verify_tekton_results
from resultsfw_extensions._signed_config import MOUNT_PATH, SignedConfig
from resultsfw_extensions._signed_message_room import least_room
from resultsfw_extensions._signed_pods import signing_container, socket_volume
from resultsfw_signing.statement import ANNOTATION, SIGNED_BY_ENTRYPOINT

__all__ = [
    "ended_at",
    "is_for_entrypoint",
    "let_entrypoint_sign",
    "signs_in_steps",
    "verify_entrypoint",
]

VOLUME: Final = "spiffe-workload-api"
"""Tekton's name of the volume with the agent's socket (pkg/spire/spire.go); `MOUNT_PATH` is Tekton's, too."""

_SIGN: Final = "-enable_spire"
_SOCKET: Final = "-spire_socket_path"
_DEFAULT_SOCKET: Final = "spire-agent.sock"
_SKIPPED: Final = "Skipped"
"""Reason in the message of a Step that did not run."""


def let_entrypoint_sign(run: Run, pod: Object, config: SignedConfig) -> None:
    """Make the entrypoint of each Step sign what it reads, as Tekton does (pkg/pod/pod.go).

    Args:
        run: The run.
        pod: Its pod, prepared by the backend ``termination-message``; it is changed.
        config: The operator's options.

    Raises:
        InputError: The pod's messages cannot hold the signatures, the entrypoint would not sign everything,
            or the pod has something of its own where the socket must be.
    """
    if config.policy_of(run.namespace) == "fail" and (
        run.artifacts or any(step.results or step.artifacts for step in run.steps)
    ):
        raise InputError(
            "Tekton's entrypoint signs neither results of Steps nor artifacts, and the policy is fail; set "
            "termination-message of config.signed to signer",
            subject="config.signed",
        )
    mount = {"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
    podparts.add_volumes(pod, [socket_volume(config, VOLUME)])
    steps = {step.container for step in run.steps}
    spec = pod["spec"]
    initial = [init for init in spec.get("initContainers") or () if init.get("restartPolicy") != "Always"]
    of_steps = [container for container in spec["containers"] if container["name"] in steps]
    for container in (*initial, *of_steps):
        _refuse_mount(container)
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
    socket = config.socket_file
    named = [] if socket == _DEFAULT_SOCKET else [_SOCKET, f"unix://{MOUNT_PATH}/{socket}"]
    add_arguments(run, pod, [_SIGN, *named])
    annotations = pod["metadata"].get("annotations") or {}
    pod["metadata"]["annotations"] = {**annotations, ANNOTATION: SIGNED_BY_ENTRYPOINT}
    room = least_room(run, pod, config.trust_domain)
    if room is not None and room.left < 0:
        raise InputError(
            f"the signatures of {len(run.written_results)} results do not fit into the termination message "
            f'of container "{room.container}": with empty values it has {room.needed} bytes or more, and the '
            f"kubelet keeps {room.budget} bytes of each container of this pod; set results-from to "
            f"sidecar-logs, or termination-message of config.signed to signer",
            subject=f"container {room.container}",
        )


def _refuse_mount(container: Object) -> None:
    for mounted in container.get("volumeMounts") or ():
        if mounted["mountPath"].rstrip("/") == MOUNT_PATH:
            raise InputError(
                f'container "{container["name"]}" mounts volume "{mounted["name"]}" at {MOUNT_PATH}, where '
                f"the socket of the SPIRE agent must be; mount it elsewhere",
                subject=f"container {container['name']}",
            )


def is_for_entrypoint(run: Run, pod: Object, config: SignedConfig, backend: str) -> bool:
    """Return whether the entrypoint is to sign: it writes the results, and the option asks for it."""
    return (
        backend == DEFAULT_BACKEND and config.termination_message == "entrypoint" and not is_plain(run, pod)
    )


def signs_in_steps(run: Run, pod: Object) -> bool:
    """Return whether the entrypoint of the pod's Steps signs results, and no container of its own does."""
    if signing_container(pod) is not None:
        return False
    by_name = containers(pod)
    return any(_SIGN in _own_arguments(by_name.get(step.container, {})) for step in run.steps)


def _own_arguments(container: Object) -> list[str]:
    """Return the arguments of the entrypoint, without those of the Step's command."""
    arguments: list[str] = container.get("args") or []
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def verify_entrypoint(
    run: Run, pod: Object, extraction: Extraction, bundle: TrustBundle
) -> tuple[VerifiedResults, str]:
    """Verify what the entrypoint of each Step signed, and compare it with what a backend read.

    Args:
        run: The attempt.
        pod: Its pod.
        extraction: What the backend ``termination-message`` read of it.
        bundle: The trust bundle of the pods' trust domain.

    Returns:
        The outcome, and what the format leaves open about values that verify, as a sentence; "" for none.
    """
    verified = verify_tekton_results(run, list(_messages(run, pod)), bundle)
    open_points = "; ".join(verified.unbound)
    caveat = f"signatures of Tekton's entrypoint leave open {open_points}" if open_points else ""
    return verified.compare(extraction), caveat


def _messages(run: Run, pod: Object) -> Iterable[StepMessage]:
    budget = message_budget(pod)
    ended = terminated_states(pod)
    for step in run.steps:
        if (state := ended.get(step.container)) is None:
            continue
        message = read_message(state.get("message") or "", budget)
        yield StepMessage(
            container=step.container,
            entries=tuple(_task_entries(message)),
            signs=bool(run.written_results) and state.get("exitCode") == 0 and not _was_skipped(message),
            at=ended_at(state),
        )


def _task_entries(message: Message) -> Iterator[tuple[str, str]]:
    for entry in message.entries:
        key, value = entry.get("key"), entry.get("value")
        if entry_type(entry) == TASK_RESULT and isinstance(key, str) and isinstance(value, str):
            yield key, value


def _was_skipped(message: Message) -> bool:
    return any(
        entry_type(entry) == INTERNAL and entry.get("key") == "Reason" and entry.get("value") == _SKIPPED
        for entry in message.entries
    )


def ended_at(state: Mapping[str, Any]) -> datetime:
    """Return when a container ended; now, if that is not known or later.

    So a controller that was away for hours verifies certificates that have expired since.

    Args:
        state: Its ``terminated``; empty while it runs.
    """
    now = datetime.now(UTC)
    try:
        at = datetime.fromisoformat(state["finishedAt"])
    except (KeyError, TypeError, ValueError):
        return now
    return min(at, now) if at.tzinfo is not None else now
