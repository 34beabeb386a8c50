"""Escape what would steer a terminal. Imports nothing, so that errors are printed without rich."""

from collections.abc import Callable

__all__ = ["escaped_lines", "has_printable_lines", "plain"]


def plain(text: str) -> str:
    """Return text on one line, with control characters escaped so that they cannot steer a terminal."""
    if text.isprintable():
        return text  # nearly all, at a hundredth of the time: logs have gigabytes
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def escaped_lines(text: str, escape: Callable[[str], str]) -> str:
    """Return lines with each character escaped that is not printable: it must not steer a terminal."""
    if has_printable_lines(text):
        return text
    return "".join(char if char.isprintable() or char == "\n" else escape(char) for char in text)


def has_printable_lines(text: str) -> bool:
    """Return whether all characters are printable, but for the ends of lines."""
    return all(line.isprintable() for line in text.split("\n"))
