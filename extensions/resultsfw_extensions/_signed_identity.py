"""The controller's identity and trust bundles, kept up to date from the SPIFFE Workload API.

The only module of the extension that imports ``spiffe``. A stream delivers the controller's own X.509-SVID
and all bundles whenever one changes. While the agent is away, the last ones stay in use.

Source: SPIFFE Workload API (5.1 FetchX509SVID; 5.3: the first SVID is the default).
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import TrustDomain, WorkloadApiClient, X509Bundle, X509BundleSet
from spiffe.errors import ArgumentError, PySpiffeError
from spiffe.workloadapi.x509_context import X509Context

from resultsfw.errors import ResultsError, UnavailableError
from resultsfw.signatures import Signer, TrustBundle, bundle_from_der
from resultsfw_extensions._signed_config import MOUNT_PATH, SignedConfig
from resultsfw_extensions._spiffe_grpc import Credentials

__all__ = ["Identity", "controller_socket"]

log = logging.getLogger(__name__)

ENV_SOCKET: Final = "SPIFFE_ENDPOINT_SOCKET"
"""Variable with the address of the Workload API (SPIFFE Workload Endpoint, 4)."""

_FIRST_SECONDS: Final = 5.0
"""How long callers wait at most for the agent's first answer, counted from the start of the stream."""

_JOIN_SECONDS: Final = 3.0

_PAUSE_SECONDS: Final = (0.1, 0.5, 1.0, 2.0)
"""Pauses before the stream is opened again; the last one repeats."""

_REASON_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class _Update:
    """What the agent sent last."""

    svid: Signer
    bundles: dict[str, TrustBundle]


def controller_socket(config: SignedConfig) -> str:
    """Return the address of the controller's Workload API."""
    return (
        config.controller_socket
        or os.environ.get(ENV_SOCKET, "")
        or f"unix://{MOUNT_PATH}/{config.socket_file}"
    )


class Identity:
    """The controller's X.509-SVID and the trust bundles. Safe to use from several threads.

    Args:
        socket: The address of the Workload API, ``unix:///...``.
    """

    def __init__(self, socket: str) -> None:
        self.socket: Final = socket
        self._changed = threading.Condition()
        self._update: _Update | None = None
        self._reason = ""
        self._stream_ended = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._deadline = 0.0

    def start(self) -> None:
        """Open the stream in the background, if it is not open yet."""
        with self._changed:
            if self._thread is not None or self._closed:
                return
            self._deadline = time.monotonic() + _FIRST_SECONDS
            self._thread = threading.Thread(target=self._keep_open, name="workload-api", daemon=True)
            self._thread.start()

    def svid(self) -> Signer:
        """Return the controller's own identity.

        Raises:
            UnavailableError: The Workload API has not delivered one yet.
        """
        return self._last().svid

    def credentials(self, trust_domain: str) -> Credentials:
        """Return what the controller identifies itself to SPIRE with, and verifies the server with.

        Raises:
            UnavailableError: The Workload API has not delivered it yet.
        """
        svid = self.svid()
        key = svid.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        authorities = self.bundle(trust_domain).authorities
        return Credentials(
            chain=svid.chain,
            key=key,
            authorities=tuple(certificate.public_bytes(Encoding.DER) for certificate in authorities),
        )

    def bundle(self, trust_domain: str) -> TrustBundle:
        """Return the trust bundle of a trust domain.

        Raises:
            UnavailableError: The Workload API has not delivered that bundle yet.
        """
        bundles = self._last().bundles
        if (bundle := bundles.get(trust_domain)) is None:
            known = ", ".join(sorted(bundles)) or "none"
            raise UnavailableError(
                f'the SPIFFE Workload API at {self.socket} has no trust bundle of "{trust_domain}" (it has: '
                f"{known}): correct trust-domain of config.signed, or federate the two",
                subject=self.socket,
            )
        return bundle

    def close(self) -> None:
        """End the stream."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(_JOIN_SECONDS)

    def _last(self) -> _Update:
        self.start()
        with self._changed:
            self._changed.wait_for(
                lambda: self._update is not None or self._reason or self._closed,
                max(self._deadline - time.monotonic(), 0),
            )
            if self._update is not None:
                return self._update
            reason = self._reason or "it has not answered yet"
            raise UnavailableError(
                f"the SPIFFE Workload API at {self.socket} cannot be used: {reason}; on a cluster, give the "
                f"controller its socket (resultsfw install --enable-signing) and register it with SPIRE; "
                f"elsewhere, set {ENV_SOCKET}",
                subject=self.socket,
            )

    def _keep_open(self) -> None:
        """Open the stream again whenever it ends, until `close`."""
        tries = 0
        while not self._closed:
            before = self._update
            self._stream()
            tries = 0 if self._update is not before else tries + 1
            with self._changed:
                pause = _PAUSE_SECONDS[min(tries, len(_PAUSE_SECONDS) - 1)]
                self._changed.wait_for(lambda: self._closed, pause)

    def _stream(self) -> None:
        """Receive updates until the stream ends.

        Each stream has a connection of its own: one that failed waits for up to two minutes (gRPC's backoff).
        """
        try:
            client = _Client(self.socket)
        except ArgumentError as error:
            self._fail(error)
            return
        self._stream_ended = False
        try:
            handler = client.stream_x509_contexts(self._receive, self._end_stream, retry_connect=False)
            with self._changed:
                self._changed.wait_for(lambda: self._stream_ended or self._closed)
            handler.cancel()
        finally:
            client.close()

    def _receive(self, context: X509Context) -> None:
        update = _update_of(context)
        with self._changed:
            self._update = update
            self._changed.notify_all()

    def _end_stream(self, error: Exception) -> None:
        self._fail(error)
        with self._changed:
            self._stream_ended = True
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        reason = str(error)[:_REASON_CHARACTERS] or type(error).__name__
        if reason != self._reason and not self._closed:  # closed, it ends its stream itself
            log.warning("the SPIFFE Workload API at %s: %s; it is tried again", self.socket, reason)
        with self._changed:
            self._reason = reason
            self._changed.notify_all()


class _Client(WorkloadApiClient):
    """Leaves out a foreign trust domain's bundle that cannot be read: the library would refuse the update.

    A trust domain that issues no X.509 certificates has an empty one.
    """

    @staticmethod
    def _create_x509_bundle_set(resp_bundles: Mapping[str, bytes]) -> X509BundleSet:
        readable = []
        for name, authorities in resp_bundles.items():
            try:
                readable.append(X509Bundle.parse_raw(TrustDomain(name), authorities))
            except PySpiffeError as error:
                _leave_out(name, error)
        return X509BundleSet.of(readable)


def _update_of(context: X509Context) -> _Update:
    """Return what an agent sent.

    Raises:
        SignatureError: The bundle of the controller's own trust domain cannot be used.
    """
    svid = context.default_svid
    own = str(svid.spiffe_id.trust_domain)
    return _Update(
        svid=Signer(
            spiffe_id=str(svid.spiffe_id),
            chain=tuple(certificate.public_bytes(Encoding.DER) for certificate in svid.cert_chain),
            key=svid.private_key,
        ),
        bundles=dict(_bundles(context.x509_bundle_set.bundles, own)),
    )


def _bundles(bundles: Any, own: str) -> Iterator[tuple[str, TrustBundle]]:
    """Yield the bundles by trust domain; foreign ones that cannot be used are left out."""
    for bundle in bundles:
        name = str(bundle.trust_domain)
        try:
            yield name, _bundle(bundle)
        except ResultsError as error:
            if name == own:
                raise
            _leave_out(name, error)


def _leave_out(trust_domain: str, error: Exception) -> None:
    reason = str(error)[:_REASON_CHARACTERS]
    log.warning("the trust bundle of %s is left out: %s", trust_domain[:_REASON_CHARACTERS], reason)


def _bundle(bundle: X509Bundle) -> TrustBundle:
    authorities = sorted(certificate.public_bytes(Encoding.DER) for certificate in bundle.x509_authorities)
    return bundle_from_der(str(bundle.trust_domain), authorities)
