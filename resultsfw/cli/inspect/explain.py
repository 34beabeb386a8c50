"""``resultsfw explain``: print the trace of each declared result of a TaskRun or PipelineRun."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from resultsfw.cli.inspect.explain_sentences import (
    advice_on_run,
    describe_trace,
    describe_transport,
    remaining,
    why_nothing_is_known,
)
from resultsfw.cli.inspect.explained import Explained, explain, run_facts
from resultsfw.cli.inspect.explained_pipelines import print_summary
from resultsfw.cli.inspect.judged import Judged
from resultsfw.cli.inspect.traces import End, ResultTrace
from resultsfw.cli.output import show
from resultsfw.cli.output.advice import without_hints
from resultsfw.cli.sources.opening import core_for
from resultsfw.cli.sources.run_names import RunName
from resultsfw.cli.sources.source import Source

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
    if output in {"json", "yaml"}:
        facts = [run_facts(run) for run in explained]
        show.write(show.as_data(facts[0] if len(facts) == 1 else {"runs": facts}, output))
    elif output == "html":
        from resultsfw.cli.inspect.explain_html import page  # noqa: PLC0415 - what only a page needs

        show.write(page(explained))
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
    if why := why_nothing_is_known(judged):
        show.print_text(out, why)
        return
    if judged.note:
        show.print_text(out, f"note: {judged.note}", hanging=show.INDENT)
    if not traces:
        show.print_text(out, "it declares no results")
    for line in describe_transport(judged) if traces else ():
        show.print_text(out, line, hanging=show.INDENT)
    for trace in traces:
        _print_trace(out, judged, trace)
    for line in remaining(judged, traces):
        show.print_text(out, line, hanging=show.INDENT)
    show.print_advice(out, advice_on_run(judged, traces))


def _print_trace(out: Console, judged: Judged, trace: ResultTrace) -> None:
    whose = f' of Step "{trace.step}"' if trace.step else ""
    head = Text.assemble("\n", (f"{show.plain(trace.name)}{whose}", "bold"), f" ({trace.type}): ")
    head.append(str(trace.end), style=_STYLES.get(trace.end, "bold red"))
    out.print(head, soft_wrap=True)
    for line in describe_trace(judged, trace):
        show.print_text(out, line, hanging=show.INDENT)
