"""Backend ``http``: a sidecar delivers the results to the results server, the controller reads them there.

It delivers its records in the format of the log (`resultsfw_sidecar.wire`); its termination message has their
digest. The kubelet copies that message into the pod's status, so neither server nor store can forge it.
"""

import hashlib
import http.client
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator, model_validator

from resultsfw import (
    Capabilities,
    Extraction,
    Limits,
    Object,
    Permission,
    Problem,
    ProblemCode,
    Run,
    hookimpl,
)
from resultsfw.errors import ClusterError, ForbiddenError, NotFoundError, UnavailableError
from resultsfw.images import SIDECAR_NET
from resultsfw.option_types import Quantity
from resultsfw.podchecks import refuse_shared_processes, refuse_tokens
from resultsfw.pods import RESULTS_SIDECAR, container_states, has_finished
from resultsfw.sidecars import describe_end, has_ended, read_digest
from resultsfw_backends._record_room import longest_records, refuse_too_many
from resultsfw_backends._results_sidecar import Certificates, CompressingConfig, SidecarImage, add_sidecar
from resultsfw_backends._sidecar_log import declared_names
from resultsfw_backends._sidecar_reader import read_records, refuse_to_read
from resultsfw_sidecar import wire as wires

__all__ = ["Config", "capabilities", "extract", "pod_ready", "prepare_pod", "purge"]

TRANSPORT: Final = "resultsfw_transports.http"
_ENV: Final = "RESULTSFW_SERVER_"
_VOLUME: Final = "resultsfw-results-server"
_FOLDER: Final = "/var/run/secrets/resultsfw.dev/results-server"
_TOKEN_SECONDS: Final = 3600
"""Seconds that a token is valid; the kubelet renews it."""

_LONGEST: Final = 60.0
"""Seconds within which an answer must be complete."""

_ANSWER: Final = 10 * 1024 * 1024
"""Maximum bytes of an answer: enough for 1.5 MiB of values even if every byte is escaped."""

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class Config(CompressingConfig):
    """Options of ``config.http``."""

    image: SidecarImage = SIDECAR_NET
    """The sidecar's image; it needs TLS."""
    memory: Quantity = "64Mi"
    """Memory request and limit: the sidecar holds all results at once."""
    url: str = "https://resultsfw-results-server.resultsfw.svc:8443"
    """URL of the results server, for pods and for the controller."""
    audience: str = Field(default="resultsfw-results", min_length=1)
    """Audience of the tokens; the same as the server's."""
    ca: Certificates = ""
    """PEM certificates that the server's certificate must chain to, for pods and for the controller."""
    ca_config_map: str = ""
    """For pods, instead of ca: a ConfigMap in the run's namespace with certificates under ca.crt."""
    ca_file: str = ""
    """For the controller, instead of ca: a file. With none of these, the system's certificates."""
    token_file: str = "/var/run/secrets/resultsfw.dev/results/token"  # noqa: S105 - a file's name
    """File with the controller's token for the server; a projected volume in its Deployment."""
    timeout: float = Field(default=10, gt=0, le=60)
    """Seconds that the controller waits for a connection, and for the next piece of an answer."""

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("must be https://HOST:PORT")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError("must be https: tokens would be seen on the network")
        _ = parts.port  # raises ValueError for an invalid port
        return value.rstrip("/")

    @model_validator(mode="after")
    def _one_authority(self) -> "Config":
        if self.ca and self.ca_config_map:
            raise ValueError("give ca or ca-config-map, not both")
        return self


capabilities = Capabilities(
    summary="results through the results server: delivered by a sidecar, kept until the run has them",
    permissions=(
        Permission(
            verb="get",
            resource="results",
            group="resultsfw.dev",
            why="the results server asks for it to read",
        ),
        Permission(
            verb="delete",
            resource="results",
            group="resultsfw.dev",
            why="the results server asks for it to remove",
        ),
    ),
    external_state="elsewhere",
    verified=True,
    artifacts=True,
    plain_pods=True,
)


@hookimpl
def prepare_pod(run: Run, pod: Object, limits: Limits, config: Config) -> int:
    """Add the sidecar, with a token for the server that no other container has."""
    refuse_shared_processes(
        pod, backend="http", what="the token of the results sidecar and write its termination message"
    )
    refuse_tokens(pod, config.audience, backend="http")
    _refuse_too_many(run, pod, limits)
    sources: list[Object] = [
        {
            "serviceAccountToken": {
                "audience": config.audience,
                "expirationSeconds": _TOKEN_SECONDS,
                "path": "token",
            }
        }
    ]
    env = {"URL": config.url, "PATH": _path(run), "RUN": run.name, "TOKEN_FILE": f"{_FOLDER}/token"}
    if config.ca_config_map:
        items = [{"key": "ca.crt", "path": "ca.crt"}]
        sources.append({"configMap": {"name": config.ca_config_map, "items": items}})
        env["CA_FILE"] = f"{_FOLDER}/ca.crt"
    elif config.ca:
        env["CA"] = config.ca
    add_sidecar(
        run,
        pod,
        config,
        limits=limits,
        wire=config.wire_version,
        transport=TRANSPORT,
        env=[{"name": _ENV + name, "value": value} for name, value in env.items()],
        mounts=[{"name": _VOLUME, "mountPath": _FOLDER, "readOnly": True}],
        volumes=[{"name": _VOLUME, "projected": {"sources": sources}}],
    )
    return config.wire_version


@hookimpl
def pod_ready(run: Run, pod: Object) -> bool:
    """Return whether the sidecar has ended for good: only then the digest is known."""
    return has_ended(run, pod, RESULTS_SIDECAR)


@hookimpl
def extract(run: Run, pod: Object, limits: Limits, config: Config, wire: int) -> Extraction:
    """Read what the pod delivered, once, and compare it with the digest in its status."""
    if (nothing := refuse_to_read(pod, wire=wire, known=(wires.WIRE, wires.COMPRESSED))) is not None:
        return nothing
    if (digest := read_digest(pod, RESULTS_SIDECAR)) is None:
        # The sidecar vouches for nothing that the server has of this pod: a Step may have a token that is
        # bound to the pod as well, and deliver in the sidecar's place.
        running = "running" in container_states(pod).get(RESULTS_SIDECAR, {})
        why = (
            "the results sidecar left no digest of what it delivered, so nothing that the results server has "
            f"of this pod is believed: {describe_end(pod, RESULTS_SIDECAR)}"
        )
        too_early = running and not has_finished(pod)
        return _nothing(ProblemCode.TRANSPORT_INCOMPLETE, why, too_early=too_early)
    try:
        body = _read(run, pod, config)
    except NotFoundError:
        why = f"the results server has nothing of this pod: {describe_end(pod, RESULTS_SIDECAR)}"
        return _nothing(ProblemCode.TRANSPORT_INCOMPLETE, why)
    except _DamagedError as error:
        return _nothing(ProblemCode.TRANSPORT_CORRUPT, error.message)
    if digest != f"sha256:{hashlib.sha256(body).hexdigest()}":
        return _nothing(
            ProblemCode.TRANSPORT_CORRUPT,
            "what the results server has of this pod does not have the digest that its sidecar left in the "
            "pod's status",
        )
    whole = read_records(run, pod, body, whose="delivery to the results server", limits=limits, wire=wire)
    return replace(whole, too_early=False)  # there is only one delivery


@hookimpl
def purge(run: Run, config: Config) -> None:
    """Delete the deliveries of all pods of the attempt."""
    with _request(config, "DELETE", _path(run), _subject(run)) as answer:
        if answer.status != http.HTTPStatus.NO_CONTENT:
            raise _error(answer, _subject(run))


def _refuse_too_many(run: Run, pod: Object, limits: Limits) -> None:
    """Refuse a signed run whose delivery might be larger than a results server takes.

    Raises:
        BackendError: The message has both numbers.
    """
    records = longest_records(run, pod)
    values = min(limits.run_bytes, limits.result_bytes * len(declared_names(run)))
    if records.signature:
        room = max(_ANSWER - wires.max_line_bytes(values, 0), 0)
        where = f"beside {values} bytes of values a delivery to the results server has"
        refuse_too_many(run, records, room, where=where, backend="http")


def _nothing(code: ProblemCode, why: str, *, too_early: bool = False) -> Extraction:
    message = f"{why}; results that a Step wrote may be missing"
    return Extraction(problems=(Problem(code=code, message=message),), too_early=too_early)


def _path(run: Run) -> str:
    """Return the path of an attempt of a run on the server."""
    return f"/v1/namespaces/{_quoted(run.namespace)}/runs/{_quoted(run.uid)}/attempts/{run.attempt}"


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _subject(run: Run) -> str:
    return f"results of {run.namespace}/{run.name}"


# Requests of the controller.


def _read(run: Run, pod: Object, config: Config) -> bytes:
    """Return what the pod delivered.

    Raises:
        NotFoundError: It delivered nothing.
        ClusterError: The delivery cannot be read.
    """
    path = f"{_path(run)}/pods/{_quoted(pod['metadata'].get('uid', ''))}"
    subject = _subject(run)
    with _request(config, "GET", path, subject) as answer:
        if answer.status != http.HTTPStatus.OK:
            raise _error(answer, subject)
        size = answer.length
        if size is None or size > _ANSWER:
            raise UnavailableError(f"the results server's answer has {size} bytes", subject=subject)
        body = bytearray()
        for piece in _pieces(answer):
            body += piece
    if len(body) != size:
        raise UnavailableError(
            f"the results server's answer ends after {len(body)} of {size} bytes", subject=subject
        )
    return bytes(body)


class _DamagedError(ClusterError):
    """The server's data is not what was delivered."""


@contextmanager
def _request(config: Config, method: str, path: str, subject: str) -> Iterator[http.client.HTTPResponse]:
    """Yield the server's answer with its body unread.

    Redirects are not followed, because the token is for this server.

    Raises:
        ClusterError: There is no answer.
    """
    url = urlsplit(config.url)
    try:
        token = Path(config.token_file).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"there is no token for the results server in {config.token_file} (token-file): {error}",
            subject=subject,
        ) from error
    try:
        connection: http.client.HTTPConnection
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=config.ca_file or None, cadata=config.ca or None)
            connection = http.client.HTTPSConnection(url.netloc, timeout=config.timeout, context=context)
        else:
            connection = http.client.HTTPConnection(url.netloc, timeout=config.timeout)
        try:
            headers = {"Authorization": f"Bearer {token}", "Accept": "*/*"}
            connection.request(method, url.path + path, headers=headers)
            with connection.getresponse() as answer:
                yield answer
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(
            f"the results server at {config.url} cannot be asked: {type(error).__name__}: {error}"[:400],
            subject=subject,
        ) from error


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the answer's body; raise OSError if it takes too long."""
    until = time.monotonic() + _LONGEST
    while piece := answer.read1(65_536):
        yield piece
        if time.monotonic() > until:
            raise TimeoutError(f"its answer did not come within {_LONGEST:.0f} s")


def _error(answer: http.client.HTTPResponse, subject: str) -> ClusterError:
    """Return the error for an unexpected answer."""
    try:
        parsed = json.loads(answer.read(4096))
        code, message = str(parsed["code"]), str(parsed["message"])[:300]
    except (ValueError, LookupError, TypeError, RecursionError):
        what = f"HTTP {answer.status}, and not as a results server says it"
        return UnavailableError(f"what answers at the URL of the results server says {what}", subject=subject)
    refused = f"the results server refused: {message}"
    if (answer.status, code) == (http.HTTPStatus.NOT_FOUND, "NotFound"):
        return NotFoundError(refused, subject=subject)
    if answer.status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return ForbiddenError(refused, subject=subject)
    if code in ("BadRequest", "Damaged"):
        return (_DamagedError if code == "Damaged" else ClusterError)(refused, subject=subject)
    return UnavailableError(refused, subject=subject)
