"""Options that every command has: ``--color`` and ``--quiet``, and what they mean for output."""

import logging
import os
from typing import Any, Final, Literal

import click

__all__ = ["Color", "add_options", "color", "is_quiet"]

Color = Literal["auto", "always", "never"]

_COLOR: Final = "resultsfw.color"
_QUIET: Final = "resultsfw.quiet"


def add_options(command: click.Command) -> click.Command:
    """Add the options to a command, last in its help. Given twice, the one after the command counts."""
    command.params += [
        click.Option(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            expose_value=False,
            callback=_remember(_COLOR),
            help="Color the output.  [default: auto: on a terminal, unless NO_COLOR is set]",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            default=None,
            expose_value=False,
            callback=_remember(_QUIET),
            help="Print only what was asked for, and errors: no progress, notes or warnings.",
        ),
    ]
    return command


def _remember(key: str) -> Any:
    """Return a callback that keeps an option's value for all commands of this call (`click.Context.meta`)."""

    def callback(context: click.Context, _option: click.Parameter, value: object) -> None:
        if value is not None:
            context.meta[key] = value
            if key == _QUIET and value:
                logging.getLogger("resultsfw").setLevel(logging.ERROR)

    return callback


def color() -> Color:
    """Return when to color output: as the option says, or the environment (no-color.org, force-color.org)."""
    if (given := _meta(_COLOR)) is not None:
        return given  # type: ignore[no-any-return] # one of the option's choices
    if os.environ.get("NO_COLOR"):
        return "never"
    return "always" if os.environ.get("FORCE_COLOR") else "auto"


def is_quiet() -> bool:
    """Return whether only errors and what was asked for are printed."""
    return bool(_meta(_QUIET))


def _meta(key: str) -> Any:
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(key)
