"""``resultsfw backends``: what is installed, and what one of them says of itself."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from resultsfw.cli import show
from resultsfw.errors import BrokenBackendError, UnknownBackendError
from resultsfw.flags import CONFIG_PREFIX
from resultsfw.plugins import BACKENDS, Backend, Installed, installed, load_backend
from resultsfw.types import Capabilities

__all__ = ["describe_backend", "list_backends"]


def list_backends(*, output: str) -> int:
    """Print every installed backend from its distribution's metadata; returns the exit status."""
    everything = installed()
    if output == "json":
        show.write(show.as_json([asdict(one) for one in everything]))
        return 0
    out = show.console()
    if not everything:
        out.print(f'no backend is installed (entry-point group "{BACKENDS}")')
        return 0
    rows = [
        [show.plain(text) for text in (one.name, one.distribution, one.version, one.target)]
        for one in everything
    ]
    _print_columns(out, ("name", "distribution", "version", "module"), rows)
    show.print_text(
        out, '"resultsfw backends NAME" describes one; "--results-from NAME", or the feature flag, uses it'
    )
    return 0


def describe_backend(name: str, *, output: str) -> int:
    """Import one backend and print what it says of itself; status 1 if it is broken.

    Raises:
        UnknownBackendError: Nothing installed has that name.
    """
    everything = installed()
    claims = [one for one in everything if one.name == name]
    if not claims:
        raise _unknown(name, sorted({one.name for one in everything}))
    backend, why = None, ""
    try:
        backend = load_backend(name)
    except BrokenBackendError as error:
        why = error.message
    if output == "json":
        facts: dict[str, Any] = {
            "name": name,
            "installed": [asdict(one) for one in claims],
            "usable": not why,
        }
        facts |= {"why": why} if backend is None else _facts(backend)
        show.write(show.as_json(facts))
    else:
        _print(show.console(), name, claims, backend, why)
    return 1 if why else 0


def _unknown(name: str, names: Sequence[str]) -> UnknownBackendError:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    listed = ", ".join(names) or "none"
    return UnknownBackendError(f'no backend "{name}" is installed (installed: {listed}){hint}', subject=name)


def _facts(backend: Backend) -> dict[str, Any]:
    return {
        "capabilities": asdict(backend.capabilities),
        "config": backend.config_type.model_json_schema(by_alias=True),
    }


def _print(out: Console, name: str, claims: Sequence[Installed], backend: Backend | None, why: str) -> None:
    out.print(Text(name, style="bold"))
    for one in claims:
        show.print_text(out, f"from {one.distribution} {one.version}, {one.target}")
    if backend is None:
        show.print_text(out, f"broken: {why}", style="bold red")
        return
    can = backend.capabilities
    show.print_text(out, can.summary)
    out.print()
    _print_columns(out, ("", ""), list(_limits(can)))
    schema = backend.config_type.model_json_schema(by_alias=True)
    options: Mapping[str, Any] = schema.get("properties", {})
    if not options:
        show.print_text(out, "it takes no options")
        return
    out.print()
    show.print_text(
        out, f'options: YAML under the key "{CONFIG_PREFIX}{name}" of the ConfigMap "feature-flags"'
    )
    rows = [
        [show.plain(text) for text in (option, _type(body), _default(body), body.get("description", ""))]
        for option, body in options.items()
    ]
    _print_columns(out, ("option", "type", "default", "what it does"), rows)


def _limits(can: Capabilities) -> Iterator[tuple[str, str]]:
    yield (
        "results",
        "by value, in the run's status" if can.by == "value" else "by reference, kept where it puts them",
    )
    if can.by == "value":
        result = 'at most as many bytes as the feature flag "max-result-size" says'
        run = "at most as many bytes as one API object holds"
    else:
        result = run = "as many bytes as it takes: the status holds references"
    yield "one result", _bytes(can.result_bytes, result)
    yield "one run", _bytes(can.run_bytes, run)
    for one in can.permissions:
        resource = f"{one.resource}.{one.group}" if one.group else one.resource
        yield "permission", f"{one.verb} {resource}: {one.why}"
    if not can.permissions:
        yield "permission", "none beside the controller's own"
    yield "plugin API", f"version {can.api_version}"


def _print_columns(out: Console, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for line in show.columns(out.width, head, rows):
        if line.plain:
            out.print(line, soft_wrap=True)


def _bytes(size: int | None, otherwise: str) -> str:
    return otherwise if size is None else f"at most {size} bytes"


def _type(body: Mapping[str, Any]) -> str:
    """The type of an option, as people say it."""
    if "enum" in body:
        return " or ".join(map(str, body["enum"]))
    if "anyOf" in body:
        return " or ".join(_type(one) for one in body["anyOf"])
    return str(body.get("type") or body.get("$ref", "any").rpartition("/")[2])


def _default(body: Mapping[str, Any]) -> str:
    value = body.get("default")
    return value if isinstance(value, str) else show.as_json(value).strip()
