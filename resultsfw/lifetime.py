"""End something that several threads share once it is closed and none of them uses it any more."""

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Concatenate, Final, ParamSpec, Protocol, Self, TypeVar

__all__ = ["ClosedError", "HasLifetime", "Lifetime", "during_life"]

_ParametersT = ParamSpec("_ParametersT")
_OwnerT = TypeVar("_OwnerT", bound="HasLifetime")
_ReturnT = TypeVar("_ReturnT")
_PieceT = TypeVar("_PieceT")


class ClosedError(RuntimeError):
    """Something was used after it was closed: a fault of the calling program."""


class Lifetime:
    """Counts the users of something, and ends it once it is closed and has no users.

    Args:
        what: What it is, for the message of `ClosedError`.
        end: Ends it; called once, on the thread of the last user or of `close`.

    Attributes:
        ended: Set when ``end`` has been called.
    """

    def __init__(self, what: str, end: Callable[[], None]) -> None:
        self.ended: Final = threading.Event()
        self._what = what
        self._end = end
        self._changing = threading.Lock()
        self._users = 0
        self._closed = False

    def use(self) -> Self:
        """Return a context that keeps it from ending within the block; blocks may be nested.

        Entering raises `ClosedError` if it is closed and no enclosing block keeps it.
        """
        return self

    def __enter__(self) -> Self:
        with self._changing:
            if self._closed and not self._users:
                raise ClosedError(f"this {self._what} is closed")
            self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._changing:
            self._users -= 1
            ends = self._closed and not self._users
        if ends:
            self._finish()

    def during(self, pieces: Iterable[_PieceT]) -> Iterator[_PieceT]:
        """Yield the pieces; keep it from ending from the first one until the iterator is done or closed."""
        with self.use():
            yield from pieces

    def close(self) -> None:
        """End it as soon as no call uses it. May be called again."""
        with self._changing:
            ends = not self._closed and not self._users
            self._closed = True
        if ends:
            self._finish()

    def _finish(self) -> None:
        try:
            self._end()
        finally:
            self.ended.set()


class HasLifetime(Protocol):
    """An object whose methods `during_life` decorates."""

    @property
    def lifetime(self) -> Lifetime:
        """Return its lifetime."""


def during_life(
    method: Callable[Concatenate[_OwnerT, _ParametersT], _ReturnT],
) -> Callable[Concatenate[_OwnerT, _ParametersT], _ReturnT]:
    """Decorate a method so that its object does not end while it runs.

    The method raises `ClosedError` if the object is closed.
    """

    @wraps(method)
    def counted(owner: _OwnerT, /, *args: _ParametersT.args, **kwargs: _ParametersT.kwargs) -> _ReturnT:
        with owner.lifetime.use():
            return method(owner, *args, **kwargs)

    return counted
