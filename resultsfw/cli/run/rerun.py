"""Build the command that repeats ``resultsfw run`` as it was typed, with other feature flags."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Protocol

from resultsfw.cli.files.settings import Given
from resultsfw.cli.output.advice import CommandBuilder

__all__ = ["rerun_command"]


class Typed(Protocol):
    """What of the typed command is repeated; see `resultsfw.cli.run.run_files.RunRequest`."""

    @property
    def files(self) -> Sequence[str]: ...
    @property
    def recursive(self) -> bool: ...
    @property
    def params(self) -> Sequence[str]: ...
    @property
    def workspaces(self) -> Sequence[str]: ...
    @property
    def flags(self) -> Given: ...
    @property
    def resolvers(self) -> Sequence[str]: ...


def rerun_command(typed: Typed) -> CommandBuilder:
    """Return a function that builds the command that was typed, with other flags."""
    options_typed = {
        "results-from": typed.flags.results_from,
        "max-result-size": typed.flags.max_result_size,
        "feature-flags": typed.flags.file,
    }

    def command(flags: Mapping[str, str]) -> str:
        words = ["resultsfw", "run", *typed.files, *(["-R"] if typed.recursive else [])]
        for option, values in (
            ("-p", typed.params),
            ("-w", typed.workspaces),
            ("--resolver", typed.resolvers),
        ):
            words += [word for value in values for word in (option, value)]
        options = {**options_typed, **flags}
        words += [word for key, value in options.items() if value for word in (f"--{key}", value)]
        return shlex.join(words)

    return command
