"""What transports share that keep large values outside of the pod: the log has small values, and references.

A transport subclasses `StoringTransport` and says how a file gets to where it is kept. Everything else is the
same for all: which values are small, how a file is measured and encrypted, and the records.
"""

import codecs
import hashlib
import json

from resultsfw_sidecar import wire
from resultsfw_sidecar.files import RefusedError
from resultsfw_sidecar.results import not_utf8
from resultsfw_sidecar.settings import SettingsError
from resultsfw_sidecar.transports import LogTransport

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from resultsfw_sidecar.files import File
    from resultsfw_sidecar.results import Result
    from resultsfw_sidecar.settings import Environment
    from resultsfw_sidecar.stop import Stop

    from .encryption import Encryptor

ENV_INLINE = "RESULTSFW_STORE_INLINE"
"""Bytes up to which a value stays in its record."""
ENV_JSON = "RESULTSFW_STORE_JSON"
"""JSON: a list of the names of results that are declared as array or object."""
ENV_SEALING = "RESULTSFW_STORE_SEALING"
"""JSON: `{"id", "key", "owner"}`: values are encrypted, and the operator's public key seals their keys."""

RECORD_BYTES = 4096
"""Bytes of a location or of artifacts for which a record has room, whatever `ENV_INLINE` says."""

MEDIA_TEXT = "text/plain; charset=utf-8"
MEDIA_JSON = "application/json"

_ATTEMPTS = 5  # to read a file that changes meanwhile


class ChangedError(Exception):
    """The file changed between measuring and storing."""


class NotStoredError(Exception):
    """A value could not be stored; the message is for people and contains no secret.

    Attributes:
        final: Whether no other value can be stored either, so that trying takes time for nothing.
        limit: Bytes that could be stored, where that is the reason.
    """

    def __init__(self, message: str, *, final: bool = False, limit: int | None = None) -> None:
        super().__init__(message)
        self.final = final
        self.limit = limit


class StoringTransport(LogTransport):
    """Prints small values in their records, and references to large ones.

    Attributes:
        variables: The environment, as text; set by `open`.
    """

    ceiling = 2**63 - 1  # the store limits the size of an object, and the backend says that limit

    def open(self, environment: "Environment", stop: "Stop") -> None:
        """Reads the variables of all transports that store values.

        Raises:
            SettingsError: One is missing or has an invalid value.
        """
        super().open(environment, stop)
        self.variables = {
            key.decode("utf-8", "replace"): value.decode("utf-8", "surrogateescape")
            for key, value in environment.variables.items()
        }
        try:
            self._inline = int(self.variable(ENV_INLINE))
            self._json = frozenset(json.loads(self.variable(ENV_JSON)))
        except (TypeError, ValueError) as error:
            raise SettingsError(wire.BAD_ENVIRONMENT, f"{ENV_INLINE}, {ENV_JSON}: {error}") from None
        sealing = self.variables.get(ENV_SEALING)
        self._encryptor = None if sealing is None else _encryptor(sealing)
        self._complaints: list[str] = []
        self._down = ""

    def variable(self, name: str) -> str:
        """Returns a variable.

        Raises:
            SettingsError: It is not set.
        """
        try:
            return self.variables[name]
        except KeyError:
            raise SettingsError(wire.BAD_ENVIRONMENT, f"{name} is not set") from None

    def media_type(self, result: "Result") -> str:
        """Returns the media type of a result's value."""
        return MEDIA_JSON if result.name in self._json else MEDIA_TEXT

    @property
    def encrypts(self) -> bool:
        """Whether values are encrypted before they are stored."""
        return self._encryptor is not None

    def store(self, result: "Result", file: "File | EncryptedFile", size: int, digest: str) -> str:
        """Stores a value unless it is stored already, and returns its location.

        Args:
            result: Whose value it is.
            file: What is to be stored, the value or the encrypted value; `unchanged` reads it.
            size: Its bytes.
            digest: SHA-256 of its bytes, in hexadecimal: the name under which it is stored.

        Raises:
            NotStoredError: It is not stored, or it is unknown whether it is.
            ChangedError: The file is being written to.
        """
        raise NotImplementedError

    def collect(self, result: "Result") -> "Iterable[bytes] | None":
        """Puts a result's value into its record, or stores it."""
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
            record = self.record(result, value)
            self.signer.deliver(result, value)
            return record
        file = result.open(most)
        if file is None:
            raise RefusedError(wire.UNREADABLE, "its file was removed while it was read")
        try:
            # Storing takes time; if the sidecar is killed meanwhile, the earlier records must not be lost.
            self.output.flush()
            return [self._stored(result, file)]
        finally:
            file.close()

    def deliver(self) -> str:
        """Flushes the log; returns what could not be stored as the termination message, for people."""
        super().deliver()
        return "\n".join(self._complaints)

    def _stored(self, result: "Result", file: "File") -> bytes:
        """Stores a value and returns its record, a reference."""
        for _ in range(_ATTEMPTS):
            # A new key each time: what changed meanwhile is never encrypted with the key of what it was.
            pieces, encryption, encrypted = text_pieces(file), "", None
            if self._encryptor is not None:
                key, encryption = self._encryptor.value()
                encrypted = EncryptedFile(file, key)
                pieces = encrypted.pieces(pieces)
            size, digest = measured(pieces)
            whole = encrypted.value_size(size) if encrypted else size
            if self._down:  # else every value would be tried for as long as the first one
                raise self._undelivered(result, whole, NotStoredError(self._down))
            try:
                location = self.store(result, encrypted or file, size, digest)
            except ChangedError:
                continue
            except NotStoredError as error:
                raise self._undelivered(result, whole, error) from None
            self.count(whole)
            self.signer.store(result, size=whole, digest=digest, encrypted=self.encrypts)
            return wire.reference_line(
                result.name,
                result.of,
                location=location,
                size=whole,
                digest=f"sha256:{digest}",
                media_type=self.media_type(result),
                encryption=encryption,
            )
        raise file.changing()

    def _undelivered(self, result: "Result", size: int, error: NotStoredError) -> RefusedError:
        if error.final:
            self._down = str(error)
        message = f"its {size} bytes could not be stored: {error}"
        self._complaints.append(f"{wire.UNDELIVERED}: {result.name}: {message}")
        return RefusedError(wire.UNDELIVERED, message, size, error.limit)


class EncryptedFile:
    """The encrypted content of a result's file.

    Args:
        file: The file.
        key: The value's key.
    """

    def __init__(self, file: "File", key: bytes) -> None:
        self._file = file
        self._key = key

    def pieces(self, content: "Iterable[bytes] | None" = None) -> "Iterator[bytes]":
        """Yields the encrypted content, the same each time as long as the file is the same.

        Args:
            content: The file's pieces, if they were read already.
        """
        from .encryption import encrypted  # noqa: PLC0415 - for few runs, and few images have the library

        return encrypted(self._key, self._file.pieces() if content is None else content)

    @staticmethod
    def value_size(size: int) -> int:
        """Returns the value's size, from that of the encrypted content."""
        from .encryption import value_size  # noqa: PLC0415 - see above

        return value_size(size)


def _encryptor(sealing: str) -> "Encryptor":
    """Returns what encrypts this pod's values.

    Raises:
        SettingsError: The variable or the key is invalid, or the image has no library.
    """
    try:
        from .encryption import EncryptionError, Encryptor  # noqa: PLC0415 - see above
    except ImportError as error:
        raise SettingsError(
            wire.BAD_ENVIRONMENT, f"{ENV_SEALING}: this image cannot encrypt: {error}"
        ) from None
    try:
        parts = json.loads(sealing)
        return Encryptor(parts["id"], parts["key"], parts["owner"])
    except (EncryptionError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(wire.BAD_ENVIRONMENT, f"{ENV_SEALING}: {error}") from None


def measured(pieces: "Iterable[bytes]") -> tuple[int, str]:
    """Returns size and digest of what is to be stored."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        size += len(piece)
        digest.update(piece)
    return size, digest.hexdigest()


def text_pieces(file: "File") -> "Iterator[bytes]":
    """Yields a file's pieces, as long as they are text.

    Raises:
        RefusedError: It is too large, or not UTF-8.
    """
    size = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    held = 0  # bytes of an incomplete character
    for piece in file.pieces():
        try:
            decoder.decode(piece)
        except UnicodeDecodeError as error:
            raise not_utf8(error.object[error.start], size - held + error.start) from None
        held = len(decoder.getstate()[0])
        size += len(piece)
        yield piece
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise not_utf8(error.object[error.start], size - held + error.start) from None


def unchanged(file: "File | EncryptedFile", size: int, digest: str) -> "Iterator[bytes]":
    """Yields a file's pieces, as long as they are those that were measured.

    Raises:
        ChangedError: They differ; raised at the end, or at the first byte too many.
    """
    again, sent = hashlib.sha256(), 0
    for piece in file.pieces():
        sent += len(piece)
        if sent > size:
            raise ChangedError
        again.update(piece)
        yield piece
    if sent != size or again.hexdigest() != digest:
        raise ChangedError
