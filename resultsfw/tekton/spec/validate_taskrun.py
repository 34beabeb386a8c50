"""Refuse a TaskRun that cannot run, before any pod exists, with Tekton's reasons and messages."""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.durations import format_duration, parse_duration
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.policies import Policies, task_violations, violations
from resultsfw.tekton.api.refusals import (
    USER_ERROR,
    RefusedRun,
    creation_failed,
    invalid_value,
    subject_of,
)
from resultsfw.tekton.spec.expansion import TooLargeError
from resultsfw.tekton.spec.params import (
    ParamError,
    given_params,
    is_reference,
    param_type,
    param_value,
    parse_name,
    value_type,
)
from resultsfw.tekton.spec.pod_size import refusal_of_size
from resultsfw.tekton.spec.run_texts import RunTexts, escape_run_protection
from resultsfw.tekton.spec.step_actions import StepActionError, StepActions
from resultsfw.tekton.spec.substitution import Substitution
from resultsfw.tekton.spec.unreplaced import Unreplaced, in_task, unreplaced
from resultsfw.tekton.spec.validate_step_action import step_action_errors, step_ref_errors
from resultsfw.tekton.spec.validate_steps import FieldError, quoted
from resultsfw.tekton.spec.validate_task import array_references, task_errors

__all__ = [
    "SOURCES",
    "lacking_field",
    "refuse_forbidden",
    "refuse_invalid",
    "refuse_step_action",
    "refuse_step_refs",
    "refuse_values",
    "shown_value",
]

_RESERVED: Final = frozenset({"tekton-log-results"})
_MOST_PATHS: Final = 100
"""Fields with one and the same problem that a message names."""
_MOST_SHOWN: Final = 5
"""Variables that one message names."""
_REFERENCE: Final = re.compile(r"\$\([_a-zA-Z0-9.-]+(?:\[(?:[0-9]+|\*)\])?\)")
SOURCES: Final = (
    "persistentVolumeClaim",
    "volumeClaimTemplate",
    "emptyDir",
    "configMap",
    "secret",
    "projected",
    "csi",
)


def refuse_invalid(
    taskrun: Object,
    task_spec: Object,
    *,
    task_name: str = "",
    actions: StepActions = (),
    reserved_sidecars: Collection[str] = _RESERVED,
) -> Object:
    """Raise for what cannot run, and return the spec of what can: substituted, its values still protected.

    Args:
        taskrun: The run.
        task_spec: Its Task's spec, before substitution.
        task_name: The Task's name, if it has one.
        actions: The specs of the StepActions that Steps refer to, by the Step's index.
        reserved_sidecars: Names a user's Sidecar cannot have, without ``sidecar-``.

    Raises:
        RefusedRun: With all that is wrong in the part that is wrong first: the run against its Task, then the
            Task.
    """
    for check in (_size, _names, wrong_params, _array_indexes, _workspaces, _overrides, _times):
        message = check(taskrun, task_spec)
        if message:
            raise RefusedRun(reasons.VALIDATION_FAILED, message, subject=subject_of(taskrun))
    if message := _enums(taskrun, task_spec):
        raise invalid_value(taskrun, message)
    try:
        substitution = Substitution(task_spec, taskrun, task_name=task_name, actions=actions)
        substituted, run_texts = substitution.task_spec, substitution.run_texts
    except StepActionError as error:
        raise RefusedRun(reasons.RESOLUTION_FAILED, error.message, subject=subject_of(taskrun)) from error
    except (ParamError, TooLargeError) as error:
        message = f"{USER_ERROR}{error.message}"
        raise RefusedRun(reasons.VALIDATION_FAILED, message, subject=subject_of(taskrun)) from error
    # Tekton validates what substitution leaves, and its messages quote that.
    problems = task_errors(substituted, reserved_sidecars=reserved_sidecars)
    problems = problems or [
        FieldError(found.message, (found.field,)) for found in _unreplaced(taskrun, substitution, run_texts)
    ]
    if problems:
        raise creation_failed(taskrun, _format_errors(problems))
    return substituted


def refuse_step_refs(taskrun: Object, task_spec: Object) -> None:
    """Raise for Steps whose ``ref`` cannot be followed, or that say beside it what the StepAction says.

    Also for so many Steps that no pod could hold them: each may name another StepAction to read.

    Raises:
        RefusedRun: With all that is wrong.
    """
    if message := _size(taskrun, task_spec):
        raise RefusedRun(reasons.VALIDATION_FAILED, message, subject=subject_of(taskrun))
    if problems := list(step_ref_errors(task_spec.get("steps") or [])):
        raise creation_failed(taskrun, _format_errors(problems))


def refuse_step_action(taskrun: Object, name: str, action: Object) -> None:
    """Raise for a StepAction that no Step can use.

    Args:
        taskrun: The run of the Step.
        name: Of the StepAction.
        action: Its ``spec``.

    Raises:
        RefusedRun: With all that is wrong.
    """
    if problems := step_action_errors(action):
        message = f"{USER_ERROR}StepAction {quoted(name)} is invalid: {_format_errors(problems)}"
        raise RefusedRun(reasons.VALIDATION_FAILED, message, subject=subject_of(taskrun))


def _unreplaced(taskrun: Object, substitution: Substitution, run_texts: RunTexts) -> list[Unreplaced]:
    """Return the first few of Tekton's variables that nothing replaces, in the Task's and the run's texts."""
    later = {name for name, value in given_params(taskrun) if is_reference(value)}
    claims = [
        binding["volumeClaimTemplate"]  # a claim is created as it is written
        for binding in _spec(taskrun).get("workspaces") or []
        if binding.get("volumeClaimTemplate") is not None
    ]
    own_texts = {
        "workspaces": run_texts.bindings,
        "volumeClaimTemplate": escape_run_protection(claims, taskrun),
        "podTemplate": run_texts.pod_template,
    }

    def is_later(variable: str) -> bool:
        name = parse_name(variable) if later else None
        return name is not None and (name.base in later or name.base.partition(".")[0] in later)

    def found(known: Collection[str]) -> list[Unreplaced]:
        inside = in_task(substitution.task_spec, known, is_later)
        outside = chain.from_iterable(
            unreplaced(value, field, known, is_later) for field, value in own_texts.items()
        )
        return list(islice(chain(inside, outside), _MOST_SHOWN))

    # Only a run that misspelt one pays for the suggestion.
    return found(substitution.known_names()) if found(()) else []


def refuse_values(taskrun: Object, task_spec: Object) -> None:
    """Raise for values that a Task's parameters cannot have.

    `refuse_invalid` does so, too, but not for those that are references to results until they are read.

    Raises:
        RefusedRun: One is of the wrong kind, lacks keys, or ends before an index that the Task names.
    """
    for check in (wrong_params, _array_indexes):
        if message := check(taskrun, task_spec):
            raise RefusedRun(reasons.VALIDATION_FAILED, message, subject=subject_of(taskrun))
    if message := _enums(taskrun, task_spec):
        raise invalid_value(taskrun, message)


def refuse_forbidden(taskrun: Object, task_spec: Object, policies: Policies) -> None:
    """Raise for a run that the operator's policies forbid, or that one forbids which is not enforced here.

    Raises:
        RefusedRun: Naming each policy, and the field where it is about one.
    """
    namespace = taskrun["metadata"].get("namespace", "")
    if found := [*violations(taskrun, policies), *task_violations(task_spec, policies, namespace=namespace)]:
        raise RefusedRun(
            reasons.VALIDATION_FAILED, USER_ERROR + "; ".join(found), subject=subject_of(taskrun)
        )


def _spec(taskrun: Object) -> Object:
    spec: Object = taskrun.get("spec") or {}
    return spec


def _format_errors(problems: Sequence[FieldError]) -> str:
    """Return all problems, one a line, those of one message together, sorted: as knative prints them."""
    paths: dict[tuple[str, str], set[str]] = {}
    for problem in problems:
        paths.setdefault((problem.message, problem.details), set()).update(problem.paths)
    return "\n".join(
        f"{message}: {_some(sorted(there))}" + (f"\n{details}" if details else "")
        for (message, details), there in sorted(paths.items())
    )


def _some(paths: Sequence[str]) -> str:
    """Return the first of many paths, and how many more there are."""
    more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
    return ", ".join(paths[:_MOST_PATHS]) + more


def _go_list(items: Sequence[str]) -> str:
    return f"[{' '.join(items)}]"


def _size(taskrun: Object, task_spec: Object) -> str:
    """Return why the pod could never be stored; asked before anything is made for each of its containers."""
    why = refusal_of_size(taskrun, task_spec)
    return USER_ERROR + why if why else ""


def _names(taskrun: Object, _task_spec: Object) -> str:
    """Return a message on params or workspaces that the run gives twice; case does not count."""
    for field in ("params", "workspaces"):
        seen: set[str] = set()
        for item in _spec(taskrun).get(field) or []:
            if item["name"].lower() in seen:
                return f"expected exactly one, got both: spec.{field}[{item['name']}].name"
            seen.add(item["name"].lower())
    return ""


def _enums(taskrun: Object, task_spec: Object) -> str:
    """Return a message on values that are not among those a parameter allows."""
    allowed = {param["name"]: param["enum"] for param in task_spec.get("params") or [] if param.get("enum")}
    for name, given in given_params(taskrun):
        value = param_value(given)
        if isinstance(value, str) and value and value not in allowed.get(name, [value]):
            return f"param `{name}` value: {shown_value(value)} is not in the enum list"
    return ""


def shown_value(value: str) -> str:
    """Return what a message says of a parameter's value, which may be a secret: how many bytes it has."""
    return f"({len(value.encode('utf-8', 'surrogatepass'))} bytes, not shown)"


def wrong_params(taskrun: Object, task_spec: Object) -> str:
    """Return a message on params without a value, of the wrong type, or without all their keys."""
    declared = task_spec.get("params") or []
    provided = {name: param_value(value) for name, value in given_params(taskrun)}
    reference = (_spec(taskrun).get("taskRef") or {}).get("name")
    where = f"{USER_ERROR}invalid input params for task {reference or taskrun['metadata'].get('name', '')}: "
    missing = [
        param["name"] for param in declared if param.get("default") is None and param["name"] not in provided
    ]
    if missing:
        return f"{where}missing values for these params which have no default values: {_go_list(missing)}"
    types = {param["name"]: param_type(param) for param in declared}
    wrong = [
        name
        for name, value in provided.items()
        if name in types and not is_reference(value) and not _fits(value, types[name])
    ]
    if wrong:
        return f"{where}param types don't match the user-specified type: {_go_list(wrong)}"
    absent = _missing_keys(declared, provided)
    if absent:
        shown = " ".join(f"{name}:{_go_list(keys)}" for name, keys in sorted(absent.items()))
        return (
            f"{where}missing keys for these params which are required in ParamSpec's properties map[{shown}]"
        )
    return ""


def _fits(value: Any, wanted: str) -> bool:
    if value_type(value) == wanted:
        return True
    # A reference to a whole array or object is a text until something resolves it.
    return wanted in {"array", "object"} and isinstance(value, str) and _REFERENCE.search(value) is not None


def _missing_keys(declared: Sequence[Object], provided: Mapping[str, Any]) -> dict[str, list[str]]:
    absent: dict[str, list[str]] = {}
    for param in declared:
        if param_type(param) != "object":
            continue
        default = param_value(param.get("default"))
        value = provided.get(param["name"])
        if is_reference(value):
            continue
        there = {*(default if isinstance(default, dict) else ()), *(value if isinstance(value, dict) else ())}
        lacking = sorted(key for key in param.get("properties") or {} if key not in there)
        if there and lacking:
            absent[param["name"]] = lacking
    return absent


def _array_indexes(taskrun: Object, task_spec: Object) -> str:
    """Return a message on references behind the end of an array parameter."""
    given = given_params(taskrun)
    later = {name for name, value in given if is_reference(value)}
    lengths = {
        name: len(value)
        for name, value in (
            *((param["name"], param_value(param.get("default"))) for param in task_spec.get("params") or []),
            *((name, param_value(value)) for name, value in given),
        )
        if isinstance(value, list) and name not in later
    }
    if not lengths:
        return ""
    beyond = {
        text
        for text, name, index in array_references(task_spec)
        if name in lengths and index >= lengths[name]
    }
    return f"{USER_ERROR}non-existent param references:{_go_list(sorted(beyond))}" if beyond else ""


def _workspaces(taskrun: Object, task_spec: Object) -> str:
    """Return a message on bindings that bind nothing, or not what the Task declares."""
    bound = _spec(taskrun).get("workspaces") or []
    for binding in bound:
        sources = [source for source in SOURCES if binding.get(source) is not None]
        if len(sources) != 1:
            why = "expected exactly one, got " + ("both" if sources else "neither")
            fields = "configmap, emptydir, persistentvolumeclaim, secret, volumeclaimtemplate"
            return f'{USER_ERROR}binding "{binding.get("name", "")}" is invalid: {why}: {fields}'
        if field := lacking_field(binding):
            return f'{USER_ERROR}binding "{binding["name"]}" is invalid: missing field(s): {field}'
    declared = task_spec.get("workspaces") or []
    names = {binding["name"] for binding in bound}
    for workspace in declared:
        if not workspace.get("optional") and workspace["name"] not in names:
            return f'{USER_ERROR}declared workspace "{workspace["name"]}" is required but has not been bound'
    if _spec(taskrun).get("taskSpec") is None:  # an embedded Task need not declare what its run binds
        known = {workspace["name"] for workspace in declared}
        for binding in bound:
            if binding["name"] not in known:
                name = quoted(binding["name"])
                return f"{USER_ERROR}workspace binding {name} does not match any declared workspace"
    return ""


def lacking_field(binding: Object) -> str:
    """Return the field without which a binding's source means nothing."""
    for source, field, printed in (
        ("persistentVolumeClaim", "claimName", "persistentvolumeclaim.claimname"),
        ("configMap", "name", "configmap.name"),
        ("secret", "secretName", "secret.secretName"),
        ("projected", "sources", "projected.sources"),
        ("csi", "driver", "csi.driver"),
    ):
        if binding.get(source) is not None and not binding[source].get(field):
            return printed
    return ""


def _overrides(taskrun: Object, task_spec: Object) -> str:
    """``stepSpecs`` and ``sidecarSpecs`` that name nothing."""
    wrong = []
    for field, kind, part in (("stepSpecs", "Step", "steps"), ("sidecarSpecs", "Sidecar", "sidecars")):
        names = {container.get("name", "") for container in task_spec.get(part) or []}
        wrong += [
            f"invalid {kind}Override: No {kind} named {override.get('name', '')}"
            for override in _spec(taskrun).get(field) or []
            if override.get("name", "") not in names
        ]
    return USER_ERROR + "\n".join(wrong) if wrong else ""


def _times(taskrun: Object, _task_spec: Object) -> str:
    """Return a message on a timeout that is no duration or below zero, or on retries below zero."""
    timeout = _spec(taskrun).get("timeout")
    if timeout is not None:
        try:
            nanoseconds = parse_duration(timeout)
        except ValueError as error:
            return f"invalid value: {error}: spec.timeout"
        if nanoseconds < 0:
            return f"invalid value: {format_duration(nanoseconds)} should be >= 0: spec.timeout"
    retries = _spec(taskrun).get("retries") or 0
    return f"invalid value: {retries} should be >= 0: spec.retries" if retries < 0 else ""
