"""Where a PipelineRun stands: of each Task whether it ran, how it ended, why it is left out.

Everything is a function of the spec, the TaskRuns and the time: nothing is remembered between two looks.
It takes time linear in Tasks and references, and no recursion: thousands of Tasks may stand in a row.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.limits import OBJECT_BYTES
from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.times import latest_start, parse_time
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.dag import REFERRING, refs_of
from resultsfw.tekton.pipelinerun.pipeline_spec import Applied, put_into
from resultsfw.tekton.pipelinerun.result_refs import (
    Read,
    ResultLate,
    ResultMissing,
    ResultRef,
    Results,
    ResultUnread,
    as_data,
    looked_up,
    result_finder,
    unread,
)
from resultsfw.tekton.pipelinerun.timeouts import Times
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of
from resultsfw.tekton.spec.expansion import Budget, Expansion, Lookup, TooLargeError, first_of
from resultsfw.tekton.spec.variables import unprotect, variables_in
from resultsfw.types import Value

__all__ = ["AT_ONCE", "CONTINUE", "Facts", "results_of"]

AT_ONCE: Final = 200
"""TaskRuns that one reconcile makes: a run of thousands must not hold a worker that others wait for."""

CONTINUE: Final = "continue"
_SHOWN: Final = 1024
"""Characters of a text in ``when`` that a status shows."""

_GIVEN_BYTES: Final = 4 * OBJECT_BYTES
"""Bytes up to which a Task's texts are built: of what no TaskRun holds, the largest param is to be named."""

_RUN_FINALLY: Final = {
    "CancelledRunFinally": reasons.SKIP_CANCELLED,
    "StoppedRunFinally": reasons.SKIP_STOPPED,
}


def results_of(taskrun: Object) -> dict[str, Value]:
    """A TaskRun's results by name."""
    return {one["name"]: one["value"] for one in taskrun.get("status", {}).get("results") or ()}


class _Results(Mapping[str, Mapping[str, Value]]):
    """Results of Tasks by Task, each TaskRun's made whole only when somebody names one of them."""

    def __init__(self, runs: Mapping[str, Object], whole: Callable[[Object], Object]) -> None:
        self._runs = runs
        self._whole = whole
        self._known: dict[str, dict[str, Value]] = {}

    def __getitem__(self, name: str) -> dict[str, Value]:
        if name not in self._known:
            self._known[name] = results_of(self._whole(self._runs[name]))
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)


@dataclass
class Facts:
    """One look at a PipelineRun.

    Args:
        applied: Its spec and order.
        runs: TaskRuns that were made, by Pipeline Task.
        asked: ``spec.status``: whether it is to be cancelled or stopped.
        times: Its limits.
        refuse: Says why the TaskRun of a Task that is due cannot be made; nothing if it can.
        read: Reads the value of a result by reference where it is needed: in a text, as a part.
        whole: Gives a TaskRun of ``runs`` with its results, where it may come without.
        at_once: How many TaskRuns are to be made now.
    """

    applied: Applied
    runs: Mapping[str, Object]
    asked: str
    times: Times
    refuse: Callable[["Facts", str], str] = lambda _facts, _name: ""
    read: Read = unread
    whole: Callable[[Object], Object] = lambda taskrun: taskrun
    at_once: int = AT_ONCE
    _invalid: dict[str, str] | None = None
    # What follows from the spec, the TaskRuns and `_invalid`; found anew when that changes.
    _skips: dict[str, str] = field(default_factory=dict)
    _late: frozenset[str] | None = None
    _known_refs: dict[str, list[ResultRef]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.invalid  # what is left out depends on it

    # One Task.

    @cached_property
    def tasks(self) -> dict[str, tuple[str, Object]]:
        """Every Pipeline Task by name: its section and its spec."""
        return {task["name"]: (section, task) for section, task in tasks_of(self.applied.spec)}

    def is_final(self, name: str) -> bool:
        """Whether a Task is one of ``finally``."""
        return self.tasks[name][0] == "finally"

    def has_ended(self, name: str) -> bool:
        """Whether a Task's run has its verdict."""
        return self._verdict(name) in ("True", "False")

    def has_succeeded(self, name: str) -> bool:
        """Whether a Task's run succeeded."""
        return self._verdict(name) == "True"

    def has_failed(self, name: str) -> bool:
        """Whether a Task's run failed, or was cancelled."""
        return self._verdict(name) == "False"

    def runs_now(self, name: str) -> bool:
        """Whether a Task was begun and has not ended."""
        return name in self.runs and not self.has_ended(name)

    def is_done(self, name: str) -> bool:
        """Whether nothing more is to come of a Task."""
        return self.has_ended(name) or bool(self.skipped(name)) or name in self.invalid

    def _verdict(self, name: str) -> str:
        return str(succeeded(self.runs[name]).get("status", "")) if name in self.runs else ""

    def goes_on(self, name: str) -> bool:
        """Whether the run goes on if a Task fails."""
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
    def results(self) -> Results:
        """Results of all Tasks that have ended, well or not."""
        return _Results({name: run for name, run in self.runs.items() if self.has_ended(name)}, self.whole)

    @cached_property
    def stopping(self) -> bool:
        """Whether a Task failed, so that no further one begins but those of ``finally``."""
        broken = [name for name in self.dag if self.has_failed(name) or name in (self._invalid or ())]
        return any(not self.goes_on(name) for name in broken)

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
        and every TaskRun of it ended before the deadline.
        """
        if self._late is None:
            self._late = frozenset()
            for part, deadline, names in (
                ("tasks", self.times.tasks_deadline, self.dag),
                ("pipeline", self.times.pipeline_deadline, self.tasks),
            ):
                if deadline is None or not self.times.has_elapsed(deadline):
                    continue
                if any(not self.is_done(name) or self._ended_late(name, deadline) for name in names):
                    self._forget(late=self._late | {part})
        return self._late

    def _ended_late(self, name: str, deadline: datetime) -> bool:
        """Whether a TaskRun ended after a deadline; one that was ended for its time, in that very second."""
        ended = (
            parse_time(succeeded(self.runs[name]).get("lastTransitionTime")) if name in self.runs else None
        )
        if ended is None or not self.has_ended(name):
            return False
        for_time = self.has_failed(name) and self.was_ended_for_time(name)
        return (latest_start(ended) if for_time else ended) >= deadline

    def was_ended_for_time(self, name: str) -> bool:
        """Whether a Task that was begun was cancelled because its time was over."""
        return bool(self.runs[name]["spec"].get("statusMessage") == reasons.CHILD_TIMED_OUT)

    def _forget(self, *, late: frozenset[str] | None = None) -> None:
        """Find anew what depends on `_invalid` and on which parts are ``late``."""
        self._late = late
        self._skips.clear()
        for name in ("stopping", "dag_done", "states"):
            self.__dict__.pop(name, None)

    # Who is next.

    def next_tasks(self) -> list[str]:
        """The Tasks whose TaskRun is to be made now."""
        if self.asked == "Cancelled":
            return []
        due = [] if self.invalid else self._due()
        return due + self._due_finally()

    @property
    def invalid(self) -> dict[str, str]:
        """Tasks that are due and cannot be run, and what to say of it: a result they name is not there."""
        if self._invalid is None:
            self._invalid = {}  # while it is found out, nothing is known to be invalid
            # Regardless of time: one that was invalid before its time was over is not late afterwards.
            self._forget(late=frozenset())
            found = {name: why for name in self._due()[: self.at_once] if (why := self._wrong(name))}
            self._invalid = found
            self._forget()
            late = {name: why for name in self._due_finally()[: self.at_once] if (why := self._refused(name))}
            self._invalid = {**found, **late}
            self._forget()
        return self._invalid

    def _wrong(self, name: str) -> str:
        """Why a Task before ``finally`` that is due cannot be run."""
        return self._missing(name) or self._refused(name)

    def _refused(self, name: str) -> str:
        """Why a Task that is due cannot be run though all results are there."""
        try:
            self.with_results(name)
            return self.refuse(
                self, name
            )  # its bindings and pod template have results and params in them, too
        except ResultLate:
            return ""  # its time is over, and says so
        except ResultUnread as error:
            return f'task "{name}" {error.message}'
        except TooLargeError as error:
            return f'task "{name}": {error.message}'

    def _due_finally(self) -> list[str]:
        """Tasks of ``finally`` that are to begin now."""
        if not self.dag_done:
            return []
        known = self._invalid or {}
        return [name for name in self.final if not (name in self.runs or name in known or self.skipped(name))]

    def _due(self) -> list[str]:
        """Tasks before ``finally`` whose parents are done and that are not left out."""
        if self.asked or self.stopping:
            return []
        return [
            name
            for name in self.dag
            if name not in self.runs and self._parents_done(name) and not self.skipped(name)
        ]

    def _parents_done(self, name: str) -> bool:
        return self.is_final(name) or all(self.is_done(one) for one in self.applied.graph.parents[name])

    def _missing(self, name: str) -> str:
        """What to say of the first result a Task names that is not there; nothing if all are."""
        for ref in self._refs(name):
            try:
                looked_up(ref, self.results, self.read)
            except ResultUnread:
                continue  # it is there
            except ResultMissing as missing:
                there = ref.result in self.results.get(ref.task, {})
                if self.has_succeeded(ref.task) and not there:
                    return (
                        f'task "{ref.task}" completed successfully but did not emit the result '
                        f'"{ref.result}", which is referenced by task "{name}"'
                    )
                return missing.message if there else f"Invalid task result reference: {missing.message}"
        return ""

    def _refs(self, name: str) -> list[ResultRef]:
        if name not in self._known_refs:
            task = self.tasks[name][1]
            self._known_refs[name] = list(refs_of(task))
        return self._known_refs[name]

    # Who is left out.

    def skipped(self, name: str) -> str:
        """Why a Task does not run at all; empty for one that did, does or still may."""
        _ = self._timed_out()
        if name not in self._skips:
            if not self.is_final(name):
                # Of each Task, its parents decide: those first, so that nothing here asks deeper than once.
                for earlier in self.applied.graph.order:
                    if earlier not in self._skips:
                        self._skips[earlier] = ""  # should it be asked for meanwhile
                        self._skips[earlier] = self._skip(earlier)
            else:
                self._skips[name] = self._skip(name)
        return self._skips[name]

    def _skip(self, name: str) -> str:
        if name in self.runs or name in (self._invalid or ()):
            return ""
        if self.is_final(name):
            return self._skip_final(name) if self.dag_done else ""
        if self.stopping:
            return reasons.SKIP_STOPPING
        if self.asked in _RUN_FINALLY:
            return _RUN_FINALLY[self.asked]
        if not self._parents_done(name):
            return self._skip_by_parent(name)
        if not self._allowed(name):
            return reasons.SKIP_WHEN
        return self._skip_by_parent(name) or self._skip_due(name)

    def _skip_due(self, name: str) -> str:
        if self._lacks_results(name):
            return reasons.SKIP_RESULTS
        if self.pipeline_timed_out:
            return reasons.SKIP_PIPELINE_TIME
        return reasons.SKIP_TASKS_TIME if self.tasks_timed_out else ""

    def _skip_final(self, name: str) -> str:
        if self._missing(name):
            return reasons.SKIP_RESULTS
        if not self._allowed(name):
            return reasons.SKIP_WHEN
        if self.pipeline_timed_out:
            return reasons.SKIP_PIPELINE_TIME
        return reasons.SKIP_FINALLY_TIME if self.finally_timed_out else ""

    def _skip_by_parent(self, name: str) -> str:
        # Who only comes after a Task that its own "when" left out runs all the same.
        parents = self.applied.graph.parents[name]
        why = (self.skipped(one) for one in parents)
        return reasons.SKIP_PARENT if any(one and one != reasons.SKIP_WHEN for one in why) else ""

    def _lacks_results(self, name: str) -> bool:
        """Whether a result is missing for a cause that leaves the Task out rather than ends the run."""
        if not self._missing(name):
            return False
        if self.goes_on(name):
            return True
        for ref in self._refs(name):
            if ref.result not in self.results.get(ref.task, {}):
                return self.skipped(ref.task) == reasons.SKIP_WHEN
        return False

    def _allowed(self, name: str) -> bool:
        """Whether a Task's ``when`` lets it run."""
        try:
            return all(_holds(one) for one in self._replaced_when(name))
        except (ResultUnread, TooLargeError):
            return True  # it comes to nothing all the same: `invalid`

    # What stands for references.

    def find(self, name: str) -> Lookup:
        """Finds what a Task may name: results, and in ``finally`` how the others ended."""
        results = as_data(result_finder(self.results, self.read))
        return first_of(results, self.states.get) if self.is_final(name) else results

    def when(self, name: str) -> list[Object]:
        """A Task's ``when`` for people, with results in it; as it is written where one cannot be read.

        Long texts are cut: a status holds no results.
        """
        try:
            expressions = self._replaced_when(name)
        except (ResultUnread, TooLargeError):
            expressions = unprotect(self._when(name))
        return [{key: _shown(value) for key, value in one.items()} for one in expressions]

    def _replaced_when(self, name: str) -> list[Object]:
        """A Task's ``when`` with results put in, as it is compared.

        Raises:
            ResultUnread: A value by reference is needed, and cannot be had.
            TooLargeError: The texts would be larger than one object can be.
        """
        when = Expansion(self.find(name), Budget()).tree(self._when(name), f"{name}.when")
        replaced: list[Object] = unprotect(when)
        return replaced

    def _when(self, name: str) -> list[Object]:
        return self.tasks[name][1].get("when") or []

    def with_results(self, name: str) -> Object:
        """A Task's spec with all results in it that it names and that are there.

        A parameter that is one result by reference is that reference. Values are protected: the texts go on
        into a TaskRun.

        Raises:
            ResultUnread: The value of one by reference is needed, and cannot be had.
            TooLargeError: The texts would be larger than one object can be.
        """
        _, task = self.tasks[name]
        known = Expansion(self.find(name), budget := Budget(_GIVEN_BYTES))
        passing = Expansion(as_data(result_finder(self.results, self.read, passing=True)), budget)
        return put_into(task, known, name, fields=REFERRING, inner=known, passing=passing)

    def workspaces(self, name: str) -> dict[str, Object]:
        """What the run binds, by name, with the results in it that are there when a Task is made.

        Raises:
            ResultUnread: The value of one by reference is needed, and cannot be had.
            TooLargeError: The texts would be larger than one object can be.
        """
        known = Expansion(self.find(name), Budget())
        late = {
            key: {
                field: value
                if field in ("name", "volumeClaimTemplate")
                else known.tree(value, f"workspaces.{key}")
                for field, value in self.applied.workspaces[key].items()
            }
            for key in self._late_workspaces
        }
        return {**self.applied.workspaces, **late}

    @cached_property
    def _late_workspaces(self) -> list[str]:
        """The bindings in which results are still to be put."""
        return [key for key, binding in self.applied.workspaces.items() if any(variables_in(binding))]

    @cached_property
    def states(self) -> dict[str, Value]:
        """How the Tasks before ``finally`` ended: ``tasks.NAME.status``, ``.reason``, ``tasks.status``."""
        known: dict[str, Value] = {}
        for name in self.dag:
            state = "Succeeded" if self.has_succeeded(name) else "Failed" if self.has_failed(name) else "None"
            known[f"tasks.{name}.status"] = state
            run = self.runs.get(name, {})
            known[f"tasks.{name}.reason"] = str(succeeded(run).get("reason", ""))
        known["tasks.status"] = self._together()
        return known

    def _together(self) -> str:
        if not self.dag_done:
            return "None"
        if any(self.has_failed(name) for name in self.dag):
            return "Failed"
        return "Completed" if any(self.skipped(name) for name in self.dag) else "Succeeded"


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(one) for one in value]
    if not isinstance(value, str) or len(value) <= _SHOWN:
        return value
    return f"{value[:_SHOWN]}... ({len(value.encode())} bytes)"


def _holds(expression: Object) -> bool:
    """Whether one ``when`` is true."""
    there = expression.get("input", "") in (expression.get("values") or ())
    return there if str(expression.get("operator", "")).lower() == "in" else not there
