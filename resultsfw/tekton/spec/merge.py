"""Steps with their template, and with the TaskRun's resources, merged as Kubernetes merges patches."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.quantities import share

__all__ = ["merged_steps", "with_resources", "with_shared_resources"]

_MERGE_KEYS: Final = {"env": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath"}
_TEMPLATE_FIELDS: Final = (
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "imagePullPolicy",
    "securityContext",
    "computeResources",
    *_MERGE_KEYS,
)


def merged_steps(steps: Sequence[Object], template: Object | None) -> list[Object]:
    """Return each Step over the template: its scalars and lists replace, its maps and keyed lists merge.

    A variable of a Step's ``env`` replaces the template's of that name; a mount merges with the
    template's at that path.
    """
    if not template:
        return list(steps)
    return [_over_template(step, template) for step in steps]


def with_resources(containers: Sequence[Object], overrides: Sequence[Object] | None) -> list[Object]:
    """Return Steps or Sidecars with the resources that ``stepSpecs`` or ``sidecarSpecs`` give them."""
    by_name = {override["name"]: override.get("computeResources") or {} for override in overrides or []}
    return [
        {
            **container,
            "computeResources": _deep(container.get("computeResources") or {}, by_name[container["name"]]),
        }
        if container.get("name") in by_name
        else container
        for container in containers
    ]


def with_shared_resources(steps: Sequence[Object], shared: Object | None) -> list[Object]:
    """Return steps with their shares of the TaskRun's ``computeResources``.

    Steps run one after the other but Kubernetes adds up what containers request: each Step
    requests its part of the whole and may use all of it.

    Raises:
        ValueError: An amount is no quantity.
    """
    requests, limits = (shared or {}).get("requests"), (shared or {}).get("limits")
    if not requests and not limits:
        return list(steps)
    shares = {name: share(name, amount, len(steps)) for name, amount in (requests or limits or {}).items()}
    limited = {"limits": limits} if limits else {}
    # Where the run only limits, a Step's own requests are dropped and not replaced: Tekton's rule.
    return [
        {
            **step,
            "computeResources": limited
            if not requests and (step.get("computeResources") or {}).get("requests")
            else {**limited, "requests": shares},
        }
        for step in steps
    ]


def _over_template(step: Object, template: Object) -> Object:
    merged = dict(step)
    for field in _TEMPLATE_FIELDS:
        below, above = template.get(field), step.get(field)
        if not below:
            continue
        if field in _MERGE_KEYS:
            merged[field] = _keyed(below, above or [], _MERGE_KEYS[field], whole=field == "env")
        elif isinstance(below, Mapping):
            merged[field] = _deep(below, above or {})
        elif not above:
            merged[field] = below
    return merged


def _deep(below: Mapping[str, Any], above: Mapping[str, Any]) -> Object:
    merged = dict(below)
    for key, value in above.items():
        there = merged.get(key)
        merged[key] = (
            _deep(there, value) if isinstance(there, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def _keyed(below: Sequence[Object], above: Sequence[Object], key: str, *, whole: bool) -> list[Object]:
    """Return two lists as one, in the order a strategic merge patch gives.

    The items above keep their order; an item that is only below comes before the first item above
    that follows it below, otherwise at the end.
    """
    order = {item.get(key): index for index, item in enumerate(below)}
    inherited = {item.get(key): item for item in below}
    names = {item.get(key) for item in above}
    only_below = [item for item in below if item.get(key) not in names]
    merged: list[Object] = []
    for item in above:
        name = item.get(key)
        while only_below and name in order and order[only_below[0].get(key)] < order[name]:
            merged.append(only_below.pop(0))
        merged.append(item if whole else {**inherited.get(name, {}), **item})
    return merged + only_below
