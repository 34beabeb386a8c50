"""List the permissions that the controller and its plugins need, and the manifest that grants each."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from resultsfw.cluster import CONFIG_MAPS, EVENTS, PODS, Kind
from resultsfw.controller.live_flags import CONFIG_MAP, OTHERS
from resultsfw.controller.manifests import BACKENDS, backends_with_rights, has_manifests
from resultsfw.core import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.extensions import Extension
from resultsfw.operations.access import AccessChecker, RequiredPermission, lacking_permissions
from resultsfw.tekton.api.kinds import (
    CLAIMS,
    CUSTOMRUNS,
    PIPELINERUNS,
    PIPELINES,
    RESOLUTION_REQUESTS,
    SECRETS,
    SERVICE_ACCOUNTS,
    STEP_ACTIONS,
    TASKRUNS,
    TASKS,
    VERIFICATION_POLICIES,
)
from resultsfw.tekton.pipelinerun.assistants import NODES, STATEFUL_SETS
from resultsfw.tekton.spec.coscheduling import Mode
from resultsfw.tekton.taskrun.settings import Settings
from resultsfw.types import Permission

__all__ = [
    "BASE",
    "LEASE",
    "backend_permissions",
    "command_to_grant",
    "controller_permissions",
    "coscheduling_permissions",
    "extension_permissions",
    "missing_for_plugins",
    "usable_settings",
]

log = logging.getLogger(__name__)

LEASES: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")

LEASE: Final = "resultsfw-controller"
"""Name of the Lease by which the replicas elect a leader."""

BASE: Final = "resultsfw install, or kubectl apply -k config/"
COSCHEDULING: Final = (
    "resultsfw install --enable-coscheduling, or kubectl apply -f config/enable-coscheduling/"
)
LOG_ACCESS: Final = (
    "resultsfw install --enable-log-access, or kubectl apply -f config/enable-log-access-to-controller/"
)


def controller_permissions(
    namespace: str, lease_namespace: str | None, lease_name: str = LEASE
) -> list[RequiredPermission]:
    """Return the permissions that the controller needs whatever the backend.

    Args:
        namespace: Of the ConfigMap ``feature-flags``.
        lease_namespace: Of the Lease; ``None`` without leader election.
        lease_name: Of the Lease.
    """
    table: list[tuple[str, Kind, str, str]] = [
        *((verb, TASKRUNS, "", "to watch TaskRuns") for verb in ("get", "list", "watch")),
        ("create", TASKRUNS, "", "to create the TaskRuns of a PipelineRun"),
        *((verb, CUSTOMRUNS, "", "to watch CustomRuns") for verb in ("get", "list", "watch")),
        ("create", CUSTOMRUNS, "", "to create the CustomRuns of custom tasks"),
        ("patch", CUSTOMRUNS, "", "to cancel CustomRuns"),
        ("patch", TASKRUNS, "", "to stamp TaskRuns with their backend, and to cancel them"),
        ("patch", TASKRUNS, "status", "to write the status of TaskRuns"),
        ("update", TASKRUNS, "finalizers", "to set owner references of pods"),
        *((verb, PIPELINERUNS, "", "to watch PipelineRuns") for verb in ("get", "list", "watch")),
        ("create", PIPELINERUNS, "", "to create the child PipelineRuns of Pipelines in Pipelines"),
        ("patch", PIPELINERUNS, "", "to label a PipelineRun with its Pipeline, and to cancel a child"),
        ("patch", PIPELINERUNS, "status", "to write the status of PipelineRuns"),
        ("update", PIPELINERUNS, "finalizers", "to set owner references of TaskRuns"),
        ("get", TASKS, "", "to read the Task of a taskRef"),
        ("get", STEP_ACTIONS, "", "to read the StepAction of a Step's ref"),
        ("get", PIPELINES, "", "to read the Pipeline of a pipelineRef"),
        ("list", VERIFICATION_POLICIES, "", "to see whether what resolvers find must be signed"),
        *(
            (verb, RESOLUTION_REQUESTS, "", "to ask Tekton's resolvers, and to watch their answers")
            for verb in ("get", "list", "watch", "create")
        ),
        *((verb, PODS, "", "to watch pods") for verb in ("get", "list", "watch")),
        ("create", PODS, "", "to run Steps"),
        ("patch", PODS, "", "to mark a pod as ready, and to terminate it"),
        ("delete", PODS, "", "to delete the pods of cancelled TaskRuns"),
        ("create", CLAIMS, "", "for workspaces with a volumeClaimTemplate"),
        ("create", CONFIG_MAPS, "", "for parameters that exceed the size of a pod"),
        ("get", SERVICE_ACCOUNTS, "", "to find the Secrets that Steps get as credentials"),
        ("get", SECRETS, "", "to find those annotated for git or docker, and to look up images"),
        ("create", EVENTS, "", "to write Events at the start and end of a run"),
    ]
    return [
        *(
            RequiredPermission(verb=verb, kind=kind, subresource=subresource, why=why, fix=BASE)
            for verb, kind, subresource, why in table
        ),
        *(
            RequiredPermission(
                verb=verb,
                kind=CONFIG_MAPS,
                namespace=namespace,
                name=name,
                why="to watch the flags",
                fix=BASE,
            )
            for name in (CONFIG_MAP, *OTHERS)
            for verb in ("get", "list", "watch")
        ),
        *(_lease_permissions(lease_namespace, lease_name) if lease_namespace is not None else ()),
    ]


def _lease_permissions(namespace: str, lease: str) -> Iterator[RequiredPermission]:
    """Yield the permissions for leader election; Kubernetes grants no creation by name."""
    for verb, name in (("get", lease), ("create", ""), ("patch", lease)):
        yield RequiredPermission(
            verb=verb, kind=LEASES, namespace=namespace, name=name, why="to elect a leader", fix=BASE
        )


def command_to_grant(name: str) -> str:
    """Return the command that installs the manifests of a backend; "" if it has none."""
    if name not in backends_with_rights():
        return ""
    return f"resultsfw install --backend {name}, or kubectl apply -f config/{BACKENDS}/{name}/"


def backend_permissions(
    name: str, permissions: Iterable[Permission], options: Mapping[str, Any] | None = None
) -> list[RequiredPermission]:
    """Return the permissions that a backend declares.

    Args:
        name: The backend's name.
        permissions: What it declares.
        options: Its options: those that are set need their permissions, too.
    """
    grant = command_to_grant(name)
    return _declared_permissions(f"backend {name}", permissions, options or {}, grant)


def extension_permissions(extension: Extension, options: Mapping[str, Any]) -> list[RequiredPermission]:
    """Return the permissions that an extension declares.

    Args:
        extension: The extension.
        options: Its options.
    """
    return _declared_permissions(f"extension {extension.name}", extension.permissions, options)


def _declared_permissions(
    whose: str, permissions: Iterable[Permission], options: Mapping[str, Any], grant: str = ""
) -> list[RequiredPermission]:
    """Return the permissions of a plugin, each with the command that grants it.

    Args:
        whose: The plugin, for the message.
        permissions: What it declares.
        options: Its options.
        grant: The command that grants all that the plugin needs in any case; "" if there is none.
    """
    needs = []
    for permission in permissions:
        if permission.option and not options.get(permission.option):
            continue
        plural, _, subresource = permission.resource.partition("/")
        opt_in = (permission.group, permission.resource) == ("", "pods/log")
        folder = f"enable-{permission.option}"
        with_option = ""
        if has_manifests(folder):
            with_option = f"resultsfw install --{folder}, or kubectl apply -f config/{folder}/"
        by_hand = f'grant "{permission.verb} {permission.resource}" to the service account of the controller'
        needs.append(
            RequiredPermission(
                verb=permission.verb,
                kind=Kind(permission.group, "v1", plural, plural),
                subresource=subresource,
                why=f"{whose}: {permission.why}",
                fix=LOG_ACCESS if opt_in else with_option or grant or by_hand,
            )
        )
    return needs


def coscheduling_permissions(mode: Mode) -> list[RequiredPermission]:
    """Return the permissions that the controller needs to place pods beside each other."""
    if mode == "disabled":
        return []
    table: list[tuple[str, Kind, str]] = [
        *((verb, STATEFUL_SETS, "for affinity assistants") for verb in ("get", "create", "delete")),
        *((verb, CLAIMS, "to delete claims with their run") for verb in ("get", "patch", "delete")),
        ("get", NODES, "to move affinity assistants away from cordoned nodes"),
    ]
    return [
        RequiredPermission(verb=verb, kind=kind, why=f"{why} (coschedule)", fix=COSCHEDULING)
        for verb, kind, why in table
    ]


def usable_settings(
    cluster: AccessChecker, settings: Settings, namespaces: Collection[str] = ()
) -> tuple[Settings, list[str]]:
    """Return settings without what the controller has no permission for, and a sentence for each it lacks.

    ``coschedule: workspaces`` is what Tekton's own ConfigMap says unless somebody changed it, so without the
    permissions no pod is placed. The other modes are chosen on purpose: their PipelineRuns wait, as they do
    in a namespace that alone lacks them.

    Args:
        cluster: The API server.
        settings: As the ConfigMaps have them.
        namespaces: Those that the controller is limited to; none: the whole cluster.
    """
    lacking = lacking_permissions(cluster, coscheduling_permissions(settings.coscheduling.mode), namespaces)
    lines = [lack.sentence for lack in lacking]
    if any(lack.everywhere for lack in lacking) and settings.coscheduling.mode == "workspaces":
        return settings.without_coscheduling(), [
            "coschedule has no effect until these are granted: no pod is placed beside another",
            *lines,
        ]
    return settings, lines


def missing_for_plugins(
    cluster: AccessChecker, core: ResultsManager, namespaces: Collection[str] = ()
) -> list[str]:
    """Return a sentence for each permission that a plugin lacks, and for each broken backend.

    The plugins are the allowed backends and the loaded extensions. A permission that is granted in some
    of the namespaces is only logged: the flags of a controller do not depend on what one tenant grants.

    Args:
        cluster: The API server.
        core: Has the plugins.
        namespaces: Those that the controller is limited to; none: the whole cluster.
    """
    needed, broken = [], []
    for name in sorted(core.flags.allowed_results_from):
        try:
            needed += backend_permissions(
                name, core.backend(name).capabilities.permissions, core.flags.config.get(name)
            )
        except ResultsError as error:  # only the runs that select this backend are refused
            broken.append(error.message)
    for name, extension in core.extensions.items():
        needed += extension_permissions(extension, core.flags.config.get(name, {}))
    lacking = lacking_permissions(cluster, needed, namespaces)
    for lack in lacking:
        if not lack.everywhere:
            log.warning("%s", lack.sentence)
    return [*broken, *(lack.sentence for lack in lacking if lack.everywhere)]
