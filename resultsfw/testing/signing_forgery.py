"""Sign again what a pod signed, changed or with another identity, as a wrong signer does."""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from resultsfw.signatures import pod_identity
from resultsfw.testing.signing_ca import Authority, Credential
from resultsfw.types import Extraction, Run
from resultsfw_signing.dsse import format_envelope, signed_bytes
from resultsfw_signing.statement import PAYLOAD_TYPE

__all__ = ["Scene", "Statement", "resigned", "statement_of"]

Statement: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A pod that signed, and the authorities that issue identities.

    Attributes:
        run: The run.
        pod_uid: The uid of its pod.
        domain: The trust domain.
        root: The authority of the trust bundle.
        foreign: An authority that is not in the trust bundle.
        credential: The pod's own certificate and key.
    """

    run: Run
    pod_uid: str
    domain: str
    root: Authority
    foreign: Authority
    credential: Credential

    @property
    def spiffe_id(self) -> str:
        """Return the identity that must sign."""
        return str(pod_identity(self.domain, self.run, self.pod_uid))


def resigned(
    scene: Scene,
    found: Extraction,
    statement: Statement | None = None,
    *,
    signer: Credential | None = None,
    payload_type: str = PAYLOAD_TYPE,
    more: Mapping[str, object] | None = None,
) -> Extraction:
    """Return what was delivered with an envelope by a credential, over a statement.

    Args:
        scene: The pod.
        found: What was delivered.
        statement: What is signed; by default what the pod signed.
        signer: Who signs; by default the pod.
        payload_type: The type of the payload.
        more: Further members of the envelope.
    """
    signer = signer or scene.credential
    payload = (
        _payload_of(found) if statement is None else json.dumps(statement, separators=(",", ":")).encode()
    )
    envelope = format_envelope(
        payload_type,
        payload,
        key_id=scene.spiffe_id,
        signature=signer.sign(signed_bytes(payload_type, payload)),
        certificate=signer.der,
        intermediates=signer.intermediates_der,
    )
    if more:
        envelope = json.dumps({**json.loads(envelope), **more})
    return replace(found, envelope=envelope)


def _payload_of(found: Extraction) -> bytes:
    return b64decode(json.loads(found.envelope)["payload"])


def statement_of(found: Extraction) -> Statement:
    """Return the statement in the envelope of what was delivered."""
    statement: Statement = json.loads(_payload_of(found))
    return statement
