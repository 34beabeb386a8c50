"""Where delivered results are kept: one object for each pod, written once, with its digest.

Keys below the store's root:

    pods/NAMESPACE/POD_UID                          the pod's claim: what it wrote, and under which run
    results/NAMESPACE/RUN_UID/ATTEMPT/POD_UID       a line about the body, then the body

The claim comes first, so that a pod writes once and not once for every run it names. Reading takes the
pod, removing the run: each needs what its asker knows.

Calls are obstore's synchronous ones, on threads of the caller's: its asynchronous ones can abort the process
as the interpreter ends (pyo3-async-runtimes issue 40).
"""

import hashlib
import json
import logging
import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import from_url

from resultsfw.errors import InputError
from resultsfw.server.refusals import RefusalError
from resultsfw.server.usage import Usage, cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Place", "Results", "open_store"]

log = logging.getLogger(__name__)

_ABOUT_BYTES: Final = 1024
"""The line before a body is shorter."""

ORPHAN_SECONDS: Final = 3600.0
"""Age from which the run of a result is asked for again: the controller has read and removed most by then."""

_STAGED: Final = re.compile(r".*#\d+")
"""What a write that was killed leaves of a file: obstore writes it whole, then gives it its name."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose results: an attempt of a run."""

    namespace: str
    run: str
    attempt: int

    @property
    def prefix(self) -> str:
        """Of the keys of all its pods."""
        return f"results/{self.namespace}/{self.run}/{self.attempt}"


def open_store(url: str) -> "Results":
    """The store at a URL: ``file:///FOLDER``, ``s3://BUCKET/PREFIX``, ``gs://``, ``az://``.

    Credentials are found as the store's own tools find them, in the environment.

    Raises:
        InputError: There is no such store.
    """
    parts = urlsplit(url)
    try:
        if parts.scheme == "file":
            folder = Path(unquote(parts.path))
            if parts.netloc or not folder.is_absolute():
                raise InputError(f"--store {url}: a folder is given as file:///PATH", subject="--store")
            store = from_url(url, mkdir=True, automatic_cleanup=True)
            return Results(store, folder)
        options: Any = {"timeout": "15s", "connect_timeout": "5s", "allow_http": _plain()}
        patience: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
        return Results(from_url(url, client_options=options, retry_config=patience), None)
    except (BaseError, ValueError, OSError) as error:
        raise InputError(f"--store {url}: {_said(error)}", subject="--store") from error


class Results:
    """Delivered results. Safe for threads.

    Args:
        store: An obstore store.
        folder: Where it is a folder of this machine.

    Attributes:
        usage: What each namespace has stored, and its quota.
    """

    def __init__(self, store: Any, folder: Path | None) -> None:
        self._store = store
        self._folder = folder
        self.usage = Usage()

    def admit(self, place: Place, pod: str, size: int) -> None:
        """Raise RefusalError if there is no room for a body of that size: before it is read."""
        try:
            self.usage.check(place.namespace, _cost(size))
        except RefusalError:
            if not self._has(f"{place.prefix}/{pod}"):  # the same again takes no more room
                raise

    def put(self, place: Place, pod: str, body: bytes, name: str = "") -> tuple[str, bool]:
        """Keep what a pod delivered.

        Args:
            place: Of which run.
            pod: Its uid.
            body: What it delivered.
            name: The run's, where it is known: kept to ask for the run later.

        Returns:
            Its SHA-256, and whether it is new: the same body a second time changes nothing.

        Raises:
            RefusalError: The pod wrote something else before, its namespace is over its quota, or the store
                cannot be written.
        """
        size, new, room = _cost(len(body)), False, True
        try:
            self.usage.reserve(place.namespace, size)
        except RefusalError:
            if not self._has(f"{place.prefix}/{pod}"):
                raise
            room = False
        try:
            sha256, new = self._put(place, pod, body, name)
        finally:
            if room and not new:
                self.usage.release(place.namespace, size)
        return sha256, new

    def _put(self, place: Place, pod: str, body: bytes, name: str) -> tuple[str, bool]:
        sha256 = hashlib.sha256(body).hexdigest()
        claim = {"run": place.run, "attempt": place.attempt, "sha256": sha256}
        held = f"pods/{place.namespace}/{pod}"
        said = {**claim, "name": name} if name else claim
        if not self._create(held, _line(said)) and _identity(self._claim(held)) != claim:
            raise RefusalError(
                "AlreadyWritten",
                f'pod "{pod}" delivered other results before, or for another run; what is there stays',
            )
        key = f"{place.prefix}/{pod}"
        whole = _about(sha256, len(body)) + body
        if self._create(key, whole):
            return sha256, True
        try:
            self._opened(key)
        except RefusalError as error:
            if error.code != "Damaged":
                raise
            # The pod's claim names this very body, so it is what was to stand there.
            self._do("put", key, whole)
            log.warning("%s was damaged and is written again", key)
            return sha256, True
        return sha256, False

    def get(self, place: Place, pod: str, *, most: int) -> tuple[bytes, str]:
        """A pod's body and its SHA-256, compared.

        Args:
            place: Whose.
            pod: Its uid.
            most: Bytes a body may have; one over it is not read.

        Raises:
            RefusalError: It delivered nothing, or what is there is damaged, or cannot be read.
        """
        return self._opened(f"{place.prefix}/{pod}", most)

    def size(self, place: Place, pod: str) -> int:
        """Bytes that `get` will take. Raises what that does."""
        return int(self._do("head", f"{place.prefix}/{pod}")["size"])

    def remove(self, place: Place) -> int:
        """Remove all that pods delivered for an attempt of a run; how many.

        Raises:
            RefusalError: The store cannot be written.
        """
        removed = 0
        for key, _, size in self._listed(place.prefix):
            self._delete(key, size)
            self._delete(f"pods/{place.namespace}/{key.rpartition('/')[2]}", 0)
            removed += 1
        return removed

    def recount(self) -> None:
        """Count anew what each namespace has stored.

        Raises:
            RefusalError: The store cannot be read.
        """
        # A claim counts as an object without bytes of its own, as in `_cost`.
        self.usage.recount(
            (key.split("/")[1], size if root == "results" else 0)
            for root in ("results", "pods")
            for key, _, size in self._listed(root)
            if key.count("/") > 1
        )

    def orphans(self, exists: "Callable[[str, str, str], bool]") -> int:
        """Remove results whose run does not exist any more; how many.

        Args:
            exists: Whether there is a run of that namespace, name and uid.

        Raises:
            RefusalError: The store cannot be read or written, or it cannot be known.
        """
        settled = datetime.fromtimestamp(time.time() - ORPHAN_SECONDS, UTC)
        removed = 0
        for key, at, size in self._listed("results"):
            if at >= settled:
                continue
            _, namespace, run, _, pod = key.split("/")
            claim = self._claim_or_none(f"pods/{namespace}/{pod}")
            name = claim.get("name") if isinstance(claim, dict) else None
            if isinstance(name, str) and name and not exists(namespace, name, run):
                self._delete(key, size)
                self._delete(f"pods/{namespace}/{pod}", 0)
                removed += 1
        return removed

    def sweep(self, seconds: float) -> int:
        """Remove what is older; how many results.

        Raises:
            RefusalError: The store cannot be read or written.
        """
        oldest = datetime.fromtimestamp(time.time() - seconds, UTC)
        removed = 0
        for root in ("results", "pods"):
            for key, at, size in self._listed(root):
                if at < oldest:
                    self._delete(key, size if root == "results" else 0)
                    removed += root == "results"
        if self._folder is not None:
            for file in self._folder.rglob("*#*"):
                if _STAGED.fullmatch(file.name) and file.stat().st_mtime < oldest.timestamp():
                    file.unlink(missing_ok=True)
        return removed

    def probe(self) -> None:
        """Raises RefusalError: The store cannot be reached."""
        next(self._listed("results/-"), None)

    # What obstore does.

    def _create(self, key: str, data: bytes) -> bool:
        try:
            self._do("put", key, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def _has(self, key: str) -> bool:
        try:
            self._do("head", key)
        except RefusalError as error:
            if error.code != "NotFound":
                raise
            return False
        return True

    def _claim_or_none(self, key: str) -> Any:
        try:
            return self._claim(key)
        except RefusalError as error:
            if error.code != "NotFound":
                raise
            return None

    def _claim(self, key: str) -> Any:
        got = self._do("get", key)
        try:
            return _read(bytes(got.bytes()))
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def _opened(self, key: str, most: int | None = None) -> tuple[bytes, str]:
        got = self._do("get", key)
        if most is not None and got.meta["size"] > most + _ABOUT_BYTES:
            raise RefusalError("Damaged", f"what is stored has {got.meta['size']} bytes, over {most}")
        try:
            data = bytes(got.bytes())
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error
        line, _, body = data.partition(b"\n")
        sha256 = hashlib.sha256(body).hexdigest()
        if _read(line) != {"sha256": sha256, "bytes": len(body)}:
            raise RefusalError("Damaged", "what is stored is not what was delivered: its digest is another")
        return body, sha256

    def _delete(self, key: str, size: int) -> None:
        try:
            self._do("delete", key)
        except RefusalError as error:
            if error.code != "NotFound":
                raise
        else:
            self.usage.release(key.split("/")[1], cost(size))

    def _listed(self, prefix: str) -> "Iterator[tuple[str, datetime, int]]":
        """Key, time and size of each object."""
        pages = self._store.list(prefix)
        while True:
            try:
                page = next(pages, None)
            except (BaseError, OSError) as error:
                raise _unavailable(error) from error
            if page is None:
                return
            for one in page:
                yield one["path"], one["last_modified"], int(one["size"])

    def _do(self, verb: str, *args: Any, **named: Any) -> Any:
        try:
            return getattr(self._store, verb)(*args, **named)
        except FileNotFoundError:
            raise RefusalError("NotFound", "this pod has delivered nothing") from None
        except AlreadyExistsError:
            raise
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error


def _cost(size: int) -> int:
    """What a delivery of that size counts: the body with the line before it, and the claim."""
    return cost(len(_about("0" * 64, size)) + size) + cost(0)


def _about(sha256: str, size: int) -> bytes:
    """The line before a body."""
    return _line({"sha256": sha256, "bytes": size})


def _identity(claim: Any) -> Any:
    """What of a claim says which delivery it stands for; its run's name is for later."""
    return {key: value for key, value in claim.items() if key != "name"} if isinstance(claim, dict) else claim


def _plain() -> bool:
    """Whether the environment allows a store without TLS: options of ours take the place of all of its."""
    names = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP")
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in names)


def _unavailable(error: Exception) -> RefusalError:
    log.error("store error: %s", _said(error))
    return RefusalError("Unavailable", "the store cannot be reached or written now; see the server's log")


def _said(error: Exception) -> str:
    """The first line: behind it the library prints what it holds."""
    return str(error).split("\n", 1)[0][:300]


def _read(line: bytes) -> Any:
    """What such a line says; nothing if it is none, whatever stands there."""
    try:
        return json.loads(line) if len(line) < _ABOUT_BYTES else None
    except (ValueError, RecursionError):
        return None


def _line(about: dict[str, Any]) -> bytes:
    return json.dumps(about, separators=(",", ":")).encode() + b"\n"
