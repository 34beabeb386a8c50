"""Print the summary of an explained PipelineRun: a line for each of its runs, and its own results."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from resultsfw.cli.inspect.explained import Explained, pipeline_results
from resultsfw.cli.inspect.traces import End
from resultsfw.cli.output import show
from resultsfw.tekton.pipelinerun.child_statuses import children_of

__all__ = ["print_summary"]


def print_summary(out: Console, explained: Explained) -> None:
    """Print a PipelineRun's verdict, a line for each run that it made, and where its results come from."""
    verdict = show.verdict_of(explained.run)
    line = Text.assemble(
        (show.plain(explained.run["metadata"]["name"]), "bold"), " ", (verdict.word, verdict.style)
    )
    if verdict.reason_beside_word:
        line.append(f" {show.plain(verdict.reason_beside_word)}")
    out.print(line, soft_wrap=True)
    if verdict.message:
        show.print_text(out, verdict.message)
    rows = list(_rows(explained))
    if rows:
        for text in show.columns(out.width, ("task", "run", "", "results"), rows):
            out.print(text, soft_wrap=True)
    for result in pipeline_results(explained.run):
        end = "absent" if result.size is None else show.counted(result.size, "byte")
        show.print_text(out, f"result {result.name}: {end}, from {result.source}", hanging=show.INDENT)
    for name in explained.missing:
        show.print_text(out, f"{name.label} cannot be read: it was deleted, or is not in the files")


def _rows(explained: Explained) -> Iterator[tuple[str, str, str, str]]:
    status = explained.run.get("status") or {}
    tasks = {child.get("name"): child.get("pipelineTaskName", "") for child in children_of(status)}
    for child in explained.children:
        name = child.run["metadata"]["name"]
        verdict = show.verdict_of(child.run)
        word = verdict.word if verdict.succeeded or not verdict.reason else verdict.reason
        yield show.plain(tasks.get(name, "")), show.plain(name), show.plain(word), show.plain(_results(child))
    for skipped in status.get("skippedTasks") or ():
        yield show.plain(skipped["name"]), "-", "skipped", show.plain(skipped.get("reason", ""))


def _results(child: Explained) -> str:
    if child.judged is None:
        results = list(pipeline_results(child.run))
        sizes = [result.size for result in results if result.size is not None]
        return _summary(len(sizes), len(results), sum(sizes), "")
    arrived = [trace for trace in child.traces if trace.end is End.ARRIVED]
    others = ", ".join(
        f"{trace.name} {trace.end}" for trace in child.traces if trace.end not in (End.ARRIVED, End.PENDING)
    )
    return _summary(len(arrived), len(child.traces), sum(trace.size or 0 for trace in arrived), others)


def _summary(arrived: int, declared: int, size: int, others: str) -> str:
    if not declared:
        return "none declared"
    rest = f"; {others}" if others else ""
    return f"{arrived} of {declared} arrived, {show.counted(size, 'byte')}{rest}"
