"""Call the hooks of a backend; every failure names backend and hook.

What a hook returns is checked by `resultsfw.checked_hooks`.
"""

import logging
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from resultsfw.errors import BackendError, ExtensionError, FaultyBackendError, ResultsError
from resultsfw.hook_returns import return_fault
from resultsfw.plugin_failures import INTERRUPTS, describe_place, is_programming_error, traceback_in_plugin
from resultsfw.plugins import Backend

__all__ = ["call", "decrypt", "dereference"]

log = logging.getLogger(__name__)


def call(backend: Backend, hook: str, **arguments: Any) -> Any:
    """Call a hook of a backend, and pass it the backend's name.

    Raises:
        ResultsError: The backend raised it; it is passed on unchanged.
        FaultyBackendError: The backend has a programming error: it raised one, or returned what it may not.
        ExtensionError: An extension failed, or made of the returned value what it may not be.
        BackendError: The backend raised any other exception; the log has its traceback. The message has its
            type and place, and not its text, which may quote a value.
    """
    try:
        returned = partial(getattr(backend.hook, hook), backend=backend.name, **arguments)()
    except (ResultsError, *INTERRUPTS):
        raise
    except BaseException as error:
        raise _failure(backend, hook, error) from error
    if backend.extensions:
        _check_again(backend, hook, returned, arguments)
    return returned


def dereference(backend: Backend, **arguments: Any) -> Iterator[bytes]:
    """Call ``dereference`` and yield the pieces; raises what `call` raises, also between two pieces."""
    return _pieces(backend, "dereference", call(backend, "dereference", **arguments))


def decrypt(backend: Backend, pieces: Iterator[bytes], **arguments: Any) -> Iterator[bytes]:
    """Call ``decrypt`` and yield the value's pieces; raises what `call` raises, also between two pieces.

    All of the stored pieces are read, and so verified, however many the hook takes.

    Raises:
        FaultyBackendError: The backend has no such hook.
    """
    if not any(not impl.wrapper and not impl.hookwrapper for impl in backend.hook.decrypt.get_hookimpls()):
        raise FaultyBackendError(
            f'backend "{backend.name}" has no hook decrypt, which a reference to an encrypted value needs',
            subject=backend.name,
            hook="decrypt",
        )
    returned = call(backend, "decrypt", pieces=pieces, **arguments)

    def value() -> Iterator[bytes]:
        yield from _pieces(backend, "decrypt", returned)
        for _ in pieces:
            pass

    return value()


def _pieces(backend: Backend, hook: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except (ResultsError, *INTERRUPTS):
        raise
    except BaseException as error:
        raise _failure(backend, hook, error) from error


def _check_again(backend: Backend, hook: str, returned: Any, arguments: dict[str, Any]) -> None:
    """Check what extensions made of the value that the backend returned, which was checked before."""
    fault = return_fault(
        hook, returned, backend=backend.name, capabilities=backend.capabilities, arguments=arguments
    )
    if fault is not None:
        names = ", ".join(f'"{name}"' for name in sorted(backend.extensions))
        raise ExtensionError(
            f"an extension ({names}) made of what {hook} returned what it may not be: {': '.join(fault)}. "
            f"This is a fault of the extension, for its author",
            subject=names,
            final=True,
        )


def _failure(backend: Backend, hook: str, error: BaseException) -> BackendError:
    log.error("backend %r failed in %s", backend.name, hook, exc_info=traceback_in_plugin(error))
    place = describe_place(backend.plugin, error)
    message = f'backend "{backend.name}" failed in {hook}: {type(error).__name__}, at {place}'
    if is_programming_error(error):
        return FaultyBackendError(
            f"{message}. This is a fault of the backend, for its author; the log has the traceback",
            subject=backend.name,
            hook=hook,
        )
    return BackendError(f"{message}; the log has the traceback", subject=backend.name)
