"""Build elements of HTML and SVG. Texts are escaped by the serializer: no caller can forget it."""

from collections.abc import Mapping
from typing import Final
from xml.etree.ElementTree import Element, tostring

from rich.cells import cell_len

from resultsfw.cli.output import show

__all__ = ["Element", "abbreviate", "as_html", "as_svg", "element", "text_width"]

_WIDTHS: Final[Mapping[str, float]] = {
    **dict.fromkeys("ijlI.,;'`|! ", 0.34),
    **dict.fromkeys('frt-()[]{}/\\":', 0.42),
    **dict.fromkeys("w\u00d7", 0.84),
    **dict.fromkeys("mMW@%&\u2026", 1.02),
}
"""Widths of characters as fractions of the font size, at most, in the sans-serif fonts that are usual.

DejaVu Sans and Verdana are the widest of those.
"""
_LOWER: Final = 0.64
_UPPER: Final = 0.80
_WIDE: Final = 1.15
"""Of a character that takes two cells of a terminal."""
_BOLD: Final = 1.1
_ROUNDING: Final = 0.01


def element(tag: str, *content: Element | str | None, **attributes: str | float) -> Element:
    """Return an element with texts and elements in it.

    Args:
        tag: Its name.
        content: Texts, whose control characters are escaped as for a terminal, and elements; ``None`` is
            skipped.
        attributes: Underscores stand for hyphens, and one at the end is left out, as in ``class_``.
    """
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    created = Element(tag, {names[name]: _attribute(value) for name, value in attributes.items()})
    for part in content:
        if isinstance(part, str):
            _append_text(created, show.plain(part))
        elif part is not None:
            created.append(part)
    return created


def _attribute(value: str | float) -> str:
    return show.plain(value) if isinstance(value, str) else f"{value:g}"


def _append_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def as_svg(root: Element) -> str:
    """Return an SVG document that ends with a newline."""
    return tostring(root, encoding="unicode") + "\n"


def as_html(root: Element) -> str:
    """Return an HTML document that ends with a newline. The texts of ``style`` elements are not escaped."""
    return f"<!DOCTYPE html>\n{tostring(root, encoding='unicode', method='html')}\n"


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a text in pixels, at most, in any usual sans-serif font of a size in pixels."""
    return sum(map(_width, text)) * size * (_BOLD if bold else 1)


def _width(char: str) -> float:
    if known := _WIDTHS.get(char):
        return known
    if char.isascii():
        return _UPPER if char.isupper() else _LOWER
    return (0.0, _UPPER, _WIDE)[min(cell_len(char), 2)]


def abbreviate(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """Return a text on one line, without control characters; cut its end where it is wider than a width."""
    shown = show.plain(text)
    if text_width(shown, size, bold=bold) <= width + _ROUNDING:
        return shown
    kept = width - text_width("\u2026", size, bold=bold)
    end = 0
    for char in shown:
        kept -= text_width(char, size, bold=bold)
        if kept < 0:
            break
        end += 1
    return f"{shown[:end]}\u2026"
