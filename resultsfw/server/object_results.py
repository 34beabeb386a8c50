"""Store deliveries in an object store or a folder: one object for each pod, written once, with its digest.

Keys below the store's root:

    pods/NAMESPACE/POD_UID                          the pod's claim: the digest it wrote, and for which run
    results/NAMESPACE/RUN_UID/ATTEMPT/POD_UID       a line with size and digest, then the body

The claim is written first, so that a pod writes once, and not once for every run it names. Results are read
by pod and removed by run: the clients know no more.

obstore is called synchronously, on threads of the caller: its asynchronous calls can abort the process when
the interpreter exits (pyo3-async-runtimes issue 40).
"""

import hashlib
import json
import logging
import os
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import from_url

from resultsfw.errors import InputError
from resultsfw.server.refusals import RefusalError
from resultsfw.server.store import ORPHAN_SECONDS, AttemptKey, first_line, unavailable
from resultsfw.server.usage import Usage, cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ObjectResults", "open_object_store"]

log = logging.getLogger(__name__)

_ABOUT_BYTES: Final = 1024
"""Limit of the line before a body."""

_STAGED: Final = re.compile(r".*#\d+")
"""The name of a file that a killed write leaves behind: obstore writes a temporary file, then renames it."""


def open_object_store(url: str, quota: int = 0) -> "ObjectResults":
    """Open the store at a URL: ``file:///FOLDER``, ``s3://BUCKET/PREFIX``, ``gs://``, ``az://``.

    Credentials come from the environment, as for the store's own tools.

    Args:
        url: Of the store.
        quota: Bytes of one namespace; 0 for no limit.

    Raises:
        InputError: The URL is invalid, or the store cannot be opened.
    """
    parts = urlsplit(url)
    try:
        if parts.scheme == "file":
            folder = Path(unquote(parts.path))
            if parts.netloc or not folder.is_absolute():
                raise InputError(f"--store {url}: a folder is given as file:///PATH", subject="--store")
            store = from_url(url, mkdir=True, automatic_cleanup=True)
            return ObjectResults(store, folder, quota)
        options: Any = {"timeout": "15s", "connect_timeout": "5s", "allow_http": _plain()}
        patience: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
        return ObjectResults(from_url(url, client_options=options, retry_config=patience), None, quota)
    except (BaseError, ValueError, OSError) as error:
        raise InputError(f"--store {url}: {first_line(error)}", subject="--store") from error


class ObjectResults:
    """See `resultsfw.server.store.Store`.

    Args:
        store: An obstore store.
        folder: Its folder, if it is one on this machine.
        quota: Bytes of one namespace; 0 for no limit.

    Attributes:
        usage: Counts the stored bytes of each namespace, and has its quota.
    """

    def __init__(self, store: Any, folder: Path | None, quota: int = 0) -> None:
        self._store = store
        self._folder = folder
        self.usage = Usage(quota)

    def admit(self, attempt_key: AttemptKey, pod: str, size: int) -> None:
        """See `resultsfw.server.store.Store`."""
        try:
            self.usage.check(attempt_key.namespace, _cost(size))
        except RefusalError:
            if not self._has(f"{attempt_key.prefix}/{pod}"):  # the same body again takes no more bytes
                raise

    def put(self, attempt_key: AttemptKey, pod: str, body: bytes, name: str = "") -> tuple[str, bool]:
        """See `resultsfw.server.store.Store`."""
        size, new, reserved = _cost(len(body)), False, True
        try:
            self.usage.reserve(attempt_key.namespace, size)
        except RefusalError:
            if not self._has(f"{attempt_key.prefix}/{pod}"):
                raise
            reserved = False
        try:
            sha256, new = self._put(attempt_key, pod, body, name)
        finally:
            if reserved and not new:
                self.usage.release(attempt_key.namespace, size)
        return sha256, new

    def _put(self, attempt_key: AttemptKey, pod: str, body: bytes, name: str) -> tuple[str, bool]:
        sha256 = hashlib.sha256(body).hexdigest()
        claim = {"run": attempt_key.run, "attempt": attempt_key.attempt, "sha256": sha256}
        claim_key = f"pods/{attempt_key.namespace}/{pod}"
        written = {**claim, "name": name} if name else claim
        if not self._create(claim_key, _line(written)) and _identity(self._claim(claim_key)) != claim:
            raise RefusalError(
                "AlreadyWritten",
                f'pod "{pod}" delivered other results before, or for another run; those stay',
            )
        key = f"{attempt_key.prefix}/{pod}"
        whole = _about(sha256, len(body)) + body
        if self._create(key, whole):
            return sha256, True
        try:
            self._opened(key)
        except RefusalError as error:
            if error.code != "Damaged":
                raise
            # The pod's claim has the digest of this very body, so this repairs the object.
            self._do("put", key, whole)
            log.warning("%s was damaged and is written again", key)
            return sha256, True
        return sha256, False

    def get(self, attempt_key: AttemptKey, pod: str, *, most: int) -> tuple[bytes, str]:
        """See `resultsfw.server.store.Store`."""
        return self._opened(f"{attempt_key.prefix}/{pod}", most)

    def size(self, attempt_key: AttemptKey, pod: str) -> int:
        """See `resultsfw.server.store.Store`."""
        return int(self._do("head", f"{attempt_key.prefix}/{pod}")["size"])

    def remove(self, attempt_key: AttemptKey) -> int:
        """See `resultsfw.server.store.Store`."""
        removed = 0
        for key, _, size in self._listed(attempt_key.prefix):
            self._delete(key, size)
            self._delete(f"pods/{attempt_key.namespace}/{key.rpartition('/')[2]}", 0)
            removed += 1
        return removed

    def recount(self) -> None:
        """See `resultsfw.server.store.Store`."""
        # A claim counts as an empty object, as in `_cost`.
        self.usage.recount(
            (key.split("/")[1], size if root == "results" else 0)
            for root in ("results", "pods")
            for key, _, size in self._listed(root)
            if key.count("/") > 1
        )

    def orphans(self, exists: "Callable[[str, str, str], bool]") -> int:
        """See `resultsfw.server.store.Store`."""
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
        """See `resultsfw.server.store.Store`."""
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
        """See `resultsfw.server.store.Store`."""
        next(self._listed("results/-"), None)

    def close(self) -> None:
        """See `resultsfw.server.store.Store`; an object store keeps nothing open."""

    # Calls of obstore.

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
            raise unavailable(error) from error

    def _opened(self, key: str, most: int | None = None) -> tuple[bytes, str]:
        got = self._do("get", key)
        if most is not None and got.meta["size"] > most + _ABOUT_BYTES:
            raise RefusalError("Damaged", f"the stored results have {got.meta['size']} bytes, over {most}")
        try:
            data = bytes(got.bytes())
        except (BaseError, OSError) as error:
            raise unavailable(error) from error
        line, _, body = data.partition(b"\n")
        sha256 = hashlib.sha256(body).hexdigest()
        if _read(line) != {"sha256": sha256, "bytes": len(body)}:
            raise RefusalError("Damaged", "the stored results are damaged: their digest has changed")
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
        """Yield key, time and size of each object."""
        pages = self._store.list(prefix)
        while True:
            try:
                page = next(pages, None)
            except (BaseError, OSError) as error:
                raise unavailable(error) from error
            if page is None:
                return
            for obj in page:
                yield obj["path"], obj["last_modified"], int(obj["size"])

    def _do(self, verb: str, *args: Any, **named: Any) -> Any:
        try:
            return getattr(self._store, verb)(*args, **named)
        except FileNotFoundError:
            raise RefusalError("NotFound", "this pod has delivered nothing") from None
        except AlreadyExistsError:
            raise
        except (BaseError, OSError) as error:
            raise unavailable(error) from error


def _cost(size: int) -> int:
    """Return the bytes that a delivery of that size counts: body, the line before it, and the claim."""
    return cost(len(_about("0" * 64, size)) + size) + cost(0)


def _about(sha256: str, size: int) -> bytes:
    """Return the line before a body."""
    return _line({"sha256": sha256, "bytes": size})


def _identity(claim: Any) -> Any:
    """Return the part of a claim that identifies a delivery: all but the run's name."""
    if not isinstance(claim, dict):
        return claim
    return {key: value for key, value in claim.items() if key != "name"}


def _plain() -> bool:
    """Return whether the environment allows a store without TLS: client options hide it from obstore."""
    names = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP")
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in names)


def _read(line: bytes) -> Any:
    """Return the JSON of a line; ``None`` if it is not valid."""
    try:
        return json.loads(line) if len(line) < _ABOUT_BYTES else None
    except (ValueError, RecursionError):
        return None


def _line(about: dict[str, Any]) -> bytes:
    return json.dumps(about, separators=(",", ":")).encode() + b"\n"
