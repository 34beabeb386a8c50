"""Change the arguments of Tekton's entrypoint, which starts the Steps in Tekton's pods.

Public for backends.
"""

from collections.abc import Sequence
from typing import Final

from resultsfw.cluster import Object
from resultsfw.flags import DEFAULT_BACKEND
from resultsfw.pods import containers
from resultsfw.types import Run

__all__ = ["add_arguments", "remove_result_file_flags"]

_AFTER: Final = "-step_metadata_dir"
"""The flag behind whose value Tekton inserts flags about results."""

_RESULT_FROM: Final = "result_from"
_RESULT_FILES: Final = frozenset({"results", "step_results"})
"""Flags that name result files."""

_SWITCHES: Final = frozenset(
    {"breakpoint_on_failure", "debug_before_step", "enable_spire", "wait_file_content"}
)
"""Flags without a value (boolean flags of Go's flag package)."""


def add_arguments(run: Run, pod: Object, arguments: Sequence[str]) -> None:
    """Insert arguments of Tekton's entrypoint into every Step's container, where Tekton puts them.

    Containers that are not started by the entrypoint (an embedder's own pod) are not changed.
    """
    by_name = containers(pod)
    for step in run.steps:
        given: list[str] = by_name[step.container].get("args") or []
        if _AFTER in given:
            place = given.index(_AFTER) + 2
            by_name[step.container]["args"] = [*given[:place], *arguments, *given[place:]]


def remove_result_file_flags(arguments: Sequence[str]) -> list[str]:
    """Return a Step's arguments without result files, if results do not use the termination message.

    Tekton's entrypoint opens every file that ``-results`` and ``-step_results`` name, whatever
    ``-result_from`` says and after it has written its ``out`` file (readResultsFromDisk in
    pkg/entrypoint/entrypointer.go). Opening a FIFO blocks for ever. Without these flags it opens none.
    """
    kept: list[str] = []
    diverted = False
    place = 0
    while place < len(arguments):
        argument = arguments[place]
        flag, equals, value = argument.lstrip("-").partition("=")
        if flag == "entrypoint" or argument == "--" or not argument.startswith("-"):
            break  # the Step's own command follows
        width = 1 if equals or flag in _SWITCHES else 2
        if flag == _RESULT_FROM:
            diverted = (value if equals else "".join(arguments[place + 1 : place + 2])) != DEFAULT_BACKEND
        if flag not in _RESULT_FILES:
            kept += arguments[place : place + width]
        place += width
    return [*kept, *arguments[place:]] if diverted else list(arguments)
