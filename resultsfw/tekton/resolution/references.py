"""References of runs to Tasks, Pipelines and StepActions, with the variables in them replaced."""

from collections.abc import Sequence
from dataclasses import dataclass

from resultsfw.cluster import Kind, Object
from resultsfw.tekton.api.task_models import is_url
from resultsfw.tekton.spec.expansion import Expansion
from resultsfw.tekton.spec.params import param_value
from resultsfw.tekton.spec.variables import unprotect

__all__ = ["Reference", "described", "reference_of"]


@dataclass(frozen=True, slots=True)
class Reference:
    """What a run refers to.

    Attributes:
        kind: Of the object; with the version that the reconcilers read.
        name: Of the object in the run's namespace, or, with a resolver, a URL.
        resolver: The type of the resolver; empty without one.
        params: Of the resolver, each with ``name`` and ``value``.
    """

    kind: Kind
    name: str = ""
    resolver: str = ""
    params: Sequence[Object] = ()


def reference_of(ref: Object, kind: Kind, expansion: Expansion, field: str) -> Reference:
    """Return a reference with variables replaced: in the params of a resolver, and in a name that is a URL.

    Args:
        ref: ``taskRef``, ``pipelineRef`` or a Step's ``ref``; values in it are protected.
        kind: Of what it refers to.
        expansion: Replaces the variables.
        field: Its path in the run, for errors.

    Raises:
        TooLargeError: It would be larger than one object can be.
    """
    name, resolver = ref.get("name") or "", ref.get("resolver") or ""
    if not resolver:
        return Reference(kind, name)
    params = [
        {
            "name": param["name"],
            "value": unprotect(
                expansion.value(param_value(param.get("value")), f"{field}.params[{param['name']}]")
            ),
        }
        for param in ref.get("params") or ()
    ]
    if is_url(name):
        name = unprotect(expansion.text(name, f"{field}.name"))
    return Reference(kind, name, resolver, params)


def described(ref: Object) -> str:
    """Return how a message names what a resolver should find (Tekton's GenerateErrorLogString)."""
    shown = [param for param in ref.get("params") or () if param["name"] in ("name", "url")]
    return f"resolver type {ref.get('resolver')}\n" + "".join(
        f"{param['name']} = {param.get('value')}\n" for param in shown
    )
