"""Add arguments of Tekton's entrypoint to the containers of Steps."""

from collections.abc import Sequence

from resultsfw import Object, Run
from resultsfw.pods import containers

__all__ = ["add_arguments"]


def add_arguments(run: Run, pod: Object, arguments: Sequence[str]) -> None:
    """Insert arguments of Tekton's entrypoint into every Step's container, where Tekton puts them.

    Containers that are not started by the entrypoint (an embedder's own pod) are not changed.
    """
    by_name = containers(pod)
    for step in run.steps:
        given: list[str] = by_name[step.container].get("args") or []
        if "-step_metadata_dir" in given:
            place = given.index("-step_metadata_dir") + 2
            by_name[step.container]["args"] = [*given[:place], *arguments, *given[place:]]
