"""Sends requests to a server from the pod, with the pod's own token and over TLS, and retries them."""

import http.client
import os
import ssl

from resultsfw_sidecar.output import OutputError
from resultsfw_sidecar.stop import Stop

PATIENCE = 60.0
"""Seconds after the first attempt in which a request is retried."""

HASTE = 20.0
"""The same after SIGTERM: SIGKILL follows 30 s later, and the reason must be reported before."""

_TIMEOUT = 10.0  # seconds without data after which an attempt fails
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_PASSING = (408, 425, 429, 500, 502, 503, 504, 507)
_ANSWER = 2 * 1024 * 1024  # bytes read of an answer at most


class Server:
    """Sends requests to one server.

    Args:
        url: `https://HOST:PORT`, or `http://` on this machine.
        token_file: File of the token, read at each attempt since the kubelet renews it.
        ca_file: File of the certificate authorities to trust; empty for the system's.
        ca: The same, as PEM text.
        stop: Receives signals; used to wait.

    Raises:
        ValueError: The URL is invalid, or the certificates cannot be read.
    """

    def __init__(self, url: str, *, token_file: str, ca_file: str, stop: Stop, ca: str = "") -> None:
        scheme, _, rest = url.partition("://")
        host, slash, path = rest.partition("/")
        if scheme not in ("http", "https") or not host or "@" in host:
            raise ValueError(f"{url!a} is not the URL of a server")
        self._host = host
        self._base = f"/{path}".rstrip("/") if slash else ""
        self._token_file = token_file
        self._stop = stop
        self._timeout = _TIMEOUT
        self._tls: ssl.SSLContext | None = None
        if scheme == "https":
            try:
                self._tls = ssl.create_default_context(cafile=ca_file or None, cadata=ca or None)
            except (OSError, ValueError) as error:
                raise ValueError(f"{ca_file}: certificates cannot be read: {error}") from None

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        media_type: str = "application/json",
        accept: str = "application/json",
        headers: "dict[str, str] | None" = None,
    ) -> tuple[int, bytes]:
        """Sends a request, and repeats it until there is a final answer.

        Every attempt sends the same: the server must treat a second request as the first one.

        Args:
            method: Such as PUT.
            path: From the server's root, quoted.
            body: The request's body.
            media_type: The body's media type.
            accept: The media types accepted as an answer.
            headers: Further headers.

        Returns:
            The answer's status and body: a status that no retry can change, or that of the last attempt.

        Raises:
            OutputError: There was no answer in time; the message says why the last attempt failed.
        """
        spent, pause, patience = 0.0, _FIRST_PAUSE, PATIENCE
        while True:
            if self._stop.requested and patience == PATIENCE:
                patience = min(patience, spent + HASTE)
            began = _now()
            try:
                self._timeout = min(_TIMEOUT, patience - spent)
                given = {"Accept": accept, **(headers or {})}
                if body is not None:
                    given["Content-Type"] = media_type
                status, answer = self._try(method, path, body, given)
            except (OSError, http.client.HTTPException) as error:
                status, answer = 0, b""
                fault = f"{type(error).__name__}: {error}"
            if status and status not in _PASSING:
                return status, answer
            spent += _now() - began
            if spent + pause >= patience:
                if status:
                    return status, answer
                raise OutputError(f"{method} {self._host}{self._base}{path}: {fault}")
            waited = _now()
            self._stop.wait(pause)  # a signal ends the wait early, but not the retries
            spent += _now() - waited
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _try(
        self, method: str, path: str, body: bytes | None, headers: "dict[str, str]"
    ) -> tuple[int, bytes]:
        with open(self._token_file, encoding="ascii") as file:  # noqa: PTH123 - no pathlib here
            token = file.read().strip()
        connection: http.client.HTTPConnection
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, timeout=self._timeout)
        else:
            connection = http.client.HTTPSConnection(self._host, timeout=self._timeout, context=self._tls)
        try:
            connection.request(
                method, self._base + path, body, {"Authorization": f"Bearer {token}", **headers}
            )
            answer = connection.getresponse()
            return answer.status, answer.read(_ANSWER)
        finally:
            connection.close()


def _now() -> float:
    return os.times().elapsed  # a monotonic clock
