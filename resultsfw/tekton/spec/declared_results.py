"""What the core must know of a TaskRun: its Steps, its results and where they come from, its artifacts."""

from collections.abc import Iterator
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.artifact_refs import writes_step_artifacts, writes_task_artifacts
from resultsfw.tekton.api.names import container_name, step_name
from resultsfw.types import ResultSpec, ResultType, Run, Step, StepResultRef

__all__ = ["run_of", "step_result", "step_results"]

_STEPS: Final = "$(steps."
_RESULTS: Final = ".results."


def run_of(taskrun: Object, task_spec: Object, *, attempt: int) -> Run:
    """Return the run as backends see it.

    Args:
        taskrun: With name, namespace and uid.
        task_spec: Valid, see `resultsfw.tekton.spec.validate_taskrun`; substituted or not.
        attempt: 0 for the first try, one more for each retry.
    """
    metadata = taskrun["metadata"]
    artifacts = writes_step_artifacts(task_spec)
    return Run(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        attempt=attempt,
        results=tuple(_declared(result) for result in task_spec.get("results") or []),
        steps=tuple(
            Step(
                name=step_name(step, index),
                container=container_name(f"step-{step_name(step, index)}"),
                results=tuple(_declared(result) for result in step.get("results") or []),
                artifacts=artifacts[index],
            )
            for index, step in enumerate(task_spec.get("steps") or [])
        ),
        artifacts=writes_task_artifacts(task_spec),
        spec=task_spec,
    )


def step_result(value: str) -> StepResultRef | None:
    """Return the Step result that a Task result's ``value`` names; ``None`` if it names none."""
    return next(step_results(value), None)


def step_results(value: str) -> Iterator[StepResultRef]:
    """Yield the Step results that a text names, as Tekton's pattern finds them.

    A variable ``$(steps.STEP.results.RESULT)`` ends in its line. Each part is searched from where the last
    search ended: a text may hold thousands of beginnings and no end.
    """
    for line in value.split("\n"):
        start = line.find(_STEPS)
        while start >= 0:
            middle = line.find(_RESULTS, start + len(_STEPS))
            end = line.find(")", middle + len(_RESULTS)) if middle >= 0 else -1
            if end < 0:
                break
            yield StepResultRef(line[start + len(_STEPS) : middle], line[middle + len(_RESULTS) : end])
            start = line.find(_STEPS, end + 1)


def _declared(result: Object) -> ResultSpec:
    properties = result.get("properties")
    kind: ResultType = result.get("type") or ("string" if properties is None else "object")
    value = result.get("value")
    return ResultSpec(
        name=result["name"],
        type=kind,
        properties=tuple(properties or ()),
        from_step=step_result(value) if isinstance(value, str) else None,
    )
