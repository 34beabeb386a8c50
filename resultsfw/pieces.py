"""Close what yields a value in pieces as soon as its reader ends, also in the middle."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["closing"]

_PieceT = TypeVar("_PieceT")


@contextmanager
def closing(pieces: Iterable[_PieceT]) -> Iterator[Iterable[_PieceT]]:
    """Close a generator at the end of the block; other iterables have nothing to close.

    Otherwise it ends when Python collects it: an exception refers to its frame, and the connection that it
    reads from would stay open meanwhile.
    """
    try:
        yield pieces
    finally:
        close = getattr(pieces, "close", None)
        if callable(close):
            close()
