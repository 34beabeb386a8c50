"""The outcomes of following a reference: a document, an answer that is awaited, or a failure."""

from dataclasses import dataclass

from resultsfw.cluster import Object
from resultsfw.errors import ResultsError

__all__ = ["AwaitingResolution", "ResolutionFailed", "Resolved"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference refers to.

    Attributes:
        document: Of the version that the reconcilers read.
        ref_source: Where a resolver found it (``uri``, ``digest``, ``entryPoint``), as far as it says.
    """

    document: Object
    ref_source: Object | None = None


class AwaitingResolution(ResultsError):  # noqa: N818 - it is not an error: the answer comes later
    """A resolver has not answered yet. The run waits; the change of the request brings it back.

    Args:
        reason: Of the run's condition while it waits, Tekton's: ``ResolvingTaskRef``.
        message: Of the run's condition.
        subject: The ResolutionRequest.
    """

    code = "AwaitingResolution"

    def __init__(self, reason: str, message: str, *, subject: str = "") -> None:
        super().__init__(message, subject=subject)
        self.reason = reason


class ResolutionFailed(ResultsError):  # noqa: N818 - a verdict over a reference, not a failure of ours
    """A resolver cannot give what a reference refers to; ``subject`` is the ResolutionRequest."""

    code = "ResolutionFailed"
