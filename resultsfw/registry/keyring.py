"""Read registry logins from pull secrets; how one is chosen: `resultsfw_transports.logins`."""

import base64
from collections.abc import Sequence
from typing import Final

from resultsfw.cluster import Object
from resultsfw_transports.logins import Login, login_for, logins_in

__all__ = ["Login", "entries_of", "login_for"]

_KEYS: Final = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}


def entries_of(secrets: Sequence[Object]) -> list[tuple[str, Login]]:
    """Return server and login of each entry of these Secrets; entries that cannot be parsed are skipped."""
    return [entry for secret in secrets for entry in logins_in(_config(secret))]


def _config(secret: Object) -> bytes | str:
    """Return the configuration in a Secret; empty if it has none that can be decoded."""
    key = _KEYS.get(str(secret.get("type")))
    if key is None:
        return b""
    try:
        text: str | bytes = (secret.get("stringData") or {}).get(key) or base64.b64decode(secret["data"][key])
    except (KeyError, TypeError, AttributeError, ValueError):
        return b""
    return text
