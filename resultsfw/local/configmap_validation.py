"""Validates ConfigMaps as an API server does: their size, their keys, and immutability."""

import base64
import binascii
import re
from typing import Final

from resultsfw.cluster import CONFIG_MAPS, Object
from resultsfw.errors import ClusterError, ObjectTooLargeError

__all__ = ["ANNOTATION_BYTES", "VALUE_BYTES", "validate_configmap"]

VALUE_BYTES: Final = 1_048_576
"""Limit of all values together, binary values decoded; keys do not count (``ValidateConfigMap``)."""

ANNOTATION_BYTES: Final = 262_144
"""Limit of the annotations of any object, keys and values."""

_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def validate_configmap(new: Object, old: Object | None = None) -> None:
    """Validate a ConfigMap that is created or updated.

    Args:
        new: The ConfigMap to be stored.
        old: The stored ConfigMap; ``None`` if it is created.

    Raises:
        ObjectTooLargeError: Its values or annotations have too many bytes.
        ClusterError: A key or value is invalid, or an immutable ConfigMap changes.
    """
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    _check_keys(new, data, binary)
    size = sum(len(str(value).encode()) for value in data.values()) + sum(
        _decoded(str(value)) for value in binary.values()
    )
    if size > VALUE_BYTES:
        raise _too_long(new, "[]", VALUE_BYTES)
    annotations = new["metadata"].get("annotations") or {}
    size = sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items())
    if size > ANNOTATION_BYTES:
        raise _too_long(new, "metadata.annotations", ANNOTATION_BYTES)
    if old is None or not old.get("immutable"):
        return
    for part in ("immutable", "data", "binaryData"):
        if (new.get(part) or {}) != (old.get(part) or {}):
            raise _invalid(new, f"{part}: Forbidden: field is immutable when `immutable` is set")


def _check_keys(new: Object, data: Object, binary: Object) -> None:
    for part, listed in (("data", data), ("binaryData", binary)):
        for key in listed:
            if not _KEY.fullmatch(key) or key.startswith("..") or key == ".":
                raise _invalid(new, f'{part}[{key}]: Invalid value: "{key}": a valid config key is needed')
    if twice := sorted(data.keys() & binary.keys()):
        raise _invalid(new, f'binaryData[{twice[0]}]: Invalid value: "{twice[0]}": duplicate of key in data')


def _decoded(text: str) -> int:
    try:
        return len(base64.b64decode(text, validate=True))
    except binascii.Error:
        raise ClusterError("ConfigMap: binaryData: illegal base64 data", subject="ConfigMap") from None


def _subject(obj: Object) -> str:
    return f"{CONFIG_MAPS.kind} {obj['metadata'].get('namespace', '')}/{obj['metadata'].get('name', '')}"


def _invalid(obj: Object, why: str) -> ClusterError:
    name = obj["metadata"].get("name", "")
    return ClusterError(f'ConfigMap "{name}" is invalid: {why}', subject=_subject(obj))


def _too_long(obj: Object, field: str, limit: int) -> ObjectTooLargeError:
    name = obj["metadata"].get("name", "")
    message = f'ConfigMap "{name}" is invalid: {field}: Too long: may not be more than {limit} bytes'
    return ObjectTooLargeError(message, subject=_subject(obj))
