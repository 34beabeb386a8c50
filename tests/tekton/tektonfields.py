"""Tekton's fields as they were recorded, documents with one of them set, and the page of the table."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resultsfw.tekton.api.configmaps import KEYS
from resultsfw.tekton.api.fields import FIELDS, VARIANTS

DATA = Path(__file__).parents[1] / "data" / "tekton"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "tekton-fields.md"


def recorded() -> dict[str, dict[str, str]]:
    """Tekton's fields: the type of the value by type and field."""
    found: dict[str, dict[str, str]] = {}
    for line in _lines("fields.txt"):
        path, of = line.split()
        owner, field = path.split(".")
        found.setdefault(owner, {})[field] = of
    return found


def recorded_keys() -> list[tuple[str, str]]:
    """Keys of Tekton's ConfigMaps, each with its map before it."""
    return [(line.split()[0], line.split()[1]) for line in _lines("config-keys.txt")]


def _lines(name: str) -> Iterator[str]:
    text = (DATA / name).read_text(encoding="utf-8")
    return (line for line in text.splitlines() if line and not line.startswith("#"))


def way_to(root: str, of: str) -> list[tuple[str, str]]:
    """The shortest way from a spec to a type: each type on it, and the field that leads on."""
    waiting, seen = deque([(root, [])]), {root}
    while waiting:
        here, way = waiting.popleft()
        if here == of:
            return way
        for field, rule in FIELDS[here].items():
            if rule.of and rule.of not in seen:
                seen.add(rule.of)
                waiting.append((rule.of, [*way, (here, field)]))
    raise LookupError(of)


def sample(way: list[tuple[str, str]], value: Any) -> tuple[Any, str, str]:
    """A spec with only the field at the end of a way set; its path; that of the first refused field on it."""
    types, path, refused = recorded(), "spec", ""
    holders = []
    for owner, field in way:
        of = types[VARIANTS.get(owner, owner)][field]
        path += f".{field}"
        if FIELDS[owner][field].refused and not refused:
            refused = path
        listed = of.startswith("[]") and (owner, field) != way[-1]
        path += "[0]" if listed else ""
        holders.append((field, listed))
    for field, listed in reversed(holders):
        value = {field: [value] if listed else value}
    return value, path, refused


def a_value(of: str) -> Any:
    """A value of a type of Tekton's that is not empty."""
    if of.startswith("[]"):
        return [a_value(of[2:])]
    return {"string": "x", "bool": True, "int": 1, "ParamValue": "x", "Duration": "1s"}.get(of, {"x": "y"})


def over(below: Any, above: Any) -> Any:
    """Two documents as one: of lists the first items merge."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: over(below[key], it) if key in below else it for key, it in above.items()}}
    if isinstance(below, list) and isinstance(above, list) and below and above:
        return [over(below[0], above[0]), *below[1:]]
    return above


def page() -> str:
    """The page ``docs/reference/tekton-fields.md``."""
    return "\n".join([*_head(), *_refused_fields(), *_keys(), *_honoured_fields()]) + "\n"


_HEAD = """\
# Which fields and flags of Tekton are supported

No part of Tekton's API is silently ignored. A field is honoured, or the run is refused before there is a
pod, naming the field. A key of a ConfigMap is honoured, or causes a warning. A security policy that is not
enforced refuses every run. A field that Tekton does not have is refused; the message has the nearest name.

`python tests/tekton/tektonfields.py` generates this page from the tables in `resultsfw/tekton/api/`. A test
compares these tables with Tekton's own fields and keys of August 2026.

## Refused
"""

_REFUSED = """\
| field | message |
|---|---|"""

_NONE_REFUSED = "Every field is supported on a cluster; a value of a field may still be refused."

_REASONS = """\

The reason of a refusal is `TaskRunValidationFailed` or `PipelineValidationFailed`; if a resolver is
involved, it is `TaskRunResolutionFailed`, `CouldntGetTask` or `CouldntGetPipeline`.

The local engine refuses, with the reason `PodCreationFailed`, a Sidecar without command or script (images
are not pulled), one with a `lifecycle`, a `livenessProbe`, or a probe that it does not support, and a run
with breakpoints or hermetic execution.
"""


def _head() -> Iterator[str]:
    yield _HEAD


def _refused_fields() -> Iterator[str]:
    by_cause: dict[str, list[str]] = {}
    for owner, rules in FIELDS.items():
        for field, rule in rules.items():
            if rule.refused:
                by_cause.setdefault(rule.refused, []).append(f"`{owner}.{field}`")
    yield _REFUSED if by_cause else _NONE_REFUSED
    for cause, fields in by_cause.items():
        yield f"| {', '.join(fields)} | {cause} |"
    yield _REASONS


def _keys() -> Iterator[str]:
    for name, rules in KEYS.items():
        yield f"## The ConfigMap `{name}`"
        yield ""
        yield "| key | treatment | behaviour here | values that cause no warning |"
        yield "|---|---|---|---|"
        for key, rule in rules.items():
            harmless = ", ".join(f"`{value}`" for value in sorted(rule.harmless))
            yield f"| `{key}` | {rule.verdict} | {rule.meaning} | {harmless} |"
        yield ""


def _honoured_fields() -> Iterator[str]:
    yield from ("## Honoured", "", "| type | fields |", "|---|---|")
    for owner, rules in FIELDS.items():
        if fields := [f"`{field}`" for field, rule in rules.items() if not rule.refused]:
            yield f"| {owner} | {', '.join(fields)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
