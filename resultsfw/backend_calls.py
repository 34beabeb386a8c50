"""Call the hooks of a backend and check what they return; every failure names the backend."""

import logging
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from resultsfw.errors import BackendError, ResultsError
from resultsfw.plugins import Backend
from resultsfw.types import Extraction

__all__ = ["call", "dereference", "extract", "prepare_pod"]

log = logging.getLogger(__name__)


def call(backend: Backend, hook: str, **arguments: Any) -> Any:
    """Call a hook of a backend.

    Raises:
        ResultsError: The backend raised it; it is passed on unchanged.
        BackendError: The backend raised any other exception; the log has its traceback. The message has only
            its type, since its text may quote a value.
    """
    try:
        return partial(getattr(backend.hook, hook), **arguments)()
    except ResultsError:
        raise
    except (Exception, SystemExit) as error:  # SystemExit would silently end a worker thread
        raise _failure(backend, hook, error) from error


def prepare_pod(backend: Backend, **arguments: Any) -> int:
    """Call ``prepare_pod`` and return the wire version.

    Raises:
        ResultsError: See `call`.
        BackendError: The hook returned something other than an integer from 0.
    """
    wire = call(backend, "prepare_pod", **arguments)
    if type(wire) is not int or wire < 0:
        raise BackendError(
            f'backend "{backend.name}" returned {wire!r:.80} from prepare_pod and not the version of its '
            f"format, an integer from 0; without it the pod could not be read",
            subject=backend.name,
        )
    return wire


def extract(backend: Backend, **arguments: Any) -> Extraction:
    """Call ``extract`` and return the extraction.

    Raises:
        ResultsError: See `call`.
        BackendError: The hook returned something other than an `Extraction`.
    """
    extraction = call(backend, "extract", **arguments)
    if not isinstance(extraction, Extraction):
        raise BackendError(
            f'backend "{backend.name}" returned {type(extraction).__name__} from extract and not an '
            f"Extraction",
            subject=backend.name,
        )
    return extraction


def dereference(backend: Backend, **arguments: Any) -> Iterator[bytes]:
    """Call ``dereference`` and yield the pieces; raises what `call` raises, also between two pieces."""
    return _pieces(backend, call(backend, "dereference", **arguments))


def _pieces(backend: Backend, pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except ResultsError:
        raise
    except (Exception, SystemExit) as error:
        raise _failure(backend, "dereference", error) from error


def _failure(backend: Backend, hook: str, error: BaseException) -> BackendError:
    log.error("backend %r failed in %s", backend.name, hook, exc_info=error)
    return BackendError(
        f'backend "{backend.name}" failed in {hook}: {type(error).__name__}', subject=backend.name
    )
