"""An extension: an observer as a class and one as functions."""

from resultsfw import CollectionOutcome, Problem, Run, hookimpl


class Observer:
    """Counts."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    @hookimpl
    def results_collected(self, run: Run, collected: CollectionOutcome) -> None:
        """One more."""
        self.seen[run.name] = len(collected.results)


@hookimpl(trylast=True)
def collection_failed(run: Run, problems: tuple[Problem, ...]) -> None:
    """Say so."""
    print(run.uid, *(one.code.value for one in problems))
