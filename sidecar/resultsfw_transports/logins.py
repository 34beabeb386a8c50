"""Reads logins of container registries from Docker's configuration, and chooses the one for a repository.

As go-containerregistry does (authn/kubernetes), for pods and for the controller.
"""

import base64
import fnmatch
import json
import os
from urllib.parse import urlsplit

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ENV_AUTHS = "RESULTSFW_OCI_AUTHS"
"""Begins the name of each variable with a configuration: the content of a Secret with registry logins."""

_PATH_PREFIXES = ("/v1/", "/v2/")
_FILE_BYTES = 1 << 20


class Login:
    """A user's name and password. Neither is ever shown.

    Attributes:
        user: The name.
        password: The password, or a token that stands for it.
    """

    __slots__ = ("password", "user")

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self.password = password

    def __repr__(self) -> str:
        return "Login()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Login) and (self.user, self.password) == (other.user, other.password)

    def __hash__(self) -> int:
        return hash((self.user, self.password))

    @property
    def basic(self) -> str:
        """The value of the header Authorization for this login."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def logins_in(config: str | bytes) -> "list[tuple[str, Login]]":
    """Returns server and login of each entry of a configuration; entries that cannot be parsed are skipped.

    Args:
        config: `config.json` with `auths`, or the older `.dockercfg`, which has no such key.
    """
    try:
        parsed = json.loads(config)
    except (ValueError, RecursionError):
        return []
    servers = parsed.get("auths", parsed) if isinstance(parsed, dict) else None
    found = []
    for server, entry in servers.items() if isinstance(servers, dict) else ():
        if (key := _key(server)) and (login := _login(entry)):
            found.append((key, login))
    return found


def login_for(path: str, entries: "Sequence[tuple[str, Login]]") -> Login | None:
    """Returns the login for a repository, or none: the longest entry that matches, of equals the first.

    Args:
        path: Registry and repository.
        entries: From `logins_in`.
    """
    for key, login in sorted(entries, key=lambda entry: entry[0], reverse=True):
        if _matches(key, path):
            return login
    return None


def own_logins(variables: "Mapping[str, str]", *, files: bool) -> "list[tuple[str, Login]]":
    """Returns the logins that a process was given.

    Args:
        variables: Its environment: those whose names begin with `ENV_AUTHS`.
        files: Also the user's own, which `docker login` keeps: `$DOCKER_CONFIG/config.json`.
    """
    configs: list[str | bytes] = [
        text for name, text in sorted(variables.items()) if name.startswith(ENV_AUTHS) and text
    ]
    folder = variables.get("DOCKER_CONFIG") or f"{variables.get('HOME', '')}/.docker"
    if files:
        configs += _content(f"{folder}/config.json")
    return [entry for config in configs for entry in logins_in(config)]


def _content(path: str) -> "Iterable[bytes]":
    try:
        with open(os.path.expanduser(path), "rb") as file:  # noqa: PTH111, PTH123 - no pathlib here
            return [file.read(_FILE_BYTES)]
    except OSError:
        return []


def _key(server: str) -> str:
    """Returns host and path of an entry's server; "" if it is not an address."""
    try:
        parts = urlsplit(server if server.startswith(("https://", "http://")) else f"https://{server}")
    except ValueError:
        return ""
    path = parts.path[3:] if parts.path.startswith(_PATH_PREFIXES) else parts.path
    return f"{parts.netloc}{path if path != '/' else ''}" if parts.netloc else ""


def _login(entry: object) -> Login | None:
    if not isinstance(entry, dict):
        return None
    user, password = entry.get("username"), entry.get("password")
    if not user and isinstance(auth := entry.get("auth"), str):
        try:
            user, _, password = base64.b64decode(auth).decode().partition(":")
        except ValueError:  # also those of base64
            return None
    if not (isinstance(user, str) and isinstance(password, str) and user and _is_unicode(user + password)):
        return None
    return Login(user, password.rstrip("\0"))


def _is_unicode(text: str) -> bool:
    """Returns whether a text of JSON has no lone surrogate, so that it has bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _matches(key: str, path: str) -> bool:
    """Returns whether an entry, whose host may have wildcards in its parts, is for this repository."""
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
