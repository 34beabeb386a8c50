"""Explain runs as data: the traces of a TaskRun's results, and of all TaskRuns of a PipelineRun."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from resultsfw.cli.files.inputs import Document
from resultsfw.cli.inspect.judged import Judged, judge
from resultsfw.cli.inspect.signatures import trace_signature
from resultsfw.cli.inspect.traces import End, ResultTrace, budget_of, trace_results
from resultsfw.cli.output import show
from resultsfw.cli.output.advice import MESSAGE_TOO_LONG, MESSAGES, Advice, advice_for, larger
from resultsfw.cli.sources.run_names import RunName
from resultsfw.cli.sources.source import LEVELS, Source, child_names
from resultsfw.cluster import Object
from resultsfw.core import ResultsManager
from resultsfw.tekton.api.kinds import TASKRUNS

__all__ = ["Explained", "PipelineResult", "advice_on_trace", "explain", "pipeline_results", "run_facts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What is known of a run.

    Attributes:
        run: The TaskRun or PipelineRun with its status.
        judged: What became of a TaskRun's results; ``None`` of a PipelineRun.
        traces: The trace of each result of a TaskRun.
        children: The TaskRuns and PipelineRuns of a PipelineRun.
        missing: Children that cannot be read, such as deleted ones.
    """

    run: Object
    judged: Judged | None = None
    traces: Sequence[ResultTrace] = ()
    children: Sequence["Explained"] = ()
    missing: Sequence[RunName] = ()


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """A result that a Pipeline declares.

    Attributes:
        name: As declared.
        source: The expression from which it is taken.
        size: Its bytes; ``None`` if it is not in the status.
    """

    name: str
    source: str
    size: int | None


def explain(run: Document, source: Source, core: ResultsManager, *, levels: int = LEVELS) -> Explained:
    """Read what belongs to a run and trace its results.

    Args:
        run: A TaskRun or a PipelineRun.
        source: Where the rest is read.
        core: The core with the flags in effect.
        levels: Levels of nested PipelineRuns that are followed.

    Raises:
        InputError: A TaskRun or its Pod is invalid.
        ClusterError: Something cannot be read.
    """
    if run.kind == TASKRUNS.kind:
        judged = judge(run, source, core)
        return Explained(run=judged.offline.taskrun, judged=judged, traces=trace_results(judged))
    children = source.children(run) if levels else []
    found = {(child.kind, child.obj["metadata"]["name"]) for child in children}
    return Explained(
        run=run.obj,
        children=[explain(child, source, core, levels=levels - 1) for child in children],
        missing=[name for name in child_names(run.obj) if (name.kinds[0].kind, name.name) not in found],
    )


def pipeline_results(pipelinerun: Mapping[str, Any]) -> Iterator[PipelineResult]:
    """Yield the results that a PipelineRun's Pipeline declares."""
    status = pipelinerun.get("status") or {}
    values = {result["name"]: result["value"] for result in status.get("results") or ()}
    for declared in (status.get("pipelineSpec") or {}).get("results") or ():
        name, source = declared["name"], declared.get("value")
        text = source if isinstance(source, str) else show.as_json(source).strip()
        yield PipelineResult(name, text, show.size_of(values[name]) if name in values else None)


def run_facts(explained: Explained) -> dict[str, Any]:
    """Return everything that is known of a run, for ``-o json``."""
    if explained.judged is not None:
        return _taskrun_facts(explained.judged, explained.traces)
    verdict = show.verdict_of(explained.run)
    return {
        "pipelinerun": explained.run["metadata"]["name"],
        "verdict": asdict(verdict),
        "finished": verdict.succeeded or verdict.failed,
        "results": [
            {**asdict(result), "end": str(End.ABSENT if result.size is None else End.ARRIVED)}
            for result in pipeline_results(explained.run)
        ],
        "missing": [name.label for name in explained.missing],
        "runs": [run_facts(child) for child in explained.children],
    }


def _taskrun_facts(judged: Judged, traces: Sequence[ResultTrace]) -> dict[str, Any]:
    offline = judged.offline
    metadata = offline.taskrun["metadata"]
    collected = offline.collected
    transports = collected.transports if collected else ()
    facts: dict[str, Any] = {
        "taskrun": metadata["name"],
        "verdict": asdict(show.verdict_of(offline.taskrun)),
        "finished": offline.finished,
        "note": judged.note,
    }
    if offline.stamp is not None:
        facts["transport"] = {
            "backend": offline.stamp.backend,
            "decidedBy": offline.how,
            "maxResultSize": offline.stamp.max_result_size,
            "budget": None if judged.pod is None else asdict(budget_of(judged.pod, offline.stamp)),
            "transports": [asdict(carrier) for carrier in transports],
        }
    if (signature := trace_signature(judged)) is not None:
        facts["signature"] = asdict(signature)
    facts["results"] = [
        {
            **asdict(trace),
            "problem": asdict(trace.problem) if trace.problem else None,
            "next": [advice.what for advice in advice_on_trace(judged, trace)],
        }
        for trace in traces
    ]
    facts["undeclared"] = list(collected.ignored) if collected else []
    facts["problems"] = [asdict(problem) for problem in collected.problems] if collected else []
    return facts


def advice_on_trace(judged: Judged, trace: ResultTrace) -> list[Advice]:
    """Return what to do about one result; empty if it arrived, or nothing is known to do."""
    stamp = judged.offline.stamp
    if stamp is None or trace.end in (End.ARRIVED, End.PENDING):
        return []
    if trace.dropped_by:
        return [larger(MESSAGES, 0)]
    if trace.problem is None:
        return _advice_on_dropped(trace) if trace.end is End.UNKNOWN else []
    return advice_for(trace.problem, stamp.backend)


def _advice_on_dropped(trace: ResultTrace) -> list[Advice]:
    """Return what to do where Tekton's entrypoint may have dropped a result that was too large."""
    step = next(iter(trace.failed), None)
    if step is None:
        return []
    hint = larger(MESSAGES, 0)
    return [
        Advice(
            f'read the end of the log of Step "{step}"; if it says "{MESSAGE_TOO_LONG}", {hint.what}',
            hint.commands,
        )
    ]
