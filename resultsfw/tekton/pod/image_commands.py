"""Give a Step without a command that of its image, for each platform, as Tekton does (entrypoint_lookup.go).

Only the entrypoint in the pod knows the node's platform: it chooses among the commands in its environment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from resultsfw.cluster import Object
from resultsfw.jsons import go_json
from resultsfw.tekton.spec.merge import merged_steps

__all__ = ["NO_IMAGES", "ImageCommand", "ImageCommands", "images_without_command", "with_image_command"]

_VARIABLE: Final = "TEKTON_PLATFORM_COMMANDS"


@dataclass(frozen=True, slots=True)
class ImageCommand:
    """What an image runs.

    Attributes:
        entrypoint: Its ENTRYPOINT.
        cmd: Its CMD: arguments that a Step's own replace; without an entrypoint, the command.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageCommands:
    """An image as it was found in its registry.

    Attributes:
        reference: Its name by digest.
        platforms: Its command by platform, such as ``linux/amd64``.
    """

    reference: str
    platforms: Mapping[str, ImageCommand] = field(default_factory=dict)


NO_IMAGES: Final[Mapping[str, ImageCommands]] = MappingProxyType({})


def images_without_command(task_spec: Object) -> tuple[str, ...]:
    """Return the images of the Steps that have neither script nor command, each once."""
    steps = merged_steps(task_spec.get("steps") or [], task_spec.get("stepTemplate"))
    return tuple(dict.fromkeys(str(step.get("image") or "") for step in steps if not _has_command(step)))


def with_image_command(step: Object, images: Mapping[str, ImageCommands]) -> Object:
    """Return a Step with its image pinned and the image's commands; one with a command is left as it is."""
    found = None if _has_command(step) else images.get(str(step.get("image") or ""))
    if found is None:
        return step
    chosen = {
        platform: _command(command, step.get("args") or ()) for platform, command in found.platforms.items()
    }
    variable = {"name": _VARIABLE, "value": go_json(dict(sorted(chosen.items())))}
    return {**step, "image": found.reference, "command": [], "env": [*(step.get("env") or []), variable]}


def _has_command(step: Object) -> bool:
    return bool(step.get("script") or step.get("command"))


def _command(command: ImageCommand, args: Sequence[str]) -> list[str] | None:
    """Return what runs before the Step's arguments; they replace those of the image."""
    if not command.entrypoint:
        return list(command.cmd) or None
    return [*command.entrypoint, *(() if args else command.cmd)]
