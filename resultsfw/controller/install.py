"""Apply a plan of manifests to a cluster: check all of it first, then apply object by object."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from resultsfw.cluster import CONFIG_MAPS, Kind, Object
from resultsfw.controller.cluster_checks import DEFINITIONS
from resultsfw.controller.live_flags import CONFIG_MAP, data_of, flags_of
from resultsfw.controller.manifests import (
    OPT_INS,
    PART_OF,
    Choices,
    Plan,
    backends_with_rights,
    kind_of,
    plan_of,
    reads_pod_logs,
)
from resultsfw.controller.plugin_images import images_of_plugins
from resultsfw.core import ResultsManager
from resultsfw.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    ResultsError,
)
from resultsfw.flags import DEFAULT_BACKEND
from resultsfw.images import missing_registry
from resultsfw.site import page
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.taskrun.settings import settings_of

__all__ = ["Outcome", "Server", "check", "install", "missing_choices", "unchosen", "wait_for_rollout"]

MANAGER: Final = "resultsfw"
"""The field manager of the fields that `install` sets (server-side apply)."""

NAMESPACES: Final = Kind("", "v1", "namespaces", "Namespace")
DEPLOYMENTS: Final = Kind("apps", "v1", "deployments", "Deployment")

_PROMETHEUS: Final = "monitoring.coreos.com"

_OF_TEKTON: Final = {"app.kubernetes.io/part-of": "tekton-pipelines"}
"""Label of the ConfigMaps that Tekton's webhook checks (config/500-webhooks.yaml)."""

_TEKTONS_BACKENDS: Final = frozenset({DEFAULT_BACKEND, "sidecar-logs"})
"""Values of ``results-from`` that Tekton knows."""

_POLL: Final = 0.5
"""Seconds between two polls of a rollout."""

_SERVERS: Final = ("resourceVersion", "managedFields", "generation")


class Server(Protocol):
    """The part of an API server's `Cluster` that an installation uses."""

    def get(self, kind: Kind, namespace: str, name: str, /) -> Object:
        """Return one object."""
        ...

    def create(self, kind: Kind, obj: Object, /) -> Object:
        """Store a new object."""
        ...

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, /) -> Object:
        """Apply a merge patch."""
        ...

    def apply(self, kind: Kind, obj: Object, /, *, manager: str, dry_run: bool = False) -> Object:
        """Apply an object by server-side apply."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What applying one object did: "created", "configured" or "unchanged"."""

    kind: Kind
    name: str
    word: str

    @property
    def sentence(self) -> str:
        """The outcome in kubectl's words."""
        resource = self.kind.kind.lower() + (f".{self.kind.group}" if self.kind.group else "")
        return f"{resource}/{self.name} {self.word}"


def check(server: Server, plan: Plan) -> None:
    """Reject a plan that cannot be applied, before anything is changed. What may not be read is not checked.

    Raises:
        InputError: The plan does not fit this cluster.
        ClusterError: The API server would reject an object, or another field manager owns a field of it.
    """
    brought = [
        obj
        for obj in plan.applied
        if obj["kind"] == DEFINITIONS.kind and obj["spec"]["group"] == TASKRUNS.group
    ]
    for obj in brought:
        _refuse_foreign(server, obj["metadata"]["name"])
    if not brought:
        _refuse_absent(
            server, DEFINITIONS, f"{TASKRUNS.plural}.{TASKRUNS.group}", "install Tekton, or add --crds"
        )
        _refuse_absent(
            server, NAMESPACES, plan.namespace, "--namespace names the one with Tekton's ConfigMaps"
        )
    for kind in {kind_of(obj) for obj in plan.applied}:
        if kind.group == _PROMETHEUS:
            fix = "install the Prometheus operator, or leave --monitoring out"
            _refuse_absent(server, DEFINITIONS, f"{kind.plural}.{kind.group}", fix)
    _check_flags(server, plan)
    absent = {name for name in _namespaces(plan.applied) if _find(server, NAMESPACES, "", name) is None}
    for obj in plan.applied:
        if obj["metadata"].get("namespace") not in absent:
            _apply(server, obj, dry_run=True)


def install(server: Server, plan: Plan) -> Iterator[Outcome]:
    """Apply a plan, one object at a time, and yield the outcome of each.

    Raises:
        ClusterError: The API server rejected one; those before it are applied.
    """
    for obj in plan.made:
        yield _create_if_missing(server, obj)
    *first, deployment = plan.applied
    for obj in first:
        yield _applied(server, obj)
    if plan.flags:
        yield _flags(server, plan)
    yield _applied(server, deployment)


def wait_for_rollout(
    server: Server, deployment: Object, seconds: float, *, pause: Callable[[float], None] = time.sleep
) -> None:
    """Wait until every replica is updated and available.

    Raises:
        ClusterError: They are not in time; the message has the Deployment's conditions.
    """
    metadata = deployment["metadata"]
    end = time.monotonic() + seconds
    while True:
        now = server.get(DEPLOYMENTS, metadata["namespace"], metadata["name"])
        if _rolled_out(now):
            return
        if time.monotonic() >= end:
            raise ClusterError(
                f"not rolled out within {seconds:g} s: {_describe_availability(now)}; "
                f"kubectl get pods -n {metadata['namespace']} shows more",
                subject=f"Deployment {metadata['namespace']}/{metadata['name']}",
            )
        pause(_POLL)


def _refuse_foreign(server: Server, name: str) -> None:
    found = _find(server, DEFINITIONS, "", name)
    if found is not None and not PART_OF.items() <= (found["metadata"].get("labels") or {}).items():
        raise InputError(
            f"the cluster has a CRD {name} not installed by resultsfw: --crds would reduce Tekton's CRD to "
            f"the minimum; leave --crds out",
            subject="--crds",
        )


def _refuse_absent(server: Server, kind: Kind, name: str, fix: str) -> None:
    if _find(server, kind, "", name) is None:
        what = "CRD" if kind == DEFINITIONS else kind.kind
        raise InputError(f"{what} {name} not found; {fix}", subject=name)


def _find(server: Server, kind: Kind, namespace: str, name: str) -> Object | None:
    """Return an object; ``None`` if there is none, an empty one of ours if it may not be read."""
    try:
        return server.get(kind, namespace, name)
    except NotFoundError:
        return None
    except ForbiddenError:
        return {"metadata": {"labels": PART_OF}}


def missing_choices(server: Server, choices: Choices) -> Iterator[tuple[str, str]]:
    """Yield the allowed backends whose rights nobody chose, each with the option that grants them.

    Only the flags in effect say which backends those are: an installation may leave the flags as they were.
    Nothing is yielded if they may not be read, or are invalid.
    """
    try:
        found = server.get(CONFIG_MAPS, choices.namespace, CONFIG_MAP)
        core = ResultsManager(replace(flags_of(found), extensions=frozenset()))
        for name in sorted(core.flags.allowed_results_from):
            if not choices.log_access and reads_pod_logs(core, name):
                yield name, "--enable-log-access"
            if name in backends_with_rights() and name not in choices.backends:
                yield name, f"--backend {name}"
    except ResultsError:
        return


def unchosen(server: Server, choices: Choices) -> Iterator[str]:
    """Yield the commands that delete objects of earlier installations which these choices leave out.

    Rights that they grant stay granted. CRDs are left out, since their objects would be deleted with them,
    and so is what may not be read.
    """
    opted_in: dict[str, Any] = dict.fromkeys(OPT_INS.values(), True)
    everything = replace(choices, crds=False, backends=tuple(backends_with_rights()), **opted_in)
    chosen = [_place(obj) for obj in plan_of(choices).applied]
    for kind, namespace, name in map(_place, plan_of(everything).applied):
        if kind == DEFINITIONS or (kind, namespace, name) in chosen:
            continue
        try:
            found = server.get(kind, namespace, name)
        except ClusterError:
            continue
        if PART_OF.items() <= (found["metadata"].get("labels") or {}).items():
            resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
            yield f"kubectl delete {resource} {name}" + (f" -n {namespace}" if namespace else "")


def _place(obj: Object) -> tuple[Kind, str, str]:
    return kind_of(obj), obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _refuse_for_tekton(configmap: Object, plan: Plan) -> None:
    """Reject a backend that Tekton's components would reject in their own ConfigMap.

    Its webhook refuses such an edit, and its controller would not start with it (setResultExtractionMethod,
    pkg/apis/config/feature_flags.go). Of other keys they know nothing.
    """
    backend = plan.flags.get("results-from", DEFAULT_BACKEND)
    labels = configmap.get("metadata", {}).get("labels") or {}
    if _OF_TEKTON.items() <= labels.items() and backend not in _TEKTONS_BACKENDS:
        raise InputError(
            f"Tekton's own controller reads the ConfigMap {plan.namespace}/{CONFIG_MAP}, too, and accepts no "
            f'results-from "{backend}" there: give this controller a ConfigMap of its own (--namespace, an '
            f"existing namespace), or let runs choose the backend (--backend {backend}, and "
            f"allowed-results-from); {page('how-to/choose-a-backend')} explains both",
            subject="--results-from",
        )


def _check_flags(server: Server, plan: Plan) -> None:
    """Reject flags that the controller would reject, together with those that are set already.

    Their images are checked as well: a run whose sidecar cannot be pulled fails.
    """
    found = _find(server, CONFIG_MAPS, plan.namespace, CONFIG_MAP) or {}
    _refuse_for_tekton(found, plan)
    merged = {**found, "data": {**(found.get("data") or {}), **plan.flags}}
    try:
        # The extensions must be installed in the controller's image, not on this machine.
        flags = flags_of(merged, sidecar_image=plan.sidecar_image)
        core = ResultsManager(replace(flags, extensions=frozenset()))
        settings_of(data_of(merged), {})
    except ResultsError as error:
        if not plan.flags:
            return  # they were there before, and are not changed
        raise InputError(
            f"the controller would reject the ConfigMap {plan.namespace}/{CONFIG_MAP}: {error.message}",
            subject=CONFIG_MAP,
        ) from error
    images = images_of_plugins(core, plan.image_registry).values()
    if missing := missing_registry([*plan.images, *images]):
        raise InputError(missing, subject="--image-registry")


def _namespaces(objects: Iterable[Object]) -> set[str]:
    return {obj["metadata"]["namespace"] for obj in objects if obj["metadata"].get("namespace")}


def _apply(server: Server, obj: Object, *, dry_run: bool = False) -> Object:
    try:
        return server.apply(kind_of(obj), obj, manager=MANAGER, dry_run=dry_run)
    except ConflictError as error:
        raise ClusterError(
            f"{error.message}; to take over the field: resultsfw install --print ... | "
            f"kubectl apply --server-side --field-manager {MANAGER} --force-conflicts -f -",
            subject=error.subject,
        ) from error


def _applied(server: Server, obj: Object) -> Outcome:
    kind, metadata = kind_of(obj), obj["metadata"]
    before = _find(server, kind, metadata.get("namespace", ""), metadata["name"])
    after = _apply(server, obj)
    word = (
        "created" if before is None else "unchanged" if _core_of(before) == _core_of(after) else "configured"
    )
    return Outcome(kind, metadata["name"], word)


def _create_if_missing(server: Server, obj: Object) -> Outcome:
    kind, metadata = kind_of(obj), obj["metadata"]
    there = _find(server, kind, metadata.get("namespace", ""), metadata["name"])
    if there is None:
        server.create(kind, obj)
    return Outcome(kind, metadata["name"], "created" if there is None else "unchanged")


def _flags(server: Server, plan: Plan) -> Outcome:
    """Set the chosen keys, not by server-side apply: a later call would remove keys that it leaves out."""
    found = _find(server, CONFIG_MAPS, plan.namespace, CONFIG_MAP)
    if found is None:
        metadata = {"name": CONFIG_MAP, "namespace": plan.namespace}
        server.create(CONFIG_MAPS, {"metadata": metadata, "data": dict(plan.flags)})
        return Outcome(CONFIG_MAPS, CONFIG_MAP, "created")
    if plan.flags.items() <= (found.get("data") or {}).items():
        return Outcome(CONFIG_MAPS, CONFIG_MAP, "unchanged")
    server.patch(CONFIG_MAPS, plan.namespace, CONFIG_MAP, {"data": dict(plan.flags)})
    return Outcome(CONFIG_MAPS, CONFIG_MAP, "configured")


def _core_of(obj: Object) -> Object:
    """Return an object without the fields that the API server and its controllers change."""
    metadata: Mapping[str, Any] = obj["metadata"]
    kept = {key: value for key, value in metadata.items() if key not in _SERVERS}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": kept}


def _rolled_out(deployment: Object) -> bool:
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    counts = (status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas"))
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return seen and all(count == wanted for count in counts)


def _describe_availability(deployment: Object) -> str:
    """Describe how many replicas are available, and the messages of false conditions."""
    status = deployment.get("status") or {}
    wanted = deployment["spec"].get("replicas", 1)
    failing = [
        condition.get("message", "")
        for condition in status.get("conditions") or ()
        if condition.get("status") == "False"
    ]
    return "; ".join(
        [f"{status.get('availableReplicas', 0)} of {wanted} replicas are available", *filter(None, failing)]
    )
