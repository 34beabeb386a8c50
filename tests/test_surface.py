"""The public surface is what tests/data/surface.txt says: who changes it changes that file as well.

To record it anew: ``python tests/test_surface.py``; what may change when:
docs/reference/compatibility.md.
"""

import dataclasses
import difflib
import enum
import inspect
import re
from importlib import metadata
from pathlib import Path

import pluggy

import resultsfw
from resultsfw import (
    entrypoint,
    errors,
    flags,
    hookspecs,
    keys,
    messages,
    podchecks,
    podparts,
    pods,
    references,
    sidecars,
    signatures,
    stamps,
)
from resultsfw.cli import commands

_MODULES = re.compile(r"\b(?:[a-z0-9_]+\.)+(?=[A-Z])")
"""In front of a type, where it only makes lines longer, and is not the same in all versions of Python."""

_UNION = re.compile(r"\bUnion\[([\w, ]+)\]")
"""What Python from 3.14 on shows as ``A | B``."""

RECORD = Path(__file__).parent / "data" / "surface.txt"


def fields(kind):
    """A dataclass's fields, with types and defaults."""
    for field in dataclasses.fields(kind):
        default = "" if field.default is dataclasses.MISSING else f" = {field.default!r}"
        if field.default_factory is not dataclasses.MISSING:
            default = f" = {field.default_factory.__name__}()"
        kind_of = field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
        yield f"  {field.name}: {kind_of}{default}"


def methods(kind):
    for name, value in vars(kind).items():
        function = getattr(kind, name) if not isinstance(value, property) else None
        if not name.startswith("_") and inspect.isroutine(function):
            yield f"  {name}{inspect.signature(function)}"


def names(module, label):
    yield f"# {label}"
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isfunction(thing):
            yield f"{name}{inspect.signature(thing)}"
        elif isinstance(thing, type) and issubclass(thing, enum.Enum):
            yield f"{name}: {', '.join(sorted(thing))}"
        elif isinstance(thing, type) and issubclass(thing, errors.ResultsError):
            yield f"{name}({', '.join(base.__name__ for base in thing.__bases__)}): {thing.code}"
        elif dataclasses.is_dataclass(thing):
            yield name
            yield from fields(thing)
        elif inspect.isclass(thing):
            yield name
            yield from methods(thing)
        else:
            yield name if not isinstance(thing, int | str) else f"{name} = {thing!r}"
    yield ""


def hooks():
    yield "# hooks"
    manager = pluggy.PluginManager("resultsfw")
    manager.add_hookspecs(hookspecs)
    for name in sorted(vars(manager.hook)):
        spec = getattr(manager.hook, name).spec
        first = " (the first result)" if spec.opts["firstresult"] else ""
        old = " (deprecated)" if spec.warn_on_impl else ""
        yield f"{name}{inspect.signature(spec.function)}{first}{old}"
        for argument in spec.warn_on_impl_args or {}:
            yield f"  {argument}: deprecated"
    yield ""


def others():
    yield "# others"
    versions = hookspecs.API_VERSIONS
    yield f"versions of the contract: {versions[0]} to {versions[-1]}"
    yield f"a reference: {', '.join(sorted(references._KEYS))}; version {references._VERSION}"
    yield f"annotations: {stamps.STAMP_ANNOTATION}, {stamps.LIMIT_ANNOTATION}, {flags.ANNOTATION}"
    statuses = (commands.FAILED, commands.REFUSED, commands.INTERNAL, commands.INTERRUPTED)
    yield f"exit statuses: 0, {', '.join(str(int(exit_status)) for exit_status in statuses)}"
    yield f"feature flags: {', '.join(sorted(flags.KEYS))}, {flags.CONFIG_PREFIX}NAME"
    for name, command in sorted(commands.resultsfw.commands.items()):
        options = sorted(
            option for given in command.params for option in (*given.opts, *given.secondary_opts)
        )
        yield f"resultsfw {name}: {' '.join(options)}"


def surface():
    parts = (
        names(resultsfw, "resultsfw"),
        names(errors, "resultsfw.errors"),
        names(messages, "resultsfw.messages"),
        names(pods, "resultsfw.pods"),
        names(podparts, "resultsfw.podparts"),
        names(podchecks, "resultsfw.podchecks"),
        names(sidecars, "resultsfw.sidecars"),
        names(keys, "resultsfw.keys"),
        names(entrypoint, "resultsfw.entrypoint"),
        names(signatures, "resultsfw.signatures"),
        hooks(),
        others(),
    )
    text = "".join(f"{line}\n" for part in parts for line in part)
    return _UNION.sub(lambda found: found[1].replace(", ", " | "), _MODULES.sub("", text))


def test_the_public_surface_is_as_it_was_recorded():
    recorded, now = RECORD.read_text(), surface()
    changed = "\n".join(
        difflib.unified_diff(recorded.splitlines(), now.splitlines(), "recorded", "now", lineterm="")
    )
    assert not changed, (
        f"{changed}\nmay it change in this version (docs/reference/compatibility.md)? Then: {__doc__}"
    )


def test_the_groups_of_entry_points_are_public():
    ours = {entry_point.group for entry_point in metadata.distribution("resultsfw").entry_points}
    assert {"resultsfw.backends", "resultsfw.extensions"} <= ours


if __name__ == "__main__":
    RECORD.write_text(surface())
