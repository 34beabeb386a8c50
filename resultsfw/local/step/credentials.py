"""Writes the Secrets of a service account as files for git, ssh and docker, as Tekton's entrypoint does.

The files' names, order and content are Tekton's (pkg/credentials). Two things differ: IdentityFile names a
folder of this machine, and nothing is copied to a home outside the pod's folders, which would be a person's.
"""

import base64
import json
import os
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from .files import RefusedError, read
from .flags import FlagsError

BASIC_GIT, SSH_GIT, BASIC_DOCKER = "basic-git", "ssh-git", "basic-docker"
DOCKER_CONFIG, DOCKER_CFG = "docker-config", "docker-cfg"

FILES = (".docker", ".gitconfig", ".git-credentials", ".ssh")
"""What is copied to a Step's home."""

SECRET_BYTES = 1 << 20  # limit of a Secret
_SSH_PORT = "22"
_USERINFO = "$&+,;="  # Go's net/url leaves these as they are in a user's name and password


class Credentials:
    """The credentials that the entrypoint's arguments name.

    Args:
        given: Flags and their values, in order.
        place: Returns the folder of a Secret.

    Raises:
        FlagsError: A value is malformed, or its Secret lacks a key.
    """

    def __init__(self, given: list[tuple[str, str]], place: Callable[[str], str]) -> None:
        self._place = place
        self._git: dict[str, tuple[str, str]] = {}
        self._ssh: dict[str, list[str]] = {}
        self._docker: dict[str, object] = {}
        self._configs: list[str] = []
        self._cfgs: list[str] = []
        for flag, value in given:
            if flag in (DOCKER_CONFIG, DOCKER_CFG):
                (self._configs if flag == DOCKER_CONFIG else self._cfgs).append(value)
                continue
            secret, equals, url = value.partition("=")
            if not equals or "=" in url:
                raise FlagsError(f"flag -{flag}: expect entries of the form secret=url, got: {value}")
            _refuse_lines(url, f'flag -{flag}: the URL of Secret "{secret}"')
            if flag == SSH_GIT:
                self._key(secret, "ssh-privatekey")
                self._ssh.setdefault(url, []).append(secret)
                continue
            if url in (self._git if flag == BASIC_GIT else self._docker):
                raise FlagsError(f"flag -{flag}: multiple entries for url: {url}")
            user, password = self._key(secret, "username"), self._key(secret, "password")
            if flag == BASIC_GIT:
                _refuse_lines(user, f'Secret "{secret}": "username"')
                self._git[url] = (user, password)
            else:
                self._docker[url] = {
                    "username": user,
                    "password": password,
                    "auth": base64.b64encode(
                        f"{user}:{password}".encode("utf-8", "surrogateescape")
                    ).decode(),
                    "email": "not@val.id",
                }

    def place(self, folder: str, home: str, pod: str, say: Callable[[str], None]) -> None:
        """Write the files into a folder and copy them to a home; see `write` and `copy_to_home`."""
        self.write(folder, say)
        copy_to_home(folder, home, pod, say)

    def write(self, folder: str, say: Callable[[str], None]) -> None:
        """Write the files into a folder; what cannot be written is logged, without any value."""
        for name, write in (("docker", self._write_docker), ("git", self._write_git)):
            try:
                write(folder)
            except (OSError, FlagsError) as error:
                say(f"Error initializing credentials for {name}: {error}")

    def _write_docker(self, folder: str) -> None:
        auths: dict[str, object] = {}
        for secret in self._cfgs:
            auths |= _entries(self._json(secret, ".dockercfg"))
        for secret in self._configs:
            auths |= _entries(self._json(secret, ".dockerconfigjson").get("auths"))
        auths |= self._docker
        if not auths:
            return
        os.makedirs(f"{folder}/.docker", exist_ok=True)  # noqa: PTH103
        text = json.dumps({"auths": dict(sorted(auths.items()))}, ensure_ascii=False, separators=(",", ":"))
        for character in "<>&":
            text = text.replace(character, f"\\u{ord(character):04x}")
        _write(f"{folder}/.docker/config.json", text)

    def _write_git(self, folder: str) -> None:
        if self._git:
            config = ["[credential]\n\thelper = store\n"]
            config += [_git_config(url, user) for url, (user, _) in self._git.items()]
            _write(f"{folder}/.gitconfig", "".join(config))
            # Git takes the first match: entries of a whole host come before those of a repository.
            ordered = sorted(self._git, key=_has_path)
            lines = [_with_user(url, *self._git[url]) for url in ordered]
            _write(f"{folder}/.git-credentials", "".join(f"{line}\n" for line in lines))
        if self._ssh:
            self._write_ssh(folder)

    def _write_ssh(self, folder: str) -> None:
        os.makedirs(f"{folder}/.ssh", exist_ok=True)  # noqa: PTH103
        hosts: list[str] = []
        known_hosts: list[str] = []
        git_config = ""
        for url in sorted(self._ssh, key=lambda url: "/" in url):
            host, port, path = _ssh_parts(url)
            alias = f"{host}--{path.replace('/', '--')}" if path else host
            lines = [f"Host {alias}\n    HostName {host}\n    Port {port}\n"]
            if path:
                git_config += _instead_of(alias, host, port, path)
            for secret in self._ssh[url]:
                key = f"{folder}/.ssh/id_{secret}"
                _write(key, self._key(secret, "ssh-privatekey"))
                lines.append(f"    IdentityFile {key}\n")
                if known := self._key(secret, "known_hosts", optional=True):
                    known_hosts.append(known)
            hosts += lines
        _write(f"{folder}/.ssh/config", "".join(hosts))
        if known_hosts:
            _write(f"{folder}/.ssh/known_hosts", "\n".join(known_hosts))
        if git_config:
            _write(f"{folder}/.gitconfig", git_config, append=True)

    def _json(self, secret: str, key: str) -> dict[str, object]:
        try:
            value = json.loads(self._key(secret, key))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise FlagsError(f'Secret "{secret}": "{key}" is not a JSON object')
        return value

    def _key(self, secret: str, key: str, *, optional: bool = False) -> str:
        """Return the text of a key of a Secret; "" for an optional key that is missing."""
        try:
            found = None if "/" in secret else read(f"{self._place(secret)}/{key}", SECRET_BYTES + 1)
        except RefusedError as error:
            raise FlagsError(f'Secret "{secret}": "{key}" cannot be read: {error.reason}') from None
        if found is None and not optional:
            raise FlagsError(f'Secret "{secret}" has no key "{key}"')
        if found is not None and found[1] > SECRET_BYTES:
            raise FlagsError(
                f'Secret "{secret}": "{key}" has {found[1]} bytes, and a Secret at most {SECRET_BYTES}'
            )
        return "" if found is None else found[0].decode("utf-8", "surrogateescape")


def _refuse_lines(text: str, what: str) -> None:
    """Refuse a text of several lines: the further ones would be settings of git and ssh (ProxyCommand).

    A line break at its end is usual in Secrets, and does no harm.

    Raises:
        FlagsError: It has several lines, or other control characters.
    """
    if any(character < " " or character == "\x7f" for character in text.rstrip("\r\n")):
        raise FlagsError(f"{what} has a line break or another control character in it")


def copy_to_home(folder: str, home: str, pod: str, say: Callable[[str], None]) -> None:
    """Copy the files to a Step's home, if that is one of the pod's folders.

    Args:
        folder: Where `Credentials.write` wrote them.
        home: The Step's ``HOME``.
        pod: The folder around all folders of the pod; "": unknown.
        say: Logs a line.
    """
    present = [name for name in FILES if os.path.lexists(f"{folder}/{name}")]
    if not present:
        return
    around, place = os.path.realpath(pod), os.path.realpath(home)
    if not pod or not place.startswith(f"{around}/"):
        why = f'"{home}" is not a folder of the pod: credentials stay in {folder}'
        say(f"warning: unsuccessful cred copy: {why}")
        return
    for name in present:
        try:
            _copy(f"{folder}/{name}", f"{place}/{name}")
        except OSError as error:
            say(f'warning: unsuccessful cred copy: "{name}" to "{home}": {error.strerror}')


def _copy(source: str, target: str) -> None:
    if not os.path.isdir(source):  # noqa: PTH112 - pathlib costs 10 ms
        found = read(source, 16 * SECRET_BYTES)
        if found is not None:
            _write(target, found[0].decode("utf-8", "surrogateescape"))
        return
    os.makedirs(target, mode=0o700, exist_ok=True)  # noqa: PTH103
    for name in os.listdir(source):  # noqa: PTH208
        _copy(f"{source}/{name}", f"{target}/{name}")


def _write(path: str, text: str, *, append: bool = False) -> None:
    """Write a file that only its owner may read, never through a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    flags |= os.O_APPEND if append else os.O_TRUNC
    with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123
        file.write(text.encode("utf-8", "surrogateescape"))


def _entries(value: object) -> dict[str, object]:
    """Return the servers of a docker configuration, with the fields that Tekton knows, in its order."""
    found: dict[str, object] = {}
    for server, entry in value.items() if isinstance(value, dict) else ():
        own = entry if isinstance(entry, dict) else {}
        fields = {name: own.get(name) or "" for name in ("username", "password", "auth", "email")}
        found[server] = {name: text for name, text in fields.items() if text or name == "auth"}
    return found


def _git_config(url: str, user: str) -> str:
    escaped = user.replace("\\", "\\\\")
    path = "\tuseHttpPath = true\n" if _has_path(url) else ""
    return f"[credential {json.dumps(url, ensure_ascii=False)}]\n\tusername = {escaped}\n{path}"


def _has_path(url: str) -> bool:
    try:
        return urlsplit(url).path not in ("", "/")
    except ValueError:
        return False


def _with_user(url: str, user: str, password: str) -> str:
    """Return a URL with user and password in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise FlagsError("the annotation of a Secret is not a URL") from None
    name, secret = (
        quote(text.encode("utf-8", "surrogateescape"), safe=_USERINFO) for text in (user, password)
    )
    server = parts.netloc.rpartition("@")[2]
    scheme = f"{parts.scheme}:" if parts.scheme else ""
    slash = "/" if server and parts.path and not parts.path.startswith("/") else ""
    rest = f"?{parts.query}" if parts.query else ""
    return f"{scheme}//{name}:{secret}@{server}{slash}{parts.path}{rest}"


def _ssh_parts(url: str) -> tuple[str, str, str]:
    """Return host, port and path of an annotation such as ``host:2222/org/repo``; the path may be empty."""
    server, _, path = url.partition("/")
    host, colon, port = server.rpartition(":")
    if not colon or (":" in host.strip("[]") and not host.startswith("[")):
        return server, _SSH_PORT, path
    return host.strip("[]"), port, path


def _instead_of(alias: str, host: str, port: str, path: str) -> str:
    """Return the git configuration that sends a repository's URLs to the host that has its key."""
    server = host if port == _SSH_PORT else f"{host}:{port}"
    return (
        f'[url "git@{alias}:{path}.git"]\n\tinsteadOf = git@{host}:{path}.git\n'
        f'[url "ssh://{alias}/{path}.git"]\n\tinsteadOf = ssh://{server}/{path}.git\n'
    )
