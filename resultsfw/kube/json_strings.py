"""Recognize JSON that cannot name this controller, without decoding it."""

import re
from typing import Final

__all__ = ["lacks_string"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9./_:-]+")
"""Texts that JSON encoders write as they are; only ``/`` may be written as ``\\/``."""

_OTHER_SPELLING: Final = re.compile(rb"\\(?:/|u(?!003[ce]|0026))")
"""Escapes that may stand for a character of `_PLAIN`. Almost every script has the three that Go's encoder
writes for ``<``, ``>`` and ``&`` (``\\u003c``, ``\\u003e``, ``\\u0026``): these are no such characters."""


def lacks_string(data: bytes, text: str) -> bool:
    """Return whether JSON certainly has no string that is equal to a text, neither as a value nor as a key.

    The text is searched for between quotes. Where the JSON has escapes that may stand for a character of the
    text, the answer is no; then only decoding tells.

    Args:
        data: JSON in UTF-8.
        text: The string.
    """
    if not _PLAIN.fullmatch(text) or b'"%b"' % text.encode() in data:
        return False
    # Searching for one byte is some 50 times as fast as for a pattern.
    return b"\\" not in data or _OTHER_SPELLING.search(data) is None
