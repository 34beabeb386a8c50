"""Check CRDs and the pods' images against what the controller uses."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, Protocol

from resultsfw.cluster import Kind, Object
from resultsfw.controller.manifests import BACKENDS, backends_with_rights, kind_of, load
from resultsfw.controller.permissions import command_to_grant
from resultsfw.core import ResultsManager
from resultsfw.errors import ClusterError, NotFoundError
from resultsfw.images import missing_registry
from resultsfw.operations.access import Finding
from resultsfw.site import page
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.api.signing import EXTENSION as SIGNED

__all__ = [
    "DEFINITIONS",
    "ClusterReader",
    "check_admission",
    "check_crd",
    "check_embedded_status",
    "check_images",
    "check_namespace",
    "check_workload_api",
]

DEFINITIONS: Final = Kind(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition"
)
NAMESPACES: Final = Kind("", "v1", "namespaces", "Namespace")
NODES: Final = Kind("", "v1", "nodes", "Node")
CSI_DRIVERS: Final = Kind("storage.k8s.io", "v1", "csidrivers", "CSIDriver")

_CHECKED: Final = (
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)
"""Kinds of a backend's manifests that are compared with the cluster's objects; of roles, it is asked."""

CRDS: Final = "resultsfw install --crds, or kubectl apply -k config/crds/"


class ClusterReader(Protocol):
    """Reads objects of an API server."""

    def get(self, kind: Kind, namespace: str, name: str, /) -> Object:
        """Return one object. Raises ClusterError."""
        ...

    def list(self, kind: Kind, namespace: str | None = None, /) -> list[Object]:
        """Return all objects of a kind. Raises ClusterError."""
        ...


def check_crd(cluster: ClusterReader, kind: Kind) -> Finding:
    """Check that the cluster serves a kind in the version, and with the fields, that the controller uses."""
    name = f"{kind.plural}.{kind.group}"
    finding = Finding(what=f"CRD {name}", well=True, detail=f"serves {kind.version}")
    try:
        crd = cluster.get(DEFINITIONS, "", name)
    except NotFoundError:
        return replace(finding, well=False, detail="not found", fix=f"install Tekton, or {CRDS}")
    except ClusterError as error:
        return replace(finding, well=None, detail=f"cannot be read: {error.message}")
    served = {version["name"]: version for version in crd["spec"]["versions"] if version.get("served")}
    if kind.version not in served:
        detail = f"serves {', '.join(served) or 'nothing'}, not {kind.version}"
        return replace(finding, well=False, detail=detail, fix="upgrade Tekton")
    if kind in (TASKRUNS, PIPELINERUNS) and not _keeps(served[kind.version], "spec", "managedBy"):
        detail = f"serves {kind.version} without spec.managedBy: no run can be assigned to this controller"
        return replace(finding, well=False, detail=detail, fix="upgrade Tekton, or use --managed-by ''")
    return finding


def check_namespace(cluster: ClusterReader, name: str) -> Finding:
    """Check that a namespace exists which the controller is limited to."""
    return _existence(
        cluster,
        NAMESPACES,
        name,
        "exists; its runs are reconciled",
        "not found: nothing is reconciled there until it exists and grants the permissions",
        fix=f"kubectl create namespace {name}, or correct --watch-namespaces",
    )


def _existence(
    cluster: ClusterReader, kind: Kind, name: str, there: str, missing: str, *, fix: str
) -> Finding:
    """Return the finding on whether an object without a namespace exists: what it means, and the fix."""
    finding = Finding(what=f"{kind.kind} {name}", well=True, detail=there)
    try:
        cluster.get(kind, "", name)
    except NotFoundError:
        return replace(finding, well=False, detail=missing, fix=fix)
    except ClusterError as error:
        return replace(finding, well=None, detail=f"cannot be read: {error.message}")
    return finding


def check_admission(cluster: ClusterReader, backend: str) -> Iterator[Finding]:
    """Check that the cluster has the CRDs and admission policies of a backend, as its manifests have them."""
    if backend not in backends_with_rights():
        return
    fix = command_to_grant(backend)
    for obj in load(f"{BACKENDS}/{backend}"):
        if obj["kind"] not in _CHECKED:
            continue
        name = obj["metadata"]["name"]
        finding = Finding(what=f"{obj['kind']} {name}", well=True, detail=f"is installed (backend {backend})")
        try:
            found = cluster.get(kind_of(obj), "", name)
        except NotFoundError:
            detail = f"not found: without it, runs of the backend {backend} are refused or fail"
            yield replace(finding, well=False, detail=detail, fix=fix)
        except ClusterError as error:
            yield replace(finding, well=None, detail=f"cannot be read: {error.message}")
        else:
            if _contains(found.get("spec"), obj["spec"]):
                yield finding
            else:
                detail = "is not as this version's manifests have it: it may allow more, or less"
                yield replace(finding, well=False, detail=detail, fix=fix)


def check_workload_api(cluster: ClusterReader, core: ResultsManager) -> Iterator[Finding]:
    """Check that the CSI driver which gives pods that sign the SPIFFE Workload API is installed."""
    options = core.flags.config.get(SIGNED, {})
    if SIGNED not in core.extensions or options.get("workload-api") == "host-path":
        return
    name = str(options.get("csi-driver") or "csi.spiffe.io")
    yield _existence(
        cluster,
        CSI_DRIVERS,
        name,
        "is installed (extension signed)",
        "not found: pods that sign stay Pending, because their volume cannot be mounted",
        fix=f"install SPIFFE's CSI driver and SPIRE's agents: {page('how-to/signed-results', 'set-up')}",
    )


def _contains(found: object, wanted: object) -> bool:
    """Return whether an object has everything that a manifest says; the API server adds defaults."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and _contains(found[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(_contains(mine, theirs) for mine, theirs in zip(found, wanted, strict=True))
        )
    return found == wanted


def check_embedded_status(cluster: ClusterReader, core: ResultsManager) -> Iterator[Finding]:
    """Check that the cluster stores what the flag ``embedded-status`` asks for."""
    what = "flag embedded-status"
    for line in core.warnings():
        yield Finding(what=what, well=True, detail=line, doubtful=True)
    if core.flags.embedded_status == "minimal":
        return
    with contextlib.suppress(ClusterError):  # reported for the CRD itself
        crd = cluster.get(DEFINITIONS, "", f"{PIPELINERUNS.plural}.{PIPELINERUNS.group}")
        served = {version["name"]: version for version in crd["spec"]["versions"]}
        if not _keeps(served.get(PIPELINERUNS.version, {}), "status", "taskRuns"):
            detail = (
                f"{core.flags.embedded_status}: this cluster's CRD does not store status.taskRuns; "
                f"PipelineRuns have status.childReferences instead, and a warning"
            )
            yield Finding(what=what, well=True, detail=detail, doubtful=True)


def _keeps(version: Object, part: str, field: str) -> bool:
    """Return whether a version of a CRD stores a field of ``spec`` or ``status``."""
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    keeps = "x-kubernetes-preserve-unknown-fields"
    found = (schema.get("properties") or {}).get(part) or {}
    return bool(schema.get(keeps) or found.get(keeps) or field in (found.get("properties") or {}))


def check_images(cluster: ClusterReader, images: Mapping[str, str]) -> Iterator[Finding]:
    """Check for each image that a Linux node of every architecture of the cluster has pulled it.

    A node pulls an image of a single architecture even if it is the wrong one; only the Steps then fail, with
    "exec format error". And the kubelet lists at most 50 images of a node. So the nodes can confirm an image,
    but never tell that it is missing: then the result is unknown. An image without a registry is missing
    unless it was loaded into the nodes.
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
            continue  # our pods need Linux
        names = known.setdefault(f"linux/{info.get('architecture')}", set())
        for image in status.get("images") or ():
            names.update(image.get("names") or ())
    if not known:
        yield Finding(what="images", well=None, detail="the cluster has no Linux node")
        return
    for purpose, image in images.items():
        has = sorted(system for system, names in known.items() if _full(image) in names)
        rest = sorted(known.keys() - set(has))
        parts = [
            *(f"on a node of {system}" for system in has),
            *(f"unknown for {system} (no node lists it)" for system in rest),
        ]
        found = Finding(
            what=f"image {image}", well=None if rest else True, detail=f"{purpose}: {', '.join(parts)}"
        )
        fix = missing_registry([image]) if rest else ""
        yield replace(found, well=False, fix=fix) if fix else found


def _full(image: str) -> str:
    """Return an image's name as the kubelet lists it."""
    first, slash, _ = image.partition("/")
    if not slash:
        full = f"docker.io/library/{image}"
    elif "." in first or ":" in first or first == "localhost":
        full = image
    else:
        full = f"docker.io/{image}"
    last = full.rpartition("/")[2]
    return full if ":" in last or "@" in last else f"{full}:latest"
