"""Find in Tasks and TaskRuns what Tekton's admission webhook refuses (``pkg/apis/pipeline/v1``)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.spec.params import is_reference, param_value, value_type
from resultsfw.tekton.spec.validate_step_action import step_action_errors
from resultsfw.tekton.spec.validate_steps import FieldError
from resultsfw.tekton.spec.validate_task import task_errors
from resultsfw.tekton.spec.validate_taskrun import SOURCES, lacking_field

__all__ = [
    "BOTH",
    "binding_errors",
    "declarations",
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
        others = declarations(spec.get("params") or ())
        yield from within("spec.taskSpec", embedded_task_errors(task_spec, others))


def embedded_task_errors(task_spec: Object, others: Iterable[Object]) -> list[FieldError]:
    """Return what is wrong with an embedded Task.

    Args:
        task_spec: Its spec.
        others: Declarations of params that reach it without being its own (propagated parameters).
    """
    own = task_spec.get("params") or ()
    names = {param["name"] for param in own}
    reaching: dict[str, Object] = {}
    for param in others:
        if param["name"] not in names:
            known = reaching.setdefault(param["name"], param)
            if keys := {**(known.get("properties") or {}), **(param.get("properties") or {})}:
                reaching[param["name"]] = {**known, "properties": keys}
    return _task_errors({**task_spec, "params": [*own, *reaching.values()]})


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
