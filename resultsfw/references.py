"""Write, read and verify references: what a status contains in place of a value stored elsewhere."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.errors import CorruptError
from resultsfw.pieces import closing
from resultsfw.types import Reference

__all__ = [
    "MARK",
    "digest_fault",
    "encryption_fault",
    "format_reference",
    "format_reference_list",
    "location_fault",
    "media_type_fault",
    "read_reference",
    "read_reference_list",
    "refuse_foreign",
    "sized_pieces",
    "verified_pieces",
]

MARK: Final = "resultsfw-reference"
"""The key that marks a mapping as a reference; its value is the version of this format. A Step's value with
this key is rejected (`resultsfw.values.parse_value`), so only the core can write references.

A reference is also passed as a param to other TaskRuns. Tekton's webhook allows letters, digits, "-" and "_"
in the keys of params, and neither "." nor "/".
"""

_VERSION: Final = "1"
_LIST_VERSION: Final = "list-1"
_ELEMENTS: Final = "elements"
_MOST_ELEMENTS: Final = 10_000
_KEYS: Final = frozenset({MARK, "backend", "location", "size", "digest", "mediaType"})
_ENCRYPTION: Final = "encryption"
"""Key that only references to encrypted values have."""
_SIZE: Final = re.compile("[0-9]{1,18}")
_DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")
_SEGMENT: Final = re.compile("[A-Za-z0-9][A-Za-z0-9._:+-]{0,252}")
_MEDIA_TYPE: Final = re.compile(r"[!-~][ -~]{0,254}")
_LOCATION_CHARACTERS: Final = 2048
_BACKEND_CHARACTERS: Final = 253
_WORD: Final = re.compile(r"[A-Za-z0-9._:+/=-]{1,2048}")
_OVERHEAD: Final = 16
_OVERHEAD_BYTES: Final = 4096
"""Stored bytes that an encrypted value may have more than the value: a part of it, and these."""
_ROOT: Final = re.compile(r"[^\x00-\x20\x7f?#@\\]{0,1024}")


def format_reference(reference: Reference) -> Object:
    """Return a reference as the ``value`` of a result. All its values are strings, as in Tekton's API."""
    return {
        MARK: _VERSION,
        "backend": reference.backend,
        "location": reference.location,
        "size": str(reference.size),
        "digest": reference.digest,
        "mediaType": reference.media_type,
        **({_ENCRYPTION: reference.encryption} if reference.encryption else {}),
    }


def read_reference(value: Any) -> Reference | None:
    """Return the reference in the ``value`` of a result; ``None`` if that is the value itself.

    Raises:
        CorruptError: It is marked as a reference and cannot be read.
    """
    if not (isinstance(value, dict) and MARK in value):
        return None
    texts = all(isinstance(field, str) for field in value.values())
    known = value.keys() - {_ENCRYPTION} == _KEYS
    if not texts or not known or value[MARK] != _VERSION or not _SIZE.fullmatch(value["size"]):
        raise CorruptError(
            "a reference to a result cannot be read: it was edited, or a newer version wrote it"
        )
    if why := _field_fault(value):
        named = value["backend"] if _is_short(value["backend"], _BACKEND_CHARACTERS) else ""
        raise CorruptError(f"a reference to a result cannot be read: {why}", subject=named)
    return Reference(
        backend=value["backend"],
        location=value["location"],
        size=int(value["size"]),
        digest=value["digest"],
        media_type=value["mediaType"],
        encryption=value.get(_ENCRYPTION, ""),
    )


def _field_fault(value: Any) -> str:
    """Return what is wrong with a field of a reference, whose texts go into messages; empty if nothing is."""
    if not _is_short(value["backend"], _BACKEND_CHARACTERS):
        return f"its backend must be a name of at most {_BACKEND_CHARACTERS} printable characters"
    if not _is_short(value["location"], _LOCATION_CHARACTERS):
        return f"its location must be of at most {_LOCATION_CHARACTERS} printable characters"
    if digest_fault(value["digest"]):
        return "its digest is invalid"
    if media_type_fault(value["mediaType"]):
        return "its media type is invalid"
    if _ENCRYPTION in value and (why := encryption_fault(value[_ENCRYPTION])):
        return f"its encryption is invalid: {why}"
    return ""


def _is_short(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isprintable()


def encryption_fault(encryption: str) -> str:
    """Return what is wrong with the ``encryption`` of a reference that has one; empty if nothing is."""
    if _WORD.fullmatch(encryption):
        return ""
    return 'it must be of letters and digits and ". _ : + / = -", at most 2048'


def digest_fault(value: object) -> str:
    """Return what is wrong with the digest of a reference; empty if nothing."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        return 'it must be "sha256:" and 64 hexadecimal digits in lower case'
    return ""


def media_type_fault(value: object) -> str:
    """Return what is wrong with the media type of a reference; empty if nothing."""
    if not isinstance(value, str) or not _MEDIA_TYPE.fullmatch(value):
        return "it must be a media type, of at most 255 printable characters"
    return ""


def location_fault(location: str) -> str:
    """Return what is wrong with the location of a reference; empty if it is ``[ROOT/]NAMESPACE/UID/NAME``.

    So the core knows whose value it is without knowing the backend: it compares NAMESPACE before the backend
    is called. No segment can lead elsewhere, and no location can hold a password or a token.
    """
    *root, namespace, uid, name = ["", "", *location.split("/")]
    if not all(_SEGMENT.fullmatch(segment) for segment in (namespace, uid, name)):
        return (
            "it must be [ROOT/]NAMESPACE/UID/NAME: namespace and uid of the run, and a name, each of letters "
            'and digits, ".", "_", ":", "+" and "-", at most 253'
        )
    above = "/".join(root)
    if not _ROOT.fullmatch(above) or not above.isprintable() or {".", ".."} & set(root):
        return (
            'what precedes NAMESPACE/UID/NAME must be at most 1024 printable characters without blank, "?", '
            '"#", "@" and "\\", and without the segments "." and ".."'
        )
    return ""


def refuse_foreign(reference: Reference, namespace: str) -> None:
    """Refuse a reference to a value of another namespace, or one that does not say whose value it is.

    Whoever creates a run can write a reference into its params.

    Args:
        reference: The reference, perhaps written by a tenant.
        namespace: The namespace on whose behalf the value is read; "": values of every namespace may be read.

    Raises:
        CorruptError: The message names the location.
    """
    shown = f"{reference.location:.512}"
    if why := location_fault(reference.location):
        raise CorruptError(
            f'the reference leads to "{shown}", which is no location of a result: {why}; it was edited',
            subject=shown,
        )
    if namespace and reference.namespace != namespace:
        raise CorruptError(
            f'the reference leads to {shown}, to what a run of namespace "{reference.namespace}" wrote; runs '
            f'of "{namespace}" get only what was written there',
            subject=shown,
        )


def sized_pieces(reference: Reference, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a decrypted value and verify its size.

    Raises:
        CorruptError: The size differs; raised at the end, or at the first byte too many.
    """
    size = 0
    with closing(pieces) as source:
        for piece in source:
            size += len(piece)
            if size > reference.size:
                break
            yield piece
    if size != reference.size:
        raise _wrong_size(reference, size)


def _wrong_size(reference: Reference, size: int) -> CorruptError:
    more = "more than" if size > reference.size else f"{size} of"
    return CorruptError(
        f"what {reference.backend} keeps at {reference.location} has {more} the {reference.size} bytes it "
        f"had when it was stored",
        subject=reference.location,
    )


def format_reference_list(elements: Sequence[str | Object]) -> Object:
    """Return an array of texts and references as the ``value`` of a param or result.

    It is a mapping of texts, since Tekton's API has arrays of texts only.

    Args:
        elements: Texts, and references as `format_reference` returns them.
    """
    return {
        MARK: _LIST_VERSION,
        # No variable begins in it: nothing that replaces variables changes it.
        _ELEMENTS: json.dumps(list(elements), ensure_ascii=False, separators=(",", ":")).replace(
            "$", r"\u0024"
        ),
    }


def read_reference_list(value: Any) -> list[str | Object] | None:
    """Return the elements of what `format_reference_list` made; ``None`` if the value is no such array.

    Raises:
        CorruptError: It is marked as one and cannot be read.
    """
    if not (isinstance(value, dict) and value.get(MARK) == _LIST_VERSION):
        return None
    unreadable = CorruptError("an array with references to results cannot be read: it was edited")
    try:
        elements = json.loads(value[_ELEMENTS])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise unreadable from None
    if not isinstance(elements, list) or len(elements) > _MOST_ELEMENTS:
        raise unreadable
    if not all(isinstance(element, str) or read_reference(element) is not None for element in elements):
        raise unreadable
    return elements


def verified_pieces(reference: Reference, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of what is stored and verify size and digest.

    Reads no further than the size in the reference; of an encrypted value a little more, since the reference
    does not say how many bytes are stored (`sized_pieces`). A piece is not verified before the last one has
    been read.

    Raises:
        CorruptError: The size or digest differs; raised at the end, or at the first byte too many.
    """
    digest, size = hashlib.sha256(), 0
    most = reference.size
    if reference.encryption:
        most += reference.size // _OVERHEAD + _OVERHEAD_BYTES
    with closing(pieces) as source:
        for piece in source:
            size += len(piece)
            if size > most:
                break
            digest.update(piece)
            yield piece
    if size > most or (size != reference.size and not reference.encryption):
        raise _wrong_size(reference, size)
    if f"sha256:{digest.hexdigest()}" != reference.digest:
        raise CorruptError(
            f"what {reference.backend} keeps at {reference.location} has not the digest it had when it was "
            f"stored ({reference.digest})",
            subject=reference.location,
        )
