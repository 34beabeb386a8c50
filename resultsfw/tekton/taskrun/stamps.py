"""Tell which backends may read a TaskRun besides those that the flags allow: those stamped on it."""

from resultsfw.cluster import Object
from resultsfw.core import ResultsManager
from resultsfw.errors import BackendNotAllowedError
from resultsfw.flags import DEFAULT_BACKEND
from resultsfw.stamps import read_stamp
from resultsfw.tekton.taskrun.foreign_pods import infer_stamp
from resultsfw.types import Stamp

__all__ = ["may_use", "purged_by", "recorded_stamp", "stamped_backends"]


def stamped_backends(taskrun: Object) -> frozenset[str]:
    """Return the backends that the controller chose for a run's pods, as the run's status says.

    A tenant can write everything of a run but its status, which is a subresource: annotations, finalizers and
    pods prove nothing.
    """
    status = taskrun.get("status") or {}
    attempts = [status, *(status.get("retriesStatus") or ())]
    flags = [(attempt.get("provenance") or {}).get("featureFlags") or {} for attempt in attempts]
    return frozenset(
        known["resultExtractionMethod"]
        for known in flags
        if isinstance(known.get("resultExtractionMethod"), str)
    )


def may_use(core: ResultsManager, taskrun: Object, backend: str) -> bool:
    """Return whether a backend may be imported for a run: the flags or the run's status name it.

    The default is always allowed: it comes with this program, and a pod without results has no stamp.
    """
    return backend == DEFAULT_BACKEND or core.allows(backend) or backend in stamped_backends(taskrun)


def recorded_stamp(core: ResultsManager, taskrun: Object, pod: Object) -> Stamp:
    """Return the stamp by which to read a run's pod.

    Raises:
        BackendError: It cannot be read.
        BackendNotAllowedError: It names a backend that no flag allows and that was never stamped on the run.
    """
    stamp, how = infer_stamp(pod, core.flags)
    if not may_use(core, taskrun, stamp.backend):
        raise BackendNotAllowedError(
            f'pod "{pod["metadata"].get("name", "")}" is to be read by backend "{stamp.backend:.64}", which '
            f"no flag allows and which this controller did not give it ({how:.120})",
            subject=stamp.backend[:64],
        )
    return stamp


def purged_by(core: ResultsManager, taskrun: Object, pod: Object) -> str:
    """Return the backend that removes what a pod left; "" if there is none that may be used.

    Raises:
        BackendError: The pod's stamp cannot be read.
    """
    stamp = read_stamp(pod)
    return stamp.backend if stamp is not None and may_use(core, taskrun, stamp.backend) else ""
