"""Decide when a pod's results sidecar can be read, and read its records.

Shared by all backends whose results leave a pod through the sidecar, with any transport.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from resultsfw import (
    Cluster,
    Extraction,
    Limits,
    Object,
    Problem,
    ProblemCode,
    Run,
    TransportUsage,
)
from resultsfw.errors import LogUnavailableError
from resultsfw.pods import (
    RESULTS_SIDECAR,
    container_states,
    container_statuses,
    containers,
    has_finished,
    is_terminating,
    steps_ended,
    terminated_states,
)
from resultsfw.sidecars import has_ended, may_have_missed
from resultsfw_backends._log_lines import LogLines
from resultsfw_backends._record_values import Value, value_of
from resultsfw_backends._results_sidecar import waits_for_signal
from resultsfw_backends._sidecar_log import SidecarLog, declared_names
from resultsfw_backends._signatures import signature_room
from resultsfw_sidecar import wire as wires

__all__ = ["may_be_read", "read_log", "read_records", "refuse_to_read"]

_SIGKILL: Final = 137
"""Exit code of a container that SIGKILL ended, including kills for memory."""


Resolve = Callable[[dict[str, Any]], Value | None]
"""Returns the value of a record; ``None`` if the record is invalid."""


def may_be_read(run: Run, pod: Object, *, wire: int) -> bool:
    """Return whether to read the log: the sidecar has ended for good, or it runs and the Steps have ended.

    Only the end record in the log shows that everything was printed (`read_log`).
    """
    state = container_states(pod).get(RESULTS_SIDECAR, {})
    if "running" in state and not has_finished(pod) and wire != wires.TEKTON:
        if waits_for_signal(pod):
            return is_terminating(pod)  # before, it prints only when it ends, a moment later
        return is_terminating(pod) or (steps_ended(run, pod) and not _killed(run, pod))
    return has_ended(run, pod, RESULTS_SIDECAR)


def refuse_to_read(pod: Object, *, wire: int, known: Iterable[int]) -> Extraction | None:
    """Return an extraction with the problem, if a pod's sidecar can never be read."""

    def never(message: str) -> Extraction:
        return Extraction(problems=(Problem(code=ProblemCode.TRANSPORT_UNREADABLE, message=message),))

    if RESULTS_SIDECAR not in containers(pod):
        return never(f'the pod has no container "{RESULTS_SIDECAR}" to read results from')
    if wire not in known:
        versions = " and ".join(str(version) for version in known)
        return never(
            f"the pod's sidecar speaks wire version {wire}; this version of resultsfw reads {versions}: "
            f"read it with the version that made the pod"
        )
    status = container_statuses(pod).get(RESULTS_SIDECAR, {})
    if "waiting" in status.get("state", {}) and _end(status) is None:
        return never(
            f'container "{RESULTS_SIDECAR}" never started, so nobody read what a Step may have written'
        )
    return None


def read_log(
    run: Run,
    pod: Object,
    cluster: Cluster,
    *,
    limits: Limits,
    wire: int,
    least: int = 0,
    resolve: Resolve = value_of,
) -> Extraction:
    """Read the sidecar's log once, line by line, never more than a genuine log can have.

    Args:
        run: The run.
        pod: The pod, as last seen.
        cluster: The cluster with the log.
        limits: Maximum bytes of one value, and of all values together.
        wire: The wire version of the sidecar.
        least: Bytes of log that are read in any case.
        resolve: See `read_records`.
    """
    longest, most = _log_limits(run, pod, limits)
    most = max(most, least)
    metadata = pod["metadata"]
    running = "running" in container_statuses(pod).get(RESULTS_SIDECAR, {}).get("state", {})
    # Request one byte more than a genuine log can have, to detect a longer one.
    stream = cluster.read_log(metadata["namespace"], metadata["name"], RESULTS_SIDECAR, limit=most + 1)
    lines = LogLines(stream, longest=longest, limit=most)
    try:
        extraction = read_records(
            run,
            pod,
            lines,
            whose=f'log of container "{RESULTS_SIDECAR}"',
            limits=limits,
            wire=wire,
            resolve=resolve,
        )
    finally:
        # Only an iterator with a connection has this method.
        if callable(close := getattr(stream, "close", None)):
            close()
    return replace(extraction, too_early=extraction.too_early and running and not has_finished(pod))


def read_records(
    run: Run,
    pod: Object,
    lines: LogLines | bytes,
    *,
    whose: str,
    limits: Limits,
    wire: int = wires.WIRE,
    resolve: Resolve = value_of,
) -> Extraction:
    """Return the extraction of a sidecar's records, whatever transport carried them.

    Args:
        run: The run.
        pod: The pod, as last seen: how the sidecar ended, and whether a Step outlived it.
        lines: The records; as bytes, if they are few.
        whose: Where they are, for messages: ``log of container "x"``.
        limits: Maximum bytes of a value; a cut record of a larger one is reported as too large.
        wire: The wire version of the sidecar.
        resolve: Returns the value of a record, which may have only its location.

    Returns:
        The extraction, with ``too_early`` if the end record is missing so far.
    """
    if isinstance(lines, bytes):
        longest, most = _log_limits(run, pod, limits)
        lines = LogLines([lines], longest=longest, limit=most)
    status = container_statuses(pod).get(RESULTS_SIDECAR, {})
    ended = _end(status)
    records = SidecarLog(
        whose=whose,
        pod_uid=pod["metadata"].get("uid", ""),
        declared=declared_names(run),
        limits=limits,
        wire=wire,
        resolve=resolve,
    )
    records.read(lines)
    running = "running" in status.get("state", {})
    by_signal = waits_for_signal(pod)
    outlived = (may_have_missed if by_signal else _outlived)(run, pod, None if running else ended)
    records.check_complete(None if running else ended, outlived=outlived)
    problems = records.problems
    if lines.over:
        over = Problem(
            code=ProblemCode.TRANSPORT_CORRUPT,
            message=f"the {whose} has more than {lines.limit} bytes, more than all results together may "
            f"need; reading stopped there",
            size=lines.limit + 1,
            limit=lines.limit,
        )
        problems = [over, *problems]
    usage = TransportUsage(
        container=RESULTS_SIDECAR,
        transport=whose.partition(" ")[0],
        used=lines.total,
        budget=lines.limit,
        results=tuple(name if step is None else f"step-{step}.{name}" for step, name in records.found),
        cut=lines.over,
        written=_written(records) if records.compressed else None,
    )
    return Extraction(
        results=tuple(records.found.values()),
        problems=tuple(problems),
        transports=(usage,),
        # If the Steps were not yet seen to end, the next reconciliation shows whether they had.
        too_early=(records.open and not lines.over) or (by_signal and running and outlived),
        read_error=_kubelet_failed(whose, records.kubelet_error, pod) if records.kubelet_error else None,
        envelope=records.signature.envelope,
        envelope_fault=records.signature.fault,
        tekton_signatures=records.signature.tekton,
    )


def _written(records: SidecarLog) -> int:
    """Return the bytes of the values that arrived, as the Steps wrote them."""
    return sum(
        len(result.value.encode()) for result in records.found.values() if isinstance(result.value, str)
    )


def _kubelet_failed(whose: str, error: str, pod: Object) -> LogUnavailableError:
    """Return the error of a log that the kubelet could not read to its end; a retry may succeed."""
    metadata = pod["metadata"]
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    return LogUnavailableError(
        f'the kubelet answered "{error}" in place of the {whose}',
        subject=f"Pod {name}, container {RESULTS_SIDECAR}",
    )


def _log_limits(run: Run, pod: Object, limits: Limits) -> tuple[int, int]:
    """Return the maximum bytes of one record, and of all records, that a genuine sidecar can write."""
    declared = declared_names(run)
    longest_name = max([2 * wires.NAME_LIMIT + 1, *(len(name.encode()) for _, name in declared)])
    values = min(limits.run_bytes, limits.result_bytes * len(declared))
    most = wires.max_line_bytes(values) + wires.max_line_bytes(0, longest_name) * (len(declared) + 2)
    signature = signature_room(pod, declared.values())
    return max(wires.max_line_bytes(limits.result_bytes, longest_name), signature), most + signature


def _end(status: Object) -> Object | None:
    """Return the container's ``terminated``, or that of its last process."""
    ended: Object | None = status.get("state", {}).get("terminated") or status.get("lastState", {}).get(
        "terminated"
    )
    return ended


def _killed(run: Run, pod: Object) -> bool:
    """Return whether a Step was killed together with its entrypoint, which the sidecar cannot notice."""
    ended = terminated_states(pod)
    return any(ended.get(step.container, {}).get("exitCode") == _SIGKILL for step in run.steps)


def _outlived(run: Run, pod: Object, sidecar: Object | None) -> bool:
    """Return whether a Step may have gone on after the sidecar got SIGTERM, writing results that nobody read.

    Times have whole seconds. A Step that was killed in the sidecar's last second was killed before the
    sidecar, because the kubelet ends native sidecars last, or wrote nothing on SIGTERM.
    """
    states = container_states(pod)
    ends = [states.get(step.container, {}).get("terminated") for step in run.steps]
    if any("running" in states.get(step.container, {}) for step in run.steps):
        return True
    known = [end for end in ends if end is not None]
    if known and not any(end.get("exitCode") for end in known):
        return True
    sidecar_end = (sidecar or {}).get("finishedAt") or ""
    return any(_ended_after(end, sidecar_end) for end in known)


def _ended_after(end: Object, sidecar_end: str) -> bool:
    """Return whether a Step may have ended after the sidecar.

    Args:
        end: The Step's ``terminated``. Its time is null where the kubelet lost the container
            (``ContainerStatusUnknown``); then nobody knows.
        sidecar_end: The sidecar's ``finishedAt``; "" where that is not known.
    """
    step_end = end.get("finishedAt", "")
    if step_end is None or step_end > sidecar_end:
        return True
    return bool(step_end == sidecar_end != "" and end.get("exitCode") != _SIGKILL)
