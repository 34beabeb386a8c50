"""The conditions for a resolver's answer: how long it may take, and whether it must be signed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from resultsfw.cluster import Kind, Object
from resultsfw.durations import format_duration
from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.kinds import PIPELINES, TASKS
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.resolution.outcomes import ResolutionFailed

__all__ = ["FAILED", "UNVERIFIED", "ListPolicies", "Terms", "no_policies"]

ListPolicies = Callable[[str], Iterable[Object]]
"""Returns the VerificationPolicies of a namespace."""

FAILED: Final = "error requesting remote resource: "
"""Prefix of a resolver's error (Tekton's words)."""

UNVERIFIED: Final = "ResourceVerificationFailed"
"""Reason of the condition of a run whose Task or Pipeline is not signed as it must be (Tekton's)."""

_GRACE: Final = 30.0
"""Seconds beyond the limit: first Tekton's controller has to end what takes too long, if it runs at all."""

_NANOSECONDS: Final = 10**9


def no_policies(_namespace: str) -> Iterable[Object]:
    """Return none."""
    return ()


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions for answers in one reconciliation.

    Attributes:
        now: The time.
        limit: Seconds that a resolver may take (``default-maximum-resolution-timeout``).
        verification_policies: Returns the VerificationPolicies of a namespace.
    """

    now: datetime
    limit: float
    verification_policies: ListPolicies = no_policies

    def refuse_late(self, run: Object, reason: str) -> None:
        """Raise if the run's condition shows that it has waited too long, for this reason.

        Raises:
            ResolutionFailed: It has.
        """
        known = succeeded(run)
        since = parse_time(known.get("lastTransitionTime")) if known.get("reason") == reason else None
        if since is not None and (self.now - since).total_seconds() >= self.limit + _GRACE:
            limit = format_duration(int(self.limit * _NANOSECONDS))
            raise ResolutionFailed(f"{FAILED}resolution took longer than global timeout of {limit}")

    def refuse_unverified(self, kind: Kind, namespace: str) -> None:
        """Raise if a policy may demand a signature, because signatures are not verified here.

        Policies that only warn demand none. Which sources a policy is about is not considered: its patterns
        are regular expressions, and whoever writes one must not keep the controller busy.

        Args:
            kind: Of what a resolver found: Tekton verifies Tasks and Pipelines.
            namespace: Of the run.

        Raises:
            RefusedRun: There is such a policy.
            ClusterError: The policies could not be read.
        """
        if kind not in (TASKS, PIPELINES):
            return
        for policy in self.verification_policies(namespace):
            if (policy.get("spec") or {}).get("mode") != "warn":
                name = policy["metadata"]["name"]
                raise RefusedRun(
                    UNVERIFIED,
                    f'VerificationPolicy "{name}" requires signatures, which are not verified here: refer to '
                    f"the {kind.kind} by name and not by resolver, or run it with Tekton's own controller",
                )
