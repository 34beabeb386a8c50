"""Replace the variables in a TaskRun's own texts that reach its pod: workspace bindings and podTemplate."""

from dataclasses import dataclass
from typing import Any

from resultsfw.cluster import Object
from resultsfw.tekton.spec.expansion import Budget, Expansion, Lookup, first_of
from resultsfw.tekton.spec.params import LITERAL_ANNOTATION, Params, given_texts
from resultsfw.tekton.spec.variable_names import context_names
from resultsfw.tekton.spec.variables import escape_protection, unprotect
from resultsfw.tekton.spec.workspaces import claim_name

__all__ = [
    "RunTexts",
    "escape_run_protection",
    "replace_bindings",
    "replace_pod_template",
    "run_lookup",
    "run_params",
    "run_texts",
]


@dataclass(frozen=True, slots=True)
class RunTexts:
    """A run's own texts.

    Attributes:
        bindings: Of workspaces, with claims in place of templates.
        pod_template: ``spec.podTemplate``; empty if there is none.
    """

    bindings: list[Object]
    pod_template: Object


def run_texts(taskrun: Object, task_spec: Object) -> RunTexts:
    """Return a run's own texts as its pod gets them.

    Args:
        taskrun: The run.
        task_spec: Its Task's: with the parameters it declares.

    Raises:
        ParamError: Defaults of parameters name each other in a circle.
        TooLargeError: They would be larger than one object can be.
    """
    lookup = run_lookup(taskrun, run_params(taskrun, task_spec))
    return RunTexts(
        unprotect(replace_bindings(taskrun, lookup)), unprotect(replace_pod_template(taskrun, lookup))
    )


def run_params(taskrun: Object, task_spec: Object) -> Params:
    """Return a run's parameters, in whose values the run's context is replaced.

    Raises:
        ParamError: Defaults of parameters name each other in a circle.
        TooLargeError: They would be larger than one object can be.
    """
    context = context_names(taskrun)
    return Params(task_spec.get("params") or [], given_texts(taskrun), context.__contains__)


def run_lookup(taskrun: Object, params: Params) -> Lookup:
    """Return the lookup of variables outside of the Task: parameters, and the run's context."""
    context = context_names(taskrun)
    return first_of(params.lookup(context.get), context.get)


def escape_run_protection(part: Any, taskrun: Object) -> Any:
    """Return a part of a run in which ``$(~name)`` stands for a value's ``$(name)``, and for nothing else.

    A run that a PipelineRun created says that it is written so.
    """
    if LITERAL_ANNOTATION in (taskrun["metadata"].get("annotations") or {}):
        return part
    return escape_protection(part)


def replace_pod_template(taskrun: Object, lookup: Lookup) -> Object:
    """Return the run's ``podTemplate`` with variables replaced, values still protected; empty without one.

    Raises:
        TooLargeError: It would be larger than one object can be.
    """
    template = (taskrun.get("spec") or {}).get("podTemplate")
    if not template:
        return {}
    expansion = Expansion(lookup, Budget())
    replaced: Object = expansion.tree(escape_run_protection(template, taskrun), "podTemplate")
    if selector := replaced.get("nodeSelector"):
        replaced["nodeSelector"] = {
            expansion.text(key, "podTemplate.nodeSelector"): value for key, value in selector.items()
        }
    return replaced


def replace_bindings(taskrun: Object, lookup: Lookup) -> list[Object]:
    """Return the run's workspace bindings with variables replaced and claims in place of templates.

    Values are still protected.

    Raises:
        TooLargeError: They would be larger than one object can be.
    """
    bound = (taskrun.get("spec") or {}).get("workspaces") or []
    if not bound:
        return []
    uid = (taskrun.get("metadata") or {}).get("uid", "")
    expansion = Expansion(lookup, Budget())
    replaced = []
    for index, binding in enumerate(escape_run_protection(bound, taskrun)):
        at = f"workspaces[{index}]"
        if binding.get("volumeClaimTemplate") is not None:
            claim = {"claimName": claim_name(binding, uid)}
            kept = {key: binding[key] for key in ("name", "subPath") if key in binding}
            replaced.append(
                {**expansion.tree(kept, at), "name": binding["name"], "persistentVolumeClaim": claim}
            )
        else:
            replaced.append({**expansion.tree(binding, at), "name": binding["name"]})
    return replaced
