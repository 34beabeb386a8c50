"""Uploads large values to an object store; the log has references to them.

An object's name is the SHA-256 of its content, below the folder of its run: the same value of another result,
or of another attempt of the run, is uploaded once.
"""

import codecs
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Final

from resultsfw_sidecar import wire
from resultsfw_sidecar.files import File, RefusedError
from resultsfw_sidecar.results import Result, not_utf8
from resultsfw_sidecar.settings import Environment, SettingsError
from resultsfw_sidecar.stop import Stop
from resultsfw_sidecar.transports import LogTransport

from .store import (
    ENV_FOLDER,
    ENV_INLINE,
    ENV_JSON,
    ENV_OPTIONS,
    ENV_URL,
    PART,
    RECORD_BYTES,
    Store,
    StoreError,
)

PATIENCE = 60.0
"""Seconds during which a request to the store is retried."""

_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
_ATTEMPTS = 5  # to read a file that changes meanwhile


class _ChangedError(Exception):
    """The file changed between measuring and uploading."""


class Transport(LogTransport):
    """Prints small values in their records, and references to large ones."""

    ceiling = 2**63 - 1  # the store limits the size of an object, and the backend says that limit

    def open(self, environment: Environment, stop: Stop) -> None:
        """Reads the store's address; sends no request yet."""
        super().open(environment, stop)
        variables = {
            key.decode("utf-8", "replace"): value.decode("utf-8", "surrogateescape")
            for key, value in environment.variables.items()
        }
        try:
            self._inline = int(variables[ENV_INLINE])
            self._folder = variables[ENV_FOLDER]
            self._json = frozenset(json.loads(variables[ENV_JSON]))
            options = json.loads(variables[ENV_OPTIONS])
            self._store = Store(variables[ENV_URL], options, patience=PATIENCE, make=True)
        except KeyError as error:
            raise SettingsError(wire.BAD_ENVIRONMENT, f"{error.args[0]} is not set") from None
        except ValueError as error:
            raise SettingsError(wire.BAD_ENVIRONMENT, f"the object store cannot be used: {error}") from None
        self._complaints: list[str] = []
        self._down = ""

    def collect(self, result: Result) -> Iterable[bytes] | None:
        """Puts a result's value into its record, or into the store."""
        most = self._environment.max_result_size
        # A status contains artifacts themselves, never a reference.
        inline = max(self._inline, RECORD_BYTES) if result.is_artifacts else self._inline
        try:
            value = result.read(min(inline, most))
        except RefusedError as refused:
            if refused.reason != wire.TOO_LARGE or result.is_artifacts:
                raise
        else:
            if value is None:
                return None
            self.count(len(value))
            return self.record(result, value)
        file = result.open(most)
        if file is None:
            raise RefusedError(wire.UNREADABLE, "its file was removed while it was read")
        try:
            # An upload takes time; if the sidecar is killed meanwhile, the earlier records must not be lost.
            self.output.flush()
            return [self._stored(result, file)]
        finally:
            file.close()

    def deliver(self) -> str:
        """Flushes the log; returns the failed uploads as the termination message, for people."""
        super().deliver()
        return "\n".join(self._complaints)

    def _stored(self, result: Result, file: File) -> bytes:
        """Uploads a value and returns its record, a reference."""
        for _ in range(_ATTEMPTS):
            size, digest = _measured(file)
            path = f"{self._folder}/{digest}"
            try:
                self._upload(path, file, size, digest)
            except _ChangedError:
                continue
            except StoreError as error:
                raise self._undelivered(result, size, error) from None
            self.count(size)
            return wire.reference_line(
                result.name,
                result.of,
                location=f"{self._store.url}/{path}",
                size=size,
                digest=f"sha256:{digest}",
                media_type=_JSON if result.name in self._json else _TEXT,
            )
        raise file.changing()

    def _upload(self, path: str, file: File, size: int, digest: str) -> None:
        if self._down:  # else every result would be retried for as long as the first one
            raise StoreError(self._down, "unavailable")
        if self._is_there(path, size):
            return
        pieces = _same(file, size, digest)
        self._store.put(path, b"".join(pieces) if size <= PART else pieces)

    def _is_there(self, path: str, size: int) -> bool:
        """Returns whether the object exists, from an earlier start or another result."""
        try:
            return self._store.size(path) == size
        except StoreError as error:
            # S3 answers 403 for an object that does not exist if the caller may not list the bucket.
            if error.kind != "forbidden":
                raise
            return False

    def _undelivered(self, result: Result, size: int, error: StoreError) -> RefusedError:
        if error.kind == "unavailable":
            self._down = str(error)
        message = f"its {size} bytes could not be stored: {error}: {self._store.url}"
        self._complaints.append(f"{wire.UNDELIVERED}: {result.name}: {message}")
        return RefusedError(wire.UNDELIVERED, message, size)


def _measured(file: File) -> tuple[int, str]:
    """Returns a file's size and digest.

    Raises:
        RefusedError: It is too large, or not UTF-8.
    """
    digest, size = hashlib.sha256(), 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    held = 0  # bytes of an incomplete character
    for piece in file.pieces():
        try:
            decoder.decode(piece)
        except UnicodeDecodeError as error:
            raise not_utf8(error.object[error.start], size - held + error.start) from None
        held = len(decoder.getstate()[0])
        size += len(piece)
        digest.update(piece)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise not_utf8(error.object[error.start], size - held + error.start) from None
    return size, digest.hexdigest()


def _same(file: File, size: int, digest: str) -> Iterator[bytes]:
    """Yields a file's pieces, as long as they are those that were measured.

    Raises:
        _ChangedError: They differ; raised at the end, or at the first byte too many.
    """
    again, sent = hashlib.sha256(), 0
    for piece in file.pieces():
        sent += len(piece)
        if sent > size:
            raise _ChangedError
        again.update(piece)
        yield piece
    if sent != size or again.hexdigest() != digest:
        raise _ChangedError
