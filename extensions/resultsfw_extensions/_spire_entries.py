"""Register the signer of a pod with a SPIRE server, through the server's Entry API.

An entry gives the processes in this container of this pod a SPIFFE ID. It is created when the pod exists,
deleted when its results are read, and expires in any case. The package index has no stubs of this API, so the
few messages are described here; their numbers are facts of the API.

Source: https://github.com/spiffe/spire-api-sdk, spire/api/server/entry/v1/entry.proto and spire/api/types.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from resultsfw import Object
from resultsfw.errors import ClusterError, FlagError, UnavailableError
from resultsfw.option_types import in_words

from ._spiffe_grpc import Credentials, StatusCode, call, status_error

__all__ = ["EntriesConfig", "EntryClient"]

_METHODS: Final = "/spire.api.server.entry.v1.Entry/"
_AFTER_DEADLINE: Final = 300
"""Seconds that an entry outlives the deadline of its pod: the kubelet ends a pod a little later."""
_MAX_ID: Final = 2048
_MAX_PORT: Final = 65_535
SERVER_PATTERN: Final = (
    r"^(unix:///[^\x00-\x20\x7f]{1,100}|(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):[0-9]{1,5})$"
)
SELECTOR_PATTERN: Final = r"^[a-z0-9_]{1,40}:[\x21-\x7e]{1,1000}$"
ID_PATTERN: Final = r"^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]{1,255}){1,20}$"


def _port(server: str) -> str:
    if not server.startswith("unix:") and not 0 < int(server.rpartition(":")[2]) <= _MAX_PORT:
        raise ValueError(f"a port is a number from 1 to {_MAX_PORT}")
    return server


ServerAddress = Annotated[
    str,
    StringConstraints(pattern=SERVER_PATTERN),
    in_words("must be HOST:PORT of the SPIRE server, or unix:///PATH of its socket"),
    AfterValidator(_port),
]
Selector = Annotated[
    str,
    StringConstraints(pattern=SELECTOR_PATTERN),
    in_words("must be TYPE:VALUE without spaces, such as k8s:container-image:IMAGE"),
]
SpiffeId = Annotated[
    str,
    StringConstraints(pattern=ID_PATTERN, max_length=_MAX_ID),
    in_words("must be a SPIFFE ID with a path, such as spiffe://example.org/resultsfw/nodes"),
]


class EntriesConfig(BaseModel):
    """Options of ``entries``: who registers the signers of pods."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        alias_generator=lambda name: name.replace("_", "-"),
        validate_by_name=True,
        validate_by_alias=True,
    )

    server: ServerAddress
    """The SPIRE server: `HOST:PORT`, or `unix:///PATH` of the socket for its administrators."""
    parent_id: SpiffeId
    """SPIFFE ID of the agents: of one agent, or an alias that the agents of all nodes have."""
    lifetime: Annotated[int, Field(ge=60, le=31_536_000)] = 86_400
    """Seconds after which an entry expires, unless its pod's deadline is sooner."""
    svid_ttl: Annotated[int, Field(ge=0, le=31_536_000)] = 0
    """Seconds for which a certificate is valid; 0: the default of the server's configuration."""
    selectors: Annotated[tuple[Selector, ...], Field(max_length=20)] = ()
    """Further selectors that the signer must have, such as `k8s:container-image:...`."""


class EntryClient:
    """Creates and deletes the entries of pods.

    Args:
        config: The operator's options.
        trust_domain: The trust domain, such as `example.org`.
        credentials: Returns this controller's own identity, whose entry has `admin`. Not called if the server
            is a socket of this machine.

    Raises:
        FlagError: The agents are of another trust domain.
    """

    def __init__(
        self, config: EntriesConfig, trust_domain: str, credentials: Callable[[], Credentials]
    ) -> None:
        if not config.parent_id.startswith(f"spiffe://{trust_domain}/"):
            raise FlagError(
                f'the option "entries.parent-id" is {config.parent_id}, which is not of the trust domain '
                f'"{trust_domain}"',
                subject="config.signed",
            )
        self._config = config
        self._server_id = f"spiffe://{trust_domain}/spire/server"
        self._credentials = credentials

    def create(self, pod: Object, container: str | None, spiffe_ids: Iterable[str]) -> None:
        """Create the entries of a pod; those that exist are left as they are.

        Args:
            pod: The pod as it was created; its uid counts, not its name.
            container: The container that signs; ``None`` for each that has the agent's socket.
            spiffe_ids: The SPIFFE IDs that it gets.

        Raises:
            ClusterError: The server refuses, or does not answer; see `retryable`.
        """
        entries = list(entries_of(pod, container, spiffe_ids, self._config, now=time.time()))
        answer = self._call("BatchCreateEntry", CreateRequest(entries=entries), CreateResponse)
        self._check(answer.results, len(entries), StatusCode.ALREADY_EXISTS)

    def delete(self, pod: Object, spiffe_ids: Sequence[str]) -> None:
        """Delete the entries of a pod; those that are gone already are no error.

        Raises:
            ClusterError: As for `create`. The entries expire all the same.
        """
        ids = [entry_id(pod, index) for index in range(len(spiffe_ids))]
        answer = self._call("BatchDeleteEntry", DeleteRequest(ids=ids), DeleteResponse)
        self._check(answer.results, len(ids), StatusCode.NOT_FOUND)

    def _call(self, method: str, request: Any, response: Any) -> Any:
        answer = call(
            self._config.server,
            _METHODS + method,
            request.SerializeToString(),
            server_id=self._server_id,
            credentials=self._credentials,
        )
        try:
            return response.FromString(answer)
        except DecodeError as error:
            raise self._malformed() from error

    def _check(self, results: Sequence[Any], expected: int, harmless: int) -> None:
        """Raise the error of the first result that is neither fine nor harmless."""
        if len(results) != expected:
            raise self._malformed()
        for result in results:
            if result.status.code not in {StatusCode.OK, harmless}:
                raise status_error(self._config.server, result.status.code, result.status.message)

    def _malformed(self) -> ClusterError:
        server = self._config.server
        return UnavailableError(f"SPIRE server {server}: its answer is malformed", subject=server)


def entry_id(pod: Object, index: int) -> str:
    """Return the ID of a pod's entry, which follows from the pod alone: no list is needed to delete it."""
    return f"resultsfw.{pod['metadata']['uid']}.{index}"


def entries_of(
    pod: Object, container: str | None, spiffe_ids: Iterable[str], config: EntriesConfig, *, now: float
) -> Iterable[Any]:
    """Return the entries of a pod, one for each SPIFFE ID."""
    deadline = (pod.get("spec") or {}).get("activeDeadlineSeconds")
    lifetime = config.lifetime if deadline is None else min(config.lifetime, deadline + _AFTER_DEADLINE)
    uid = pod["metadata"]["uid"]
    of_container = () if container is None else (f"k8s:container-name:{container}",)
    selectors = (f"k8s:pod-uid:{uid}", *of_container, *config.selectors)
    for index, spiffe_id in enumerate(spiffe_ids):
        yield Entry(
            id=entry_id(pod, index),
            spiffe_id=_split(spiffe_id),
            parent_id=_split(config.parent_id),
            selectors=[_selector(text) for text in selectors],
            x509_svid_ttl=config.svid_ttl,
            expires_at=int(now + lifetime),
        )


def _selector(text: str) -> dict[str, str]:
    kind, _, value = text.partition(":")
    return {"type": kind, "value": value}


def _split(spiffe_id: str) -> dict[str, str]:
    domain, _, path = spiffe_id.removeprefix("spiffe://").partition("/")
    return {"trust_domain": domain, "path": f"/{path}"}


_TYPES: Final = descriptor_pb2.FieldDescriptorProto
_TEXT: Final = _TYPES.TYPE_STRING
_MESSAGES: Final[Mapping[str, Mapping[str, tuple[int, int | str]]]] = {
    "SPIFFEID": {"trust_domain": (1, _TEXT), "path": (2, _TEXT)},
    "Selector": {"type": (1, _TEXT), "value": (2, _TEXT)},
    "Status": {"code": (1, _TYPES.TYPE_INT32), "message": (2, _TEXT)},
    "Entry": {
        "id": (1, _TEXT),
        "spiffe_id": (2, "SPIFFEID"),
        "parent_id": (3, "SPIFFEID"),
        "selectors[]": (4, "Selector"),
        "x509_svid_ttl": (5, _TYPES.TYPE_INT32),
        "expires_at": (9, _TYPES.TYPE_INT64),
    },
    "CreateRequest": {"entries[]": (1, "Entry")},
    "DeleteRequest": {"ids[]": (1, _TEXT)},
    "Result": {"status": (1, "Status")},
    "CreateResponse": {"results[]": (1, "Result")},
    "DeleteResponse": {"results[]": (1, "Result")},
}
"""Fields of each message: number, and type or the name of another message. With `[]` it is repeated."""


def _messages() -> dict[str, Any]:
    """Return the classes of the messages, in a pool of their own."""
    package = "resultsfw.spire"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            field = described.field.add(name=name.removesuffix("[]"), number=number)
            field.label = _TYPES.LABEL_REPEATED if name.endswith("[]") else _TYPES.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = _TYPES.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{message}"))
        for message in _MESSAGES
    }


_CLASSES: Final = _messages()
Entry: Final = _CLASSES["Entry"]
CreateRequest: Final = _CLASSES["CreateRequest"]
CreateResponse: Final = _CLASSES["CreateResponse"]
DeleteRequest: Final = _CLASSES["DeleteRequest"]
DeleteResponse: Final = _CLASSES["DeleteResponse"]
