"""Operate a resource of its own: a Report is a script, whose results its status gets from its Job.

    kopf run report_operator.py --namespace NAMESPACE

Every second, each Report without a verdict is reconciled. Nothing is kept in memory, so the operator may be
killed at any time: the objects in the cluster determine the next action.
"""

import contextlib
import datetime as dt
import logging
import os
from collections.abc import Mapping
from typing import Any

import kopf

from resultsfw import Cluster, CollectionOutcome, Kind, Object, ResultsManager, ResultSpec, Run, Step
from resultsfw.errors import AlreadyExistsError, ClusterError, NotFoundError, ResultsError
from resultsfw.kube import KubeCluster

REPORTS = Kind("example.resultsfw.dev", "v1", "reports", "Report")
JOBS = Kind("batch", "v1", "jobs", "Job")
LABEL = "example.resultsfw.dev/report"
CONTAINER = "report"
PATIENCE = dt.timedelta(seconds=30)


def run_of(report: Object) -> Run:
    """Return the core's description of a Report: one Run, one pod."""
    metadata = report["metadata"]
    results = [
        ResultSpec(name=result["name"], type=result.get("type", "string"))
        for result in report["spec"]["results"]
    ]
    return Run(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        results=tuple(results),
        steps=(Step(name="report", container=CONTAINER),),
    )


def advance(core: ResultsManager, cluster: Cluster, report: Object, pod: Object | None) -> None:
    """Reconcile a Report: create its Job, or write its status when its pod can be read.

    Args:
        core: The results manager.
        cluster: The cluster with Jobs, logs and statuses.
        report: The Report, as last seen.
        pod: The pod of its Job, if it exists.
    """
    if has_verdict(report):
        return
    run = run_of(report)
    if pod is None:
        if failed := begin(core, cluster, run, report):
            complete(core, cluster, report, CollectionOutcome(), failed)
    elif core.is_ready(run, pod):
        complete(core, cluster, report, core.collect(run, pod, cluster), exit_of(pod))
        # Not earlier: until the results are in the status, the backend has the only copy.
        core.purge(run, pod, cluster)


def begin(core: ResultsManager, cluster: Cluster, run: Run, report: Object) -> str:
    """Create the Job if it is missing; return why there will never be a pod to read, or an empty text."""
    metadata = report["metadata"]
    try:
        job = cluster.get(JOBS, run.namespace, job_name(report))
    except NotFoundError:
        container = {"name": CONTAINER, "image": report["spec"]["image"]}
        template: Object = {
            "metadata": {"namespace": run.namespace, "labels": {LABEL: metadata["name"]}},
            "spec": {
                "restartPolicy": "Never",
                "containers": [{**container, "command": ["sh", "-c", report["spec"]["script"]]}],
            },
        }
        try:
            template = core.prepare_pod(run, template, cluster=cluster)
        except ClusterError:
            raise
        except ResultsError as error:
            return error.message
        job = {
            "metadata": {"name": job_name(report), "namespace": run.namespace},
            # One Run is one pod: a retry would be another Job, for a Run with `attempt=1`.
            "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 600, "template": template},
        }
        kopf.append_owner_reference(job, owner=report)
        with contextlib.suppress(AlreadyExistsError):  # by an operator that was stopped right here
            cluster.create(JOBS, job)
        return ""
    for condition in job.get("status", {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            # The watch of pods may lag behind the watch of Reports, but not that long.
            since = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(condition["lastTransitionTime"])
            return "its pod is gone, and the results with it" if since > PATIENCE else ""
    return ""


def complete(
    core: ResultsManager, cluster: Cluster, report: Object, collected: CollectionOutcome, failed: str
) -> None:
    """Write verdict and results; raise ConflictError if the Report was changed meanwhile."""
    status: Object = {}
    if failed:
        condition = {"type": "Succeeded", "status": "False", "reason": "ReportFailed", "message": failed}
        status["conditions"] = [{**condition, "lastTransitionTime": now()}]
    patch = core.status_patch(collected, report, now=now(), status=status)
    metadata = report["metadata"]
    cluster.patch(REPORTS, metadata["namespace"], metadata["name"], patch, subresource="status")


def exit_of(pod: Object) -> str:
    """Return why the script failed, or an empty text."""
    for container in pod["status"].get("containerStatuses") or ():
        ended = container["state"].get("terminated", {})
        if container["name"] == CONTAINER and ended.get("exitCode"):
            return f"the script ended with exit code {ended['exitCode']} ({ended.get('reason', '')})"
    return ""


def has_verdict(report: Object) -> bool:
    """Return whether the Report is finished."""
    conditions = report.get("status", {}).get("conditions") or ()
    return any(
        condition["type"] == "Succeeded" and condition["status"] in ("True", "False")
        for condition in conditions
    )


def job_name(report: Object) -> str:
    """Return the name of this Report's Job; an earlier Report of the same name has another uid."""
    return f"{report['metadata']['name'][:50]}-{report['metadata']['uid'][:8]}"


def now() -> str:
    """Return the current time as Kubernetes writes it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Pods = dict[tuple[str, str], kopf.Body]

# kopf calls these functions. Those that are not async run in threads, so they may wait for the API server.


@kopf.on.startup()
def start(memo: kopf.Memo, settings: kopf.OperatorSettings, **_: Any) -> None:
    """Read the configuration; an error in it stops the operator at its start."""
    settings.posting.level = logging.WARNING  # no Event for each reconciliation
    settings.scanning.disabled = True  # kopf would list all namespaces and CRDs
    flags = {"results-from": os.environ.get("RESULTS_FROM", "sidecar-logs")}
    if image := os.environ.get("SIDECAR_IMAGE"):
        flags["config.sidecar-logs"] = f"image: {image}"
    memo.core = ResultsManager.from_flags(flags)
    memo.cluster = KubeCluster.from_config()


@kopf.index("pods", labels={LABEL: kopf.PRESENT})
def pods(namespace: str, labels: Mapping[str, str], body: kopf.Body, **_: Any) -> Pods:
    """Index the pods of Reports by namespace and name of the Report."""
    return {(namespace, labels[LABEL]): body}


@kopf.timer(REPORTS.plural, group=REPORTS.group, interval=1.0)
def reconcile(
    body: kopf.Body,
    namespace: str,
    name: str,
    memo: kopf.Memo,
    pods: kopf.Index[tuple[str, str], kopf.Body],
    **_: Any,
) -> None:
    """Reconcile a Report; errors that may pass are retried."""
    report = dict(body)
    # Only pods of this Report's Job, not of an earlier Report's with the same name.
    mine = [
        dict(pod)
        for pod in pods.get((namespace, name), ())
        if any(owner["name"] == job_name(report) for owner in pod["metadata"].get("ownerReferences") or ())
    ]
    try:
        advance(memo.core, memo.cluster, report, mine[0] if mine else None)
    except ClusterError as error:
        if error.retryable:
            raise kopf.TemporaryError(error.message, delay=1) from error
        raise kopf.PermanentError(error.message) from error


@kopf.on.delete(REPORTS.plural, group=REPORTS.group)
def forget(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
    """Purge data outside the cluster; Kubernetes deletes Job and pod with their owner."""
    report = dict(body)
    try:
        job = memo.cluster.get(JOBS, report["metadata"]["namespace"], job_name(report))
    except NotFoundError:
        return
    # The template has the stamp, which names the backend.
    memo.core.purge(run_of(report), job["spec"]["template"], memo.cluster, deleted=True)
