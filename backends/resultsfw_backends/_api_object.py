"""Deliver results through one object of the API server, which the sidecar writes with the pod's own token.

Shared by ``config-map``, ``custom-resource`` and ``self-update``; `resultsfw_transports.api_object` is the
other side. Steps have a token of the same service account and pod, so they can write the object, too. It is
accepted only if its records have the digest in the sidecar's termination message, which only the sidecar can
write: a Step can make its run fail, but cannot forge a result.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from resultsfw import Extraction, Limits, Object, Problem, ProblemCode, Run, format_names
from resultsfw.errors import NotFoundError
from resultsfw.images import SIDECAR_NET
from resultsfw.option_types import Quantity
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.sidecars import describe_end, has_ended, may_start_again, read_digest
from resultsfw_backends._record_values import CompressedValue, compressed
from resultsfw_backends._results_sidecar import CompressingConfig, SidecarImage, add_sidecar
from resultsfw_backends._sidecar_log import declared_names
from resultsfw_backends._sidecar_reader import read_records, refuse_to_read
from resultsfw_sidecar import wire as wires

__all__ = [
    "ENV_ACCOUNT",
    "VALUE_BYTES",
    "VOLUME",
    "ObjectConfig",
    "Written",
    "add_writer",
    "extract_written",
    "mapping",
]

ENV_ACCOUNT: Final = "RESULTSFW_SERVICE_ACCOUNT"

VALUE_BYTES: Final = 1_048_576
"""Maximum bytes of all values of one object as they are stored and not yet encoded, without its keys."""

_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Path at which Kubernetes mounts a token, unless something else is mounted there."""

VOLUME: Final = "resultsfw-account"
_EXPIRY: Final = 600
"""Seconds that a token is valid; the minimum. The kubelet renews it."""


class ObjectConfig(CompressingConfig):
    """Options of a backend whose sidecar writes an object of the API server."""

    image: SidecarImage = SIDECAR_NET
    """The sidecar's image; it needs TLS."""
    memory: Quantity = "64Mi"
    """Memory request and limit: the sidecar holds all results of the run at once."""


def add_writer(
    run: Run,
    pod: Object,
    config: ObjectConfig,
    *,
    limits: Limits,
    transport: str,
    env: Mapping[str, str],
    room: int = VALUE_BYTES,
) -> int:
    """Add the sidecar, and a volume with a token of the pod's service account that only the sidecar mounts.

    Args:
        run: The run.
        pod: The pod; it is changed.
        config: The backend's options.
        limits: Limits for the sidecar, in bytes.
        transport: The sidecar's module that writes the object.
        env: Its variables.
        room: Bytes that all values may have together as they are stored.

    Returns:
        The wire version.
    """
    if not config.compress:  # values are stored as they were written
        limits = Limits(result_bytes=min(limits.result_bytes, room), run_bytes=min(limits.run_bytes, room))
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": _EXPIRY}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    add_sidecar(
        run,
        pod,
        config,
        limits=limits,
        wire=config.wire_version,
        transport=transport,
        env=[{"name": name, "value": value} for name, value in {**env, ENV_ACCOUNT: _ACCOUNT}.items()],
        mounts=[{"name": VOLUME, "mountPath": _ACCOUNT, "readOnly": True}],
        volumes=[{"name": VOLUME, "projected": {"sources": sources}}],
    )
    return config.wire_version


@dataclass(frozen=True, slots=True)
class Written:
    """What the sidecar wrote, as it was found.

    Attributes:
        records: The records; "" if there are none.
        texts: Values by key, as text.
        encoded: Values by key, as base64.
    """

    records: object
    texts: object
    encoded: object

    def value(self, record: dict[str, Any]) -> str | CompressedValue | None:
        """Return the value under the key that a record names; ``None`` if there is none."""
        key = record.get("key")
        if not isinstance(key, str):
            return None
        if "encoding" in record:
            return compressed(record, mapping(self.encoded).get(key))
        if isinstance(value := mapping(self.texts).get(key), str):
            return value
        return _decoded(mapping(self.encoded).get(key))

    @property
    def stored_bytes(self) -> int:
        """Bytes of all values as they are stored, before they are encoded."""
        texts, encoded = mapping(self.texts).values(), mapping(self.encoded).values()
        return sum(len(text.encode("utf-8", "replace")) for text in texts if isinstance(text, str)) + sum(
            len(text) // 4 * 3 - text[-2:].count("=") for text in encoded if isinstance(text, str)
        )


def extract_written(
    run: Run,
    pod: Object,
    *,
    backend: str,
    about: str,
    wire: int,
    limits: Limits,
    find: Callable[[], Written],
    room: int | None = VALUE_BYTES,
    wait: bool = False,
) -> Extraction:
    """Read what the sidecar wrote into an object, if the sidecar's termination message has its digest.

    Args:
        run: The run.
        pod: The pod, as last seen.
        backend: The backend's name, for hints.
        about: The object, for messages: ``ConfigMap "x"``.
        wire: The wire version of the sidecar.
        limits: Maximum bytes of one value, and of all values together.
        find: Reads the object; raises NotFoundError if there is none.
        room: Bytes that all values may have together as they are stored, if that is the same for all runs.
        wait: The object may be found older than it is: with another digest it is read again.
    """
    if (nothing := refuse_to_read(pod, wire=wire, known=(wires.WIRE, wires.COMPRESSED))) is not None:
        return nothing
    if not has_ended(run, pod, RESULTS_SIDECAR):
        return _nothing(
            run, "the results sidecar has not ended, so nobody can tell what it wrote", too_early=True
        )
    if (proof := read_digest(pod, RESULTS_SIDECAR)) is None:
        why = f"the results sidecar did not write {about}: {describe_end(pod, RESULTS_SIDECAR)}"
        return _nothing(run, why, too_early=may_start_again(pod, RESULTS_SIDECAR))
    try:
        found = find()
    except NotFoundError:
        return _nothing(run, f"{about} is not there, though the results sidecar had written it")
    records = str(found.records or "").encode("utf-8", "backslashreplace")
    if (has := f"sha256:{hashlib.sha256(records).hexdigest()}") != proof:
        why = (
            f"{about} is not as the results sidecar wrote it: its records have the digest {has}, "
            f"and the sidecar's termination message says {proof}; somebody else who may write it did"
        )
        return _nothing(run, why, code=ProblemCode.TRANSPORT_CORRUPT, too_early=wait)
    read = read_records(run, pod, records, whose=about, limits=limits, wire=wire, resolve=found.value)
    transports = tuple(replace(usage, used=found.stored_bytes, budget=room) for usage in read.transports)
    kind = about.partition(" ")[0]
    problems = tuple(_advised(problem, kind, backend, wire) for problem in read.problems)
    return replace(read, transports=transports, problems=problems)


def _nothing(
    run: Run, why: str, *, too_early: bool = False, code: ProblemCode = ProblemCode.TRANSPORT_INCOMPLETE
) -> Extraction:
    """Return an extraction without results, with the reason and the names of the results."""
    names: Sequence[str] = [
        name if step is None else f"{step}.{name}" for step, name in declared_names(run).values()
    ]
    problem = Problem(code=code, message=f"{why}; nothing is known of {format_names(names)}")
    return Extraction(problems=(problem,), too_early=too_early)


def _decoded(text: object) -> str | None:
    """Return a value that is stored as base64; ``None`` if it is no such text."""
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def mapping(value: object) -> dict[str, Any]:
    """Return a part of an object as a mapping; proxies may return something else."""
    return value if isinstance(value, dict) else {}


def _advised(problem: Problem, kind: str, backend: str, wire: int) -> Problem:
    """Add a hint to values that are too large for an object, which no flag changes."""
    if problem.limit != VALUE_BYTES:
        return problem
    less = (
        "" if wire == wires.COMPRESSED else f'"compress: true" in config.{backend} lets it hold more text; '
    )
    return replace(problem, hint=f"a {kind} holds no more; {less}a backend that delivers by reference does")
