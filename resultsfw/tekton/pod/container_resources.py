"""Give containers the resources of ``config-defaults`` (``default-container-resource-requirements``).

Source: Tekton's docs/additional-configs.md and ``pkg/internal/defaultresourcerequirements/transformer.go``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.errors import FlagError
from resultsfw.tekton.api.configmap_values import yaml_mapping
from resultsfw.tekton.api.model_errors import field_errors
from resultsfw.tekton.api.model_parts import Requirements
from resultsfw.tekton.api.quantities import parse_quantity

__all__ = ["container_resources_of", "with_container_resources"]

_KEY: Final = "default-container-resource-requirements"
_DEFAULT: Final = "default"
_PREFIX: Final = "prefix-"


def container_resources_of(defaults: Mapping[str, str]) -> dict[str, Object]:
    """Return resource requirements by container name, ``prefix-NAME`` or ``default``; empty entries left out.

    Args:
        defaults: Data of ``config-defaults``.

    Raises:
        FlagError: An entry is not valid; the error's subject is the key.
    """
    entries = yaml_mapping(defaults, _KEY)
    for name, requirements in entries.items():
        for problem in _problems(requirements):
            raise FlagError(f'the key "{_KEY}", entry "{name[:63]}": {problem}', subject=_KEY)
    return {name: requirements for name, requirements in entries.items() if _is_set(requirements)}


def with_container_resources(pod: Object, entries: Mapping[str, Object]) -> Object:
    """Return a pod whose containers without resources have those of their name, prefix, or the default.

    A name comes before a prefix, a longer prefix before a shorter one, and both before the default. What a
    container has stays as it is: a Step's, and those of the results sidecar, which ``config.NAME`` of its
    backend sets.

    Args:
        pod: Not changed.
        entries: Of `container_resources_of`.
    """
    if not entries:
        return pod
    spec = {
        part: [_filled(container, entries) for container in pod["spec"][part]]
        for part in ("initContainers", "containers")
        if pod["spec"].get(part)
    }
    return {**pod, "spec": pod["spec"] | spec}


def _filled(container: Object, entries: Mapping[str, Object]) -> Object:
    if _is_set(container.get("resources") or {}):
        return container
    name = container["name"]
    prefixes = [
        entry
        for entry in entries
        if entry.startswith(_PREFIX) and name.startswith(f"{entry.removeprefix(_PREFIX)}-")
    ]
    for entry in (name, *sorted(prefixes, key=len, reverse=True), _DEFAULT):
        if entry in entries:
            return {**container, "resources": jsons.copy(entries[entry])}
    return container


def _is_set(requirements: Any) -> bool:
    return any(requirements.get(part) for part in ("requests", "limits", "claims"))


def _problems(requirements: Any) -> Iterator[str]:
    """Yield what is wrong with an entry."""
    try:
        Requirements.model_validate(requirements)
    except ValidationError as error:
        yield from (f"{path}: {why}" if path else why for path, why in field_errors(Requirements, error))
        return
    for part in ("requests", "limits"):
        for resource, quantity in (requirements.get(part) or {}).items():
            try:
                parse_quantity(quantity)
            except ValueError as error:
                yield f"{part}.{resource}: {error}"
