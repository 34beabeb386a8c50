"""Parse the values of Tekton's ConfigMaps; an error names the key of an invalid value."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from resultsfw.documents import DocumentError, read_first
from resultsfw.durations import parse_duration
from resultsfw.errors import FlagError

__all__ = ["duration_seconds", "whole_number", "yaml_mapping"]

_SHOWN: Final = 60
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Of events only. Python's own takes quadratic time on what nests deeply, where libyaml has a limit."""


def whole_number(data: Mapping[str, str], key: str) -> int | None:
    """Return a key's whole number, 0 or more; ``None`` without the key. Empty is invalid, as in Tekton.

    Raises:
        FlagError: The value is invalid; the error's subject is the key.
    """
    if (text := data.get(key)) is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(2**31))):
        raise _invalid(key, text, "is not a whole number of 0 or more")
    return int(text)


def duration_seconds(data: Mapping[str, str], key: str) -> float | None:
    """Return a key's duration in seconds, 0 or more; ``None`` without the key.

    Raises:
        FlagError: The value is invalid; the error's subject is the key.
    """
    if (text := data.get(key)) is None:
        return None
    try:
        seconds = parse_duration(text) / 1_000_000_000
    except ValueError as error:
        raise _invalid(key, text, f"is {error}") from error
    if seconds < 0:
        raise _invalid(key, text, "is below zero")
    return seconds


def yaml_mapping(data: Mapping[str, str], key: str) -> dict[str, Any]:
    """Return a key's mapping of YAML or JSON; without the key, or where it says nothing, an empty one.

    Aliases are refused: a few lines of them can stand for more values than there is memory.

    Raises:
        FlagError: The value is invalid; the error's subject is the key.
    """
    text = data.get(key, "")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_LOADER)):
            raise FlagError(f'the key "{key}" contains a YAML alias (*); write the value out', subject=key)
        value = read_first(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        raise FlagError(f'the key "{key}" is not YAML{where}', subject=key) from error
    except DocumentError as error:
        where = f" (line {error.line})" if error.line is not None else ""
        raise FlagError(f'the key "{key}" {error.why}{where}', subject=key) from error
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise FlagError(f'the key "{key}" is not a mapping of names to values', subject=key)
    return value


def _invalid(key: str, text: str, why: str) -> FlagError:
    return FlagError(f'invalid value for the key "{key}": "{text[:_SHOWN]}" {why}', subject=key)
