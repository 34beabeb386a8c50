"""Define the plain data that core, backends and reconcilers pass to each other."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from resultsfw import jsons
from resultsfw.errors import ClusterError

__all__ = [
    "ARTIFACTS",
    "Capabilities",
    "CollectionOutcome",
    "ExtractedResult",
    "Extraction",
    "Limits",
    "Permission",
    "Problem",
    "ProblemCode",
    "Reference",
    "Result",
    "ResultSpec",
    "ResultType",
    "Run",
    "Stamp",
    "Step",
    "StepResultRef",
    "TransportUsage",
    "Value",
    "Verification",
]

ResultType = Literal["string", "array", "object"]
Value = str | list[str] | dict[str, str]

ARTIFACTS: Final = "artifacts/provenance.json"
"""Name under which provenance of artifacts is delivered: its file, below the folder of the Step or Task.
No result can have this name."""


@dataclass(frozen=True, slots=True)
class StepResultRef:
    """Names a result of a Step."""

    step: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSpec:
    """A declared result.

    Attributes:
        name: The result's name.
        type: The declared type.
        properties: Keys that an object result must have.
        from_step: The Step result that a Task result is taken from (``value: $(steps.S.results.R)``).
    """

    name: str
    type: ResultType = "string"
    properties: tuple[str, ...] = ()
    from_step: StepResultRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A Step: its name, its container, and what it writes.

    Attributes:
        name: The Step's name.
        container: The name of its container.
        results: The results it declares.
        artifacts: Whether it writes provenance of its artifacts (Tekton's ``$(step.artifacts.path)``), to be
            delivered as `ARTIFACTS`.
    """

    name: str
    container: str
    results: tuple[ResultSpec, ...] = ()
    artifacts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt of a run: what a backend needs to know to deliver its results.

    Attributes:
        namespace: The namespace of the run and of its pod.
        name: The run's name (a TaskRun, or an embedder's own kind).
        uid: The run's UID.
        attempt: 0 for the first attempt, one more for each retry.
        results: The results that the Task declares, in order.
        steps: The Steps, in order of execution.
        artifacts: Whether a Step writes provenance of the Task's artifacts (Tekton's ``$(artifacts.path)``),
            to be delivered as `ARTIFACTS`.
        spec: What is run, as JSON: a Task's spec as the status of its TaskRun has it; ``None`` if an embedder
            does not say. Signed statements hold its digest.
    """

    namespace: str
    name: str
    uid: str
    attempt: int = 0
    results: tuple[ResultSpec, ...] = ()
    steps: tuple[Step, ...] = ()
    artifacts: bool = False
    spec: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def spec_digest(self) -> str:
        """Return SHA-256, in hexadecimal, of the canonical JSON of ``spec``; of ``null`` without one.

        It is computed at each call.
        """
        return hashlib.sha256(jsons.canonical(self.spec)).hexdigest()

    @property
    def written_results(self) -> tuple[ResultSpec, ...]:
        """Return the Task results that Steps write; the others are taken from Step results."""
        return tuple(result for result in self.results if result.from_step is None)

    @property
    def writes_artifacts(self) -> bool:
        """Return whether provenance of artifacts is to be delivered: the Task's, or a Step's."""
        return self.artifacts or any(step.artifacts for step in self.steps)

    @property
    def declares_results(self) -> bool:
        """Return whether there is anything to deliver: results, or provenance of artifacts."""
        return bool(self.results) or any(step.results for step in self.steps) or self.writes_artifacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Size limits, in bytes of UTF-8.

    Attributes:
        result_bytes: The most one value may have.
        run_bytes: The most all values of one run may have together.
    """

    result_bytes: int
    run_bytes: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """How a pod was prepared. The pod is read by it, whatever the flags say later.

    Attributes:
        backend: The backend's name.
        wire: The version of the backend's format, as its ``prepare_pod`` returned it.
        max_result_size: The flag ``max-result-size`` when the pod was prepared, in bytes.
    """

    backend: str
    wire: int
    max_result_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Refers to a value that the backend stores outside the cluster.

    Attributes:
        backend: The backend that dereferences it.
        location: The value's address, ``[ROOT/]NAMESPACE/UID/NAME``: namespace and uid of the run that wrote
            it, and a name. ROOT is the backend's own, such as a URL without user and query.
        size: The value's size in bytes.
        digest: ``sha256:`` and the hex digest of the stored bytes: the value's, unless ``encryption`` is set.
            Then they are at most a 16th and 4096 more than the value has.
        media_type: The value's media type.
        encryption: How the backend decrypts what is stored (hook ``decrypt``), without secrets; "" if that is
            the value itself.
    """

    backend: str
    location: str
    size: int
    digest: str
    media_type: str = "text/plain; charset=utf-8"
    encryption: str = ""

    @property
    def root(self) -> str:
        """Return what precedes NAMESPACE/UID/NAME in the location, without the slash."""
        return "/".join(self.location.split("/")[:-3])

    @property
    def namespace(self) -> str:
        """Return the namespace of the run that wrote the value; "" if the location does not say it."""
        return _from_end(self.location, 3)

    @property
    def uid(self) -> str:
        """Return the uid of the run that wrote the value; "" if the location does not say it."""
        return _from_end(self.location, 2)

    @property
    def name(self) -> str:
        """Return the value's name among those of its run."""
        return _from_end(self.location, 1)


def _from_end(location: str, index: int) -> str:
    segments = location.split("/")
    return segments[-index] if index <= len(segments) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedResult:
    """One value as a backend read it.

    Attributes:
        name: The result's name, or `ARTIFACTS`.
        value: The text exactly as the Step wrote it, or a reference to it; of artifacts always the text.
        step: The Step that declares the result; ``None`` if the Task declares it.
        source: What the value was read from, for people: ``termination message of container "step-build"``.
    """

    name: str
    value: str | Reference
    step: str | None = None
    source: str


class ProblemCode(StrEnum):
    """Says why a result, or all results of a run, did not arrive intact."""

    RESULT_TOO_LARGE = "ResultTooLarge"
    """One value is larger than the limit of a value."""
    RUN_TOO_LARGE = "RunTooLarge"
    """The values together are larger than the limit of a run."""
    OBJECT_TOO_LARGE = "ObjectTooLarge"
    """The object with the values is larger than the API server stores."""
    TRANSPORT_CUT = "TransportCut"
    """The data was cut at a known size limit; the rest is lost."""
    TRANSPORT_INCOMPLETE = "TransportIncomplete"
    """The data lacks the end that it must have."""
    TRANSPORT_CORRUPT = "TransportCorrupt"
    """The data contains something that its format does not allow, or a digest is wrong."""
    TRANSPORT_FOREIGN = "TransportForeign"
    """The data is of another pod or another attempt."""
    TRANSPORT_UNREADABLE = "TransportUnreadable"
    """The data could not be read: forbidden, gone, or failing until the last attempt."""
    BACKEND_FAULTY = "BackendFaulty"
    """A hook of the backend, or of an extension, has a programming error; set by the core."""
    NOT_UTF8 = "NotUTF8"
    """The value is not UTF-8."""
    NOT_REGULAR_FILE = "NotRegularFile"
    """The result's file is a FIFO, a device, a directory or a socket."""
    OUTSIDE_FOLDER = "OutsideFolder"
    """The result's file is a link that leads out of its folder."""
    FILE_UNREADABLE = "FileUnreadable"
    """The result's file could not be read in the pod."""
    TYPE_MISMATCH = "TypeMismatch"
    """The value is not of its declared type."""
    MISSING_KEYS = "MissingKeys"
    """An object result lacks keys that its ``properties`` declare."""
    WITHHELD = "Withheld"
    """An extension withholds the result."""
    UNVERIFIED = "Unverified"
    """The result is not what was signed in the pod, or nothing proves that it is."""
    MISSING = "Missing"
    """No Step wrote the result, and the flag ``missing-results`` is ``fail``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Describes why something did not arrive intact.

    Attributes:
        code: The kind of problem.
        message: For people: names the result if it is known; says size and limit if it is about size.
        result: The result's name, if known.
        step: The Step that declares the result; ``None`` if the Task does.
        size: The actual size in bytes (at least), if it is about size.
        limit: The allowed size in bytes, if it is about size.
        hint: What to do next, if there is anything; printed once for problems with the same hint.
    """

    code: ProblemCode
    message: str
    result: str | None = None
    step: str | None = None
    size: int | None = None
    limit: int | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportUsage:
    """What one container's transport carried; ``resultsfw explain`` shows it.

    Attributes:
        container: The container's name.
        transport: The transport: ``termination message``, ``log``.
        used: Bytes that it carried.
        budget: Bytes that it can carry; ``None`` if there is no fixed limit.
        results: Names of the results it carried; a Step's own as ``step-NAME.RESULT``.
        cut: Whether the data was cut.
        written: Bytes of these results as the Steps wrote them, if any travelled compressed.
    """

    container: str
    transport: str
    used: int
    budget: int | None = None
    results: tuple[str, ...] = ()
    cut: bool = False
    written: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether the results of a run are those that were signed in its pod, as a condition shows it.

    Attributes:
        status: ``Unknown`` as long as the results were not read.
        reason: One word, for programs.
        message: For people; names the results that differ.
    """

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """Everything a backend read. The core ignores undeclared names; of two equal names, the later wins.

    Texts named `ARTIFACTS` that differ are all used: Tekton merges what several Steps wrote for their Task.

    Attributes:
        results: The values.
        problems: Why other results did not arrive whole.
        transports: What each container's transport carried, for ``resultsfw explain``. May be empty.
        too_early: The pod is still writing results, and a later read will find more. The core then reads
            again; what was read now counts only in the last attempt.
        read_error: Why the rest could not be read now, if another attempt may succeed. The core raises it
            while there is another attempt; results and problems count only in the last one.
        envelope: The signed statement about the results, as the pod's signer made it; "" without one. Not
            verified.
        envelope_fault: Why the signer could not sign; "" if it did, or if there is none.
        tekton_signatures: What the signer made for verifiers of Tekton's format, by key. Not verified.
        verification: The outcome of the extension that verifies signatures, if there is one.
    """

    results: tuple[ExtractedResult, ...] = ()
    problems: tuple[Problem, ...] = ()
    transports: tuple[TransportUsage, ...] = ()
    too_early: bool = False
    read_error: ClusterError | None = None
    envelope: str = ""
    envelope_fault: str = ""
    tekton_signatures: Mapping[str, str] = field(default_factory=dict)
    verification: Verification | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A result that arrived intact and has its declared type."""

    name: str
    type: ResultType
    value: Value | Reference
    size: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionOutcome:
    """The outcome of reading one pod, with sizes and types checked.

    Attributes:
        results: Results of the Task, in declaration order.
        step_results: Results of Steps by Step name, in declaration order.
        problems: Empty if everything that Steps wrote arrived; the first one gives the run's reason.
        ignored: Names of values that are not declared.
        transports: What each container's transport carried.
        artifacts: Provenance of artifacts, by Step; ``None``: the Task's. Mappings with ``inputs`` and
            ``outputs``, as a status contains them.
        warnings: What a Step wrote and Tekton leaves out without failing the run: malformed provenance.
        envelope: The signed statement about the results, as in `Extraction`. Not verified.
        envelope_fault: Why the pod's signer could not sign, as in `Extraction`.
        verification: The outcome of verifying signatures, if an extension does that.
    """

    results: tuple[Result, ...] = ()
    step_results: Mapping[str, tuple[Result, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    ignored: tuple[str, ...] = ()
    transports: tuple[TransportUsage, ...] = ()
    artifacts: Mapping[str | None, Mapping[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    envelope: str = ""
    envelope_fault: str = ""
    verification: Verification | None = None

    @property
    def ok(self) -> bool:
        """Return whether the run may succeed, as far as results are concerned."""
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """A permission that the controller's identity needs for a backend, and its purpose.

    Attributes:
        verb: The verb.
        resource: The resource, and its subresource after a slash.
        group: The API group.
        why: The purpose, for people.
        option: The option of the backend with which alone it is needed; "" if it is needed anyway.
    """

    verb: str
    resource: str
    group: str = ""
    why: str
    option: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """A backend's description of itself.

    Attributes:
        summary: One line for ``resultsfw backends``.
        delivery: Whether `Extraction` has the values themselves or may have references to them.
        result_bytes: Upper limit of one value in bytes; ``None``: only ``max-result-size`` applies.
        run_bytes: Upper limit of all values of a run together, in bytes; ``None``: only the size limit of an
            API object applies.
        permissions: Permissions that the controller needs for the backend.
        external_state: Where the backend stores data outside the pod. ``no``: nowhere. ``owned``: in objects
            that the run owns, which Kubernetes deletes with it. ``elsewhere``: in a store that does not know
            the run; a finalizer keeps the run until the backend has purged the data.
        verified: Whether the backend notices everything that is damaged, dropped or added in transit: its
            format has digests and a recognisable end.
        api_version: Version of the plugin contract that the backend was written for.
        artifacts: Whether the backend delivers provenance of artifacts (`Run.artifacts`, `Step.artifacts`).
            Without it, runs that write any are refused.
        plain_pods: Whether the backend serves pods without Tekton's entrypoint (`resultsfw.pods.is_plain`).
            Without it, such pods are refused.
        volumes: Kinds of volumes that its pods mount beyond what Steps have (``persistentVolumeClaim``,
            ``hostPath``).
    """

    summary: str
    delivery: Literal["value", "reference"] = "value"
    result_bytes: int | None = None
    run_bytes: int | None = None
    permissions: tuple[Permission, ...] = ()
    external_state: Literal["no", "owned", "elsewhere"] = "no"
    verified: bool = False
    api_version: int = 1
    artifacts: bool = False
    plain_pods: bool = False
    volumes: tuple[str, ...] = ()
