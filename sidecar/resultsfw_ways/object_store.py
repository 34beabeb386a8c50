"""Results through an object store: what is large is uploaded, and the log says where it is.

An object is named by the SHA-256 of what it holds, below the folder of its run: the same value of another
result, or of another attempt of the run, is uploaded once.
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
from resultsfw_sidecar.ways import Way as Log

from .store import ENV_FOLDER, ENV_INLINE, ENV_JSON, ENV_OPTIONS, ENV_URL, PART, Store, StoreError

PATIENCE = 60.0
"""Seconds for which a request to the store is tried again."""

_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
_LOOKS = 5  # at a file that changes meanwhile


class _ChangedError(Exception):
    """What is uploaded is not what was measured."""


class Way(Log):
    """Small values in their records, and of large ones references."""

    ceiling = 2**63 - 1  # what an object may have is the store's to say, and told by the backend

    def open(self, environment: Environment, stop: Stop) -> None:
        """Finds out where the store is; nothing is asked of it yet."""
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

    def take(self, result: Result) -> Iterable[bytes] | None:
        """Takes a result's value: into its record, or into the store."""
        most = self._environment.max_result_size
        try:
            value = result.read(min(self._inline, most))
        except RefusedError as refused:
            if refused.reason != wire.TOO_LARGE:
                raise
        else:
            if value is None:
                return None
            self.count(len(value))
            return self.record(result, value)
        file = result.open(most)
        if file is None:
            raise RefusedError(wire.UNREADABLE, "its file went while it was read")
        try:
            # An upload takes its time: what was said before it must not be lost with us.
            self.output.flush()
            return [self._stored(result, file)]
        finally:
            file.close()

    def deliver(self) -> str:
        """Makes sure that the log is written; what could not be stored is said once more, for people."""
        super().deliver()
        return "\n".join(self._complaints)

    def _stored(self, result: Result, file: File) -> bytes:
        """Uploads a value; the record that says where it is."""
        for _ in range(_LOOKS):
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
        if self._down:  # every result would wait for as long as the first one did
            raise StoreError(self._down, "unavailable")
        if self._is_there(path, size):
            return
        pieces = _same(file, size, digest)
        self._store.put(path, b"".join(pieces) if size <= PART else pieces)

    def _is_there(self, path: str, size: int) -> bool:
        """Whether the same was uploaded before, by an earlier start or for another result."""
        try:
            return self._store.size(path) == size
        except StoreError as error:
            # S3 says so of what is not there, to who may not list.
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
    """A file's size and digest.

    Raises:
        RefusedError: It is too large, or no UTF-8.
    """
    digest, size = hashlib.sha256(), 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    held = 0  # bytes of a character that is not whole yet
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
    """A file's pieces, if they are still those that were measured.

    Raises:
        _ChangedError: They are not; at the end, or at the first byte too many.
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
