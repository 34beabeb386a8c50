"""Put results of other Tasks into what a Pipeline Task is given: texts, params, ``when``, workspaces."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from resultsfw.cel import CelError, Evaluator
from resultsfw.cluster import Object
from resultsfw.limits import OBJECT_BYTES
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.pipelinerun.children import kind_of
from resultsfw.tekton.pipelinerun.dag import REFERRING
from resultsfw.tekton.pipelinerun.matrix_values import substitute_matrix
from resultsfw.tekton.pipelinerun.pipeline_spec import substitute_task
from resultsfw.tekton.pipelinerun.result_refs import (
    ReadValue,
    Results,
    ResultUnread,
    protected_lookup,
    read_nothing,
    result_lookup,
)
from resultsfw.tekton.spec.expansion import Budget, Expansion, Lookup, TooLargeError, first_of
from resultsfw.tekton.spec.variables import unprotect, variables_in

__all__ = ["TaskInputs"]

_SHOWN: Final = 1024
"""Characters of a text in ``when`` that a status shows."""

_GIVEN_BYTES: Final = 4 * OBJECT_BYTES
"""Bytes up to which a Task's texts are built: of what no TaskRun holds, the largest param is to be named."""


@dataclass
class TaskInputs:
    """What Pipeline Tasks are given, with the results in it that are there.

    Args:
        tasks: Every Pipeline Task by name: its section and its spec.
        bound: What the run binds, by workspace.
        results: Of the Tasks that have ended.
        read_value: Reads the value of a result by reference where it is needed: in a text, as a part.
        states: How the Tasks before ``finally`` ended, which those of ``finally`` may ask.
        lengths: How many combinations and results the matrices of Tasks have.
        artifacts: Values of artifacts of the Tasks that have ended.
    """

    tasks: Mapping[str, tuple[str, Object]]
    bound: Mapping[str, Object]
    results: Results
    read_value: ReadValue
    states: Lookup
    lengths: Lookup = lambda _: None
    artifacts: Lookup = lambda _: None
    _cel: Evaluator = field(default_factory=Evaluator)

    def when_allows(self, name: str) -> bool:
        """Return whether a Task's ``when`` lets it run; one whose values cannot be read is invalid later."""
        try:
            return all(map(self._is_true, self._replaced_when(name)))
        except (CelError, ResultUnread, TooLargeError):
            return True

    def cel_error(self, name: str) -> str:
        """Return why an expression in CEL of a Task cannot be evaluated; empty if all can.

        Results that are not there yet are text in it, as in Tekton.
        """
        if not any(expression.get("cel") for expression in self._when(name)):
            return ""
        try:
            for expression in self._replaced_when(name):
                if expression.get("cel"):
                    self._cel.evaluate(expression["cel"])
        except CelError as error:
            return error.message
        except (ResultUnread, TooLargeError):
            return ""  # said when the Task is due
        return ""

    def shown_when(self, name: str) -> list[Object]:
        """Return a Task's ``when`` for people, with results in it; as written where one cannot be read.

        Long texts are cut: a status holds no results.
        """
        try:
            expressions = self._replaced_when(name)
        except (ResultUnread, TooLargeError):
            expressions = unprotect(self._when(name))
        return [{key: _truncate(value) for key, value in expression.items()} for expression in expressions]

    def shown_text(self, name: str, text: str) -> str:
        """Return a text of a Task for people, with those results in it that need no request."""
        if "$(" in text:
            lookup = first_of(result_lookup(self.results, read_nothing), self.lengths)
            with contextlib.suppress(ResultUnread, TooLargeError):  # else it is shown as it is written
                text = Expansion(lookup, Budget()).text(text, f"{name}.displayName")
        return str(_truncate(unprotect(text)))

    def shown_params(self, name: str) -> dict[str, str]:
        """Return a Task's own params that are texts, for people; see `shown_text`."""
        params = self.tasks[name][1].get("params") or ()
        texts = {param["name"]: param.get("value") for param in params}
        return {key: self.shown_text(name, text) for key, text in texts.items() if isinstance(text, str)}

    def task(self, name: str) -> Object:
        """Return a Task's spec with all results in it that it names and that are there.

        A parameter of a Task that is one result by reference is that reference. Values are protected: the
        texts go on into a child.

        Raises:
            ResultUnread: The value of one by reference is needed, and cannot be read.
            TooLargeError: The texts would be larger than one object can be.
        """
        _, task = self.tasks[name]
        known = Expansion(self._lookup(name), budget := Budget(_GIVEN_BYTES))
        passing = self._passing(task, budget)
        return substitute_task(task, known, name, fields=REFERRING, inner=known, passing=passing)

    def matrix(self, name: str) -> Object:
        """Return a Task's matrix with all results in it that it names and that are there; as `task` does.

        Raises:
            ResultUnread: As `task`.
            TooLargeError: As `task`.
        """
        budget = Budget(_GIVEN_BYTES)
        _, task = self.tasks[name]
        known, passing = Expansion(self._lookup(name), budget), self._passing(task, budget)
        return substitute_matrix(task["matrix"], f"{name}.matrix", known, passing)

    def workspaces(self, name: str) -> dict[str, Object]:
        """Return what the run binds, by name, with the results in it that are there when a Task is created.

        Raises:
            ResultUnread: The value of one by reference is needed, and cannot be read.
            TooLargeError: The texts would be larger than one object can be.
        """
        known = Expansion(self._lookup(name), Budget())
        with_results = {
            key: {
                field: value
                if field in ("name", "volumeClaimTemplate")
                else known.tree(value, f"workspaces.{key}")
                for field, value in self.bound[key].items()
            }
            for key in self._with_variables
        }
        return {**self.bound, **with_results}

    def _passing(self, task: Object, budget: Budget) -> Expansion | None:
        """Return the expansion of params that are exactly one variable: a reference is passed on."""
        if kind_of(task) != TASKRUNS:
            return None  # other kinds of children do not follow references
        lookup = result_lookup(self.results, self.read_value, passing=True)
        return Expansion(protected_lookup(lookup), budget)

    @cached_property
    def _with_variables(self) -> list[str]:
        """The bindings in which results are still to be put."""
        return [key for key, binding in self.bound.items() if any(variables_in(binding))]

    def _lookup(self, name: str) -> Lookup:
        """Return what a Task may name: results, artifacts, and in ``finally`` how the others ended."""
        results = protected_lookup(first_of(result_lookup(self.results, self.read_value), self.artifacts))
        if self.tasks[name][0] == "finally":
            return first_of(results, self.lengths, self.states)
        return first_of(results, self.lengths)

    def _replaced_when(self, name: str) -> list[Object]:
        """Return a Task's ``when`` with results put in, as it is compared.

        Raises:
            ResultUnread: A value by reference is needed, and cannot be read.
            TooLargeError: The texts would be larger than one object can be.
        """
        when = Expansion(self._lookup(name), Budget()).tree(self._when(name), f"{name}.when")
        replaced: list[Object] = unprotect(when)
        return replaced

    def _is_true(self, expression: Object) -> bool:
        """Return whether one ``when`` expression is true.

        Raises:
            CelError: It is one in CEL, and cannot be evaluated.
        """
        if expression.get("cel"):
            return self._cel.evaluate(expression["cel"])
        is_in = expression.get("input", "") in (expression.get("values") or ())
        return is_in if str(expression.get("operator", "")).lower() == "in" else not is_in

    def _when(self, name: str) -> list[Object]:
        return self.tasks[name][1].get("when") or []


def _truncate(value: Any) -> Any:
    if isinstance(value, list):
        return [_truncate(element) for element in value]
    if not isinstance(value, str) or len(value) <= _SHOWN:
        return value
    return f"{value[:_SHOWN]}... ({len(value.encode())} bytes)"
