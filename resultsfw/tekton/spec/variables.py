"""The syntax of Tekton's variables: find ``$(name)`` in texts, and keep values from being read as variables.

Every function takes time linear in the text: what users write is hostile.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "SUGGEST_FROM",
    "VARIABLE",
    "ExtractedResult",
    "array_index",
    "contains_protected",
    "contains_variable",
    "escape_protection",
    "find_prefixed",
    "is_tekton_variable",
    "map_texts",
    "nearest",
    "protect",
    "protect_beginnings",
    "protect_unless_live",
    "texts_in",
    "unprotect",
    "unprotect_names",
    "variables_in",
]

VARIABLE: Final = re.compile(r"\$\(([^()]*)\)")
"""A variable of anything, Tekton's or not; the first group is its name. Parentheses end the search at once,
so that ``$($($(`` is read once."""

_KIND: Final = (
    r"(?:params|workspaces|context|tasks|steps|step|finally|results|inputs|outputs|artifacts|credentials)"
)
_NAME: Final = re.compile(_KIND + r"""(?:\.[A-Za-z0-9_]|\[["'])[A-Za-z0-9_.\-\[\]'"*/]*""")
"""A name of a kind that Tekton knows. With a blank or a character of the shell in it, it is a command:
Tekton's names have none."""

_OPENING: Final = re.compile(r"\$\((~*)(" + _KIND + r"[.\[])")
"""Where a variable of Tekton's begins, perhaps protected; it need not be closed."""

_INDEX_DIGITS: Final = 10


def is_tekton_variable(name: str) -> bool:
    """Return whether a name between ``$(`` and ``)`` is of a kind that Tekton replaces.

    ``$(date)`` and ``$(params.sh --all)`` are the shell's own.
    """
    return _NAME.fullmatch(name) is not None


def array_index(digits: str) -> int:
    """Return the index that ASCII digits say; one of many is cut, since it is beyond the end of any array."""
    return int(digits.lstrip("0")[:_INDEX_DIGITS] or "0")


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in plain data, in order."""
    stack = [iter((value,))]
    while stack:
        for element in stack[-1]:
            if isinstance(element, str):
                yield element
            elif isinstance(element, list):
                stack.append(iter(element))
                break
            elif isinstance(element, dict):
                stack.append(iter(element.values()))
                break
        else:
            stack.pop()


def variables_in(value: Any) -> Iterator[str]:
    """Yield the name of every variable in plain data, in order."""
    for text in texts_in(value):
        if "$(" in text:
            for match in VARIABLE.finditer(text):
                yield match[1]


# Values are data. A text in which a value has been put in goes through later passes, and through another
# reconciler: a variable in the value, $(name), is written $(~name) until the last pass is done. A
# variable that is not closed is escaped as well: the text after the value may close it.


def protect(text: str, live: Callable[[str], bool] = lambda _: False) -> str:
    """Return a value's text with ``$(~name)`` for each of Tekton's variables in it.

    Args:
        text: The value.
        live: Says which variables a later pass is to replace all the same; they stay as they are.
    """
    return _protected(text, lambda match: bool(match[1]) or not _is_live(match, live))


def protect_unless_live(text: str, live: Callable[[str], bool]) -> str:
    """Return a text with ``$(~name)`` for Tekton's variables that are neither protected yet nor live."""
    return _protected(text, lambda match: not match[1] and not _is_live(match, live))


def protect_beginnings(text: str, is_value: Callable[[int, int], bool]) -> str:
    """Return a text in which those variables are protected whose beginning, by its place, is a value's."""
    return _protected(text, lambda match: is_value(match.start(), match.end()))


def _protected(text: str, chosen: Callable[[re.Match[str]], bool]) -> str:
    if "$(" not in text:
        return text
    return _OPENING.sub(lambda match: f"$(~{match[1]}{match[2]}" if chosen(match) else match[0], text)


def _is_live(beginning: re.Match[str], live: Callable[[str], bool]) -> bool:
    variable = VARIABLE.match(beginning.string, beginning.start())
    return variable is not None and is_tekton_variable(variable[1]) and live(variable[1])


def unprotect(value: Any) -> Any:
    """Return plain data as it was before `protect`; parts without ``$(~`` are shared with what is given."""
    return unprotect_names(value, ("",))


def unprotect_names(value: Any, beginnings: tuple[str, ...]) -> Any:
    """Return plain data with the protection taken off the variables whose names begin so."""

    def bare(match: re.Match[str]) -> str:
        tildes, name = match[1], match[2]
        return f"$({tildes[1:]}{name}" if tildes and name.startswith(beginnings) else match[0]

    def of(part: Any) -> Any:
        if isinstance(part, str):
            return _OPENING.sub(bare, part) if "$(~" in part else part
        if isinstance(part, list):
            changed = [of(element) for element in part]
            return changed if any(new is not old for new, old in zip(changed, part, strict=True)) else part
        if isinstance(part, dict):
            mapping = {of(key): of(element) for key, element in part.items()}
            same = len(mapping) == len(part) and all(
                new is old and mapping[new] is part[old] for new, old in zip(mapping, part, strict=True)
            )
            return part if same else mapping
        return part

    return of(value)


def escape_protection(value: Any) -> Any:
    """Return plain data as its author wrote it, so that `unprotect` gives it back."""
    if not contains_protected(value):
        return value
    return map_texts(value, lambda text: _protected(text, lambda match: bool(match[1])), keys=True)


def map_texts(
    value: Any, change: Callable[[str], str], *, keys: bool = False, skip: Collection[str] = ()
) -> Any:
    """Return plain data with each text changed.

    Args:
        value: The data.
        change: From a text to what it becomes.
        keys: Whether the keys of mappings are changed, too.
        skip: Keys of mappings whose values stay as they are.
    """
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [map_texts(element, change, keys=keys, skip=skip) for element in value]
    if isinstance(value, dict):
        return {
            change(key) if keys else key: element
            if key in skip
            else map_texts(element, change, keys=keys, skip=skip)
            for key, element in value.items()
        }
    return value


def contains_variable(value: Any) -> bool:
    """Return whether a text of plain data holds the beginning of a variable."""
    return any("$(" in text for text in texts_in(value))


def contains_protected(value: Any) -> bool:
    """Return whether plain data has a text that `unprotect` would change."""
    if isinstance(value, str):
        return "$(~" in value and unprotect(value) != value
    if isinstance(value, dict):
        return any(contains_protected(key) or contains_protected(element) for key, element in value.items())
    return isinstance(value, list) and any(map(contains_protected, value))


@dataclass(frozen=True, slots=True)
class ExtractedResult:
    """One variable as Tekton's own validation finds it.

    Attributes:
        start: Where it begins in the text.
        text: All of it, ``$(params.x)``.
        dotted: What follows the prefix and a dot; empty if it is not written so.
        quoted: The name between ``["`` and ``"]`` (or single quotes); empty if it is not written so.
    """

    start: int
    text: str
    dotted: str = ""
    quoted: str = ""


def find_prefixed(text: str, prefix: str) -> Iterator[ExtractedResult]:
    r"""Yield each ``$(prefix.NAME)``, ``$(prefix["NAME"])`` and ``$(prefix['NAME'])``, as Tekton does.

    Tekton (``pkg/substitution``, ``braceMatchingRegex``) takes for NAME the shortest text on the same line,
    so that ``$(params.$(params.x)`` is one variable named ``$(params.x``. A regular expression of Python's
    would look for the end again from every beginning; here each end is searched once.
    """
    opening, offset = f"$({prefix}", 0
    for line in text.split("\n") if opening in text else ():
        at = line.find(opening)
        ends = {end: _End(line, end) for end in (")", '"])', "'])")}
        while at >= 0:
            name = at + len(opening)
            follows, close, end = line[name : name + 2], -1, -1
            if follows[:1] == ".":
                close = end = ends[")"].after(name + 1)
            elif follows in ('["', "['"):
                close = ends[f"{follows[1]}])"].after(name + 2)
                end = close + 2
            if close < 0:
                at = line.find(opening, name)
                continue
            dotted = line[name + 1 : close] if close == end else ""
            quoted = line[name + 2 : close] if close != end else ""
            yield ExtractedResult(offset + at, line[at : end + 1], dotted, quoted)
            at = line.find(opening, end + 1)
        offset += len(line) + 1


class _End:
    """Finds the next place of a text after a position that only grows, each place once."""

    def __init__(self, text: str, wanted: str) -> None:
        self._text, self._wanted, self._found = text, wanted, -2

    def after(self, start: int) -> int:
        if self._found == -1 or self._found >= start:
            return self._found
        self._found = self._text.find(self._wanted, start)
        return self._found


SUGGEST_FROM: Final = 500
"""Names beyond which none is suggested: comparing costs time for each."""


def nearest(name: str, known: Collection[str]) -> str:
    """Return the known name most like a misspelt one; empty if none is like it, or there are too many."""
    if len(name) > 200 or len(known) > SUGGEST_FROM:  # noqa: PLR2004 - longer than any name that is typed
        return ""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), "")
