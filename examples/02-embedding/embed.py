"""Carry results in a controller of your own: prepare the pod, then compute the status patch."""

from resultsfw import Cluster, Object, ResultsManager, ResultSpec, Run, Step

core = ResultsManager.from_flags({"results-from": "termination-message", "max-result-size": "4096"})
run = Run(
    namespace="default",
    name="report",
    uid="6f7d",
    results=(ResultSpec(name="digest"), ResultSpec(name="files", type="array")),
    steps=(Step(name="build", container="build"),),
)


def begin(pod: Object) -> Object:
    """Return the pod to create: with the backend's additions and its stamp."""
    return core.prepare_pod(run, pod)


def follow(report: Object, pod: Object, cluster: Cluster, now: str) -> Object | None:
    """Return the status patch, or ``None`` while results are missing; call it at each change of the pod."""
    if not core.is_ready(run, pod):
        return None
    return core.status_patch(core.collect(run, pod, cluster), report, now=now)
