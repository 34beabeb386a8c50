"""Installed plugins tried out, each in a process of its own: nothing of them is imported into this one."""

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

from resultsfw.errors import ResultsError
from resultsfw.extensions import load_extension
from resultsfw.hookspecs import HookDeprecationWarning
from resultsfw.plugins import BACKENDS, EXTENSIONS, claims_on, load_backend

__all__ = ["KINDS", "main", "probe"]

KINDS: Final = {BACKENDS: "backend", EXTENSIONS: "extension"}
"""What the plugins of each entry-point group are called."""

SECONDS: Final = 20.0
"""That a plugin may take to be imported."""

Facts = dict[str, Any]
"""``usable``, and either ``why`` not, or what the plugin says of itself."""

_CODE: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from resultsfw.cli import probe; probe.main(*sys.argv[2:])"
)


def probe(plugins: Iterable[tuple[str, str]], *, seconds: float = SECONDS) -> Mapping[tuple[str, str], Facts]:
    """Try plugins, by group and name, as many at a time as there are processors.

    Args:
        plugins: Group and name of each.
        seconds: What each may take; one that takes longer, or takes its process down, cannot be used.
    """
    wanted = sorted(set(plugins))
    facts: dict[tuple[str, str], Facts] = {}
    running: deque[_Try] = deque()
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number, plugin in enumerate(wanted):
                if len(running) >= (os.cpu_count() or 1):
                    facts[running[0].plugin] = _result(running[0])
                    running.popleft()
                running.append(_begin(plugin, Path(folder, str(number)), seconds))
            while running:
                facts[running[0].plugin] = _result(running[0])
                running.popleft()
        finally:  # Ctrl-C: none is left
            for one in running:
                _kill(one)
    return {plugin: facts[plugin] for plugin in wanted}


@dataclass(frozen=True, slots=True)
class _Try:
    """A process that imports one plugin; it writes what it found into a file."""

    plugin: tuple[str, str]
    file: Path
    child: subprocess.Popen[bytes]
    seconds: float
    until: float


def _begin(plugin: tuple[str, str], file: Path, seconds: float) -> _Try:
    # By a file: what a plugin prints, and who else holds its output open, is no matter then.
    path = json.dumps([one or os.getcwd() for one in sys.path])  # noqa: PTH109 - as sys.path has it
    command = [sys.executable, "-P", "-c", _CODE, path, *plugin, str(file)]
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    return _Try(plugin, file, child, seconds, time.monotonic() + seconds)


def _result(one: _Try) -> Facts:
    """What came of it, once it has ended or its time is over; nothing that it started is left."""
    try:
        status = one.child.wait(max(one.until - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return _broken(one, f"it was not imported after {one.seconds:g} s, and was stopped")
    finally:
        _kill(one)
    if one.file.exists():
        facts: Facts = json.loads(one.file.read_text())
        return facts
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return _broken(one, f"the process that imported it {how}")


def _broken(one: _Try, why: str) -> Facts:
    """Return the facts of a plugin that could not name itself, as it took its process down."""
    group, name = one.plugin
    claims, _ = claims_on(group, name)
    return {"usable": False, "why": f'{KINDS[group]} "{name}" ({claims[0].origin}) cannot be used: {why}'}


def _kill(one: _Try) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(one.child.pid, signal.SIGKILL)
    one.child.wait()


def main(group: str, name: str, file: str) -> None:
    """In the process of its own: import one plugin, write what it says, and end whatever it started."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", HookDeprecationWarning)
        try:
            facts = {"usable": True, **_FACTS[group](name)}
        except ResultsError as error:
            facts = {"usable": False, "why": error.message}
    old: Sequence[str] = [str(one.message) for one in caught if one.category is HookDeprecationWarning]
    if old:
        facts["deprecated"] = old
    half = Path(f"{file}.half")
    half.write_text(json.dumps(facts))
    half.replace(file)
    os._exit(0)


def _backend(name: str) -> Facts:
    backend = load_backend(name)
    return {
        "capabilities": asdict(backend.capabilities),
        "config": backend.config_type.model_json_schema(by_alias=True),
    }


def _extension(name: str) -> Facts:
    extension = load_extension(name)
    return {
        "hooks": extension.implements,
        "changes_results": extension.changes_results,
        "config": extension.config_type.model_json_schema(by_alias=True),
    }


_FACTS: Final = {BACKENDS: _backend, EXTENSIONS: _extension}
