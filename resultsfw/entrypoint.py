"""Change the arguments of Tekton's entrypoint, which starts the Steps in Tekton's pods."""

from collections.abc import Sequence
from typing import Final

from resultsfw.flags import DEFAULT_BACKEND

__all__ = ["remove_result_file_flags"]

_RESULT_FROM: Final = "result_from"
_RESULT_FILES: Final = frozenset({"results", "step_results"})
"""Flags that name result files."""

_SWITCHES: Final = frozenset({"breakpoint_on_failure", "debug_before_step", "wait_file_content"})
"""Flags without a value (boolean flags of Go's flag package)."""


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
