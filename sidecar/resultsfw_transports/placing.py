"""Writes the value of a reference into a file of the pod, verified, before the pod's Steps start."""

import base64
import hashlib
import json
from pathlib import Path

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from resultsfw_sidecar.stop import Stop

ENV_KEYS = "RESULTSFW_VALUE_KEYS"
"""JSON: keys of encrypted values in base64, by the file for the value. It comes from a Secret."""

MODE = 0o644
"""Steps may run as any user."""


class PlacingError(Exception):
    """A file cannot be placed; the message is for people and contains no secret."""


def words_of(error: Exception) -> str:
    """Returns what went wrong, for people; of the system's errors without their paths."""
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)


def unplaced(value: "Mapping[str, Any]", location: str, why: str) -> list[str]:
    """Returns what failed, for people: that a file could not be placed.

    Args:
        value: `file`: its path; `bytes`: how many are stored.
        location: Where they are stored.
        why: What went wrong.
    """
    return [f"{value['file']}: its {value['bytes']} bytes could not be placed: {location}: {why}"]


def keys_in(variables: "Mapping[str, str]") -> dict[str, bytes]:
    """Returns the keys of encrypted values, by file.

    Raises:
        ValueError: The variable has an invalid value.
    """
    try:
        keys = json.loads(variables.get(ENV_KEYS) or "{}")
        return {file: base64.b64decode(key, validate=True) for file, key in keys.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"{ENV_KEYS} cannot be read") from None  # without its text, which has keys in it


def place(
    value: "Mapping[str, Any]", pieces: "Iterable[bytes]", stop: "Stop", keys: "Mapping[str, bytes]"
) -> None:
    """Writes one file; it appears under its name only when it is complete.

    Args:
        value: `file`: its path; `digest`: `sha256:` and the digest that the stored bytes must have, in
            hexadecimal; `encrypted`: whether they are encrypted.
        pieces: The stored bytes.
        stop: Where signals are noticed.
        keys: Keys of encrypted values, by file.

    Raises:
        PlacingError: They have another digest, cannot be decrypted, or the pod is being stopped.
        OSError: It cannot be written.
    """
    sha, file = hashlib.sha256(), value["file"]
    part = Path(f"{file}.part")

    def stored() -> "Iterator[bytes]":
        for piece in pieces:
            if stop.requested:
                raise PlacingError("the pod is being stopped")
            sha.update(piece)
            yield piece

    try:
        with part.open("wb", buffering=0) as target:
            part.chmod(MODE)
            for piece in _decrypted(stored(), keys.get(file)) if value.get("encrypted") else stored():
                left = memoryview(piece)
                while left:
                    left = left[target.write(left) or 0 :]
        if f"sha256:{sha.hexdigest()}" != value["digest"]:
            raise PlacingError("it has another digest: it is not what was stored")
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)


def _decrypted(pieces: "Iterable[bytes]", key: bytes | None) -> "Iterator[bytes]":
    """Yields an encrypted value.

    Raises:
        PlacingError: The container has no key for it, it cannot be decrypted, or the image has no library.
    """
    if key is None:
        raise PlacingError("it is encrypted, and this container has no key for it")
    try:
        from .encryption import EncryptionError, decrypted  # noqa: PLC0415 - few images have the library
    except ImportError as error:
        raise PlacingError(f"it is encrypted, and this image cannot decrypt: {error}") from None
    try:
        yield from decrypted(key, pieces)
    except EncryptionError as error:
        raise PlacingError(str(error)) from None
