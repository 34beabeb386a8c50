"""Keep a TaskRun until what its backends store outside its pods is purged: finalizers, and their removal."""

import contextlib
import logging
from dataclasses import replace
from typing import Final

from resultsfw.cluster import PODS, Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import NotFoundError, TooEarlyError
from resultsfw.stamps import STAMP_ANNOTATION, read_stamp
from resultsfw.tekton.api.attempts import attempt_number
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.names import pod_name
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.podstatus.pod_state import all_containers_ended
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.tekton.taskrun.stamps import may_use

__all__ = ["FINALIZER", "awaits_finalizer", "finalize", "purge_earlier", "required_metadata"]

log = logging.getLogger(__name__)

FINALIZER: Final = "resultsfw.dev/purge-"
"""Begins the finalizer of a run whose backend, named behind it, stores something that no owner reference
deletes with the run. Each backend has its own: the flags may change between two attempts."""

_REQUEUE_SECONDS: Final = 5.0
"""Seconds after which a deleted run is reconciled again while its pod ends; the pod's events come sooner."""

_PURGE_SECONDS: Final = 2.0
"""Seconds after which a deleted run is reconciled again while a backend is still purging."""


def required_metadata(core: ResultsManager, taskrun: Object, pod: Object) -> Object:
    """Return what the run's metadata must get before its pod is created: stamp, finalizer, or nothing."""
    metadata = taskrun["metadata"]
    stamp = pod["metadata"].get("annotations", {}).get(STAMP_ANNOTATION)
    required: Object = {}
    if stamp is not None and (metadata.get("annotations") or {}).get(STAMP_ANNOTATION) != stamp:
        required["annotations"] = {STAMP_ANNOTATION: stamp}
    if core.external_state(pod) == "elsewhere" and (known := read_stamp(pod)) is not None:
        finalizers = metadata.get("finalizers") or []
        if (mine := FINALIZER + known.backend) not in finalizers:
            required["finalizers"] = [*finalizers, mine]
    return required


def purge_earlier(core: ResultsManager, cluster: Cluster, taskrun: Object) -> None:
    """Remove what earlier attempts of a run that is over left, each with its own backend."""
    status = taskrun.get("status", {})
    run = run_of(taskrun, status.get("taskSpec") or {}, attempt=0)
    # The cache leaves out the texts that say whether a finished run writes artifacts.
    stamped = STAMP_ANNOTATION in (taskrun["metadata"].get("annotations") or {})
    for attempt, earlier in enumerate(status.get("retriesStatus") or ()):
        flags = earlier.get("provenance", {}).get("featureFlags", {})
        if (run.declares_results or stamped) and (backend := flags.get("resultExtractionMethod")):
            core.purge(replace(run, attempt=attempt), {}, cluster, backend=backend)


def awaits_finalizer(taskrun: Object) -> bool:
    """Return whether a run is deleted and has a finalizer of ours, so that its backends must purge."""
    metadata = taskrun["metadata"]
    return "deletionTimestamp" in metadata and any(
        finalizer.startswith(FINALIZER) for finalizer in metadata.get("finalizers") or ()
    )


def finalize(core: ResultsManager, cluster: Cluster, taskrun: Object) -> float | None:
    """Purge what a deleted run's backends store, once none of its pods can add to it; remove the finalizers.

    A finalizer that names a backend which the run cannot have had is removed, and the backend not imported.

    Returns:
        Seconds after which to reconcile again while a pod still ends, or a backend is still purging;
        ``None``: nothing is left to do.

    Raises:
        ClusterError, BackendError: Something could not be removed; the run stays until it is.
    """
    metadata = taskrun["metadata"]
    finalizers = metadata.get("finalizers") or []
    named = dict.fromkeys(
        finalizer.removeprefix(FINALIZER) for finalizer in finalizers if finalizer.startswith(FINALIZER)
    )
    if not named:
        return None
    # A tenant can write finalizers. Ours name backends that the flags allow, or that the status knows.
    backends = [backend for backend in named if may_use(core, taskrun, backend)]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    status = taskrun.get("status", {})
    attempts = range(attempt_number(taskrun) + 1)
    pods = [pod_name(name, attempt) for attempt in attempts]
    if [pod for pod in pods if _still_runs(cluster, taskrun, namespace, pod)]:
        return _REQUEUE_SECONDS
    run = run_of(taskrun, status.get("taskSpec") or {}, attempt=0)
    purging: TooEarlyError | None = None
    for attempt in attempts:
        for backend in backends:
            try:
                core.purge(replace(run, attempt=attempt), {}, cluster, backend=backend, deleted=True)
            except TooEarlyError as error:
                purging = error
    if purging is not None:
        log.debug("run %s/%s is deleted, and kept for now: %s", namespace, name, purging.message)
        return _PURGE_SECONDS
    kept = [finalizer for finalizer in finalizers if not finalizer.startswith(FINALIZER)]
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
    """Return whether a pod of the run can still add to what is stored; if so, delete the pod."""
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
