r"""Split a CEL expression into tokens, in linear time, and take its strings out of the text.

The library's own lexer is a regular expression that takes exponential time on strings which are not closed
(``"\a\a\a...``). It gets numbers, names and operators only; strings become names.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from resultsfw.cel.errors import CelError

__all__ = ["MOST_TOKENS", "PLACEHOLDER", "Tokens", "count_tokens", "tokens_of"]

MOST_TOKENS: Final = 2000
"""Of an expression."""

PLACEHOLDER: Final = re.compile(r"_(?:string|bytes)_[0-9]+")
"""A name that stands for a string; no expression may hold one."""

_WORD, _STRING, _BYTES = "word", "string", "bytes"
_MOST_DIGITS: Final = 32
_SHOWN: Final = 60
_SPACE: Final = re.compile(r"(?:[ \t\r\n\f]|//[^\n]*)+")
_QUOTE: Final = re.compile(r"([bB]?[rR]?)('''|\"\"\"|'|\")")
_NUMBER: Final = re.compile(
    r"(?:0x[0-9a-fA-F]+[uU]?|[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+"
    r"|\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[uU]?)(?![A-Za-z0-9_])"
)
_NAME: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATOR: Final = re.compile(r"&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}]")
_PLAIN_LINE: Final = re.compile(r"[^\\\r\n'\"]+")
_PLAIN: Final = re.compile(r"[^\\'\"]+")
_ENDS_OPERAND: Final = re.compile(r"[A-Za-z0-9_.)\]}]")
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2}))"
)
_SIMPLE: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_LARGEST: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)
_RESERVED: Final = frozenset(
    (
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "namespace",
        "package",
        "return",
        "var",
        "void",
        "while",
    )
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """An expression without its strings.

    Attributes:
        text: Tokens with a blank between them.
        strings: Strings and bytes by the names that stand for them in the text.
    """

    text: str
    strings: dict[str, str | bytes]


def tokens_of(expression: str) -> Tokens:
    """Return the tokens of an expression.

    Raises:
        CelError: It has a character, string or number that is not valid, or too many tokens.
    """
    strings: dict[str, str | bytes] = {}
    words: list[str] = []
    for kind, value in _tokens(expression):
        if isinstance(value, bytes) or kind == _STRING:
            name = f"_{kind}_{len(strings)}"
            strings[name] = value
            words.append(name)
        else:
            words.append(value)
        if len(words) > MOST_TOKENS:
            raise CelError(f"the expression has more than {MOST_TOKENS} words and operators")
    return Tokens(_joined(words), strings)


def count_tokens(expression: str) -> int:
    """Return how many tokens an expression has, up to those that are read of it: valid ones, not too many."""
    count = 0
    with contextlib.suppress(CelError):
        for _ in islice(_tokens(expression), MOST_TOKENS):
            count += 1
    return count


def _joined(words: list[str]) -> str:
    """Return words with blanks; a minus before a number is part of it only where no operand is before it."""
    text: list[str] = []
    for index, word in enumerate(words):
        is_sign = (
            word == "-"
            and index + 1 < len(words)
            and words[index + 1][0] in "0123456789."
            and (index == 0 or not _ENDS_OPERAND.match(words[index - 1][-1]) or words[index - 1] == "in")
        )
        text.append(word if is_sign else word + " ")
    return "".join(text)


def _tokens(text: str) -> Iterator[tuple[str, str | bytes]]:
    """Yield the kind and the value of each token: a word as it is written, a string without its quotes."""
    at = 0
    while at < len(text):
        if match := _SPACE.match(text, at):
            at = match.end()
            continue
        if match := _QUOTE.match(text, at):
            value, at = _string(text, match)
            yield (_STRING if isinstance(value, str) else _BYTES), value
            continue
        match = _NUMBER.match(text, at) or _NAME.match(text, at) or _OPERATOR.match(text, at)
        if match is None:
            raise _syntax_error(text, at)
        word = match[0]
        if word in _RESERVED or PLACEHOLDER.fullmatch(word):
            raise CelError(f"Syntax error at character {at + 1}: reserved identifier: {word[:_SHOWN]}")
        if word[0].isdigit() and len(word) > _MOST_DIGITS:
            raise CelError(f"Syntax error at character {at + 1}: invalid number: {word[:_SHOWN]}")
        yield _WORD, word
        at = match.end()


def _string(text: str, opening: re.Match[str]) -> tuple[str | bytes, int]:
    """Return a string literal's value, and where it ends.

    Raises:
        CelError: It is not closed, or has an escape that is not valid.
    """
    prefix, quote = opening[1].lower(), opening[2]
    raw, one_line = "r" in prefix, len(quote) == 1
    at = last = opening.end()
    parts: list[str] = []
    while at < len(text):
        if text.startswith(quote, at):
            value = "".join([*parts, text[last:at]])
            if "b" not in prefix:
                return value, at + len(quote)
            return value.encode("utf-8", "surrogatepass"), at + len(quote)
        if text[at] == "\\" and not raw:
            escape = _ESCAPE.match(text, at)
            if escape is None:
                raise _syntax_error(text, at)
            parts += (text[last:at], _unescaped(text, escape))
            at = last = escape.end()
        elif match := _PLAIN_LINE.match(text, at) if one_line else _PLAIN.match(text, at):
            at = match.end()
        elif one_line and text[at] in "\r\n":
            break
        else:
            at += 1
    raise CelError(f"Syntax error at character {opening.start() + 1}: the string is not closed")


def _unescaped(text: str, escape: re.Match[str]) -> str:
    if escape[1]:
        return _SIMPLE.get(escape[1], escape[1])
    code = int(escape[5], 8) if escape[5] else int(escape[2] or escape[3] or escape[4], 16)
    if code > _LARGEST or code in _SURROGATES:
        raise _syntax_error(text, escape.start())
    return chr(code)


def _syntax_error(text: str, at: int) -> CelError:
    return CelError(f"Syntax error at character {at + 1}: token recognition error at: {text[at : at + 20]!r}")
