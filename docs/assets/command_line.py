"""Write the reference of the command line from the commands themselves."""

import re
from collections.abc import Iterator

import click

from resultsfw.cli.commands import resultsfw

SHARED = ("--color", "--quiet", "--help")
"""Options of every command, which are described once."""


def pages() -> str:
    """Return a list of the commands, the options of all, and a section for each in alphabetical order."""
    context = click.Context(resultsfw, info_name="resultsfw")
    commands = [(name, item) for name, item in sorted(resultsfw.commands.items()) if not item.hidden]
    parts = ["| command | purpose |", "|---|---|"]
    parts += [f"| [{name}](#{name}) | {cell(item.get_short_help_str(200))} |" for name, item in commands]
    parts += ["", "## Options of every command", *options(resultsfw, context, shared=True)]
    for name, command in commands:
        parts += section(command, click.Context(command, info_name=name, parent=context))
    return "\n".join(parts) + "\n"


def section(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the lines about one command: how it is called, what it does, its options."""
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from (
        "",
        f"## {context.info_name}",
        "",
        "```",
        usage,
        "```",
        "",
        paragraphs(command.help or ""),
        "",
    )
    yield from options(command, context, shared=False)
    if command.epilog:
        yield from ("", paragraphs(command.epilog))


def options(command: click.Command, context: click.Context, *, shared: bool) -> Iterator[str]:
    """Yield a table of a command's options: those of every command, or its own."""
    yield from ("", "| option | meaning |", "|---|---|")
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if (
            isinstance(param, click.Option)
            and record
            and any(name in param.opts for name in SHARED) is shared
        ):
            yield f"| {' '.join(f'`{name}`' for name in record[0].split(', '))} | {cell(record[1])} |"


def cell(text: str) -> str:
    """Return a text for one cell of a table."""
    return re.sub(r"([][|<*_])", r"\\\1", " ".join(text.split()))


def paragraphs(text: str) -> str:
    """Return the help of a command as Markdown; what click prints as it stands becomes a block of code."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines()]
        if lines[0] == "\b":
            blocks.append("\n".join(["```", *(line for line in lines[1:]), "```"]))
        else:
            blocks.append(" ".join(lines).replace("<", "\\<"))
    return "\n\n".join(blocks)
