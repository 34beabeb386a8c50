"""Have the entrypoint start the Steps of a hermetic run without a network, as in Tekton.

Source: docs/hermetic.md and ``cmd/entrypoint/runner.go``: the Step's command gets network, mount and user
namespaces of its own. Sidecars keep the network, there as here.
"""

from collections.abc import Sequence
from typing import Final

from resultsfw.cluster import Object

__all__ = ["HERMETIC_VARIABLE", "hermetic_variables", "is_hermetic"]

HERMETIC_VARIABLE: Final = "TEKTON_HERMETIC"
"""With the value "1" in a Step's environment, the entrypoint takes the network from its command."""

_ANNOTATION: Final = "experimental.tekton.dev/execution-mode"
_EXCEPTION: Final = "TEKTON_RESOURCE_NAME"
"""The entrypoint leaves the network to a Step with this variable: those of PipelineResources, once."""


def is_hermetic(taskrun: Object) -> bool:
    """Return whether a TaskRun asks for Steps without a network; the annotation may be its Task's."""
    return (taskrun["metadata"].get("annotations") or {}).get(_ANNOTATION) == "hermetic"


def hermetic_variables(step: Object) -> Sequence[Object]:
    """Return variables that end a hermetic Step's environment, where they override what it has itself.

    Unlike under Tekton, a Step cannot keep its network by a variable.

    Args:
        step: The Step's container.
    """
    has_exception = step.get("envFrom") or any(
        variable.get("name") == _EXCEPTION for variable in step.get("env") or ()
    )
    exception = [{"name": _EXCEPTION, "value": ""}] if has_exception else []
    return [*exception, {"name": HERMETIC_VARIABLE, "value": "1"}]
