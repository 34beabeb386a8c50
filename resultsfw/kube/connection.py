"""The way to an API server: the client's configuration, credentials, TLS, proxies and pool; our requests."""

import http.client
import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
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
    "Response",
    "Timeouts",
    "connect",
    "unavailable",
]

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
"""JSON is YAML, too."""

TRANSPORT_ERRORS: Final = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
"""What goes wrong on the way: refused, reset, cut, silent, not to be trusted."""

_MISCONFIGURED: Final = (
    ConfigException,
    yaml.YAMLError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)
"""What the client's loaders raise for a file that is not as they expect."""

Timeouts = tuple[float, float]
"""Seconds until connected, and between two pieces of an answer."""

Response = HttpResponse | urllib3.BaseHTTPResponse
"""An answer that is not read yet; the second behind a proxy."""

_TIMEOUTS: Final[Timeouts] = (5, 30)
_FRESH: Final = 10.0
"""Seconds for which credentials are used before the client is asked again: it reads files, or starts a
plugin, and every question costs it as much as decoding a pod."""
_LONGEST_HOLD: Final = 10.0
_RATE: Final = (200, 400)
"""Requests a second, and at once after a rest, where nothing else is given."""
_ERROR_BYTES: Final = 1 << 20


class Connection:
    """Requests to one API server. Safe for threads.

    Args:
        api: The client, configured; its pool, TLS and credentials are used, its models are not.
        limit: Shared by all requests but watches and leases.
    """

    def __init__(self, api: ApiClient, limit: TokenBucket | None = None) -> None:
        self.api = api
        self.limit = limit or TokenBucket(*_RATE)
        given = api.configuration
        self._direct = HttpPool(given) if HttpPool.serves(given) else None
        self._lock = threading.Lock()
        self._headers: dict[str, str] = {}
        self._headers_until = 0.0

    @property
    def host(self) -> str:
        """The server's URL."""
        return str(self.api.configuration.host)

    def close(self) -> None:
        """Close what is idle."""
        if self._direct is not None:
            self._direct.close()
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

        What cannot be decoded as it is comes as `resultsfw.kube.decoding.decode_object` gives it.

        Raises:
            ClusterError: The server refused, or was not there.
        """
        response = self.open(
            method,
            path,
            subject=subject,
            query=query,
            body=None if body is None else encoded(body),
            content_type=content_type,
            timeouts=timeouts,
            limited=limited,
        )
        data = self.read(response, subject, limit=OBJECT_ANSWER_BYTES)
        try:
            return decode_object(data)
        except ValueError as error:
            raise UnavailableError("the answer is not whole, or not JSON", subject=subject) from error

    @staticmethod
    def read(response: Response, subject: str, *, limit: int) -> bytes:
        """Read an answer of at most ``limit`` bytes, and close it.

        Raises:
            AnswerTooLongError: It has more bytes.
            ClusterError: It did not come whole, or not in time.
        """
        try:
            return read_body(response, subject, limit=limit)
        except TRANSPORT_ERRORS as error:
            raise unavailable(error, subject) from error
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
        """Send a request and return its answer, not read yet. To be closed by the caller.

        Raises:
            ClusterError: The server refused, or was not there.
        """
        if limited:
            self.limit.wait()
        headers = {**self._credentials(subject), "Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = content_type
        target = path + ("?" + urlencode(query) if query else "")
        # The server may close an idle connection just as it is used again: a read is simply repeated.
        tries = 2 if method == "GET" else 1
        while True:
            tries -= 1
            try:
                response = self._send(method, target, body, headers, timeouts)
                break
            except (urllib3.exceptions.ProtocolError, ConnectionError) as error:
                if not tries:
                    raise unavailable(error, subject) from error
            except TRANSPORT_ERRORS as error:
                raise unavailable(error, subject) from error
        if response.status >= http.HTTPStatus.MULTIPLE_CHOICES:
            raise self._refused(response, subject)
        return response

    def _send(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str], timeouts: Timeouts
    ) -> Response:
        if self._direct is not None:
            return self._direct.request(method, target, body=body, headers=headers, timeouts=timeouts)
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
            self.limit.block(min(error.retry_after, _LONGEST_HOLD))
        return error

    def _credentials(self, subject: str) -> dict[str, str]:
        """Headers with credentials, as the client has them; asked for by one thread at a time."""
        if time.monotonic() < self._headers_until:
            return self._headers
        with self._lock:
            if time.monotonic() < self._headers_until:
                return self._headers
            headers: dict[str, str] = dict(self.api.default_headers)
            try:
                self.api.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
            except (ConfigException, OSError) as error:
                # A token that is just being replaced comes right by itself.
                raise UnavailableError(f"credentials cannot be renewed: {error}", subject=subject) from error
            # Go's tokens are trimmed; the client takes the line's end from a file with them.
            self._headers = {key: value.strip() for key, value in headers.items()}
            self._headers_until = time.monotonic() + _FRESH
            return self._headers


def connect(
    kubeconfig: str | None = None,
    context: str | None = None,
    *,
    threads: int = 16,
    limit: TokenBucket | None = None,
    impersonate: str = "",
) -> Connection:
    """A connection as kubectl would make it; nothing is sent yet.

    Args:
        kubeconfig: A file; ``KUBECONFIG`` or ``~/.kube/config`` where there is one, else the pod's own
            service account.
        context: Of the kubeconfig; its current one by default.
        threads: That may send requests at once.
        limit: Requests a second; 200, and 400 at once, by default.
        impersonate: The user to act as (``kubectl --as``). Of a service account the server knows the
            groups, so none are sent: naming them would take a right of its own.

    Raises:
        InputError: The configuration is not there or not usable.
    """
    configuration = Configuration()
    files = kubeconfig or os.environ.get("KUBECONFIG") or _default_file()
    in_cluster = files is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    subject = "the pod's service account" if in_cluster else files or "~/.kube/config"
    if not in_cluster and not any(Path(one).expanduser().is_file() for one in subject.split(os.pathsep)):
        raise InputError(
            f"{subject}: no such file; name a kubeconfig by --kubeconfig or KUBECONFIG, or run in a pod "
            f"with a service account",
            subject=subject,
        )
    try:
        if in_cluster:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            load_kube_config(subject, context, configuration)  # type: ignore[no-untyped-call]
    except (
        ConfigException,
        yaml.YAMLError,
        OSError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        said = str(error).strip().split("\n", 1)[0]
        raise InputError(f"{subject}: {said}; see `kubectl config view`", subject=subject) from error
    # One for each thread, and for its log; watches; the lease. More are made where needed, and closed.
    configuration.connection_pool_maxsize = 2 * threads + 8
    configuration.retries = False
    configuration.keep_alive = True
    if not configuration.verify_ssl:
        # Who wrote the kubeconfig decided so; a warning for every request would hide all others.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    api = ApiClient(configuration)
    api.user_agent = "resultsfw"
    if impersonate:
        api.set_default_header("Impersonate-User", impersonate)  # type: ignore[no-untyped-call]
    try:
        return Connection(api, limit)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{subject}: a certificate cannot be read: {error}; see `kubectl config view`", subject=subject
        ) from error


def encoded(body: Any) -> bytes:
    """JSON as few bytes as it takes: escaped, a text could come over the server's limit for requests.

    Raises:
        ClusterError: It is nested too deeply.
    """
    try:
        return orjson.dumps(body)
    except TypeError:
        # A lone surrogate, or a number of more than 64 bits: what the standard library writes.
        try:
            return json.dumps(body, separators=(",", ":")).encode()
        except RecursionError as error:
            raise ClusterError("what is to be sent is nested too deeply") from error


def unavailable(error: Exception, subject: str) -> ClusterError:
    """The error for trouble on the way."""
    return UnavailableError(f"{type(error).__name__}: {error}"[:300], subject=subject)


def _default_file() -> str | None:
    path = Path("~/.kube/config").expanduser()
    return str(path) if path.is_file() else None
