"""Installed plugins tried out, each in a process of its own: nothing of them is imported into this one."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from resultsfw.errors import ResultsError
from resultsfw.extensions import load_extension
from resultsfw.hookspecs import HookDeprecationWarning
from resultsfw.plugins import BACKENDS, EXTENSIONS, load_backend

__all__ = ["main", "probe"]

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
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        files = [Path(folder, str(number)) for number in range(len(wanted))]
        try:
            tries = threads.map(lambda one, file: _tried(one, file, seconds, running), wanted, files)
            return dict(zip(wanted, tries, strict=True))
        finally:  # Ctrl-C: none is waited for, none is left
            threads.shutdown(wait=False, cancel_futures=True)
            for one in running:
                _end(one)


def _tried(
    plugin: tuple[str, str], file: Path, seconds: float, running: list[subprocess.Popen[bytes]]
) -> Facts:
    # By a file: what a plugin prints, and who else holds its output open, is no matter then.
    path = json.dumps([one or os.getcwd() for one in sys.path])  # noqa: PTH109 - as sys.path has it
    command = [sys.executable, "-P", "-c", _CODE, path, *plugin, str(file)]
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    running.append(child)
    try:
        status = child.wait(seconds)
    except subprocess.TimeoutExpired:
        return {"usable": False, "why": f"it was not imported after {seconds:g} s, and was stopped"}
    finally:
        _end(child)
        running.remove(child)
    if file.exists():
        facts: Facts = json.loads(file.read_text())
        return facts
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return {"usable": False, "why": f"the process that imported it {how}"}


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a process, and what it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


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
