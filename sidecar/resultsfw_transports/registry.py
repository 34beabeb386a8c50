"""A small client of the OCI distribution API: pushes, reads and deletes blobs and manifests.

For the pod and the controller. Of what a registry writes only the codes of errors are passed on. Why this is
no library: docs/decisions/0054.
"""

import json
import re
import time
from http import HTTPStatus
from urllib.parse import quote, urlencode, urljoin

from resultsfw_sidecar.digest import sha256

from .addresses import address_fault, origin_of
from .registry_http import Answer, PassingError, Sender

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Literal, TypeVar

    from .logins import Login

    Kind = Literal["missing", "forbidden", "unsupported", "refused", "unavailable"]
    T = TypeVar("T")

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_IMAGES = (
    MANIFEST,
    INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)

DOCUMENT_BYTES = 4 << 20
"""Bytes of a manifest: registries accept no larger one."""

_TOKEN_BYTES = 64 << 10
_MOST_AUTHORIZATIONS = 100  # each a token of up to 64 KiB; a controller meets a repository for each run
_REDIRECTS = 5
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTING = frozenset({301, 302, 303, 307, 308})
_CODE = re.compile(r"[A-Z_]{1,40}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'([A-Za-z_]{1,32})\s*=\s*(?:"([^"\\]{0,1000})"|([^\s",]{1,1000}))')
_SHOWN_CODES = 3


class RegistryError(Exception):
    """A request to the registry failed; the message contains no secret.

    Attributes:
        kind: "missing": there is no such thing; "forbidden": it needs another login or more rights;
            "unsupported": this registry does not do that; "refused": it will not, and says so;
            "unavailable": a later attempt may succeed.
    """

    def __init__(self, message: str, kind: "Kind") -> None:
        super().__init__(message)
        self.kind: Kind = kind


class Registry:
    """Accesses the repositories of one registry.

    Args:
        host: Host, and port if it is not the default one.
        login: Returns the login for a repository, or none.
        plain: Ask without TLS.
        ca: Certificates in PEM that the registry's must chain to; empty for the system's.
        patience: Seconds after a request's first attempt in which it is retried.
        quiet: Seconds without a byte after which an attempt fails: an upload may need some to complete.
        wait: Waits between two attempts.

    Raises:
        ValueError: The certificates cannot be read.
    """

    def __init__(
        self,
        host: str,
        *,
        login: "Callable[[str], Login | None]",
        plain: bool = False,
        ca: str = "",
        patience: float,
        quiet: float = 60.0,
        wait: "Callable[[float], object]" = time.sleep,
    ) -> None:
        self.host = host
        self._base = f"{'http' if plain else 'https'}://{host}"
        self._plain = plain
        self._login = login
        self._patience = patience
        self._wait = wait
        self._sender = Sender(self._base, ca, quiet)
        self._authorization: dict[str, str] = {}  # by repository

    def has_blob(self, repository: str, digest: str) -> bool:
        """Returns whether a repository has a blob.

        Raises:
            RegistryError: It is unknown.
        """
        path = f"blobs/{digest}"
        answer = self._ask("HEAD", repository, path)
        self._expect(answer, "HEAD", repository, path, HTTPStatus.OK, HTTPStatus.NOT_FOUND)
        return answer.status == HTTPStatus.OK

    def put_blob(
        self, repository: str, digest: str, size: int, pieces: "Callable[[], Iterable[bytes]]"
    ) -> None:
        """Uploads a blob in one request, whose body is never complete in memory.

        Args:
            repository: Its repository.
            digest: Of its bytes; the registry compares them.
            size: Its bytes.
            pieces: Returns its bytes in pieces, from the first one at each attempt. What they raise ends the
                upload and is passed on.

        Raises:
            RegistryError: It was not stored, or it is unknown whether it was.
        """
        uploads = "blobs/uploads/"

        def upload() -> None:
            opened = self._authorized("POST", repository, uploads, {"Content-Length": "0"})
            self._expect(opened, "POST", repository, uploads, HTTPStatus.ACCEPTED)
            where = self._named_address(opened, f"{self._base}/v2/{repository}/{uploads}")
            url = f"{where}{'&' if '?' in where else '?'}digest={quote(digest)}"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            headers |= self._own_headers(repository, url)
            stored = self._sender.ask("PUT", url, headers, limit=_TOKEN_BYTES, body=pieces())
            if stored.status == HTTPStatus.UNAUTHORIZED and self._authorization.pop(repository, ""):
                raise PassingError(f"PUT of {size} bytes to {repository}: the token expired meanwhile")
            self._expect(stored, f"PUT of {size} bytes", repository, uploads, HTTPStatus.CREATED)

        self._patiently(upload)

    def mount_blob(self, repository: str, digest: str, source: str) -> bool:
        """Lets a repository have a blob of another one of this registry; returns whether it has it then."""
        path = f"blobs/uploads/?{urlencode({'mount': digest, 'from': source})}"
        return self._ask("POST", repository, path, {"Content-Length": "0"}).status == HTTPStatus.CREATED

    def put_manifest(self, repository: str, reference: str, body: bytes, media_type: str) -> bool:
        """Stores a manifest or an index under a tag or its digest.

        Returns:
            Whether the registry lists it among the referrers of its subject (OCI 1.1).

        Raises:
            RegistryError: It was not stored, or it is unknown whether it was.
        """
        path = f"manifests/{reference}"
        headers = {"Content-Type": media_type, "Content-Length": str(len(body))}
        answer = self._ask("PUT", repository, path, headers, body)
        self._expect(answer, "PUT", repository, path, HTTPStatus.CREATED)
        return bool(answer.headers.get("OCI-Subject"))

    def digest_of(self, repository: str, reference: str) -> str | None:
        """Returns the digest of a manifest; none if there is no such manifest, or no such repository.

        Raises:
            RegistryError: It is unknown.
        """
        path = f"manifests/{reference}"
        answer = self._ask("HEAD", repository, path, {"Accept": ",".join(_IMAGES)})
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        self._expect(answer, "HEAD", repository, path)
        digest = answer.headers.get("Docker-Content-Digest", "")
        return digest if _DIGEST.fullmatch(digest) else digest_of(self.manifest(repository, reference)[0])

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str]:
        """Returns a manifest or an index, and its media type; by digest, it has that digest.

        Raises:
            RegistryError: It cannot be read, or is not what the reference says.
        """
        path = f"manifests/{reference}"
        answer = self._ask("GET", repository, path, {"Accept": ",".join(_IMAGES)})
        self._expect(answer, "GET", repository, path)
        if len(answer.body) > DOCUMENT_BYTES:
            raise RegistryError(f"{self._shown('GET', repository, path)}: over 4 MiB", "refused")
        if _DIGEST.fullmatch(reference) and digest_of(answer.body) != reference:
            raise RegistryError(f"{self._shown('GET', repository, path)}: it has another digest", "refused")
        return answer.body, answer.headers.get("Content-Type", "").partition(";")[0].strip()

    def tagged(self, repository: str, tag: str) -> bytes | None:
        """Returns the manifest of a tag; none if there is no such tag, or no such repository.

        Raises:
            RegistryError: It is unknown.
        """
        try:
            return self.manifest(repository, tag)[0]
        except RegistryError as error:
            if error.kind != "missing":
                raise
            return None

    def delete_manifest(self, repository: str, digest: str) -> bool:
        """Deletes a manifest; returns whether this registry deletes manifests at all.

        Raises:
            RegistryError: It may still be there.
        """
        path = f"manifests/{digest}"
        answer = self._ask("DELETE", repository, path)
        if answer.status == HTTPStatus.NOT_FOUND:
            return True
        try:
            self._expect(answer, "DELETE", repository, path, HTTPStatus.OK, HTTPStatus.ACCEPTED)
        except RegistryError as error:
            if error.kind != "unsupported":
                raise
            return False
        return True

    def pieces(self, repository: str, digest: str, most: int) -> "Iterator[bytes]":
        """Yields a blob in pieces, at most this many bytes. Nothing is tried twice.

        Raises:
            RegistryError: It cannot be read.
        """
        path = f"blobs/{digest}"
        url = f"{self._base}/v2/{repository}/{path}"
        try:
            for _ in range(_REDIRECTS + 2):  # one more to log in
                with self._sender.open("GET", url, self._own_headers(repository, url)) as response:
                    status, headers = response.status, response.headers
                    if status == HTTPStatus.OK:
                        yield from self._sender.pieces(response, most)
                        return
                    answer = Answer(status, headers, response.read1(_TOKEN_BYTES))
                if status in _REDIRECTING:
                    url = self._named_address(answer, url)
                elif status != HTTPStatus.UNAUTHORIZED or not self._log_in(repository, "GET", answer):
                    raise self._error(answer, "GET", repository, path)
        except PassingError as error:
            raise RegistryError(str(error), "unavailable") from None
        raise RegistryError(f"{self._shown('GET', repository, path)}: redirected for ever", "refused")

    # Requests.

    def _ask(
        self,
        method: str,
        repository: str,
        path: str,
        headers: "Mapping[str, str] | None" = None,
        body: bytes = b"",
    ) -> Answer:
        """Returns the final answer to a request within a repository."""
        return self._patiently(lambda: self._authorized(method, repository, path, headers or {}, body))

    def _patiently(self, attempt: "Callable[[], T]") -> "T":
        """Repeats an attempt that fails in a passing way; raises RegistryError when patience is over."""
        spent, pause = 0.0, _FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                return attempt()
            except PassingError as error:
                spent += time.monotonic() - began
                if spent + pause >= self._patience:
                    raise RegistryError(str(error), "unavailable") from None
            self._wait(pause)
            spent += pause
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _authorized(
        self, method: str, repository: str, path: str, headers: "Mapping[str, str]", body: bytes = b""
    ) -> Answer:
        """Returns the answer to one request; logs in if the registry asks for it."""
        url = f"{self._base}/v2/{repository}/{path}"
        answer = self._send(method, repository, url, headers, body)
        if answer.status == HTTPStatus.UNAUTHORIZED and self._log_in(repository, method, answer):
            answer = self._send(method, repository, url, headers, body)
        if answer.status in _PASSING:
            raise PassingError(f"{self._shown(method, repository, path)}: {_status(answer)}")
        return answer

    def _send(
        self, method: str, repository: str, url: str, headers: "Mapping[str, str]", body: bytes = b""
    ) -> Answer:
        """Returns the answer at the end of redirects."""
        for _ in range(_REDIRECTS + 1):
            given = {**headers, **self._own_headers(repository, url)}
            answer = self._sender.ask(method, url, given, limit=DOCUMENT_BYTES + 1, body=body)
            if answer.status not in _REDIRECTING or method not in ("GET", "HEAD"):
                return answer
            url = self._named_address(answer, url)
        raise RegistryError(f"{method} in {repository}: redirected for ever", "refused")

    def _own_headers(self, repository: str, url: str) -> "dict[str, str]":
        """Returns the authorization for the registry itself, and none for any other server."""
        value = self._authorization.get(repository)
        return {"Authorization": value} if value and origin_of(url) == origin_of(self._base) else {}

    def _named_address(self, answer: Answer, url: str) -> str:
        """Returns the address to which an answer leads."""
        try:
            named = urljoin(url, answer.headers.get("Location", ""))
        except ValueError:
            named = ""
        self._check(named)
        return named

    def _check(self, address: str) -> None:
        if fault := address_fault(address, known=self._base, insecure=self._plain):
            raise RegistryError(fault, "refused")

    def _log_in(self, repository: str, method: str, answer: Answer) -> bool:
        """Gets what the registry asks for (RFC 6750; distribution: token authentication), if it is new."""
        login = self._login(f"{self.host}/{repository}")
        before = self._authorization.get(repository)
        for challenge in answer.headers.get_all("WWW-Authenticate") or ():
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "basic" and login is not None:
                self._remember(repository, login.basic)
                return before != login.basic
            if scheme.lower() == "bearer":
                values = {name.lower(): quoted or plain for name, quoted, plain in _CHALLENGE.findall(rest)}
                actions = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(method, "pull,push")
                scope = values.get("scope") or f"repository:{repository}:{actions}"
                self._remember(repository, f"Bearer {self._token(values, scope, login)}")
                return True
        return False

    def _remember(self, repository: str, authorization: str) -> None:
        """Keeps what a repository's requests need, and forgets the oldest of too many."""
        self._authorization[repository] = authorization
        for oldest in list(self._authorization)[:-_MOST_AUTHORIZATIONS]:
            self._authorization.pop(oldest, None)

    def _token(self, challenge: "Mapping[str, str]", scope: str, login: "Login | None") -> str:
        realm = challenge.get("realm", "")
        self._check(realm)
        asked = {"scope": scope, **({"service": challenge["service"]} if "service" in challenge else {})}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"
        answer = self._sender.ask(
            "GET", url, {} if login is None else {"Authorization": login.basic}, limit=_TOKEN_BYTES
        )
        where = f"GET {realm.partition('?')[0]}"
        if answer.status in _PASSING:
            raise PassingError(f"{where}: {_status(answer)}")
        if answer.status != HTTPStatus.OK:
            raise RegistryError(f"{where}: {_status(answer)}", "forbidden")
        found = _object(answer.body)
        token = found.get("token") or found.get("access_token")
        if not (isinstance(token, str) and token.isascii() and token.isprintable()):
            raise RegistryError(f"{where}: the answer has no token", "forbidden")
        return token

    def _expect(self, answer: Answer, method: str, repository: str, path: str, *statuses: int) -> None:
        if answer.status not in (statuses or (HTTPStatus.OK,)):
            raise self._error(answer, method, repository, path)

    def _error(self, answer: Answer, method: str, repository: str, path: str) -> RegistryError:
        message = f"{self._shown(method, repository, path)}: {_status(answer)}"
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED or "UNSUPPORTED" in _codes(answer):
            return RegistryError(message, "unsupported")
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return RegistryError(message, "forbidden")
        if answer.status == HTTPStatus.NOT_FOUND:
            return RegistryError(message, "missing")
        return RegistryError(message, "unavailable" if answer.status in _PASSING else "refused")

    def _shown(self, method: str, repository: str, path: str) -> str:
        return f"{method} {self._base}/v2/{repository}/{path.partition('?')[0]}"


def digest_of(data: bytes) -> str:
    """Returns the digest of a manifest, as a registry names it."""
    return f"sha256:{sha256(data).hexdigest()}"


def _status(answer: Answer) -> str:
    """Returns an answer's status, and the codes of its errors; nothing else that the server wrote."""
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    return " ".join([f"{answer.status} {phrase}".strip(), *_codes(answer)])


def _codes(answer: Answer) -> "list[str]":
    errors = _object(answer.body).get("errors")
    codes = (
        [error.get("code") for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    )
    return [code for code in codes[:_SHOWN_CODES] if isinstance(code, str) and _CODE.fullmatch(code)]


def _object(body: bytes) -> "Mapping[str, object]":
    """Returns the JSON object in an answer; an empty one if there is none."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
