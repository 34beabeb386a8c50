"""Read an image's commands from its registry: manifest or index, then the configuration of each platform.

The OCI distribution API, as go-containerregistry uses it for Tekton (pkg/v1/remote). Every document is
verified by its digest.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

from resultsfw.registry.http import Answer, Connections, RequestError, check_url, origin_of
from resultsfw.registry.keyring import Login
from resultsfw.registry.references import ImageName, is_unicode
from resultsfw.tekton.pod.image_commands import ImageCommand, ImageCommands

__all__ = ["MOST_PLATFORMS", "RegistryClient"]

_IMAGES: Final = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
_INDEXES: Final = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
_DOCUMENT_BYTES: Final = 4 << 20  # registries accept no larger manifest
_TOKEN_BYTES: Final = 64 << 10
_COMMAND_BYTES: Final = 128 << 10  # of the variable that holds it: Linux starts no process with a larger one
MOST_PLATFORMS: Final = 64
"""Images of an index that are read."""

_LONGEST_PLATFORM: Final = 200
_REDIRECTS: Final = 5
_TEMPORARY: Final = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})
_CODE: Final = re.compile(r"[A-Z_]{1,40}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_NO_PLATFORM: Final = "unknown/unknown"
"""Docker stores attestations under this platform."""


class RegistryClient:
    """Reads one image.

    Args:
        name: The image.
        login: Sent to its registry, and to the token server that this names.
        connections: By which it is read, within their time.
    """

    def __init__(self, name: ImageName, login: Login | None, connections: Connections) -> None:
        self._name = name
        self._login = login
        self._connections = connections
        self._base = ""
        self._authorization = ""

    def commands(self, known: Callable[[str], ImageCommands | None]) -> ImageCommands:
        """Return the image by digest, and its command by platform.

        Args:
            known: Returns an image by its name with digest, if it was looked up before.

        Raises:
            RequestError: It cannot be read, or is not an image.
        """
        manifest, kind, digest = self._manifest(self._name.identifier)
        if (before := known(self._name.pinned(digest))) is not None:
            return before
        if kind in _IMAGES:
            platform, command = self._image(manifest)
            found = {platform: command}
        elif kind in _INDEXES:
            found = self._index(manifest)
        else:
            raise RequestError("unsupported media type for image reference")
        size = sum(
            len(word.encode()) + 3
            for command in found.values()
            for word in (*command.entrypoint, *command.cmd)
        )
        if size > _COMMAND_BYTES:
            raise RequestError(f"its commands have {size} bytes, over the limit of {_COMMAND_BYTES}")
        return ImageCommands(self._name.pinned(digest), found)

    def _index(self, index: Mapping[str, Any]) -> dict[str, ImageCommand]:
        digests: dict[str, str] = {}
        for entry in _items(index.get("manifests")):
            platform, digest = _platform(entry.get("platform")), str(entry.get("digest"))
            if platform in ("", _NO_PLATFORM):
                continue
            if digests.setdefault(platform, digest) != digest:
                raise RequestError(f"duplicate unique image found for platform: {platform[:40]}")
        if not digests or len(digests) > MOST_PLATFORMS:
            raise RequestError(f"its index has {len(digests)} platforms, and the limit is {MOST_PLATFORMS}")
        return {platform: self._image(self._child(digest))[1] for platform, digest in digests.items()}

    def _child(self, digest: str) -> Mapping[str, Any]:
        manifest, kind, _ = self._manifest(_checked(digest))
        if kind not in _IMAGES:
            raise RequestError("its index contains something that is not an image")
        return manifest

    def _image(self, manifest: Mapping[str, Any]) -> tuple[str, ImageCommand]:
        """Return the platform and the command in an image's configuration."""
        digest = _checked(str(_mapping(manifest.get("config")).get("digest")))
        body = self._get(f"blobs/{digest}", {}).body
        config = _document(_verified(body, digest))
        inner = _mapping(config.get("config"))
        command = ImageCommand(_words(inner.get("Entrypoint")), _words(inner.get("Cmd")))
        return _platform({"os": config.get("os"), "architecture": config.get("architecture")}), command

    def _manifest(self, identifier: str) -> tuple[Mapping[str, Any], str, str]:
        """Return a manifest, its media type and its digest."""
        answer = self._get(f"manifests/{identifier}", {"Accept": ",".join((*_INDEXES, *_IMAGES))})
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if identifier.startswith("sha256:"):
            _verified(answer.body, identifier)
        manifest = _document(answer.body)
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind not in (*_IMAGES, *_INDEXES):
            kind = str(manifest.get("mediaType"))
        return manifest, kind, digest

    def _get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """Return the answer to a request within the repository; log in if the registry asks for it."""
        if not self._base:
            self._base = self._find_base()
        url = f"{self._base}/v2/{self._name.repository}/{path}"
        answer = self._follow(url, headers)
        if answer.status == HTTPStatus.UNAUTHORIZED and not self._authorization:
            self._log_in(answer)
            answer = self._follow(url, headers)
        if answer.status != HTTPStatus.OK:
            raise RequestError(f"GET {url}: {_status(answer)}", temporary=answer.status in _TEMPORARY)
        return answer

    def _find_base(self) -> str:
        """Return the registry's address: with TLS, or without if it has none and is a private one."""
        secure = f"https://{self._name.registry}"
        if not self._name.may_be_http:
            return secure
        try:
            self._connections.get(f"{secure}/v2/", {}, limit=_TOKEN_BYTES)
        except RequestError:
            return f"http://{self._name.registry}"
        return secure

    def _follow(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Return the answer at the end of redirects. Only the registry itself gets the login."""
        insecure = self._base.startswith("http:")
        for _ in range(_REDIRECTS + 1):
            own = self._authorization and origin_of(url) == origin_of(self._base)
            login = {"Authorization": self._authorization} if own else {}
            answer = self._connections.get(url, {**headers, **login}, limit=_DOCUMENT_BYTES)
            if answer.status not in _REDIRECTING:
                return answer
            try:
                url = urljoin(url, answer.headers.get("Location", ""))
            except ValueError:
                raise RequestError("the registry redirects to an address that is not a URL") from None
            check_url(url, known=self._base, insecure=insecure)
        raise RequestError(f"the registry redirects over {_REDIRECTS} times")

    def _log_in(self, answer: Answer) -> None:
        """Get what the registry asks for (RFC 6750; distribution: token authentication)."""
        for challenge in answer.headers.getlist("WWW-Authenticate"):
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "basic" and self._login is not None:
                self._authorization = self._login.basic
                return
            if scheme.lower() == "bearer":
                try:
                    values = parse_keqv_list(parse_http_list(rest))
                except (ValueError, IndexError):
                    continue
                self._authorization = f"Bearer {self._token(values)}"
                return

    def _token(self, challenge: Mapping[str, str]) -> str:
        realm = challenge.get("realm", "")
        check_url(realm, known=self._base, insecure=self._base.startswith("http:"))
        asked = {"scope": challenge.get("scope") or f"repository:{self._name.repository}:pull"}
        if service := challenge.get("service"):
            asked["service"] = service
        url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(asked)}"
        login = {} if self._login is None else {"Authorization": self._login.basic}
        answer = self._connections.get(url, login, limit=_TOKEN_BYTES)
        where = f"GET {realm}"
        if answer.status != HTTPStatus.OK:
            raise RequestError(f"{where}: {_status(answer)}", temporary=answer.status in _TEMPORARY)
        found = _document(answer.body)
        token = found.get("token") or found.get("access_token")
        if not (isinstance(token, str) and token.isascii() and token.isprintable()):
            raise RequestError(f"{where}: the answer has no token")
        return token


def _status(answer: Answer) -> str:
    """Return an answer's status, and the codes of its errors; nothing else that the server wrote."""
    try:
        errors = _items(_document(answer.body).get("errors"))
    except RequestError:
        errors = []
    codes = [code for error in errors[:3] if _CODE.fullmatch(code := str(error.get("code")))]
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    return " ".join([f"{answer.status} {phrase}".strip(), *codes])


def _verified(body: bytes, digest: str) -> bytes:
    if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
        raise RequestError(f"the answer of the registry does not have the digest {digest}")
    return body


def _checked(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise RequestError("its manifest names an invalid digest")
    return digest


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RequestError("the answer of the registry is not a JSON object")
    return value


def _platform(value: Any) -> str:
    """Return a platform as Tekton writes it: ``linux/arm64/v8``; "" without a system, or if it is no name."""
    given = _mapping(value)
    system = given.get("os")
    if not isinstance(system, str) or not system:
        return ""
    parts = [system, *(given.get(part) for part in ("architecture", "variant"))]
    version = given.get("os.version")
    name = "/".join(str(part) for part in parts if part) + (f":{version}" if version else "")
    return name if len(name) <= _LONGEST_PLATFORM and name.isascii() else ""


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(word, str) and is_unicode(word) for word in value):
        raise RequestError("its configuration has a command that is not a list of strings")
    return tuple(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
