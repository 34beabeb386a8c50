"""Reads and writes an object store of any kind, and translates its errors.

Used in the pod and by the controller. The library's error messages may contain signatures, keys and text of
the server: only words from a fixed list are passed on.
"""

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote, urlsplit

import obstore
from obstore import exceptions
from obstore.store import LocalStore, from_url

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

ENV_URL: Final = "RESULTSFW_STORE_URL"
ENV_OPTIONS: Final = "RESULTSFW_STORE_OPTIONS"
ENV_FOLDER: Final = "RESULTSFW_STORE_FOLDER"

PART: Final = 5 * 1024 * 1024
"""Bytes of a part of an upload: the least that S3 takes."""

MOST: Final = 10_000 * PART
"""Bytes of an object: S3 takes 10,000 parts (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""

_AT_ONCE: Final = 2  # parts uploaded at once: bounds the memory of an upload
_RANGE: Final = 4 * 1024 * 1024  # bytes of an object read by one request
_LISTED: Final = 500  # names held at once

Kind = Literal["missing", "forbidden", "unavailable"]

_STATUS: Final = re.compile(r"status code: ([0-9]{3} [A-Z][A-Za-z ]{1,40})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9.]{1,60})</Code>")
_KNOWN: Final = (
    "Connection refused",
    "Connection reset",
    "connection closed",
    "timed out",
    "failed to lookup address",
    "invalid peer certificate",
    "No CA certificates were loaded",
    "URL scheme is not allowed",
    "No such file or directory",
    "Not a directory",
    "Permission denied",
    "Read-only file system",
    "No space left on device",
    "Disk quota exceeded",
    "Account must be specified",
    "as boolean",
)
_OWN_SERVICE: Final = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")


class StoreError(Exception):
    """A request to the store failed; the message contains no secret.

    Attributes:
        kind: "missing": the object does not exist; "forbidden": it needs other permissions;
            "unavailable": a later attempt may succeed.
    """

    def __init__(self, message: str, kind: Kind) -> None:
        super().__init__(message)
        self.kind = kind


class Store:
    """Accesses a folder of an object store; paths are relative to it.

    Args:
        url: ``s3://BUCKET/FOLDER``, ``gs://``, ``az://``, or ``file:///FOLDER``.
        options: Options of the library, by its names; none of them secret. Secrets are in its variables.
        patience: Seconds after a request's first attempt in which it is retried.
        make: Create a local folder that does not exist.

    Raises:
        ValueError: The library rejects them.
    """

    def __init__(self, url: str, options: Mapping[str, str], *, patience: float, make: bool = False) -> None:
        self.url = url
        self._local = local_path(url)
        self._make = make
        self._store: ObjectStore | None = None
        try:
            if self._local is None:
                self._store = _connected(url, options, patience)
        except (exceptions.BaseError, ValueError, OSError) as error:
            raise ValueError(describe_error(error)) from None

    def size(self, path: str) -> int | None:
        """Returns the size of an object in bytes; None if it does not exist.

        Raises:
            StoreError: The store cannot be asked.
        """
        try:
            with _asking():
                return int(obstore.head(self._there(), path)["size"])
        except StoreError as error:
            if error.kind != "missing":
                raise
            return None

    def put(self, path: str, data: bytes | Iterator[bytes]) -> None:
        """Stores an object atomically; replaces an existing one.

        Args:
            path: The object's path.
            data: The content. Pieces are uploaded in parts, a few at once; an exception of the iterator ends
                the upload.

        Raises:
            StoreError: The object was not stored, or it is unknown whether it was.
        """
        with _asking():
            if isinstance(data, bytes):
                obstore.put(self._there(), path, data, use_multipart=False)
            else:
                obstore.put(self._there(), path, data, chunk_size=PART, max_concurrency=_AT_ONCE)

    def pieces(self, path: str, size: int) -> Iterator[bytes]:
        """Yields an object's bytes; each piece is a request of its own, so a consumer may be slow.

        Args:
            path: The object's path.
            size: Bytes to read, at most the object's size.

        Raises:
            StoreError: They cannot be read.
        """
        for start in range(0, size, _RANGE):
            length = min(_RANGE, size - start)
            with _asking():
                piece = bytes(obstore.get_range(self._there(), path, start=start, length=length))
            yield piece

    def remove(self, folder: str) -> None:
        """Removes every object below a folder; an empty folder is no error.

        Raises:
            StoreError: Some objects may be left.
        """
        with _asking():
            if self._local is None:
                for listed in obstore.list(self._there(), prefix=folder, chunk_size=_LISTED):
                    self._delete([entry["path"] for entry in listed])
            elif _is_there(below := self._local / folder):
                # A killed upload leaves its parts there, and there are folders.
                shutil.rmtree(below)

    def _delete(self, paths: list[str]) -> None:
        try:
            obstore.delete(self._there(), paths)
        except FileNotFoundError:
            # Another process removes them at the same time; the error does not say which object is gone.
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    obstore.delete(self._there(), path)

    def _there(self) -> "ObjectStore":
        if self._store is None:
            # A folder that does not exist now may exist at the next request.
            if not self._make and not (self._local and self._local.is_dir()):
                raise FileNotFoundError("No such file or directory")
            self._store = LocalStore(self._local, mkdir=self._make)
        return self._store


def _is_there(path: Path) -> bool:
    """Returns whether a path exists; unlike `Path.exists`, raises OSError if that cannot be known."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def local_path(url: str) -> Path | None:
    """Returns the folder of a ``file://`` URL; None for any other URL."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def describe_error(error: BaseException) -> str:
    """Describes an error in words that are known to contain no secret."""
    text = str(error)
    words = [*_STATUS.findall(text)[:1], *_CODE.findall(text)[:1]]
    words += [phrase for phrase in _KNOWN if phrase.lower() in text.lower()][:2]
    if any(phrase in text for phrase in _OWN_SERVICE):
        words.append("no credentials were given, and the machine's own service has none")
    if isinstance(error, exceptions.UnknownConfigurationKeyError):
        words += [f"unknown option {key}" for key in re.findall(r"key: '([a-z0-9_]{1,60})'", text)[:1]]
    return ", ".join(words) or type(error).__name__


def _connected(url: str, options: Mapping[str, str], patience: float) -> "ObjectStore":
    retry: RetryConfig = {"max_retries": 10, "retry_timeout": timedelta(seconds=patience)}
    plain = any(
        value.startswith("http://") for key, value in options.items() if key.endswith(("endpoint", "url"))
    )
    config: Any = dict(options)
    client: Any = {"allow_http": plain, "connect_timeout": "5s", "timeout": "60s"}
    return from_url(url, config=config, client_options=client, retry_config=retry)


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """Converts what the library raises within it into a `StoreError`."""
    try:
        yield
    except (exceptions.BaseError, OSError) as error:
        raise _store_error(error) from None
    except BaseException as error:
        # A panic of the library is not an `Exception`: it would end a thread, or the sidecar, without a
        # message.
        if type(error).__name__ != "PanicException":
            raise
        raise StoreError("the library failed", "unavailable") from None


def _store_error(error: Exception) -> StoreError:
    words = describe_error(error)
    refused = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError)
    if isinstance(error, FileNotFoundError):
        return StoreError(words, "missing")
    if isinstance(error, refused) or words.startswith(("401", "403")):
        return StoreError(words, "forbidden")
    return StoreError(words, "unavailable")
