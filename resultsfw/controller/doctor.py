"""What the controller and the chosen backend need of a cluster, and whether it is there."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from resultsfw.cluster import CONFIG_MAPS, EVENTS, PODS, Kind, Object
from resultsfw.controller.config import CONFIG_MAP, OTHERS, data_of, doubts_of, flags_of
from resultsfw.controller.manifests import BACKENDS, backends_with_rights
from resultsfw.core import Core
from resultsfw.errors import ClusterError, ForbiddenError, NotFoundError, ResultsError
from resultsfw.tekton.api.configmaps import CONFIG_DEFAULTS
from resultsfw.tekton.api.kinds import CLAIMS, PIPELINERUNS, PIPELINES, SERVICE_ACCOUNTS, TASKRUNS, TASKS
from resultsfw.tekton.taskrun.settings import settings_of
from resultsfw.types import Permission

__all__ = ["Asked", "Finding", "Need", "Subject", "backend_needs", "controller_needs", "examine", "missing"]

LEASES: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
NODES: Final = Kind("", "v1", "nodes", "Node")
DEFINITIONS: Final = Kind(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition"
)

LOG_ACCESS: Final = "kubectl apply -f config/enable-log-access-to-controller/"
BASE: Final = "kubectl apply -k config/"
CRDS: Final = "kubectl apply -k config/crds/"


_ACCOUNT: Final = "system:serviceaccount:"


class Asked(Protocol):
    """What of an API server's `Cluster` is asked here."""

    def get(self, kind: Kind, namespace: str, name: str, /) -> Object:
        """One object."""
        ...

    def list(self, kind: Kind, namespace: str | None = None, /) -> list[Object]:
        """All objects of a kind."""
        ...

    def can(self, verb: str, kind: Kind, namespace: str, subresource: str = "", /) -> bool:
        """Whether this identity may do that; namespace "" for all."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A right, what for, and the manifest that grants it."""

    verb: str
    kind: Kind
    subresource: str = ""
    namespace: str = ""
    why: str
    fix: str = BASE

    @property
    def what(self) -> str:
        """As RBAC names it."""
        resource = f"{self.kind.plural}.{self.kind.group}" if self.kind.group else self.kind.plural
        name = f"{resource}/{self.subresource}" if self.subresource else resource
        return f"{self.verb} {name}" + (f" in {self.namespace}" if self.namespace else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. ``well`` is ``None`` where it cannot be known.

    One that is ``doubtful`` works, and may not be meant.
    """

    what: str
    well: bool | None
    detail: str
    fix: str = ""
    doubtful: bool = False

    @property
    def sentence(self) -> str:
        """For a log."""
        return f"{self.what}: {self.detail}" + (f"; {self.fix}" if self.fix else "")


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody else whose rights are asked for: the user's name, and the cluster as that one sees it."""

    name: str
    cluster: Asked

    @property
    def account(self) -> tuple[str, str] | None:
        """Namespace and name of a service account; ``None`` for any other user."""
        namespace, colon, name = self.name.removeprefix(_ACCOUNT).partition(":")
        return (namespace, name) if self.name.startswith(_ACCOUNT) and colon else None


def controller_needs(namespace: str, lease_namespace: str | None) -> list[Need]:
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
        Need(verb=verb, kind=kind, subresource=sub, namespace=where, why=why)
        for verb, kind, sub, where, why in table
    ]


def backend_needs(name: str, permissions: Iterable[Permission]) -> list[Need]:
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
            Need(
                verb=one.verb,
                kind=Kind(one.group, "v1", plural, plural),
                subresource=subresource,
                why=f"backend {name}: {one.why}",
                fix=LOG_ACCESS if opt_in else grant or by_hand,
            )
        )
    return needs


def access(cluster: Asked, needs: Iterable[Need]) -> Iterator[Finding]:
    """Ask the server for each right (SelfSubjectAccessReview)."""
    for need in needs:
        try:
            well: bool | None = cluster.can(need.verb, need.kind, need.namespace, need.subresource)
            detail = need.why if well else f"not allowed, but needed {need.why}"
        except ClusterError as error:
            well, detail = None, f"cannot be asked: {error.message}"
        yield Finding(what=need.what, well=well, detail=detail, fix="" if well is not False else need.fix)


def missing(cluster: Asked, needs: Iterable[Need]) -> list[str]:
    """A sentence for each right that is not there."""
    return [one.sentence for one in access(cluster, needs) if one.well is False]


def examine(
    cluster: Asked,
    *,
    subject: Subject | None = None,
    namespace: str,
    lease_namespace: str | None,
    images: Mapping[str, str],
    sidecar_image: str = "",
) -> list[Finding]:
    """Look at all of it.

    What is there, the identity in use reads: an operator sees CRDs and nodes that a controller need not.
    What may be done is asked as the one that is examined.

    Args:
        cluster: The server, as the identity in use.
        subject: Who is examined; the identity in use where ``None``.
        namespace: Of the ConfigMap.
        lease_namespace: See `controller_needs`.
        images: The pods' images by what they are for.
        sidecar_image: See `resultsfw.controller.config.flags_of`.

    Raises:
        ForbiddenError: The identity in use may not act as the one that is examined.
    """
    found: list[Finding] = []
    asked = cluster
    if subject is not None:
        asked = subject.cluster
        _check_impersonation(subject)
        found += _account(cluster, subject)
    core = _flags(cluster, namespace, sidecar_image, found, own=subject is None)
    found += access(asked, controller_needs(namespace, lease_namespace))
    if core is not None:
        for name in sorted(core.flags.allowed):
            found += _backend(asked, core, name)
        for name, one in core.extensions.items():
            detail = f"is loaded; it takes part in {', '.join(one.implements)}"
            found.append(Finding(what=f"extension {name}", well=True, detail=detail))
    for kind in (TASKRUNS, TASKS, PIPELINERUNS, PIPELINES):
        found.append(definition(cluster, kind))
    if core is not None:
        found += _embedded(cluster, core)
    everything = dict(images)
    if core is not None:
        everything |= _images_of_backends(core)
    found += architectures(cluster, everything)
    return found


def _images_of_backends(core: Core) -> dict[str, str]:
    """What backends add to pods, as far as they call its image "image" among their options."""
    images = {}
    for name in sorted(core.flags.allowed):
        with contextlib.suppress(ResultsError):  # said among the backends
            options = core.backend(name).configure(core.flags.config.get(name, {}))
            if image := getattr(options, "image", ""):
                images[f"backend {name}"] = str(image)
    return images


def _check_impersonation(subject: Subject) -> None:
    """Whether one may act as the other, asked by the question that everyone may ask."""
    try:
        subject.cluster.can("get", CONFIG_MAPS, "")
    except ForbiddenError as error:
        if "impersonate" not in error.message:
            return  # not allowed to ask: each right says so itself
        raise ForbiddenError(
            f'you may not act as "{subject.name}" ({error.message}); be allowed the verb "impersonate" '
            f"on it, or run this command in a pod with its service account",
            subject="--as",
        ) from error
    except ClusterError:
        return


def _account(cluster: Asked, subject: Subject) -> Iterator[Finding]:
    """Whether the service account exists: one that does not has no rights either."""
    if subject.account is None:
        return
    what = f"ServiceAccount {'/'.join(subject.account)}"
    try:
        cluster.get(SERVICE_ACCOUNTS, *subject.account)
    except NotFoundError:
        yield Finding(what=what, well=False, detail="there is none; is --as right?", fix=BASE)
    except ClusterError as error:
        yield Finding(what=what, well=None, detail=f"cannot be read: {error.message}")
    else:
        yield Finding(what=what, well=True, detail="is there; its rights are those below")


def _flags(
    cluster: Asked, namespace: str, sidecar_image: str, found: list[Finding], *, own: bool
) -> Core | None:
    what = f"ConfigMap {namespace}/{CONFIG_MAP}"
    configmap: Object | None = None
    detail = ""
    try:
        configmap = cluster.get(CONFIG_MAPS, namespace, CONFIG_MAP)
    except NotFoundError:
        detail = "there is none; the defaults are in force: "
    except ClusterError as error:
        # Whether somebody else may read it is a question of its own, among the rights.
        detail = f"cannot be read: {error.message}"
        if own:
            found.append(Finding(what=what, well=False, detail=detail, fix=BASE))
        else:
            found.append(
                Finding(what=what, well=None, detail=f"{detail}; what its backend needs is not asked")
            )
        return None
    try:
        core = Core(flags_of(configmap, sidecar_image=sidecar_image))
        others = _others(cluster, namespace)
        settings = settings_of(data_of(configmap), data_of(others.get(CONFIG_DEFAULTS)))
        maps = {CONFIG_MAP: configmap, **others}
        lines = [line for name, one in maps.items() for line in doubts_of(name, one)]
    except ResultsError as error:
        fix = f"kubectl edit configmap {CONFIG_MAP} -n {namespace}"
        found.append(Finding(what=what, well=False, detail=error.message, fix=fix))
        return None
    flags = core.flags
    detail += f"results-from={flags.results_from}, max-result-size={flags.max_result_size}"
    found.append(Finding(what=what, well=True, detail=detail))
    found += (Finding(what="flag without effect", well=True, detail=line, doubtful=True) for line in lines)
    found += (
        Finding(what="policy", well=False, detail=f"every run is refused: {line}")
        for line in settings.policies.unenforced
    )
    return core


def _others(cluster: Asked, namespace: str) -> dict[str, Object]:
    """Tekton's other ConfigMaps that are followed; one that cannot be read is a right that is missing."""
    found = {}
    for name in OTHERS:
        with contextlib.suppress(ClusterError):
            found[name] = cluster.get(CONFIG_MAPS, namespace, name)
    return found


def _backend(cluster: Asked, core: Core, name: str) -> Iterator[Finding]:
    try:
        backend = core.backend(name)
        backend.configure(core.flags.config.get(name, {}))
    except ResultsError as error:
        yield Finding(what=f"backend {name}", well=False, detail=error.message)
        return
    needs = backend_needs(name, backend.capabilities.permissions)
    yield Finding(
        what=f"backend {name}",
        well=True,
        detail="can be loaded" + ("" if needs else "; needs no right of its own"),
    )
    yield from access(cluster, needs)


def definition(cluster: Asked, kind: Kind) -> Finding:
    """Whether the cluster serves a kind as it is used here."""
    name = f"{kind.plural}.{kind.group}"
    finding = Finding(what=f"CRD {name}", well=True, detail=f"serves {kind.version}")
    try:
        crd = cluster.get(DEFINITIONS, "", name)
    except NotFoundError:
        return replace(finding, well=False, detail="there is none", fix=f"install Tekton, or {CRDS}")
    except ClusterError as error:
        return replace(finding, well=None, detail=f"cannot be read: {error.message}")
    served = {one["name"]: one for one in crd["spec"]["versions"] if one.get("served")}
    if kind.version not in served:
        detail = f"serves {', '.join(served) or 'nothing'}, not {kind.version}"
        return replace(finding, well=False, detail=detail, fix="upgrade Tekton")
    if kind in (TASKRUNS, PIPELINERUNS) and not _keeps(served[kind.version], "spec", "managedBy"):
        detail = f"serves {kind.version} without spec.managedBy: no run can be given to this controller"
        return replace(finding, well=False, detail=detail, fix="upgrade Tekton, or use --managed-by ''")
    return finding


def _embedded(cluster: Asked, core: Core) -> Iterator[Finding]:
    """What the flag ``embedded-status`` brings about."""
    what = "flag embedded-status"
    for line in core.warnings():
        yield Finding(what=what, well=True, detail=line, doubtful=True)
    if core.flags.embedded_status == "minimal":
        return
    with contextlib.suppress(ClusterError):  # said of the CRD itself
        crd = cluster.get(DEFINITIONS, "", f"{PIPELINERUNS.plural}.{PIPELINERUNS.group}")
        served = {one["name"]: one for one in crd["spec"]["versions"]}
        if not _keeps(served.get(PIPELINERUNS.version, {}), "status", "taskRuns"):
            detail = (
                f"{core.flags.embedded_status}: this cluster's CRD does not keep status.taskRuns; runs have "
                f"status.childReferences instead, and say so"
            )
            yield Finding(what=what, well=True, detail=detail, doubtful=True)


def _keeps(version: Object, part: str, field: str) -> bool:
    """Whether a version of a CRD stores a field of ``spec`` or ``status``."""
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    keeps = "x-kubernetes-preserve-unknown-fields"
    found = (schema.get("properties") or {}).get(part) or {}
    return bool(schema.get(keeps) or found.get(keeps) or field in (found.get("properties") or {}))


def architectures(cluster: Asked, images: Mapping[str, str]) -> Iterator[Finding]:
    """For each image, whether a Linux node of every architecture of the cluster holds it.

    A node pulls what fits it out of an image for several architectures; of an image for one it pulls that,
    fitting or not, and only its Steps say "exec format error". And a node lists 50 images at most. So
    "ok" is what the nodes can tell, and never is "missing" said of what only a registry knows.
    """
    try:
        nodes = cluster.list(NODES)
    except ClusterError as error:
        yield Finding(what="images", well=None, detail=f"the nodes cannot be listed: {error.message}")
        return
    known: dict[str, set[str]] = {}
    for node in nodes:
        status = node.get("status") or {}
        info = status.get("nodeInfo") or {}
        if info.get("operatingSystem") != "linux":
            continue  # pods of ours are for Linux
        names = known.setdefault(f"linux/{info.get('architecture')}", set())
        for image in status.get("images") or ():
            names.update(image.get("names") or ())
    if not known:
        yield Finding(what="images", well=None, detail="there is no Linux node to tell")
        return
    for purpose, image in images.items():
        has = sorted(system for system, names in known.items() if _full(image) in names)
        rest = sorted(known.keys() - set(has))
        parts = [
            *(f"on a node of {one}" for one in has),
            *(f"unknown for {one} (no node lists it)" for one in rest),
        ]
        yield Finding(
            what=f"image {image}", well=None if rest else True, detail=f"{purpose}: {', '.join(parts)}"
        )


def _full(image: str) -> str:
    """An image's name as nodes list it."""
    first, slash, _ = image.partition("/")
    if not slash:
        full = f"docker.io/library/{image}"
    elif "." in first or ":" in first or first == "localhost":
        full = image
    else:
        full = f"docker.io/{image}"
    last = full.rpartition("/")[2]
    return full if ":" in last or "@" in last else f"{full}:latest"
