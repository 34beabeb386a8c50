"""Derive the state of a PipelineRun: which Tasks ran, how they ended, which are skipped, which are due.

Everything is a function of the spec, the children and the time; nothing is remembered between two reconciles.
It takes time linear in Tasks and references, and no recursion: thousands of Tasks may run in a row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import accumulate
from typing import Final, Self

from resultsfw.cluster import Kind, Object
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.times import latest_start
from resultsfw.tekton.pipelinerun import children
from resultsfw.tekton.pipelinerun.artifact_values import ArtifactValues
from resultsfw.tekton.pipelinerun.children import Children
from resultsfw.tekton.pipelinerun.dag import NamedValues, named_values_of
from resultsfw.tekton.pipelinerun.matrix import Combination
from resultsfw.tekton.pipelinerun.matrix_state import Matrices
from resultsfw.tekton.pipelinerun.named_values import describe_missing, owner_of_missing
from resultsfw.tekton.pipelinerun.pipeline_spec import Plan
from resultsfw.tekton.pipelinerun.result_refs import ReadValue, ResultLate, ResultUnread, read_nothing
from resultsfw.tekton.pipelinerun.skip_rules import skip_reason_of
from resultsfw.tekton.pipelinerun.task_inputs import TaskInputs
from resultsfw.tekton.pipelinerun.task_states import states_of
from resultsfw.tekton.pipelinerun.taskrun_results import ReadWhole, TaskRunResults
from resultsfw.tekton.pipelinerun.timeouts import Times
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of
from resultsfw.tekton.spec.expansion import TooLargeError
from resultsfw.types import Value

__all__ = ["BATCH_SIZE", "CONTINUE", "Facts"]

BATCH_SIZE: Final = 200
"""Children that one reconcile creates: a run of thousands must not hold a worker that others wait for."""

CONTINUE: Final = "continue"


@dataclass
class Facts:
    """The state of one PipelineRun at one time; Tekton's ``PipelineRunFacts``.

    Args:
        plan: Its spec and order.
        runs: Children that exist, by Pipeline Task; none of them is empty.
        requested: ``spec.status``: whether it is to be cancelled or stopped.
        times: Its limits.
        refusal_of: Says why the TaskRun of a Task that is due cannot be created; empty if it can.
        read_value: Reads the value of a result by reference where it is needed: in a text, as a part.
        read_whole: Returns a child of ``runs`` with its results, which the cache may have left out.
        batch_size: How many children one reconcile creates.
    """

    plan: Plan
    runs: Mapping[str, Children]
    requested: str
    times: Times
    refusal_of: Callable[["Facts", str], str] = lambda _facts, _name: ""
    read_value: ReadValue = read_nothing
    read_whole: ReadWhole = lambda _kind, child: child
    batch_size: int = BATCH_SIZE
    _incomplete: list[str] = field(default_factory=list, init=False)
    _invalid: dict[str, str] | None = None
    # What follows from the spec, the children and `_invalid`; computed again when that changes.
    _skips: dict[str, str] = field(default_factory=dict)
    _timed_out_parts: frozenset[str] | None = None
    _known_names: dict[str, NamedValues] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._find_incomplete()
        _ = self.invalid  # which Tasks are skipped depends on it

    def with_created(self, created: Mapping[str, Children]) -> Self:
        """Return the facts of the run after Pipeline Tasks got these children, all that they have now."""
        runs = {**self.runs, **created}
        return replace(self, runs=runs, _invalid=None, _skips={}, _timed_out_parts=None)

    # One Task.

    @cached_property
    def tasks(self) -> dict[str, tuple[str, Object]]:
        """Every Pipeline Task by name: its section and its spec."""
        return {task["name"]: (section, task) for section, task in tasks_of(self.plan.spec)}

    def is_final(self, name: str) -> bool:
        """Return whether a Task is one of ``finally``."""
        return self.tasks[name][0] == "finally"

    def has_ended(self, name: str) -> bool:
        """Return whether a Task's run has its verdict."""
        return self._verdict(name) in ("True", "False")

    def has_succeeded(self, name: str) -> bool:
        """Return whether a Task's run succeeded."""
        return self._verdict(name) == "True"

    def has_failed(self, name: str) -> bool:
        """Return whether a Task's run failed, or was cancelled."""
        return self._verdict(name) == "False"

    def is_running(self, name: str) -> bool:
        """Return whether a Task was begun and has not ended."""
        return name in self.runs and not self.has_ended(name)

    def is_done(self, name: str) -> bool:
        """Return whether nothing more is to come of a Task."""
        return self.has_ended(name) or bool(self.skip_reason(name)) or name in self.invalid

    def _verdict(self, name: str) -> str:
        return "Unknown" if name in self._incomplete else self._verdicts.get(name, "")

    @cached_property
    def _verdicts(self) -> dict[str, str]:
        """The status of the condition that the children of each Task have together: asked for many times."""
        return {name: children.verdict_of(found) for name, found in self.runs.items()}

    def combinations(self, name: str) -> tuple[Combination, ...]:
        """Return the combinations of a Task that is due: one for each child it is to have, in order.

        Raises:
            RefusedRun: Its matrix cannot be run.
        """
        return self.matrices.combinations(name)

    def _find_incomplete(self) -> None:
        """Find the Tasks that were begun and get further children: not all could be created at once."""
        if self.requested in ("Cancelled", "CancelledRunFinally") or self.times.part_elapsed:
            return
        for name in (*self.plan.graph.order, *self.final):  # the matrix of each has results of those before
            if self.matrices.lacks_children(name, self.runs.get(name, ())):
                self._incomplete.append(name)

    def continues_on_error(self, name: str) -> bool:
        """Return whether the run goes on if a Task fails."""
        return bool(self.tasks[name][1].get("onError") == CONTINUE)

    # All of them.

    @cached_property
    def dag(self) -> list[str]:
        """The Tasks before ``finally``."""
        return [name for name, (section, _) in self.tasks.items() if section == "tasks"]

    @cached_property
    def final(self) -> list[str]:
        """The Tasks of ``finally``."""
        return [name for name, (section, _) in self.tasks.items() if section == "finally"]

    @cached_property
    def results(self) -> TaskRunResults:
        """Results of all Tasks that have ended, well or not."""
        return TaskRunResults(self.runs, self.kinds, self.read_whole, self.has_ended, self.matrices.names)

    @cached_property
    def artifacts(self) -> ArtifactValues:
        """Artifacts of all Tasks that have ended, well or not."""
        return ArtifactValues(self._ended_taskruns)

    def _ended_taskruns(self, name: str) -> list[Object]:
        """Return the TaskRuns of a Task that has ended, as a whole; none if it has other children."""
        if not self.has_ended(name) or self.kinds[name] != TASKRUNS:
            return []
        return [self.read_whole(TASKRUNS, taskrun) for taskrun in self.runs[name]]

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """The kind of each Task's children."""
        return {name: children.kind_of(task) for name, (_, task) in self.tasks.items()}

    @cached_property
    def stopping(self) -> bool:
        """Whether a Task failed, so that no further one begins but those of ``finally``."""
        broken = [name for name in self.dag if self.has_failed(name) or name in (self._invalid or ())]
        return any(not self.continues_on_error(name) for name in broken)

    @cached_property
    def dag_done(self) -> bool:
        """Whether nothing more is to come of the Tasks before ``finally``."""
        return all(self.is_done(name) for name in self.dag)

    @property
    def final_done(self) -> bool:
        """Whether nothing more is to come of the Tasks of ``finally``."""
        return all(self.is_done(name) for name in self.final)

    # Time.

    @property
    def pipeline_timed_out(self) -> bool:
        """Whether the run took longer than ``timeouts.pipeline``."""
        return "pipeline" in self._timed_out()

    @property
    def tasks_timed_out(self) -> bool:
        """Whether the Tasks before ``finally`` took longer than ``timeouts.tasks``.

        What ``finally`` takes does not count (unlike in Tekton, issue 10512), nor does the time until it is
        seen that all of them are over.
        """
        return "tasks" in self._timed_out()

    @property
    def finally_timed_out(self) -> bool:
        """Whether the Tasks of ``finally`` took longer than ``timeouts.finally``."""
        return self.times.has_elapsed(self.times.finally_deadline)

    def _timed_out(self) -> frozenset[str]:
        """Return which of ``tasks`` and ``pipeline`` ran out of time.

        A part did if its deadline has elapsed, unless all that belongs to it was done without regard to time,
        and every child of it ended before the deadline.
        """
        if self._timed_out_parts is None:
            self._timed_out_parts = frozenset()
            for part, deadline, names in (
                ("tasks", self.times.tasks_deadline, self.dag),
                ("pipeline", self.times.pipeline_deadline, self.tasks),
            ):
                if deadline is None or not self.times.has_elapsed(deadline):
                    continue
                if any(not self.is_done(name) or self._ended_late(name, deadline) for name in names):
                    self._forget(late=self._timed_out_parts | {part})
        return self._timed_out_parts

    def _ended_late(self, name: str, deadline: datetime) -> bool:
        """Return whether a Task ended after a deadline, or was cancelled for it in that very second."""
        ended = children.end_of(self.runs.get(name, ()))
        if ended is None or not self.has_ended(name):
            return False
        for_time = self.has_failed(name) and self.was_ended_for_time(name)
        return (latest_start(ended) if for_time else ended) >= deadline

    def was_ended_for_time(self, name: str) -> bool:
        """Return whether a Task that was begun was cancelled because its time was over."""
        return children.was_ended_for_time(self.runs[name])

    def _forget(self, *, late: frozenset[str] | None = None) -> None:
        """Forget what depends on `_invalid` and on which parts are ``late``, to compute it again."""
        self._timed_out_parts = late
        self._skips.clear()
        for name in ("stopping", "dag_done", "states"):
            self.__dict__.pop(name, None)

    # What is due.

    def next_tasks(self) -> list[str]:
        """Return the Tasks whose children are to be created now."""
        if self.requested == "Cancelled":
            return []
        due = [] if self.invalid else self._due_tasks()
        return [*self._incomplete, *due, *self._due_finally()]

    def first_batch(self, names: Sequence[str]) -> Sequence[str]:
        """Return the first of these due Tasks: as many as together have a batch of children, one at least."""
        if not self.matrices.names:
            return names[: self.batch_size]
        counts = accumulate(map(self.matrices.most_children, names))
        return names[: max(1, sum(count <= self.batch_size for count in counts))]

    def most_children(self, kind: Kind) -> int:
        """Return how many children of a kind the run has at most, as far as is known now."""
        return sum(self.matrices.most_children(name) for name, of in self.kinds.items() if of == kind)

    @property
    def invalid(self) -> dict[str, str]:
        """Tasks that are due and cannot be run, and what to say of it: a result they name is not there."""
        if self._invalid is None:
            self._invalid = {}  # while it is found out, nothing is known to be invalid
            # Regardless of time: a Task that was invalid before its time was over is not late afterwards.
            self._forget(late=frozenset())
            found = {
                name: why for name in self.first_batch(self._due_tasks()) if (why := self._invalidity(name))
            }
            self._invalid = found
            self._forget()
            late = {
                name: why for name in self.first_batch(self._due_finally()) if (why := self._refused(name))
            }
            self._invalid = {**found, **late}
            self._forget()
        return self._invalid

    def _invalidity(self, name: str) -> str:
        """Return why a Task before ``finally`` that is due cannot be run."""
        return self.missing_value(name) or self._refused(name)

    def _refused(self, name: str) -> str:
        """Return why a Task that is due cannot be run though all results are there."""
        try:
            self.inputs.task(name)
            return self.refusal_of(self, name)  # its bindings and pod template may name results, too
        except ResultLate:
            return ""  # its time is over, and says so
        except ResultUnread as error:
            return f'task "{name}" {error.message}'
        except TooLargeError as error:
            return f'task "{name}": {error.message}'

    def _due_finally(self) -> list[str]:
        """Return the Tasks of ``finally`` that are to begin now."""
        if not self.dag_done:
            return []
        known = self._invalid or {}
        return [
            name for name in self.final if not (name in self.runs or name in known or self.skip_reason(name))
        ]

    def _due_tasks(self) -> list[str]:
        """Return the Tasks before ``finally`` whose parents are done and that are not skipped."""
        if self.requested or self.stopping:
            return []
        return [
            name
            for name in self.dag
            if name not in self.runs and self.parents_done(name) and not self.skip_reason(name)
        ]

    def parents_done(self, name: str) -> bool:
        """Return whether nothing more is to come of the Tasks that a Task waits for."""
        return self.is_final(name) or all(self.is_done(parent) for parent in self.plan.graph.parents[name])

    def missing_value(self, name: str) -> str:
        """Return what to say of the first result or artifact that a Task names and that is not there."""
        return describe_missing(
            name,
            self._named(name),
            self.results,
            self.artifacts,
            read_value=self.read_value,
            has_succeeded=self.has_succeeded,
        )

    def missing_value_owner(self, name: str) -> str:
        """Return whose result or artifact is the first that a Task names and that is not there; or empty."""
        return owner_of_missing(self._named(name), self.results, self.artifacts)

    def _named(self, name: str) -> NamedValues:
        if name not in self._known_names:
            self._known_names[name] = named_values_of(self.tasks[name][1])
        return self._known_names[name]

    def cel_error(self) -> str:
        """Return why a condition in CEL cannot be evaluated, of a Task without children; empty if all can.

        Tekton evaluates all of them at each reconcile, those of Tasks that are not due, too.
        """
        found = (self.inputs.cel_error(name) for name in self.tasks if name not in self.runs)
        return next((why for why in found if why), "")

    # What is skipped.

    def skip_reason(self, name: str) -> str:
        """Return why a Task does not run at all; empty if it did, does or still may."""
        _ = self._timed_out()
        if name not in self._skips:
            if not self.is_final(name):
                # Of each Task, its parents decide: those first, so that nothing here asks deeper than once.
                for earlier in self.plan.graph.order:
                    if earlier not in self._skips:
                        self._skips[earlier] = ""  # should it be asked for meanwhile
                        self._skips[earlier] = self._skip_reason(earlier)
            else:
                self._skips[name] = self._skip_reason(name)
        return self._skips[name]

    def _skip_reason(self, name: str) -> str:
        if name in self.runs or name in (self._invalid or ()):
            return ""
        return skip_reason_of(self, name)

    # What Tasks are given.

    @cached_property
    def inputs(self) -> TaskInputs:
        """What Tasks are given, with results in it."""
        return TaskInputs(
            self.tasks,
            self.plan.workspaces,
            self.results,
            self.read_value,
            self._state_of,
            self._length_of,
            self.artifacts.lookup,
        )

    @cached_property
    def matrices(self) -> Matrices:
        """The matrices of the Tasks."""
        return Matrices(
            {name: task for name, (_, task) in self.tasks.items()},
            self._matrix_of,
            limit=self.plan.max_combinations,
            pipeline=self.plan.name,
        )

    def _matrix_of(self, name: str) -> Object:
        return self.inputs.matrix(name)

    def _length_of(self, variable: str) -> Value | None:
        return self.matrices.length(variable, self.runs, self.results)

    def _state_of(self, variable: str) -> Value | None:
        return self.states.get(variable)

    @cached_property
    def states(self) -> dict[str, Value]:
        """How the Tasks before ``finally`` ended: ``tasks.NAME.status``, ``.reason``, ``tasks.status``."""
        return states_of(self)
