"""What variables stand for in a PipelineRun before any of its Tasks has run."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.pipelinerun.matrix import matrix_params
from resultsfw.tekton.spec.expansion import Budget, Expansion, Lookup, first_of
from resultsfw.tekton.spec.params import Params, given_texts, param_value, parse_name
from resultsfw.tekton.spec.run_texts import escape_run_protection
from resultsfw.tekton.spec.variables import find_prefixed, texts_in
from resultsfw.types import Value

__all__ = ["PipelineNames", "bound_workspaces", "propagated_workspaces"]

_TASK_CONTEXTS: Final = frozenset(
    {
        "context.taskRun.name",
        "context.taskRun.namespace",
        "context.taskRun.uid",
        "context.task.name",
        "context.task.retry-count",
    }
)
_OF_WORKSPACE: Final = frozenset({"path", "bound", "claim", "volume"})


class PipelineNames:
    """What variables stand for in a Pipeline and in its run's own texts.

    Attributes:
        params: The run's parameters.
        later: Contexts and bound workspaces, by name.

    Raises:
        ParamError: Defaults of parameters name each other in a circle.
        TooLargeError: Defaults grow beyond what one object holds.
    """

    def __init__(self, pipelinerun: Object, spec: Object, name: str) -> None:
        metadata = pipelinerun["metadata"]
        bound = {binding["name"] for binding in pipelinerun["spec"].get("workspaces") or ()}
        declared = {workspace["name"] for workspace in spec.get("workspaces") or ()}
        self.later: Mapping[str, str] = {
            "context.pipelineRun.name": metadata["name"],
            "context.pipelineRun.namespace": metadata.get("namespace", ""),
            "context.pipelineRun.uid": metadata.get("uid", ""),
            "context.pipeline.name": name,
            **{
                f"workspaces.{workspace}.bound": str(workspace in bound).lower()
                for workspace in bound | declared
            },
        }
        sections = (spec.get("tasks") or (), spec.get("finally") or ())
        self._workspaces = bound | {
            usage["name"]
            for section in sections
            for task in section
            for usage in task.get("workspaces") or ()
        }
        self.params = Params(spec.get("params") or (), given_texts(pipelinerun), self._is_live)
        self.lookup: Lookup = first_of(self.params.lookup(self.later.get), self.later.get)

    def inner(self, task: Object, besides: Collection[str] = ()) -> Lookup:
        """Return what is known in the text of an embedded Task: all but the parameters it is given itself.

        A Task's default does not hide the run's value (Tekton's docs, Propagated Parameters). Where it is
        given an object in part, the other keys are the run's.

        Args:
            task: The Pipeline Task.
            besides: Names that are its own, too: in its defaults, those it declares.
        """
        own: dict[str, Value] = dict.fromkeys(besides, "")
        own |= dict.fromkeys((param["name"] for param in matrix_params(task.get("matrix"))), "")
        own |= {param["name"]: param_value(param.get("value")) for param in task.get("params") or ()}
        usages = {usage["name"] for usage in task.get("workspaces") or ()}

        def lookup(variable: str) -> Value | None:
            if self._is_own(variable, own):
                return None
            # Here a workspace has the name that the Task knows it by.
            if variable.startswith("workspaces.") and variable.split(".", 2)[1] in usages:
                return None
            return self.lookup(variable)

        return lookup

    def _is_own(self, variable: str, own: Mapping[str, Value]) -> bool:
        name = parse_name(variable)
        if name is None:
            return False
        if name.base in own:
            value = own[name.base]
            partial = isinstance(value, dict) and name.quoted and name.suffix.startswith(".")
            return not partial or name.suffix[1:] in value
        if name.quoted or name.base in self.params.names:
            return False
        base, _, key = name.base.partition(".")
        value = own.get(base, "")
        return base in own and (not isinstance(value, dict) or key in value)

    def _is_live(self, variable: str) -> bool:
        """Return whether a variable in a value that the run is given is replaced here, or in a TaskRun."""
        if variable in self.later or variable in _TASK_CONTEXTS:
            return True
        words = variable.split(".", 3)
        return (
            len(words) == 3  # noqa: PLR2004 - workspaces, NAME, path
            and words[0] == "workspaces"
            and words[1] in self._workspaces
            and words[2] in _OF_WORKSPACE
        )


def bound_workspaces(pipelinerun: Object, names: PipelineNames) -> dict[str, Object]:
    """Return the run's workspace bindings by name, with all put in that is known before any Task has run.

    Raises:
        TooLargeError: They would be larger than one object can be.
    """
    bound: list[Any] = escape_run_protection(pipelinerun["spec"].get("workspaces") or [], pipelinerun)
    expansion = Expansion(names.lookup, Budget())
    return {
        binding["name"]: {
            key: value
            if key in ("name", "volumeClaimTemplate")
            else expansion.tree(value, f"workspaces[{index}].{key}")
            for key, value in binding.items()
        }
        for index, binding in enumerate(bound)
    }


def propagated_workspaces(task: Object) -> Iterator[Object]:
    """Yield the workspaces that an embedded Task names and the Pipeline does not give it, as if it did.

    Tekton's docs, Propagated Workspaces; the texts are those of ``workspace.FindWorkspacesUsedByTask``.
    """
    spec = task.get("taskSpec")
    if spec is None:
        return
    given = {usage["name"] for usage in task.get("workspaces") or ()}
    texts = texts_in([spec.get("steps"), spec.get("sidecars"), spec.get("stepTemplate")])
    for text in texts:
        for found in find_prefixed(text, "workspaces"):
            name = found.dotted.partition(".")[0]
            if name and name not in given:
                given.add(name)
                yield {"name": name}
