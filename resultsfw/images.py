"""Name the project's images, in the one place that does.

They are not published: operators build them (``images/``) and keep them in a registry of their own. Until
that is known, each is named under ``registry.invalid``, a name that never resolves (RFC 6761): nobody can
serve another image under it, as anybody could under an account of a public registry that nobody owns.
"""

import os
import re
from collections.abc import Iterable
from typing import Final

from resultsfw.errors import InputError
from resultsfw.site import page

__all__ = [
    "ALL",
    "CONTROLLER",
    "NO_REGISTRY",
    "REGISTRY_VARIABLE",
    "RESULTS_SERVER",
    "SIDECAR",
    "SIDECAR_NET",
    "SIDECAR_OBJECT_STORE",
    "SIDECAR_SIGNED",
    "VERSION",
    "check_registry",
    "has_registry",
    "located",
    "missing_registry",
    "use_registry",
]

VERSION: Final = "0.1.0"
"""The images' tag, which is the project's version."""

NO_REGISTRY: Final = "registry.invalid/resultsfw"
"""Stands for the operator's registry, and the folder in it, where that is not known."""

CONTROLLER: Final = f"{NO_REGISTRY}/controller:{VERSION}"
RESULTS_SERVER: Final = f"{NO_REGISTRY}/results-server:{VERSION}"
SIDECAR: Final = f"{NO_REGISTRY}/sidecar:{VERSION}"
SIDECAR_NET: Final = f"{NO_REGISTRY}/sidecar-net:{VERSION}"
SIDECAR_OBJECT_STORE: Final = f"{NO_REGISTRY}/sidecar-object-store:{VERSION}"
SIDECAR_SIGNED: Final = f"{NO_REGISTRY}/sidecar-signed:{VERSION}"

ALL: Final = (CONTROLLER, RESULTS_SERVER, SIDECAR, SIDECAR_NET, SIDECAR_OBJECT_STORE, SIDECAR_SIGNED)

REGISTRY_VARIABLE: Final = "RESULTSFW_IMAGE_REGISTRY"
"""Environment variable with the registry, and the folder in it, that has the project's images."""

_REGISTRY: Final = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]{0,127}){0,16}"
)


def located(image: str, registry: str = "") -> str:
    """Return an image's name with the operator's registry; a name that has a registry stays as it is.

    Args:
        image: The name of an image, not only of the project's.
        registry: By default the environment variable `REGISTRY_VARIABLE`.
    """
    registry = (registry or os.environ.get(REGISTRY_VARIABLE, "")).rstrip("/")
    if not registry or has_registry(image):
        return image
    return registry + image.removeprefix(NO_REGISTRY)


def has_registry(image: str) -> bool:
    """Return whether an image's name has a registry that can exist."""
    return not image.startswith(f"{NO_REGISTRY}/")


def check_registry(registry: str) -> str:
    """Return the name of a registry, and of a folder in it, if it can be one; "" is none.

    Raises:
        InputError: It is not the name of a registry.
    """
    if registry and not _REGISTRY.fullmatch(registry.rstrip("/")):
        raise InputError(
            f'"{registry}" is not a registry: expected HOST[:PORT][/FOLDER...], without "https://" and tag',
            subject="--image-registry",
        )
    return registry.rstrip("/")


def use_registry(registry: str) -> None:
    """Let this process, and the processes that it starts, take the project's images from a registry.

    Args:
        registry: Such as ``registry.example.org/team``; "" changes nothing.
    """
    if registry:
        os.environ[REGISTRY_VARIABLE] = registry


def missing_registry(images: Iterable[str]) -> str:
    """Return a sentence about the images that have no registry yet, and what to do; "" if all have one."""
    missing = sorted({image for image in images if not has_registry(image)})
    if not missing:
        return ""
    names = ", ".join(image.removeprefix(f"{NO_REGISTRY}/") for image in missing)
    return (
        f"no registry is set for {names}: build them ({page('how-to/build-images')}) and set "
        f"--image-registry, or {REGISTRY_VARIABLE}, to the registry that has them"
    )
