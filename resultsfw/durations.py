"""Durations as Go writes them: ``1h30m``, ``90s``, ``1.5h``."""

import re
from decimal import Decimal
from typing import Final

__all__ = ["format_duration", "parse_duration"]

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # micro sign
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_NUMBER: Final = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_UNIT: Final = "|".join(sorted(_NANOSECONDS, key=len, reverse=True))
_WHOLE: Final = re.compile(rf"([+-]?)((?:{_NUMBER}(?:{_UNIT}))+)")
_PART: Final = re.compile(rf"({_NUMBER})({_UNIT})")
_LONGEST_TEXT: Final = 200
"""Characters of a duration: from each digit of a row without a unit, the parts are searched to its end."""
_LONGEST: Final = 2**63 - 1  # nanoseconds: what Go's int64 holds, 292 years


def parse_duration(text: object) -> int:
    """Return the nanoseconds of a duration as Go's ``time.ParseDuration`` reads it; negative ones too.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(text, str):
        raise ValueError('no duration: write a text such as "1h30m"')  # noqa: TRY004 - one error for all that is none
    if text in {"0", "+0", "-0"}:
        return 0
    match = _WHOLE.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise ValueError('no duration: write hours, minutes and seconds such as "1h30m"')
    total = sum(int(Decimal(number) * _NANOSECONDS[unit]) for number, unit in _PART.findall(match[2]))
    if total > _LONGEST:
        raise ValueError("longer than a duration can be (292 years)")
    return -total if match[1] == "-" else total


def format_duration(nanoseconds: int) -> str:
    """Return a duration as Go's ``Duration.String`` prints it: ``1m30s``, ``500ms``, ``0s``."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest == 0:
        return "0s"
    for unit in ("ns", "µs", "ms"):
        if rest < _NANOSECONDS[unit] * 1000:
            return f"{sign}{_decimal(rest, _NANOSECONDS[unit])}{unit}"
    minutes, seconds = divmod(rest, _NANOSECONDS["m"])
    hours, minutes = divmod(minutes, 60)
    printed = f"{_decimal(seconds, _NANOSECONDS['s'])}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{printed}"
    return f"{sign}{minutes}m{printed}" if minutes else f"{sign}{printed}"


def _decimal(value: int, unit: int) -> str:
    """``value / unit`` without trailing zeros."""
    whole, fraction = divmod(value, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}d}".rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)
