"""A finished PipelineRun as a person reads it: its Tasks in a tree, what flowed, its results."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from resultsfw.cli import show
from resultsfw.cluster import Object
from resultsfw.tekton.pipelinerun.child_statuses import children_in

__all__ = ["print_pipelinerun"]


def print_pipelinerun(out: Console, run: Mapping[str, Any], children: Sequence[Object]) -> None:
    """Its verdict, each Task with its results, who was left out and why, and the run's own results."""
    verdict = show.verdict_of(run)
    line = Text.assemble((show.plain(run["metadata"]["name"]), "bold"), " ", (verdict.word, verdict.style))
    if verdict.reason and verdict.reason.lower() != verdict.word:
        line.append(f" {show.plain(verdict.reason)}")
    out.print(line, soft_wrap=True)
    show.print_text(out, verdict.message)
    status = run["status"]
    for text in show.columns(out.width, ("task", "", "results"), list(_tasks(status, children))):
        out.print(text, soft_wrap=True)
    if results := status.get("results"):
        rows = [
            (show.plain(one["name"]), str(show.size_of(one["value"])), show.shortened(one["value"], 48))
            for one in results
        ]
        for text in show.columns(out.width, ("result", "bytes", "value"), rows, right={1}):
            out.print(text, soft_wrap=True)


def _tasks(status: Mapping[str, Any], children: Sequence[Object]) -> Iterator[tuple[str, str, str]]:
    runs = {one["metadata"]["name"]: one for one in children}
    for child in children_in(status):
        run = runs[child["name"]]
        verdict = show.verdict_of(run)
        word = verdict.word if verdict.succeeded or not verdict.reason else verdict.reason
        flowed = ", ".join(
            f"{one['name']} ({show.counted(show.size_of(one['value']), 'byte')})"
            for one in run["status"].get("results") or ()
        )
        yield show.plain(child["pipelineTaskName"]), show.plain(word), show.plain(flowed)
    for one in status.get("skippedTasks") or ():
        yield show.plain(one["name"]), "skipped", show.plain(one["reason"])
