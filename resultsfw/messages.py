"""Termination messages as Tekton's entrypoint writes them and the kubelet cuts them.

The format: a JSON array of ``{"key", "value", "type"}``, or ``tknz:`` and the base64 of its raw
deflate. The kubelet cuts messages at two places, at opposite ends: of a container's file it reads the
last 4096 bytes (`MaxContainerTerminationMessageLength`, pkg/kubelet/container/runtime.go), and of what
it read it keeps the first 12288 bytes divided by the number of the pod's containers, init and
ephemeral ones included (`MaxPodTerminationMessageLogLength` there, `normalizeStatus` in
pkg/kubelet/status/status_manager.go). No container gets the unused share of another.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from resultsfw.cluster import Object

__all__ = [
    "CONTAINER_MESSAGE_BYTES",
    "INTERNAL",
    "POD_MESSAGE_BYTES",
    "STEP_ARTIFACTS",
    "STEP_RESULT",
    "TASK_ARTIFACTS",
    "TASK_RESULT",
    "Message",
    "entry_type",
    "message_budget",
    "read_message",
]

CONTAINER_MESSAGE_BYTES: Final = 4096
"""Bytes the kubelet reads of one container's message, the last ones of its file."""

POD_MESSAGE_BYTES: Final = 12_288
"""Bytes it keeps of all the messages of a pod."""

COMPRESSED: Final = "tknz:"
INFLATED_BYTES: Final = 131_072
"""What Tekton lets a compressed message grow to (pkg/termination/write.go)."""

TASK_RESULT, INTERNAL, STEP_RESULT, STEP_ARTIFACTS, TASK_ARTIFACTS = 1, 3, 4, 5, 6
"""Types of an entry (pkg/result/result.go)."""

_LEGACY: Final = {
    "TaskRunResult": TASK_RESULT,
    "InternalTektonResult": INTERNAL,
    "StepResult": STEP_RESULT,
    "StepArtifactsResult": STEP_ARTIFACTS,
    "TaskRunArtifactsResult": TASK_ARTIFACTS,
}


def message_budget(pod: Object) -> int:
    """Bytes of termination message that the kubelet leaves each container of this very pod."""
    spec = pod["spec"]
    kinds = ("containers", "initContainers", "ephemeralContainers")
    count = sum(len(spec.get(kind) or ()) for kind in kinds)
    return min(CONTAINER_MESSAGE_BYTES, POD_MESSAGE_BYTES // max(count, 1))


@dataclass(slots=True)
class Message:
    """A termination message taken apart.

    Attributes:
        size: Its bytes, as the pod's status holds them.
        entries: Those that stand whole.
        rest: What is left behind them, where the message is no whole array.
        cut: Whether it ends at the kubelet's budget in the middle.
        garbage: Whether it is, from some point on, nothing that Tekton writes.
    """

    size: int
    entries: list[dict[str, Any]] = field(default_factory=list)
    rest: str = ""
    cut: bool = False
    garbage: bool = False


def read_message(text: str, budget: int) -> Message:
    """Take a message apart; never raises, whatever the bytes.

    An unterminated message that reaches the budget was cut; a shorter one is garbage.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if not text.strip():
        return Message(size)
    whole, plain = True, text
    if text.startswith(COMPRESSED):
        whole, plain = _inflate(text.removeprefix(COMPRESSED).strip())
    entries: list[dict[str, Any]] = []
    end = 0
    for entry, stop in _entries(plain):
        end = stop
        if entry is None:
            return Message(size, entries, garbage=not whole, cut=not whole and size >= budget)
        entries.append(entry)
    cut = size >= budget
    return Message(size, entries, plain[end:], cut=cut, garbage=not cut)


def _entries(text: str) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """Yield the array's whole entries, each with the offset after it; ``None`` at a proper end."""
    decoder = json.JSONDecoder()
    place = _skip(text, 0)
    if text[place : place + 1] != "[":
        return
    place = _skip(text, place + 1)
    first = True
    while place < len(text):
        if text[place] == "]":
            if not text[place + 1 :].strip():
                yield None, len(text)
            return
        if not first:
            if text[place] != ",":
                return
            place = _skip(text, place + 1)
        try:
            entry, stop = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return
        if not isinstance(entry, dict):
            return
        first = False
        place = _skip(text, stop)
        yield entry, place


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _inflate(text: str) -> tuple[bool, str]:
    """Return whether a compressed message was whole, and as much of its text as can be read."""
    usable = len(text) - len(text) % 4 if len(text) % 4 == 1 else len(text)
    whole = usable == len(text)
    try:
        packed = base64.b64decode(text[:usable] + "=" * (-usable % 4), validate=True)
    except (binascii.Error, ValueError):
        return False, ""
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = bytearray()
    try:
        # In small pieces, so that the text before a bad byte is still returned.
        for place in range(0, len(packed), 64):
            plain += unpack.decompress(packed[place : place + 64], INFLATED_BYTES + 1 - len(plain))
            if len(plain) > INFLATED_BYTES:
                return False, plain[:INFLATED_BYTES].decode("utf-8", "ignore")
    except zlib.error:
        whole = False
    whole = whole and unpack.eof and not unpack.unused_data
    try:
        return whole, plain.decode()
    except UnicodeDecodeError as error:
        return False, plain[: error.start].decode()


def entry_type(entry: dict[str, Any]) -> int | None:
    """Return the type of an entry; ``None`` if it has none."""
    kind = entry.get("type")
    if isinstance(kind, str):
        return _LEGACY.get(kind)
    return kind if isinstance(kind, int) and not isinstance(kind, bool) else None
