"""Parse the name of an image as Tekton does (go-containerregistry: pkg/name, weak validation)."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["ImageName", "ImageNameError", "is_unicode", "parse_image_name"]

_DOCKER_HUB: Final = "index.docker.io"
_ALIASES: Final = {"": _DOCKER_HUB, "docker.io": _DOCKER_HUB}
_REGISTRY: Final = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_REPOSITORY: Final = re.compile(r"[a-z0-9_./-]{2,255}")
_TAG: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LOCAL: Final = re.compile(
    r"localhost:.*|.*\.localhost(?::\d{1,5})?|127\.0\.0\.1(?::\d{1,5})?|\[::1\](?::\d{1,5})?"
)
_PRIVATE: Final = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_SHOWN: Final = 200


def is_unicode(text: str) -> bool:
    """Return whether a text of JSON can be encoded: whether it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class ImageNameError(ValueError):
    """A text is not a valid image name."""


@dataclass(frozen=True, slots=True)
class ImageName:
    """The name of an image.

    Attributes:
        registry: Host, and port if it is given.
        repository: Within the registry.
        identifier: A tag, or a digest.
    """

    registry: str
    repository: str
    identifier: str

    @property
    def path(self) -> str:
        """Return registry and repository, as credentials are found by."""
        return f"{self.registry}/{self.repository}"

    @property
    def digest(self) -> str:
        """Return the digest; "" for a tag."""
        return self.identifier if self.identifier.startswith("sha256:") else ""

    def pinned(self, digest: str) -> str:
        """Return the name by digest."""
        return f"{self.path}@{digest}"

    @property
    def may_be_http(self) -> bool:
        """Return whether its registry may be asked without TLS: a local or private one."""
        if _LOCAL.fullmatch(self.registry):
            return True
        try:
            address = ipaddress.ip_address(self.registry.partition(":")[0])
        except ValueError:
            return False
        return any(address in network for network in _PRIVATE)


def parse_image_name(text: str) -> ImageName:
    """Return the parts of an image's name; Docker Hub and ``latest`` are the defaults.

    Raises:
        ImageNameError: The text is not an image name.
    """
    rest, at, digest = text.partition("@")
    last = rest.rpartition("/")[2]
    _, colon, tag = last.partition(":")
    if colon:
        rest = rest[: -len(colon + tag)]
    if (at and not _DIGEST.fullmatch(digest)) or (colon and not _TAG.fullmatch(tag)):
        raise ImageNameError(f"could not parse reference: {text[:_SHOWN]}")
    first, slash, within = rest.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        registry, repository = first, within
    else:
        registry, repository = "", rest
    registry = _ALIASES.get(registry, registry)
    segments = repository.split("/")
    if (
        not _REGISTRY.fullmatch(registry)
        or not _REPOSITORY.fullmatch(repository)
        or not {"", ".", ".."}.isdisjoint(segments)
    ):
        raise ImageNameError(f"could not parse reference: {text[:_SHOWN]}")
    if registry == _DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return ImageName(registry, repository, digest or tag or "latest")
