"""Read the record with the signature over a pod's results, and compute the room that it needs."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from resultsfw import ARTIFACTS, Object
from resultsfw_backends._refusals import Origin
from resultsfw_sidecar import wire as wires
from resultsfw_signing import statement

__all__ = ["Signature", "SignatureRecords", "signature_room"]

_TEKTON_KEYS: Final = 3
"""Keys of Tekton's signatures beside those of single results: certificate, manifest, its signature."""

_ESCAPES: Final = 1024


@dataclass(frozen=True, slots=True)
class Signature:
    """What a pod's signer printed. Nothing of it is verified.

    Attributes:
        envelope: The text of its envelope; "" without one.
        fault: Why there is no envelope; "" if there is one, or no signer.
        tekton: Tekton's signatures by key.
    """

    envelope: str = ""
    fault: str = ""
    tekton: dict[str, str] = field(default_factory=dict)


class SignatureRecords:
    """Keep the signature of a log, which has one.

    Args:
        declared: The declared results and provenance, which bound how long an envelope is.

    Attributes:
        found: The signature; an empty one if there is none, or more than one.
    """

    def __init__(self, declared: Collection[Origin]) -> None:
        self._declared = declared
        self._count = 0
        self.found = Signature()

    def add(self, record: dict[str, Any]) -> str:
        """Keep the signature of a record; return what is wrong with it, or "" if nothing is."""
        self._count += 1
        self.found = Signature()
        if self._count > 1:
            return "it is a second signature, and neither counts"
        if (found := _parse(record, self._declared)) is None:
            return "its signature has a form that no signer writes"
        self.found = found
        return ""


def signature_room(pod: Object, declared: Collection[Origin], *, escaped: bool = False) -> int:
    """Return the bytes that the signature's record has at most in a pod; 0 if nothing is signed there.

    Args:
        pod: The pod; its annotation says whether its results are signed.
        declared: See `SignatureRecords`.
        escaped: Whether the records are a text in a JSON document, and not bytes.
    """
    subjects = [_subject(origin) for origin in declared]
    room = statement.record_room(pod["metadata"].get("annotations") or {}, subjects)
    if not (room and escaped):
        return room
    # Each quotation mark and backslash of the record has one backslash more there: a few for each part of the
    # envelope, one for each line of a certificate, and names twice, of which every character may be one.
    return room + _ESCAPES + sum(2 * len(json.dumps(subject)) for subject in subjects)


def _parse(record: dict[str, Any], declared: Collection[Origin]) -> Signature | None:
    """Return the signature in a record; ``None`` if it has a form that no signer writes.

    Args:
        record: The record; its parts may be any JSON.
        declared: The declared results and provenance, which bound how long an envelope is.
    """
    envelope, fault, tekton = record.get("envelope"), record.get("fault"), record.get("tekton", {})
    if "envelope" not in record:
        valid = isinstance(fault, str) and fault != "" and "tekton" not in record
        return Signature(fault=str(fault)[: wires.MESSAGE_LIMIT]) if valid else None
    subjects = [_subject(origin) for origin in declared]
    if "fault" in record or not (isinstance(envelope, str) and envelope and envelope.isascii()):
        return None
    if len(envelope) > statement.longest_envelope(subjects):
        return None
    if not isinstance(tekton, dict) or len(tekton) > len(subjects) + _TEKTON_KEYS:
        return None
    if not all(isinstance(text, str) for text in tekton.values()):
        return None
    annotations = {statement.ANNOTATION: statement.SIGNED_WITH_TEKTON_KEYS}
    used = sum(len(key) + len(text) for key, text in tekton.items())
    if used > statement.record_room(annotations, subjects):
        return None
    return Signature(envelope=envelope, tekton=dict(tekton))


def _subject(origin: Origin) -> str:
    """Return the name of a result or of provenance in a statement."""
    step, name = origin
    return statement.artifacts_subject(step) if name == ARTIFACTS else statement.result_subject(name, step)
