"""What the server needs of a store of deliveries; `resultsfw.server.stores` opens one.

A delivery is what one pod delivers for one attempt of one run: once, whole, with its digest. Deliveries are
read by pod and removed by run: the clients know no more.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from resultsfw.server.refusals import RefusalError

__all__ = ["ORPHAN_SECONDS", "AttemptKey", "Store", "StoredBytes", "first_line", "unavailable"]

log = logging.getLogger(__name__)

ORPHAN_SECONDS: Final = 3600.0
"""Age from which the server checks that a result's run exists: the controller has removed most by then."""


@dataclass(frozen=True, slots=True)
class AttemptKey:
    """Identifies an attempt of a run.

    Attributes:
        namespace: Of the run.
        run: Its uid.
        attempt: 0 for the first, one more for each retry.
    """

    namespace: str
    run: str
    attempt: int

    @property
    def prefix(self) -> str:
        """The prefix of the keys of all its pods."""
        return f"results/{self.namespace}/{self.run}/{self.attempt}"


class StoredBytes(Protocol):
    """The stored bytes of each namespace, for the metrics. Safe for threads."""

    @property
    def quota(self) -> int:
        """Bytes of one namespace; 0 for no limit."""
        ...

    @property
    def total(self) -> int:
        """Bytes of all namespaces."""
        ...

    def largest(self, number: int) -> list[tuple[str, int]]:
        """Return the namespaces with the most bytes, and their bytes."""
        ...


class Store(Protocol):
    """The delivered results. Safe for threads; each method takes seconds at most, or raises RefusalError.

    Attributes:
        usage: The stored bytes of each namespace.
    """

    @property
    def usage(self) -> StoredBytes:
        """The stored bytes of each namespace."""
        ...

    def admit(self, attempt_key: AttemptKey, pod: str, size: int) -> None:
        """Raise RefusalError if a body of that size would exceed the quota, before it is read."""
        ...

    def put(self, attempt_key: AttemptKey, pod: str, body: bytes, name: str = "") -> tuple[str, bool]:
        """Store what a pod delivered.

        Args:
            attempt_key: The attempt of the run.
            pod: The pod's uid.
            body: What it delivered.
            name: The run's name, if known: stored to check later that the run exists.

        Returns:
            The SHA-256, and whether it is new: the same body a second time changes nothing.

        Raises:
            RefusalError: The pod delivered something else before, its namespace would exceed its quota, or
                the store cannot be written.
        """
        ...

    def get(self, attempt_key: AttemptKey, pod: str, *, most: int) -> tuple[bytes, str]:
        """Return a pod's body and its verified SHA-256.

        Args:
            attempt_key: The attempt of the run.
            pod: The pod's uid.
            most: Limit of a body in bytes; a larger one is not read.

        Raises:
            RefusalError: The pod delivered nothing, or its results are damaged, or cannot be read.
        """
        ...

    def size(self, attempt_key: AttemptKey, pod: str) -> int:
        """Return the bytes that `get` will need. Raises what that raises."""
        ...

    def remove(self, attempt_key: AttemptKey) -> int:
        """Remove everything that pods delivered for an attempt of a run; return how many results.

        Raises:
            RefusalError: The store cannot be written.
        """
        ...

    def recount(self) -> None:
        """Recount the stored bytes of each namespace.

        Raises:
            RefusalError: The store cannot be read.
        """
        ...

    def orphans(self, exists: Callable[[str, str, str], bool]) -> int:
        """Remove results older than `ORPHAN_SECONDS` whose run no longer exists; return how many.

        Args:
            exists: Returns whether there is a run of that namespace, name and uid.

        Raises:
            RefusalError: The store cannot be read or written, or the API server did not answer.
        """
        ...

    def sweep(self, seconds: float) -> int:
        """Remove older results; return how many.

        Raises:
            RefusalError: The store cannot be read or written.
        """
        ...

    def probe(self) -> None:
        """Raise RefusalError if the store cannot be reached."""
        ...

    def close(self) -> None:
        """Close connections and files. The store is not used afterwards."""
        ...


def unavailable(error: BaseException) -> RefusalError:
    """Log why a store failed, and return the refusal that a client sees: it names nothing of the store."""
    log.error("store error: %s", first_line(error))
    return RefusalError("Unavailable", "the store cannot be reached or written now; see the server's log")


def first_line(error: BaseException) -> str:
    """Return the first line of an error: stores append their internal state, databases what was in a row."""
    return str(error).split("\n", 1)[0][:300]
