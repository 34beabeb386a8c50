"""Return the value of a record; decompress one of wire 2 within a budget, no further than it declares."""

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import Any, Final

from resultsfw import Limits, Problem, ProblemCode, Reference, result_label, result_too_large
from resultsfw_backends._refusals import size_of
from resultsfw_sidecar import wire as wires

__all__ = [
    "CompressedValue",
    "DamagedError",
    "Decompressor",
    "TooLargeError",
    "Value",
    "compressed",
    "value_of",
]

_GZIP: Final = zlib.MAX_WBITS | 16
"""zlib's number for the largest window, in the format of RFC 1952."""


@dataclass(frozen=True, slots=True)
class CompressedValue:
    """A value that its record declares to be compressed.

    Attributes:
        data: The compressed bytes.
        encoding: What the record says of them; any JSON.
        size: Bytes of the value that the record declares; any JSON.
    """

    data: bytes
    encoding: object
    size: object


Value = str | CompressedValue | Reference
"""A value as its record has it."""


class DamagedError(Exception):
    """A compressed value cannot be decompressed to what its record declares; the text says why."""


class TooLargeError(Exception):
    """A record declares more bytes than the limits allow.

    Attributes:
        size: The bytes of the value, or of all compressed values up to this one.
        limit: The bytes that it may be.
        run: Whether the limit is that of the run.
    """

    def __init__(self, size: int, limit: int, *, run: bool) -> None:
        super().__init__(size)
        self.size = size
        self.limit = limit
        self.run = run

    def problem(self, name: str, step: str | None) -> Problem:
        """Return the problem of that result."""
        if not self.run:
            return result_too_large(name, self.size, self.limit, step=step)
        message = (
            f"{result_label(name, step)} would bring the compressed results of this run to {self.size} "
            f"bytes, over the limit of {self.limit} bytes for one run"
        )
        return Problem(
            code=ProblemCode.RUN_TOO_LARGE,
            message=message,
            result=name,
            step=step,
            size=self.size,
            limit=self.limit,
        )


def value_of(record: dict[str, Any]) -> str | CompressedValue | None:
    """Return the value in a record; ``None`` if it has no valid one."""
    if "encoding" in record:
        return compressed(record, record.get("data"))
    value = record.get("value")
    return value if isinstance(value, str) else None


def compressed(record: dict[str, Any], text: object) -> CompressedValue | None:
    """Return the compressed value of a record.

    Args:
        record: The record, which declares encoding and size.
        text: The compressed bytes as base64.

    Returns:
        The value; ``None`` if the text is not base64.
    """
    if not isinstance(text, str):
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return CompressedValue(data, record["encoding"], record.get("bytes"))


class Decompressor:
    """Decompresses the values of one pod, all together no further than the limit of a run.

    Attributes:
        used: Whether any value was compressed.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._total = 0
        self.used = False

    def text(self, value: CompressedValue) -> str:
        """Return the text of a value.

        What its record declares is compared with the limits before anything is decompressed, and no more than
        one byte beyond that is.

        Raises:
            TooLargeError: It is over a limit.
            DamagedError: It is not what its record declares.
        """
        size = size_of(value.size)
        if value.encoding != wires.GZIP or size is None:
            raise DamagedError("its encoding or its number of bytes is none that a results sidecar writes")
        if size > self._limits.result_bytes:
            raise TooLargeError(size, self._limits.result_bytes, run=False)
        if self._total + size > self._limits.run_bytes:
            raise TooLargeError(self._total + size, self._limits.run_bytes, run=True)
        self._total += size
        self.used = True
        return _decompressed(value.data, size)


def _decompressed(data: bytes, size: int) -> str:
    stream = zlib.decompressobj(_GZIP)
    try:
        plain = stream.decompress(data, size + 1)
    except zlib.error:
        raise DamagedError("its value cannot be decompressed") from None
    if len(plain) > size:
        raise DamagedError(f"its value has more than the {size} bytes that it declares")
    if not stream.eof:
        raise DamagedError("its compressed value is cut")
    if len(plain) < size:
        raise DamagedError(f"its value has {len(plain)} bytes, and it declares {size}")
    if stream.unused_data:
        raise DamagedError("something follows its compressed value")
    try:
        return plain.decode()
    except UnicodeDecodeError:
        raise DamagedError("its value is not UTF-8") from None
