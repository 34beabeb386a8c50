"""Serve the SPIFFE Workload API on a unix socket, with identities that a test chooses.

It stands for SPIRE's agent where none runs: in this project's tests, in the compliance suite's tests of
signatures, and in those of embedders. There is no attestation: every caller of one server gets the same
identities. Callers that get other ones have a server of their own.

Source: SPIFFE Workload API, workload.proto. Needs ``pip install 'resultsfw[signed]'``.
"""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from resultsfw.errors import InputError

try:
    import grpc
    from spiffe._proto import workload_pb2

    from resultsfw.testing.signing_ca import Authority, Credential
except ImportError as error:  # pragma: no cover - the tests have both
    raise ImportError(
        f"{__name__} needs {error.name}: pip install 'resultsfw[signed]'", name=error.name
    ) from error

__all__ = ["SOCKET_FILE", "ServedSvid", "WorkloadApi", "served_svid"]

SOCKET_FILE: Final = "spire-agent.sock"
"""The socket's name in its folder: that of SPIRE's agent."""

_SERVICE: Final = "SpiffeWorkloadAPI"
_HEADER: Final = ("workload.spiffe.io", "true")
"""Metadata without which every request is refused (SPIFFE Workload Endpoint, section 6.1)."""

_STREAMS: Final = 64
"""Most streams that are open at a time; a further one waits."""

_TIMEOUT: Final = 60.0
"""Seconds after which waiting for callers is a failure."""

_PATH_BYTES: Final = 107
"""Longest path of a unix socket on Linux (sun_path without its last NUL)."""


@dataclass(frozen=True, slots=True)
class ServedSvid:
    """Contain an X509-SVID as the Workload API transmits it.

    Attributes:
        spiffe_id: The identity, ``spiffe://DOMAIN/PATH``.
        chain: Certificates in DER: the leaf, then intermediates.
        key: The leaf's private key, PKCS#8 in DER without encryption.
        bundle: Authorities of the identity's own trust domain, in DER.
        hint: Distinguishes several identities of a caller; may be empty.
    """

    spiffe_id: str
    chain: tuple[bytes, ...]
    key: bytes
    bundle: tuple[bytes, ...]
    hint: str = ""


def served_svid(spiffe_id: str, credential: Credential, *authorities: Authority) -> ServedSvid:
    """Return an identity as the Workload API transmits it.

    Args:
        spiffe_id: The identity that is delivered beside the certificate; in an agent's answers that of the
            certificate.
        credential: Certificate, key and intermediates.
        authorities: Those of its trust domain, as the agent publishes them.
    """
    chain = (credential.der, *credential.intermediates_der)
    return ServedSvid(spiffe_id, chain, credential.key_der, tuple(root.der for root in authorities))


class WorkloadApi:
    """Serve identities and trust bundles on a unix socket while its block runs.

    A caller without an identity is refused with PERMISSION_DENIED, as by SPIRE's agent: so is every caller at
    first. What changes is sent at once on the streams that are open.

    Args:
        folder: Where the socket is made; ``None``: in a temporary folder, removed at the end.
        svids: Identities of every caller.
        bundles: Authorities in DER by trust domain, such as ``example.org``; ``None``: those of the
            identities.

    Attributes:
        socket: The socket's path.

    Raises:
        InputError: The socket's path is longer than Linux allows.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        svids: Sequence[ServedSvid] = (),
        bundles: Mapping[str, Sequence[bytes]] | None = None,
    ) -> None:
        self._temporary = None if folder else Path(tempfile.mkdtemp(prefix="spiffe"))
        self.socket = (folder or self._temporary or Path()).absolute() / SOCKET_FILE
        if len(str(self.socket).encode()) > _PATH_BYTES:
            raise InputError(
                f"the socket {self.socket} has a path of more than {_PATH_BYTES} bytes, which Linux does not "
                "allow: name a folder with a shorter path, or none",
                subject="folder",
            )
        self._svids = tuple(svids)
        self._bundles = None if bundles is None else {name: tuple(ders) for name, ders in bundles.items()}
        self._changed = threading.Condition()
        self._version = 0
        self._calls = 0
        self._refused = 0
        self._open = 0
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    @property
    def address(self) -> str:
        """Return the socket's address, as the variable SPIFFE_ENDPOINT_SOCKET contains it."""
        return f"unix://{self.socket}"

    @property
    def calls(self) -> int:
        """Return how many requests arrived, those that were refused included."""
        with self._changed:
            return self._calls

    @property
    def refused(self) -> int:
        """Return how many requests were refused because there was no identity."""
        with self._changed:
            return self._refused

    def start(self) -> None:
        """Listen on the socket; nothing happens if it does already."""
        if self._server is None:
            self.socket.parent.mkdir(parents=True, exist_ok=True)
            self._server = _Server(self, self.address)

    def stop(self) -> None:
        """End all streams and remove the socket, as an agent does that is away. `start` makes both again."""
        server, self._server = self._server, None
        if server is None:
            return
        server.closing = True
        with self._changed:
            self._changed.notify_all()
        server.close()
        self.socket.unlink(missing_ok=True)

    def serve(self, *svids: ServedSvid) -> None:
        """Give every caller these identities in place of all earlier ones; none: refuse every caller."""
        self._change(svids=tuple(svids))

    def add(self, *svids: ServedSvid) -> None:
        """Give every caller these identities beside the earlier ones."""
        with self._changed:
            self._change(svids=(*self._svids, *svids))

    def serve_bundles(self, bundles: Mapping[str, Sequence[bytes]]) -> None:
        """Publish these authorities, in DER by trust domain, in place of all earlier ones."""
        self._change(bundles={name: tuple(ders) for name, ders in bundles.items()})

    def wait_for_calls(self, number: int) -> None:
        """Wait until so many requests arrived since the server was made.

        Raises:
            TimeoutError: They did not within a minute.
        """
        self._wait(lambda: self._calls >= number, f"{number} requests")

    def wait_for_refusals(self, number: int) -> None:
        """Wait until so many requests were refused because there was no identity.

        Raises:
            TimeoutError: They were not within a minute.
        """
        self._wait(lambda: self._refused >= number, f"{number} refused requests")

    def wait_for_streams(self, number: int) -> None:
        """Wait until exactly so many streams are open.

        Raises:
            TimeoutError: They are not within a minute.
        """
        self._wait(lambda: self._open == number, f"{number} open streams")

    def fetch_x509_svid(self, server: "_Server", context: Any) -> Iterator[Any]:
        """Yield the answers of FetchX509SVID: one now, and one after each change."""
        for svids, bundles in self._states(server, context):
            yield workload_pb2.X509SVIDResponse(
                svids=[
                    workload_pb2.X509SVID(
                        spiffe_id=svid.spiffe_id,
                        x509_svid=b"".join(svid.chain),
                        x509_svid_key=svid.key,
                        bundle=b"".join(svid.bundle),
                        hint=svid.hint,
                    )
                    for svid in svids
                ],
                federated_bundles={
                    f"spiffe://{name}": b"".join(authorities)
                    for name, authorities in bundles.items()
                    if name not in {_trust_domain(svid.spiffe_id) for svid in svids}
                },
            )

    def fetch_x509_bundles(self, server: "_Server", context: Any) -> Iterator[Any]:
        """Yield the answers of FetchX509Bundles: one now, and one after each change."""
        for _, bundles in self._states(server, context):
            yield workload_pb2.X509BundlesResponse(
                bundles={f"spiffe://{name}": b"".join(authorities) for name, authorities in bundles.items()}
            )

    def _states(
        self, server: "_Server", context: Any
    ) -> Iterator[tuple[tuple[ServedSvid, ...], Mapping[str, tuple[bytes, ...]]]]:
        """Yield identities and bundles, now and after each change, until caller or server end the stream."""
        with self._changed:
            self._calls += 1
            self._changed.notify_all()
        if _HEADER not in {(key, value) for key, value in context.invocation_metadata()}:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        context.add_callback(self._wake)
        with self._changed:
            self._open += 1
            self._changed.notify_all()
        try:
            version = -1
            while True:
                with self._changed:
                    while version == self._version and not server.closing and context.is_active():
                        self._changed.wait()
                    if server.closing or not context.is_active():
                        return
                    version, svids, bundles = self._version, self._svids, self._published()
                    if not svids:
                        self._refused += 1
                        self._changed.notify_all()
                if not svids:
                    context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
                yield svids, bundles
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _published(self) -> Mapping[str, tuple[bytes, ...]]:
        if self._bundles is not None:
            return self._bundles
        return {_trust_domain(svid.spiffe_id): svid.bundle for svid in self._svids}

    def _change(
        self,
        svids: tuple[ServedSvid, ...] | None = None,
        bundles: Mapping[str, tuple[bytes, ...]] | None = None,
    ) -> None:
        with self._changed:
            self._svids = self._svids if svids is None else svids
            self._bundles = self._bundles if bundles is None else dict(bundles)
            self._version += 1
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, _TIMEOUT):
                raise TimeoutError(
                    f"no {what} within {_TIMEOUT:g} s: {self._calls} requests, {self._refused} refused, "
                    f"{self._open} open"
                )


class _Server:
    """Run one gRPC server, with the threads of its streams.

    Attributes:
        closing: Whether streams must end.
    """

    def __init__(self, api: WorkloadApi, address: str) -> None:
        self.closing = False
        self._threads = ThreadPoolExecutor(_STREAMS, thread_name_prefix="workload-api")
        self._server = grpc.server(self._threads)
        handlers = {
            "FetchX509SVID": grpc.unary_stream_rpc_method_handler(
                lambda _, context: api.fetch_x509_svid(self, context),
                request_deserializer=workload_pb2.X509SVIDRequest.FromString,
                response_serializer=workload_pb2.X509SVIDResponse.SerializeToString,
            ),
            "FetchX509Bundles": grpc.unary_stream_rpc_method_handler(
                lambda _, context: api.fetch_x509_bundles(self, context),
                request_deserializer=workload_pb2.X509BundlesRequest.FromString,
                response_serializer=workload_pb2.X509BundlesResponse.SerializeToString,
            ),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
        self._server.add_insecure_port(address)
        self._server.start()

    def close(self) -> None:
        """End all streams, then all threads."""
        self._server.stop(None).wait(_TIMEOUT)
        self._threads.shutdown(wait=True)


def _trust_domain(spiffe_id: str) -> str:
    return spiffe_id.removeprefix("spiffe://").partition("/")[0]
