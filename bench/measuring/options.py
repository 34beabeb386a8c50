"""What people write on the command line of a benchmark."""

from collections.abc import Iterable


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """Of ``KEY=VALUE``, each.

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
