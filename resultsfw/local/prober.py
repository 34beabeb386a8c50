"""Makes probes of containers, as a kubelet's prober does: a command, an HTTP request, a TCP connection."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.local.pod_status import new_id

__all__ = ["HANDLERS", "Probe", "can_probe", "send_probe"]

HANDLERS: Final = ("exec", "httpGet", "tcpSocket")
_DEFAULTS: Final = {
    "initialDelaySeconds": 0,
    "periodSeconds": 10,
    "timeoutSeconds": 1,
    "successThreshold": 1,
    "failureThreshold": 3,
}
"""The defaults that an API server fills in."""

_LOOPBACK: Final = "127.0.0.1"
_SUCCESS: Final = range(200, 400)


def can_probe(probe: Any) -> bool:
    """Return whether this engine can make a probe."""
    return isinstance(probe, dict) and any(probe.get(handler) for handler in HANDLERS)


@dataclass(slots=True)
class Probe:
    """A probe of a running container, and its outcomes so far.

    Attributes:
        spec: The probe as the container has it.
        due: When the next attempt is made or the present one times out, on the monotonic clock.
        id: Id of the attempt in progress; "" if there is none.
    """

    spec: Object
    due: float
    id: str = ""
    _passed: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)

    @classmethod
    def of(cls, spec: Object, at: float) -> "Probe":
        """Return the probe of a container that was started at ``at``."""
        return cls(spec, at + _seconds(spec, "initialDelaySeconds"))

    @property
    def timeout(self) -> float:
        """Return the seconds that one attempt may take."""
        return max(_seconds(self.spec, "timeoutSeconds"), 1.0)

    def begin(self, at: float) -> str:
        """Begin an attempt and return its id; it is due at its timeout."""
        self.id, self.due = new_id(), at + self.timeout
        return self.id

    def judge(self, at: float, *, ok: bool) -> bool | None:
        """Count an attempt; return whether the probe succeeded or failed, ``None`` below the thresholds."""
        self.id, self.due = "", at + max(_seconds(self.spec, "periodSeconds"), 1.0)
        self._passed, self._failed = (self._passed + 1, 0) if ok else (0, self._failed + 1)
        if self._passed >= max(_seconds(self.spec, "successThreshold"), 1):
            return True
        return False if self._failed >= max(_seconds(self.spec, "failureThreshold"), 1) else None


def send_probe(probe: Probe, container: Object, on_outcome: Callable[[dict[str, Any]], None]) -> None:
    """Make an HTTP or TCP probe on a thread of its own; ``on_outcome`` gets the attempt's id and outcome."""
    identity, timeout, spec = probe.id, probe.timeout, probe.spec

    def attempt() -> None:
        ok = False
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            ok = (
                _http_succeeds(spec["httpGet"], container, timeout)
                if spec.get("httpGet")
                else _tcp_succeeds(spec["tcpSocket"], container, timeout)
            )
        on_outcome({"probed": identity, "ok": ok})

    threading.Thread(target=attempt, name="resultsfw-probe", daemon=True).start()


def _tcp_succeeds(action: Object, container: Object, timeout: float) -> bool:
    with socket.create_connection((action.get("host") or _LOOPBACK, _port(action, container)), timeout):
        return True


def _http_succeeds(action: Object, container: Object, timeout: float) -> bool:
    host, port = action.get("host") or _LOOPBACK, _port(action, container)
    connection: http.client.HTTPConnection
    if str(action.get("scheme") or "HTTP").upper() == "HTTPS":
        # A kubelet does not verify the certificate of a probed container.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    headers = {
        str(header.get("name")): str(header.get("value", "")) for header in action.get("httpHeaders") or ()
    }
    with contextlib.closing(connection):
        connection.request("GET", action.get("path") or "/", headers=headers)
        return connection.getresponse().status in _SUCCESS


def _port(action: Object, container: Object) -> int:
    """Return the number of a port that is given by number or by its name in the container."""
    port = action.get("port", 0)
    for named in container.get("ports") or ():
        if isinstance(port, str) and named.get("name") == port:
            return int(named["containerPort"])
    return int(port)


def _seconds(spec: Object, key: str) -> float:
    value = spec.get(key)
    return float(_DEFAULTS[key] if value is None else value)
