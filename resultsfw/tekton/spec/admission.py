"""Find in Tasks and TaskRuns what Tekton's admission webhook refuses (``pkg/apis/pipeline/v1``)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.spec.params import is_reference, param_value, value_type
from resultsfw.tekton.spec.validate_step_action import step_action_errors
from resultsfw.tekton.spec.validate_steps import FieldError
from resultsfw.tekton.spec.validate_task import task_errors
from resultsfw.tekton.spec.validate_taskrun import SOURCES, lacking_field
from resultsfw.tekton.spec.variables import find_prefixed, texts_in

__all__ = [
    "BOTH",
    "binding_errors",
    "declarations",
    "declared_by_name",
    "duplicates",
    "embedded_task_errors",
    "override_errors",
    "step_action_admission_errors",
    "task_admission_errors",
    "taskrun_admission_errors",
    "within",
]

BOTH: Final = "expected exactly one, got both"
_RESERVED: Final = frozenset({"tekton-log-results"})


def task_admission_errors(task: Object) -> Iterator[FieldError]:
    """Yield what the webhook refuses in a Task of valid shape."""
    yield from within("spec", _task_errors(task["spec"]))


def step_action_admission_errors(action: Object) -> Iterator[FieldError]:
    """Yield what the webhook refuses in a StepAction of valid shape."""
    yield from within("spec", step_action_errors(action["spec"]))


def taskrun_admission_errors(taskrun: Object) -> Iterator[FieldError]:
    """Yield what the webhook refuses in a TaskRun of valid shape."""
    spec = taskrun["spec"]
    yield from within("spec", duplicates("params", spec.get("params") or ()))
    yield from within("spec", binding_errors(spec.get("workspaces") or ()))
    yield from within("spec", override_errors(spec))
    if spec.get("statusMessage") and not spec.get("status"):
        yield FieldError(
            "invalid value: statusMessage should not be set if status is not set", ("spec.statusMessage",)
        )
    if (task_spec := spec.get("taskSpec")) is not None:
        others = declared_by_name(declarations(spec.get("params") or ()))
        yield from within("spec.taskSpec", embedded_task_errors(task_spec, others))


def embedded_task_errors(task_spec: Object, others: Mapping[str, Object]) -> list[FieldError]:
    """Return what is wrong with an embedded Task.

    Args:
        task_spec: Its spec.
        others: Declarations by name of params that reach it without being its own (propagated parameters).
    """
    own = task_spec.get("params") or ()
    names = {param["name"] for param in own}
    # Of thousands of params of a Pipeline, a Task names a few.
    named = sorted((_named_params(task_spec) & others.keys()) - names)
    return _task_errors({**task_spec, "params": [*own, *(others[name] for name in named)]})


def _named_params(task_spec: Object) -> set[str]:
    """Return the names of params, and the objects of keys, that a Task's Steps refer to."""
    names: set[str] = set()
    for text in texts_in([task_spec.get("steps"), task_spec.get("stepTemplate")]):
        for found in find_prefixed(text, "params"):
            name = (found.dotted or found.quoted).partition("[")[0]
            names |= {name, name.partition(".")[0]}
    return names


def declared_by_name(params: Iterable[Object]) -> dict[str, Object]:
    """Return declarations of params by name; an object has the keys of all of its name."""
    by_name: dict[str, Object] = {}
    for param in params:
        known = by_name.setdefault(param["name"], param)
        if known is not param and (new := param.get("properties")):
            by_name[param["name"]] = {**known, "properties": {**(known.get("properties") or {}), **new}}
    return by_name


def _task_errors(task_spec: Object) -> list[FieldError]:
    # The results of a Step are those of its StepAction, which the webhook does not read.
    return task_errors(task_spec, reserved_sidecars=_RESERVED, with_sources=False)


def declarations(given: Iterable[Object]) -> list[Object]:
    """Return params that a run gives as if they were declared with the type that they have."""
    return [
        _declaration(param["name"], param_value(param.get("value")))
        for param in given
        if not is_reference(param.get("value"))
    ]


def _declaration(name: str, value: Any) -> Object:
    declared: Object = {"name": name, "type": value_type(value), "default": value}
    return {**declared, "properties": {key: {} for key in value}} if isinstance(value, dict) else declared


def duplicates(
    field: str, items: Sequence[Mapping[str, Any]], *, by_index: bool = False
) -> Iterator[FieldError]:
    """Yield each name that a list has twice; case does not count."""
    seen: set[str] = set()
    for index, item in enumerate(items):
        name = str(item.get("name") or "")
        if name.lower() in seen:
            yield FieldError(BOTH, (f"{field}[{index if by_index else name}].name",))
        seen.add(name.lower())


def binding_errors(bindings: Sequence[Object]) -> Iterator[FieldError]:
    """Yield workspaces that a run binds twice, or to no source or several."""
    yield from duplicates("workspaces", bindings, by_index=True)
    for index, binding in enumerate(bindings):
        at = f"workspaces[{index}]"
        sources = [source for source in SOURCES if binding.get(source) is not None]
        if len(sources) != 1:
            got = "both" if sources else "neither"
            yield FieldError(
                f"expected exactly one, got {got}", tuple(f"{at}.{name}" for name in sources or SOURCES)
            )
        elif field := lacking_field(binding):
            yield FieldError("missing field(s)", (f"{at}.{field}",))


def override_errors(spec: Object) -> Iterator[FieldError]:
    """Yield ``stepSpecs`` and ``sidecarSpecs`` that are there twice, or exclude the run's own resources."""
    for field in ("stepSpecs", "sidecarSpecs"):
        yield from duplicates(field, spec.get(field) or (), by_index=True)
    if spec.get("computeResources") is not None and any(
        step.get("computeResources") for step in spec.get("stepSpecs") or ()
    ):
        yield FieldError(BOTH, ("stepSpecs.resources", "computeResources"))


def within(path: str, errors: Iterable[FieldError]) -> Iterator[FieldError]:
    """Yield errors whose paths begin with that of the part they were found in."""
    for error in errors:
        yield FieldError(error.message, tuple(f"{path}.{inner}" for inner in error.paths), error.details)
