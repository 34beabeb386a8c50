"""Parses durations as Go writes them: ``1h2m3.5s``."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DIGITS = "0123456789."


def seconds(text: str) -> float:
    """Return the seconds of a Go duration.

    Raises:
        ValueError: The text is not a duration.
    """
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0.0
    total = 0.0
    if not rest:
        raise ValueError(f'invalid duration "{text}"')
    while rest:
        number = rest[: len(rest) - len(rest.lstrip(_DIGITS))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµμmsh"))]
        rest = rest[len(unit) :]
        if unit not in _UNITS or not number.strip(".") or number.count(".") > 1:
            raise ValueError(f'invalid duration "{text}"')
        total += float(number) * _UNITS[unit]
    return sign * total
