"""An operator for a resource of its own: a Report is a script, and what its Job writes lands in its status.

    kopf run report_operator.py --namespace NAMESPACE

Every second each Report that has no verdict is looked at anew. Nothing is kept in memory, so the operator
may be stopped anywhere: what there is in the cluster says what is to be done next.
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
    """What the core must know of a Report: one Run, one pod."""
    metadata = report["metadata"]
    results = [
        ResultSpec(name=one["name"], type=one.get("type", "string")) for one in report["spec"]["results"]
    ]
    return Run(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        results=tuple(results),
        steps=(Step(name="report", container=CONTAINER),),
    )


def advance(core: ResultsManager, cluster: Cluster, report: Object, pod: Object | None) -> None:
    """Take the next step of a Report.

    Args:
        core: Carries the results.
        cluster: Where Jobs, logs and statuses are.
        report: As last seen.
        pod: Its Job's, if there is one.
    """
    if has_verdict(report):
        return
    run = run_of(report)
    if pod is None:
        if failed := begin(core, cluster, run, report):
            conclude(core, cluster, report, CollectionOutcome(), failed)
    elif core.is_ready(run, pod):
        conclude(core, cluster, report, core.collect(run, pod, cluster), exit_of(pod))
        # Only now: until the results are in the status, what holds them elsewhere is all there is.
        core.purge(run, pod, cluster)


def begin(core: ResultsManager, cluster: Cluster, run: Run, report: Object) -> str:
    """Create the Job unless it is there; why there will never be a pod to read, if so."""
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
            # One Run is one pod: a second try would be another Job, of a Run with `attempt=1`.
            "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 600, "template": template},
        }
        kopf.append_owner_reference(job, owner=report)
        with contextlib.suppress(AlreadyExistsError):  # by an operator that was stopped right here
            cluster.create(JOBS, job)
        return ""
    for one in job.get("status", {}).get("conditions") or ():
        if one["type"] in ("Complete", "Failed") and one["status"] == "True":
            # The watch for pods may be behind that of Reports, but not by so much.
            since = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(one["lastTransitionTime"])
            return "its pod is gone, and the results with it" if since > PATIENCE else ""
    return ""


def conclude(
    core: ResultsManager, cluster: Cluster, report: Object, collected: CollectionOutcome, failed: str
) -> None:
    """Write verdict and results, if nobody changed the Report meanwhile (ConflictError)."""
    status: Object = {}
    if failed:
        condition = {"type": "Succeeded", "status": "False", "reason": "ReportFailed", "message": failed}
        status["conditions"] = [{**condition, "lastTransitionTime": now()}]
    patch = core.status_patch(collected, report, now=now(), status=status)
    metadata = report["metadata"]
    cluster.patch(REPORTS, metadata["namespace"], metadata["name"], patch, subresource="status")


def exit_of(pod: Object) -> str:
    """Why the script did not do its work, if so."""
    for one in pod["status"].get("containerStatuses") or ():
        ended = one["state"].get("terminated", {})
        if one["name"] == CONTAINER and ended.get("exitCode"):
            return f"the script ended with exit code {ended['exitCode']} ({ended.get('reason', '')})"
    return ""


def has_verdict(report: Object) -> bool:
    """Whether there is nothing left to do."""
    conditions = report.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Succeeded" and one["status"] in ("True", "False") for one in conditions)


def job_name(report: Object) -> str:
    """Of the one Job of this very Report, not of an earlier one of its name."""
    return f"{report['metadata']['name'][:50]}-{report['metadata']['uid'][:8]}"


def now() -> str:
    """As Kubernetes writes it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Pods = dict[tuple[str, str], kopf.Body]

# What kopf calls. Functions that are not async run in threads, so they may wait for the API server.


@kopf.on.startup()
def start(memo: kopf.Memo, settings: kopf.OperatorSettings, **_: Any) -> None:
    """Read the configuration: what is wrong with it ends the operator here."""
    settings.posting.level = logging.WARNING  # no Event for each look
    settings.scanning.disabled = True  # kopf would list all namespaces and CRDs
    flags = {"results-from": os.environ.get("RESULTS_FROM", "sidecar-logs")}
    if image := os.environ.get("SIDECAR_IMAGE"):
        flags["config.sidecar-logs"] = f"image: {image}"
    memo.core = ResultsManager.from_flags(flags)
    memo.cluster = KubeCluster.from_config()


@kopf.index("pods", labels={LABEL: kopf.PRESENT})
def pods(namespace: str, labels: Mapping[str, str], body: kopf.Body, **_: Any) -> Pods:
    """The pods of Reports, as kopf's watch has them."""
    return {(namespace, labels[LABEL]): body}


@kopf.timer(REPORTS.plural, group=REPORTS.group, interval=1.0)
def look(
    body: kopf.Body,
    namespace: str,
    name: str,
    memo: kopf.Memo,
    pods: kopf.Index[tuple[str, str], kopf.Body],
    **_: Any,
) -> None:
    """Look at a Report; what can come right by itself is tried again."""
    report = dict(body)
    # Owned by the Job of this Report, not by that of an earlier one of its name.
    mine = [
        dict(one)
        for one in pods.get((namespace, name), ())
        if any(owner["name"] == job_name(report) for owner in one["metadata"].get("ownerReferences") or ())
    ]
    try:
        advance(memo.core, memo.cluster, report, mine[0] if mine else None)
    except ClusterError as error:
        if error.retryable:
            raise kopf.TemporaryError(error.message, delay=1) from error
        raise kopf.PermanentError(error.message) from error


@kopf.on.delete(REPORTS.plural, group=REPORTS.group)
def forget(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
    """Remove what a backend keeps elsewhere; Kubernetes removes Job and pod with their owner."""
    report = dict(body)
    try:
        job = memo.cluster.get(JOBS, report["metadata"]["namespace"], job_name(report))
    except NotFoundError:
        return
    # The template carries the stamp, which says which backend.
    memo.core.purge(run_of(report), job["spec"]["template"], memo.cluster, deleted=True)
