r"""Backend ``termination-message``: results in the termination messages of the Steps' containers.

`resultsfw.messages` defines the format and the limits of those messages. Tekton's entrypoint writes them; in
a pod without it, each container writes its own message. For such a message two faults are reported that an
entrypoint never makes: an entry of another format, and bytes that are not UTF-8, which the kubelet replaces
by U+FFFD (a genuine one must be written as ``\ufffd``).
"""

import json
from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel, ConfigDict

from resultsfw import (
    ARTIFACTS,
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
from resultsfw.entrypoint import add_arguments
from resultsfw.errors import InputError
from resultsfw.messages import (
    CONTAINER_MESSAGE_BYTES,
    INTERNAL,
    POD_MESSAGE_BYTES,
    STEP_ARTIFACTS,
    STEP_RESULT,
    TASK_ARTIFACTS,
    TASK_RESULT,
    Message,
    entry_type,
    message_budget,
    read_message,
)
from resultsfw.pods import containers, has_finished, is_plain, steps_ended, terminated_states
from resultsfw_signing.tekton_format import is_signature_key

__all__ = ["Config", "capabilities", "extract", "pod_ready", "prepare_pod"]

REFUSED: Final = "ResultsRefused"
"""Internal entry in which our own entrypoint (of the local engine) names the results that did not fit."""

_RAN: Final = frozenset({"Completed", "Error", "OOMKilled", ""})
"""Reasons of a container whose process ran; with other reasons, the container runtime wrote the message."""

LARGER: Final = (
    'for larger results set the feature flag "results-from" to "sidecar-logs": kubectl patch cm '
    """feature-flags -n tekton-pipelines -p '{"data":{"results-from":"sidecar-logs"}}'"""
)
"""Advice for a result that is too large, with the command of TEP-0127 (Feature Gate)."""


_OF_TASK: Final = (TASK_RESULT, TASK_ARTIFACTS)
_OF_STEP: Final = (STEP_RESULT, STEP_ARTIFACTS)
"""Types of entries of the Task and of the Step that wrote them. The key of artifacts is their file's path."""

_TASK_PATH: Final = f"/tekton/{ARTIFACTS}"
"""Path of the Task's provenance (``ArtifactsDir`` in pkg/apis/pipeline/paths.go)."""

WIRE: Final = 0
"""Wire version of messages that an entrypoint writes."""

OWN_WIRE: Final = 1
"""Wire version of messages that the containers write themselves."""

_REPLACED: Final = "\ufffd"
_DEFAULT_PATH: Final = "/dev/termination-log"


class Config(BaseModel):
    """Options of ``config.termination-message``."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    compress: bool = False
    """Let the entrypoint compress its messages; it must support ``-compress_termination_message``."""


capabilities = Capabilities(
    summary="results in the containers' termination messages: no extra container, 4096 bytes a Step at best",
    result_bytes=CONTAINER_MESSAGE_BYTES,
    run_bytes=POD_MESSAGE_BYTES,
    artifacts=True,
    plain_pods=True,
)


@hookimpl
def prepare_pod(run: Run, pod: Object, config: Config) -> int:
    """Enable compression in the entrypoint if it is configured; otherwise change nothing.

    Raises:
        InputError: The pod has no entrypoint, and its messages could not be read; the message says why.
    """
    if is_plain(run, pod):
        _check_messages(run, pod)
        return OWN_WIRE
    if config.compress:
        add_arguments(run, pod, ["-compress_termination_message=true"])
    return WIRE


def _check_messages(run: Run, pod: Object) -> None:
    """Check that each container's message arrives, and holds only what the container writes."""
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
    """Return whether all Steps, or the pod, have ended for good."""
    return has_finished(pod) or steps_ended(run, pod)


@hookimpl
def extract(run: Run, pod: Object, wire: int) -> Extraction:
    """Read every Step's message, in order; of a cut message, the entries before the cut."""
    if wire not in (WIRE, OWN_WIRE):
        message_text = (
            f"the pod's messages are of version {wire}; this version of resultsfw reads {WIRE} and "
            f"{OWN_WIRE}: read it with the version that made the pod"
        )
        return Extraction(problems=(Problem(code=ProblemCode.TRANSPORT_UNREADABLE, message=message_text),))
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
        transports.append(_usage(step, message, budget))
        if message.cut:
            lost.append(_cut_problem(run, step, message, budget))
        elif message.garbage and state.get("reason", "") in _RAN:
            lost.append(_garbage(step, message, own=wire == OWN_WIRE))
        # Every Step repeats the results of the Steps before it: report each loss for the first message only.
        reported = {(problem.step, problem.result) for problem in problems if problem.result is not None}
        problems += [problem for problem in lost if (problem.step, problem.result) not in reported]
        # The value in an earlier message may be outdated, if the result is lost in this one.
        gone = {(problem.step, problem.result) for problem in lost}
        found = [result for result in [*found, *values] if (result.step, result.name) not in gone]
    return Extraction(results=tuple(found), problems=tuple(problems), transports=tuple(transports))


def _of_step(step: Step, message: Message) -> tuple[list[ExtractedResult], list[Problem]]:
    """Return the results and problems in one Step's message."""
    source = f'termination message of container "{step.container}"'
    found: list[ExtractedResult] = []
    problems: list[Problem] = []
    for entry in message.entries:
        name, value, kind = entry.get("key"), entry.get("value"), entry_type(entry)
        if kind in (TASK_ARTIFACTS, STEP_ARTIFACTS):
            name = ARTIFACTS
        if not (isinstance(name, str) and isinstance(value, str)):
            if kind in (*_OF_TASK, *_OF_STEP, INTERNAL):
                problems.append(_no_text(step, name, step.name if kind in _OF_STEP else None))
            continue
        if kind in _OF_TASK:
            found.append(ExtractedResult(name=name, value=value, source=source))
        elif kind in _OF_STEP:
            found.append(ExtractedResult(name=name, value=value, step=step.name, source=source))
        elif kind == INTERNAL and name == REFUSED:
            problems += _refused(step, value)
    return found, problems


def _of_container(
    step: Step, message: Message, values: list[ExtractedResult], *, replaced: bool
) -> tuple[list[ExtractedResult], list[Problem]]:
    """Return the values to keep and further problems of a message that no entrypoint wrote.

    Args:
        step: The Step whose container wrote it.
        message: The message.
        values: The values of its entries.
        replaced: Whether the message has a U+FFFD that is not escaped.
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
    for extracted in values:
        text = extracted.name + extracted.value if isinstance(extracted.value, str) else ""
        if replaced and _REPLACED in text:
            problems.append(
                Problem(
                    code=ProblemCode.NOT_UTF8,
                    message=f"{result_label(extracted.name, extracted.step)} is not UTF-8 in the {whose}; a "
                    f"true U+FFFD must be written as \\ufffd",
                    result=extracted.name,
                    step=extracted.step,
                )
            )
        else:
            kept.append(extracted)
    return kept, problems


def _refused(step: Step, text: str) -> Iterator[Problem]:
    """Yield the problems that our own entrypoint wrote into its message."""
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
    for refusal in refusals if isinstance(refusals, list) else [refusals]:
        if not (isinstance(refusal, dict) and isinstance(refusal.get("name"), str)):
            more = refusal.get("more") if isinstance(refusal, dict) else None
            which = f"{more} more results" if isinstance(more, int) else "an unknown number of results"
            yield Problem(
                code=ProblemCode.TRANSPORT_INCOMPLETE,
                message=f'the termination message of container "{step.container}" has no room to name '
                f"{which} that it left out",
                hint=LARGER,
            )
            continue
        name, size, limit = refusal["name"], refusal.get("bytes"), refusal.get("limit")
        kind = refusal.get("type")
        whose = step.name if kind in _OF_STEP else None
        if kind in (TASK_ARTIFACTS, STEP_ARTIFACTS):
            name = ARTIFACTS
        label = result_label(name, whose)
        code = codes.get(str(refusal.get("reason")), ProblemCode.FILE_UNREADABLE)
        if code is ProblemCode.RESULT_TOO_LARGE:
            message_text = (
                f"{label} has {size} bytes and does not fit into the termination message of container "
                f'"{step.container}", which has {limit} bytes in this pod'
            )
        else:
            reason = str(refusal.get("reason"))[:80]
            message_text = f'{label} was refused in container "{step.container}": {reason}'
        yield Problem(
            code=code,
            message=message_text,
            result=name,
            step=whose,
            size=size if isinstance(size, int) else None,
            limit=limit if isinstance(limit, int) else None,
            hint=LARGER if code is ProblemCode.RESULT_TOO_LARGE else "",
        )


def _usage(step: Step, message: Message, budget: int) -> TransportUsage:
    names = []
    for entry in message.entries:
        kind = entry_type(entry)
        if kind in (*_OF_TASK, *_OF_STEP):
            name = ARTIFACTS if kind in (TASK_ARTIFACTS, STEP_ARTIFACTS) else str(entry.get("key"))
            names.append(f"step-{step.name}.{name}" if kind in _OF_STEP else name)
    return TransportUsage(
        container=step.container,
        transport="termination message",
        used=message.size,
        budget=budget,
        results=tuple(names),
        cut=message.cut,
    )


def _cut_problem(run: Run, step: Step, message: Message, budget: int) -> Problem:
    """Return the problem of a cut message: name the result at the cut, or those that may be lost."""
    result, whose, lost = _lost_by_cut(run, step, message)
    return Problem(
        code=ProblemCode.TRANSPORT_CUT,
        message=f'the termination message of container "{step.container}" was cut short at {message.size} '
        f"bytes, the limit of {budget} bytes that the kubelet leaves each container of this pod: {lost} "
        f"did not arrive whole",
        result=result,
        step=whose,
        size=message.size,
        limit=budget,
        hint=LARGER,
    )


def _lost_by_cut(run: Run, step: Step, message: Message) -> tuple[str | None, str | None, str]:
    """Return the lost result's name and Step, as far as known, and what is lost in words."""
    whole = {entry.get("key") for entry in message.entries}
    task = [result.name for result in run.written_results]
    own = [result.name for result in step.results]
    at_cut = _name_at_cut(message.rest)
    if at_cut is not None and at_cut.endswith(f"/{ARTIFACTS}"):  # the last entries of a message
        whose = None if at_cut == _TASK_PATH else step.name
        return ARTIFACTS, whose, f"{result_label(ARTIFACTS, whose)} and what came after it"
    if at_cut is not None and is_signature_key(at_cut) and at_cut not in (*task, *own):
        return None, None, "signatures of results, and what came after them,"
    maybe = [name for name in (*task, *own) if name not in whole]
    if at_cut is None:
        lost = f"results (of {', '.join(maybe)})" if maybe else "results"
        lost += " or provenance of artifacts" if run.artifacts or step.artifacts else ""
    else:
        lost = f'result "{at_cut}" and what came after it'
    result = at_cut or (maybe[0] if len(maybe) == 1 else None)
    return result, step.name if result in own and result not in task else None, lost


def _name_at_cut(rest: str) -> str | None:
    """Return the key of the entry that was cut, if the key itself is complete."""
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
        + (
            "key is not a string" if known is None else f"value is not a string: {result_label(known, whose)}"
        ),
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
