"""Tokens of service accounts without a cluster: not encrypted and not signed.

Steps are processes of the user who started the engine, so any of them can read or forge a token. A token only
identifies the pod that sends a request, so that RBAC rules can be tested; it protects nothing.
"""

import base64
import binascii
import json
from dataclasses import asdict, dataclass, fields
from typing import Final

from resultsfw.cluster import Object

__all__ = ["PREFIX", "Token", "make", "read", "token_of", "wants_api"]

PREFIX: Final = "resultsfw-local."
"""Prefix of these tokens, before base64url of a JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """The identity of a pod.

    Attributes:
        namespace: Namespace of the pod and its service account.
        service_account: Name of the service account.
        pod: Name of the pod.
        pod_uid: Uid of the pod; without the pod the token is invalid.
        audience: Audience of the token; "" for the API server.
    """

    namespace: str
    service_account: str
    pod: str
    pod_uid: str
    audience: str = ""

    @property
    def user(self) -> str:
        """Return the user name of the service account."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"


def make(token: Token) -> str:
    """Return the token as text, for a projected volume."""
    return PREFIX + base64.urlsafe_b64encode(json.dumps(asdict(token)).encode()).decode()


def read(text: str) -> Token | None:
    """Parse a token; ``None`` if the text is not one."""
    if not text.startswith(PREFIX) or not text.isascii():
        return None
    try:
        identity = json.loads(base64.urlsafe_b64decode(text.removeprefix(PREFIX)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    names = [field.name for field in fields(Token)]
    if not isinstance(identity, dict) or not all(isinstance(identity.get(name), str) for name in names):
        return None
    return Token(**{name: identity[name] for name in names})


def token_of(pod: Object, audience: str = "") -> Token:
    """Return the token for a volume of a pod."""
    metadata = pod["metadata"]
    return Token(
        namespace=metadata["namespace"],
        service_account=pod["spec"].get("serviceAccountName") or "default",
        pod=metadata["name"],
        pod_uid=metadata["uid"],
        audience=audience,
    )


def wants_api(pod: Object) -> bool:
    """Return whether a volume of the pod has a token for the API server."""
    return any(
        "serviceAccountToken" in source and not (source["serviceAccountToken"] or {}).get("audience")
        for volume in pod["spec"].get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
    )
