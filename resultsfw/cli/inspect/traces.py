"""Trace each declared result: which Steps can write it, what carried it, and how that ended."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from resultsfw.cli.inspect.judged import Judged, exit_codes, may_be_dropped
from resultsfw.cli.output.advice import MESSAGES
from resultsfw.cli.output.show import size_of
from resultsfw.cluster import Object
from resultsfw.messages import CONTAINER_MESSAGE_BYTES, POD_MESSAGE_BYTES, message_budget
from resultsfw.types import CollectionOutcome, Problem, ProblemCode, ResultSpec, Run, Stamp, Step

__all__ = ["RUN_LIMITS", "Budget", "End", "ResultTrace", "budget_of", "is_of_all_signatures", "trace_results"]


class End(StrEnum):
    """What became of a declared result."""

    ARRIVED = "arrived"
    """It is in the run's status."""
    ABSENT = "absent"
    """No Step wrote it."""
    REFUSED = "refused"
    """It was written and is not allowed: too large, of another type, not UTF-8, not what was signed."""
    LOST = "lost"
    """It was written and did not arrive whole, or another controller left it out of the status."""
    UNKNOWN = "unknown"
    """It did not arrive, and nothing that can be read says whether it was written."""
    PENDING = "pending"
    """The run has not finished."""


_LOSSES: Final = frozenset(
    {
        ProblemCode.TRANSPORT_CUT,
        ProblemCode.TRANSPORT_INCOMPLETE,
        ProblemCode.TRANSPORT_CORRUPT,
        ProblemCode.TRANSPORT_FOREIGN,
        ProblemCode.TRANSPORT_UNREADABLE,
        ProblemCode.BACKEND_FAULTY,
    }
)
RUN_LIMITS: Final = frozenset({ProblemCode.RUN_TOO_LARGE, ProblemCode.OBJECT_TOO_LARGE})
"""Problems whose size and limit are those of all results together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultTrace:
    """What is known of one declared result.

    Attributes:
        name: As declared.
        step: The Step whose own result it is; ``None`` for a result of the Task.
        type: As declared.
        source: ``STEP.RESULT`` if it is a Task's result that is taken from a Step's; else "".
        file: Path to which a Step writes it.
        writers: The Steps that can write it.
        carried_by: Containers whose transport held it.
        end: What became of it.
        size: Its bytes, where they are known.
        limit: Bytes that were allowed, where a limit decided.
        problem: Why it did not arrive; ``None`` if it did, or if its absence is no problem.
        failed: Exit codes of those writers that failed, by Step.
        dropped_by: The writer whose log says that Tekton's entrypoint dropped its results; "" if none does.
    """

    name: str
    step: str | None
    type: str
    source: str
    file: str
    writers: tuple[str, ...]
    carried_by: tuple[str, ...] = ()
    end: End
    size: int | None = None
    limit: int | None = None
    problem: Problem | None = None
    failed: Mapping[str, int]
    dropped_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much the transport of one container may carry, and how that is computed.

    Attributes:
        container: Limit of one container in bytes; ``None`` where there is none.
        pod: Limit of all containers of the pod together in bytes; ``None`` where there is none.
        containers: How many containers share that limit, by kind.
        each: Bytes that remain for each container; ``None`` where only ``max-result-size`` counts.
    """

    container: int | None = None
    pod: int | None = None
    containers: Mapping[str, int]
    each: int | None = None


def budget_of(pod: Object, stamp: Stamp) -> Budget:
    """Return the budget of a container of this pod, whose results are read as the stamp says."""
    spec = pod["spec"]
    kinds = {"containers": "container", "initContainers": "init container", "ephemeralContainers": "debugger"}
    counts = {word: len(spec.get(kind) or ()) for kind, word in kinds.items() if spec.get(kind)}
    if stamp.backend == MESSAGES:
        each = message_budget(pod)
        return Budget(container=CONTAINER_MESSAGE_BYTES, pod=POD_MESSAGE_BYTES, containers=counts, each=each)
    return Budget(containers=counts)


def trace_results(judged: Judged) -> list[ResultTrace]:
    """Trace the Task's results, then those of each Step, in declaration order."""
    run = judged.offline.run
    if run is None:
        return []
    tracer = _Tracer(judged, run)
    traces = [tracer.trace(result, None) for result in run.results]
    return traces + [tracer.trace(result, step) for step in run.steps for result in step.results]


class _Tracer:
    """Looks results up in a TaskRun's status and in the verdict over its results."""

    def __init__(self, judged: Judged, run: Run) -> None:
        offline = judged.offline
        self._run = run
        self._finished = offline.finished
        self._is_known = offline.collected is not None
        self._collected = offline.collected or CollectionOutcome()
        self._arrived = dict(_arrived(offline.taskrun))
        self._judged = judged
        self._codes = exit_codes(judged.pod or {}, run)

    def trace(self, declared: ResultSpec, step: Step | None) -> ResultTrace:
        """Trace one declared result; ``step`` is the Step whose own result it is."""
        source = declared.from_step
        writer = step.name if step else source.step if source else None
        name = source.result if source else declared.name
        writers = (writer,) if writer else tuple(other.name for other in self._run.steps)
        end, problem = self._end(declared, step, (writer, name), writers)
        size, limit = (problem.size, problem.limit) if problem else (None, None)
        if end is End.ARRIVED:
            size = self._size(declared.name, step)
        untraced = end is End.LOST and problem is None and not self._is_known_result(declared.name, step)
        dropper = next((step for step in writers if step in self._judged.dropped_by), "") if untraced else ""
        record = f"step-{writer}.{name}" if writer else name
        folder = f"/tekton/steps/step-{writer}/results" if writer else "/tekton/results"
        transports = [carrier for carrier in self._collected.transports if record in carrier.results]
        return ResultTrace(
            name=declared.name,
            step=step.name if step else None,
            type=declared.type,
            source=f"{source.step}.{source.result}" if source else "",
            file=f"{folder}/{name}",
            writers=writers,
            carried_by=tuple(carrier.container for carrier in transports),
            end=end,
            size=size,
            limit=limit,
            problem=problem,
            dropped_by=dropper,
            failed={writer: self._codes[writer] for writer in writers if self._codes.get(writer)},
        )

    def _end(
        self,
        declared: ResultSpec,
        step: Step | None,
        origin: tuple[str | None, str],
        writers: Collection[str],
    ) -> tuple[End, Problem | None]:
        if (step.name if step else None, declared.name) in self._arrived:
            return End.ARRIVED, None
        if not self._finished:
            return End.PENDING, None
        if not self._is_known:
            return End.UNKNOWN, None
        problems = self._collected.problems
        own = {origin, (step.name if step else None, declared.name)}
        for problem in problems:
            if (problem.step, problem.result) in own and problem.code not in RUN_LIMITS:
                if problem.code is ProblemCode.MISSING:
                    return End.ABSENT, problem
                return End.LOST if problem.code in _LOSSES else End.REFUSED, problem
        if self._is_known_result(declared.name, step):
            return End.LOST, None
        return self._end_of_all(problems, own, origin, writers)

    def _end_of_all(
        self,
        problems: Collection[Problem],
        own: Collection[tuple[str | None, str | None]],
        origin: tuple[str | None, str],
        writers: Collection[str],
    ) -> tuple[End, Problem | None]:
        """Return the end of a result that has no problem of its own."""
        unsigned = next((problem for problem in problems if is_of_all_signatures(problem)), None)
        if unsigned and self._was_carried(origin):
            return End.REFUSED, unsigned
        total = next((problem for problem in problems if problem.code in RUN_LIMITS), None)
        if self._was_carried(origin) or (total and (total.step, total.result) in own):
            return End.REFUSED, total
        loss = next((problem for problem in problems if problem.code in _LOSSES), None)
        if loss is not None:
            return End.UNKNOWN, loss
        return self._end_without_trace(writers), None

    def _end_without_trace(self, writers: Collection[str]) -> End:
        """Return the end of a result about which nothing that was read says anything."""
        offline, pod = self._judged.offline, self._judged.pod
        if self._judged.dropped_by & set(writers):
            return End.LOST
        dropped = any(may_be_dropped(offline, pod, self._codes.get(step)) for step in writers)
        return End.UNKNOWN if dropped else End.ABSENT

    def _was_carried(self, origin: tuple[str | None, str]) -> bool:
        record = f"step-{origin[0]}.{origin[1]}" if origin[0] else origin[1]
        return any(record in carrier.results for carrier in self._collected.transports)

    def _is_known_result(self, name: str, step: Step | None) -> bool:
        """Return whether a result that is not in the status was read: another controller left it out."""
        results = self._collected.step_results.get(step.name, ()) if step else self._collected.results
        is_whole = not any(problem.code in RUN_LIMITS for problem in self._collected.problems)
        return is_whole and any(result.name == name for result in results)

    def _size(self, name: str, step: Step | None) -> int:
        results = self._collected.step_results.get(step.name, ()) if step else self._collected.results
        in_status = size_of(self._arrived[step.name if step else None, name])
        return next((result.size for result in results if result.name == name), in_status)


def is_of_all_signatures(problem: Problem) -> bool:
    """Return whether all results of a run were refused because no signature over them counts."""
    return problem.code is ProblemCode.UNVERIFIED and problem.result is None


def _arrived(taskrun: Mapping[str, Any]) -> Iterator[tuple[tuple[str | None, str], Any]]:
    """Yield the Step (``None``: the Task) and the name of each result in the status, with its value."""
    status = taskrun.get("status") or {}
    for result in status.get("results") or ():
        yield (None, result["name"]), result["value"]
    for step in status.get("steps") or ():
        for result in step.get("results") or ():
            yield (step["name"], result["name"]), result["value"]
