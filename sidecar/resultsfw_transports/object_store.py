"""Uploads large values to an object store; the log has references to them.

An object's name is the SHA-256 of its content, below the folder of its run: the same value of another result,
or of another attempt of the run, is uploaded once.
"""

import json
from typing import Final

from resultsfw_sidecar import wire
from resultsfw_sidecar.files import File
from resultsfw_sidecar.results import Result
from resultsfw_sidecar.settings import Environment, SettingsError
from resultsfw_sidecar.stop import Stop

from .store import ENV_FOLDER, ENV_OPTIONS, ENV_URL, PART, Store, StoreError
from .stored import EncryptedFile, NotStoredError, StoringTransport, unchanged

PATIENCE: Final = 60.0
"""Seconds during which a request to the store is retried."""


class Transport(StoringTransport):
    """Prints small values in their records, and references to large ones in the store."""

    def open(self, environment: Environment, stop: Stop) -> None:
        """Reads the store's address; sends no request yet."""
        super().open(environment, stop)
        self._folder = self.variable(ENV_FOLDER)
        options, url = self.variable(ENV_OPTIONS), self.variable(ENV_URL)
        try:
            self._store = Store(url, json.loads(options), patience=PATIENCE, make=True)
        except ValueError as error:
            raise SettingsError(wire.BAD_ENVIRONMENT, f"the object store cannot be used: {error}") from None

    def store(
        self,
        result: Result,  # noqa: ARG002 - of the signature
        file: File | EncryptedFile,
        size: int,
        digest: str,
    ) -> str:
        """Uploads a value unless the store has it, from an earlier start or another result."""
        path = f"{self._folder}/{digest}"
        try:
            if not self._is_there(path, size):
                pieces = unchanged(file, size, digest)
                self._store.put(path, b"".join(pieces) if size <= PART else pieces)
        except StoreError as error:
            message = f"{error}: {self._store.url}"
            raise NotStoredError(message, final=error.kind == "unavailable") from None
        return f"{self._store.url}/{path}"

    def _is_there(self, path: str, size: int) -> bool:
        """Returns whether the object exists."""
        try:
            return self._store.size(path) == size
        except StoreError as error:
            # S3 answers 403 for an object that does not exist if the caller may not list the bucket.
            if error.kind != "forbidden":
                raise
            return False
