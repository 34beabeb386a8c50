"""Say in sentences what became of each result of a TaskRun: for the terminal and for the page."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from resultsfw.cli.inspect.explained import advice_on_trace
from resultsfw.cli.inspect.judged import Judged, is_stamped
from resultsfw.cli.inspect.signatures import describe_signature, trace_signature
from resultsfw.cli.inspect.traces import End, ResultTrace, budget_of, is_of_all_signatures
from resultsfw.cli.output import show
from resultsfw.cli.output.advice import Advice, advice_on
from resultsfw.cluster import Object
from resultsfw.errors import BackendError
from resultsfw.limits import OBJECT_BYTES
from resultsfw.plugins import load_backend
from resultsfw.tekton.api import reasons
from resultsfw.types import Problem, ProblemCode, Stamp, TransportUsage

__all__ = [
    "advice_on_run",
    "by_reference",
    "describe_budget",
    "describe_contents",
    "describe_trace",
    "describe_transport",
    "remaining",
    "why_nothing_is_known",
]


def why_nothing_is_known(judged: Judged) -> str:
    """Return why a TaskRun has no traces; "" if it may have some."""
    offline = judged.offline
    if offline.run is not None:
        return ""
    if judged.note:
        return judged.note
    if offline.finished:
        return "it was refused before a pod was created, so no Step wrote a result"
    return "no controller has read its Task yet, so nothing is known of its results"


def advice_on_run(judged: Judged, traces: Sequence[ResultTrace]) -> list[Advice]:
    """Return the advice on all results; where it is not known what became of them, that on the run."""
    offline = judged.offline
    verdict = show.verdict_of(offline.taskrun)
    if offline.collected is None and verdict.failed:
        known = advice_on(offline.taskrun)  # of a size that nobody knows, the message says more
        return [advice for advice in known if advice.commands or verdict.reason != reasons.TOO_LARGE]
    return list(dict.fromkeys(advice for trace in traces for advice in advice_on_trace(judged, trace)))


def describe_transport(judged: Judged) -> Iterator[str]:
    """Yield what carried the results of this pod, and how much it may carry."""
    offline = judged.offline
    if offline.stamp is None:
        return
    yield f"transport: {offline.stamp.backend}, because {offline.how}"
    if judged.pod is None:
        return
    yield f"budget: {describe_budget(judged.pod, offline.stamp)}"
    for carrier in offline.collected.transports if offline.collected else ():
        yield _usage(carrier)
    if (signature := trace_signature(judged)) is not None:
        yield describe_signature(signature, above=show.verdict_of(offline.taskrun).message)


def describe_budget(pod: Object, stamp: Stamp) -> str:
    """Return how many bytes of results a pod may carry, and why."""
    if by_reference(stamp):
        return f"the backend's own (resultsfw backends {stamp.backend}): it carries references"
    budget = budget_of(pod, stamp)
    if budget.each is not None:
        count = sum(budget.containers.values())
        kinds = " + ".join(show.counted(number, kind) for kind, number in budget.containers.items())
        share = (budget.pod or 0) // max(count, 1)
        return (
            f"{budget.container} bytes a container, {budget.pod} / {count} containers of this pod "
            f"({kinds}) = {share}: {budget.each} bytes each"
        )
    limit = stamp.max_result_size
    origin = "as the pod is stamped" if is_stamped(pod) else "as the flags given here say"
    return f"max-result-size {limit} bytes a result ({origin}), {OBJECT_BYTES} bytes the whole run"


def _usage(carrier: TransportUsage) -> str:
    budget = "" if carrier.budget is None else f" of {carrier.budget}"
    amount = f"{carrier.used}{budget} bytes"
    return f"{carrier.transport} of {carrier.container}: {amount}, {describe_contents(carrier)}"


def describe_contents(carrier: TransportUsage) -> str:
    """Return which results one container carried, and whether they are whole."""
    held = ", ".join(carrier.results) or "no results"
    cut = ", and was cut short there" if carrier.cut else ""
    written = "" if carrier.written is None else f", {carrier.written} bytes as written"
    return f"with {held}{written}{cut}"


def describe_trace(judged: Judged, trace: ResultTrace) -> Iterator[str]:
    """Yield sentences on a result: who can write it, what became of it, and who failed before."""
    yield _writers(trace)
    yield _what_happened(judged, trace)
    yield from _failed_writers(trace)


def _writers(trace: ResultTrace) -> str:
    if trace.source:
        return (
            f'taken from result {trace.source}: only Step "{trace.writers[0]}" can write it, to {trace.file}'
        )
    names = " and ".join(f'"{name}"' for name in trace.writers)
    if len(trace.writers) == 1:
        return f"only Step {names} can write it, to {trace.file}"
    return f"each of the Steps {names} can write it, to {trace.file}; the last one that does counts"


def _what_happened(judged: Judged, trace: ResultTrace) -> str:
    """Return a sentence on what became of a result."""
    carried = _carried(judged, trace)
    message = trace.problem.message if trace.problem else ""
    match trace.end:
        case End.ARRIVED:
            return f"{carried}: {show.counted(trace.size or 0, 'byte')}{_of_limit(judged)}"
        case End.ABSENT if trace.problem:
            return f"no Step wrote it: {message}"
        case End.ABSENT:
            return "no Step wrote it; a result that is absent does not fail the run"
        case End.PENDING:
            return "the run has not finished, and no results were read yet"
        case End.REFUSED:
            return _refused(trace.problem, carried)
        case End.LOST:
            return f"lost{_lost(trace, carried)}"
        case End.UNKNOWN if judged.offline.collected is None:
            return (
                "it is not in the status; if the run's message does not name it, nothing that can be read "
                "says whether a Step wrote it"
            )
        case End.UNKNOWN if trace.problem is None:
            return (
                "it did not arrive: the Step that failed did not write it, or its entrypoint (Tekton's) "
                "refused it as too large, which only that Step's log says"
            )
        case _:
            above = message in show.verdict_of(judged.offline.taskrun).message
            return f"lost, or never written: nothing tells which; {'see above' if above else message}"


def _lost(trace: ResultTrace, carried: str) -> str:
    """Return how a result was lost, as the end of a sentence."""
    if trace.problem is not None:
        return f": {trace.problem.message}"
    if trace.dropped_by:
        return (
            f', if a Step wrote it: the log of Step "{trace.dropped_by}" says that its entrypoint '
            f"(Tekton's) dropped its results, as they are too large for a termination message"
        )
    return f": it {carried}, and the controller did not write it into the status"


def _carried(judged: Judged, trace: ResultTrace) -> str:
    """Return how a result arrived, as the beginning of a sentence."""
    if trace.carried_by:
        return f"arrived in {_carriers(judged, trace)}"
    if judged.offline.collected is None:
        return "is in the status"
    return "arrived in nothing that was read"


def _refused(problem: Problem | None, carried: str) -> str:
    """Return a sentence on a result that is not allowed, or not proven."""
    if problem is None:
        return "refused: it does not fit into the run; see the message of the run above"
    if is_of_all_signatures(problem):
        return f"{carried}, and was withheld, as all results: see above"
    if problem.code in _WORDS:
        return f"{carried}, and was refused: {_WORDS[problem.code].format(problem.message)}"
    return f"refused: {problem.message}"


_WORDS: Final = {  # Tekton's messages for these are about the whole run
    ProblemCode.TYPE_MISMATCH: "{}",
    ProblemCode.MISSING_KEYS: "it lacks the keys {} that its properties name",
}


def _of_limit(judged: Judged) -> str:
    """Return the limit that a result kept, as the end of a sentence; "" where none is about its bytes."""
    stamp = judged.offline.stamp
    if stamp is None or judged.pod is None:
        return ""
    budget = budget_of(judged.pod, stamp)
    if budget.each is not None:
        return f" of the {budget.each} that a container may have"
    if by_reference(stamp):
        return ""
    return f" of the {stamp.max_result_size} that one result may have"


def by_reference(stamp: Stamp) -> bool:
    """Return whether the status holds references: then no limit of the status is about the values."""
    return _delivers_references(stamp.backend)


@lru_cache(32)  # a PipelineRun may have thousands of TaskRuns, and plugins are found in files
def _delivers_references(backend: str) -> bool:
    try:
        return load_backend(backend).capabilities.delivery == "reference"
    except BackendError:
        return False


def _carriers(judged: Judged, trace: ResultTrace) -> str:
    usages = judged.offline.collected.transports if judged.offline.collected else ()
    transports = {usage.container: usage.transport for usage in usages}
    return " and ".join(f'the {transports[name]} of container "{name}"' for name in trace.carried_by)


def _failed_writers(trace: ResultTrace) -> Iterator[str]:
    """Yield a sentence for each Step that may have failed before it wrote the result."""
    if trace.end is End.ARRIVED:
        return
    for step, code in trace.failed.items() if trace.problem or trace.end is End.ABSENT else ():
        yield f'Step "{step}" failed with exit code {code}, perhaps before it wrote the result'


def remaining(judged: Judged, traces: Sequence[ResultTrace]) -> Iterator[str]:
    """Yield what belongs to no declared result: other problems, and results that nothing declares."""
    collected = judged.offline.collected
    if collected is None:
        return
    traced = {id(trace.problem) for trace in traces}
    for problem in collected.problems:
        if id(problem) not in traced:
            yield f"also: {problem.message}"
    if collected.ignored:
        names = ", ".join(f'"{name}"' for name in collected.ignored)
        yield f"ignored, as nothing declares it: {names}"
