"""Build the fields of a TaskRun's status that repeat its pod: the states of Steps and Sidecars."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.messages import INTERNAL, Message, entry_type, message_budget, read_message
from resultsfw.pods import container_statuses
from resultsfw.tekton.api.kinds import is_sidecar, is_step
from resultsfw.tekton.api.times import format_time, parse_time
from resultsfw.tekton.podstatus.pod_state import main_statuses
from resultsfw_signing.tekton_format import is_signature_key

__all__ = ["pod_status_fields", "without_messages"]

CONTINUED: Final = "Continued"

_TIMES: Final = frozenset({"startedAt", "finishedAt"})


def pod_status_fields(
    pod: Object, previous: Mapping[str, Any], *, done: bool, messages: bool = True
) -> Object:
    """Return the part of a TaskRun's status that repeats its pod: ``podName``, ``steps``, ``sidecars``.

    Args:
        pod: The pod.
        previous: The status so far; a Step's ``provenance`` is kept, and ``taskSpec`` says what is declared.
        done: Whether the run ends with this status.
        messages: Whether what containers say in their termination messages is repeated: results are there.
    """
    budget = message_budget(pod)
    containers = main_statuses(pod)
    names = [container["name"] for container in pod["spec"]["containers"]]
    provenance = {step.get("name"): step.get("provenance", {}) for step in previous.get("steps") or ()}
    declared = _declared(previous.get("taskSpec") or {})
    pod_start = pod.get("status", {}).get("startTime") or pod["metadata"].get("creationTimestamp")
    steps = [
        _step(containers[name], pod_start, budget, provenance.get(name.removeprefix("step-"), {}), declared)
        for name in names
        if is_step(name) and name in containers
    ]
    sidecars = [
        {
            "container": name,
            "imageID": status.get("imageID", ""),
            "name": name.removeprefix("sidecar-"),
            **_state(status, pod_start),
        }
        for key in ("containerStatuses", "initContainerStatuses")
        for name, status in container_statuses(pod, (key,)).items()
        if is_sidecar(name)
    ]
    fields: Object = {"podName": pod["metadata"]["name"]}
    if not messages:
        steps, sidecars = without_messages(steps), without_messages(sidecars)
    if steps:
        fields["steps"] = steps
    if sidecars:
        fields["sidecars"] = sidecars
    if done:
        fields["artifacts"] = {}
    return fields


def without_messages(states: Iterable[Object]) -> list[Object]:
    """Return states of Steps or Sidecars without termination messages, which may hold results."""
    return [
        {**state, "terminated": {key: it for key, it in state["terminated"].items() if key != "message"}}
        if "terminated" in state
        else state
        for state in states
    ]


def _declared(task_spec: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the results that a Task and its Steps declare."""
    parts = (task_spec, *(task_spec.get("steps") or ()))
    return frozenset(str(result.get("name")) for part in parts for result in part.get("results") or ())


def _state(status: Object, pod_start: str | None) -> Object:
    """Return a copy of a container's state, without fields that are null.

    The kubelet writes null times for a container that it does not find any more (``ContainerStatusUnknown``).
    The CRD of a TaskRun takes no null in their place, and Tekton's webhook writes null where they are
    missing. Both times are then the pod's start.

    Args:
        status: The container's status.
        pod_start: When the pod was started or, before that, created; ``None``: not known.
    """
    return {
        kind: {
            key: known
            for key, value in body.items()
            if (known := pod_start if value is None and key in _TIMES else value) is not None
        }
        for kind, body in status.get("state", {}).items()
    }


def _step(
    status: Object, pod_start: str | None, budget: int, provenance: Object, declared: Collection[str]
) -> Object:
    """Return a Step's state, with the times, exit code and reason that its entrypoint recorded."""
    name = status["name"]
    state = _state(status, pod_start)
    step: Object = {
        "container": name,
        "imageID": status.get("imageID", ""),
        "name": name.removeprefix("step-"),
        "provenance": provenance,
        **state,
    }
    end = state.get("terminated")
    if end is None or not end.get("message"):
        return step
    message = read_message(end["message"], budget)
    if message.cut or message.garbage:
        return step
    internal = internal_entries(message)
    if (started := parse_time(internal.get("StartedAt"))) is not None:
        end["startedAt"] = format_time(started)
    code = internal.get("ExitCode", "")
    if code.isdecimal():
        end["exitCode"] = int(code)
    step["terminationReason"] = internal.get("Reason") or (CONTINUED if code else end.get("reason", ""))
    if left := _visible_message(message, declared):
        end["message"] = left
    else:
        del end["message"]
    return step


def internal_entries(message: Message) -> dict[str, str]:
    """Return what the entrypoint recorded of the Step: ``StartedAt``, ``ExitCode``, ``Reason``."""
    return {
        str(entry["key"]): str(entry.get("value"))
        for entry in message.entries
        if "key" in entry and entry_type(entry) == INTERNAL
    }


def _visible_message(message: Message, declared: Collection[str]) -> str:
    """Return the message without internal entries and forged signatures: the last of each key, sorted."""
    by_key = {str(entry.get("key")): entry for entry in message.entries}
    kept = [
        by_key[key]
        for key in sorted(by_key)
        if entry_type(by_key[key]) != INTERNAL and (key in declared or not is_signature_key(key))
    ]
    if not kept:
        return ""
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    for char, escape in (("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e")):
        text = text.replace(char, escape)
    return text
