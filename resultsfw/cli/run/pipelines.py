"""Print a finished PipelineRun: its Tasks with the results they passed on, and its own results."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from resultsfw.cli.output import show
from resultsfw.cluster import Object
from resultsfw.tekton.pipelinerun.child_statuses import children_of

__all__ = ["print_pipelinerun"]


def print_pipelinerun(
    out: Console, run: Mapping[str, Any], children: Sequence[Object], after: str = ""
) -> None:
    """Print the verdict, each Task with its results, skipped Tasks with the reason, and the run's results."""
    out.print(show.verdict_line(run, after), soft_wrap=True)
    show.print_text(out, show.verdict_of(run).message)
    status = run["status"]
    for text in show.columns(out.width, ("task", "", "results"), list(_tasks(status, children))):
        out.print(text, soft_wrap=True)
    if results := status.get("results"):
        rows = [
            (
                show.plain(result["name"]),
                str(show.size_of(result["value"])),
                show.shortened(result["value"], 48),
            )
            for result in results
        ]
        for text in show.columns(out.width, ("result", "bytes", "value"), rows, right={1}):
            out.print(text, soft_wrap=True)


def _tasks(status: Mapping[str, Any], children: Sequence[Object]) -> Iterator[tuple[str, str, str]]:
    taskruns = {taskrun["metadata"]["name"]: taskrun for taskrun in children}
    references = children_of(status)
    counts = Counter(child["pipelineTaskName"] for child in references)
    for child in references:
        name = child["pipelineTaskName"]
        if counts[name] > 1:  # of a matrix
            name = f"{name}-{child['name'].rpartition('-')[2]}"
            name = f"{name} ({child['displayName']})" if child.get("displayName") else name
        taskrun = taskruns[child["name"]]
        verdict = show.verdict_of(taskrun)
        word = verdict.word if verdict.succeeded or not verdict.reason else verdict.reason
        results = ", ".join(
            f"{result['name']} ({show.counted(show.size_of(result['value']), 'byte')})"
            for result in taskrun["status"].get("results") or ()
        )
        yield show.plain(name), show.plain(word), show.plain(results)
    for skipped in status.get("skippedTasks") or ():
        yield show.plain(skipped["name"]), "skipped", show.plain(skipped["reason"])
