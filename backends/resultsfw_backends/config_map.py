"""Backend ``config-map``: a sidecar writes the results into a ConfigMap of the run's own (TEP-0086).

Before the pod, an empty ConfigMap is created, which the run owns. The ConfigMap owns a Role for itself and a
binding to the pod's service account. `resultsfw_transports.config_map` describes what the sidecar writes.

Steps have a token of the same service account, so they can write the ConfigMap, too. It is accepted only if
its records have the digest in the sidecar's termination message, which only the sidecar can write: a Step can
make its run fail, but cannot forge a result.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import replace
from typing import Any, Final

from resultsfw import (
    CONFIG_MAPS,
    Capabilities,
    Cluster,
    Extraction,
    Kind,
    Limits,
    Object,
    Permission,
    Problem,
    ProblemCode,
    Run,
    format_names,
    hookimpl,
)
from resultsfw.errors import AlreadyExistsError, BackendError, NotFoundError, UnavailableError
from resultsfw.podchecks import refuse_shared_processes
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.sidecars import describe_end, has_ended, may_start_again, read_digest
from resultsfw_backends._record_values import CompressedValue, compressed
from resultsfw_backends._results_sidecar import CompressingConfig, add_sidecar
from resultsfw_backends._sidecar_log import declared_names
from resultsfw_backends._sidecar_reader import read_records, refuse_to_read
from resultsfw_sidecar import wire as wires

__all__ = ["Config", "capabilities", "extract", "name_of", "pod_ready", "prepare_pod", "purge"]

GROUP: Final = "rbac.authorization.k8s.io"
ROLES: Final = Kind(GROUP, "v1", "roles", "Role")
ROLE_BINDINGS: Final = Kind(GROUP, "v1", "rolebindings", "RoleBinding")

TRANSPORT: Final = "resultsfw_transports.config_map"
ENV_NAME: Final = "RESULTSFW_CONFIG_MAP"
ENV_UID: Final = "RESULTSFW_CONFIG_MAP_UID"
ENV_ACCOUNT: Final = "RESULTSFW_SERVICE_ACCOUNT"
RECORDS: Final = "resultsfw.dev/records"

VALUE_BYTES: Final = 1_048_576
"""Maximum bytes of all values of a ConfigMap, without its keys (``ValidateConfigMap``)."""

RECORD_BYTES: Final = 262_144 - len(RECORDS)
"""Maximum bytes of an object's annotations, including their names (``TotalAnnotationSizeLimitB``)."""

ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Path at which Kubernetes mounts a token, unless something else is mounted there."""

VOLUME: Final = "resultsfw-account"
EXPIRY: Final = 600
"""Seconds that a token is valid; the minimum. The kubelet renews it."""

LABELS: Final = {"app.kubernetes.io/part-of": "resultsfw"}

_UID: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,62}[a-z0-9])?")


class Config(CompressingConfig):
    """Options of ``config.config-map``."""

    image: str = "resultsfw/sidecar-net:0.1.0"
    """The sidecar's image; it needs TLS."""
    memory: str = "64Mi"
    """Memory request and limit: the sidecar holds all results of the run at once."""


capabilities = Capabilities(
    summary="results in a ConfigMap of the run's own, written by a sidecar: 1 MiB a run, as stored",
    external_state="owned",
    verified=True,
    artifacts=True,
    plain_pods=True,
    permissions=(
        Permission(verb="create", resource="configmaps", why="a run gets one of its own for its results"),
        Permission(verb="get", resource="configmaps", why="the results are in it; and to let a pod get it"),
        Permission(verb="patch", resource="configmaps", why="only who may do it can let a pod do it"),
        Permission(verb="delete", resource="configmaps", why="it goes when its results are in the status"),
        Permission(verb="create", resource="roles", group=GROUP, why="the pod may write this one ConfigMap"),
        Permission(
            verb="create", resource="rolebindings", group=GROUP, why="the pod may write this one ConfigMap"
        ),
    ),
)


def name_of(run: Run) -> str:
    """Return the name of an attempt's ConfigMap."""
    uid = run.uid
    if not _UID.fullmatch(uid):
        uid = hashlib.sha256(f"{run.name}/{uid}".encode()).hexdigest()[:32]
    return f"resultsfw-{uid}-{run.attempt}"


@hookimpl
def prepare_pod(run: Run, pod: Object, cluster: Cluster, limits: Limits, config: Config) -> int:
    """Create the ConfigMap and the pod's right to write it, and add the sidecar."""
    _refuse_too_many(run)
    refuse_shared_processes(
        pod, backend="config-map", what="the token of the results sidecar and write its termination message"
    )
    made = _config_map(run, pod, cluster)
    uid = made["metadata"].get("uid", "")
    _grant(made, pod["spec"].get("serviceAccountName") or "default", cluster)
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": EXPIRY}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    add_sidecar(
        run,
        pod,
        config,
        limits=limits if config.compress else _as_stored(limits),
        wire=config.wire_version,
        transport=TRANSPORT,
        env=[
            {"name": ENV_NAME, "value": made["metadata"]["name"]},
            {"name": ENV_UID, "value": uid},
            {"name": ENV_ACCOUNT, "value": ACCOUNT},
        ],
        mounts=[{"name": VOLUME, "mountPath": ACCOUNT, "readOnly": True}],
        volumes=[{"name": VOLUME, "projected": {"sources": sources}}],
    )
    return config.wire_version


@hookimpl
def pod_ready(run: Run, pod: Object) -> bool:
    """Return whether the sidecar has ended for good, so that its termination message is final."""
    return has_ended(run, pod, RESULTS_SIDECAR)


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, limits: Limits, wire: int) -> Extraction:
    """Read the ConfigMap, if the sidecar's termination message has its digest."""
    if (nothing := refuse_to_read(pod, wire=wire, known=(wires.WIRE, wires.COMPRESSED))) is not None:
        return nothing
    name = name_of(run)
    if not has_ended(run, pod, RESULTS_SIDECAR):
        return _nothing(
            run, "the results sidecar has not ended, so nobody can tell what it wrote", too_early=True
        )
    if (proof := read_digest(pod, RESULTS_SIDECAR)) is None:
        how = describe_end(pod, RESULTS_SIDECAR)
        why = f'the results sidecar did not write ConfigMap "{name}": {how}'
        return _nothing(run, why, too_early=may_start_again(pod, RESULTS_SIDECAR))
    try:
        found = cluster.get(CONFIG_MAPS, run.namespace, name)
    except NotFoundError:
        return _nothing(run, f'ConfigMap "{name}" is not there, though the results sidecar had written it')
    annotations = _mapping(_mapping(found.get("metadata")).get("annotations"))
    records = str(annotations.get(RECORDS) or "").encode("utf-8", "backslashreplace")
    if (has := f"sha256:{hashlib.sha256(records).hexdigest()}") != proof:
        why = (
            f'ConfigMap "{name}" is not as the results sidecar wrote it: its records have the digest {has}, '
            f"and the sidecar's termination message says {proof}; somebody else who may write it did"
        )
        return _nothing(run, why, code=ProblemCode.TRANSPORT_CORRUPT)
    read = read_records(
        run,
        pod,
        records,
        whose=f'ConfigMap "{name}"',
        limits=limits,
        wire=wire,
        resolve=lambda record: _value(found, record),
    )
    used = _stored_bytes(found)
    transports = tuple(replace(usage, used=used, budget=VALUE_BYTES) for usage in read.transports)
    problems = tuple(_advised(problem, wire) for problem in read.problems)
    return replace(read, transports=transports, problems=problems)


@hookimpl
def purge(run: Run, cluster: Cluster) -> None:
    """Delete the ConfigMap; Kubernetes deletes the Role and its binding, which it owns."""
    try:
        cluster.delete(CONFIG_MAPS, run.namespace, name_of(run))
    except NotFoundError:
        return


def _refuse_too_many(run: Run) -> None:
    """Refuse a Task whose records might not fit, before anything is created."""
    declared = declared_names(run)
    size = len(wires.start_line("x" * 36, wires.WATCH_INOTIFY)) + 512  # and the end record
    for of, name in declared:
        longest = wires.refused_line(
            name, of, wires.NOT_REGULAR_FILE, "x" * wires.MESSAGE_LIMIT, size=10**7, limit=10**7
        )
        size += max(len(longest), len(wires.kept_line(name, b"x" * 10, of, name)) + 8)
    if size > RECORD_BYTES:
        raise BackendError(
            f"the Task declares {len(declared)} results, whose records beside the values can "
            f"have {size} bytes, and the annotations of a ConfigMap have room for {RECORD_BYTES}: declare "
            f"fewer results, or put several into one of type object or array",
            subject="config-map",
        )


def _config_map(run: Run, pod: Object, cluster: Cluster) -> Object:
    """Return the attempt's ConfigMap, new or created by an earlier call."""
    namespace, name = run.namespace, name_of(run)
    names = ("apiVersion", "kind", "name", "uid")
    owners = [
        {key: owner[key] for key in names if key in owner}
        for owner in pod["metadata"].get("ownerReferences") or ()
    ]
    metadata: Object = {"name": name, "namespace": namespace, "labels": dict(LABELS)}
    if owners:
        metadata["ownerReferences"] = owners
    try:
        return cluster.create(CONFIG_MAPS, {"metadata": metadata})
    except AlreadyExistsError:
        pass
    about = f"ConfigMap {namespace}/{name}"
    try:
        found = cluster.get(CONFIG_MAPS, namespace, name)
    except NotFoundError:
        raise UnavailableError("it existed and is gone; it is created again", subject=about) from None
    known = {owner.get("uid") for owner in found["metadata"].get("ownerReferences") or ()}
    if known != {owner.get("uid") for owner in owners}:
        raise BackendError(
            f"{about} exists and is not of this run; delete it, or find out who makes it",
            subject="config-map",
        )
    return found


def _grant(made: Object, account: str, cluster: Cluster) -> None:
    """Let the pod get and patch this ConfigMap.

    The names contain the ConfigMap's uid, which nobody knew before it existed. So an object with such a name
    is ours, and the controller need not read it.
    """
    metadata = made["metadata"]
    namespace, name = metadata["namespace"], f"resultsfw-{metadata.get('uid') or metadata['name']}"
    owner = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
    }
    about: Object = {
        "name": name,
        "namespace": namespace,
        "labels": dict(LABELS),
        "ownerReferences": [owner],
    }
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [metadata["name"]],
        "verbs": ["get", "patch"],
    }
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    reference = {"apiGroup": GROUP, "kind": "Role", "name": name}
    for kind, body in (
        (ROLES, {"rules": [rule]}),
        (ROLE_BINDINGS, {"roleRef": reference, "subjects": [subject]}),
    ):
        try:
            cluster.create(kind, {"metadata": about, **body})
        except AlreadyExistsError:
            continue


def _as_stored(limits: Limits) -> Limits:
    """Return the limits of values that are stored as they were written."""
    return Limits(
        result_bytes=min(limits.result_bytes, VALUE_BYTES), run_bytes=min(limits.run_bytes, VALUE_BYTES)
    )


def _nothing(
    run: Run, why: str, *, too_early: bool = False, code: ProblemCode = ProblemCode.TRANSPORT_INCOMPLETE
) -> Extraction:
    """Return an extraction without results, with the reason and the names of the results."""
    names = [name if step is None else f"{step}.{name}" for step, name in declared_names(run).values()]
    problem = Problem(code=code, message=f"{why}; nothing is known of {format_names(names)}")
    return Extraction(problems=(problem,), too_early=too_early)


def _value(found: Object, record: dict[str, Any]) -> str | CompressedValue | None:
    """Return the value under the key that a record names."""
    key = record.get("key")
    if not isinstance(key, str):
        return None
    if "encoding" in record:
        return compressed(record, _mapping(found.get("binaryData")).get(key))
    if isinstance(value := _mapping(found.get("data")).get(key), str):
        return value
    if not isinstance(encoded := _mapping(found.get("binaryData")).get(key), str):
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _stored_bytes(found: Object) -> int:
    """Return the bytes of a ConfigMap's values as the API server counts them."""
    texts, encoded = (_mapping(found.get(kind)).values() for kind in ("data", "binaryData"))
    return sum(len(text.encode("utf-8", "replace")) for text in texts if isinstance(text, str)) + sum(
        len(text) // 4 * 3 - text[-2:].count("=") for text in encoded if isinstance(text, str)
    )


def _mapping(value: object) -> dict[str, Any]:
    """Return a part of an object as a mapping; proxies may return something else."""
    return value if isinstance(value, dict) else {}


def _advised(problem: Problem, wire: int) -> Problem:
    """Add a hint to values that are too large for a ConfigMap, which no flag changes."""
    if problem.limit != VALUE_BYTES:
        return problem
    less = (
        "" if wire == wires.COMPRESSED else '"compress: true" in config.config-map lets it hold more text; '
    )
    return replace(
        problem, hint=f"a ConfigMap holds no more; {less}a backend that hands over references does"
    )
