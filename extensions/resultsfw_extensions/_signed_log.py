"""Read the log of a container that only signs. Only its record with the signature counts.

Nothing in the log is trusted: its envelope is verified like one that came with the results.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from resultsfw import Cluster, Object, Run
from resultsfw.errors import LogUnavailableError
from resultsfw.pods import container_states
from resultsfw.sidecars import describe_end, has_ended, last_termination
from resultsfw.signatures import expected_subjects
from resultsfw_sidecar import wire
from resultsfw_signing import statement

__all__ = ["SignerLog", "parse_log", "read_signer_log"]

_CONTAINER: Final = statement.SIGNER_CONTAINER
_LONGEST_RECORD: Final = wire.max_line_bytes(0)
"""Bytes of any other record."""
_RECORDS: Final = 8
"""Records of a genuine log at most, with some to spare: start, signature, end."""


@dataclass(frozen=True, slots=True)
class SignerLog:
    """What the signer printed. Nothing of it is verified.

    Attributes:
        envelope: The text of the envelope; "" without one.
        fault: Why there is no envelope, or none yet; "" if there is one.
        tekton: Tekton's signatures by key.
        too_early: Whether the signer will still print its signature.
    """

    envelope: str = ""
    fault: str = ""
    tekton: dict[str, str] = field(default_factory=dict)
    too_early: bool = False


def read_signer_log(run: Run, pod: Object, cluster: Cluster) -> SignerLog:
    """Read the signer's log once, never more than a genuine log can have.

    Raises:
        ClusterError: The log cannot be read; a retryable one if a later attempt may succeed.
    """
    if container_states(pod).get(_CONTAINER, {}).get("waiting") and last_termination(pod, _CONTAINER) is None:
        if has_ended(run, pod, _CONTAINER):
            return SignerLog(fault=f'container "{_CONTAINER}" never started')
        return SignerLog(fault=f'container "{_CONTAINER}" has not started yet', too_early=True)
    metadata = pod["metadata"]
    limit = _longest_log(run)
    # One byte more than a genuine log can have, to detect a longer one.
    stream = cluster.read_log(metadata["namespace"], metadata["name"], _CONTAINER, limit=limit + 1)
    data = bytearray()
    try:
        for chunk in stream:
            data += chunk
            if len(data) > limit:
                return SignerLog(
                    fault=f'the log of container "{_CONTAINER}" has more than {limit} bytes, more than a '
                    f"signature may need"
                )
    finally:
        if callable(close := getattr(stream, "close", None)):  # only an iterator with a connection has it
            close()
    found = parse_log(bytes(data))
    if not found.too_early or not has_ended(run, pod, _CONTAINER):
        return found
    return _without_signature(pod)


def parse_log(data: bytes) -> SignerLog:
    """Return the signature in a log, or why there is none; ``too_early`` if its record is still missing."""
    *lines, _rest = data.split(b"\n", _RECORDS)
    signatures = []
    for line in lines:
        record = _decode(line)
        kind = record.get("type")
        if kind == wire.TYPE_SIGNATURE:
            signatures.append(record)
        elif kind == wire.TYPE_ERROR:
            return SignerLog(
                fault=f"the signer failed: {_text(record, 'reason')}: {_text(record, 'message')}"
            )
        elif kind not in (wire.TYPE_START, wire.TYPE_END):
            return SignerLog(fault=f'the log of container "{_CONTAINER}" has a line that no signer prints')
    if not signatures:
        return SignerLog(fault=f'container "{_CONTAINER}" has not signed yet', too_early=True)
    if len(signatures) > 1:
        return SignerLog(fault=f'the log of container "{_CONTAINER}" has two signatures, and neither counts')
    envelope, fault = signatures[0].get("envelope"), _text(signatures[0], "fault")
    if isinstance(envelope, str) and envelope:
        return SignerLog(envelope=envelope, tekton=_texts(signatures[0].get("tekton")))
    return SignerLog(fault=fault or f'the log of container "{_CONTAINER}" has a signature that is not a text')


def _without_signature(pod: Object) -> SignerLog:
    """Return why the log of an ended signer has no signature.

    Raises:
        LogUnavailableError: It exited with code 0, so it has printed one: the log was not read to its end.
    """
    ended = last_termination(pod, _CONTAINER)
    if ended is not None and ended.get("exitCode") == 0:
        metadata = pod["metadata"]
        raise LogUnavailableError(
            f'the log of container "{_CONTAINER}" lacks the signature that the container has printed',
            subject=f"Pod {metadata['namespace']}/{metadata['name']}, container {_CONTAINER}",
        )
    return SignerLog(fault=f"the signer left no signature: {describe_end(pod, _CONTAINER)}")


def _longest_log(run: Run) -> int:
    subjects = [*expected_subjects(run).values(), *(result.name for result in run.results)]
    annotations = {statement.ANNOTATION: statement.SIGNED_WITH_TEKTON_KEYS}
    return statement.record_room(annotations, subjects) + _RECORDS * _LONGEST_RECORD


def _decode(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _text(record: dict[str, Any], key: str) -> str:
    """Return a text of a record, shortened; "" if the value is not a text."""
    value = record.get(key)
    return value[: wire.MESSAGE_LIMIT] if isinstance(value, str) else ""


def _texts(value: object) -> dict[str, str]:
    """Return a mapping of texts; an empty one if the value is not such a mapping."""
    if isinstance(value, dict) and all(isinstance(text, str) for text in (*value, *value.values())):
        return value
    return {}
