"""The plain data that core, backends and reconcilers hand to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from resultsfw.errors import ClusterError

__all__ = [
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
]

ResultType = Literal["string", "array", "object"]
Value = str | list[str] | dict[str, str]


@dataclass(frozen=True, slots=True)
class StepResultRef:
    """Names the result ``result`` of the Step ``step``."""

    step: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSpec:
    """One declared result.

    Attributes:
        name: As declared.
        type: What the value must be.
        properties: The keys an object result must have.
        from_step: The Step result a Task result is taken from (``value: $(steps.S.results.R)``).
    """

    name: str
    type: ResultType = "string"
    properties: tuple[str, ...] = ()
    from_step: StepResultRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A Step, the container it runs in, and the results it declares itself."""

    name: str
    container: str
    results: tuple[ResultSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a backend may know of the run whose results it carries.

    Attributes:
        namespace: Where run and pod live.
        name: Of the run (a TaskRun, or an embedder's own kind).
        uid: Of the run.
        attempt: 0 for the first try, one more for each retry.
        results: Declared by the Task, in order.
        steps: In order of execution.
    """

    namespace: str
    name: str
    uid: str
    attempt: int = 0
    results: tuple[ResultSpec, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def written_results(self) -> tuple[ResultSpec, ...]:
        """The Task results that Steps write themselves; the others are taken from Step results."""
        return tuple(result for result in self.results if result.from_step is None)

    @property
    def declares_results(self) -> bool:
        """Whether there is any result to carry."""
        return bool(self.results) or any(step.results for step in self.steps)


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
    """How a pod was made to hand out its results; reading follows it whatever the flags say by then.

    Attributes:
        backend: Its name.
        wire: The version of the backend's own format, as its ``prepare_pod`` returned it.
        max_result_size: Bytes a value may have, as the flag was when the pod was made.
    """

    backend: str
    wire: int
    max_result_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A value that stayed where the backend keeps it.

    Attributes:
        backend: The backend that dereferences it.
        location: Its address, in the backend's own terms, without credentials.
        size: Bytes of the value.
        digest: ``sha256:`` and the hex digest of the value's bytes.
        media_type: Of the value.
    """

    backend: str
    location: str
    size: int
    digest: str
    media_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedResult:
    """One value as a backend found it: its name, its text, and where it came from.

    Attributes:
        name: Of the result.
        value: The text exactly as the Step wrote it, or a reference to it.
        step: The Step whose own result it is; ``None`` for a Task result.
        source: The carrier, for people: ``termination message of container "step-build"``.
    """

    name: str
    value: str | Reference
    step: str | None = None
    source: str


class ProblemCode(StrEnum):
    """Why a result, or a run's results, did not come whole."""

    RESULT_TOO_LARGE = "ResultTooLarge"
    """One value is over the limit of a value."""
    RUN_TOO_LARGE = "RunTooLarge"
    """The values together are over the limit of a run."""
    OBJECT_TOO_LARGE = "ObjectTooLarge"
    """The object that would hold the values is over what the API server stores."""
    TRANSPORT_CUT = "TransportCut"
    """The transport was cut short at its budget; what lay behind the cut is gone."""
    TRANSPORT_INCOMPLETE = "TransportIncomplete"
    """The transport has no end where it must have one."""
    TRANSPORT_CORRUPT = "TransportCorrupt"
    """The transport holds something that is not of its format, or its digest is wrong."""
    TRANSPORT_FOREIGN = "TransportForeign"
    """The transport speaks of another pod or attempt."""
    TRANSPORT_UNREADABLE = "TransportUnreadable"
    """The transport could not be read: forbidden, gone, or failing until it was given up."""
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
    """An object lacks keys that its ``properties`` name."""
    WITHHELD = "Withheld"
    """An extension refused to let it pass."""
    MISSING = "Missing"
    """No Step wrote it, and the flag ``missing-results`` says that this fails a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something did not come whole.

    Attributes:
        code: The kind of problem.
        message: For a person: names the result where it is known, prints both numbers.
        result: The result's name, where it is known.
        step: The Step whose own result it is.
        size: Bytes there are (at least), where it is about size.
        limit: Bytes there may be, where it is about size.
        hint: What to do next, where there is something; said once for problems that share it.
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
    """What one container's transport carried: the facts behind ``resultsfw explain``.

    Attributes:
        container: Its name.
        transport: What carried: ``termination message``, ``log``.
        used: Bytes it carried.
        budget: Bytes it may carry; ``None`` where there is no fixed wall.
        results: Names it carried, a Step's own as ``step-NAME.RESULT``.
        cut: Whether it was cut short.
    """

    container: str
    transport: str
    used: int
    budget: int | None = None
    results: tuple[str, ...] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """All a backend hands over. Undeclared names are ignored by the core; of two, the later wins.

    Attributes:
        results: The values.
        problems: Why other results did not arrive whole.
        transports: What each container's transport carried, for ``resultsfw explain``. May be empty.
        too_early: The pod is still writing results, and a later read will find more. The core then reads
            again; what was read now counts only in the last attempt.
        read_error: Why the rest could not be read now, if another attempt may succeed. The core raises it
            while there is another attempt; results and problems count only in the last one.
    """

    results: tuple[ExtractedResult, ...] = ()
    problems: tuple[Problem, ...] = ()
    transports: tuple[TransportUsage, ...] = ()
    too_early: bool = False
    read_error: ClusterError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One result that arrived whole and is of its declared type."""

    name: str
    type: ResultType
    value: Value | Reference
    size: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionOutcome:
    """The core's verdict over one pod.

    Attributes:
        results: The Task's, in declaration order.
        step_results: The Steps' own, by Step name, in declaration order.
        problems: Empty when everything a Step wrote arrived; the first one is the verdict.
        ignored: Names that came and are declared nowhere.
        transports: What each container's transport carried.
    """

    results: tuple[Result, ...] = ()
    step_results: Mapping[str, tuple[Result, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    ignored: tuple[str, ...] = ()
    transports: tuple[TransportUsage, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the run may succeed, as far as results go."""
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One RBAC rule a backend needs of the controller's identity, and what for."""

    verb: str
    resource: str
    group: str = ""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend says of itself.

    Attributes:
        summary: One line for ``resultsfw backends``.
        delivery: Whether values come themselves or as references.
        result_bytes: The most one value may have; ``None``: only ``max-result-size``.
        run_bytes: The most all values of a run may have; ``None``: only the object's wall.
        permissions: RBAC the controller needs for it.
        external_state: What it keeps outside the pod. ``no``: nothing. ``owned``: objects that the run owns;
            Kubernetes removes them with it. ``elsewhere``: in a store that does not know the run, so that a
            finalizer keeps the run until the backend has purged it.
        verified: Whether what was damaged, dropped or added on the way is noticed: its transport carries
            digests and says where it ends.
        api_version: Of the plugin contract it was written for.
    """

    summary: str
    delivery: Literal["value", "reference"] = "value"
    result_bytes: int | None = None
    run_bytes: int | None = None
    permissions: tuple[Permission, ...] = ()
    external_state: Literal["no", "owned", "elsewhere"] = "no"
    verified: bool = False
    api_version: int = 1
