"""The closed set of actions that one round of reconciling a TaskRun can end in.

`resultsfw.tekton.taskrun.decision` chooses one, `resultsfw.tekton.taskrun.executor` carries it out. "Ends the
pass" means that the reconciler returns afterwards; after any other action it decides again, with what the
action has brought to light.
"""

from dataclasses import dataclass

from resultsfw.errors import ResultsError
from resultsfw.tekton.taskrun.termination import TerminationCause

__all__ = [
    "Action",
    "AskWhetherReady",
    "AwaitImages",
    "AwaitResolution",
    "BackOff",
    "CleanUp",
    "Collect",
    "CollectWithoutPod",
    "CreatePod",
    "FailWithoutPod",
    "Finalize",
    "Finish",
    "HoldBack",
    "MarkReady",
    "ReadPod",
    "RecordPod",
    "Refuse",
    "ReportUnreadable",
    "ReportWaiting",
    "ResolveTask",
    "Retry",
    "StartAttempt",
    "StopSidecars",
    "TerminatePod",
    "Wait",
    "WriteFinalStatus",
]


# The beginning of an attempt.


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Write that the TaskRun is pending, as ``spec.status`` asks. Ends the pass."""


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Write the attempt's first status. Its ``startTime`` is what the timeout counts from."""


@dataclass(frozen=True, slots=True)
class ResolveTask:
    """Read, validate and substitute the Task."""


@dataclass(frozen=True, slots=True)
class ReadPod:
    """Get the attempt's pod, whose name follows from the TaskRun and the number of the attempt."""


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Build the attempt's pod, let its backend prepare it, and create it."""


@dataclass(frozen=True, slots=True)
class RecordPod:
    """Write the pod's name and its backend into the status, which later passes trust."""


# The attempt has no pod, and will not get one in this pass.


@dataclass(frozen=True, slots=True)
class AwaitImages:
    """Write that the commands of images are looked up. Ends the pass.

    Attributes:
        message: Of the condition.
    """

    message: str


@dataclass(frozen=True, slots=True)
class AwaitResolution:
    """Write that a resolver has not answered yet. Ends the pass.

    Attributes:
        reason: Of the condition.
        message: Of the condition.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Write that the TaskRun cannot be run as it is written. Ends the pass."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class FailWithoutPod:
    """Write that the TaskRun failed; there is no pod to read. Ends the pass."""

    cause: TerminationCause


@dataclass(frozen=True, slots=True)
class CollectWithoutPod:
    """Judge the results of a pod that is gone by what the TaskRun's status still holds of them."""


@dataclass(frozen=True, slots=True)
class ReportWaiting:
    """Write what keeps the pod from being created, and raise the error: the queue tries again."""

    message: str
    error: ResultsError


@dataclass(frozen=True, slots=True)
class BackOff:
    """Raise the error and write nothing: the queue tries again."""

    error: ResultsError


# The pod is there.


@dataclass(frozen=True, slots=True)
class AskWhetherReady:
    """Ask the backend whether the pod's results can be read."""


@dataclass(frozen=True, slots=True)
class Collect:
    """Read the results and judge them together with the pod.

    Attributes:
        cause: Why the run ends, if not because its Steps ended.
        final: No further try follows: a read that fails is part of the verdict.
    """

    cause: TerminationCause | None
    final: bool


@dataclass(frozen=True, slots=True)
class TerminatePod:
    """Have the kubelet terminate all containers and keep the pod, so that its logs can be read."""

    cause: TerminationCause


@dataclass(frozen=True, slots=True)
class StopSidecars:
    """Replace the images of Sidecars that outlive the Steps by an image that exits at once."""


@dataclass(frozen=True, slots=True)
class MarkReady:
    """Annotate the pod, so that its first Step starts.

    Attributes:
        repeat: It was annotated before, and the kubelet may have missed that.
    """

    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Copy the states of Steps and Sidecars into the status, with this condition. Ends the pass.

    Attributes:
        requeue_after: Seconds after which time alone may change the decision; ``None``: never.
        reason: Of the condition.
        message: Of the condition.
    """

    requeue_after: float | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ReportUnreadable:
    """As `Wait`, with the condition that results cannot be read yet. Ends the pass.

    Attributes:
        requeue_after: As of `Wait`.
        error: What keeps results from being read.
        back_off: Raise the error afterwards, so that the queue decides when to try again.
    """

    requeue_after: float | None
    error: ResultsError
    back_off: bool = False


# The end of an attempt.


@dataclass(frozen=True, slots=True)
class Retry:
    """Archive the attempt in ``retriesStatus``, so that the next pass starts another. Ends the pass."""


@dataclass(frozen=True, slots=True)
class WriteFinalStatus:
    """Write the verdict."""


@dataclass(frozen=True, slots=True)
class CleanUp:
    """Stop Sidecars, purge what backends keep, delete the pod of a cancelled run. Ends the pass."""


@dataclass(frozen=True, slots=True)
class Finalize:
    """Purge what backends keep of a deleted TaskRun, and remove its finalizers. Ends the pass."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Do nothing. Ends the pass."""


Action = (
    HoldBack
    | StartAttempt
    | ResolveTask
    | ReadPod
    | CreatePod
    | RecordPod
    | AwaitResolution
    | AwaitImages
    | Refuse
    | FailWithoutPod
    | CollectWithoutPod
    | ReportWaiting
    | BackOff
    | AskWhetherReady
    | Collect
    | TerminatePod
    | StopSidecars
    | MarkReady
    | Wait
    | ReportUnreadable
    | Retry
    | WriteFinalStatus
    | CleanUp
    | Finalize
    | Finish
)
"""What `resultsfw.tekton.taskrun.decision.decide` returns."""
