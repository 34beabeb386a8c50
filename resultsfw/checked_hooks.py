"""Wrap a backend's hooks so that nothing sees a returned value before it has been checked."""

from collections.abc import Generator, Iterable, Iterator
from typing import Any, Final

from resultsfw.errors import FaultyBackendError
from resultsfw.hook_returns import Fault, piece_fault, return_fault
from resultsfw.hookspecs import hookimpl
from resultsfw.pieces import closing
from resultsfw.types import Capabilities, Run

__all__ = ["CheckedHooks", "returned_wrongly"]

_MOST_EMPTY: Final = 1000

_Wrapper = Generator[None, Any, Any]


class CheckedHooks:
    """Wrappers of all hooks of a backend, registered closer to it than any extension.

    Args:
        backend: The backend's name.
        capabilities: What it declares.
    """

    def __init__(self, backend: str, capabilities: Capabilities) -> None:
        self._backend = backend
        self._capabilities = capabilities

    @hookimpl(wrapper=True)
    def prepare_pod(self) -> _Wrapper:
        """Check that it returns a wire version."""
        return self._checked("prepare_pod", (yield))

    @hookimpl(wrapper=True)
    def pod_ready(self) -> _Wrapper:
        """Check that it returns a bool."""
        return self._checked("pod_ready", (yield))

    @hookimpl(wrapper=True)
    def extract(self, run: Run) -> _Wrapper:
        """Check every field of the extraction."""
        return self._checked("extract", (yield), run=run)

    @hookimpl(wrapper=True)
    def dereference(self) -> _Wrapper:
        """Check that it returns an iterable, and each piece of it."""
        return self._pieces("dereference", self._checked("dereference", (yield)))

    @hookimpl(wrapper=True)
    def decrypt(self) -> _Wrapper:
        """Check that it returns an iterable, and each piece of it."""
        return self._pieces("decrypt", self._checked("decrypt", (yield)))

    @hookimpl(wrapper=True)
    def place_files(self) -> _Wrapper:
        """Check that it returns nothing, in place of a changed pod."""
        return self._checked("place_files", (yield))

    @hookimpl(wrapper=True)
    def purge(self) -> _Wrapper:
        """Check that it returns nothing: a coroutine would have removed nothing."""
        return self._checked("purge", (yield))

    def _checked(self, hook: str, returned: Any, **arguments: Any) -> Any:
        fault = return_fault(
            hook, returned, backend=self._backend, capabilities=self._capabilities, arguments=arguments
        )
        if fault is not None:
            raise returned_wrongly(self._backend, hook, fault)
        return returned

    def _pieces(self, hook: str, pieces: Iterable[Any]) -> Iterator[bytes]:
        empty = 0
        with closing(pieces) as source:
            for piece in source:
                why, empty = piece_fault(piece), 0 if piece else empty + 1
                if why or empty > _MOST_EMPTY:
                    why = why or f"it yielded {empty} empty pieces in a row, which never ends"
                    raise returned_wrongly(self._backend, hook, ("", why))
                yield piece


def returned_wrongly(backend: str, hook: str, fault: Fault) -> FaultyBackendError:
    """Return the error for a wrong value of a hook."""
    field, why = fault
    what = f"{field}: {why}" if field else why
    return FaultyBackendError(
        f'backend "{backend}" returned from {hook} what it may not: {what}. This is a fault of the backend, '
        f"for its author",
        subject=backend,
        hook=hook,
        field=field,
    )
