"""Completion: the script of ``resultsfw completion``, what values may be, and kubectl's protocol."""

import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from itertools import islice
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem as Item
from click.shell_completion import ShellComplete, get_completion_class

if TYPE_CHECKING:
    from resultsfw.cli.files.inputs import Document

__all__ = ["SHELLS", "add_completions", "kubectl_complete", "script"]

SHELLS: Final = ("bash", "zsh", "fish")

_DIRECTIVES: Final = {"plain": 4, "file": 0, "dir": 16}
"""What kubectl (Cobra) is to do besides: nothing, complete names of files, or names of folders."""

_SECONDS: Final = 2.0
"""Seconds in which a cluster has to name its runs."""

_NAMES: Final = 200
"""Names of runs that are offered."""

_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""Names that an API server accepts (DNS subdomains, RFC 1123), whose characters mean nothing to a shell."""

_BACKENDS: Final = "resultsfw.backends"
_EXTENSIONS: Final = "resultsfw.extensions"


class _Names(click.types.StringParamType):
    """A text whose completions are the names of installed plugins; none is imported.

    Args:
        groups: Their entry points.
    """

    def __init__(self, *groups: str) -> None:
        self._groups = groups

    def shell_complete(self, _ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Item]:
        found = {
            point.name: point.value for group in self._groups for point in metadata.entry_points(group=group)
        }
        return [Item(name, help=found[name]) for name in sorted(found) if name.startswith(incomplete)]


class _Path(click.types.StringParamType):
    """A text whose completions are paths, which the shell knows.

    Args:
        kind: "file" or "dir".
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def shell_complete(self, _ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Item]:
        return [Item(incomplete, type=self._kind)]


class _RunNames(click.types.StringParamType):
    """A text whose completions are names of TaskRuns: of the cluster, or of the files that are given."""

    def shell_complete(self, ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Item]:
        from resultsfw.cli.files.inputs import STDIN  # noqa: PLC0415 - only where names are completed
        from resultsfw.cli.sources.opening import open_source  # noqa: PLC0415 - see above
        from resultsfw.cli.sources.source import Where  # noqa: PLC0415 - see above
        from resultsfw.tekton.api.kinds import TASKRUNS  # noqa: PLC0415 - see above

        options = ("files", "namespace", "kubeconfig", "context")
        if STDIN in (ctx.params.get("files") or ()):
            return []  # it is what the user types
        where = Where(**{option: ctx.params[option] for option in options if ctx.params.get(option)})
        found: list[str] = []

        def ask() -> None:
            # Whatever is wrong with files or a cluster, a traceback must not disturb who types.
            with suppress(Exception), open_source(where, note=lambda _: None) as source:
                names = map(_safe_name, source.runs((TASKRUNS,), ""))
                found.extend(islice((name for name in names if name and name.startswith(incomplete)), _NAMES))

        # A cluster that does not answer must not hold up who types: the thread is left behind.
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(_SECONDS)
        return [Item(name) for name in found]


def _safe_name(document: "Document") -> str:
    """Return the name of an object; "" where no API server accepts it.

    A saved file may have any name: the shell would insert ``$(command)`` for the user to run.
    """
    return document.name if _OBJECT_NAME.fullmatch(document.name) else ""


_BY_NAME: Final["Mapping[tuple[str, str], click.ParamType[str]]"] = {
    ("", "results_from"): _Names(_BACKENDS),
    ("install", "backends"): _Names(_BACKENDS),
    ("backends", "name"): _Names(_BACKENDS, _EXTENSIONS),
    ("explain", "names"): _RunNames(),
    ("list", "words"): _RunNames(),
    ("value", "words"): _RunNames(),
    ("verify", "names"): _RunNames(),
}
"""Types of parameters, by command ("" for any) and name."""

_BY_METAVAR: Final["Mapping[str, click.ParamType[str]]"] = {
    "FILE": _Path("file"),
    "SVG": _Path("file"),
    "DIR": _Path("dir"),
}


def add_completions(command: click.Command) -> click.Command:
    """Give the parameters of a command that are names of plugins or paths their completions."""
    for parameter in command.params:
        names = ((command.name or "", parameter.name or ""), ("", parameter.name or ""))
        kind = next((_BY_NAME[name] for name in names if name in _BY_NAME), None)
        kind = kind or _BY_METAVAR.get((parameter.metavar or "").strip("[]."))
        if kind is not None and type(parameter.type) is click.types.StringParamType:
            parameter.type = kind
    return command


def script(command: click.Command, program: str, shell: str) -> str:
    """Return the script that a shell evaluates to complete a program's arguments.

    Args:
        command: The program's command.
        program: Its name.
        shell: A name of `SHELLS`.
    """
    completer = get_completion_class(shell)
    if completer is None:
        raise ValueError(shell)
    return completer(command, {}, program, _variable(program)).source()


def kubectl_complete(command: click.Command, words: Sequence[str]) -> str:
    """Return what kubectl expects of the program ``kubectl_complete-NAME``: candidates, then a directive.

    Args:
        command: The plugin's command.
        words: What is typed after the plugin's name; the last one is not complete.
    """
    *arguments, incomplete = words or [""]
    items = ShellComplete(command, {}, "", "").get_completions(arguments, incomplete)
    directive = max(
        (_DIRECTIVES[item.type] for item in items if item.type != "plain"), default=_DIRECTIVES["plain"]
    )
    rows = [
        f"{item.value}\t{item.help}" if item.help else item.value for item in items if item.type == "plain"
    ]
    return "\n".join([*rows, f":{directive}"]) + "\n"


def _variable(program: str) -> str:
    """Return the environment variable by which click's scripts ask the program."""
    return f"_{program.upper().replace('-', '_')}_COMPLETE"
