"""Interpret a results sidecar's log: which results it has, refuses, reports as absent, or lost."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from resultsfw import (
    ARTIFACTS,
    ExtractedResult,
    Limits,
    Object,
    Problem,
    ProblemCode,
    Reference,
    Run,
    format_names,
    result_label,
    result_too_large,
)
from resultsfw_backends._log_lines import Line
from resultsfw_backends._record_values import (
    CompressedValue,
    DamagedError,
    Decompressor,
    TooLargeError,
    Value,
)
from resultsfw_backends._refusals import Origin, refusal_problem, text_of
from resultsfw_backends._signatures import Signature, SignatureRecords
from resultsfw_sidecar import wire as wires

__all__ = ["SidecarLog", "declared_names"]

_FAULTS: Final = 100
"""Faulty lines that are reported one by one; further ones are only counted."""

_HOPELESS: Final = 10_000
"""Further faulty lines after which reading stops: a problem takes more memory than its line."""

_STRANGERS: Final = 1000
"""Undeclared values that are passed on, for the core to log."""

Key = tuple[str, str]
"""Identifies a result in the log: the record's type (``task``, ``step``) and its name."""

_ARTIFACTS: Final = (wires.TYPE_STEP_ARTIFACT, wires.TYPE_TASK_ARTIFACT)
"""Types of lines with artifacts in the log of Tekton's sidecar."""


def declared_names(run: Run) -> dict[Key, Origin]:
    """Return every declared result and provenance of artifacts, by its name in the log."""
    names: dict[Key, Origin] = {(wires.TYPE_TASK, result.name): (None, result.name) for result in run.results}
    for step in run.steps:
        for result in step.results:
            names[wires.TYPE_STEP, f"step-{step.name}.{result.name}"] = (step.name, result.name)
        if step.artifacts:
            names[wires.TYPE_STEP, f"step-{step.name}.{ARTIFACTS}"] = (step.name, ARTIFACTS)
    if run.artifacts:
        names[wires.TYPE_TASK, ARTIFACTS] = (None, ARTIFACTS)
    return names


class SidecarLog:
    """Collect the results of one log: `read` its lines, then `check_complete`.

    Args:
        whose: Where its records are, for messages: ``log of container "x"``.
        pod_uid: The uid of the pod whose log it must be; "" if the pod has none.
        declared: The declared results, from `declared_names`.
        limits: In bytes.
        wire: The wire version of the log; one of `wires.TEKTON` has no start, no end and no digests.
        resolve: Returns the value of a record, which may have only its location.

    Attributes:
        found: The values that arrived intact, by result.
        problems: What went wrong with the others.
        kubelet_error: The kubelet's error in place of the rest of the log; "" if there is none.
    """

    def __init__(
        self,
        *,
        whose: str,
        pod_uid: str,
        declared: dict[Key, Origin],
        limits: Limits,
        wire: int,
        resolve: Callable[[dict[str, Any]], Value | None],
    ) -> None:
        self._whose = whose
        self._resolve = resolve
        self._pod_uid = pod_uid
        self._declared = declared
        self._limits = limits
        self._wire = wire
        self._strict = wire != wires.TEKTON
        self._decompressor = Decompressor(limits)
        self._known = set(declared.values())
        self._accounted: set[Origin] = set()
        self._recorded: dict[Origin, str | Reference | None] = {}
        self._faulty: set[Origin | None] = set()
        self._more_faults = 0
        self._strangers = 0
        self._foreign = False
        self._own_failure = ""
        self._end: Line | None = None
        self._stopped = False
        self._last: Line | None = None
        self._signatures = SignatureRecords(self._known)
        self.kubelet_error = ""
        self.found: dict[Origin, ExtractedResult] = {}
        self.problems: list[Problem] = []

    def read(self, lines: Iterable[Line]) -> None:
        """Read every line. No content of a line raises an error."""
        records: dict[object, Callable[[Line, dict[str, Any]], None]] = {
            wires.TYPE_TASK: self._value,
            wires.TYPE_STEP: self._value,
        }
        if self._strict:
            records |= {
                wires.TYPE_START: self._start,
                wires.TYPE_ABSENT: self._absent,
                wires.TYPE_REFUSED: self._refused,
                wires.TYPE_SIGNATURE: self._signed,
                wires.TYPE_ERROR: self._error,
                wires.TYPE_END: self._check_end,
            }
        else:
            records |= dict.fromkeys(_ARTIFACTS, self._value)
        for line in lines:
            self._last = line
            if line.kubelet_error:
                self.kubelet_error = line.kubelet_error
            elif line.record is None:
                self._bad_line(line)
            elif (handle := records.get(text_of(line.record.get("type")))) is None:
                self._corrupt(line, "its type is none that a results sidecar prints")
            elif self._end is not None:
                self._corrupt(line, "it comes after the end record")
            else:
                handle(line, line.record)
            if self._more_faults >= _HOPELESS:
                break

    @property
    def compressed(self) -> bool:
        """Whether any value was compressed."""
        return self._decompressor.used

    @property
    def signature(self) -> Signature:
        """The signature over all results, not verified; an empty one if there is not exactly one."""
        return Signature() if self._foreign else self._signatures.found

    @property
    def open(self) -> bool:
        """Whether a running sidecar will print more: it has printed neither its end record nor a failure."""
        return self._strict and self._end is None and not self._own_failure and not self._foreign

    def check_complete(self, state: Object | None, *, outlived: bool = False) -> None:
        """Add the problems of a log that is incomplete, or damaged as a whole.

        Args:
            state: The container's ``terminated``, if it has ended.
            outlived: Whether a Step went on after the sidecar had ended.
        """
        if self._more_faults:
            self._problem(
                ProblemCode.TRANSPORT_CORRUPT,
                f"{self._more_faults} more lines of the {self._whose} cannot be used"
                + ("; reading stopped there" if self._more_faults >= _HOPELESS else ""),
            )
        if self._foreign or self.kubelet_error:
            self._give_up()
            return
        if self._strict and self._end is None:
            self._incomplete(f"it ends without its end record{self._why(state)}")
        elif self._strict:
            if silent := [origin for origin in self._declared.values() if origin not in self._accounted]:
                for step, name in silent:
                    label = result_label(name, step)
                    message = f"the {self._whose} says nothing of {label}"
                    self._problem(ProblemCode.TRANSPORT_CORRUPT, message, (step, name))
            if self._stopped and outlived:
                self._incomplete("the sidecar was told to stop while a Step still ran")
        elif state is None or state.get("exitCode") != 0:
            self._incomplete(f"the sidecar did not end as it does when all is printed{self._why(state)}")
        elif self._last is not None and not self._last.ended:
            self._incomplete("its last line is cut")

    def _give_up(self) -> None:
        """Add the problem of a log of which nothing more can be read."""
        if self._foreign:
            self.found.clear()
        else:
            self._problem(
                ProblemCode.TRANSPORT_UNREADABLE,
                f"the {self._whose} could not be read to its end: the kubelet answered "
                f'"{self.kubelet_error}" in place of it{self._describe_missing()}',
            )

    # One method for each record.

    def _value(self, line: Line, record: dict[str, Any]) -> None:
        name, value, kind = record.get("name"), self._resolve(record), record["type"]
        if not isinstance(name, str) or value is None:
            self._corrupt(line, "its name or value is not a string")
            return
        origin = self._origin(kind, name)
        if isinstance(value, CompressedValue) and (value := self._decompress(line, origin, value)) is None:
            return
        if self._strict and record.get("sha256") != _digest(kind, name, value):
            self._corrupt(line, "its value does not have its digest", origin)
            return
        if origin not in self._known:
            self._strangers += 1
            if self._strangers > _STRANGERS:
                return
        if self._register(line, origin, value):
            self.found[origin] = ExtractedResult(
                name=origin[1], value=value, step=origin[0], source=self._whose
            )

    def _decompress(self, line: Line, origin: Origin, value: CompressedValue) -> str | None:
        """Return the text of a compressed value; ``None``, with its problem added, if it has none."""
        if self._wire != wires.COMPRESSED:
            self._corrupt(line, f"wire version {self._wire} has no compressed values", origin)
            return None
        try:
            return self._decompressor.text(value)
        except DamagedError as error:
            self._corrupt(line, str(error), origin)
        except TooLargeError as error:
            if origin in self._known and origin not in self._accounted:
                self._accounted.add(origin)
                self.problems.append(error.problem(origin[1], origin[0]))
            else:
                self._corrupt(line, "it declares more bytes than the limits allow", origin)
        return None

    def _absent(self, line: Line, record: dict[str, Any]) -> None:
        origin = self._origin_of(line, record)
        if origin in self._known:
            self._register(line, origin, None)

    def _refused(self, line: Line, record: dict[str, Any]) -> None:
        origin = self._origin_of(line, record)
        if origin not in self._known or not self._register(line, origin, None):
            return
        self.problems.append(refusal_problem(record, origin))

    def _signed(self, line: Line, record: dict[str, Any]) -> None:
        if fault := self._signatures.add(record):
            self._corrupt(line, fault)

    def _start(self, line: Line, record: dict[str, Any]) -> None:
        if line.number != 1:
            self._corrupt(line, "it is a second beginning")
        self._check_pod(record)

    def _error(self, _line: Line, record: dict[str, Any]) -> None:
        self._own_failure = f"{text_of(record.get('reason'))}: {text_of(record.get('message'))}"[:400]

    def _check_end(self, line: Line, record: dict[str, Any]) -> None:
        self._end = line
        self._stopped = record.get("why") == wires.WHY_STOPPED
        self._check_pod(record)
        if record.get("count") != line.number - 1:
            self._problem(
                ProblemCode.TRANSPORT_CORRUPT,
                f"the {self._whose} has {line.number - 1} lines before its end "
                f"record, which counts {text_of(record.get('count'))}",
            )
        elif record.get("sha256") != line.digest:
            self._problem(
                ProblemCode.TRANSPORT_CORRUPT,
                f"the {self._whose} does not have the digest its end record gives",
            )

    # What they share.

    def _origin(self, kind: str, name: str) -> Origin:
        if (origin := self._declared.get((kind, name))) is not None:
            return origin
        if kind in _ARTIFACTS:
            return (None if kind == wires.TYPE_TASK_ARTIFACT else name.removeprefix("step-")), ARTIFACTS
        if kind == wires.TYPE_TASK:
            return None, name
        step, _, result = name.removeprefix("step-").partition(".")
        return step, result

    def _register(self, line: Line, origin: Origin, value: str | Reference | None) -> bool:
        """Register a record of a result, with ``None`` if it has no value; return whether it counts.

        A sidecar with digests prints one record for each result. If there is another one, one of the two
        has a damaged name, and it is unknown which.
        """
        if self._strict and origin in self._recorded:
            self._corrupt(line, "an earlier line speaks of the same result", origin)
            if self._recorded[origin] != value:
                self.found.pop(origin, None)
            return False
        self._recorded[origin] = value
        self._accounted.add(origin)
        return True

    def _origin_of(self, line: Line, record: dict[str, Any]) -> Origin | None:
        name, kind = record.get("name"), record.get("of")
        if isinstance(name, str) and kind in (wires.TYPE_TASK, wires.TYPE_STEP):
            return self._origin(kind, name)
        self._corrupt(line, "it names no result")
        return None

    def _check_pod(self, record: dict[str, Any]) -> None:
        if self._pod_uid and record.get("pod") != self._pod_uid and not self._foreign:
            self._foreign = True
            self._problem(
                ProblemCode.TRANSPORT_FOREIGN,
                f'the {self._whose} speaks of pod "{text_of(record.get("pod"))[:80]}", '
                f'and the run\'s pod is "{self._pod_uid}"; it is of another attempt or not of the sidecar',
            )

    def _bad_line(self, line: Line) -> None:
        origin = self._guess(line.name)
        if (
            line.value_bytes is not None
            and line.value_bytes > self._limits.result_bytes
            and origin is not None
        ):
            self._accounted.add(origin)
            self.problems.append(
                result_too_large(origin[1], line.value_bytes, self._limits.result_bytes, step=origin[0])
            )
        else:
            self._corrupt(line, line.fault, origin)

    def _guess(self, name: str | None) -> Origin | None:
        """Return the declared result that a broken line names, if any."""
        if name is None:
            return None
        either = ((wires.TYPE_TASK, name), (wires.TYPE_STEP, name))
        return next((self._declared[key] for key in either if key in self._declared), None)

    def _corrupt(self, line: Line, fault: str, origin: Origin | None = None) -> None:
        of = "" if origin is None else f", of {result_label(origin[1], origin[0])},"
        if origin is not None:
            self._accounted.add(origin)
        # Report every declared result, but not every line of a log that is not a results log at all.
        new = origin in self._known and origin not in self._faulty
        if not new and len(self.problems) >= _FAULTS:
            self._more_faults += 1
            return
        self._faulty.add(origin)
        self._problem(
            ProblemCode.TRANSPORT_CORRUPT,
            f"line {line.number} of the {self._whose}{of} cannot be used: {fault}",
            origin,
        )

    def _incomplete(self, why: str) -> None:
        self._problem(
            ProblemCode.TRANSPORT_INCOMPLETE,
            f"the {self._whose} is not whole: {why}{self._describe_missing()}",
        )

    def _describe_missing(self) -> str:
        """Return the end of a message: which results an incomplete log may have had."""
        silent = [origin for origin in self._declared.values() if origin not in self._accounted]
        if not (self._strict and silent):
            return "; results that a Step wrote may be missing"
        names = [name if step is None else f"{step}.{name}" for step, name in silent]
        return f"; it says nothing of {format_names(names)}"

    def _why(self, state: Object | None) -> str:
        if self._own_failure:
            return f" ({self._own_failure})"
        if state is None:
            return " (the container had not ended)"
        code, reason = state.get("exitCode"), state.get("reason", "no reason")
        return f" (the container ended with exit code {code}: {reason})"

    def _problem(
        self,
        code: ProblemCode,
        message: str,
        origin: Origin | None = None,
        size: int | None = None,
        limit: int | None = None,
    ) -> None:
        step, name = origin if origin is not None else (None, None)
        self.problems.append(
            Problem(code=code, message=message, result=name, step=step, size=size, limit=limit)
        )


def _digest(kind: str, name: str, value: str | Reference) -> str:
    if isinstance(value, Reference):
        value = wires.reference_text(
            value.location, value.size, value.digest, value.media_type, value.encryption
        )
    try:
        return wires.value_digest(kind, name, value.encode())
    except UnicodeEncodeError:
        return "no digest: a lone surrogate"
