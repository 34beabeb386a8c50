"""Compare each result of a status with what was signed: the states, and the fault of each."""

from dataclasses import dataclass
from typing import Literal

from resultsfw.signatures.reasons import Fault, Reason, shown

__all__ = ["CheckedResult", "State", "result_fault"]

State = Literal["verified", "unverified", "changed", "added", "missing", "unsigned"]


@dataclass(frozen=True, slots=True)
class CheckedResult:
    """A result of the status or of the verdict.

    Attributes:
        name: The name of its subject: ``results/NAME`` or ``steps/STEP/results/NAME``.
        state: ``changed``: another value was signed; ``added``: it was not signed; ``missing``: it was signed
            and is not in the status; ``unverified``: the controller wrote it, and did not verify that the pod
            signed it; ``unsigned``: nothing proves it.
    """

    name: str
    state: State


def result_fault(result: CheckedResult) -> Fault | None:
    """Return what does not verify of a result; ``None`` if nothing is known to be wrong."""
    match result.state:
        case "changed":
            reason, why = Reason.WRONG_DIGEST, "does not have the value that was signed"
        case "added":
            reason, why = Reason.FORGED_RESULT, "was not signed: somebody added it"
        case "missing":
            reason, why = Reason.LOST_RESULT, "was signed and is not in the status"
        case _:
            return None
    *step, _, name = result.name.split("/")
    owner = step[1] if len(step) > 1 else None
    return Fault(reason=reason, message=f"{shown(result.name)} {why}", result=name, step=owner)
