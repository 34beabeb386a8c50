"""Build the children of a Pipeline Task that is due, each by its kind."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from resultsfw.cluster import Kind, Object
from resultsfw.durations import parse_duration
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.tekton.api.kinds import CUSTOMRUNS, PIPELINERUNS, TASKRUNS
from resultsfw.tekton.api.times import DEFAULT_TIMEOUT
from resultsfw.tekton.pipelinerun.child_parts import NewChild
from resultsfw.tekton.pipelinerun.children import names_of
from resultsfw.tekton.pipelinerun.customrun_builder import build_customrun
from resultsfw.tekton.pipelinerun.facts import BATCH_SIZE, Facts
from resultsfw.tekton.pipelinerun.matrix import Combination
from resultsfw.tekton.pipelinerun.nested_builder import build_pipelinerun
from resultsfw.tekton.pipelinerun.object_limits import child_over_capacity
from resultsfw.tekton.pipelinerun.taskrun_builder import build_taskrun
from resultsfw.tekton.spec.coscheduling import Mode
from resultsfw.tekton.spec.pod_template import merge_pod_templates

__all__ = ["ChildBuilder", "batch_size_of"]

_BYTES_AT_ONCE: Final = 4 * OBJECT_BYTES

_PASSED: Final[Mapping[Kind, frozenset[str]]] = {
    CUSTOMRUNS: frozenset({"pipelineTaskName", "serviceAccountName", "timeout"}),
    PIPELINERUNS: frozenset({"pipelineTaskName", "serviceAccountName", "timeout", "podTemplate"}),
}
"""Fields of ``taskRunSpecs`` that CustomRuns and child PipelineRuns get."""

_BUILDERS: Final[Mapping[Kind, Callable[[NewChild], Object]]] = {
    TASKRUNS: build_taskrun,
    CUSTOMRUNS: build_customrun,
    PIPELINERUNS: build_pipelinerun,
}


def batch_size_of(pipelinerun: Object) -> int:
    """Return how many children one reconcile may create: fewer where each gets a large pod template."""
    each = object_size(pipelinerun["spec"].get("taskRunTemplate"))
    return max(1, min(BATCH_SIZE, _BYTES_AT_ONCE // each))


class ChildBuilder:
    """Builds the children of one PipelineRun.

    What the run gives to its Tasks is sorted once: there may be thousands of either.

    Args:
        pipelinerun: The run.
        default_timeout: The duration that a child without a timeout has.
        mode: How pods are placed.
    """

    def __init__(
        self, pipelinerun: Object, default_timeout: str = DEFAULT_TIMEOUT, mode: Mode = "disabled"
    ) -> None:
        spec = pipelinerun["spec"]
        self._pipelinerun = pipelinerun
        self._default_timeout = parse_duration(default_timeout)
        self._mode = mode
        template = spec.get("taskRunTemplate") or {}
        self._default: Object = {
            "serviceAccountName": template.get("serviceAccountName"),
            "podTemplate": template.get("podTemplate"),
        }
        self._own: dict[str, list[Object]] = {}
        for entry in spec.get("taskRunSpecs") or ():
            self._own.setdefault(entry.get("pipelineTaskName", ""), []).append(entry)

    def build(self, facts: Facts, name: str) -> Iterator[Object]:
        """Yield the children of a Pipeline Task that is due, with all results in them that it names."""
        return self._built(facts, name, facts.combinations(name))

    def ignored_fields(self, facts: Facts, name: str) -> list[str]:
        """Return the fields of a Pipeline Task that its children cannot be given, as under Tekton."""
        if (passed := _PASSED.get(facts.kinds[name])) is None:
            return []
        given = {key for entry in self._own.get(name, ()) for key, value in entry.items() if value}
        ignored = [f"taskRunSpecs.{key}" for key in sorted(given - passed)]
        if facts.kinds[name] == PIPELINERUNS and facts.tasks[name][1].get("retries"):
            ignored.append("retries")
        return ignored

    def refusal(self, facts: Facts, name: str) -> str:
        """Return why the children of a Pipeline Task that is due cannot be created; empty if they can."""
        largest = max(facts.combinations(name), key=object_size)
        (child,) = self._built(facts, name, (largest,))
        return child_over_capacity(child, name)

    def _built(self, facts: Facts, name: str, combinations: Sequence[Combination]) -> Iterator[Object]:
        own = self._default
        for entry in self._own.get(name, ()):
            own = _over(entry, own)
        task = facts.inputs.task(name)
        build = _BUILDERS[facts.kinds[name]]
        names = names_of(self._pipelinerun["metadata"]["name"], name, len(combinations))
        for child, combination in zip(names, combinations, strict=True):
            spec = with_combination(task, combination)
            timeout, mode = self._default_timeout, self._mode
            yield build(NewChild(self._pipelinerun, facts, name, child, own, spec, timeout, mode))


def with_combination(task: Object, combination: Combination) -> Object:
    """Return a Pipeline Task with the params of one combination of its matrix, those first as in Tekton."""
    params = [{"name": name, "value": value} for name, value in combination.items()]
    return {**task, "params": [*params, *(task.get("params") or ())]} if params else task


def _over(own: Object, before: Object) -> Object:
    """Return two ``taskRunSpecs`` entries of one Task as one, in which the later one counts.

    As Tekton's GetTaskRunSpec: the pod templates merge, the service account stays until another is named.
    """
    return {
        **own,
        "serviceAccountName": own.get("serviceAccountName") or before.get("serviceAccountName"),
        "podTemplate": merge_pod_templates(own.get("podTemplate"), before.get("podTemplate")),
    }
