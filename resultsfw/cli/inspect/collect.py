"""``resultsfw collect``: print a saved TaskRun with the status that the controller would write."""

from collections.abc import Sequence

from resultsfw.cli.inspect.judged import judge_again
from resultsfw.cli.output import show
from resultsfw.cli.output.advice import advice_on
from resultsfw.cli.sources.opening import core_for
from resultsfw.cli.sources.run_names import RunName
from resultsfw.cli.sources.source import Source
from resultsfw.errors import InputError
from resultsfw.tekton.api.kinds import TASKRUNS

__all__ = ["collect_saved"]


def collect_saved(names: Sequence[RunName], source: Source, *, output: str) -> int:
    """Print the TaskRun and return the exit status.

    Raises:
        InputError: The files are refused.
    """
    runs = source.find(names)
    for run in runs:
        if run.kind != TASKRUNS.kind:
            raise run.refuse(
                "is a PipelineRun, and collect computes the status of a TaskRun: name one of its"
            )
    if len(runs) > 1:
        raise InputError("collect takes one TaskRun", subject=runs[1].label)
    with core_for(source, show.print_note) as core:
        offline = judge_again(runs[0], source, core).offline
    verdict = show.verdict_of(offline.taskrun)
    if output == "json":
        show.write(show.as_json(offline.taskrun))
    elif output == "yaml":
        show.write(show.as_yaml(offline.taskrun))
    else:
        out = show.console()
        show.print_taskrun(out, offline.taskrun, offline.collected)
        if verdict.status == "False":
            show.print_advice(out, advice_on(offline.taskrun, offline.collected))
    return 0 if offline.finished and verdict.succeeded else 1
