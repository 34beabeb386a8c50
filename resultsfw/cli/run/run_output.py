"""Print finished runs: as a table for people, or as a List that every other command reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from resultsfw.cli.output import show
from resultsfw.cli.output.advice import CommandBuilder, advice_on
from resultsfw.cli.run.pipelines import print_pipelinerun
from resultsfw.cli.run.progress import Timing
from resultsfw.cluster import Object
from resultsfw.types import CollectionOutcome

__all__ = ["Ended", "print_ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that has finished.

    Attributes:
        run: With its status.
        timing: How long it and its Steps took.
        children: The TaskRuns and child PipelineRuns of a PipelineRun.
        pod: The Pod of a TaskRun, where it is to be printed.
        collected: The verdict over the results of a TaskRun.
        failed_step: Name of the Step that failed a TaskRun; empty if none did, or its log was printed.
        log: Lines of that Step's log.
        hint: What its log says of this machine; empty if nothing that is known.
    """

    run: Object
    timing: Timing = field(default_factory=Timing)
    children: Sequence["Ended"] = ()
    pod: Object | None = None
    collected: CollectionOutcome | None = None
    failed_step: str = ""
    log: Sequence[str] = ()
    hint: str = ""

    @property
    def objects(self) -> Iterator[Object]:
        """Yield the run, its Pod, and below a PipelineRun all that it made."""
        yield self.run
        if self.pod is not None:
            yield self.pod
        for child in self.children:
            yield from child.objects


def print_ended(runs: Sequence[Ended], output: str, rerun: CommandBuilder) -> None:
    """Print finished runs.

    Args:
        runs: In the order of the files.
        output: ``table``, ``json``, ``yaml`` or ``name``.
        rerun: Builds the command that repeats the runs with other flags.
    """
    objects = [obj for ended in runs for obj in ended.objects]
    if output in ("json", "yaml"):
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        show.write(show.as_json(listed) if output == "json" else show.as_yaml(listed))
        return
    if output == "name":
        show.write("".join(f"{_name(obj)}\n" for obj in objects))
        return
    out = show.console()
    for index, ended in enumerate(runs):
        if index:
            out.print()
        _print_run(out, ended, rerun)


def _name(obj: Object) -> str:
    """Return the name of an object as ``kubectl -o name`` prints it."""
    group = str(obj["apiVersion"]).rpartition("/")[0]
    kind = str(obj["kind"]).lower()
    return f"{kind}.{group}/{obj['metadata']['name']}" if group else f"{kind}/{obj['metadata']['name']}"


def _print_run(out: Console, ended: Ended, rerun: CommandBuilder) -> None:
    """Print a run; of a PipelineRun also its TaskRuns that failed, and its child PipelineRuns."""
    if not ended.children:
        _print_taskrun(out, ended, rerun)
        return
    print_pipelinerun(out, ended.run, [child.run for child in ended.children], _took(ended))
    for child in ended.children:
        if child.children:
            out.print()
            _print_run(out, child, rerun)
        elif not show.verdict_of(child.run).succeeded:
            out.print()
            _print_taskrun(out, child, rerun)


def _print_taskrun(out: Console, ended: Ended, rerun: CommandBuilder) -> None:
    show.print_taskrun(out, ended.run, ended.collected, after=_took(ended), below=_steps(ended))
    if ended.log:
        show.print_text(out, f'log of Step "{ended.failed_step}":')
        for line in ended.log:
            out.print(Text(f"    {line}", style="dim"), soft_wrap=True)
    if ended.hint:
        show.print_text(out, f"note: {ended.hint}", hanging=show.INDENT, style="bold")
    if not show.verdict_of(ended.run).succeeded:
        show.print_advice(out, advice_on(ended.run, ended.collected, rerun=rerun))


def _took(ended: Ended) -> str:
    return "" if ended.timing.seconds is None else f"({ended.timing.seconds:.1f} s)"


def _steps(ended: Ended) -> str:
    """Return a line on how the Steps ended; empty if no Step ran."""
    steps = ended.timing.steps
    if not steps:
        return ""
    shown = [
        f"{name} {state}" + ("" if seconds is None else f" ({seconds:.1f} s)")
        for name, state, seconds in steps
    ]
    return f"steps: {'; '.join(shown)}"
