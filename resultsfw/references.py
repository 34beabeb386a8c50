"""References: how a status carries a value that stayed where its backend keeps it."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.errors import CorruptError
from resultsfw.types import Reference

__all__ = ["MARK", "checked", "format_reference", "read_reference"]

MARK: Final = "resultsfw-reference"
"""The key that makes a mapping a reference, its value the version of this format. No value of a Step may
have it (`resultsfw.values.parse_value`), so nobody but the core can make one.

A reference is a parameter of the next TaskRun, too: in the keys of those, Tekton's webhook takes letters,
digits, "-" and "_", and no "." or "/".
"""

_VERSION: Final = "1"
_KEYS: Final = frozenset({MARK, "backend", "location", "size", "digest", "mediaType"})
_SIZE: Final = re.compile("[0-9]{1,18}")
_DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")


def format_reference(reference: Reference) -> Object:
    """A reference as the ``value`` of a result in a status. All its values are strings, as Tekton's are."""
    return {
        MARK: _VERSION,
        "backend": reference.backend,
        "location": reference.location,
        "size": str(reference.size),
        "digest": reference.digest,
        "mediaType": reference.media_type,
    }


def read_reference(value: Any) -> Reference | None:
    """The reference that the ``value`` of a result in a status is; ``None`` if it is the value itself.

    Raises:
        CorruptError: It is marked as one and cannot be read.
    """
    if not (isinstance(value, dict) and MARK in value):
        return None
    texts = all(isinstance(one, str) for one in value.values())
    if not texts or value.keys() != _KEYS or value[MARK] != _VERSION or not _SIZE.fullmatch(value["size"]):
        raise CorruptError(
            "a reference to a result cannot be read: it was edited, or a newer version wrote it"
        )
    if not _DIGEST.fullmatch(value["digest"]):
        raise CorruptError(
            "a reference to a result cannot be read: its digest is none", subject=value["backend"]
        )
    return Reference(
        backend=value["backend"],
        location=value["location"],
        size=int(value["size"]),
        digest=value["digest"],
        media_type=value["mediaType"],
    )


def checked(reference: Reference, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a value as they come, compared with what the reference says of it.

    Nothing behind the announced size is asked for. Whoever uses a piece before the last one came uses what
    is not proved yet.

    Raises:
        CorruptError: It has another size or another digest; at the end, or at the first byte too many.
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
