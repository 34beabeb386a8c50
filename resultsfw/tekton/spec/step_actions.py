"""Merge StepActions into the Steps that refer to them, as Tekton does.

Variables of a StepAction are replaced once, by the Step's params; the Task's variables are replaced after
that. A value is data in both passes (`resultsfw.tekton.spec.variables.protect`), and a variable that only
the entrypoint or a later pass knows is kept.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

from resultsfw.cluster import Object
from resultsfw.errors import ResultsError
from resultsfw.limits import object_size
from resultsfw.tekton.spec.expansion import Budget, Expansion, Lookup, first_of
from resultsfw.tekton.spec.params import ParamError, Params, param_type, param_value, parse_name
from resultsfw.tekton.spec.task_defaults import typed_results
from resultsfw.tekton.spec.variables import VARIABLE, escape_protection, variables_in
from resultsfw.types import Value

__all__ = [
    "StepActionError",
    "StepActions",
    "has_step_refs",
    "merged_bytes",
    "merged_step",
    "step_failure",
    "with_declared_results",
]

StepActions: TypeAlias = Sequence[Object | None]
"""The ``spec`` of the StepAction of each Step, by index; ``None`` where a Step refers to none."""

_ALWAYS: Final = ("image", "workingDir", "securityContext")
"""Fields that a Step takes from its StepAction even if they are empty there."""

_IF_GIVEN: Final = ("command", "args", "script", "env", "volumeMounts", "results")
_LISTS: Final = ("command", "args")
_MERGED: Final = (*_ALWAYS, *_IF_GIVEN)
_STEP_RESULT: Final = "steps."
_SHOWN: Final = 200
"""Characters of a variable's name that a message shows."""


class StepActionError(ResultsError):
    """The params of a Step do not match its StepAction."""

    code = "StepActionInvalid"


def has_step_refs(task_spec: Object) -> bool:
    """Return whether a Step of a Task refers to a StepAction."""
    return any(step.get("ref") is not None for step in task_spec.get("steps") or ())


def step_failure(step: Object, index: int, why: str) -> str:
    """Return Tekton's message for a Step whose StepAction cannot be read or does not match."""
    name = str(step.get("name") or "")
    return f'failed to resolve step ref for step "{name}" (index {index}): {why}'


def merged_bytes(action: Object) -> int:
    """Return how many bytes a StepAction's ``spec`` adds to each Step that refers to it."""
    return object_size({field: action[field] for field in _MERGED if action.get(field)})


def with_declared_results(steps: Sequence[Object], actions: StepActions) -> list[Object]:
    """Return Steps that declare the results of their StepActions."""
    given = [(action or {}).get("results") for action in actions]
    return [
        {**step, "results": typed_results(results)} if results else step
        for step, results in zip(steps, given, strict=True)
    ]


def merged_step(
    step: Object,
    action: Object,
    outside: Lookup,
    *,
    is_later: Callable[[str], bool],
    budget: Budget,
    at: str,
) -> Object:
    """Return a Step with its StepAction in place of ``ref`` and ``params``; values are protected.

    Args:
        step: As the Task has it, ``$(~name)`` in its texts standing for ``$(name)`` in a value.
        action: The StepAction's ``spec``, as written.
        outside: Knows the variables that the Step's params may hold, with their values protected.
        is_later: Says of a parameter of the run that it is put in when it has been read.
        budget: For all texts of the Task's StepActions together.
        at: The Step's path in the Task.

    Raises:
        StepActionError: A parameter is missing, unknown, or of another type than its default.
        ParamError: Defaults of the StepAction's parameters name each other in a circle.
        TooLargeError: It would be larger than one object can be.
    """
    declared: list[Object] = list(action.get("params") or ())
    given = list(step.get("params") or ())
    _refuse_names({param["name"]: param for param in given}, declared)
    texts = Expansion(outside, budget)
    values = {
        param["name"]: texts.value(param_value(param.get("value")), f"{at}.params[{param['name']}]")
        for param in given
    }
    known = _lookup(declared, values, is_later, budget)
    inside = Expansion(known, budget)
    authored: Object = escape_protection({field: action[field] for field in _MERGED if action.get(field)})
    merged = {key: value for key, value in step.items() if key not in ("ref", "params", *_ALWAYS)}
    for field, value in authored.items():
        if field == "results":
            merged[field] = typed_results(value)
        elif field in _LISTS:
            merged[field] = inside.texts(value, f"{at}.{field}")
        else:
            merged[field] = inside.tree(value, f"{at}.{field}")
    return merged


def _refuse_names(given: Collection[str], declared: Sequence[Object]) -> None:
    """Refuse params that the StepAction does not declare, or that it needs and does not get."""
    known = {param["name"] for param in declared}
    if extra := [name for name in given if name not in known]:
        raise StepActionError(f"extra params passed by Step to StepAction: [{' '.join(extra)}]")
    missing = [
        param["name"] for param in declared if param.get("default") is None and param["name"] not in given
    ]
    if missing:
        raise StepActionError(f"non-existent params in Step: [{' '.join(missing)}]")


def _lookup(
    declared: Sequence[Object], values: Mapping[str, Any], is_later: Callable[[str], bool], budget: Budget
) -> Lookup:
    """Return what the StepAction's parameters stand for."""
    aliases: dict[str, str] = {}
    given: dict[str, Any] = {}
    names = {param["name"] for param in declared}
    for param in declared:
        name, kind = param["name"], param_type(param)
        if name not in values:
            _refuse_unknown(param, names)
            continue
        value = values[name]
        source = _source(value, is_later)
        if not source or source.startswith(_STEP_RESULT):
            _refuse_type(param, value)
        if kind != "string" and source:
            aliases[name] = source
        elif kind != "object" or not isinstance(value, str):
            given[name] = value
        # Tekton keeps the default of an object parameter that is given a text.
    try:
        params = Params(
            escape_protection(list(declared)), list(given.items()), live=lambda _: True, budget=budget
        )
    except ParamError as error:
        raise StepActionError("circular dependency detected in parameter references") from error
    objects = {param["name"]: set(param.get("properties") or ()) for param in declared}
    types = {param["name"]: param_type(param) for param in declared}

    def aliased(variable: str) -> Value | None:
        return _aliased(variable, aliases, types, objects)

    return first_of(aliased, params.lookup())


def _refuse_unknown(param: Object, names: Collection[str]) -> None:
    """Refuse a default that names a parameter which the StepAction does not declare."""
    default = param.get("default")
    for variable in variables_in(default):
        found = parse_name(variable)
        if found is None or found.base in names or found.base.partition(".")[0] in names:
            continue
        other = found.base[:_SHOWN]
        raise StepActionError(f'parameter "{param["name"]}" references non-existent parameter "{other}"')


def _refuse_type(param: Object, value: Any) -> None:
    """Refuse a text for an array, or an array for a text, where the default is of the declared type."""
    default = param.get("default")
    wrong = (isinstance(default, list) and isinstance(value, str)) or (
        isinstance(default, str) and isinstance(value, list)
    )
    if wrong:
        raise StepActionError(
            f"invalid parameter substitution: {param['name']}. Please check the types of the default value "
            f"and the passed value"
        )


def _source(value: Any, is_later: Callable[[str], bool]) -> str:
    """Return the variable, without ``[*]``, that a parameter's value is until the pod runs; else empty.

    It is a Step's result, or a parameter of the run whose value is a reference to a result.
    """
    if not isinstance(value, str) or (match := VARIABLE.fullmatch(value)) is None:
        return ""
    name = match[1]
    parsed = parse_name(name)
    if name.startswith(_STEP_RESULT) or (parsed is not None and is_later(parsed.base)):
        return name.removesuffix("[*]")
    return ""


def _aliased(
    variable: str, aliases: Mapping[str, str], types: Mapping[str, str], keys: Mapping[str, set[str]]
) -> str | None:
    """Return the later variable that stands for a part of a parameter; ``None`` for any other variable."""
    name = parse_name(variable) if aliases else None
    if name is None:
        return None
    if name.base in aliases:
        source, suffix = aliases[name.base], name.suffix
        if types[name.base] == "object":
            return f"$({source}{suffix})" if suffix.startswith(".") else None
        return f"$({source}[{suffix or '*'}])"
    base, _, key = name.base.partition(".")
    if not name.quoted and not name.suffix and base in aliases and key in keys[base]:
        return f"$({aliases[base]}.{key})"
    return None
