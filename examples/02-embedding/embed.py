"""Carry a run's results in a controller of your own: flags in, a prepared pod out, a status patch back."""

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
    """Before the pod is created: let the backend add what it needs; the pod is stamped with it."""
    return core.prepare_pod(run, pod)


def follow(report: Object, pod: Object, cluster: Cluster, now: str) -> Object | None:
    """At each change of the pod: the status patch once all is there, and ``None`` until then."""
    if not core.is_ready(run, pod):
        return None
    return core.status_patch(core.collect(run, pod, cluster), report, now=now)
