"""Choose the credentials of a registry from pull secrets (go-containerregistry: authn/kubernetes)."""

import base64
import binascii
import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from resultsfw.cluster import Object
from resultsfw.registry.references import is_unicode

__all__ = ["Login", "credentials_for", "entries_of"]

_KEYS: Final = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
_PATH_PREFIXES: Final = ("/v1/", "/v2/")


@dataclass(frozen=True, slots=True)
class Login:
    """A user's name and password. Neither is ever shown.

    Attributes:
        user: The name.
        password: The password, or a token that stands for it.
    """

    user: str = field(repr=False)
    password: str = field(repr=False)


def entries_of(secrets: Sequence[Object]) -> list[tuple[str, Login]]:
    """Return server and login of each entry of these Secrets; entries that cannot be parsed are skipped."""
    found: list[tuple[str, Login]] = []
    for secret in secrets:
        for server, entry in _servers(secret):
            if (key := _key(server)) and (login := _login(entry)):
                found.append((key, login))
    return found


def credentials_for(path: str, entries: Sequence[tuple[str, Login]]) -> Login | None:
    """Return the login for an image, or ``None``: the longest entry that matches, of equals the first.

    Args:
        path: Registry and repository of the image.
        entries: From `entries_of`.
    """
    for key, login in sorted(entries, key=lambda entry: entry[0], reverse=True):
        if _matches(key, path):
            return login
    return None


def _servers(secret: Object) -> Iterator[tuple[str, Any]]:
    key = _KEYS.get(str(secret.get("type")))
    if key is None:
        return
    try:
        text = (secret.get("stringData") or {}).get(key) or base64.b64decode(secret["data"][key])
        config = json.loads(text)
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error, RecursionError):
        return
    servers = config.get("auths") if key == ".dockerconfigjson" and isinstance(config, dict) else config
    if isinstance(servers, dict):
        yield from servers.items()


def _key(server: str) -> str:
    """Return host and path of an entry's server; "" if it is not an address."""
    try:
        parts = urlsplit(server if server.startswith(("https://", "http://")) else f"https://{server}")
    except ValueError:
        return ""
    path = parts.path[3:] if parts.path.startswith(_PATH_PREFIXES) else parts.path
    return f"{parts.netloc}{path if path != '/' else ''}" if parts.netloc else ""


def _login(entry: Any) -> Login | None:
    if not isinstance(entry, Mapping):
        return None
    user, password = entry.get("username"), entry.get("password")
    if not user and isinstance(auth := entry.get("auth"), str):
        try:
            user, _, password = base64.b64decode(auth).decode().partition(":")
        except (ValueError, binascii.Error):
            return None
    if not (isinstance(user, str) and isinstance(password, str) and user and is_unicode(user + password)):
        return None
    return Login(user, password.rstrip("\0"))


def _matches(key: str, path: str) -> bool:
    """Return whether an entry, whose host may have wildcards in its parts, is for this image."""
    host, _, prefix = key.partition("/")
    registry, _, repository = path.partition("/")
    host, _, port = host.partition(":")
    name, _, wanted = registry.partition(":")
    parts, names = host.split("."), name.split(".")
    return (
        port == wanted
        and len(parts) == len(names)
        and repository.startswith(prefix)
        and all(fnmatch.fnmatchcase(part, pattern) for part, pattern in zip(names, parts, strict=True))
    )
