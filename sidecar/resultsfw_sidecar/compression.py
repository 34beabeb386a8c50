"""Compresses values for wire 2, with the standard library's zlib as gzip: `base64 -d | gunzip` reads one."""

LEAST = 1024
"""Bytes below which no value is compressed: it stays readable, and no limit is near."""

_GZIP = 31  # zlib's number for the largest window, in the format of RFC 1952
_LEVEL = 6
_PIECE = 65_536


def compress(value: bytes, most: int) -> bytes | None:
    """Returns a value compressed; None if it is smaller than `LEAST` or does not become small enough.

    Args:
        value: Any bytes.
        most: Bytes that the compressed value may have.
    """
    if len(value) < LEAST:
        return None
    import zlib  # noqa: PLC0415 - for few runs

    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    packed = bytearray()
    for at in range(0, len(value), _PIECE):
        packed += stream.compress(value[at : at + _PIECE])
        if len(packed) > most:
            return None
    packed += stream.flush()
    return bytes(packed) if len(packed) <= most else None
