"""List the permissions that the controller and its backends need, and the manifest that grants each."""

from collections.abc import Iterable
from typing import Final

from resultsfw.cluster import CONFIG_MAPS, EVENTS, PODS, Kind
from resultsfw.controller.manifests import BACKENDS, backends_with_rights
from resultsfw.core import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.operations.access import AccessChecker, RequiredPermission, missing_permissions
from resultsfw.tekton.api.kinds import CLAIMS, PIPELINERUNS, PIPELINES, SERVICE_ACCOUNTS, TASKRUNS, TASKS
from resultsfw.types import Permission

__all__ = ["BASE", "backend_permissions", "controller_permissions", "missing_for_backends"]

LEASES: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")

BASE: Final = "kubectl apply -k config/"
LOG_ACCESS: Final = "kubectl apply -f config/enable-log-access-to-controller/"


def controller_permissions(namespace: str, lease_namespace: str | None) -> list[RequiredPermission]:
    """What the controller itself must be allowed.

    Args:
        namespace: Of the ConfigMap.
        lease_namespace: Of the Lease; ``None`` without leader election.
    """
    table: list[tuple[str, Kind, str, str, str]] = [
        *((verb, TASKRUNS, "", "", "to follow TaskRuns") for verb in ("get", "list", "watch")),
        ("create", TASKRUNS, "", "", "to run the Tasks of a Pipeline"),
        ("patch", TASKRUNS, "", "", "to note a run's backend on it, and to cancel those of a PipelineRun"),
        ("patch", TASKRUNS, "status", "", "to write what becomes of a run"),
        ("update", TASKRUNS, "finalizers", "", "to own a pod by its run, where the server checks that"),
        *((verb, PIPELINERUNS, "", "", "to follow PipelineRuns") for verb in ("get", "list", "watch")),
        ("patch", PIPELINERUNS, "", "", "to label a PipelineRun with its Pipeline"),
        ("patch", PIPELINERUNS, "status", "", "to write what becomes of a PipelineRun"),
        ("update", PIPELINERUNS, "finalizers", "", "to own a TaskRun by its PipelineRun, likewise"),
        ("get", TASKS, "", "", "to read the Task a run refers to"),
        ("get", PIPELINES, "", "", "to read the Pipeline a run refers to"),
        *((verb, PODS, "", "", "to follow pods") for verb in ("get", "list", "watch")),
        ("create", PODS, "", "", "to run Steps"),
        ("patch", PODS, "", "", "to let a pod begin, and to stop it"),
        ("delete", PODS, "", "", "to remove a cancelled run's pod"),
        ("create", CLAIMS, "", "", "for workspaces with a volumeClaimTemplate"),
        ("create", CONFIG_MAPS, "", "", "for parameters that do not fit into a run's pod"),
        (
            "get",
            SERVICE_ACCOUNTS,
            "",
            "",
            "to name the Secrets that Steps do not get from their service account",
        ),
        ("create", EVENTS, "", "", "to tell of a run's start and end"),
        *(
            (verb, CONFIG_MAPS, "", namespace, "to follow the feature flags")
            for verb in ("get", "list", "watch")
        ),
    ]
    if lease_namespace is not None:
        table += [
            (verb, LEASES, "", lease_namespace, "so that one replica works")
            for verb in ("get", "create", "patch")
        ]
    return [
        RequiredPermission(verb=verb, kind=kind, subresource=sub, namespace=where, why=why, fix=BASE)
        for verb, kind, sub, where, why in table
    ]


def backend_permissions(name: str, permissions: Iterable[Permission]) -> list[RequiredPermission]:
    """What a backend says it must be allowed."""
    grant = ""
    if name in backends_with_rights():
        grant = f"kubectl apply -f config/{BACKENDS}/{name}/, or resultsfw install --backend {name}"
    needs = []
    for one in permissions:
        plural, _, subresource = one.resource.partition("/")
        opt_in = (one.group, one.resource) == ("", "pods/log")
        by_hand = f'grant "{one.verb} {one.resource}" to the service account of the controller'
        needs.append(
            RequiredPermission(
                verb=one.verb,
                kind=Kind(one.group, "v1", plural, plural),
                subresource=subresource,
                why=f"backend {name}: {one.why}",
                fix=LOG_ACCESS if opt_in else grant or by_hand,
            )
        )
    return needs


def missing_for_backends(cluster: AccessChecker, core: ResultsManager) -> list[str]:
    """Return a sentence for each permission that an allowed backend lacks, and for each that is broken."""
    needed, broken = [], []
    for name in sorted(core.flags.allowed):
        try:
            needed += backend_permissions(name, core.backend(name).capabilities.permissions)
        except ResultsError as error:  # only the runs that select this backend are refused
            broken.append(error.message)
    return [*broken, *missing_permissions(cluster, needed)]
