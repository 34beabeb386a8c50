"""Connect to an API server by the Kubernetes client's configuration, and send requests to it."""

import http.client
import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import orjson
import urllib3
import yaml
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from resultsfw.errors import ClusterError, InputError, UnavailableError
from resultsfw.kube.decoding import decode_object
from resultsfw.kube.http_pool import HttpPool, HttpResponse
from resultsfw.kube.response_body import OBJECT_ANSWER_BYTES, read_body
from resultsfw.kube.status_errors import TryLaterError, error_from_response
from resultsfw.ratelimit import TokenBucket

__all__ = [
    "APPLY_PATCH",
    "JSON",
    "MERGE_PATCH",
    "TRANSPORT_ERRORS",
    "Connection",
    "RequestMetrics",
    "Response",
    "Timeouts",
    "connect",
    "transport_error",
]

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
"""YAML, of which JSON is a subset."""

TRANSPORT_ERRORS: Final = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
"""Errors of the transport: connection refused, reset or cut, timeout, invalid certificate, invalid HTTP."""

_MISCONFIGURED: Final = (
    ConfigException,
    yaml.YAMLError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)
"""Errors that the Kubernetes client's loaders raise for an invalid file."""

Timeouts = tuple[float, float]
"""Seconds to connect, and between two pieces of a response."""

Response = HttpResponse | urllib3.BaseHTTPResponse
"""A response whose body is not read yet; urllib3's where there is a proxy."""


class RequestMetrics(Protocol):
    """Records requests to an API server, as the metrics of client-go."""

    def on_request(self, verb: str, code: int, seconds: float, /) -> None:
        """Record an answer.

        Args:
            verb: Of the Kubernetes API: "get", "list", "watch", "create", "update", "patch" or "delete".
            code: The HTTP status; 0 if the transport failed.
            seconds: Until the head of the answer.
        """
        ...

    def on_wait(self, seconds: float, /) -> None:
        """Record for how many seconds a request waited for the rate limit."""
        ...


class _NoMetrics:
    def on_request(self, _verb: str, _code: int, _seconds: float, /) -> None:
        pass

    def on_wait(self, _seconds: float, /) -> None:
        pass


_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

_TIMEOUTS: Final[Timeouts] = (5, 30)
_CREDENTIALS_SECONDS: Final = 10.0
"""Seconds until the Kubernetes client is asked for credentials again, which may start a plugin."""
_MAX_BLOCK: Final = 10.0
"""Seconds of a Retry-After for which all requests are paused, at most."""

_RATE: Final = (200, 400)
"""Default requests a second, and at once after a rest."""
_ERROR_BYTES: Final = 1 << 20
"""Bytes of an error response that are read."""


class Connection:
    """Sends requests to one API server. Safe for threads.

    Args:
        api: The Kubernetes client; its configuration, credentials and proxy are used, not its models.
        limit: The rate of all requests except watches and those for the Lease.
        metrics: Record the requests.
    """

    def __init__(
        self, api: ApiClient, limit: TokenBucket | None = None, metrics: RequestMetrics | None = None
    ) -> None:
        self.api = api
        self.limit = limit or TokenBucket(*_RATE)
        self._metrics = metrics or _NoMetrics()
        given = api.configuration
        self._pool = HttpPool(given) if HttpPool.serves(given) else None
        self._lock = threading.Lock()
        self._headers: dict[str, str] = {}
        self._headers_until = 0.0

    @property
    def host(self) -> str:
        """The server's URL."""
        return str(self.api.configuration.host)

    def close(self) -> None:
        """Close idle connections."""
        if self._pool is not None:
            self._pool.close()
        self.api.close()  # type: ignore[no-untyped-call]

    def json(
        self,
        method: str,
        path: str,
        *,
        subject: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = JSON,
        timeouts: Timeouts = _TIMEOUTS,
        limited: bool = True,
    ) -> Any:
        """Send JSON and return the decoded JSON of the answer.

        It is decoded by `resultsfw.kube.decoding.decode_object`.

        Raises:
            ClusterError: The server refused or is unavailable.
        """
        response = self.open(
            method,
            path,
            subject=subject,
            query=query,
            body=None if body is None else encode(body),
            content_type=content_type,
            timeouts=timeouts,
            limited=limited,
        )
        data = self.read(response, subject, limit=OBJECT_ANSWER_BYTES)
        try:
            return decode_object(data)
        except ValueError as error:
            raise UnavailableError("the response is incomplete or not JSON", subject=subject) from error

    @staticmethod
    def read(response: Response, subject: str, *, limit: int) -> bytes:
        """Read a response of at most ``limit`` bytes, and close it.

        Raises:
            AnswerTooLongError: It has more bytes.
            ClusterError: It is incomplete or took too long.
        """
        try:
            return read_body(response, subject, limit=limit)
        except TRANSPORT_ERRORS as error:
            raise transport_error(error, subject) from error
        finally:
            response.close()

    def open(
        self,
        method: str,
        path: str,
        *,
        subject: str,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        timeouts: Timeouts = _TIMEOUTS,
        limited: bool = True,
    ) -> Response:
        """Send a request and return the response, whose body is not read yet. The caller must close it.

        Raises:
            ClusterError: The server refused or is unavailable.
        """
        if limited:
            self._metrics.on_wait(self.limit.wait())
        headers = {**self._credentials(subject), "Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = content_type
        target = path + ("?" + urlencode(query) if query else "")
        # The server may close an idle connection at the moment it is used again: repeat a read once.
        tries = 2 if method == "GET" else 1
        began, code = time.monotonic(), 0
        try:
            while True:
                tries -= 1
                try:
                    response = self._send(method, target, body, headers, timeouts)
                    break
                except (urllib3.exceptions.ProtocolError, ConnectionError) as error:
                    if not tries:
                        raise transport_error(error, subject) from error
                except TRANSPORT_ERRORS as error:
                    raise transport_error(error, subject) from error
            code = response.status
        finally:
            self._metrics.on_request(_verb(method, query), code, time.monotonic() - began)
        if response.status >= http.HTTPStatus.MULTIPLE_CHOICES:
            raise self._refused(response, subject)
        return response

    def _send(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str], timeouts: Timeouts
    ) -> Response:
        if self._pool is not None:
            return self._pool.request(method, target, body=body, headers=headers, timeouts=timeouts)
        pool: urllib3.PoolManager = self.api.rest_client.pool_manager
        return pool.request(
            method,
            self.host + target,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(connect=timeouts[0], read=timeouts[1]),
            retries=False,
            preload_content=False,
        )

    def _refused(self, response: Response, subject: str) -> ClusterError:
        try:
            body = self.read(response, subject, limit=_ERROR_BYTES)
        except ClusterError:
            body = b""
        if response.status == http.HTTPStatus.UNAUTHORIZED:
            self._headers_until = 0.0
        error = error_from_response(response.status, response.headers, body, subject)
        if isinstance(error, TryLaterError):
            self.limit.block(min(error.retry_after, _MAX_BLOCK))
        return error

    def _credentials(self, subject: str) -> dict[str, str]:
        """Return the Kubernetes client's headers with credentials; one thread at a time renews them."""
        if time.monotonic() < self._headers_until:
            return self._headers
        with self._lock:
            if time.monotonic() < self._headers_until:
                return self._headers
            headers: dict[str, str] = dict(self.api.default_headers)
            try:
                self.api.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
            except (ConfigException, OSError) as error:
                # Retryable: a token file may be in the middle of its replacement.
                raise UnavailableError(f"credentials cannot be renewed: {error}", subject=subject) from error
            # client-go trims tokens; this client keeps the line break of the file.
            self._headers = {key: value.strip() for key, value in headers.items()}
            self._headers_until = time.monotonic() + _CREDENTIALS_SECONDS
            return self._headers


def connect(
    kubeconfig: str | None = None,
    context: str | None = None,
    *,
    threads: int = 16,
    limit: TokenBucket | None = None,
    impersonate: str = "",
    metrics: RequestMetrics | None = None,
) -> Connection:
    """Return a connection by the configuration that kubectl would use; nothing is sent yet.

    Args:
        kubeconfig: A file; by default ``KUBECONFIG``, else ``~/.kube/config``, else the service account of
            the pod.
        context: A context of the kubeconfig; by default its current one.
        threads: Threads that send requests at the same time.
        limit: The rate of requests; 200 a second and 400 at once by default.
        impersonate: The user to act as (``kubectl --as``). No groups are sent: the server knows those of a
            service account, and sending them needs a permission of its own.
        metrics: Record the requests.

    Raises:
        InputError: The configuration is missing or invalid.
    """
    configuration = Configuration()
    files = kubeconfig or os.environ.get("KUBECONFIG") or _default_file()
    in_cluster = files is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    subject = "the pod's service account" if in_cluster else files or "~/.kube/config"
    if not in_cluster and not any(Path(path).expanduser().is_file() for path in subject.split(os.pathsep)):
        raise InputError(
            f"{subject}: no such file; name a kubeconfig with --kubeconfig or KUBECONFIG, or run in a pod "
            f"with a service account",
            subject=subject,
        )
    try:
        if in_cluster:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            load_kube_config(subject, context, configuration)  # type: ignore[no-untyped-call]
    except _MISCONFIGURED as error:
        cause = str(error).strip().split("\n", 1)[0]
        raise InputError(f"{subject}: {cause}; see `kubectl config view`", subject=subject) from error
    # A request and a log for each thread, the watches, the Lease. Further ones are closed after use.
    configuration.connection_pool_maxsize = 2 * threads + 8
    configuration.retries = False
    configuration.keep_alive = True
    if not configuration.verify_ssl:
        # The kubeconfig says so; a warning for each request would hide all others.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    api = ApiClient(configuration)
    api.user_agent = "resultsfw"
    if impersonate:
        api.set_default_header("Impersonate-User", impersonate)  # type: ignore[no-untyped-call]
    try:
        return Connection(api, limit, metrics)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{subject}: a certificate cannot be read: {error}; see `kubectl config view`", subject=subject
        ) from error


def _verb(method: str, query: Mapping[str, Any] | None) -> str:
    """Return the verb of the Kubernetes API that a request has."""
    if method != "GET":
        return _VERBS.get(method, "other")
    if not query:
        return "get"
    return "watch" if "watch" in query else "list" if "limit" in query else "get"


def encode(body: Any) -> bytes:
    """Encode JSON in UTF-8 without escapes, which could exceed the server's limit for requests.

    Raises:
        ClusterError: The value is nested too deeply.
    """
    try:
        return orjson.dumps(body)
    except TypeError:
        # A lone surrogate, or a number of more than 64 bits: only the standard library encodes them.
        try:
            return json.dumps(body, separators=(",", ":")).encode()
        except RecursionError as error:
            raise ClusterError("the request's body is nested too deeply") from error


def transport_error(error: Exception, subject: str) -> ClusterError:
    """Return the error for a failure of the transport."""
    return UnavailableError(f"{type(error).__name__}: {error}"[:300], subject=subject)


def _default_file() -> str | None:
    path = Path("~/.kube/config").expanduser()
    return str(path) if path.is_file() else None
