"""Tokens of service accounts on a machine without a cluster: readable, and signed by nobody.

Steps here are processes of the user who started them: what one of them wants to know or to forge it can.
A token says whose a request is, so that the rules of a cluster can be tried; it keeps nothing secret.
"""

import base64
import binascii
import json
from dataclasses import asdict, dataclass, fields
from typing import Final

from resultsfw.cluster import Object

__all__ = ["PREFIX", "Token", "make", "read", "token_of", "wants_api"]

PREFIX: Final = "resultsfw-local."
"""Begins every token of this kind; base64url of a JSON object follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Whose a request is.

    Attributes:
        namespace: Of pod and service account.
        service_account: Its name.
        pod: Name of the pod that the token was made for.
        pod_uid: Of that pod; with the pod the token ends.
        audience: Whom it is for; "" for the API server.
    """

    namespace: str
    service_account: str
    pod: str
    pod_uid: str
    audience: str = ""

    @property
    def user(self) -> str:
        """As an API server calls a service account."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"


def make(token: Token) -> str:
    """The token as text, as a projected volume holds it."""
    return PREFIX + base64.urlsafe_b64encode(json.dumps(asdict(token)).encode()).decode()


def read(text: str) -> Token | None:
    """What a text says, or ``None`` if it is no such token."""
    if not text.startswith(PREFIX) or not text.isascii():
        return None
    try:
        said = json.loads(base64.urlsafe_b64decode(text.removeprefix(PREFIX)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    names = [one.name for one in fields(Token)]
    if not isinstance(said, dict) or not all(isinstance(said.get(name), str) for name in names):
        return None
    return Token(**{name: said[name] for name in names})


def token_of(pod: Object, audience: str = "") -> Token:
    """The token that a pod's volume gets."""
    metadata = pod["metadata"]
    return Token(
        namespace=metadata["namespace"],
        service_account=pod["spec"].get("serviceAccountName") or "default",
        pod=metadata["name"],
        pod_uid=metadata["uid"],
        audience=audience,
    )


def wants_api(pod: Object) -> bool:
    """Whether a volume of the pod has a token for the API server."""
    return any(
        "serviceAccountToken" in source and not (source["serviceAccountToken"] or {}).get("audience")
        for volume in pod["spec"].get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
    )
