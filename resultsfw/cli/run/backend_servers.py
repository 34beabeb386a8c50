"""Refuse to run where nothing answers at the address to which a backend would deliver the results."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel

from resultsfw.core import ResultsManager
from resultsfw.errors import InputError, ResultsError
from resultsfw.flags import ANNOTATION
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of

__all__ = ["refuse_silent_servers", "server_of"]

_SECONDS: Final = 3.0
_PORTS: Final = {"http": 80, "https": 443}
_LOCAL: Final = "http"
"""The backend whose server this package has."""


def refuse_silent_servers(core: ResultsManager, objects: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to run if a backend's server cannot be connected to from this machine.

    Args:
        core: With the flags in effect.
        objects: The runs, Tasks and Pipelines of the files.

    Raises:
        InputError: Nothing answers at the address; the message says where it is set.
    """
    if not any(map(_declares_results, objects)):
        return
    chosen = {core.flags.results_from}
    for obj in objects:
        name = (obj["metadata"].get("annotations") or {}).get(ANNOTATION)
        if isinstance(name, str) and core.allows(name):
            chosen.add(name)
    for name in sorted(chosen):
        try:
            config = core.backend(name).configure(core.flags.config.get(name, {}))
        except ResultsError:
            continue  # a run that uses it fails with that error
        if (server := server_of(config)) is not None:
            _connect(name, *server)


def _declares_results(obj: Mapping[str, Any]) -> bool:
    return any(True for _ in _results(obj["spec"]))


def _results(spec: Mapping[str, Any]) -> Iterator[object]:
    """Yield the results that a spec and what is embedded in it declare."""
    yield from spec.get("results") or ()
    for field in ("taskSpec", "pipelineSpec"):
        if spec.get(field):
            yield from _results(spec[field])
    for step in spec.get("steps") or ():
        yield from step.get("results") or ()
    for _, task in tasks_of(dict(spec)):
        yield from _results(task)


def server_of(config: BaseModel) -> tuple[str, int] | None:
    """Return host and port of the server that a backend's options name; ``None`` if they name none.

    Read are ``url``, the option ``endpoint`` of a library, and the registry of ``repository``.
    """
    options = getattr(config, "options", None)
    endpoints = [value for key, value in (options or {}).items() if str(key).lower().endswith("endpoint")]
    repository = getattr(config, "repository", "")
    registry = f"https://{repository}" if isinstance(repository, str) and repository else ""
    for address in (*endpoints, getattr(config, "url", ""), registry):
        try:
            parts = urlsplit(str(address))
            port = parts.port
        except ValueError:
            continue
        if parts.scheme in _PORTS and parts.hostname:
            return parts.hostname, port or _PORTS[parts.scheme]
    return None


def _connect(name: str, host: str, port: int) -> None:
    try:
        with socket.create_connection((host, port), timeout=_SECONDS):
            return
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
    hint = ""
    if name == _LOCAL:
        hint = "; start one here with: resultsfw results-server --local > flags.yaml &, and add "
        hint += "--feature-flags flags.yaml"
    raise InputError(
        f'backend "{name}": nothing answers at {host}:{port}, where it delivers results ({why}); set '
        f"config.{name} to a server that this machine reaches, or choose another results-from{hint}",
        subject=name,
    )
