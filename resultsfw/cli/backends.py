"""``resultsfw backends``: list the installed backends and extensions, or describe one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from resultsfw.cli.files.settings import Given, flags_of
from resultsfw.cli.output import show
from resultsfw.cli.probe import KINDS, probe
from resultsfw.errors import UnknownBackendError
from resultsfw.flags import CONFIG_PREFIX, did_you_mean
from resultsfw.plugins import BACKENDS, EXTENSIONS, InstalledPlugin, installed_plugins

__all__ = ["describe_backend", "list_backends"]

_LACKING: Final = "needs packages"
"""State of a plugin that says itself what must be installed for it."""

_USABLE: Final = ("usable", "why", "lacking", "unconfigured", "deprecated")
"""What JSON says of each plugin of a list."""


def list_backends(*, output: str, feature_flags: str | None = None) -> int:
    """Print every installed backend and extension, each loaded in a process of its own.

    Args:
        output: The form in which they are printed.
        feature_flags: File of the flags whose options are used; ``None``: no options.

    Returns:
        0, or 1 if the flags name a plugin that cannot be used with their options, or is not installed.

    Raises:
        InputError: The flags are invalid.
    """
    options = _options_in(feature_flags)
    plugins = {group: installed_plugins(group) for group in KINDS}
    facts = probe(
        ((group, plugin.name) for group, listed in plugins.items() for plugin in listed), options=options
    )
    names = {name for _, name in facts}
    absent = sorted(options.keys() - names)
    unusable = {name for (_, name), found in facts.items() if not found["usable"]}
    status = 1 if absent or unusable & options.keys() else 0
    if output != "table":
        described = [
            {"kind": KINDS[group], **asdict(plugin), **_usable(facts[group, plugin.name])}
            for group, listed in plugins.items()
            for plugin in listed
        ]
        show.write(show.as_data(described, output))
        return status
    out = show.console()
    if not plugins[BACKENDS]:
        out.print(f'no backend is installed (entry-point group "{BACKENDS}")')
    for group, listed in plugins.items():
        if not listed:
            continue
        if group == EXTENSIONS:
            out.print()
        head = (KINDS[group], "state", "distribution", "version", "module")
        rows = [
            [show.plain(text) for text in (plugin.name, _state(facts[group, plugin.name]), *_origin(plugin))]
            for plugin in listed
        ]
        _print_columns(out, head, rows)
    out.print()
    for (_, name), found in facts.items():
        _print_remark(out, name, found, chosen=name in options)
    for name in absent:
        hint = did_you_mean(name, names)
        show.print_text(out, f'not installed: the flags name "{name}"{hint}', style="bold red")
    show.print_text(
        out,
        '"resultsfw backends NAME" describes one; the feature flag (or option) "results-from" selects a '
        'backend, the feature flag "extensions" the extensions',
    )
    return status


def _print_remark(out: Console, name: str, facts: Mapping[str, Any], *, chosen: bool) -> None:
    """Print what is to be said below the list; what lacks packages is a fault only if flags name it."""
    if "lacking" in facts and not chosen:
        show.print_text(out, f"{_LACKING}: {name}: {facts['lacking']}")
    elif not facts["usable"]:
        show.print_text(out, f"broken: {facts['why']}", style="bold red")
    elif "unconfigured" in facts:
        show.print_text(out, f"needs options: {facts['unconfigured']}")


def describe_backend(name: str, *, output: str, feature_flags: str | None = None) -> int:
    """Load one backend or extension and print its description; returns 1 if it is broken.

    Args:
        name: Its name.
        output: The form in which it is printed.
        feature_flags: File of the flags whose options are used; ``None``: no options.

    Raises:
        UnknownBackendError: Nothing installed has that name.
        InputError: The flags are invalid.
    """
    options = _options_in(feature_flags)
    plugins = {group: installed_plugins(group) for group in KINDS}
    groups = [group for group, listed in plugins.items() if any(plugin.name == name for plugin in listed)]
    if not groups:
        raise _unknown(name, [plugin.name for listed in plugins.values() for plugin in listed])
    facts = probe(((group, name) for group in groups), options=options)
    described = []
    for group in groups:
        kind, claims = KINDS[group], [plugin for plugin in plugins[group] if plugin.name == name]
        if output == "table":
            _print(show.console(), kind, claims, facts[group, name])
        plugin = {"kind": kind, "name": name, "installed": [asdict(claim) for claim in claims]}
        described.append({**plugin, **facts[group, name]})
    if output != "table":
        show.write(show.as_data(described[0] if len(described) == 1 else described, output))
    return 0 if all(found["usable"] for found in facts.values()) else 1


def _options_in(feature_flags: str | None) -> dict[str, Mapping[str, Any]]:
    """Return the options of each plugin that the flags in a file name."""
    if feature_flags is None:
        return {}
    flags = flags_of(Given(file=feature_flags))
    named = flags.allowed_results_from | flags.extensions | flags.config.keys()
    return {name: flags.config.get(name, {}) for name in sorted(named)}


def _unknown(name: str, names: Sequence[str]) -> UnknownBackendError:
    listed = ", ".join(sorted(set(names))) or "none"
    return UnknownBackendError(
        f'no backend or extension "{name}" is installed (installed: {listed}){did_you_mean(name, names)}',
        subject=name,
    )


def _usable(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: facts[key] for key in ("usable", "why", "lacking", "unconfigured", "deprecated") if key in facts
    }


def _state(facts: Mapping[str, Any]) -> str:
    if not facts["usable"]:
        return _LACKING if "lacking" in facts else "broken"
    return "needs options" if "unconfigured" in facts else "ok"


def _origin(plugin: InstalledPlugin) -> tuple[str, str, str]:
    return plugin.distribution, plugin.version, plugin.target


def _print(out: Console, kind: str, claims: Sequence[InstalledPlugin], facts: Mapping[str, Any]) -> None:
    out.print(Text(f"{kind} {claims[0].name}", style="bold"))
    for claim in claims:
        show.print_text(out, f"from {claim.distribution} {claim.version}, {claim.target}")
    if not facts["usable"]:
        wrong = f"{_LACKING}: {facts['lacking']}" if "lacking" in facts else f"broken: {facts['why']}"
        show.print_text(out, wrong, style="bold red")
        return
    if "unconfigured" in facts:
        show.print_text(out, f"needs options: {facts['unconfigured']}")
    for text in facts.get("deprecated", ()):
        show.print_text(out, text)
    if capabilities := facts.get("capabilities"):
        show.print_text(out, capabilities["summary"])
        rows = list(_limits(capabilities))
    else:
        changes = "may change results" if facts["changes_results"] else "does not change results"
        rows = [
            ("hooks", ", ".join(facts["hooks"])),
            ("results", changes),
            *_permissions(facts["permissions"]),
        ]
    out.print()
    _print_columns(out, ("", ""), [[show.plain(text) for text in row] for row in rows])
    _print_options(out, claims[0].name, facts["config"].get("properties", {}))


def _print_options(out: Console, name: str, options: Mapping[str, Any]) -> None:
    if not options:
        show.print_text(out, "it has no options")
        return
    out.print()
    show.print_text(
        out, f'options: YAML under the key "{CONFIG_PREFIX}{name}" of the ConfigMap "feature-flags"'
    )
    rows = [
        [show.plain(text) for text in (option, _type(body), _default(body), body.get("description", ""))]
        for option, body in options.items()
    ]
    _print_columns(out, ("option", "type", "default", "description"), rows)


def _limits(capabilities: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield label and text for each limit and need of a backend."""
    by_value = capabilities["delivery"] == "value"
    yield (
        "results",
        "by value, in the run's status" if by_value else "by reference, in a store of the backend's own",
    )
    if by_value:
        result = 'at most as many bytes as the feature flag "max-result-size" says'
        run = "at most as many bytes as one API object holds"
    else:
        result = run = "no limit: the status holds references"
    yield "one result", _bytes(capabilities["result_bytes"], result)
    yield "one run", _bytes(capabilities["run_bytes"], run)
    without = "served" if capabilities["plain_pods"] else "refused"
    yield "plain pods", f"pods without Tekton's entrypoint are {without}"
    if capabilities["volumes"]:
        yield "volumes", f"its pods also mount: {', '.join(capabilities['volumes'])}"
    yield from _permissions(capabilities["permissions"])
    yield "plugin API", f"version {capabilities['api_version']}"


def _permissions(permissions: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for needed in permissions:
        resource = f"{needed['resource']}.{needed['group']}" if needed["group"] else needed["resource"]
        yield "permission", f"{needed['verb']} {resource}: {needed['why']}"
    if not permissions:
        yield "permission", "none besides the controller's own"


def _print_columns(out: Console, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for line in show.columns(out.width, head, rows):
        if line.plain:
            out.print(line, soft_wrap=True)


def _bytes(size: int | None, otherwise: str) -> str:
    return otherwise if size is None else f"at most {size} bytes"


def _type(body: Mapping[str, Any]) -> str:
    """Return the type of an option from its JSON schema."""
    if "enum" in body:
        return " or ".join(map(str, body["enum"]))
    if "anyOf" in body:
        return " or ".join(map(_type, body["anyOf"]))
    return str(body.get("type") or body.get("$ref", "any").rpartition("/")[2])


def _default(body: Mapping[str, Any]) -> str:
    value = body.get("default")
    return value if isinstance(value, str) else show.as_json(value).strip()
