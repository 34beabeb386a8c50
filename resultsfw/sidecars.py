"""Read how a pod's sidecar ended, and what it left in its termination message.

Public for backends that add a sidecar. A sidecar's termination message is in the pod's status, which only the
kubelet writes: a digest in it vouches for data that others could change on its way.

Times in a pod's status have whole seconds.
"""

import datetime as dt
import re
from collections.abc import Iterator
from typing import Final

from resultsfw.cluster import Object
from resultsfw.pods import (
    container_states,
    container_statuses,
    grace_period,
    has_finished,
    native_sidecars,
    steps_ended,
)
from resultsfw.times import later, timestamp
from resultsfw.types import Run

__all__ = [
    "describe_end",
    "has_ended",
    "last_termination",
    "may_have_missed",
    "may_start_again",
    "read_digest",
]

_DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")

_MESSAGE_CHARACTERS: Final = 400
"""Maximum characters of a sidecar's termination message in a message for people."""


def has_ended(run: Run, pod: Object, container: str) -> bool:
    """Return whether a sidecar has ended for good, so that its log and termination message are final.

    Args:
        run: The run with the Steps, which a native sidecar outlives.
        pod: The pod, as last seen.
        container: The sidecar's name.
    """
    status = container_statuses(pod).get(container, {})
    state = status.get("state", {})
    if has_finished(pod):
        return "running" not in state
    if container not in native_sidecars(pod):
        return "terminated" in state
    # A native sidecar that ends before the Steps is restarted. If it ended with 0, it had waited for the
    # Steps; the kubelet may delay its next start by up to five minutes.
    succeeded = status.get("lastState", {}).get("terminated", {}).get("exitCode") == 0
    return ("terminated" in state or ("waiting" in state and succeeded)) and steps_ended(run, pod)


def last_termination(pod: Object, container: str) -> Object | None:
    """Return ``terminated`` of the sidecar's last process that ended; ``None`` while its first process runs.

    If a process had ended with 0 and the next one was killed, the first one counts.
    """
    status = container_statuses(pod).get(container, {})
    before: Object = status.get("lastState", {}).get("terminated") or {}
    ended: Object | None = status.get("state", {}).get("terminated") or before or None
    return before if ended is not None and ended.get("exitCode") and before.get("exitCode") == 0 else ended


def may_start_again(pod: Object, container: str) -> bool:
    """Return whether an ended sidecar can be restarted: a native one, while the pod has not finished."""
    return container in native_sidecars(pod) and not has_finished(pod)


def read_digest(pod: Object, container: str) -> str | None:
    """Return the digest that a sidecar left as its termination message; ``None`` if it left none.

    The digest is ``sha256:`` and 64 hexadecimal digits, whatever the exit code: a native sidecar stays after
    it wrote its message, and may be killed meanwhile.
    """
    message = _message(pod, container)
    return message if _DIGEST.fullmatch(message) else None


def describe_end(pod: Object, container: str) -> str:
    """Return a clause that says how a sidecar ended, with the start of its termination message."""
    ended = last_termination(pod, container)
    if ended is None:
        return f'of the end of container "{container}" nothing is known'
    message = _message(pod, container)
    how = f"ended with exit code {ended.get('exitCode')} ({ended.get('reason') or 'no reason'})"
    left = f"said: {message[:_MESSAGE_CHARACTERS]}" if message else "left no message"
    return f'container "{container}" {how} and {left}'


def may_have_missed(run: Run, pod: Object, terminated: Object | None) -> bool:
    """Return whether a Step may have gone on after a native sidecar got SIGTERM, so that it missed results.

    The kubelet waits for the Steps before it signals the sidecar, but no longer than the pod's grace period:
    a Step that used all of it may have written later. So may a Step that ended after the sidecar, if somebody
    else stopped the sidecar.

    Args:
        run: The run with the Steps.
        pod: The pod, as last seen.
        terminated: The sidecar's ``terminated``, once it has ended; see `last_termination`.
    """
    deadline = min(_signal_deadlines(pod), default=None)
    at = timestamp((terminated or {}).get("finishedAt"))
    states = container_states(pod)
    for step in run.steps:
        state = states.get(step.container, {})
        if "running" in state:
            # Its end was not seen yet. Within the grace period it has ended: otherwise there was no SIGTERM.
            if deadline is None or dt.datetime.now(dt.UTC) >= deadline:
                return True
        elif (end := timestamp(state.get("terminated", {}).get("finishedAt"))) is not None and (
            (at is not None and end > at) or (deadline is not None and end >= deadline)
        ):
            return True
    return False


def _message(pod: Object, container: str) -> str:
    return str((last_termination(pod, container) or {}).get("message") or "").strip()


def _signal_deadlines(pod: Object) -> Iterator[dt.datetime]:
    """Yield the times until which the kubelet delays SIGTERM to a native sidecar for the Steps."""
    spec, status = pod["spec"], pod.get("status", {})
    if (deletion := timestamp(pod["metadata"].get("deletionTimestamp"))) is not None:
        yield deletion  # the time of the request plus the grace period
    start, seconds = timestamp(status.get("startTime")), spec.get("activeDeadlineSeconds")
    if start is not None and seconds is not None:
        # Nothing in the pod outlives this time, whether or not the status shows it yet.
        yield later(start, seconds + grace_period(pod))
    for condition in status.get("conditions") or ():
        kind, reason = condition.get("type"), condition.get("reason")
        by_kubelet = kind == "DisruptionTarget" and reason == "TerminationByKubelet"
        if by_kubelet and (since := timestamp(condition.get("lastTransitionTime"))) is not None:
            yield later(since, 1)  # the shortest possible grace period
