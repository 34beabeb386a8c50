"""Fetches the pod's certificates from the SPIFFE Workload API, in a thread, and signs with their keys.

The only module of the sidecar that imports `spiffe` and `cryptography`, in that thread: both take longer to
import than the sidecar takes to start. The agent has no identity for a pod until it has synchronized with the
server, some seconds after the pod was created. So the thread retries until it has one, and then renews it at
half of its remaining time.

Source: https://github.com/spiffe/spiffe, SPIFFE_Workload_API.md and X509-SVID.md.
"""

import contextlib
import os
import threading
import time

from resultsfw_sidecar.stop import drain

from .statement import (
    FAULT_KEY,
    FAULT_LIBRARY,
    FAULT_NO_AGENT,
    FAULT_NO_IDENTITY,
    MAX_CERTIFICATE_BYTES,
    MAX_CERTIFICATES,
)

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from spiffe import X509Svid

    from resultsfw_sidecar.stop import Stop

AFTER_STOP = 20.0
"""Seconds that a pod which is being stopped waits at most: its grace period is 30 by default."""

_CALL = 10.0  # seconds that one call may take; the agent asks the kubelet about the caller meanwhile
_LEAST_PAUSE = 0.25  # seconds between two calls
_MOST_PAUSE = 5.0  # likewise, while the Steps run
_WAITED_PAUSE = 1.0  # likewise, while the end of the run waits
_GROWTH = 1.5
_CURVES = ("secp256r1", "secp384r1")
_LEAST_RSA, _MOST_RSA = 2048, 4096  # bits
_SHOWN = 200  # characters of the library's words


class IdentityError(Exception):
    """There is no identity to sign with.

    Attributes:
        reason: One of the constants `FAULT_...` of `statement`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Certificate:
    """A certificate of the pod, with its key.

    Args:
        svid: As the library has it.

    Attributes:
        id: Its SPIFFE ID.
        leaf: DER.
        intermediates: DER, from the leaf's issuer on.
        pem: The leaf, as Go's `pem` package encodes it.
        ends: When it expires, in seconds since 1970.

    Raises:
        IdentityError: Its key cannot be used, or the chain is too long for an envelope.
    """

    def __init__(self, svid: "X509Svid") -> None:
        from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415 - see above
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

        self.id = str(svid.spiffe_id)
        self.leaf, *self.intermediates = (part.public_bytes(Encoding.DER) for part in svid.cert_chain)
        self.pem = svid.leaf.public_bytes(Encoding.PEM).decode()
        self.ends = svid.leaf.not_valid_after_utc.timestamp()
        chain = [self.leaf, *self.intermediates]
        size = sum(map(len, chain))
        if len(chain) > MAX_CERTIFICATES or size > MAX_CERTIFICATE_BYTES:
            raise IdentityError(
                FAULT_KEY,
                f"the {len(chain)} certificates of {self.id} have {size} bytes, an envelope has room for "
                f"{MAX_CERTIFICATES} with {MAX_CERTIFICATE_BYTES} bytes: shorten the chain of SPIRE's server",
            )
        key = svid.private_key
        self._elliptic: EllipticCurvePrivateKey | None = None
        self._rsa: RSAPrivateKey | None = None
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
            self._elliptic = key
        elif isinstance(key, rsa.RSAPrivateKey) and _LEAST_RSA <= key.key_size <= _MOST_RSA:
            self._rsa = key
        else:
            kind = f"{type(key).__name__} with {getattr(key, 'key_size', '?')} bits"
            raise IdentityError(
                FAULT_KEY,
                f"{kind} of {self.id} cannot sign: let SPIRE's server issue keys ec-p256 or rsa-2048",
            )

    def sign(self, digest: bytes) -> bytes:
        """Signs data of which this is the SHA-256: ECDSA in ASN.1, or RSA with PKCS#1 v1.5.

        The same data gets the same signature (ECDSA by RFC 6979): a sidecar that Kubernetes starts again must
        deliver what it delivered before, where that is written only once.
        """
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - see above
        from cryptography.hazmat.primitives.asymmetric import ec, padding, utils  # noqa: PLC0415 - see above
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        hashed = utils.Prehashed(SHA256())
        if self._elliptic is not None:
            try:
                return self._elliptic.sign(digest, ec.ECDSA(hashed, deterministic_signing=True))
            except UnsupportedAlgorithm:  # OpenSSL before 3.2
                return self._elliptic.sign(digest, ec.ECDSA(hashed))
        assert self._rsa is not None  # noqa: S101 - it has one of the two
        return self._rsa.sign(digest, padding.PKCS1v15(), hashed)


class Identity:
    """Holds the newest certificate of each wanted SPIFFE ID.

    Args:
        socket: Address of the Workload API, `unix:///...`.
        ids: The SPIFFE IDs that are wanted. Others that the agent has for the pod are never used.
    """

    def __init__(self, socket: str, ids: "Sequence[str]") -> None:
        self._socket = socket
        self._ids = tuple(ids)
        self._certificates: dict[str, Certificate] = {}
        self._fault = IdentityError(FAULT_NO_IDENTITY, "the agent was not asked yet")
        self._final = False  # whether no later call can find what is missing
        self._waited = False
        self._wake = threading.Event()
        self._closed = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._thread = threading.Thread(target=self._run, name="identity", daemon=True)

    def start(self) -> None:
        """Starts to fetch."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; a process that ends anyway need not."""
        self._closed = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float, stop: "Stop") -> None:
        """Waits until all wanted certificates are available, for a limited time.

        Args:
            seconds: At most; `AFTER_STOP` from a signal on.
            stop: Receives signals.
        """
        self._waited = True
        end, stopped = time.monotonic() + seconds, False
        if not self._complete:
            self._wake.set()
        while not self._complete:
            if stop.requested and not stopped:
                end, stopped = min(end, time.monotonic() + AFTER_STOP), True
            left = end - time.monotonic()
            if left <= 0:
                return
            stop.wait(left, self._reader)
            drain(self._reader)

    def certificate(self, spiffe_id: str) -> Certificate:
        """Returns the certificate of an ID, which is valid now.

        Raises:
            IdentityError: There is none.
        """
        certificate = self._usable(spiffe_id)
        if certificate is None:
            raise self._fault
        return certificate

    @property
    def _complete(self) -> bool:
        """Whether waiting changes nothing."""
        return self._final or all(map(self._usable, self._ids))

    def _usable(self, spiffe_id: str) -> Certificate | None:
        certificate = self._certificates.get(spiffe_id)
        return certificate if certificate is not None and time.time() < certificate.ends else None

    def _run(self) -> None:
        pause = _LEAST_PAUSE
        while not self._closed:
            pause = min(pause * _GROWTH, _WAITED_PAUSE if self._waited else _MOST_PAUSE)
            try:
                self._fetch()
                left = min(self._certificates[name].ends for name in self._ids) - time.time()
                next_call = max(left / 2, pause)
            except IdentityError as error:
                self._fault, next_call = error, pause
            except Exception as error:  # noqa: BLE001 - a thread's traceback would come between the records
                self._fault = IdentityError(FAULT_NO_IDENTITY, f"{type(error).__name__}: {error}"[:_SHOWN])
                next_call = pause
            with contextlib.suppress(BlockingIOError):  # not read for thousands of calls
                os.write(self._writer, b"\n")
            if self._final:
                return
            self._wake.wait(next_call)
            self._wake.clear()

    def _fetch(self) -> None:
        """Asks the agent for the pod's certificates, and keeps those of the wanted IDs.

        Raises:
            IdentityError: One of them is missing.
        """
        try:
            import grpc  # noqa: PLC0415 - see above
            from spiffe import WorkloadApiClient  # noqa: PLC0415
            from spiffe.errors import PySpiffeError  # noqa: PLC0415
        except ImportError as error:
            self._final = True
            raise IdentityError(
                FAULT_LIBRARY, f"{error}: the container needs the image sidecar-signed"
            ) from None
        try:
            # A new connection each time: one that failed waits up to two minutes before it tries again.
            with WorkloadApiClient(self._socket, default_timeout=_CALL) as client:
                found = client.fetch_x509_svids()
        except PySpiffeError as error:
            cause = error.__cause__
            code = cause.code() if isinstance(cause, grpc.RpcError) and isinstance(cause, grpc.Call) else None
            away = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            exists = os.path.exists(self._socket.removeprefix("unix:"))  # noqa: PTH110 - no pathlib here
            reason = FAULT_NO_AGENT if code in away or not exists else FAULT_NO_IDENTITY
            raise IdentityError(reason, f"{self._socket}: {error}"[:_SHOWN]) from None
        newest = {}
        for svid in found:
            name = str(svid.spiffe_id)
            if name in self._ids:
                newest[name] = Certificate(svid)
        self._certificates |= newest  # one whose entry was deleted meanwhile stays as long as it is valid
        missing = [name for name in self._ids if name not in newest]
        if missing:
            others = ", ".join(str(svid.spiffe_id) for svid in found)
            raise IdentityError(
                FAULT_NO_IDENTITY, f"the agent has {others} for this pod, not {', '.join(missing)}"
            )
