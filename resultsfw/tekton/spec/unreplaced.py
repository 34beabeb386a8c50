"""Find variables of Tekton's that nothing replaced, before their text can reach a container."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.artifact_refs import parse_artifact_ref
from resultsfw.tekton.api.names import step_name
from resultsfw.tekton.spec.variables import VARIABLE, is_tekton_variable, nearest

__all__ = ["Unreplaced", "in_task", "unreplaced"]

_AT_RUN_TIME: Final = ("env", "command", "args", "when")
"""Fields of a Step in which the entrypoint replaces earlier Steps' results when the Step starts; it replaces
artifacts in them, too, and in scripts, but not in ``when``."""

_NOT_SHOWN: Final = frozenset({"results", "params", "displayName", "description", "ref"})
"""Fields of a Step that no container gets."""


@dataclass(frozen=True, slots=True)
class Unreplaced:
    """A variable that nothing defines.

    Attributes:
        variable: Its name, without ``$(`` and ``)``.
        field: The field that contains it.
        nearest: A variable that there is and whose name is like it; empty if none is.
    """

    variable: str
    field: str
    nearest: str = ""

    @property
    def message(self) -> str:
        """Say what is wrong and what may have been meant."""
        # An array or object as a whole has no place in a text: its own name is no hint.
        hint = f"; did you mean $({self.nearest})?" if self.nearest not in ("", self.variable) else ""
        return f"variable $({self.variable[:200]}) stands for nothing here{hint}"


def unreplaced(
    value: Any, field: str, known: Collection[str], allowed: Callable[[str], bool] = lambda _: False
) -> Iterator[Unreplaced]:
    """Yield the variables in plain data whose values are still protected.

    Args:
        value: After all passes.
        field: Its path.
        known: Names of variables there are.
        allowed: Says of a name that it is replaced later.
    """
    if isinstance(value, str):
        if "$(" in value:
            for match in VARIABLE.finditer(value):
                name = match[1]
                if is_tekton_variable(name) and not allowed(name):
                    yield Unreplaced(name, field, nearest(name, known))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from unreplaced(element, f"{field}[{index}]", known, allowed)
    elif isinstance(value, dict):
        for key, element in value.items():
            yield from unreplaced(key, f"{field}.{key}", known, allowed)
            yield from unreplaced(element, f"{field}.{key}", known, allowed)


def in_task(
    task_spec: Object, known: Collection[str], allowed: Callable[[str], bool] = lambda _: False
) -> Iterator[Unreplaced]:
    """Yield the variables in a Task's substituted spec that reach a container as they are written.

    Args:
        task_spec: Substituted, its values protected (`resultsfw.tekton.spec.substitution.substitute`).
        known: Names of variables there are.
        allowed: Says of a name that it is replaced later, such as a parameter whose value is a reference.
    """
    results: dict[str, set[str] | None] = {}  # of the Steps before the current Step
    names = list(known)
    earlier = _step_results(results, allowed)
    earlier_artifacts = _step_artifacts(results, allowed)
    earlier_values = _any_of(earlier, earlier_artifacts)
    replaced_later = {
        **dict.fromkeys(_AT_RUN_TIME, earlier_values),
        "script": earlier_artifacts,
        "when": _asks_of_workspace(earlier),
    }
    template = task_spec.get("stepTemplate") or {}
    inherited = _Inherited(template)
    for index, step in enumerate(task_spec.get("steps") or []):
        for field, value in step.items():
            if field not in _NOT_SHOWN:
                later = replaced_later.get(field, allowed)
                yield from unreplaced(value, f"steps[{index}].{field}", names, later)
        for field, value in inherited.first_in(step):
            yield from unreplaced(value, f"stepTemplate.{field}", names, earlier_values)
        name = step_name(step, index)
        if step.get("ref") is not None:
            results[name] = None  # those of a StepAction that is read later
            continue
        declared = results[name] = {result.get("name") or "" for result in step.get("results") or ()}
        names += (f"steps.{name}.results.{result}" for result in declared)
    for field, value in template.items():
        if field not in _AT_RUN_TIME:
            yield from unreplaced(value, f"stepTemplate.{field}", known, allowed)
    for part in ("sidecars", "volumes"):
        yield from unreplaced(task_spec.get(part), part, known, allowed)
    for index, workspace in enumerate(task_spec.get("workspaces") or ()):
        yield from unreplaced(workspace.get("mountPath"), f"workspaces[{index}].mountPath", known, allowed)


def _asks_of_workspace(allowed: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return whether a name is allowed, or is ``workspaces.NAME.bound``, which a condition compares as text.

    Tekton leaves it as it is where no such workspace is declared, and so it is not ``true``.
    """

    def is_compared(name: str) -> bool:
        words = name.split(".")
        return allowed(name) or (words[0] == "workspaces" and len(words) == 3 and words[2] == "bound")  # noqa: PLR2004 - workspaces, NAME, bound

    return is_compared


class _Inherited:
    """Parts of a template in which the entrypoint replaces results, until a Step gets them from it.

    The first that does decides: fewest Steps are before it.
    """

    def __init__(self, template: Object) -> None:
        self._fields = {field: template[field] for field in ("command", "args") if template.get(field)}
        self._env = {variable.get("name"): variable for variable in template.get("env") or ()}

    def first_in(self, step: Object) -> Iterator[tuple[str, Any]]:
        """Yield the parts, with their fields, that this Step is the first to get."""
        for field in [field for field in self._fields if not step.get(field)]:
            yield field, self._fields.pop(field)
        if self._env:
            own = {variable.get("name") for variable in step.get("env") or ()}
            for name in [name for name in self._env if name not in own]:
                yield "env", [self._env.pop(name)]


def _step_results(
    results: Mapping[str, set[str] | None], allowed: Callable[[str], bool]
) -> Callable[[str], bool]:
    """Return whether a name is that of a result that is there when it is asked, or of a part of it."""

    def is_result(name: str) -> bool:
        step, results_, result = _parts(name)
        if not results_:
            return allowed(name)
        declared = results.get(step, ())
        return allowed(name) or declared is None or result in declared

    return is_result


def _step_artifacts(steps: Collection[str], allowed: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return whether a name is that of an artifact of a Step that has ended when it is asked."""

    def is_artifact(name: str) -> bool:
        ref = parse_artifact_ref(name)
        return allowed(name) or (ref is not None and ref.section == "steps" and ref.owner in steps)

    return is_artifact


def _any_of(*rules: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda name: any(rule(name) for rule in rules)


def _parts(name: str) -> tuple[str, bool, str]:
    """Return Step and result of ``steps.STEP.results.RESULT``, whether or not an index or key follows."""
    words: Sequence[str] = name.split(".", 4)
    if len(words) < 4 or words[0] != "steps" or words[2] != "results":  # noqa: PLR2004 - steps, S, results, R
        return "", False, ""
    return words[1], True, words[3].partition("[")[0]
