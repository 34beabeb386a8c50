"""Call a method of a gRPC service over mutual TLS between SPIFFE identities, or over a socket of the machine.

The library `grpcio` compares the name of a host with the server's certificate and cannot compare a SPIFFE ID,
the only name that a SPIRE server's certificate has. So the connection is Python's own `ssl`, and HTTP/2 is
`h2`. A call is one short request and one short answer, on a connection of its own.

Sources: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, and SPIFFE's X509-SVID.md.
"""

import base64
import functools
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from resultsfw.errors import ClusterError, ForbiddenError, UnavailableError

__all__ = ["Credentials", "StatusCode", "call"]

_MAX_ANSWER: Final = 65_535
"""Bytes of an answer, frames of HTTP/2 included; its first flow-control window."""
_CHUNK: Final = 16_384
_PREFIX: Final = struct.Struct(">?I")
"""Precedes a message: whether it is compressed, and its bytes."""
_MAX_MESSAGE: Final = 300
"""Characters of a server's own message that are shown."""


class StatusCode(IntEnum):
    """Status codes of gRPC that are distinguished here.

    Source: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md.
    """

    OK = 0
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    ABORTED = 10
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_FORBIDDEN: Final = frozenset({StatusCode.PERMISSION_DENIED, StatusCode.UNAUTHENTICATED})
_TEMPORARY: Final = frozenset(
    {
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.ABORTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a client identifies itself and its server with; DER.

    Attributes:
        chain: The client's certificate, and those between it and the trust bundle.
        key: Its private key, PKCS #8.
        authorities: The trust bundle of the server's trust domain.
    """

    chain: tuple[bytes, ...] = field(repr=False)
    key: bytes = field(repr=False)
    authorities: tuple[bytes, ...] = field(repr=False)


def call(
    target: str,
    method: str,
    request: bytes,
    *,
    server_id: str,
    credentials: Callable[[], Credentials],
    seconds: float = 5,
) -> bytes:
    """Call a method and return the message of the answer.

    Args:
        target: `HOST:PORT`, or `unix:///PATH`, where the permissions of the file protect the socket.
        method: As `/package.Service/Method`.
        request: The message.
        server_id: The SPIFFE ID that the server must have; not compared on a socket of this machine.
        credentials: Returns those of this client; not called for a socket of this machine.
        seconds: How long the call may take, the connection included.

    Raises:
        UnavailableError: The server does not answer, or not now, or is another one.
        ForbiddenError: It refuses this client, or does not accept its identity.
        ClusterError: It refuses this request; another try would end in the same way.
    """
    deadline = time.monotonic() + seconds
    try:
        with _connected(target, server_id, credentials, deadline) as connection:
            return exchange(connection, target, method, request, deadline)
    except (OSError, ValueError, h2.exceptions.H2Error) as error:  # ValueError: of PEM and of host names
        raise _unavailable(target, str(error) or type(error).__name__) from error


def status_error(target: str, code: int, message: str) -> ClusterError:
    """Return the error for a status of gRPC, of a call or of a part of it."""
    text = f"SPIRE server {target}: {_cut(message) or 'no message'} (gRPC status {code})"
    if code in _FORBIDDEN:
        hint = 'the entry of this controller needs "admin" ("spire-server entry create ... -admin")'
        return ForbiddenError(f"{text}; {hint}", subject=target)
    if code in _TEMPORARY:
        return UnavailableError(text, subject=target)
    return ClusterError(text, subject=target)


def _unavailable(target: str, why: str) -> UnavailableError:
    return UnavailableError(
        f'SPIRE server {target} cannot be reached: {_cut(why)}; check the option "entries" and the server',
        subject=target,
    )


def _cut(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable if len(printable) <= _MAX_MESSAGE else f"{printable[:_MAX_MESSAGE]}..."


def _connected(
    target: str, server_id: str, credentials: Callable[[], Credentials], deadline: float
) -> socket.socket:
    """Return a connection to the server, which has proved that it has the SPIFFE ID."""
    if target.startswith("unix://"):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_remaining(deadline))
            connection.connect(target.removeprefix("unix://"))
        except BaseException:
            connection.close()
            raise
        return connection
    context = _tls(credentials())
    host, _, port = target.rpartition(":")
    plain = socket.create_connection((host.strip("[]"), int(port)), timeout=_remaining(deadline))
    try:
        plain.settimeout(_remaining(deadline))
        connection = context.wrap_socket(plain)
    except BaseException:
        plain.close()
        raise
    found = uris_of(connection.getpeercert() or {})
    if found != (server_id,):
        connection.close()
        raise _unavailable(
            target,
            f"its certificate has {', '.join(found) or 'no SPIFFE ID'}, and must have {server_id} alone",
        )
    return connection


def uris_of(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the URIs of a certificate, as `ssl` has read it. An X509-SVID has exactly one."""
    names: Iterable[tuple[str, str]] = certificate.get("subjectAltName", ())
    return tuple(value for kind, value in names if kind == "URI")


@functools.lru_cache(maxsize=2)
def _tls(credentials: Credentials) -> ssl.SSLContext:
    """Return a context that trusts the bundle alone and compares no host name.

    It is kept until the identity or the bundle changes: to make it takes as long as the handshake.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # the SPIFFE ID is compared instead, after the handshake
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a bundle may hold intermediates alone
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(cadata=b"".join(credentials.authorities))
    # Python reads a key from a file only. This file is memory, and its name is gone with the descriptor.
    descriptor = os.memfd_create("svid", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem("PRIVATE KEY", credentials.key))
        file.writelines(pem("CERTIFICATE", certificate) for certificate in credentials.chain)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context


def pem(label: str, der: bytes) -> bytes:
    name = label.encode()
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (name, base64.encodebytes(der), name)


def exchange(connection: socket.socket, target: str, method: str, request: bytes, deadline: float) -> bytes:
    """Send the request and return the message of the answer."""
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    http.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "http" if target.startswith("unix://") else "https"),
        (":path", method),
        (":authority", "localhost" if target.startswith("unix://") else target),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", f"{max(1, int(_remaining(deadline)))}S"),
    ]
    stream = http.get_next_available_stream_id()
    http.send_headers(stream, headers)
    http.send_data(stream, _PREFIX.pack(False, len(request)) + request, end_stream=True)
    found: dict[str, str] = {}
    body = b""
    received = 0
    while True:
        connection.settimeout(_remaining(deadline))
        connection.sendall(http.data_to_send())
        data = connection.recv(_CHUNK)
        received += len(data)
        if not data:
            raise _unavailable(target, "it ended the connection before its answer")
        if received > _MAX_ANSWER:
            raise _unavailable(target, f"its answer has more than {_MAX_ANSWER} bytes")
        for event in http.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                found |= {_decoded(name): _decoded(value) for name, value in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
            elif isinstance(event, h2.events.StreamEnded):
                return _message(target, found, body)
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                raise _unavailable(target, f"it ended the call with code {event.error_code}")


def _decoded(header: bytes | str) -> str:
    return header if isinstance(header, str) else header.decode("latin-1")


def _message(target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the message of a complete answer."""
    status = headers.get("grpc-status", "")
    if not (status.isascii() and status.isdigit() and len(status) <= 2):  # noqa: PLR2004 - codes end at 16
        raise _unavailable(target, f"no answer of gRPC, but of HTTP with status {headers.get(':status', '')}")
    if int(status) != StatusCode.OK:
        raise status_error(target, int(status), unquote(headers.get("grpc-message", "")))
    if len(body) < _PREFIX.size or (False, len(body) - _PREFIX.size) != _PREFIX.unpack_from(body):
        raise _unavailable(target, "its answer is not exactly one complete message")
    return body[_PREFIX.size :]


def _remaining(deadline: float) -> float:
    """Return the seconds until the deadline.

    Raises:
        TimeoutError: It has passed.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left
