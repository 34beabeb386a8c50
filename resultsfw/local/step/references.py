"""Replaces ``$(steps.STEP.results.RESULT)`` by the result that an earlier Step wrote."""

import json
import re

from .files import RefusedError, read

_STEPS = "$(steps."
_RESULTS = ".results."
_INDEX = re.compile(r"\[([0-9])*\*?\]")
MOST = 2 << 20
"""Bytes: no argument can be longer, nor a result."""


class UnresolvedError(Exception):
    """A reference cannot be resolved: no such Step, result, key or index."""


def mentions(text: str) -> bool:
    """Return whether the text contains a reference."""
    return bool(_find_references(text))


def in_environment(environment: dict[str, str], steps: str) -> None:
    """Replace references in the values of variables; a whole array cannot be a value.

    Raises:
        UnresolvedError: One cannot be resolved; those before it were replaced.
    """
    for name, value in list(environment.items()):
        if mentions(value):
            environment[name] = _in_text(value, steps)


def in_command(command: list[str], steps: str) -> list[str]:
    """Return the command with references replaced; each element of a whole array becomes an argument.

    Raises:
        UnresolvedError: One cannot be resolved, or a whole array is part of a text.
    """
    replaced: list[str] = []
    for argument in command:
        found = _find_references(argument)
        values = [_value(reference, steps) for reference in found]
        if any(isinstance(value, list) and value for value in values):
            if len(found) != 1 or argument != found[0]:
                raise UnresolvedError(
                    f'"{argument}": an array must stand alone as $(steps.STEP.results.RESULT[*])'
                )
            replaced += values[0]
        else:
            replaced.append(_in_text(argument, steps))
    return replaced


def _in_text(text: str, steps: str) -> str:
    parts, last = [], 0
    for reference in _find_references(text):
        value = _value(reference, steps)
        if isinstance(value, list):
            raise UnresolvedError(
                f'"{reference}": an array cannot be part of a text; name one of its elements'
            )
        start = text.index(reference, last)
        parts += [text[last:start], value]
        last = start + len(reference)
    return "".join([*parts, text[last:]])


def _find_references(text: str) -> list[str]:
    """Return the references in a text, in linear time; a reference does not span lines.

    `resultsfw.tekton.spec` finds the same references. This program must not import it: it uses only the
    standard library, as it starts for every Step.
    """
    found = []
    for line in text.split("\n"):
        start = line.find(_STEPS)
        while start >= 0:
            middle = line.find(_RESULTS, start + len(_STEPS))
            end = line.find(")", middle + len(_RESULTS)) if middle >= 0 else -1
            if end < 0:
                break
            found.append(line[start : end + 1])
            start = line.find(_STEPS, end + 1)
    return found


def _value(reference: str, steps: str) -> str | list[str]:
    parts = reference[2:-1].split(".")
    if len(parts) not in (4, 5) or parts[2] != "results":
        raise UnresolvedError(f'"{reference}" is not a reference to a result of a Step')
    step, name = parts[1], parts[3]
    index = _INDEX.search(name) if len(parts) == 4 else None  # noqa: PLR2004 - steps, S, results, R
    if index:
        name = _INDEX.sub("", name)
    value = _load(f"{steps}/step-{step}/results/{name}", reference)
    # Tekton puts "" for a part that does not exist: "rm -rf $(steps.s.results.r.k)/*" becomes "rm -rf /*".
    if len(parts) == 5:  # noqa: PLR2004
        if not isinstance(value, dict) or parts[4] not in value:
            raise UnresolvedError(f'"{reference}": the result has no key "{parts[4]}"')
        return value[parts[4]]
    if not index:
        if not isinstance(value, str):
            raise UnresolvedError(
                f'"{reference}": the result is not a string; name an element or a key of it'
            )
        return value
    if not isinstance(value, list):
        raise UnresolvedError(f'"{reference}": the result is not an array')
    items = value
    wanted = index[0][1:-1]
    if wanted in ("", "*"):
        return items
    try:
        return items[int(wanted)]
    except (IndexError, ValueError):
        raise UnresolvedError(f'"{reference}": the array has {len(items)} items') from None


def load(path: str, reference: str) -> bytes:
    """Return the file that an earlier Step wrote, up to `MOST` bytes of it.

    Args:
        path: The file.
        reference: The reference to it, for messages.

    Raises:
        UnresolvedError: There is none, or it must not be read.
    """
    try:
        found = read(path, MOST)
    except RefusedError as error:
        raise UnresolvedError(f'"{reference}": {error.reason}') from None
    if found is None:
        raise UnresolvedError(f'"{reference}": no Step wrote it')
    return found[0]


def _load(path: str, reference: str) -> str | list[str] | dict[str, str]:
    """Return a result's value, with its type inferred from its text as Tekton does."""
    text = load(path, reference).decode("utf-8", "surrogateescape")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, str):
        return value
    if text.startswith("[") and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    if text.startswith("{") and isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return value
    return text
