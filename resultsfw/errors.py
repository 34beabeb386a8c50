"""Define the exceptions of resultsfw: one base class, and a reason code for each class."""

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
    "FaultyBackendError",
    "FlagError",
    "ForbiddenError",
    "InputError",
    "LogUnavailableError",
    "NotFoundError",
    "ObjectTooLargeError",
    "ResultsError",
    "SignatureError",
    "TooEarlyError",
    "UnavailableError",
    "UnknownBackendError",
    "UnknownExtensionError",
    "UnreadableObjectError",
]


class ResultsError(Exception):
    """Base class. The message says what is wrong and what to do next.

    Args:
        message: For people; never contains the value of a result.
        subject: What the error is about: a flag, a backend, an object as ``kind namespace/name``.
    """

    code: ClassVar[str] = "Error"

    def __init__(self, message: str, *, subject: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject


class FlagError(ResultsError):
    """A feature flag has an invalid value. ``subject`` is the flag's key."""

    code = "InvalidFlag"


class InputError(ResultsError):
    """A file, document or field of the user is rejected. ``subject`` names it."""

    code = "InvalidInput"


class BackendError(ResultsError):
    """The backend named by ``results-from`` cannot be used. ``subject`` is its name.

    Attributes:
        final: Whether another attempt would end the same way: it is a programming error of the plugin.
    """

    code = "BackendUnusable"
    final: bool = False


class UnknownBackendError(BackendError):
    """No installed distribution has a backend with that name."""

    code = "BackendUnknown"


class BackendNotAllowedError(BackendError):
    """Untrusted text names a backend that no flag allows. The backend was not imported."""

    code = "BackendNotAllowed"


class BrokenBackendError(BackendError):
    """An installed backend cannot be loaded: import error, misspelt hook, wrong API version."""

    code = "BackendBroken"


class FaultyBackendError(BackendError):
    """A hook of the backend has a programming error: it raised one, or returned what it may not.

    It is final: no other attempt is made. ``__cause__`` has the traceback, if there is one.

    Attributes:
        hook: The hook's name.
        field: The field at fault, as ``results[0].value``; "" if it is not about a field.
    """

    code = "BackendFaulty"
    final = True

    def __init__(self, message: str, *, subject: str = "", hook: str = "", field: str = "") -> None:
        super().__init__(message, subject=subject)
        self.hook = hook
        self.field = field


class ExtensionError(BackendError):
    """An extension failed in a hook of the backend that it wraps. ``subject`` is the extension's name."""

    code = "ExtensionUnusable"

    def __init__(self, message: str, *, subject: str = "", final: bool = False) -> None:
        super().__init__(message, subject=subject)
        self.final = final


class UnknownExtensionError(ExtensionError):
    """No installed distribution has an extension with that name."""

    code = "ExtensionUnknown"


class BrokenExtensionError(ExtensionError):
    """An allow-listed extension cannot be loaded."""

    code = "ExtensionBroken"


class ClusterError(ResultsError):
    """A request to the cluster failed. ``subject`` is the object as ``kind namespace/name``.

    Attributes:
        retryable: Whether the same request may succeed later without any change.
        retry_within: Upper bound of the delay before the next attempt, in seconds; ``None``: no bound. Set if
            a timeout ends within that time.
    """

    code = "ClusterError"
    retryable: ClassVar[bool] = False
    retry_within: float | None = None


class NotFoundError(ClusterError):
    """The object, or the container of the requested log, does not exist (HTTP 404)."""

    code = "NotFound"


class AlreadyExistsError(ClusterError):
    """An object with that name exists (HTTP 409, reason AlreadyExists)."""

    code = "AlreadyExists"


class ConflictError(ClusterError):
    """The object changed since it was read (HTTP 409, reason Conflict): read it and decide again."""

    code = "Conflict"
    retryable = True


class ForbiddenError(ClusterError):
    """The identity lacks the permission (HTTP 401, 403). An administrator can still grant it."""

    code = "Forbidden"
    retryable = True


class ObjectTooLargeError(ClusterError):
    """The object is larger than the API server stores (etcd: 1.5 MiB a request). Never retried."""

    code = "ObjectTooLarge"


class UnreadableObjectError(ClusterError):
    """The object exists but is unreadable: nested too deeply, too large, or not JSON."""

    code = "UnreadableObject"


class CorruptError(ResultsError):
    """A referenced value differs from the stored value: another size or another digest."""

    code = "Corrupt"


class SignatureError(ResultsError):
    """A signature, a certificate or a trust bundle is not accepted. ``subject`` is the signer, if known.

    Attributes:
        reason: What is wrong, one of `resultsfw.signatures.Reason`.
    """

    code = "SignatureInvalid"

    def __init__(self, message: str, *, reason: str, subject: str = "") -> None:
        super().__init__(message, subject=subject)
        self.reason = reason


class UnavailableError(ClusterError):
    """The server or the connection failed temporarily (HTTP 429, 5xx, a cut stream)."""

    code = "Unavailable"
    retryable = True


class LogUnavailableError(UnavailableError):
    """The kubelet answered with an error in place of a container's log, or of the rest of it."""

    code = "LogUnavailable"


class TooEarlyError(UnavailableError):
    """The pod is still writing results: read again when it changes, or a moment later."""

    code = "TooEarly"
