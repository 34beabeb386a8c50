"""Parse the names of namespaces that an operator gives."""

import re
from typing import Final

from resultsfw.errors import InputError

__all__ = ["check_namespace_name", "parse_namespaces"]

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_MOST: Final = 100
"""Namespaces that a controller can be limited to. Each has a thread and a connection for each kind."""


def check_namespace_name(name: str, option: str) -> str:
    """Return a name if a namespace can have it (a DNS label, RFC 1123).

    Raises:
        InputError: It cannot.
    """
    if not _NAMESPACE.fullmatch(name):
        raise InputError(
            f'"{name}" is not a valid namespace: lowercase letters, digits and "-"', subject=option
        )
    return name


def parse_namespaces(text: str, option: str = "--watch-namespaces") -> tuple[str, ...]:
    """Return the namespaces of a list separated by commas, each once; none if there are none.

    Raises:
        InputError: A name is invalid, or there are too many.
    """
    parts = dict.fromkeys(part.strip() for part in text.split(","))
    parts.pop("", None)
    if len(parts) > _MOST:
        raise InputError(
            f"{len(parts)} namespaces are more than {_MOST}: leave the option out to watch the whole cluster",
            subject=option,
        )
    return tuple(check_namespace_name(part, option) for part in parts)
