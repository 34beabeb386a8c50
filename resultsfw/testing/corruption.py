"""Generate damaged versions of a byte stream without knowing its format."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from resultsfw.testing.tasks import VALUE_MARK

__all__ = ["CORRUPTIONS", "FORGERIES", "TRUNCATIONS", "TYPES", "Corruption", "change_types", "endless_line"]

Corruption = Callable[[bytes, bytes], Iterator[bytes]]
"""Maps the genuine bytes, and those of another run of the same Task, to damaged ones."""

_PLACES: Final = 24


def _cuts(true: bytes, _: bytes) -> Iterator[bytes]:
    """Cut at both ends, at many places between them, and around each line's end."""
    size = len(true)
    places = {0, 1, size - 1, *(size * part // _PLACES for part in range(_PLACES))}
    for end in _line_ends(true):
        places |= {end - 1, end, end + 1}
    yield from (true[:place] for place in sorted(places) if 0 <= place < size)


def _heads_lost(true: bytes, _: bytes) -> Iterator[bytes]:
    """Remove the beginning, as of a rotated log."""
    size = len(true)
    places = {1, *(size * part // _PLACES for part in range(1, _PLACES)), *_line_ends(true)}
    yield from (true[place:] for place in sorted(places) if 0 < place < size)


def _dropped(true: bytes, _: bytes) -> Iterator[bytes]:
    lines = _lines(true)
    yield from (b"".join(lines[:at] + lines[at + 1 :]) for at in _some(lines))


def _doubled(true: bytes, _: bytes) -> Iterator[bytes]:
    lines = _lines(true)
    yield from (b"".join([*lines[: at + 1], *lines[at:]]) for at in _some(lines))
    yield true + true


def _swapped(true: bytes, _: bytes) -> Iterator[bytes]:
    lines = _lines(true)
    for at in _some(lines[:-1]):
        yield b"".join([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]])
    yield b"".join(reversed(lines))


def _last_line_wrong(true: bytes, other: bytes) -> Iterator[bytes]:
    """Remove, double or tear the end record, or take another run's."""
    lines, others = _lines(true), _lines(other)
    head, end = b"".join(lines[:-1]), lines[-1] if lines else b""
    yield head
    yield head + end + end
    yield end + head
    yield head + end.rstrip(b"\n")[: len(end) // 2]
    yield head + (others[-1] if others else b"")


def _interleaved(true: bytes, other: bytes) -> Iterator[bytes]:
    """Two streams in one, line by line and piece by piece."""
    lines, others = _lines(true), _lines(other)
    both = max(len(lines), len(others))
    yield b"".join(b"".join([*lines[at : at + 1], *others[at : at + 1]]) for at in range(both))
    half = len(true) // 2
    yield true[:half] + other + true[half:]
    yield true + other
    yield other + true


def _of_another(_: bytes, other: bytes) -> Iterator[bytes]:
    """Return the whole stream of another run of the same Task."""
    yield other


def _nul(true: bytes, _: bytes) -> Iterator[bytes]:
    for place in _spread(true):
        yield true[:place] + b"\0" + true[place:]
    yield b"\0" * 512 + true
    yield true + b"\0" * 512


def _not_utf8(true: bytes, _: bytes) -> Iterator[bytes]:
    for place in _spread(true):
        yield true[:place] + b"\xff\xfe\xe9" + true[place:]
    yield b"\xff" * 64


def _flipped(true: bytes, _: bytes) -> Iterator[bytes]:
    """Flip one bit of single bytes."""
    for number, place in enumerate(_spread(true)):
        yield true[:place] + bytes([true[place] ^ (1 << number % 7)]) + true[place + 1 :]


def _noise(true: bytes, _: bytes) -> Iterator[bytes]:
    """Lines that nobody who writes the format writes."""
    lines = _lines(true)
    for line in (b"", b"warning: out of memory", b"{}", b"[]", b"null", b'{"name":', b"a" * 70_000):
        yield b"".join([*lines[:1], line + b"\n", *lines[1:]])
        yield true + line + b"\n"


def _deep(true: bytes, _: bytes) -> Iterator[bytes]:
    """JSON so deep that a parser runs out of stack."""
    for text in (b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000):
        yield text
        yield b"".join([*_lines(true)[:1], text + b"\n", *_lines(true)[1:]])


def _retyped_lines(true: bytes, _: bytes) -> Iterator[bytes]:
    """Change the type of each part of a JSON line, or remove it."""
    lines = _lines(true)
    for at in _some(lines):
        for other in change_types(lines[at]):
            yield b"".join([*lines[:at], other + b"\n", *lines[at + 1 :]])


def _forged_names(true: bytes, other: bytes) -> Iterator[bytes]:
    """Names of results in each other's place, and names that nobody declared."""
    yield from (
        true.replace(b"first", b"other").replace(b"second", b"first").replace(b"other", b"second"),
        true.replace(b"first", b"second"),
        true.replace(b"first", b"undeclared"),
        true.replace(b"first", b"../../first"),
        true.replace(b"second", b"").replace(b"first", VALUE_MARK.encode()),
    )
    lines, others = _lines(true), _lines(other)
    # A whole record of another run where one of ours stood.
    yield from (b"".join([*lines[:at], *others[at : at + 1], *lines[at + 1 :]]) for at in _some(lines))


def _nothing(_: bytes, __: bytes) -> Iterator[bytes]:
    yield from (b"", b"\n", b"\n" * 1000, b" ", b"\r\n")


CORRUPTIONS: Final[dict[str, Corruption]] = {
    "cut": _cuts,
    "beginning-lost": _heads_lost,
    "line-dropped": _dropped,
    "line-doubled": _doubled,
    "lines-swapped": _swapped,
    "end-wrong": _last_line_wrong,
    "interleaved": _interleaved,
    "of-another-run": _of_another,
    "nul-bytes": _nul,
    "not-utf8": _not_utf8,
    "bit-flipped": _flipped,
    "noise": _noise,
    "deep-json": _deep,
    "wrong-types": _retyped_lines,
    "forged-names": _forged_names,
    "nothing": _nothing,
}
"""By the name that a test has in a report."""

TRUNCATIONS: Final = frozenset({"cut"})
"""After these even a transport without digests shows no value that no Step wrote: at worst, fewer."""

FORGERIES: Final = frozenset({"forged-names"})
"""In these, whole records of another run take the place of this run's, and the mark that of a name.

A transport whose end tells that something is wrong need not tell which record it is.
"""

TYPES: Final[tuple[Any, ...]] = (None, True, 0, -1.5, "", [], {}, ["x"], {"x": {}}, 10**30)


def change_types(text: bytes) -> Iterator[bytes]:
    """JSON text with each value in it of another type, or left out; nothing for a text that is not JSON."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    for other in TYPES:
        yield json.dumps(other).encode()
    places = (
        [document]
        if isinstance(document, dict)
        else [item for item in _items(document) if isinstance(item, dict)]
    )
    for place in places:
        for key in list(place):
            kept = place.pop(key)
            yield json.dumps(document).encode()
            for other in TYPES:
                place[key] = other
                yield json.dumps(document).encode()
            place[key] = kept


def _items(document: object) -> list[Any]:
    return document if isinstance(document, list) else []


def endless_line(size: int) -> Iterator[bytes]:
    """Yield one line of so many bytes without an end, generated as it is read."""
    piece = b"x" * 65_536
    yield b'{"name":"first","value":"'
    for _ in range(size // len(piece)):
        yield piece


def _lines(text: bytes) -> list[bytes]:
    return text.splitlines(keepends=True) if b"\r" not in text else text.split(b"\n")


def _some(lines: list[bytes]) -> list[int]:
    """Numbers of lines: all of a short text, of a long one the first and the last."""
    return sorted({*range(len(lines))[:_PLACES], *range(len(lines))[-_PLACES:]})


def _line_ends(text: bytes) -> list[int]:
    ends = [found.end() for found in re.finditer(b"\n", text)]
    return ends[:20] + ends[-20:]


def _spread(text: bytes) -> list[int]:
    """Places all over the text, those of a short one all."""
    return sorted({at * len(text) // 48 for at in range(48)}) if text else []
