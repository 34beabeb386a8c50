"""Writes results into one object of the API server: all of them in one merge patch, with the pod's own token.

What the transports `config_map`, `run_result` and `task_run` have in common. The values are members of the
object, as text or as base64; the records, without the values, are one text. The digest of the records in the
sidecar's termination message proves to the reader that the sidecar wrote them: no Step can write it.
"""

import base64
import json
import os
import re

from resultsfw_sidecar import wire
from resultsfw_sidecar.compression import compress
from resultsfw_sidecar.digest import sha256
from resultsfw_sidecar.files import RefusedError
from resultsfw_sidecar.output import Kept, OutputError
from resultsfw_sidecar.settings import SettingsError
from resultsfw_sidecar.transports import LogTransport
from resultsfw_transports.request import Server

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from resultsfw_sidecar.results import Result
    from resultsfw_sidecar.settings import Environment
    from resultsfw_sidecar.stop import Stop

ENV_ACCOUNT = "RESULTSFW_SERVICE_ACCOUNT"
"""Folder with `token`, `ca.crt` and `namespace`, as Kubernetes lays them out."""
ENV_SCHEME = "RESULTSFW_API_SCHEME"
"""`http` if the API server is that of the local engine."""

VALUE_BYTES = 1_048_576
"""Bytes of all values of one object together, as they are kept and not yet encoded, without keys."""

_KEY = re.compile("[-._a-zA-Z0-9]{1,253}")
_SMALL = 64  # bytes that escaping may add to any value: nobody reads base64
_SETTLING = 10.0  # seconds in which a right that was granted just before the pod comes to be known everywhere
_PAUSE = 0.25
_SHOWN = 300  # characters of what a server says
_OK = 200  # HTTP


def proof(records: bytes) -> str:
    """Returns the termination message that goes with these records."""
    return f"sha256:{sha256(records).hexdigest()}"


class ObjectTransport(LogTransport):
    """Collects everything and writes it at the end.

    Attributes:
        what: The object's kind, for messages.
        variable: The variable with the object's name.
        prefix: Of the object's path, before the namespace.
        plural: Of the object's kind, in its path.
        subresource: Of the object, in its path; with a slash before it.
        room: Bytes that all values may have together as they are kept.
    """

    what = ""
    variable = ""
    prefix = ""
    plural = ""
    subresource = ""
    room = VALUE_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.output: Kept = Kept()
        self._texts: dict[str, bytes] = {}  # values as JSON, as they are sent
        self._encoded: dict[str, bytes] = {}
        self._kept = 0  # bytes of values as they are kept
        self._numbered = 0
        self._failure = ""

    def open(self, environment: "Environment", stop: "Stop") -> None:
        """Reads the address. Sends no request: that the server answers now says little about later."""
        self._environment = environment
        if environment.wire != wire.COMPRESSED:  # values are kept as they were written
            environment.max_result_size = min(environment.max_result_size, self.room)
            environment.max_run_size = min(environment.max_run_size, self.room)
        self._stop = stop
        self._name, folder = (required(environment, name) for name in (self.variable, ENV_ACCOUNT))
        host, port = (required(environment, f"KUBERNETES_SERVICE_{name}") for name in ("HOST", "PORT"))
        scheme = environment.variables.get(ENV_SCHEME.encode()) or b"https"
        host = f"[{host}]" if ":" in host else host
        try:
            with open(f"{folder}/namespace", encoding="utf-8") as file:  # noqa: PTH123 - no pathlib here
                namespace = file.read().strip()
            self._server = Server(
                f"{scheme.decode()}://{host}:{port}",
                token_file=f"{folder}/token",
                ca_file=f"{folder}/ca.crt",
                stop=stop,
            )
        except (OSError, ValueError) as error:
            raise SettingsError(wire.BAD_ENVIRONMENT, f"{ENV_ACCOUNT}: {error}") from None
        self._path = f"{self.prefix}/namespaces/{namespace}/{self.plural}/{self._name}{self.subresource}"

    def record(self, result: "Result", value: bytes) -> list[bytes]:
        """Keeps a value under a key; its record says which.

        Raises:
            RefusedError: The object has no room for it.
        """
        packed = None
        if self._environment.wire == wire.COMPRESSED:
            packed = compress(value, len(value) - 1)
        self._keep(len(value), len(value if packed is None else packed))
        key = self._key(result.name)
        if packed is not None:
            self._encoded[key] = b'"%s"' % base64.b64encode(packed)
            return [wire.kept_line(result.name, value, result.of, key, wire.GZIP)]
        escaped = _json(value)
        if self.is_readable(value, escaped):
            self._texts[key] = escaped
        else:
            self._encoded[key] = b'"%s"' % base64.b64encode(value)
        return [wire.kept_line(result.name, value, result.of, key)]

    def _keep(self, written: int, size: int) -> None:
        """Counts the bytes of a value as it is stored.

        Args:
            written: Bytes that the Step wrote.
            size: Bytes as they are kept.
        """
        total = self._kept + size
        if total > self.room:
            raise RefusedError(
                wire.TRANSPORT_FULL,
                f"its {written} bytes are {size} bytes compressed, with which the {self.what} would hold "
                f"{total} bytes, over its limit of {self.room} bytes",
                total,
                self.room,
            )
        self._kept = total

    def is_readable(self, value: bytes, escaped: bytes) -> bool:
        """Tells whether a value is stored as text; the others are stored as base64.

        The API server stores custom resources as JSON, as Go writes it: six bytes for a control character and
        for `<`. So a value never takes more than base64 does, and all of them together fit into an object.
        """
        widened = 5 * sum(map(value.count, (b"<", b">", b"&"))) + 4 * sum(map(value.count, (b"\b", b"\f")))
        widened += 3 * sum(map(value.count, (b"\xe2\x80\xa8", b"\xe2\x80\xa9")))
        return len(escaped) + widened <= len(value) * 4 // 3 + _SMALL

    def deliver(self) -> str:
        """Writes all of it, or finds that it is there already; returns the digest of the records."""
        if self._failure:
            raise OutputError(self._failure)  # not again: the first delivery was retried long enough
        records = self.output.data
        if not records[records.rfind(b"\n", 0, -1) + 1 :].startswith(b'{"type":"end"'):
            raise OutputError("records without an end record are not written")
        try:
            self.write(records)
        except OutputError as error:
            self._failure = str(error)
            raise
        return proof(records)

    def write(self, records: bytes) -> None:
        """Writes records and values. To write them a second time is a success, too.

        Raises:
            OutputError: The server refused; the message has its answer.
        """
        status, answer = self.ask("PATCH", self.body(records))
        if status != _OK:
            raise OutputError(self.refusal(status, answer))

    def body(self, records: bytes) -> bytes:
        """Returns the merge patch."""
        raise NotImplementedError

    def refusal(self, status: int, answer: bytes) -> str:
        """Returns what to say of an answer that is not 200."""
        return f"{self.what} {self._name}: HTTP {status}: {error_message(answer)}"

    def ask(self, method: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Sends a request; repeats it for a while if it is forbidden, since a new right takes effect late."""
        end = _now() + _SETTLING
        while True:
            status, answer = self._server.ask(
                method,
                self._path,
                body,
                media_type="application/merge-patch+json",
                # The values once more would only fill our memory.
                accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
            )
            if status not in (401, 403) or _now() > end:
                return status, answer
            self._stop.wait(_PAUSE)

    def _key(self, name: str) -> str:
        """Returns the result's name if it is a valid and unused key of a ConfigMap, else a generated one."""
        key = name
        while not _KEY.fullmatch(key) or key.startswith("..") or key == "." or self._holds(key):
            key = f"value-{self._numbered}"
            self._numbered += 1
        return key

    def _holds(self, key: str) -> bool:
        return key in self._texts or key in self._encoded


def required(environment: "Environment", name: str) -> str:
    """Returns a variable.

    Raises:
        SettingsError: It is not set.
    """
    value = environment.variables.get(name.encode(), b"").decode("utf-8", "backslashreplace")
    if not value:
        raise SettingsError(wire.BAD_ENVIRONMENT, f"{name} is not set")
    return value


def members(values: dict[str, bytes], prefix: str = "") -> bytes:
    """Returns members of a JSON object; a prefix goes before each key."""
    return b",".join(b"%s:%s" % (json.dumps(prefix + key).encode(), value) for key, value in values.items())


def error_message(answer: bytes) -> str:
    """Returns the message of a server's Status object, or says that the answer is none."""
    message = parsed(answer).get("message")
    return str(message).partition("\n")[0][:_SHOWN] if message else "not a Status object of an API server"


def parsed(answer: bytes) -> "dict[str, object]":
    """Returns an answer as an object; an empty one if it is none."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _json(value: bytes) -> bytes:
    """Yields a value as JSON in pieces: one wide character makes a whole text four times as large."""
    pieces = (json.dumps(text, ensure_ascii=False)[1:-1].encode() for text in wire.text_pieces(value))
    return b'"%s"' % b"".join(pieces)


def _now() -> float:
    return os.times().elapsed  # a clock that no one sets
