"""Find what is wrong with StepActions, and with Steps that refer to them, in Tekton's words."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.spec.validate_steps import FieldError, missing, result_errors
from resultsfw.tekton.spec.validate_task import param_errors, usage_errors, whole_array_errors
from resultsfw.tekton.spec.variables import VARIABLE, find_prefixed

__all__ = ["step_action_errors", "step_ref_errors"]

_NOT_WITH_REF: Final = {
    "image": "image",
    "command": "command",
    "args": "args",
    "script": "script",
    "workingDir": "working dir",
    "env": "env",
    "volumeMounts": "volumeMounts",
    "results": "results",
}
"""Fields that a Step cannot have beside ``ref``, and how Tekton's message names them."""

_QUALIFIED_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_QUALIFIED_NAME_HELP: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_SCRIPT: Final = "param substitution in scripts is not allowed."
_VOLUME: Final = "expect the Name to be a single param reference"


def step_ref_errors(steps: Sequence[Object]) -> Iterator[FieldError]:
    """Yield all that is wrong with the references of a Task's Steps, before any is followed."""
    for index, step in enumerate(steps):
        at, ref = f"steps[{index}]", step.get("ref")
        if ref is None:
            continue
        name = str(ref.get("name") or "")
        if not name and not ref.get("resolver"):
            yield missing(f"{at}.ref.name")
        elif not ref.get("resolver") and not _QUALIFIED_NAME.fullmatch(name):
            yield FieldError(f"invalid value: {_QUALIFIED_NAME_HELP}", (f"{at}.ref.name",))
        for field, word in _NOT_WITH_REF.items():
            if step.get(field):
                yield FieldError(f"{word} cannot be used with Ref", (f"{at}.{field}",))


def step_action_errors(action: Object) -> list[FieldError]:
    """Return all that is wrong with a StepAction's ``spec``; empty when a Step can use it.

    What refers to parameters that do not exist comes alone, first, as of a Task.
    """
    params: list[Object] = action.get("params") or []
    usage = [_in_action(problem) for problem in usage_errors([action], params)]
    if usage:
        return usage
    script = action.get("script") or ""
    problems = [] if action.get("image") else [missing("spec.Image")]
    if script and action.get("command"):
        problems.append(FieldError("script cannot be used with command", ("spec.script",)))
    if next(find_prefixed(script, "params"), None) is not None:
        problems.append(FieldError(_SCRIPT, ("spec.script",)))
    if script.strip().startswith("#!win"):
        problems.append(FieldError("Windows scripts are not supported", ("spec.script",)))
    problems += [_in_spec(problem) for problem in param_errors(params)]
    problems += [_in_action(problem) for problem in whole_array_errors([action], params)]
    problems += [_in_spec(problem) for problem in result_errors(action.get("results") or [], "results")]
    problems += _volume_mounts(action)
    return problems


def _volume_mounts(action: Object) -> Iterator[FieldError]:
    """Yield mounts of a volume that the Task does not choose: only it declares volumes."""
    for index, mount in enumerate(action.get("volumeMounts") or []):
        match = VARIABLE.fullmatch(mount.get("name") or "")
        if match is None or not match[1].startswith("params"):
            message = f"invalid value: {mount.get('name') or ''}"
            yield FieldError(message, (f"spec.volumeMounts[{index}].name",), _VOLUME)


def _in_action(problem: FieldError) -> FieldError:
    """Return a problem of a Task's first Step with its path in the StepAction."""
    return replace(problem, paths=tuple(f"spec.{path.removeprefix('steps[0].')}" for path in problem.paths))


def _in_spec(problem: FieldError) -> FieldError:
    return replace(problem, paths=tuple(f"spec.{path}" for path in problem.paths))
