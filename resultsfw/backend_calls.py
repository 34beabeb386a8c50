"""Call the hooks of a backend; every failure names backend and hook.

What a hook returns is checked by `resultsfw.checked_hooks`.
"""

import logging
import sys
import traceback
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from resultsfw.errors import BackendError, FaultyBackendError, ResultsError
from resultsfw.plugins import Backend

__all__ = ["call", "dereference"]

log = logging.getLogger(__name__)

_FOREIGN: Final = (Exception, SystemExit)
"""What a hook may raise. SystemExit would silently end a worker thread."""

_PROGRAMMING: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    SyntaxError,
    SystemExit,
    TypeError,
    ValueError,
)
"""Exceptions of Python that a hook raises by mistake. Another attempt would end the same way.

Others may pass: those of the operating system, and those that libraries define. They are repeated as a
`BackendError` is, although the backend should have converted them.
"""


def call(backend: Backend, hook: str, **arguments: Any) -> Any:
    """Call a hook of a backend, and tell it its name.

    Raises:
        ResultsError: The backend raised it; it is passed on unchanged.
        FaultyBackendError: The backend has a programming error: it raised one, or returned what it may not.
        BackendError: The backend raised any other exception; the log has its traceback. The message has its
            type and place, and not its text, which may quote a value.
    """
    try:
        return partial(getattr(backend.hook, hook), backend=backend.name, **arguments)()
    except ResultsError:
        raise
    except _FOREIGN as error:
        raise _failure(backend, hook, error) from error


def dereference(backend: Backend, **arguments: Any) -> Iterator[bytes]:
    """Call ``dereference`` and yield the pieces; raises what `call` raises, also between two pieces."""
    return _pieces(backend, call(backend, "dereference", **arguments))


def _pieces(backend: Backend, pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except ResultsError:
        raise
    except _FOREIGN as error:
        raise _failure(backend, "dereference", error) from error


def _failure(backend: Backend, hook: str, error: BaseException) -> BackendError:
    log.error("backend %r failed in %s", backend.name, hook, exc_info=error)
    message = (
        f'backend "{backend.name}" failed in {hook}: {type(error).__name__}, at {_place(backend, error)}'
    )
    if isinstance(error, _PROGRAMMING) and not isinstance(error, OSError):
        return FaultyBackendError(
            f"{message}. This is a fault of the backend, for its author; the log has the traceback",
            subject=backend.name,
            hook=hook,
        )
    return BackendError(f"{message}; the log has the traceback", subject=backend.name)


def _place(backend: Backend, error: BaseException) -> str:
    """Return where an exception was raised: the innermost line in the backend's folder, if there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    module = getattr(backend.plugin, "__name__", type(backend.plugin).__module__)
    file = getattr(sys.modules.get(module), "__file__", None)
    folder = Path(file).parent if file else None
    own = [frame for frame in frames if folder and folder in Path(frame.filename).parents] or frames
    if not own:
        return "an unknown place"
    return f"line {own[-1].lineno} of {Path(own[-1].filename).name}"
