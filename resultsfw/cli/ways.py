"""The way of each declared result as facts: who could write it, what carried it, where it ended."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from resultsfw.cli.advice import MESSAGES
from resultsfw.cli.saved import Judged
from resultsfw.cluster import Object
from resultsfw.core import STAMP_ANNOTATION
from resultsfw.messages import CONTAINER_BYTES, POD_BYTES, message_budget
from resultsfw.tekton.podstatus.pod_state import statuses
from resultsfw.types import Collected, Declared, Problem, ProblemCode, Run, Stamp, Step

__all__ = ["Budget", "End", "Way", "budget_of", "is_stamped", "ways_of"]


class End(StrEnum):
    """Where the way of a result ends."""

    ARRIVED = "arrived"
    """It is in the run's status."""
    ABSENT = "absent"
    """No Step wrote it."""
    REFUSED = "refused"
    """It was there and may not pass: too large, of another type, no UTF-8, no regular file."""
    LOST = "lost"
    """It was written and did not come whole."""
    UNKNOWN = "unknown"
    """It did not come, and whether it was written cannot be told from what is here."""
    PENDING = "pending"
    """The run is not over."""


_LOSSES: Final = frozenset(
    {
        ProblemCode.TRANSPORT_CUT,
        ProblemCode.TRANSPORT_INCOMPLETE,
        ProblemCode.TRANSPORT_CORRUPT,
        ProblemCode.TRANSPORT_FOREIGN,
        ProblemCode.TRANSPORT_UNREADABLE,
    }
)
_TOTALS: Final = frozenset({ProblemCode.RUN_TOO_LARGE, ProblemCode.OBJECT_TOO_LARGE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One declared result's.

    Attributes:
        name: As declared.
        step: The Step whose own result it is; ``None`` for a Task's.
        type: As declared.
        source: Of a Task result taken from a Step's: ``STEP.RESULT``; else "".
        file: Where a Step writes it.
        writers: The Steps that can.
        carried_by: Containers whose transport held it.
        end: Where its way ends.
        size: Bytes it has, where that is known.
        limit: Bytes it may have, where that decided.
        problem: Why it did not come; ``None`` if it did, or if nothing is wrong with that.
        failed: Of the writers, those that failed: Step and exit code.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a container's transport may carry, and how that comes about.

    Attributes:
        container: Its bytes at most.
        pod: Of all containers of the pod together; ``None`` where there is no such wall.
        containers: How many share that, by kind.
        each: Bytes that remain for each container; ``None`` where only ``max-result-size`` counts.
    """

    container: int | None = None
    pod: int | None = None
    containers: Mapping[str, int]
    each: int | None = None


def budget_of(pod: Object, stamp: Stamp) -> Budget:
    """The budget of this very pod, read as the stamp says."""
    spec = pod["spec"]
    kinds = {"containers": "container", "initContainers": "init container", "ephemeralContainers": "debugger"}
    counts = {word: len(spec.get(kind) or ()) for kind, word in kinds.items() if spec.get(kind)}
    if stamp.backend == MESSAGES:
        each = message_budget(pod)
        return Budget(container=CONTAINER_BYTES, pod=POD_BYTES, containers=counts, each=each)
    return Budget(containers=counts)


def is_stamped(pod: Object) -> bool:
    """Whether our controller made the pod."""
    return STAMP_ANNOTATION in (pod.get("metadata", {}).get("annotations") or {})


def ways_of(judged: Judged) -> list[Way]:
    """The ways of the Task's results, then of each Step's own; in declaration order."""
    run = judged.offline.run
    if run is None:
        return []
    teller = _Teller(judged, run)
    ways = [teller.way(one, None) for one in run.results]
    return ways + [teller.way(one, step) for step in run.steps for one in step.results]


class _Teller:
    """Finds out where results are, in the status and in the verdict over them."""

    def __init__(self, judged: Judged, run: Run) -> None:
        offline = judged.offline
        self._run = run
        self._finished = offline.finished and offline.collected is not None
        self._collected = offline.collected or Collected()
        self._arrived = set(_arrived(offline.taskrun))
        self._stamp = offline.stamp
        self._ours = is_stamped(judged.pod or {})
        self._codes = _exit_codes(judged.pod or {}, run)

    def way(self, declared: Declared, step: Step | None) -> Way:
        source = declared.source
        writer = step.name if step else source.step if source else None
        name = source.result if source else declared.name
        writers = (writer,) if writer else tuple(one.name for one in self._run.steps)
        end, problem = self._end(declared, step, (writer, name), writers)
        size, limit = (problem.size, problem.limit) if problem else (None, None)
        if end is End.ARRIVED:
            size = self._size(declared.name, step)
        record = f"step-{writer}.{name}" if writer else name
        folder = f"/tekton/steps/step-{writer}/results" if writer else "/tekton/results"
        carried_by = tuple(one.container for one in self._collected.carriers if record in one.results)
        return Way(
            name=declared.name,
            step=step.name if step else None,
            type=declared.type,
            source=f"{source.step}.{source.result}" if source else "",
            file=f"{folder}/{name}",
            writers=writers,
            carried_by=carried_by,
            end=end,
            size=size,
            limit=limit,
            problem=problem,
            failed={one: self._codes[one] for one in writers if self._codes.get(one)},
        )

    def _end(
        self,
        declared: Declared,
        step: Step | None,
        origin: tuple[str | None, str],
        writers: Collection[str],
    ) -> tuple[End, Problem | None]:
        if (step.name if step else None, declared.name) in self._arrived:
            return End.ARRIVED, None
        if not self._finished:
            return End.PENDING, None
        problems = self._collected.problems
        own = {origin, (step.name if step else None, declared.name)}
        for problem in problems:
            if (problem.step, problem.result) in own and problem.code not in _TOTALS:
                if problem.code is ProblemCode.MISSING:
                    return End.ABSENT, problem
                return End.LOST if problem.code in _LOSSES else End.REFUSED, problem
        came = self._came(origin)
        total = next((one for one in problems if one.code in _TOTALS), None)
        if came or (total and (total.step, total.result) in own):
            return End.REFUSED, total
        loss = next((one for one in problems if one.code in _LOSSES), None)
        if loss is not None:
            return End.UNKNOWN, loss
        return (End.UNKNOWN if self._silenced(writers) else End.ABSENT), None

    def _silenced(self, writers: Collection[str]) -> bool:
        """Whether Tekton's entrypoint may have dropped the results of a Step.

        Where they are too large for a message it writes none, says so in the Step's log only, and ends
        with exit code 1, as the Step itself may have (cmd/entrypoint/main.go).
        """
        by_message = self._stamp is not None and self._stamp.backend == MESSAGES
        return by_message and not self._ours and any(self._codes.get(one) == 1 for one in writers)

    def _came(self, origin: tuple[str | None, str]) -> bool:
        record = f"step-{origin[0]}.{origin[1]}" if origin[0] else origin[1]
        return any(record in one.results for one in self._collected.carriers)

    def _size(self, name: str, step: Step | None) -> int | None:
        results = self._collected.step_results.get(step.name, ()) if step else self._collected.results
        return next((one.size for one in results if one.name == name), None)


def _arrived(taskrun: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    status = taskrun.get("status", {})
    for one in status.get("results") or ():
        yield None, one["name"]
    for step in status.get("steps") or ():
        for one in step.get("results") or ():
            yield step["name"], one["name"]


def _exit_codes(pod: Object, run: Run) -> dict[str, int]:
    """How Steps ended that failed."""
    known = statuses(pod)
    codes = {}
    for step in run.steps:
        end = known.get(step.container, {}).get("state", {}).get("terminated", {})
        if end.get("exitCode"):
            codes[step.name] = int(end["exitCode"])
    return codes
