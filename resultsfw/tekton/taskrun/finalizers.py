"""What a run's backends keep outside its pods: how long, and who removes it."""

import contextlib
import logging
from dataclasses import replace
from typing import Final

from resultsfw.cluster import PODS, Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import NotFoundError
from resultsfw.stamps import STAMP_ANNOTATION, read_stamp
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.names import pod_name
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.podstatus.pod_state import all_containers_ended
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.tekton.taskrun.stamps import may_use

__all__ = ["FINALIZER", "awaits_finalizer", "finalize", "purge_earlier", "required_metadata"]

log = logging.getLogger(__name__)

FINALIZER: Final = "resultsfw.dev/purge-"
"""Begins the finalizer of a run of which the backend named behind it keeps something that knows nothing of
the run. One for each backend: between two attempts the flags may have changed."""

_AGAIN: Final = 5.0
"""Seconds between two looks at the pod of a deleted run; its events come sooner."""


def required_metadata(core: ResultsManager, taskrun: Object, pod: Object) -> Object:
    """What must stand in a run's metadata before its pod is made; empty if it does already."""
    metadata = taskrun["metadata"]
    stamp = pod["metadata"].get("annotations", {}).get(STAMP_ANNOTATION)
    marks: Object = {}
    if stamp is not None and (metadata.get("annotations") or {}).get(STAMP_ANNOTATION) != stamp:
        marks["annotations"] = {STAMP_ANNOTATION: stamp}
    if core.external_state(pod) == "elsewhere" and (known := read_stamp(pod)) is not None:
        finalizers = metadata.get("finalizers") or []
        if (mine := FINALIZER + known.backend) not in finalizers:
            marks["finalizers"] = [*finalizers, mine]
    return marks


def purge_earlier(core: ResultsManager, cluster: Cluster, taskrun: Object) -> None:
    """Remove what earlier attempts of a run that is over left, each by the backend it had."""
    status = taskrun.get("status", {})
    run = run_of(taskrun, status.get("taskSpec") or {}, attempt=0)
    for attempt, earlier in enumerate(status.get("retriesStatus") or ()):
        flags = earlier.get("provenance", {}).get("featureFlags", {})
        if run.declares_results and (backend := flags.get("resultExtractionMethod")):
            core.purge(replace(run, attempt=attempt), {}, cluster, backend=backend)


def awaits_finalizer(taskrun: Object) -> bool:
    """Whether a run is deleted and waits for what its backends keep to be purged."""
    metadata = taskrun["metadata"]
    return "deletionTimestamp" in metadata and any(
        one.startswith(FINALIZER) for one in metadata.get("finalizers") or ()
    )


def finalize(core: ResultsManager, cluster: Cluster, taskrun: Object) -> float | None:
    """Purge what a deleted run's backends keep, once none of its pods can add to it, and let the run go.

    Finalizers that name a backend which the run cannot have had are taken away, and nothing is imported.

    Returns:
        Seconds after which to look again while a pod still ends; ``None``: nothing is left to do.

    Raises:
        ClusterError, BackendError: Something could not be removed; the run stays until it is.
    """
    metadata = taskrun["metadata"]
    finalizers = metadata.get("finalizers") or []
    named = dict.fromkeys(one.removeprefix(FINALIZER) for one in finalizers if one.startswith(FINALIZER))
    if not named:
        return None
    # A tenant can write finalizers. Ours name backends that the flags allow, or that the status knows.
    backends = [one for one in named if may_use(core, taskrun, one)]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    status = taskrun.get("status", {})
    attempts = range(len(status.get("retriesStatus") or ()) + 1)
    pods = [pod_name(name, attempt) for attempt in attempts]
    if [pod for pod in pods if _still_runs(cluster, taskrun, namespace, pod)]:
        return _AGAIN
    run = run_of(taskrun, status.get("taskSpec") or {}, attempt=0)
    for attempt in attempts:
        for backend in backends:
            core.purge(replace(run, attempt=attempt), {}, cluster, backend=backend, deleted=True)
    kept = [one for one in finalizers if not one.startswith(FINALIZER)]
    patch = {"metadata": {"finalizers": kept, "resourceVersion": metadata["resourceVersion"]}}
    with contextlib.suppress(NotFoundError):
        cluster.patch(TASKRUNS, namespace, name, patch)
    log.info("run %s/%s is deleted, and with it what %s kept of it", namespace, name, ", ".join(backends))
    if others := len(named) - len(backends):
        log.warning(
            "run %s/%s: %d finalizers %s* were taken away unheeded: no flag allows their backends, and "
            "none of these was stamped on the run",
            *(namespace, name, others, FINALIZER),
        )
    return None


def _still_runs(cluster: Cluster, taskrun: Object, namespace: str, name: str) -> bool:
    """Whether a pod of the run can still add to what is kept; it is told to end."""
    try:
        pod = cluster.get(PODS, namespace, name)
    except NotFoundError:
        return False
    if not owns(taskrun, pod) or all_containers_ended(pod):
        return False
    if "deletionTimestamp" not in pod["metadata"]:
        with contextlib.suppress(NotFoundError):
            cluster.delete(PODS, namespace, name)
    return True
