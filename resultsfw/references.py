"""Write, read and verify references: what a status contains in place of a value stored elsewhere."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.errors import CorruptError
from resultsfw.types import Reference

__all__ = ["MARK", "format_reference", "read_reference", "verified_pieces"]

MARK: Final = "resultsfw-reference"
"""The key that marks a mapping as a reference; its value is the version of this format. A Step's value with
this key is rejected (`resultsfw.values.parse_value`), so only the core can write references.

A reference is also passed as a param to other TaskRuns. Tekton's webhook allows letters, digits, "-" and "_"
in the keys of params, and neither "." nor "/".
"""

_VERSION: Final = "1"
_KEYS: Final = frozenset({MARK, "backend", "location", "size", "digest", "mediaType"})
_SIZE: Final = re.compile("[0-9]{1,18}")
_DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")


def format_reference(reference: Reference) -> Object:
    """Return a reference as the ``value`` of a result. All its values are strings, as in Tekton's API."""
    return {
        MARK: _VERSION,
        "backend": reference.backend,
        "location": reference.location,
        "size": str(reference.size),
        "digest": reference.digest,
        "mediaType": reference.media_type,
    }


def read_reference(value: Any) -> Reference | None:
    """Return the reference in the ``value`` of a result; ``None`` if that is the value itself.

    Raises:
        CorruptError: It is marked as a reference and cannot be read.
    """
    if not (isinstance(value, dict) and MARK in value):
        return None
    texts = all(isinstance(field, str) for field in value.values())
    if not texts or value.keys() != _KEYS or value[MARK] != _VERSION or not _SIZE.fullmatch(value["size"]):
        raise CorruptError(
            "a reference to a result cannot be read: it was edited, or a newer version wrote it"
        )
    if not _DIGEST.fullmatch(value["digest"]):
        raise CorruptError(
            "a reference to a result cannot be read: its digest is invalid", subject=value["backend"]
        )
    return Reference(
        backend=value["backend"],
        location=value["location"],
        size=int(value["size"]),
        digest=value["digest"],
        media_type=value["mediaType"],
    )


def verified_pieces(reference: Reference, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a value and verify its size and digest.

    Reads no further than the size in the reference. A piece is not verified before the last one has been
    read.

    Raises:
        CorruptError: The size or digest differs; raised at the end, or at the first byte too many.
    """
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        size += len(piece)
        if size > reference.size:
            break
        digest.update(piece)
        yield piece
    if size != reference.size:
        more = "more than" if size > reference.size else f"{size} of"
        raise CorruptError(
            f"what {reference.backend} keeps at {reference.location} has {more} the {reference.size} bytes "
            f"it had when it was stored",
            subject=reference.location,
        )
    if f"sha256:{digest.hexdigest()}" != reference.digest:
        raise CorruptError(
            f"what {reference.backend} keeps at {reference.location} has not the digest it had when it was "
            f"stored ({reference.digest})",
            subject=reference.location,
        )
