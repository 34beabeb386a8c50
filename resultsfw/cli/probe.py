"""Load installed plugins, each in a process of its own, and report whether they can be used.

A backend is imported; an extension is also created with its options, and closed. The processes are forked by
one process that has imported this project already: a new interpreter for each took most of the time.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from resultsfw.errors import ExtensionError, FlagError, ResultsError
from resultsfw.extensions import load_extension
from resultsfw.hookspecs import HookDeprecationWarning
from resultsfw.plugins import BACKENDS, EXTENSIONS, find_claims, load_backend

__all__ = ["KINDS", "main", "probe"]

KINDS: Final = {BACKENDS: "backend", EXTENSIONS: "extension"}
"""What the plugins of each entry-point group are called."""

SECONDS: Final = 20.0
"""How long it may take to import a plugin, and to create and close an extension."""

_FIRST_DELAY: Final = 0.001
_LONGEST_DELAY: Final = 0.05
"""Seconds between two checks whether a process has ended."""

_DONE: Final = "done"
"""File with the facts about all plugins, in their order."""

Facts = dict[str, Any]
"""``usable``, and either ``why`` it is not, or the plugin's description. ``lacking`` is how to install what
the plugin imports, where it says so itself."""

_CODE: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from resultsfw.cli import probe; probe.main(sys.argv[2])"
)


def probe(
    plugins: Iterable[tuple[str, str]],
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    seconds: float = SECONDS,
) -> Mapping[tuple[str, str], Facts]:
    """Load plugins, as many at a time as there are processors, and return the facts about each.

    Args:
        plugins: Entry-point group and name of each.
        options: The options of the plugins that flags name, by name. A plugin that is not among them is
            loaded without options; if it needs some, it is usable, and ``unconfigured`` says which.
        seconds: How long each may take. A plugin that takes longer, or ends its process, is not usable.
    """
    wanted = sorted(set(plugins))
    if not wanted:
        return {}
    request = [[*plugin, (options or {}).get(plugin[1])] for plugin in wanted]
    path = json.dumps([folder or os.getcwd() for folder in sys.path])  # noqa: PTH109 - as sys.path has it
    quiet = subprocess.DEVNULL
    # Not as arguments, which other users of this machine can see; files and no pipes: plugins may print, and
    # their own children may keep a pipe open.
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as stdin:
        stdin.write(yaml.safe_dump({"plugins": request, "seconds": seconds}).encode())
        stdin.seek(0)
        command = [sys.executable, "-P", "-c", _CODE, path, folder]
        forker = subprocess.Popen(command, stdin=stdin, stdout=quiet, stderr=quiet, start_new_session=True)
        try:
            forker.wait()
        finally:  # after Ctrl-C, no process may remain: it ends those that it forked
            if forker.poll() is None:
                forker.send_signal(signal.SIGINT)
                forker.wait()
        done = Path(folder, _DONE)
        facts = json.loads(done.read_text()) if done.exists() else []
    ended = f"the process that was to import it {_how(forker.returncode)}"
    known = dict(zip(wanted, facts, strict=False))
    return {plugin: known.get(plugin) or _broken(plugin, ended) for plugin in wanted}


@dataclass(frozen=True, slots=True)
class _Probe:
    """A process that loads one plugin and writes the facts about it to a file."""

    plugin: tuple[str, str]
    file: Path
    pid: int
    seconds: float
    deadline: float


def main(folder: str) -> None:
    """Load the plugins that standard input names, each in a fork, and write the facts to a file.

    Args:
        folder: Where the file is written.
    """
    given = yaml.safe_load(sys.stdin.buffer)
    facts: list[Facts] = []
    running: deque[_Probe] = deque()
    try:
        for number, (group, name, options) in enumerate(given["plugins"]):
            if len(running) >= (os.cpu_count() or 1):
                facts.append(_result(running[0]))
                running.popleft()
            running.append(_start((group, name), options, Path(folder, str(number)), given["seconds"]))
        while running:
            facts.append(_result(running[0]))
            running.popleft()
    finally:
        for started in running:
            _kill(started.pid)
    _write(Path(folder, _DONE), facts)


def _start(plugin: tuple[str, str], options: Any, file: Path, seconds: float) -> _Probe:
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            _load(*plugin, options, file)
        finally:  # not sys.exit: the plugin may have started threads that do not end
            os._exit(0 if file.exists() else 1)
    return _Probe(plugin, file, pid, seconds, time.monotonic() + seconds)


def _result(probe: _Probe) -> Facts:
    """Wait until a process ends or its time is over, end what it started, and return the facts."""
    status = _wait(probe.pid, probe.deadline)
    _kill(probe.pid, reaped=status is not None)
    if status is None:
        return _broken(probe.plugin, f"loading it did not finish within {probe.seconds:g} s")
    if probe.file.exists():
        facts: Facts = json.loads(probe.file.read_text())
        return facts
    return _broken(probe.plugin, f"the process that imported it {_how(status)}")


def _wait(pid: int, deadline: float) -> int | None:
    """Return the exit status of a child, negative for a signal; ``None`` if it runs at the deadline."""
    delay = _FIRST_DELAY
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(delay, left))
        delay = min(delay * 2, _LONGEST_DELAY)


def _how(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"


def _broken(plugin: tuple[str, str], why: str) -> Facts:
    """Return the facts about a plugin that ended its process, so that no error of ours names it."""
    group, name = plugin
    claims, _ = find_claims(group, name)
    return {"usable": False, "why": f'{KINDS[group]} "{name}" ({claims[0].origin}) cannot be used: {why}'}


def _kill(pid: int, *, reaped: bool = False) -> None:
    """End a child that leads a process group, and what it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    if not reaped:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # if it leads no group yet
        os.waitpid(pid, 0)


def _load(group: str, name: str, options: Mapping[str, Any] | None, file: Path) -> None:
    """Load one plugin and write the facts about it to a file. Runs in the process of its own.

    Args:
        group: Entry-point group of the plugin.
        name: Its name.
        options: Its options; ``None``: no flags name the plugin.
        file: Where the facts are written.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", HookDeprecationWarning)
        try:
            facts = {"usable": True, **_FACTS[group](name, options)}
        except ResultsError as error:
            facts = {"usable": False, "why": error.message, **_lacking(error.__cause__)}
    deprecated: Sequence[str] = [
        str(warning.message) for warning in caught if warning.category is HookDeprecationWarning
    ]
    if deprecated:
        facts["deprecated"] = deprecated
    _write(file, facts)


def _write(file: Path, facts: object) -> None:
    partial = Path(f"{file}.partial")
    partial.write_text(json.dumps(facts))
    partial.replace(file)


def _lacking(error: BaseException | None) -> Facts:
    """Return what a plugin itself says of a package that is not installed: it caught the failed import."""
    cause = error.__cause__ if isinstance(error, ImportError) else None
    while isinstance(cause, ImportError) and not isinstance(cause, ModuleNotFoundError):
        cause = cause.__cause__
    return {"lacking": str(error)} if cause else {}


def _backend(name: str, options: Mapping[str, Any] | None) -> Facts:
    backend = load_backend(name)
    unconfigured = {}
    try:
        backend.configure(options or {})
    except FlagError as error:
        if options is not None:
            raise
        unconfigured["unconfigured"] = error.message
    return {
        **unconfigured,
        "capabilities": asdict(backend.capabilities),
        "config": backend.config_type.model_json_schema(by_alias=True),
    }


def _extension(name: str, options: Mapping[str, Any] | None) -> Facts:
    unconfigured = {}
    try:
        extension = load_extension(name, options or {})
    except FlagError as error:
        if options is not None:
            raise
        extension = load_extension(name)
        unconfigured["unconfigured"] = error.message
    if extension.close is not None:
        try:
            extension.close()
        except (Exception, SystemExit) as error:
            why = f"{type(error).__name__}: {error}"
            raise ExtensionError(f'extension "{name}" failed in close: {why}', subject=name) from error
    return {
        **unconfigured,
        "hooks": extension.implements,
        "changes_results": extension.changes_results,
        "permissions": [asdict(permission) for permission in extension.permissions],
        "config": extension.config_type.model_json_schema(by_alias=True),
    }


_FACTS: Final = {BACKENDS: _backend, EXTENSIONS: _extension}
