"""Writes results into a ConfigMap: values under its keys, records in an annotation, all in one patch.

The backend creates the ConfigMap, empty, before the pod; the pod's service account may get and patch this
ConfigMap only. The patch makes it immutable. The digest of the records in the sidecar's termination message
proves to the reader that the sidecar wrote them: no Step can write that message.
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

ENV_NAME = "RESULTSFW_CONFIG_MAP"
ENV_UID = "RESULTSFW_CONFIG_MAP_UID"
ENV_ACCOUNT = "RESULTSFW_SERVICE_ACCOUNT"
"""Folder with `token`, `ca.crt` and `namespace`, as Kubernetes lays them out."""
ENV_SCHEME = "RESULTSFW_API_SCHEME"
"""`http` if the API server is that of the local engine."""

RECORDS = "resultsfw.dev/records"
"""The annotation with the records."""

VALUE_BYTES = 1_048_576
"""Bytes of all values of a ConfigMap together, keys not counted (`ValidateConfigMap`)."""

_KEY = re.compile("[-._a-zA-Z0-9]{1,253}")
_SMALL = 64  # bytes that escaping may add to any value: nobody reads base64
_SETTLING = 10.0  # seconds in which a Role that was made just before the pod comes to be known everywhere
_PAUSE = 0.25
_SHOWN = 200  # characters of what a server says


def proof(records: bytes) -> str:
    """Returns the termination message that goes with these records."""
    return f"sha256:{sha256(records).hexdigest()}"


class Transport(LogTransport):
    """Collects everything and writes it at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.output: Kept = Kept()
        self._data: dict[str, bytes] = {}  # values as JSON, as they are sent
        self._binary: dict[str, bytes] = {}
        self._stored = 0  # bytes of values as they are kept: what the API server counts
        self._numbered = 0
        self._failure = ""

    def open(self, environment: "Environment", stop: "Stop") -> None:
        """Reads the address. Sends no request: that the server answers now says little about later."""
        self._environment = environment
        if environment.wire != wire.COMPRESSED:  # values are kept as they were written
            environment.max_result_size = min(environment.max_result_size, VALUE_BYTES)
            environment.max_run_size = min(environment.max_run_size, VALUE_BYTES)
        self._stop = stop
        self._name, self._uid, folder = map(self._variable, (ENV_NAME, ENV_UID, ENV_ACCOUNT))
        host, port = map(self._variable, ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"))
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
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{self._name}"

    def record(self, result: "Result", value: bytes) -> list[bytes]:
        """Keeps a value under a key; its record says which.

        Raises:
            RefusedError: The ConfigMap has no room for it.
        """
        packed = None
        if self._environment.wire == wire.COMPRESSED:
            packed = compress(value, len(value) - 1)
        self._add(len(value), len(value if packed is None else packed))
        key = self._key(result.name)
        if packed is not None:
            self._binary[key] = b'"%s"' % base64.b64encode(packed)
            return [wire.kept_line(result.name, value, result.of, key, wire.GZIP)]
        escaped = _json(value)
        # A request has 3 MiB, and JSON needs six bytes for a control character.
        if len(escaped) <= 2 * len(value) + _SMALL:
            self._data[key] = escaped
        else:
            self._binary[key] = b'"%s"' % base64.b64encode(value)
        return [wire.kept_line(result.name, value, result.of, key)]

    def _add(self, written: int, size: int) -> None:
        """Counts a value as it is kept.

        Args:
            written: Bytes that the Step wrote.
            size: Bytes as they are kept.
        """
        total = self._stored + size
        if total > VALUE_BYTES:
            raise RefusedError(
                wire.TRANSPORT_FULL,
                f"its {written} bytes are {size} bytes compressed, with which the ConfigMap would hold "
                f"{total} bytes, over its limit of {VALUE_BYTES} bytes",
                total,
                VALUE_BYTES,
            )
        self._stored = total

    def deliver(self) -> str:
        """Writes all of it, or finds that it is there already; returns the digest of the records."""
        if self._failure:
            raise OutputError(self._failure)  # not again: the first delivery was retried long enough
        records = self.output.data
        if not records[records.rfind(b"\n", 0, -1) + 1 :].startswith(b'{"type":"end"'):
            raise OutputError("records without an end record are not written")
        try:
            self._write(records)
        except OutputError as error:
            self._failure = str(error)
            raise
        return proof(records)

    def _write(self, records: bytes) -> None:
        text = records.decode()
        metadata = {"uid": self._uid, "annotations": {RECORDS: text}}
        body = b'{"metadata":%s,"immutable":true,"data":{%s},"binaryData":{%s}}' % (
            json.dumps(metadata).encode(),
            _members(self._data),
            _members(self._binary),
        )
        status, answer = self._ask("PATCH", body)
        if status == 200:  # noqa: PLR2004 - HTTP
            return
        why = f"ConfigMap {self._name}: HTTP {status}: {_error_message(answer)}"
        if status in (409, 422):
            # We may have been killed after our patch, or its answer was lost. Or somebody was faster.
            status, answer = self._ask("GET")
            found = _metadata(answer) if status == 200 else {}  # noqa: PLR2004 - HTTP
            annotations = found.get("annotations")
            known = annotations.get(RECORDS) if isinstance(annotations, dict) else None
            if found.get("uid") == self._uid and known == text:
                return
            if found and (found.get("uid") != self._uid or known is not None):
                why = f"{why}; somebody else wrote it or created it again"
        raise OutputError(why)

    def _ask(self, method: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Sends a request; repeats it for a while if it is forbidden, since a new Role takes effect late."""
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
        """Returns the result's name if it is a valid and unused ConfigMap key, else a generated key."""
        key = name
        while not _KEY.fullmatch(key) or key.startswith("..") or key == "." or self._holds(key):
            key = f"value-{self._numbered}"
            self._numbered += 1
        return key

    def _holds(self, key: str) -> bool:
        return key in self._data or key in self._binary

    def _variable(self, name: str) -> str:
        value = self._environment.variables.get(name.encode(), b"").decode("utf-8", "backslashreplace")
        if not value:
            raise SettingsError(wire.BAD_ENVIRONMENT, f"{name} is not set")
        return value


def _json(value: bytes) -> bytes:
    """Yields a value as JSON in pieces: one wide character makes a whole text four times as large."""
    pieces = (json.dumps(text, ensure_ascii=False)[1:-1].encode() for text in wire.text_pieces(value))
    return b'"%s"' % b"".join(pieces)


def _members(values: dict[str, bytes]) -> bytes:
    return b",".join(b"%s:%s" % (json.dumps(key).encode(), value) for key, value in values.items())


def _error_message(answer: bytes) -> str:
    """Returns the message of a server's Status object, or says that the answer is none."""
    try:
        parsed = json.loads(answer)
    except (ValueError, RecursionError):
        parsed = None
    message = parsed.get("message") if isinstance(parsed, dict) else None
    return str(message).partition("\n")[0][:_SHOWN] if message else "not a Status object of an API server"


def _metadata(answer: bytes) -> dict[str, object]:
    try:
        parsed = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    metadata = parsed.get("metadata") if isinstance(parsed, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _now() -> float:
    return os.times().elapsed  # a clock that no one sets
