"""Load the manifests of ``config/`` and put an operator's choices into them."""

import copy
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final

import yaml

from resultsfw.cluster import Kind, Object
from resultsfw.controller.namespaced_rights import limit_to
from resultsfw.controller.namespaces import check_namespace_name
from resultsfw.core import ResultsManager
from resultsfw.errors import InputError
from resultsfw.images import REGISTRY_VARIABLE, check_registry, located
from resultsfw.tekton.api.configmaps import FEATURE_FLAGS

__all__ = [
    "BACKENDS",
    "OPT_INS",
    "PART_OF",
    "TEKTONS",
    "Choices",
    "Plan",
    "backends_with_rights",
    "flags_patch",
    "has_manifests",
    "kind_of",
    "load",
    "plan_of",
]

TEKTONS: Final = "tekton-pipelines"
"""Tekton's namespace in the manifests."""

OURS: Final = "resultsfw"
"""The controller's own namespace in the manifests."""

PART_OF: Final = {"app.kubernetes.io/part-of": "resultsfw"}
"""The label of everything that the manifests install, CRDs too."""

BACKENDS: Final = "backends"
"""The folder with a folder for each backend that needs permissions."""

OPT_INS: Final = {
    "enable-log-access-to-controller": "log_access",
    "enable-coscheduling": "coscheduling",
    "enable-encryption": "encryption",
    "disruption-budget": "disruption_budget",
    "network-policies": "network_policies",
    "admission-policy": "admission_policy",
    "monitoring": "monitoring",
}
"""The folders with objects that are applied if an attribute of `Choices` is set."""

_FOLDER: Final = resources.files("resultsfw").joinpath("manifests")
_UNDERSTOOD: Final = frozenset({"apiVersion", "kind", "resources", "labels"})

_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The choices of an operator.

    Attributes:
        controller_image: "" for the one in the manifests.
        image_registry: Registry, and folder in it, with the project's images; "" leaves them without one.
        options: Of ``resultsfw controller``, mostly images, by name without the leading dashes.
        namespace: Tekton's, where the ConfigMap of the flags is.
        flags: Keys to set in that ConfigMap; no other key is changed.
        log_access: Grant the controller access to the logs of pods.
        coscheduling: Grant the controller what the flag ``coschedule`` needs.
        encryption: Grant the controller what the option ``encryption`` of backends needs.
        disruption_budget: Keep a ready replica while nodes are drained.
        network_policies: Limit what the project's pods send and receive.
        admission_policy: Let the API server refuse runs that the controller would refuse later.
        watch_namespaces: Those that the controller is limited to, by Roles in place of ClusterRoles; none: it
            is not limited.
        controller_namespace: That of the controller itself; unless it is the manifests' own, it must exist.
        signing: Mount the socket of the SPIFFE Workload API into the controller.
        backends: Grant the controller what these need; names from `backends_with_rights`.
        crds: Install minimal CRDs, for a cluster without Tekton.
        monitoring: Install alerts, for a cluster with the Prometheus operator.
    """

    controller_image: str = ""
    image_registry: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    namespace: str = TEKTONS
    flags: Mapping[str, str] = field(default_factory=dict)
    log_access: bool = False
    coscheduling: bool = False
    encryption: bool = False
    disruption_budget: bool = False
    network_policies: bool = False
    admission_policy: bool = False
    watch_namespaces: tuple[str, ...] = ()
    controller_namespace: str = OURS
    signing: bool = False
    backends: tuple[str, ...] = ()
    crds: bool = False
    monitoring: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The objects to apply, in this order.

    Attributes:
        made: Created only if they do not exist: they may belong to Tekton, or hold settings.
        applied: Applied by server-side apply.
        namespace: Of the ConfigMap of the flags.
        flags: See `Choices`; set before the last of ``applied``, the Deployment.
        image_registry: See `Choices`.
        sidecar_image: Of the backend sidecar-logs; "" for that of the flags.
    """

    made: tuple[Object, ...]
    applied: tuple[Object, ...]
    namespace: str
    flags: Mapping[str, str]
    image_registry: str = ""
    sidecar_image: str = ""

    @property
    def images(self) -> list[str]:
        """The images of the plan's Deployments."""
        specs = [obj["spec"]["template"]["spec"] for obj in self.applied if obj["kind"] == "Deployment"]
        return [container["image"] for spec in specs for container in spec["containers"]]


def plan_of(choices: Choices) -> Plan:
    """Return the objects of an installation with these choices.

    Raises:
        InputError: An image, a namespace or a backend is invalid.
    """
    check_namespace_name(choices.namespace, "--namespace")
    check_namespace_name(choices.controller_namespace, "--controller-namespace")
    images = {f"--{name}": image for name, image in choices.options.items() if name.endswith("-image")}
    for option, image in {"--controller-image": choices.controller_image, **images}.items():
        if image and not _IMAGE.fullmatch(image):
            raise InputError(f'"{image}" is not a valid image reference', subject=option)
    registry = check_registry(choices.image_registry)
    brought = load("crds") if choices.crds else []
    made = [obj for obj in brought if obj["kind"] != "CustomResourceDefinition"]
    applied = [obj for obj in brought if obj["kind"] == "CustomResourceDefinition"]
    base = load("")
    applied += [obj for obj in base if obj["kind"] != "Deployment"]
    for folder, attribute in OPT_INS.items():
        applied += load(folder) if getattr(choices, attribute) else []
    for name in choices.backends:
        if name not in backends_with_rights():
            known = ", ".join(backends_with_rights())
            raise InputError(
                f'the backend "{name}" has no permissions to grant; backends that have: {known}',
                subject="--backend",
            )
        applied += load(f"{BACKENDS}/{name}")
    applied += [_with_choices(obj, choices) for obj in base if obj["kind"] == "Deployment"]
    applied = [moved for obj in applied if (moved := _moved(_located(obj, registry), choices))]
    if choices.watch_namespaces:
        applied = limit_to(applied, choices.watch_namespaces, choices.namespace)
    return Plan(
        made=tuple(moved for obj in made if (moved := _moved(obj, choices))),
        applied=tuple(applied),
        namespace=choices.namespace,
        flags=choices.flags,
        image_registry=registry,
        sidecar_image=choices.options.get("sidecar-image", ""),
    )


def kind_of(obj: Object) -> Kind:
    """Return the kind of an object of the manifests; all of their plurals are regular."""
    group, slash, version = obj["apiVersion"].rpartition("/")
    name = obj["kind"].lower()
    plural = f"{name.removesuffix('y')}ies" if name.endswith("y") else f"{name}s"
    return Kind(group if slash else "", version, plural, obj["kind"])


def has_manifests(folder: str) -> bool:
    """Return whether there is a folder of manifests with that name."""
    return _FOLDER.joinpath(folder).is_dir()


def backends_with_rights() -> list[str]:
    """Return the backends whose permissions are opt-in manifests: the folders of ``config/backends/``."""
    return sorted(folder.name for folder in _FOLDER.joinpath(BACKENDS).iterdir() if folder.is_dir())


def reads_pod_logs(core: ResultsManager, backend: str) -> bool:
    """Return whether the controller needs the logs of pods for a backend: the choice ``log_access``."""
    needed = core.backend(backend).capabilities.permissions
    return any((permission.group, permission.resource) == ("", "pods/log") for permission in needed)


def load(folder: str) -> list[Object]:
    """Return the objects of a folder of ``config/``, as ``kubectl apply -k`` or ``-f`` reads them."""
    return list(_load(_FOLDER.joinpath(folder) if folder else _FOLDER))


def _load(folder: Traversable) -> Iterator[Object]:
    """Load a folder: the part of kustomize that our manifests use."""
    kustomization = folder.joinpath("kustomization.yaml")
    if not kustomization.is_file():
        kustomization = folder.joinpath("Kustomization")
    loaded = yaml.safe_load(kustomization.read_text(encoding="utf-8"))
    if unknown := loaded.keys() - _UNDERSTOOD:
        raise ValueError(f"{kustomization}: {', '.join(sorted(unknown))} is not supported here")
    labels = {key: value for entry in loaded.get("labels", ()) for key, value in entry["pairs"].items()}
    for name in loaded["resources"]:
        place = folder.joinpath(name)
        found = _load(place) if place.is_dir() else yaml.safe_load_all(place.read_text(encoding="utf-8"))
        for obj in found:
            if labels:
                obj["metadata"]["labels"] = {**obj["metadata"].get("labels", {}), **labels}
            yield obj


def _moved(obj: Object, choices: Choices) -> Object:
    """Return an object in the chosen namespaces; an empty one for our namespace, if another is chosen."""
    chosen = {TEKTONS: choices.namespace, OURS: choices.controller_namespace}
    metadata: dict[str, Any] = dict(obj["metadata"])
    if obj["kind"] == "Namespace":
        if metadata["name"] == OURS != choices.controller_namespace:
            return {}
        metadata["name"] = chosen.get(metadata["name"], metadata["name"])
    elif "namespace" in metadata:
        metadata["namespace"] = chosen.get(metadata["namespace"], metadata["namespace"])
    moved = {**obj, "metadata": metadata}
    if "subjects" in obj:
        moved["subjects"] = [_renamed(subject, chosen) for subject in obj["subjects"]]
    if "paramRef" in obj.get("spec", ()):
        moved["spec"] = {**obj["spec"], "paramRef": _renamed(obj["spec"]["paramRef"], chosen)}
    return moved


def _renamed(reference: Object, chosen: Mapping[str, str]) -> Object:
    """Return a reference to an object, with its namespace as chosen."""
    if "namespace" not in reference:
        return reference
    return {**reference, "namespace": chosen.get(reference["namespace"], reference["namespace"])}


def _located(obj: Object, registry: str) -> Object:
    """Return an object; a Deployment with the project's images, also those of pods, from a registry."""
    if obj["kind"] != "Deployment" or not registry:
        return obj
    changed = copy.deepcopy(obj)
    for container in changed["spec"]["template"]["spec"]["containers"]:
        container["image"] = located(container["image"], registry)
        for variable in container.get("env") or ():
            if variable["name"] == REGISTRY_VARIABLE:
                variable["value"] = registry
    return changed


def _with_choices(deployment: Object, choices: Choices) -> Object:
    """Return the controller's Deployment with the chosen image and options."""
    chosen = copy.deepcopy(deployment)
    (container,) = chosen["spec"]["template"]["spec"]["containers"]
    if choices.controller_image:
        container["image"] = choices.controller_image
    options = {
        **({"namespace": choices.namespace} if choices.namespace != TEKTONS else {}),
        **({"watch-namespaces": ",".join(choices.watch_namespaces)} if choices.watch_namespaces else {}),
        **choices.options,
    }
    for name, value in options.items():
        container["args"] += [f"--{name}", value]
    if choices.signing:
        _add_workload_api(chosen)
    return chosen


def _add_workload_api(deployment: Object) -> None:
    """Add what the component ``enable-signing`` adds: a volume, and its mount."""
    text = _FOLDER.joinpath("enable-signing", "deployment.yaml").read_text(encoding="utf-8")
    added, spec = (item["spec"]["template"]["spec"] for item in (yaml.safe_load(text), deployment))
    spec["volumes"] += added["volumes"]
    for container, with_mounts in zip(spec["containers"], added["containers"], strict=True):
        container["volumeMounts"] += with_mounts["volumeMounts"]


def flags_patch(plan: Plan) -> str:
    """Return the command that sets the flags of a plan; "" if there are none."""
    if not plan.flags:
        return ""
    patch = json.dumps({"data": dict(plan.flags)}, separators=(",", ":"))
    return f"kubectl patch configmap {FEATURE_FLAGS} -n {plan.namespace} -p {shlex.quote(patch)}"
