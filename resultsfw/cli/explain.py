"""``resultsfw explain``: print the trace of each declared result of a TaskRun or PipelineRun."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from resultsfw.cli import show
from resultsfw.cli.advice import Advice, advice_on, without_hints
from resultsfw.cli.explained import Explained, advice_on_trace, explain, run_facts
from resultsfw.cli.explained_pipelines import print_summary
from resultsfw.cli.judged import Judged, is_stamped
from resultsfw.cli.run_names import RunName
from resultsfw.cli.signatures import describe_signature, trace_signature
from resultsfw.cli.sources import Source, core_for
from resultsfw.cli.traces import (
    Budget,
    End,
    ResultTrace,
    budget_of,
    is_of_all_signatures,
)
from resultsfw.errors import BackendError
from resultsfw.limits import OBJECT_BYTES
from resultsfw.plugins import load_backend
from resultsfw.tekton.api import reasons
from resultsfw.types import Problem, ProblemCode, Stamp, TransportUsage

__all__ = ["explain_runs", "print_explained"]

_STYLES: Final = {
    End.ARRIVED: "bold green",
    End.ABSENT: "bold yellow",
    End.PENDING: "bold yellow",
}


def explain_runs(names: Sequence[RunName], source: Source, *, output: str) -> int:
    """Print the traces of the runs and return the exit status: 0 if all of them succeeded.

    Raises:
        InputError: The runs cannot be explained, or the names do not fit.
        ClusterError: They cannot be read.
    """
    runs = source.find(names)
    with core_for(source, show.print_note) as core:
        explained = [explain(run, source, core) for run in runs]
    if output == "json":
        facts = [run_facts(run) for run in explained]
        show.write(show.as_json(facts[0] if len(facts) == 1 else {"runs": facts}))
    else:
        out = show.console()
        for index, run in enumerate(explained):
            if index:
                out.print()
            print_explained(out, run)
    return 0 if all(show.verdict_of(run.run).succeeded for run in explained) else 1


def print_explained(out: Console, explained: Explained) -> None:
    """Print the traces of a TaskRun, or of all TaskRuns of a PipelineRun below a summary."""
    if explained.judged is not None:
        _print(out, explained.judged, explained.traces)
        return
    print_summary(out, explained)
    for child in explained.children:
        out.print()
        print_explained(out, child)


def _print(out: Console, judged: Judged, traces: Sequence[ResultTrace]) -> None:
    offline = judged.offline
    verdict = show.verdict_of(offline.taskrun)
    name = show.plain(offline.taskrun["metadata"]["name"])
    reason = f" {verdict.reason}" if verdict.failed else ""
    out.print(Text.assemble((name, "bold"), " ", (verdict.word, verdict.style), show.plain(reason)))
    if not verdict.succeeded and verdict.message:
        show.print_text(out, without_hints(offline.taskrun, offline.collected))
    if offline.run is None:
        why = judged.note or (
            "it was refused before a pod was created, so no Step wrote a result"
            if offline.finished
            else "no controller has read its Task yet, so nothing is known of its results"
        )
        show.print_text(out, why)
        return
    if judged.note:
        show.print_text(out, f"note: {judged.note}", hanging=show.INDENT)
    if not traces:
        show.print_text(out, "it declares no results")
    for line in _transport(judged) if traces else ():
        show.print_text(out, line, hanging=show.INDENT)
    for trace in traces:
        _print_trace(out, judged, trace)
    for line in _rest(judged, traces):
        show.print_text(out, line, hanging=show.INDENT)
    show.print_advice(out, _all_advice(judged, traces))


def _all_advice(judged: Judged, traces: Sequence[ResultTrace]) -> list[Advice]:
    """Return the advice on all results; where it is not known what became of them, that on the run."""
    offline = judged.offline
    verdict = show.verdict_of(offline.taskrun)
    if offline.collected is None and verdict.failed:
        known = advice_on(offline.taskrun)  # of a size that nobody knows, the message says more
        return [advice for advice in known if advice.commands or verdict.reason != reasons.TOO_LARGE]
    return list(dict.fromkeys(advice for trace in traces for advice in advice_on_trace(judged, trace)))


def _transport(judged: Judged) -> Iterator[str]:
    """Yield what carried the results of this pod, and how much it may carry."""
    offline = judged.offline
    if offline.stamp is None:
        return
    yield f"transport: {offline.stamp.backend}, because {offline.how}"
    if judged.pod is None:
        return
    if _by_reference(offline.stamp):
        yield f"budget: the backend's own (resultsfw backends {offline.stamp.backend}): it carries references"
    else:
        budget = budget_of(judged.pod, offline.stamp)
        yield f"budget: {_budget(budget, offline.stamp.max_result_size, stamped=is_stamped(judged.pod))}"
    for carrier in offline.collected.transports if offline.collected else ():
        yield _carrier(carrier)
    if (signature := trace_signature(judged)) is not None:
        yield describe_signature(signature, above=show.verdict_of(offline.taskrun).message)


def _budget(budget: Budget, limit: int, *, stamped: bool) -> str:
    if budget.each is not None:
        count = sum(budget.containers.values())
        kinds = " + ".join(show.counted(number, kind) for kind, number in budget.containers.items())
        share = (budget.pod or 0) // max(count, 1)
        return (
            f"{budget.container} bytes a container, {budget.pod} / {count} containers of this pod "
            f"({kinds}) = {share}: {budget.each} bytes each"
        )
    origin = "as the pod is stamped" if stamped else "as the flags given here say"
    return f"max-result-size {limit} bytes a result ({origin}), {OBJECT_BYTES} bytes the whole run"


def _carrier(carrier: TransportUsage) -> str:
    budget = "" if carrier.budget is None else f" of {carrier.budget}"
    held = ", ".join(carrier.results) or "no results"
    cut = ", and was cut short there" if carrier.cut else ""
    written = "" if carrier.written is None else f", {carrier.written} bytes as written"
    return (
        f"{carrier.transport} of {carrier.container}: {carrier.used}{budget} bytes, with {held}{written}{cut}"
    )


def _print_trace(out: Console, judged: Judged, trace: ResultTrace) -> None:
    whose = f' of Step "{trace.step}"' if trace.step else ""
    head = Text.assemble("\n", (f"{show.plain(trace.name)}{whose}", "bold"), f" ({trace.type}): ")
    head.append(str(trace.end), style=_STYLES.get(trace.end, "bold red"))
    out.print(head, soft_wrap=True)
    for line in (_writers(trace), _what_happened(judged, trace), *_failed_writers(trace)):
        show.print_text(out, line, hanging=show.INDENT)


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
        case End.LOST if trace.problem is None:
            return f"lost: it {carried}, and the controller did not write it into the status"
        case End.LOST:
            return f"lost: {message}"
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
    if _by_reference(stamp):
        return ""
    return f" of the {stamp.max_result_size} that one result may have"


def _by_reference(stamp: Stamp) -> bool:
    """Return whether the status holds references: then no limit of the status is about the values."""
    try:
        return load_backend(stamp.backend).capabilities.delivery == "reference"
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


def _rest(judged: Judged, traces: Sequence[ResultTrace]) -> Iterator[str]:
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
