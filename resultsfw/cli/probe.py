"""Load installed plugins, each in a process of its own, and report whether they can be used.

A backend is imported; an extension is also created with its options, and closed.
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

Facts = dict[str, Any]
"""``usable``, and either ``why`` it is not, or the plugin's description."""

_CODE: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from resultsfw.cli import probe; probe.main(*sys.argv[2:])"
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
    facts: dict[tuple[str, str], Facts] = {}
    running: deque[_Probe] = deque()
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number, plugin in enumerate(wanted):
                if len(running) >= (os.cpu_count() or 1):
                    facts[running[0].plugin] = _result(running[0])
                    running.popleft()
                given = yaml.safe_dump((options or {}).get(plugin[1])).encode()
                running.append(_start(plugin, given, Path(folder, str(number)), seconds))
            while running:
                facts[running[0].plugin] = _result(running[0])
                running.popleft()
        finally:  # after Ctrl-C, no process may remain
            for started in running:
                _kill(started)
    return {plugin: facts[plugin] for plugin in wanted}


@dataclass(frozen=True, slots=True)
class _Probe:
    """A process that loads one plugin and writes the facts about it to a file."""

    plugin: tuple[str, str]
    file: Path
    child: subprocess.Popen[bytes]
    seconds: float
    deadline: float


def _start(plugin: tuple[str, str], options: bytes, file: Path, seconds: float) -> _Probe:
    # A file and no pipe: a plugin may print, and its own children may keep a pipe open.
    path = json.dumps([folder or os.getcwd() for folder in sys.path])  # noqa: PTH109 - as sys.path has it
    command = [sys.executable, "-P", "-c", _CODE, path, *plugin, str(file)]
    quiet = subprocess.DEVNULL
    # Not as an argument, which other users of this machine can see.
    with tempfile.TemporaryFile() as stdin:
        stdin.write(options)
        stdin.seek(0)
        child = subprocess.Popen(command, stdin=stdin, stdout=quiet, stderr=quiet, start_new_session=True)
    return _Probe(plugin, file, child, seconds, time.monotonic() + seconds)


def _result(probe: _Probe) -> Facts:
    """Wait until a process ends or its time is over, end what it started, and return the facts."""
    try:
        status = probe.child.wait(max(probe.deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return _broken(probe, f"loading it did not finish within {probe.seconds:g} s")
    finally:
        _kill(probe)
    if probe.file.exists():
        facts: Facts = json.loads(probe.file.read_text())
        return facts
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    return _broken(probe, f"the process that imported it {how}")


def _broken(probe: _Probe, why: str) -> Facts:
    """Return the facts about a plugin that ended its process, so that no error of ours names it."""
    group, name = probe.plugin
    claims, _ = find_claims(group, name)
    return {"usable": False, "why": f'{KINDS[group]} "{name}" ({claims[0].origin}) cannot be used: {why}'}


def _kill(probe: _Probe) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(probe.child.pid, signal.SIGKILL)
    probe.child.wait()


def main(group: str, name: str, file: str) -> None:
    """Load one plugin, write the facts about it to a file, and exit. Runs in the process of its own.

    Its options are read from standard input, as YAML; ``null``: no flags name the plugin.
    """
    options = yaml.safe_load(sys.stdin.buffer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", HookDeprecationWarning)
        try:
            facts = {"usable": True, **_FACTS[group](name, options)}
        except ResultsError as error:
            facts = {"usable": False, "why": error.message}
    deprecated: Sequence[str] = [
        str(warning.message) for warning in caught if warning.category is HookDeprecationWarning
    ]
    if deprecated:
        facts["deprecated"] = deprecated
    partial = Path(f"{file}.partial")
    partial.write_text(json.dumps(facts))
    partial.replace(file)
    os._exit(0)  # not sys.exit: the plugin may have started threads that do not end


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
