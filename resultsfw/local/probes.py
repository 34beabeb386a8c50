"""Probes of containers, as a kubelet makes them: a command, an HTTP request, a TCP connection."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.local.podstatus import new_id

__all__ = ["HANDLERS", "Probe", "ask", "can_probe"]

HANDLERS: Final = ("exec", "httpGet", "tcpSocket")
_DEFAULTS: Final = {
    "initialDelaySeconds": 0,
    "periodSeconds": 10,
    "timeoutSeconds": 1,
    "successThreshold": 1,
    "failureThreshold": 3,
}
"""As an API server fills them in."""

_HERE: Final = "127.0.0.1"
_GOOD: Final = range(200, 400)


def can_probe(probe: Any) -> bool:
    """Return whether a probe is one that can be made here."""
    return isinstance(probe, dict) and any(probe.get(handler) for handler in HANDLERS)


@dataclass(slots=True)
class Probe:
    """One probe of a container that runs, and what came of it so far.

    Attributes:
        spec: As the container has it.
        due: When it is made next, on the monotonic clock.
        id: Of the attempt that is under way; "" between two.
    """

    spec: Object
    due: float
    id: str = ""
    _passed: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)

    @classmethod
    def of(cls, spec: Object, at: float) -> "Probe":
        """Return the probe of a container that was started at this time."""
        return cls(spec, at + _seconds(spec, "initialDelaySeconds"))

    @property
    def timeout(self) -> float:
        """Seconds that one attempt may take."""
        return max(_seconds(self.spec, "timeoutSeconds"), 1.0)

    def begin(self, at: float) -> str:
        """Begin an attempt; return its id. Until it ends, the next time is that of its timeout."""
        self.id, self.due = new_id(), at + self.timeout
        return self.id

    def judge(self, at: float, *, ok: bool) -> bool | None:
        """Count an attempt. Return what the container now counts as, or ``None`` below the thresholds."""
        self.id, self.due = "", at + max(_seconds(self.spec, "periodSeconds"), 1.0)
        self._passed, self._failed = (self._passed + 1, 0) if ok else (0, self._failed + 1)
        if self._passed >= max(_seconds(self.spec, "successThreshold"), 1):
            return True
        return False if self._failed >= max(_seconds(self.spec, "failureThreshold"), 1) else None


def ask(probe: Probe, container: Object, tell: Callable[[dict[str, Any]], None]) -> None:
    """Make an HTTP or TCP probe on a thread of its own; ``tell`` gets the attempt's id and outcome."""
    identity, timeout, spec = probe.id, probe.timeout, probe.spec

    def attempt() -> None:
        good = False
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            good = (
                _answers(spec["httpGet"], container, timeout)
                if spec.get("httpGet")
                else _accepts(spec["tcpSocket"], container, timeout)
            )
        tell({"probed": identity, "ok": good})

    threading.Thread(target=attempt, name="resultsfw-probe", daemon=True).start()


def _accepts(action: Object, container: Object, timeout: float) -> bool:
    with socket.create_connection((action.get("host") or _HERE, _port(action, container)), timeout):
        return True


def _answers(action: Object, container: Object, timeout: float) -> bool:
    host, port = action.get("host") or _HERE, _port(action, container)
    connection: http.client.HTTPConnection
    if str(action.get("scheme") or "HTTP").upper() == "HTTPS":
        # A kubelet does not verify the certificate of what it probes.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    headers = {str(one.get("name")): str(one.get("value", "")) for one in action.get("httpHeaders") or ()}
    with contextlib.closing(connection):
        connection.request("GET", action.get("path") or "/", headers=headers)
        return connection.getresponse().status in _GOOD


def _port(action: Object, container: Object) -> int:
    """A port by number, or by the name that the container gives it."""
    port = action.get("port", 0)
    for named in container.get("ports") or ():
        if isinstance(port, str) and named.get("name") == port:
            return int(named["containerPort"])
    return int(port)


def _seconds(spec: Object, key: str) -> float:
    value = spec.get(key)
    return float(_DEFAULTS[key] if value is None else value)
