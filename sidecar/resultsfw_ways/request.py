"""Requests to a server from the pod: with the pod's own token, over TLS, tried again while that can help."""

import http.client
import os
import ssl

from resultsfw_sidecar.output import OutputError
from resultsfw_sidecar.stop import Stop

PATIENCE = 60.0
"""Seconds from the first try after which no further one is made."""

HASTE = 20.0
"""The same from a signal on: SIGKILL comes 30 s after it, and before it the reason must be told."""

_TIMEOUT = 10.0  # seconds of silence after which a try is given up
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_PASSING = (408, 425, 429, 500, 502, 503, 504, 507)
_ANSWER = 2 * 1024 * 1024  # bytes read of an answer at most


class Server:
    """A server, and how to speak to it.

    Args:
        url: `https://HOST:PORT`, or `http://` on a machine of one's own.
        token_file: Read at each try, for tokens are renewed.
        ca_file: Certificates that the server's must be signed by; empty for the system's.
        ca: The same, themselves.
        stop: To wait with.

    Raises:
        ValueError: The URL is none, or the certificates cannot be read.
    """

    def __init__(self, url: str, *, token_file: str, ca_file: str, stop: Stop, ca: str = "") -> None:
        scheme, _, rest = url.partition("://")
        host, slash, path = rest.partition("/")
        if scheme not in ("http", "https") or not host or "@" in host:
            raise ValueError(f"{url!a} is no URL of a server")
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
        """Sends a request until it is answered, for good or ill.

        Every try sends the same: the server must take the second of two for the first one.

        Args:
            method: Such as PUT.
            path: From the server's root, quoted.
            body: What to send.
            media_type: Of the body.
            accept: What the answer may be.
            headers: More of them.

        Returns:
            The answer's status and body; a status says that a further try cannot help, or is the last.

        Raises:
            OutputError: It was not answered in time; the message says why the last try failed.
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
            self._stop.wait(pause)  # a signal makes it shorter, and is no reason to give up
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
    return os.times().elapsed  # a clock that no one sets
