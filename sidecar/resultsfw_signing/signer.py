"""Signs what the sidecar delivers: it is informed of each result, and returns the record with the envelope.

The sidecar makes one where `RESULTSFW_SIGNING` is set. Whatever keeps it from signing is a fault in that
record, never an error: results arrive all the same, and the controller's policy decides whether they count.
"""

import json
import os

from resultsfw_sidecar import wire
from resultsfw_sidecar.digest import sha256
from resultsfw_sidecar.settings import SettingsError
from resultsfw_sidecar.transports import Unsigned

from . import dsse, statement, tekton_keys
from .identity import Identity, IdentityError
from .statement import RunIdentity, Statement

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from typing import Any

    from resultsfw_sidecar.results import Result
    from resultsfw_sidecar.settings import Environment
    from resultsfw_sidecar.stop import Stop

_DIGEST_LENGTH = 64  # hexadecimal digits of SHA-256
_STDERR = 2


class Signing:
    """The settings in `RESULTSFW_SIGNING`.

    Args:
        text: The variable.
        pod: The pod's uid.

    Attributes:
        socket: Address of the Workload API.
        run: The run.
        pod: The pod's uid.
        spec_digest: Of the Task's spec; empty if unknown.
        types: Types of results that are not strings, by subject.
        wait: Seconds to wait at most for an identity.
        pod_id: The SPIFFE ID that signs the statement.
        run_id: The SPIFFE ID that signs Tekton's keys; empty without them.

    Raises:
        SettingsError: The variable has an invalid value.
    """

    def __init__(self, text: str, pod: str) -> None:
        try:
            keys = json.loads(text)
            run = keys[statement.KEY_RUN]
            self.socket = _name(keys[statement.KEY_SOCKET])
            namespace, name, uid = (_name(run[key]) for key in ("namespace", "name", "uid"))
            self.run = RunIdentity(namespace, name, uid, run["attempt"])
            self.pod = _name(pod)
            self.spec_digest = str(keys.get(statement.KEY_SPEC_DIGEST) or "")
            self.types = {subject: _name(kind) for subject, kind in keys.get(statement.KEY_TYPES, {}).items()}
            self.wait = float(keys.get(statement.KEY_WAIT, 0))
            domain = _name(keys[statement.KEY_DOMAIN])
            if type(self.run.attempt) is not int or len(self.spec_digest) not in (0, _DIGEST_LENGTH):
                raise ValueError("attempt is not a number, or specDigest not a digest")  # noqa: TRY301 - one error
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise SettingsError(
                wire.BAD_ENVIRONMENT, f"{wire.ENV_SIGNING}: {type(error).__name__}: {error}"
            ) from None
        self.pod_id = statement.pod_spiffe_id(domain, self.run.namespace, self.run.name, pod)
        tekton = keys.get(statement.KEY_TEKTON) is True
        self.run_id = statement.run_spiffe_id(domain, self.run.namespace, self.run.name) if tekton else ""


class Signer(Unsigned):
    """Collects what becomes of each result, and signs it at the end.

    Args:
        signing: What to sign, as whom.
        version: The wire version of the records.
    """

    def __init__(self, signing: Signing, version: int = wire.WIRE) -> None:
        super().__init__()
        self._signing = signing
        self._statement = Statement(
            signing.run,
            signing.pod,
            spec_digest=signing.spec_digest,
            types=signing.types,
            version=version,
        )
        self._tekton: dict[str, bytes] = {}
        self._identity = Identity(signing.socket, [name for name in (signing.pod_id, signing.run_id) if name])

    def start(self) -> None:
        """See `Unsigned`: starts to fetch the identity."""
        self._identity.start()

    def close(self) -> None:
        """Ends the thread that fetches the identity; a process that ends anyway need not."""
        self._identity.close()

    def deliver(self, result: "Result", value: bytes) -> None:
        """See `Unsigned`."""
        self.store(result, size=len(value), digest=sha256(value).hexdigest())
        if self._signing.run_id and result.of == wire.TYPE_TASK and not result.is_artifacts:
            self._tekton[result.name] = tekton_keys.signed_digest(value)

    def store(self, result: "Result", *, size: int, digest: str, encrypted: bool = False) -> None:
        """See `Unsigned`."""
        self._statement.deliver(subject_of(result), digest=digest, size=size, encrypted=encrypted)

    def leave_out(self, result: "Result") -> None:
        """See `Unsigned`."""
        self._statement.leave_out(subject_of(result))

    def refuse(self, result: "Result", reason: str) -> None:
        """See `Unsigned`."""
        self._statement.refuse(subject_of(result), reason)

    def record(self, stop: "Stop") -> bytes:
        """See `Unsigned`: waits for the identity, signs, and returns the record."""
        try:
            self._identity.wait(self._signing.wait, stop)
            envelope = self.envelope()
            return wire.signature_line(envelope, self._tekton_keys())
        except IdentityError as error:
            return wire.signature_fault_line(f"{error.reason}: {error}")
        except Exception as error:  # noqa: BLE001 - results must arrive all the same
            return wire.signature_fault_line(f"{statement.FAULT_INTERNAL}: {type(error).__name__}: {error}")

    def envelope(self) -> str:
        """Returns the text of the envelope.

        Raises:
            IdentityError: There is no identity.
        """
        certificate = self._identity.certificate(self._signing.pod_id)
        payload = self._statement.payload()
        signed = sha256(dsse.signed_bytes(statement.PAYLOAD_TYPE, payload)).digest()
        return dsse.format_envelope(
            statement.PAYLOAD_TYPE,
            payload,
            key_id=certificate.id,
            signature=certificate.sign(signed),
            certificate=certificate.leaf,
            intermediates=certificate.intermediates,
        )

    def _tekton_keys(self) -> dict[str, str]:
        """Returns Tekton's keys; none without the identity that Tekton's verifiers expect."""
        if not self._signing.run_id:
            return {}
        try:
            certificate = self._identity.certificate(self._signing.run_id)
        except IdentityError:
            return {}
        return tekton_keys.make_keys(self._tekton, certificate.sign, certificate.pem)


def subject_of(result: "Result") -> str:
    """Returns the name of a result's subject."""
    if result.of == wire.TYPE_TASK:
        return statement.artifacts_subject() if result.is_artifacts else statement.result_subject(result.name)
    container, _, name = result.name.partition(".")
    step = container.removeprefix("step-")
    return statement.artifacts_subject(step) if result.is_artifacts else statement.result_subject(name, step)


def make_signer(text: str, environment: "Environment") -> Signer:
    """Returns the signer of the sidecar's process, before anything of the Steps is read.

    Args:
        text: The variable `RESULTSFW_SIGNING`.
        environment: The others.

    Raises:
        SettingsError: A variable has an invalid value.
    """
    signer = Signer(Signing(text, environment.pod), environment.wire)
    # What a library prints there would come between the records: both are one log.
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)
    return signer


def _name(value: "Any") -> str:
    """Returns a short text.

    Raises:
        ValueError: The value is not a short text.
    """
    if not isinstance(value, str) or not 0 < len(value) <= statement.MAX_FIELD:
        raise ValueError(f"{value!a:.100} is not a text with 1 to {statement.MAX_FIELD} characters")
    return value
