"""Register a pod with the extension that verifies signatures, and make the condition until it has ended."""

import logging
from datetime import datetime
from typing import Final

from resultsfw.cluster import Object
from resultsfw.core import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.status import VERIFIED, verification_condition
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.times import format_time
from resultsfw.types import Run, Verification

__all__ = ["RETRY_SECONDS", "awaits_registration", "is_unregistered", "register_pod"]

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5.0
"""Seconds between two tries. The Steps run meanwhile; only at their end is the identity waited for."""


def register_pod(core: ResultsManager, run: Run, pod: Object, now: datetime) -> Object | None:
    """Register a pod that exists; return the condition about its signatures, if any are expected.

    A failure is part of the condition: the run goes on, and the next pass tries again.
    """
    try:
        verification = core.pod_created(run, pod)
    except ResultsError as error:
        log.warning("run %s/%s: its pod is not registered yet: %s", run.namespace, run.name, error.message)
        verification = Verification(
            status="Unknown",
            reason=reasons.NOT_REGISTERED,
            message=f"the pod is not registered yet, and cannot sign until it is: {error.message}",
        )
    return None if verification is None else verification_condition(verification, format_time(now))


def awaits_registration(taskrun: Object, now: datetime) -> bool:
    """Return whether an attempt's pod is still to be registered, and that was not tried in this very pass."""
    entry = _condition(taskrun)
    return is_unregistered(taskrun) and entry.get("lastTransitionTime") != format_time(now)


def is_unregistered(taskrun: Object) -> bool:
    """Return whether an attempt's pod is still to be registered."""
    return bool(_condition(taskrun).get("reason") == reasons.NOT_REGISTERED)


def _condition(taskrun: Object) -> Object:
    conditions = (taskrun.get("status") or {}).get("conditions") or ()
    return next((entry for entry in conditions if entry.get("type") == VERIFIED), {})
