"""``resultsfw backends``: what is installed, what of it is broken, and what one plugin says of itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from resultsfw.cli import show
from resultsfw.cli.probe import KINDS, probe
from resultsfw.errors import UnknownBackendError
from resultsfw.flags import CONFIG_PREFIX, nearest
from resultsfw.plugins import BACKENDS, EXTENSIONS, Installed, installed

__all__ = ["describe_backend", "list_backends"]


def list_backends(*, output: str) -> int:
    """Print every installed backend and extension, each tried in a process of its own; status 0."""
    everything = {group: installed(group) for group in KINDS}
    facts = probe((group, one.name) for group, some in everything.items() for one in some)
    if output == "json":
        show.write(
            show.as_json(
                [
                    {"kind": KINDS[group], **asdict(one), **_usable(facts[group, one.name])}
                    for group, some in everything.items()
                    for one in some
                ]
            )
        )
        return 0
    out = show.console()
    if not everything[BACKENDS]:
        out.print(f'no backend is installed (entry-point group "{BACKENDS}")')
    for group, some in everything.items():
        if not some:
            continue
        if group == EXTENSIONS:
            out.print()
        head = (KINDS[group], "state", "distribution", "version", "module")
        rows = [
            [show.plain(text) for text in (one.name, _word(facts[group, one.name]), *_origin(one))]
            for one in some
        ]
        _print_columns(out, head, rows)
    out.print()
    for told in facts.values():
        if not told["usable"]:
            show.print_text(out, f"broken: {told['why']}", style="bold red")
    show.print_text(
        out,
        '"resultsfw backends NAME" describes one; "--results-from NAME", or the feature flag, uses a '
        'backend, "extensions" an extension',
    )
    return 0


def describe_backend(name: str, *, output: str) -> int:
    """Try one backend or extension and print what it says of itself; status 1 if it is broken.

    Raises:
        UnknownBackendError: Nothing installed has that name.
    """
    everything = {group: installed(group) for group in KINDS}
    groups = [group for group, some in everything.items() if any(one.name == name for one in some)]
    if not groups:
        raise _unknown(name, [one.name for some in everything.values() for one in some])
    facts = probe((group, name) for group in groups)
    told = []
    for group in groups:
        kind, claims = KINDS[group], [one for one in everything[group] if one.name == name]
        if output == "table":
            _print(show.console(), kind, claims, facts[group, name])
        who = {"kind": kind, "name": name, "installed": [asdict(one) for one in claims]}
        told.append({**who, **facts[group, name]})
    if output == "json":
        show.write(show.as_json(told[0] if len(told) == 1 else told))
    return 0 if all(one["usable"] for one in facts.values()) else 1


def _unknown(name: str, names: Sequence[str]) -> UnknownBackendError:
    listed = ", ".join(sorted(set(names))) or "none"
    return UnknownBackendError(
        f'no backend or extension "{name}" is installed (installed: {listed}){nearest(name, names)}',
        subject=name,
    )


def _usable(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: facts[key] for key in ("usable", "why", "deprecated") if key in facts}


def _word(facts: Mapping[str, Any]) -> str:
    return "ok" if facts["usable"] else "broken"


def _origin(one: Installed) -> tuple[str, str, str]:
    return one.distribution, one.version, one.target


def _print(out: Console, kind: str, claims: Sequence[Installed], facts: Mapping[str, Any]) -> None:
    out.print(Text(f"{kind} {claims[0].name}", style="bold"))
    for one in claims:
        show.print_text(out, f"from {one.distribution} {one.version}, {one.target}")
    if not facts["usable"]:
        show.print_text(out, f"broken: {facts['why']}", style="bold red")
        return
    for text in facts.get("deprecated", ()):
        show.print_text(out, text)
    if can := facts.get("capabilities"):
        show.print_text(out, can["summary"])
        rows = list(_limits(can))
    else:
        changes = "may change results" if facts["changes_results"] else "changes no result"
        rows = [("hooks", ", ".join(facts["hooks"])), ("results", changes)]
    out.print()
    _print_columns(out, ("", ""), [[show.plain(text) for text in row] for row in rows])
    _print_options(out, claims[0].name, facts["config"].get("properties", {}))


def _print_options(out: Console, name: str, options: Mapping[str, Any]) -> None:
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


def _limits(can: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield (
        "results",
        "by value, in the run's status"
        if can["delivery"] == "value"
        else "by reference, kept where it puts them",
    )
    if can["delivery"] == "value":
        result = 'at most as many bytes as the feature flag "max-result-size" says'
        run = "at most as many bytes as one API object holds"
    else:
        result = run = "as many bytes as it takes: the status holds references"
    yield "one result", _bytes(can["result_bytes"], result)
    yield "one run", _bytes(can["run_bytes"], run)
    for one in can["permissions"]:
        resource = f"{one['resource']}.{one['group']}" if one["group"] else one["resource"]
        yield "permission", f"{one['verb']} {resource}: {one['why']}"
    if not can["permissions"]:
        yield "permission", "none beside the controller's own"
    yield "plugin API", f"version {can['api_version']}"


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
