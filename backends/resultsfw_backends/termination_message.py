"""Backend ``termination-message``: results in the termination messages of the Steps' containers.

The format is Tekton's: a JSON array of ``{"key", "value", "type"}``, or ``tknz:`` and the base64 of
its raw deflate. The walls are the kubelet's: it reads 4096 bytes of a container's message
(`MaxContainerTerminationMessageLength`, pkg/kubelet/container/runtime.go) and, when it writes the
pod's status, cuts each message at 12288 bytes divided by the number of the pod's containers, init
containers included (`MaxPodTerminationMessageLogLength` there, `normalizeStatus` in
pkg/kubelet/status/status_manager.go).
"""

import base64
import binascii
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from resultsfw import (
    Capabilities,
    Carrier,
    Extraction,
    Found,
    Object,
    Problem,
    ProblemCode,
    Run,
    Step,
    hookimpl,
)
from resultsfw_backends._entrypoint import add_arguments, terminated

__all__ = ["Config", "capabilities", "extract", "message_budget", "pod_ready", "prepare_pod"]

CONTAINER_BYTES: Final = 4096
POD_BYTES: Final = 12_288
COMPRESSED: Final = "tknz:"
INFLATED_BYTES: Final = 131_072
"""What Tekton lets a compressed message grow to (pkg/termination/write.go)."""

TASK_RESULT, INTERNAL, STEP_RESULT = 1, 3, 4
_LEGACY: Final = {"TaskRunResult": TASK_RESULT, "InternalTektonResult": INTERNAL}
REFUSED: Final = "ResultsRefused"
"""Internal entry in which our own entrypoint (the engine with no cluster) names what did not fit."""

_RAN: Final = frozenset({"Completed", "Error", "OOMKilled", ""})
"""Reasons of a container whose process ran; under others the message is the runtime's own text."""

LARGER: Final = 'set the feature flag "results-from" to "sidecar-logs" for larger results'

WIRE: Final = 0


class Config(BaseModel):
    """Options of ``config.termination-message``."""

    model_config = ConfigDict(extra="forbid")

    compress: bool = False
    """Let the entrypoint compress its messages; needs one that knows ``-compress_termination_message``."""


capabilities = Capabilities(
    summary="results in the containers' termination messages: no extra container, 4096 bytes a Step at best",
    result_bytes=CONTAINER_BYTES,
    run_bytes=POD_BYTES,
)


@hookimpl
def prepare_pod(run: Run, pod: Object, config: Config) -> int:
    """Ask the entrypoint for compression where that is configured; else the pod is right as it is."""
    if config.compress:
        add_arguments(run, pod, ["-compress_termination_message=true"])
    return WIRE


@hookimpl
def pod_ready(run: Run, pod: Object) -> bool:
    """All Steps have ended, or the pod has."""
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return True
    ended = terminated(pod)
    return all(step.container in ended for step in run.steps)


@hookimpl
def extract(run: Run, pod: Object) -> Extraction:
    """Every Step's message, in order; of a message that was cut, the entries that stand whole."""
    budget = message_budget(pod)
    ended = terminated(pod)
    found: list[Found] = []
    problems: list[Problem] = []
    carriers: list[Carrier] = []
    for step in run.steps:
        if (state := ended.get(step.container)) is None:
            continue
        message = read_message(state.get("message") or "", budget)
        values, refusals = _of_step(step, message)
        found += values
        carriers.append(_carrier(step, message, budget))
        problems += refusals
        if message.cut:
            problems.append(_cut(run, step, message, budget))
        elif message.garbage and state.get("reason", "") in _RAN:
            problems.append(_garbage(step, message))
    return Extraction(found=tuple(found), problems=tuple(problems), carriers=tuple(carriers))


def message_budget(pod: Object) -> int:
    """Bytes of termination message that the kubelet leaves each container of this very pod."""
    spec = pod["spec"]
    count = len(spec.get("containers", ())) + len(spec.get("initContainers", ()))
    return min(CONTAINER_BYTES, POD_BYTES // max(count, 1))


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

    One that does not end as it must and reaches the budget was cut; a shorter one is garbage.
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
    """The array's entries that stand whole, each with the place behind it; ``None`` at a proper end."""
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
    """Whether a compressed message was whole, and as much of its text as comes out."""
    usable = len(text) - len(text) % 4 if len(text) % 4 == 1 else len(text)
    whole = usable == len(text)
    try:
        packed = base64.b64decode(text[:usable] + "=" * (-usable % 4), validate=True)
    except (binascii.Error, ValueError):
        return False, ""
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = bytearray()
    try:
        # In small pieces, so that what stands in front of a bad byte still comes out.
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


def _type_of(entry: dict[str, Any]) -> int | None:
    kind = entry.get("type")
    if isinstance(kind, str):
        return _LEGACY.get(kind)
    return kind if isinstance(kind, int) else None


def _of_step(step: Step, message: Message) -> tuple[list[Found], list[Problem]]:
    """What the entries of one Step's message say."""
    source = f'termination message of container "{step.container}"'
    found: list[Found] = []
    problems: list[Problem] = []
    for entry in message.entries:
        name, value, kind = entry.get("key"), entry.get("value"), _type_of(entry)
        if not (isinstance(name, str) and isinstance(value, str)):
            continue
        if kind == TASK_RESULT:
            found.append(Found(name=name, value=value, source=source))
        elif kind == STEP_RESULT:
            found.append(Found(name=name, value=value, step=step.name, source=source))
        elif kind == INTERNAL and name == REFUSED:
            problems += _refused(step, value)
    return found, problems


def _refused(step: Step, text: str) -> Iterator[Problem]:
    """The problems that our own entrypoint put into its message."""
    codes = {
        "TooLarge": ProblemCode.RESULT_TOO_LARGE,
        "NotUtf8": ProblemCode.NOT_UTF8,
        "NotRegularFile": ProblemCode.NOT_REGULAR_FILE,
        "OutsideFolder": ProblemCode.OUTSIDE_FOLDER,
    }
    try:
        refusals = json.loads(text)
    except (ValueError, RecursionError):
        return
    for one in refusals if isinstance(refusals, list) else ():
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            continue
        name, size, limit = one["name"], one.get("bytes"), one.get("limit")
        whose = step.name if one.get("type") == STEP_RESULT else None
        label = f'result "{name}"' if whose is None else f'result "{name}" of Step "{whose}"'
        code = codes.get(str(one.get("reason")), ProblemCode.FILE_UNREADABLE)
        if code is ProblemCode.RESULT_TOO_LARGE:
            said = (
                f"{label} has {size} bytes and does not fit into the termination message of container "
                f'"{step.container}", which has {limit} bytes in this pod; '
                f"{LARGER}"
            )
        else:
            said = f'{label} was refused in container "{step.container}": {one.get("reason")}'
        yield Problem(
            code=code,
            message=said,
            result=name,
            step=whose,
            size=size if isinstance(size, int) else None,
            limit=limit if isinstance(limit, int) else None,
        )


def _carrier(step: Step, message: Message, budget: int) -> Carrier:
    names = []
    for entry in message.entries:
        kind = _type_of(entry)
        if kind in (TASK_RESULT, STEP_RESULT):
            names.append(
                f"step-{step.name}.{entry.get('key')}" if kind == STEP_RESULT else str(entry.get("key"))
            )
    return Carrier(
        container=step.container,
        transport="termination message",
        used=message.size,
        budget=budget,
        results=tuple(names),
        cut=message.cut,
    )


def _cut(run: Run, step: Step, message: Message, budget: int) -> Problem:
    """A cut message: names the result at the cut where its key is still there, else who may be lost."""
    whole = {entry.get("key") for entry in message.entries}
    task = [one.name for one in run.written]
    own = [one.name for one in step.results]
    at_cut = _name_at_cut(message.rest)
    maybe = [name for name in (*task, *own) if name not in whole]
    if at_cut is None:
        lost = f"results (of {', '.join(maybe)})" if maybe else "results"
    else:
        lost = f'result "{at_cut}" and what came after it'
    result = at_cut or (maybe[0] if len(maybe) == 1 else None)
    return Problem(
        code=ProblemCode.TRANSPORT_CUT,
        message=f'the termination message of container "{step.container}" was cut short at {message.size} '
        f"bytes, at the limit of {budget} bytes that the kubelet leaves each container of this pod: {lost} "
        f"did not arrive whole; {LARGER}",
        result=result,
        step=step.name if result in own and result not in task else None,
        size=message.size,
        limit=budget,
    )


def _name_at_cut(rest: str) -> str | None:
    """The key of the entry that the cut went through, if the key itself stands whole."""
    mark = '{"key":'
    place = rest.find(mark)
    if place < 0:
        return None
    try:
        name, _ = json.JSONDecoder().raw_decode(rest, place + len(mark))
    except ValueError:
        return None
    return name if isinstance(name, str) else None


def _garbage(step: Step, message: Message) -> Problem:
    return Problem(
        code=ProblemCode.TRANSPORT_CORRUPT,
        message=f'the termination message of container "{step.container}" ({message.size} bytes) is not what '
        f"Tekton's entrypoint writes; something else wrote to the termination file, and results may be lost",
    )
