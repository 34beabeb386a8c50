"""Check that a cluster has what the controller and the allowed backends need."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from resultsfw.cluster import CONFIG_MAPS, Object
from resultsfw.controller.cluster_checks import (
    ClusterReader,
    check_admission,
    check_crd,
    check_embedded_status,
    check_images,
    check_namespace,
    check_workload_api,
)
from resultsfw.controller.live_flags import CONFIG_MAP, OTHERS, data_of, flags_of, warnings_of
from resultsfw.controller.permissions import (
    BASE,
    backend_permissions,
    controller_permissions,
    coscheduling_permissions,
    extension_permissions,
    usable_settings,
)
from resultsfw.controller.plugin_images import images_of_plugins
from resultsfw.controller.service_checks import check_identities, check_server
from resultsfw.core import ResultsManager
from resultsfw.errors import ClusterError, ForbiddenError, NotFoundError, ResultsError
from resultsfw.extensions import Extension
from resultsfw.operations.access import AccessChecker, Finding, check_access
from resultsfw.tekton.api.configmaps import CONFIG_DEFAULTS, CONFIG_SPIRE, configmap_of
from resultsfw.tekton.api.kinds import PIPELINERUNS, PIPELINES, SERVICE_ACCOUNTS, TASKRUNS, TASKS
from resultsfw.tekton.taskrun.settings import Settings, settings_of

__all__ = ["Finding", "Inspected", "Subject", "examine"]

_SERVICE_ACCOUNT: Final = "system:serviceaccount:"

_IMPERSONATE: Final = "impersonate"
"""Occurs in the API server's message if impersonation is what it forbids. Its Status has the same reason,
``Forbidden``, whether the user may not impersonate or the impersonated user may not do what it asks: only the
message tells them apart."""


class Inspected(AccessChecker, ClusterReader, Protocol):
    """A cluster that can be read and asked for permissions."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Another user whose permissions are checked: the name, and the cluster impersonating that user."""

    name: str
    cluster: Inspected

    @property
    def account(self) -> tuple[str, str] | None:
        """Namespace and name of a service account; ``None`` for another kind of user."""
        namespace, colon, name = self.name.removeprefix(_SERVICE_ACCOUNT).partition(":")
        return (namespace, name) if self.name.startswith(_SERVICE_ACCOUNT) and colon else None


def examine(
    cluster: Inspected,
    *,
    subject: Subject | None = None,
    namespace: str,
    lease_namespace: str | None,
    watched: Collection[str] = (),
    images: Mapping[str, str],
    sidecar_image: str = "",
    image_registry: str = "",
) -> list[Finding]:
    """Check flags, permissions, backends with their servers, extensions, CRDs and images.

    Objects are read as the identity in use: an operator may read CRDs and nodes that the controller may not.
    Permissions are checked for ``subject``.

    Args:
        cluster: The API server, as the identity in use.
        subject: Whose permissions are checked; ``None`` for the identity in use.
        namespace: Of the ConfigMap ``feature-flags``.
        lease_namespace: See `controller_permissions`.
        watched: Namespaces that the controller is limited to; none: the whole cluster.
        images: The images of every pod by purpose.
        sidecar_image: See `resultsfw.controller.live_flags.flags_of`.
        image_registry: See `resultsfw.images.located`.

    Raises:
        ForbiddenError: The identity in use may not impersonate the subject.
    """
    found: list[Finding] = []
    asked = cluster
    if subject is not None:
        asked = subject.cluster
        _check_impersonation(subject)
        found += _account(cluster, subject)
    core, settings = _flags(cluster, namespace, sidecar_image, found, own=subject is None)
    if core is not None:
        core.close()  # its extensions could be created; no run is read
    found += (check_namespace(cluster, name) for name in watched)
    found += check_access(asked, controller_permissions(namespace, lease_namespace), watched)
    if settings.coscheduling.mode == "workspaces":  # without the permissions, it only has no effect
        lines = usable_settings(asked, settings, watched)[1]
        found += (
            Finding(what="flag without effect", well=True, detail=line, doubtful=True) for line in lines
        )
    else:
        found += check_access(asked, coscheduling_permissions(settings.coscheduling.mode), watched)
    if core is not None:
        for name in sorted(core.flags.allowed_results_from):
            found += _backend(asked, core, name, watched)
            found += check_admission(cluster, name)
            found += check_server(cluster, core, name)
        for extension in core.extensions.values():
            found += _extension(asked, core, extension, watched)
    for kind in (TASKRUNS, TASKS, PIPELINERUNS, PIPELINES):
        found.append(check_crd(cluster, kind))
    if core is not None:
        found += check_embedded_status(cluster, core)
        found += check_workload_api(cluster, core)
        found += check_identities(cluster, core)
    everything = dict(images)
    if core is not None:
        everything |= images_of_plugins(core, image_registry)
    found += check_images(cluster, everything)
    return found


def _check_impersonation(subject: Subject) -> None:
    """Check that the identity in use may impersonate the subject.

    It asks as the subject what every authenticated user may ask (SelfSubjectAccessReview).

    Raises:
        ForbiddenError: It may not.
    """
    try:
        subject.cluster.can("get", CONFIG_MAPS, "")
    except ForbiddenError as error:
        if _IMPERSONATE not in error.message:
            return  # the subject may not ask: reported for each permission
        raise ForbiddenError(
            f'you may not impersonate "{subject.name}" ({error.message}); grant yourself the verb '
            f'"impersonate" on it, or run this command in a pod with that service account',
            subject="--as",
        ) from error
    except ClusterError:
        return


def _account(cluster: Inspected, subject: Subject) -> Iterator[Finding]:
    """Check that the service account exists: a missing account has no permissions either."""
    if subject.account is None:
        return
    what = f"ServiceAccount {'/'.join(subject.account)}"
    try:
        cluster.get(SERVICE_ACCOUNTS, *subject.account)
    except NotFoundError:
        yield Finding(what=what, well=False, detail="not found; is --as correct?", fix=BASE)
    except ClusterError as error:
        yield Finding(what=what, well=None, detail=f"cannot be read: {error.message}")
    else:
        yield Finding(what=what, well=True, detail="found; its permissions are listed below")


def _flags(
    cluster: Inspected, namespace: str, sidecar_image: str, found: list[Finding], *, own: bool
) -> tuple[ResultsManager | None, Settings]:
    """Check the flags; return the core that they set up, if they can be used, and the settings of runs."""
    what = f"ConfigMap {namespace}/{CONFIG_MAP}"
    configmap: Object | None = None
    detail = ""
    try:
        configmap = cluster.get(CONFIG_MAPS, namespace, CONFIG_MAP)
    except NotFoundError:
        detail = "not found; the defaults are in effect: "
    except ClusterError as error:
        # Whether the subject may read it is checked with the other permissions.
        detail = f"cannot be read: {error.message}"
        if own:
            found.append(Finding(what=what, well=False, detail=detail, fix=BASE))
        else:
            found.append(
                Finding(
                    what=what, well=None, detail=f"{detail}; the permissions of its backends are not checked"
                )
            )
        return None, Settings()
    try:
        others = _others(cluster, namespace)
        core = ResultsManager(
            flags_of(configmap, spire=others.get(CONFIG_SPIRE), sidecar_image=sidecar_image)
        )
        settings = settings_of(data_of(configmap), data_of(others.get(CONFIG_DEFAULTS)))
        maps = {CONFIG_MAP: configmap, **others}
        lines = [line for name, found_map in maps.items() for line in warnings_of(name, found_map)]
    except ResultsError as error:
        fix = f"kubectl edit configmap {configmap_of(error.subject)} -n {namespace}"
        found.append(Finding(what=what, well=False, detail=error.message, fix=fix))
        return None, Settings()
    flags = core.flags
    detail += f"results-from={flags.results_from}, max-result-size={flags.max_result_size}"
    found.append(Finding(what=what, well=True, detail=detail))
    found += (Finding(what="flag without effect", well=True, detail=line, doubtful=True) for line in lines)
    found += (
        Finding(what="policy", well=False, detail=f"every run is rejected: {line}")
        for line in settings.policies.unenforced
    )
    return core, settings


def _others(cluster: Inspected, namespace: str) -> dict[str, Object]:
    """Return Tekton's other ConfigMaps; an unreadable ConfigMap is reported as a missing permission."""
    found = {}
    for name in OTHERS:
        with contextlib.suppress(ClusterError):
            found[name] = cluster.get(CONFIG_MAPS, namespace, name)
    return found


def _backend(
    cluster: Inspected, core: ResultsManager, name: str, watched: Collection[str]
) -> Iterator[Finding]:
    try:
        backend = core.backend(name)
        backend.configure(core.flags.config.get(name, {}))
    except ResultsError as error:
        yield Finding(what=f"backend {name}", well=False, detail=error.message)
        return
    needs = backend_permissions(name, backend.capabilities.permissions, core.flags.config.get(name))
    yield Finding(
        what=f"backend {name}",
        well=True,
        detail="can be loaded" + ("" if needs else "; needs no permission of its own"),
    )
    yield from check_access(cluster, needs, watched)


def _extension(
    cluster: Inspected, core: ResultsManager, extension: Extension, watched: Collection[str]
) -> Iterator[Finding]:
    """Check the permissions of an extension. Which of them a run needs depends on its backend."""
    detail = f"loaded; implements {', '.join(extension.implements)}"
    yield Finding(what=f"extension {extension.name}", well=True, detail=detail)
    options = core.flags.config.get(extension.name, {})
    for finding in check_access(cluster, extension_permissions(extension, options), watched):
        if finding.well is not False:
            yield finding
        else:
            yield replace(
                finding, well=True, doubtful=True, detail=f"{finding.detail}; {finding.fix}", fix=""
            )
