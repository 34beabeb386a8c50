"""Stores large values as files of a mounted claim; the log has references to them.

The container mounts the folder of its run's attempt only. A file's name is the SHA-256 of its content: the
same value of another result is written once.
"""

import errno
import os

from .stored import NotStoredError, StoringTransport, unchanged
from .value_folder import free_bytes, put, size

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from resultsfw_sidecar.files import File
    from resultsfw_sidecar.results import Result
    from resultsfw_sidecar.settings import Environment
    from resultsfw_sidecar.stop import Stop

    from .stored import EncryptedFile

ENV_FOLDER = "RESULTSFW_CLAIM_FOLDER"
"""Where the folder of the run's attempt is mounted."""
ENV_LOCATION = "RESULTSFW_CLAIM_LOCATION"
"""What locations begin with: `pvc://CLAIM/NAMESPACE/UID`."""
ENV_ATTEMPT = "RESULTSFW_CLAIM_ATTEMPT"
"""The number of the attempt, with which locations end."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_GONE = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN, errno.EROFS, errno.EACCES)
"""Errors that every other value would meet, too, perhaps after a long wait."""


class Transport(StoringTransport):
    """Prints small values in their records, and references to large ones in the claim."""

    def open(self, environment: "Environment", stop: "Stop") -> None:
        """Reads where the claim is mounted; touches nothing there yet."""
        super().open(environment, stop)
        self._folder = self.variable(ENV_FOLDER)
        self._location = self.variable(ENV_LOCATION)
        self._attempt = self.variable(ENV_ATTEMPT)

    def store(
        self,
        result: "Result",  # noqa: ARG002 - of the signature
        file: "File | EncryptedFile",
        size: int,
        digest: str,
    ) -> str:
        """Writes a value unless the claim has it, from an earlier start or another result."""
        free = free_bytes(self._folder)
        try:
            if not self._is_there(digest, size):
                part = f".{digest}.{self._environment.pod}.part"
                put(self._folder, digest, unchanged(file, size, digest), part=part)
        except OSError as error:
            raise self._failure(error, free) from None
        return f"{self._location}/{digest}.{self._attempt}"

    def _is_there(self, digest: str, expected: int) -> bool:
        return size(self._folder, digest) == expected

    def _failure(self, error: OSError, free: int | None) -> NotStoredError:
        """Describes why a value was not written; for a full claim, with the bytes that were free."""
        why = error.strerror or os.strerror(error.errno or errno.EIO)
        if error.errno in _FULL and free is not None:
            message = f"{why}: there were {free} bytes free in {self._location}"
            return NotStoredError(message, limit=free)
        hint = "; fs-group is the group that may write there" if error.errno == errno.EACCES else ""
        return NotStoredError(f"{why}: {self._location}{hint}", final=error.errno in _GONE)
