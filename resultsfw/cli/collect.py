"""``resultsfw collect``: print a saved TaskRun with the status that the controller would write."""

from resultsfw.cli import show
from resultsfw.cli.advice import advice_on
from resultsfw.cli.saved import Saved, judge

__all__ = ["collect_saved"]


def collect_saved(saved: Saved, *, output: str) -> int:
    """Print the TaskRun and return the exit status.

    Raises:
        InputError: The files are refused.
    """
    offline = judge(saved).offline
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
