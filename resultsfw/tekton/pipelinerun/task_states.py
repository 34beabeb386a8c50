"""Return how the Tasks of a run ended, as variables: ``tasks.NAME.status``, ``.reason``, ``tasks.status``."""

from typing import TYPE_CHECKING

from resultsfw.tekton.pipelinerun.children import reason_of
from resultsfw.types import Value

if TYPE_CHECKING:
    from resultsfw.tekton.pipelinerun.facts import Facts

__all__ = ["states_of"]


def states_of(facts: "Facts") -> dict[str, Value]:
    """Return the states of the Tasks before ``finally``, by variable."""
    states: dict[str, Value] = {}
    for name in facts.dag:
        state = "Succeeded" if facts.has_succeeded(name) else "Failed" if facts.has_failed(name) else "None"
        states[f"tasks.{name}.status"] = state
        states[f"tasks.{name}.reason"] = reason_of(facts.runs.get(name, ()))
    states["tasks.status"] = _overall_state(facts)
    return states


def _overall_state(facts: "Facts") -> str:
    if not facts.dag_done:
        return "None"
    if any(facts.has_failed(name) for name in facts.dag):
        return "Failed"
    return "Completed" if any(facts.skip_reason(name) for name in facts.dag) else "Succeeded"
