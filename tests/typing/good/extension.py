"""Write observers, as a class and as functions."""

from resultsfw import CollectionOutcome, Problem, Run, hookimpl


class Observer:
    """Count results."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    @hookimpl
    def results_collected(self, run: Run, collected: CollectionOutcome) -> None:
        """Store the count of a run."""
        self.seen[run.name] = len(collected.results)


@hookimpl(trylast=True)
def collection_failed(run: Run, problems: tuple[Problem, ...]) -> None:
    """Print the codes."""
    print(run.uid, *(problem.code.value for problem in problems))
