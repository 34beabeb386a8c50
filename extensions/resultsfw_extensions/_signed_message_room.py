"""Compute the room that signatures of Tekton's entrypoint leave for values in a termination message."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from resultsfw import Object, Run
from resultsfw.messages import INTERNAL, STEP_RESULT, TASK_RESULT, message_budget
from resultsfw.pods import containers
from resultsfw_signing.statement import run_spiffe_id
from resultsfw_signing.tekton_format import MANIFEST, SIGNATURE_SUFFIX, SVID, manifest

__all__ = ["MessageRoom", "describe_room", "least_pem", "least_room"]

_COMPRESS: Final = "-compress_termination_message=true"
_STARTED: Final = "2026-11-28T12:07:53.000Z"
"""A time as the entrypoint writes it, in its shortest form."""
_CERTIFICATE_BYTES: Final = 460
"""DER of the smallest X509-SVID that SPIRE issues (ECDSA on P-256), without its SPIFFE ID."""
_SIGNATURE_BYTES: Final = 92
"""Base64 of the smallest signature that may be met (ECDSA on P-256)."""
_PEM_LINE: Final = 64
_PEM_FRAME: Final = 52  # characters of the first and the last line


@dataclass(frozen=True, slots=True)
class MessageRoom:
    """How much of a Step's termination message remains for values, before the pod exists.

    Attributes:
        container: The Step's container.
        budget: Bytes that the kubelet keeps of its message.
        needed: Bytes that the message has at least, if each value is empty.
    """

    container: str
    budget: int
    needed: int

    @property
    def left(self) -> int:
        """Return the bytes that are left for values, at most."""
        return self.budget - self.needed


def describe_room(run: Run, pod: Object, trust_domain: str) -> str:
    """Return a phrase about the bytes that signatures leave for values; "" if nothing is signed."""
    room = least_room(run, pod, trust_domain)
    if room is None:
        return ""
    return (
        f"beside signatures, at most {room.left} of {room.budget} bytes are left for values in the "
        f'termination message of container "{room.container}"'
    )


def least_room(run: Run, pod: Object, trust_domain: str) -> MessageRoom | None:
    """Return the room in the message that has the least; ``None`` if no Step writes results.

    Every Step's message repeats all results of the Task that exist by then, with a signature each.

    Args:
        run: The run.
        pod: Its prepared pod.
        trust_domain: The trust domain of the pod's identity.
    """
    budget = message_budget(pod)
    by_name = containers(pod)
    identity = run_spiffe_id(trust_domain, run.namespace, run.name)
    rooms = [
        MessageRoom(step.container, budget, _needed(entries, compressed=_COMPRESS in arguments))
        for step in run.steps
        if (entries := list(_least_entries(run, [result.name for result in step.results], identity)))
        for arguments in [by_name[step.container].get("args") or ()]
    ]
    return min(rooms, key=lambda room: room.left, default=None)


def _least_entries(run: Run, own: list[str], identity: str) -> Iterator[Object]:
    """Yield the entries of a message in which all values are empty; signatures have their real length."""
    for kind, names in ((TASK_RESULT, [result.name for result in run.written_results]), (STEP_RESULT, own)):
        if not names:
            continue
        signed = names if kind == TASK_RESULT else []
        keys = [*(name + SIGNATURE_SUFFIX for name in signed), MANIFEST + SIGNATURE_SUFFIX]
        yield from ({"key": name, "value": "", "type": kind} for name in names)
        yield {"key": SVID, "value": least_pem(identity), "type": TASK_RESULT}
        yield {"key": MANIFEST, "value": manifest(signed), "type": TASK_RESULT}
        yield from ({"key": key, "value": "=" * _SIGNATURE_BYTES, "type": TASK_RESULT} for key in keys)


def least_pem(identity: str) -> str:
    """Return a text as long as the shortest certificate of an identity, with its line ends."""
    base64_bytes = -(-(_CERTIFICATE_BYTES + len(identity)) // 3) * 4
    lines = -(-base64_bytes // _PEM_LINE) + 2
    return "=" * (base64_bytes + _PEM_FRAME) + "\n" * lines


def _needed(entries: list[Object], *, compressed: bool) -> int:
    """Return the bytes of a message at least.

    Compression shortens all but what is random: a certificate, once, and signatures.
    """
    started = {"key": "StartedAt", "value": _STARTED, "type": INTERNAL}
    if not compressed:
        return len(json.dumps([*entries, started], ensure_ascii=False, separators=(",", ":")).encode())
    signatures = len([entry for entry in entries if entry["key"].endswith(SIGNATURE_SUFFIX)])
    return -(-_CERTIFICATE_BYTES // 3) * 4 + signatures * _SIGNATURE_BYTES
