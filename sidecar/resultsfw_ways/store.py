"""One object store, of whichever kind: how it is reached, and what its errors come to.

Used in the pod and by the controller. What the library says of an error may hold signatures, keys and what
a server wrote: nothing of it is handed on but words that are known here.
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
ENV_INLINE: Final = "RESULTSFW_STORE_INLINE"
ENV_JSON: Final = "RESULTSFW_STORE_JSON"

PART: Final = 5 * 1024 * 1024
"""Bytes of a part of an upload: the least that S3 takes."""

MOST: Final = 10_000 * PART
"""Bytes of an object: S3 takes 10,000 parts (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""

_AT_ONCE: Final = 2  # parts on their way together: what bounds the memory of an upload
_RANGE: Final = 4 * 1024 * 1024  # bytes of an object asked for at once
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
    """A request to the store failed; the message holds nothing that is secret.

    Attributes:
        kind: "missing": what was asked for is not there; "forbidden": with other rights it may go;
            "unavailable": it may go another time.
    """

    def __init__(self, message: str, kind: Kind) -> None:
        super().__init__(message)
        self.kind = kind


class Store:
    """A folder of an object store: paths are relative to it.

    Args:
        url: ``s3://BUCKET/FOLDER``, ``gs://``, ``az://``, or ``file:///FOLDER``.
        options: The library's, by its names; none of them secret. What is secret is in its variables.
        patience: Seconds from a request's first try after which no further one is made.
        make: Make a local folder that is not there.

    Raises:
        ValueError: The library does not take them.
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
            raise ValueError(told(error)) from None

    def size(self, path: str) -> int | None:
        """Bytes of an object; none if there is none.

        Raises:
            StoreError: Nobody can say.
        """
        try:
            with _asking():
                return int(obstore.head(self._there(), path)["size"])
        except StoreError as error:
            if error.kind != "missing":
                raise
            return None

    def put(self, path: str, data: bytes | Iterator[bytes]) -> None:
        """Stores an object, all of it or nothing; what is there of that path is replaced.

        Args:
            path: Of the object.
            data: In pieces it goes in parts, never many of them at once. What the pieces raise ends it.

        Raises:
            StoreError: It is not stored, or nobody can say whether it is.
        """
        with _asking():
            if isinstance(data, bytes):
                obstore.put(self._there(), path, data, use_multipart=False)
            else:
                obstore.put(self._there(), path, data, chunk_size=PART, max_concurrency=_AT_ONCE)

    def pieces(self, path: str, size: int) -> Iterator[bytes]:
        """An object's bytes; each piece is a request of its own, so that a consumer may take its time.

        Args:
            path: Of the object.
            size: Bytes to ask for, at most what it has.

        Raises:
            StoreError: They cannot be had.
        """
        for start in range(0, size, _RANGE):
            length = min(_RANGE, size - start)
            with _asking():
                piece = bytes(obstore.get_range(self._there(), path, start=start, length=length))
            yield piece

    def remove(self, folder: str) -> None:
        """Removes every object below a folder; that there is none is no error.

        Raises:
            StoreError: Something may be left.
        """
        with _asking():
            if self._local is None:
                for listed in obstore.list(self._there(), prefix=folder, chunk_size=_LISTED):
                    self._delete([one["path"] for one in listed])
            elif (below := self._local / folder).exists():
                # The parts of an upload that was killed lie there too, and folders.
                shutil.rmtree(below)

    def _delete(self, paths: list[str]) -> None:
        try:
            obstore.delete(self._there(), paths)
        except FileNotFoundError:
            # Somebody else removes them too; of which one is gone nothing is said.
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    obstore.delete(self._there(), path)

    def _there(self) -> "ObjectStore":
        if self._store is None:
            # A folder that is not there now may be there when it is next asked for.
            if not self._make and not (self._local and self._local.is_dir()):
                raise FileNotFoundError("No such file or directory")
            self._store = LocalStore(self._local, mkdir=self._make)
        return self._store


def local_path(url: str) -> Path | None:
    """The folder of a ``file://`` URL; none for any other."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def told(error: BaseException) -> str:
    """An error in words that are known to hold nothing secret."""
    text = str(error)
    words = [*_STATUS.findall(text)[:1], *_CODE.findall(text)[:1]]
    words += [one for one in _KNOWN if one.lower() in text.lower()][:2]
    if any(one in text for one in _OWN_SERVICE):
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
    """Within it the library is called; what it raises comes out as `StoreError`."""
    try:
        yield
    except (exceptions.BaseError, OSError) as error:
        raise _store_error(error) from None
    except BaseException as error:
        # A panic of the library's is no `Exception`, and would end a thread, or the sidecar, without a word.
        if type(error).__name__ != "PanicException":
            raise
        raise StoreError("the library failed", "unavailable") from None


def _store_error(error: Exception) -> StoreError:
    words = told(error)
    refused = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError)
    if isinstance(error, FileNotFoundError):
        return StoreError(words, "missing")
    if isinstance(error, refused) or words.startswith(("401", "403")):
        return StoreError(words, "forbidden")
    return StoreError(words, "unavailable")
