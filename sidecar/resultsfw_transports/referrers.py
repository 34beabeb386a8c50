"""Attaches artifacts to an image, so that whoever looks at the image finds them (OCI 1.1, `subject`).

A registry of OCI 1.1 keeps the list of an image's referrers. For an older one the client keeps it, as an
index under the tag `sha256-HEX` (distribution specification, "Referrers Tag Schema").
"""

import json
import re

from .registry import DOCUMENT_BYTES, INDEX, RegistryError, digest_of

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .registry import Registry

_IMAGE = re.compile(
    r"(?P<registry>[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?)"
    r"/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"@(?P<digest>sha256:[0-9a-f]{64})"
)
_LONGEST = 1000
_MEDIA_TYPE = re.compile(r"[!-~]{1,255}")
_ATTEMPTS = 5
"""To write the list, which others may write at the same time."""


class Subject:
    """An image by its digest.

    Attributes:
        registry: Host, and port if it is given.
        repository: Within the registry.
        digest: Of its manifest or index.
    """

    def __init__(self, registry: str, repository: str, digest: str) -> None:
        self.registry = registry
        self.repository = repository
        self.digest = digest


def parse_subject(text: str) -> Subject | None:
    """Returns the image that a text names: `REGISTRY/REPOSITORY[:TAG]@sha256:HEX`; none if it names none."""
    found = _IMAGE.fullmatch(text) if len(text) <= _LONGEST else None
    return Subject(found["registry"], found["repository"], found["digest"]) if found else None


def subject_descriptor(registry: "Registry", subject: Subject) -> "dict[str, Any]":
    """Returns the descriptor of an image, as an artifact's manifest names it.

    Raises:
        RegistryError: The image is not there, or cannot be read.
    """
    body, media_type = registry.manifest(subject.repository, subject.digest)
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise RegistryError(f"{subject.repository}@{subject.digest} has no media type", "refused")
    return {"mediaType": media_type, "digest": subject.digest, "size": len(body)}


def attach(registry: "Registry", subject: Subject, manifest: "Mapping[str, Any]") -> str:
    """Stores a manifest that names its subject beside that image; returns its digest.

    Args:
        registry: The image's registry.
        subject: The image.
        manifest: With the image's descriptor as its `subject`; its blobs are there.

    Raises:
        RegistryError: It is not stored, or not in the image's list.
    """
    body = json.dumps(manifest, separators=(",", ":")).encode()
    digest = digest_of(body)
    if not registry.put_manifest(subject.repository, digest, body, manifest["mediaType"]):
        descriptor = {
            "mediaType": manifest["mediaType"],
            "digest": digest,
            "size": len(body),
            "artifactType": manifest["artifactType"],
            "annotations": manifest["annotations"],
        }
        _list(registry, subject, descriptor)
    return digest


def _list(registry: "Registry", subject: Subject, descriptor: "dict[str, Any]") -> None:
    """Adds a referrer to the list that clients keep; nothing locks it, so what was written is read again."""
    tag = subject.digest.replace(":", "-")
    for _ in range(_ATTEMPTS):
        listed = _listed(registry, subject, tag)
        if any(entry.get("digest") == descriptor["digest"] for entry in listed):
            return
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*listed, descriptor]}
        body = json.dumps(index, separators=(",", ":")).encode()
        if len(body) > DOCUMENT_BYTES:
            raise RegistryError(f"the list of referrers {subject.repository}:{tag} is full", "refused")
        registry.put_manifest(subject.repository, tag, body, INDEX)
    raise RegistryError(f"others change the list of referrers {subject.repository}:{tag}", "unavailable")


def _listed(registry: "Registry", subject: Subject, tag: str) -> "list[dict[str, Any]]":
    body = registry.tagged(subject.repository, tag)
    if body is None:
        return []
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    listed = parsed.get("manifests") if isinstance(parsed, dict) else None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise RegistryError(f"{subject.repository}:{tag} is not a list of referrers", "refused")
    return listed
