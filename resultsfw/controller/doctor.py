"""What the controller and the chosen backend need of a cluster, and whether it is there."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from resultsfw.cluster import CONFIG_MAPS, EVENTS, PODS, Kind, Object
from resultsfw.controller.config import CONFIG_MAP, flags_of, pods_of
from resultsfw.core import Core
from resultsfw.errors import ClusterError, NotFoundError, ResultsError
from resultsfw.tekton.kinds import CLAIMS, TASKRUNS, TASKS
from resultsfw.tekton.pod import PodOptions
from resultsfw.types import Permission

__all__ = ["Asked", "Finding", "Need", "backend_needs", "controller_needs", "examine", "missing"]

LEASES: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
NODES: Final = Kind("", "v1", "nodes", "Node")
DEFINITIONS: Final = Kind(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition"
)

LOG_ACCESS: Final = "kubectl apply -f config/enable-log-access-to-controller/"
BASE: Final = "kubectl apply -k config/"
CRDS: Final = "kubectl apply -k config/crds/"


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
    """One thing that was looked at. ``well`` is ``None`` where it cannot be known."""

    what: str
    well: bool | None
    detail: str
    fix: str = ""

    @property
    def sentence(self) -> str:
        """For a log."""
        return f"{self.what}: {self.detail}" + (f"; {self.fix}" if self.fix else "")


def controller_needs(namespace: str, lease_namespace: str | None) -> list[Need]:
    """What the controller itself must be allowed.

    Args:
        namespace: Of the ConfigMap.
        lease_namespace: Of the Lease; ``None`` without leader election.
    """
    table: list[tuple[str, Kind, str, str, str]] = [
        *((verb, TASKRUNS, "", "", "to follow TaskRuns") for verb in ("get", "list", "watch")),
        ("patch", TASKRUNS, "", "", "to note a run's backend on it"),
        ("patch", TASKRUNS, "status", "", "to write what becomes of a run"),
        ("update", TASKRUNS, "finalizers", "", "to own a pod by its run, where the server checks that"),
        ("get", TASKS, "", "", "to read the Task a run refers to"),
        *((verb, PODS, "", "", "to follow pods") for verb in ("get", "list", "watch")),
        ("create", PODS, "", "", "to run Steps"),
        ("patch", PODS, "", "", "to let a pod begin, and to stop it"),
        ("delete", PODS, "", "", "to remove a cancelled run's pod"),
        ("create", CLAIMS, "", "", "for workspaces with a volumeClaimTemplate"),
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
    needs = []
    for one in permissions:
        plural, _, subresource = one.resource.partition("/")
        opt_in = (one.group, one.resource) == ("", "pods/log")
        grant = f'grant "{one.verb} {one.resource}" to the service account of the controller'
        needs.append(
            Need(
                verb=one.verb,
                kind=Kind(one.group, "v1", plural, plural),
                subresource=subresource,
                why=f"backend {name}: {one.why}",
                fix=LOG_ACCESS if opt_in else grant,
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
    namespace: str,
    lease_namespace: str | None,
    images: Mapping[str, str],
    sidecar_image: str = "",
) -> list[Finding]:
    """Look at all of it.

    Args:
        cluster: The server, as the identity that is examined.
        namespace: Of the ConfigMap.
        lease_namespace: See `controller_needs`.
        images: The pods' images by what they are for.
        sidecar_image: See `resultsfw.controller.config.flags_of`.
    """
    found: list[Finding] = []
    core = _flags(cluster, namespace, sidecar_image, found)
    found += access(cluster, controller_needs(namespace, lease_namespace))
    if core is not None:
        for name in sorted(core.flags.allowed):
            found += _backend(cluster, core, name)
    for kind in (TASKRUNS, TASKS):
        found.append(definition(cluster, kind))
    everything = dict(images)
    options = core.flags.config.get("sidecar-logs", {}) if core else {}
    if "image" in options:
        everything["sidecar"] = str(options["image"])
    found += architectures(cluster, everything)
    return found


def _flags(cluster: Asked, namespace: str, sidecar_image: str, found: list[Finding]) -> Core | None:
    what = f"ConfigMap {namespace}/{CONFIG_MAP}"
    configmap: Object | None = None
    detail = ""
    try:
        configmap = cluster.get(CONFIG_MAPS, namespace, CONFIG_MAP)
    except NotFoundError:
        detail = "there is none; the defaults are in force: "
    except ClusterError as error:
        found.append(Finding(what=what, well=False, detail=f"cannot be read: {error.message}", fix=BASE))
        return None
    try:
        core = Core(flags_of(configmap, sidecar_image=sidecar_image))
        pods_of(configmap, PodOptions())
    except ResultsError as error:
        fix = f"kubectl edit configmap {CONFIG_MAP} -n {namespace}"
        found.append(Finding(what=what, well=False, detail=error.message, fix=fix))
        return None
    flags = core.flags
    detail += f"results-from={flags.results_from}, max-result-size={flags.max_result_size}"
    found.append(Finding(what=what, well=True, detail=detail))
    return core


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
    if kind == TASKRUNS and not _has_managed_by(served[kind.version]):
        detail = f"serves {kind.version} without spec.managedBy: no run can be given to this controller"
        return replace(finding, well=False, detail=detail, fix="upgrade Tekton, or use --managed-by ''")
    return finding


def _has_managed_by(version: Object) -> bool:
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    keeps = "x-kubernetes-preserve-unknown-fields"
    spec = (schema.get("properties") or {}).get("spec") or {}
    return bool(schema.get(keeps) or spec.get(keeps) or "managedBy" in (spec.get("properties") or {}))


def architectures(cluster: Asked, images: Mapping[str, str]) -> Iterator[Finding]:
    """For each image, whether a node of every architecture of the cluster has it already.

    A node that holds an image holds it for its own architecture; nothing more can be known without
    asking the registry.
    """
    try:
        nodes = cluster.list(NODES)
    except ClusterError as error:
        yield Finding(what="images", well=None, detail=f"the nodes cannot be listed: {error.message}")
        return
    known: dict[str, set[str]] = {}
    for node in nodes:
        status = node.get("status") or {}
        system = f"{status['nodeInfo']['operatingSystem']}/{status['nodeInfo']['architecture']}"
        names = known.setdefault(system, set())
        for image in status.get("images") or ():
            names.update(image.get("names") or ())
    for purpose, image in images.items():
        has = sorted(system for system, names in known.items() if _full(image) in names)
        rest = sorted(known.keys() - set(has))
        parts = [
            *(f"there for {one}" for one in has),
            *(f"unknown for {one} (no node holds it)" for one in rest),
        ]
        what = f"image {image}"
        yield Finding(
            what=what, well=None if rest or not has else True, detail=f"{purpose}: {', '.join(parts)}"
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
