r"""Backend ``termination-message``: results in the termination messages of the Steps' containers.

The format and the walls of those messages stand in `resultsfw.messages`. Tekton's entrypoint writes them; in
a pod without it each container writes its own, and two things are told that an entrypoint never does: an
entry that is none of the format, and bytes that are not UTF-8, in whose place the kubelet puts U+FFFD (a true
one is to be written as ``\ufffd``).
"""

import json
from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel, ConfigDict

from resultsfw import (
    Capabilities,
    ExtractedResult,
    Extraction,
    Object,
    Problem,
    ProblemCode,
    Run,
    Step,
    TransportUsage,
    hookimpl,
    result_label,
)
from resultsfw.errors import InputError
from resultsfw.messages import (
    CONTAINER_MESSAGE_BYTES,
    INTERNAL,
    POD_MESSAGE_BYTES,
    STEP_RESULT,
    TASK_RESULT,
    Message,
    entry_type,
    message_budget,
    read_message,
)
from resultsfw.pods import containers, has_finished, terminated_states
from resultsfw_backends._entrypoint import add_arguments
from resultsfw_backends._plain_pod import check_pod, is_plain, steps_ended

__all__ = ["Config", "capabilities", "extract", "pod_ready", "prepare_pod"]

REFUSED: Final = "ResultsRefused"
"""Internal entry in which our own entrypoint (the engine with no cluster) names what did not fit."""

_RAN: Final = frozenset({"Completed", "Error", "OOMKilled", ""})
"""Reasons of a container whose process ran; under others the message is the runtime's own text."""

LARGER: Final = (
    'for larger results set the feature flag "results-from" to "sidecar-logs": kubectl patch cm '
    """feature-flags -n tekton-pipelines -p '{"data":{"results-from":"sidecar-logs"}}'"""
)
"""What to do next, as TEP-0127 writes it (Feature Gate)."""


WIRE: Final = 0
"""Messages of an entrypoint."""

OWN_WIRE: Final = 1
"""Messages that the containers write themselves."""

_REPLACED: Final = "\ufffd"
_DEFAULT_PATH: Final = "/dev/termination-log"


class Config(BaseModel):
    """Options of ``config.termination-message``."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    compress: bool = False
    """Let the entrypoint compress its messages; needs one that knows ``-compress_termination_message``."""


capabilities = Capabilities(
    summary="results in the containers' termination messages: no extra container, 4096 bytes a Step at best",
    result_bytes=CONTAINER_MESSAGE_BYTES,
    run_bytes=POD_MESSAGE_BYTES,
)


@hookimpl
def prepare_pod(run: Run, pod: Object, config: Config) -> int:
    """Ask the entrypoint for compression where that is configured; else the pod is right as it is.

    Raises:
        InputError: It is not Tekton's, and its messages would not be its results; the message says why.
    """
    if is_plain(run, pod):
        check_pod(run, pod)
        _check_messages(run, pod)
        return OWN_WIRE
    if config.compress:
        add_arguments(run, pod, ["-compress_termination_message=true"])
    return WIRE


def _check_messages(run: Run, pod: Object) -> None:
    """That the containers' messages arrive, and are nothing but what they write."""
    by_name = containers(pod)
    for step in run.steps:
        container = by_name[step.container]
        if (policy := container.get("terminationMessagePolicy") or "File") != "File":
            raise InputError(
                f'container "{step.container}" has terminationMessagePolicy {policy}: its log would be '
                f"taken for its results where it "
                f"fails without any; say File",
                subject=f"container {step.container}",
            )
        path = container.get("terminationMessagePath") or _DEFAULT_PATH
        for mount in container.get("volumeMounts") or ():
            if mount["mountPath"].rstrip("/") == path.rstrip("/"):
                raise InputError(
                    f'container "{step.container}" mounts volume "{mount["name"]}" at {path}, where its '
                    f"termination message is: nothing of it would arrive; mount it elsewhere",
                    subject=f"container {step.container}",
                )


@hookimpl
def pod_ready(run: Run, pod: Object) -> bool:
    """All Steps have ended for good, or the pod has."""
    return has_finished(pod) or steps_ended(run, pod)


@hookimpl
def extract(run: Run, pod: Object, wire: int) -> Extraction:
    """Every Step's message, in order; of a message that was cut, the entries that stand whole."""
    if wire not in (WIRE, OWN_WIRE):
        said = (
            f"the pod's messages are of version {wire}; this version of resultsfw reads {WIRE} and "
            f"{OWN_WIRE}: read it with the version that made the pod"
        )
        return Extraction(problems=(Problem(code=ProblemCode.TRANSPORT_UNREADABLE, message=said),))
    budget = message_budget(pod)
    ended = terminated_states(pod)
    found: list[ExtractedResult] = []
    problems: list[Problem] = []
    transports: list[TransportUsage] = []
    for step in run.steps:
        if (state := ended.get(step.container)) is None:
            continue
        message = read_message(state.get("message") or "", budget)
        values, lost = _of_step(step, message)
        if wire == OWN_WIRE:
            replaced = _REPLACED in (state.get("message") or "")
            values, more = _of_container(step, message, values, replaced=replaced)
            lost += more
        transports.append(_carrier(step, message, budget))
        if message.cut:
            lost.append(_cut(run, step, message, budget))
        elif message.garbage and state.get("reason", "") in _RAN:
            lost.append(_garbage(step, message, own=wire == OWN_WIRE))
        # Every Step repeats what the ones before it wrote: of one loss, the first message tells.
        told = {(one.step, one.result) for one in problems if one.result is not None}
        problems += [one for one in lost if (one.step, one.result) not in told]
        # What an earlier message said of a result that is lost in this one may be out of date.
        gone = {(one.step, one.result) for one in lost}
        found = [one for one in [*found, *values] if (one.step, one.name) not in gone]
    return Extraction(results=tuple(found), problems=tuple(problems), transports=tuple(transports))


def _of_step(step: Step, message: Message) -> tuple[list[ExtractedResult], list[Problem]]:
    """What the entries of one Step's message say."""
    source = f'termination message of container "{step.container}"'
    found: list[ExtractedResult] = []
    problems: list[Problem] = []
    for entry in message.entries:
        name, value, kind = entry.get("key"), entry.get("value"), entry_type(entry)
        if not (isinstance(name, str) and isinstance(value, str)):
            if kind in (TASK_RESULT, STEP_RESULT, INTERNAL):
                problems.append(_no_text(step, name, step.name if kind == STEP_RESULT else None))
            continue
        if kind == TASK_RESULT:
            found.append(ExtractedResult(name=name, value=value, source=source))
        elif kind == STEP_RESULT:
            found.append(ExtractedResult(name=name, value=value, step=step.name, source=source))
        elif kind == INTERNAL and name == REFUSED:
            problems += _refused(step, value)
    return found, problems


def _of_container(
    step: Step, message: Message, values: list[ExtractedResult], *, replaced: bool
) -> tuple[list[ExtractedResult], list[Problem]]:
    """What is left of the values, and what is wrong besides, where no entrypoint wrote the message.

    Args:
        step: Whose container wrote it.
        message: What it wrote.
        values: As the entries say.
        replaced: Whether a U+FFFD stands in the message itself, not as an escape.
    """
    whose = f'termination message of container "{step.container}"'
    problems = []
    for entry in message.entries:
        name, kind = entry.get("key"), entry_type(entry)
        if kind not in (TASK_RESULT, STEP_RESULT, INTERNAL):
            known = name if isinstance(name, str) else None
            about = "an entry" if known is None else f"an entry of {result_label(known, None)}"
            problems.append(
                Problem(
                    code=ProblemCode.TRANSPORT_CORRUPT,
                    message=f'the {whose} has {about} whose "type" is neither {TASK_RESULT} (a result of the '
                    f"run) nor {STEP_RESULT} (one of the Step's own)",
                    result=known,
                )
            )
    kept = []
    for one in values:
        if replaced and isinstance(one.value, str) and _REPLACED in one.name + one.value:
            problems.append(
                Problem(
                    code=ProblemCode.NOT_UTF8,
                    message=f"{result_label(one.name, one.step)} is not UTF-8 in the {whose}; a true U+FFFD "
                    f"must be written as \\ufffd",
                    result=one.name,
                    step=one.step,
                )
            )
        else:
            kept.append(one)
    return kept, problems


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
        refusals = None
    for one in refusals if isinstance(refusals, list) else [refusals]:
        if not (isinstance(one, dict) and isinstance(one.get("name"), str)):
            more = one.get("more") if isinstance(one, dict) else None
            which = f"{more} more results" if isinstance(more, int) else "results that cannot be told"
            yield Problem(
                code=ProblemCode.TRANSPORT_INCOMPLETE,
                message=f'the termination message of container "{step.container}" has no room to name '
                f"{which} that it left out",
                hint=LARGER,
            )
            continue
        name, size, limit = one["name"], one.get("bytes"), one.get("limit")
        whose = step.name if one.get("type") == STEP_RESULT else None
        label = result_label(name, whose)
        code = codes.get(str(one.get("reason")), ProblemCode.FILE_UNREADABLE)
        if code is ProblemCode.RESULT_TOO_LARGE:
            said = (
                f"{label} has {size} bytes and does not fit into the termination message of container "
                f'"{step.container}", which has {limit} bytes in this pod'
            )
        else:
            said = f'{label} was refused in container "{step.container}": {str(one.get("reason"))[:80]}'
        yield Problem(
            code=code,
            message=said,
            result=name,
            step=whose,
            size=size if isinstance(size, int) else None,
            limit=limit if isinstance(limit, int) else None,
            hint=LARGER if code is ProblemCode.RESULT_TOO_LARGE else "",
        )


def _carrier(step: Step, message: Message, budget: int) -> TransportUsage:
    names = []
    for entry in message.entries:
        kind = entry_type(entry)
        if kind in (TASK_RESULT, STEP_RESULT):
            names.append(
                f"step-{step.name}.{entry.get('key')}" if kind == STEP_RESULT else str(entry.get("key"))
            )
    return TransportUsage(
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
    task = [one.name for one in run.written_results]
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
        f"bytes, the limit of {budget} bytes that the kubelet leaves each container of this pod: {lost} "
        f"did not arrive whole",
        result=result,
        step=step.name if result in own and result not in task else None,
        size=message.size,
        limit=budget,
        hint=LARGER,
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


def _no_text(step: Step, name: object, whose: str | None) -> Problem:
    known = name if isinstance(name, str) else None
    return Problem(
        code=ProblemCode.TRANSPORT_CORRUPT,
        message=f'the termination message of container "{step.container}" has an entry whose '
        + ("key is no text" if known is None else f"value is no text: {result_label(known, whose)}"),
        result=known,
        step=whose,
    )


def _garbage(step: Step, message: Message, *, own: bool) -> Problem:
    what = (
        'no JSON array of {"key", "value", "type"}, with nothing before or behind it; results may be lost'
        if own
        else "not what Tekton's entrypoint writes; something else wrote to the termination file, and results "
        "may be lost"
    )
    return Problem(
        code=ProblemCode.TRANSPORT_CORRUPT,
        message=f'the termination message of container "{step.container}" ({message.size} bytes) is {what}',
    )
