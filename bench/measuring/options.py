"""Parses options of the benchmarks."""

from collections.abc import Iterable


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """Parse texts of the form ``KEY=VALUE``.

    Raises:
        SystemExit: One has no ``=``.
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise SystemExit(f"{text!r} is not KEY=VALUE")
        found[key] = value
    return found
