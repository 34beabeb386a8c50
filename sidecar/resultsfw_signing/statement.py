"""The statement that a pod signs: an in-toto Statement v1 that names each result, with its digest.

Every result that a Step may write, and all provenance of artifacts, is in exactly one of `subject`, `absent`
and `refused`. So two values cannot be swapped, no result can be left out or added, and the values of another
run, attempt or pod do not fit. Standard library only, for the sidecar and for verifiers.

Source: https://github.com/in-toto/attestation, spec/v1/statement.md and resource_descriptor.md.
"""

from json.encoder import encode_basestring_ascii as _quoted

from resultsfw_sidecar import wire
from resultsfw_sidecar.digest import sha256

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEY_SOCKET = "socket"
"""Key of the JSON in the variable `wire.ENV_SIGNING`: address of the SPIFFE Workload API, `unix:///...`."""
KEY_DOMAIN = "domain"
"""The trust domain, such as `example.org`."""
KEY_RUN = "run"
"""An object with `namespace`, `name`, `uid`, `attempt`."""
KEY_SPEC_DIGEST = "specDigest"
"""SHA-256 of the Task's spec, in hexadecimal; empty if it is unknown."""
KEY_TYPES = "types"
"""Types of the results that are not strings, by the name of their subject."""
KEY_WAIT = "wait"
"""Seconds to wait at most, at the end of the run, for an identity."""
KEY_TEKTON = "tekton"
"""Whether to make Tekton's keys, too."""

ANNOTATION = "resultsfw.dev/signed"
"""Annotation of a pod whose results are signed; its value is one of the three below."""
SIGNED = "1"
SIGNED_WITH_TEKTON_KEYS = "tekton"
SIGNED_BY_ENTRYPOINT = "entrypoint"

SIGNER_CONTAINER = "resultsfw-signer"
"""Container that signs where the results sidecar does not."""

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://resultsfw.dev/results/v1"

TASK_SPEC = "task-spec"
"""Name of the first subject, the Task's spec."""
UNKNOWN_SPEC = sha256().hexdigest()
"""Its digest if the spec's digest is unknown: that of no bytes."""

FAULT_NO_AGENT = "NoAgent"
"""Why there is no signature: nothing answers at the socket."""
FAULT_NO_IDENTITY = "NoIdentity"
"""Likewise: the agent has no certificate with the wanted SPIFFE ID for this pod."""
FAULT_KEY = "UnsupportedKey"
"""Likewise: the certificate's key, or its chain, cannot be used."""
FAULT_LIBRARY = "NoLibrary"
"""Likewise: the image cannot sign."""
FAULT_INTERNAL = wire.INTERNAL
"""Likewise: an error of the signer."""

STRING = "string"
ARRAY = "array"
OBJECT = "object"
ARTIFACTS = "artifacts"
"""Type of provenance."""

MAX_FIELD = 253
"""Characters of each name or uid of a run and its pod; Kubernetes allows no more."""
MAX_SPIFFE_ID = 2048
"""Bytes of a SPIFFE ID, by its specification."""
MAX_CERTIFICATES = 8
MAX_CERTIFICATE_BYTES = 16_384
"""Bytes of all certificates of an envelope together, DER."""
MAX_SIGNATURE_BYTES = 512
"""Bytes of a signature; one of RSA with 4096 bits has as many."""
MAX_REASON = 64
"""Characters of the reason why a result was refused."""

_ENTRY = 192  # bytes of an entry of the statement beside the name: keys, digest, type, size, punctuation
_PUNCTUATION = 32  # bytes around a key and its value in JSON
_FRAME = 1024  # bytes of a statement's or an envelope's keys, constants, numbers and punctuation


class RunIdentity:
    """The run whose results are signed.

    Attributes:
        namespace: Of the TaskRun.
        name: Of the TaskRun.
        uid: Of the TaskRun.
        attempt: From 0, one more for each retry.
    """

    def __init__(self, namespace: str, name: str, uid: str, attempt: int) -> None:
        self.namespace = namespace
        self.name = name
        self.uid = uid
        self.attempt = attempt


class Statement:
    """Collects what becomes of each result, and writes the statement.

    Args:
        run: The run.
        pod: The uid of its pod.
        spec_digest: SHA-256 of the Task's spec in hexadecimal, or empty.
        types: Types of the results that are not strings, by subject.
        version: The wire version of the records.
    """

    def __init__(
        self,
        run: RunIdentity,
        pod: str,
        *,
        spec_digest: str = "",
        types: "Mapping[str, str] | None" = None,
        version: int = wire.WIRE,
    ) -> None:
        self._run = run
        self._pod = pod
        self._spec_digest = spec_digest
        self._types = types or {}
        self._version = version
        self._subjects: dict[str, str] = {}
        self._absent: dict[str, None] = {}
        self._refused: dict[str, str] = {}

    def __contains__(self, subject: str) -> bool:
        return subject in self._subjects or subject in self._absent or subject in self._refused

    def deliver(self, subject: str, *, digest: str, size: int, encrypted: bool = False) -> None:
        """Adds a delivered result.

        Args:
            subject: Its name, by `result_subject` or `artifacts_subject`.
            digest: SHA-256 in hexadecimal of the value's bytes as the Step wrote them; of a reference, of the
                stored bytes.
            size: Bytes of the value.
            encrypted: Whether the digest is that of the encrypted value.
        """
        kind = ARTIFACTS if subject.endswith("/" + wire.ARTIFACTS) or subject == wire.ARTIFACTS else STRING
        how = ',"encrypted":true' if encrypted else ""
        self._subjects[subject] = (
            f'{{"name":{_quoted(subject)},"digest":{{"sha256":{_quoted(digest)}}},"annotations":'
            f'{{"type":{_quoted(self._types.get(subject, kind))},"bytes":{size}{how}}}}}'
        )

    def leave_out(self, subject: str) -> None:
        """Adds a result that no Step wrote."""
        self._absent[subject] = None

    def refuse(self, subject: str, reason: str) -> None:
        """Adds a result that was written and is not delivered, with the reason of its record."""
        short = len(reason) <= MAX_REASON and reason.isascii() and reason.isalnum()
        self._refused[subject] = reason if short else wire.INTERNAL

    def payload(self) -> bytes:
        """Returns the statement: JSON in ASCII, without blanks."""
        run = (
            f'{{"namespace":{_quoted(self._run.namespace)},"name":{_quoted(self._run.name)}'
            f',"uid":{_quoted(self._run.uid)},"attempt":{self._run.attempt}}}'
        )
        spec = f'{{"name":"{TASK_SPEC}","digest":{{"sha256":{_quoted(spec_subject(self._spec_digest))}}}}}'
        refused = ",".join(f"{_quoted(name)}:{_quoted(reason)}" for name, reason in self._refused.items())
        return (
            f'{{"_type":"{STATEMENT_TYPE}","subject":[{",".join([spec, *self._subjects.values()])}]'
            f',"predicateType":"{PREDICATE_TYPE}","predicate":{{"run":{run}'
            f',"pod":{{"uid":{_quoted(self._pod)}}},"wire":{self._version}'
            f',"absent":[{",".join(map(_quoted, self._absent))}],"refused":{{{refused}}}}}}}'
        ).encode()


def result_subject(name: str, step: str | None = None) -> str:
    """Returns the name of a result's subject.

    Args:
        name: The result's name.
        step: The name of the Step that declares it; None if the Task does.
    """
    return f"results/{name}" if step is None else f"steps/{step}/results/{name}"


def artifacts_subject(step: str | None = None) -> str:
    """Returns the name of the subject of a Step's provenance of artifacts, or of the Task's."""
    return wire.ARTIFACTS if step is None else f"steps/{step}/{wire.ARTIFACTS}"


def pod_spiffe_id(domain: str, namespace: str, name: str, pod: str) -> str:
    """Returns the SPIFFE ID of a run's pod. Any other pod with the same labels has another.

    Args:
        domain: The trust domain.
        namespace: Of the TaskRun.
        name: Of the TaskRun.
        pod: The pod's uid.
    """
    return f"spiffe://{domain}{pod_path(namespace, name, pod)}"


def pod_path(namespace: str, name: str, pod: str) -> str:
    """Returns the path of that SPIFFE ID."""
    return f"{_run_path(namespace, name)}/pod/{pod}"


def run_spiffe_id(domain: str, namespace: str, name: str) -> str:
    """Returns the SPIFFE ID that Tekton's verifiers expect, which all pods of that name share."""
    return f"spiffe://{domain}{_run_path(namespace, name)}"


def _run_path(namespace: str, name: str) -> str:
    return f"/ns/{namespace}/taskrun/{name}"


def spec_subject(spec_digest: str) -> str:
    """Returns the digest of the subject `TASK_SPEC`."""
    return spec_digest or UNKNOWN_SPEC


def longest_payload(subjects: "Iterable[str]") -> int:
    """Returns the bytes that a statement about these subjects never exceeds.

    Args:
        subjects: Names of all results that a Step may write, and of all provenance.
    """
    # A character has twelve bytes at most in ASCII: two escapes.
    fields = 4 * 12 * MAX_FIELD
    return _FRAME + fields + sum(len(_quoted(subject)) + _ENTRY for subject in subjects)


def longest_envelope(subjects: "Iterable[str]") -> int:
    """Returns the bytes that the envelope of such a statement never exceeds.

    Args:
        subjects: See `longest_payload`.
    """
    binary = longest_payload(subjects) + MAX_SIGNATURE_BYTES + MAX_CERTIFICATE_BYTES
    return binary * 4 // 3 + 4 * (MAX_CERTIFICATES + 3) + MAX_SPIFFE_ID + _FRAME


def record_room(annotations: "Mapping[str, str]", subjects: "Iterable[str]") -> int:
    """Returns the bytes that the signature's record needs at most, line end included; 0 in an unsigned pod.

    Args:
        annotations: Of the pod.
        subjects: See `longest_payload`.
    """
    signed = annotations.get(ANNOTATION)
    if signed is None:
        return 0
    names = tuple(subjects)
    # The envelope is text in JSON: each of its quotation marks has a backslash there. The frame covers them.
    room = longest_envelope(names) + _FRAME
    if signed == SIGNED_WITH_TEKTON_KEYS:
        # Twice each name, in the manifest and as a key; the certificate once more, as PEM in lines.
        room += _FRAME + MAX_CERTIFICATE_BYTES * 3 // 2
        room += sum(2 * len(_quoted(name)) + MAX_SIGNATURE_BYTES * 4 // 3 + _PUNCTUATION for name in names)
    return room
