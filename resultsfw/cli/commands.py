"""The command line as a whole: the group of commands, its exit statuses, and how errors are printed."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Final

import click

from resultsfw.cli import (
    cluster_commands,
    completion,
    inspect_commands,
    plugin_commands,
    program_commands,
    run_command,
)
from resultsfw.cli.output import terminal
from resultsfw.cli.output.printable import plain
from resultsfw.errors import ClusterError, ResultsError

__all__ = [
    "DEBUG",
    "FAILED",
    "INTERNAL",
    "INTERRUPTED",
    "REFUSED",
    "kubectl_complete_main",
    "kubectl_main",
    "main",
    "resultsfw",
]

FAILED: Final = 1
REFUSED: Final = 2
INTERNAL: Final = 3
INTERRUPTED: Final = 128 + signal.SIGINT

DEBUG: Final = "RESULTSFW_DEBUG"
"""Environment variable: if it is 1, errors are printed with their traceback, and debug messages too."""


def main(argv: Sequence[str] | None = None, *, program: str = "resultsfw") -> int:
    """Run the command line and return its exit status. Errors are one line on standard error.

    Args:
        argv: Arguments; ``None``: those of the process.
        program: How the user calls the program, for messages.
    """
    debug = os.environ.get(DEBUG, "") not in ("", "0")
    _log_to_stderr(debug=debug)
    if isinstance(sys.stdout, TextIOWrapper):  # the locale may lack a character that a table has
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = resultsfw.main(args=argv, prog_name=program, standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        return _refused(error.format_message(), error, program)
    except ResultsError as error:
        if debug:
            logging.getLogger(__name__).exception("traceback")
        _print_error(error.message, error.subject)
        return FAILED if isinstance(error, ClusterError) else REFUSED
    except Exception as error:
        if debug:
            raise
        _print_error(
            f"a fault of resultsfw itself: {type(error).__name__}: {error}; "
            f"please report it with the output of {DEBUG}=1",
        )
        return INTERNAL
    return int(status or 0)


def kubectl_main() -> int:
    """Run ``kubectl-results``, which kubectl calls for ``kubectl results``."""
    return main(program="kubectl results")


def kubectl_complete_main() -> int:
    """Run ``kubectl_complete-results``, which kubectl calls to complete ``kubectl results``."""
    click.echo(completion.kubectl_complete(resultsfw, sys.argv[1:]), nl=False)
    return 0


def _refused(message: str, error: click.ClickException, program: str) -> int:
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(message, err=True)
        return REFUSED
    command = context.command_path if context else program
    _print_error(f"{message.rstrip('.')}; see {command} --help")
    return REFUSED


def _print_error(message: str, subject: str = "") -> None:
    """Print an error on one line; the subject comes first where the message does not name it."""
    line = " ".join(message.split("\n"))
    named = line if subject in line else f"{subject}: {line}"
    click.echo(f"error: {plain(named)}", err=True)


class _Handler(logging.Handler):
    """Print log records on standard error as it is at the moment: the progress display redirects it."""

    def emit(self, record: logging.LogRecord) -> None:
        rows = [f"{record.levelname.lower()}: {plain(record.getMessage())}"]
        # A plugin's own failure is an error: its author looks here for the place.
        if record.exc_info and (record.levelno >= logging.ERROR or _is_debugging()):
            rows += map(plain, logging.Formatter().formatException(record.exc_info).split("\n"))
        # At once, or the lines of other threads would be among those of a traceback.
        click.echo("\n".join(rows), err=True)


def _is_debugging() -> bool:
    return logging.getLogger("resultsfw").isEnabledFor(logging.DEBUG)


def _log_to_stderr(*, debug: bool) -> None:
    logger = logging.getLogger("resultsfw")
    logger.handlers = [_Handler()]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"With {DEBUG}=1 in the environment, errors are printed with their traceback.",
)
@click.version_option(package_name="resultsfw", prog_name="resultsfw", message="%(prog)s %(version)s")
def resultsfw() -> None:
    """Carry the results of a Task's Steps into the TaskRun's status: complete, or refused with a reason."""


_SERVERS: Final = (cluster_commands.controller, cluster_commands.results_server)
"""Commands whose output is a log."""

for _command in (
    *(run_command.run, inspect_commands.list_, inspect_commands.explain, inspect_commands.value),
    *(inspect_commands.verify, inspect_commands.collect),
    *(plugin_commands.backends, plugin_commands.new_backend, plugin_commands.new_extension),
    *(cluster_commands.controller, cluster_commands.doctor, cluster_commands.install),
    cluster_commands.results_server,
    *(program_commands.completion, program_commands.version),
):
    resultsfw.add_command(completion.add_completions(_command))
    if _command not in _SERVERS:
        terminal.add_options(_command)
terminal.add_options(resultsfw)
