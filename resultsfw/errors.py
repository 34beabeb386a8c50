"""Every exception resultsfw raises: one root, a reason code for each, its subject attached."""

from typing import ClassVar

__all__ = [
    "AlreadyExistsError",
    "BackendError",
    "BackendNotAllowedError",
    "BrokenBackendError",
    "BrokenExtensionError",
    "ClusterError",
    "ConflictError",
    "CorruptError",
    "ExtensionError",
    "FlagError",
    "ForbiddenError",
    "InputError",
    "LogUnavailableError",
    "NotFoundError",
    "ObjectTooLargeError",
    "ResultsError",
    "TooEarlyError",
    "UnavailableError",
    "UnknownBackendError",
    "UnknownExtensionError",
    "UnreadableObjectError",
]


class ResultsError(Exception):
    """The root. A message says what is wrong and what to do next.

    Args:
        message: For a person; never holds the value of a result.
        subject: What it is about: a flag, a backend, an object as ``kind namespace/name``.
    """

    code: ClassVar[str] = "Error"

    def __init__(self, message: str, *, subject: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject


class FlagError(ResultsError):
    """A feature flag has a value it cannot have. ``subject`` is the flag's key."""

    code = "InvalidFlag"


class InputError(ResultsError):
    """A file, document or field that a person gave is refused. ``subject`` says which."""

    code = "InvalidInput"


class BackendError(ResultsError):
    """The backend named by ``results-from`` cannot be used. ``subject`` is its name."""

    code = "BackendUnusable"


class UnknownBackendError(BackendError):
    """No installed distribution has a backend of that name."""

    code = "BackendUnknown"


class BackendNotAllowedError(BackendError):
    """Text that a tenant may have written names a backend that no flag allows; it was not imported."""

    code = "BackendNotAllowed"


class BrokenBackendError(BackendError):
    """A backend is installed and cannot be loaded: import error, misspelt hook, wrong API version."""

    code = "BackendBroken"


class ExtensionError(BackendError):
    """An extension that ``extensions`` names failed around its backend. ``subject`` is its own name."""

    code = "ExtensionUnusable"


class UnknownExtensionError(ExtensionError):
    """No installed distribution has an extension of that name."""

    code = "ExtensionUnknown"


class BrokenExtensionError(ExtensionError):
    """An extension is installed, allow-listed and cannot be loaded."""

    code = "ExtensionBroken"


class ClusterError(ResultsError):
    """A request to the cluster failed. ``subject`` is the object as ``kind namespace/name``.

    ``retryable`` says whether the same request can come right by itself. ``retry_within`` are the seconds
    within which what it was for is to be tried again, however long pauses have grown: a timeout ends then.
    """

    code = "ClusterError"
    retryable: ClassVar[bool] = False
    retry_within: float | None = None


class NotFoundError(ClusterError):
    """The object, or the container whose log was asked for, does not exist (HTTP 404)."""

    code = "NotFound"


class AlreadyExistsError(ClusterError):
    """An object of that name exists (HTTP 409, reason AlreadyExists)."""

    code = "AlreadyExists"


class ConflictError(ClusterError):
    """The object changed since it was read (HTTP 409, reason Conflict): read again, decide again."""

    code = "Conflict"
    retryable = True


class ForbiddenError(ClusterError):
    """The identity in use may not do that (HTTP 401, 403). An administrator can still grant it."""

    code = "Forbidden"
    retryable = True


class ObjectTooLargeError(ClusterError):
    """The object is over what the API server stores (etcd's 1.5 MiB a request). Never retried."""

    code = "ObjectTooLarge"


class UnreadableObjectError(ClusterError):
    """The object exists but is unreadable: nested too deeply, too large, or not JSON."""

    code = "UnreadableObject"


class CorruptError(ResultsError):
    """What a reference stands for is not what was stored: another length, another digest."""

    code = "Corrupt"


class UnavailableError(ClusterError):
    """The server, or the way to it, failed for now (HTTP 429, 5xx, a cut stream)."""

    code = "Unavailable"
    retryable = True


class LogUnavailableError(UnavailableError):
    """The kubelet answered with an error in place of a container's log, or of the rest of it."""

    code = "LogUnavailable"


class TooEarlyError(UnavailableError):
    """The results are still being written: read again when the pod has changed, or a moment later."""

    code = "TooEarly"
