"""Backend ``config-map``: a sidecar writes the results into a ConfigMap of the run's own (TEP-0086).

Before the pod, an empty ConfigMap is created, which the run owns. The ConfigMap owns a Role for itself and a
binding to the pod's service account. `resultsfw_transports.config_map` describes what the sidecar writes, and
`resultsfw_backends._api_object` why a Step cannot forge it.
"""

from typing import Final

from resultsfw import (
    CONFIG_MAPS,
    Capabilities,
    Cluster,
    Extraction,
    Kind,
    Limits,
    Object,
    Permission,
    Run,
    hookimpl,
)
from resultsfw.errors import AlreadyExistsError
from resultsfw.limits import OBJECT_BYTES
from resultsfw.podchecks import refuse_shared_processes
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.sidecars import has_ended
from resultsfw_backends._api_object import (
    ENV_ACCOUNT,
    VALUE_BYTES,
    VOLUME,
    ObjectConfig,
    Written,
    add_writer,
    extract_written,
    mapping,
)
from resultsfw_backends._record_room import longest_records, refuse_too_many
from resultsfw_backends._run_object import LABELS, create_object, delete_object, name_of

__all__ = [
    "ENV_ACCOUNT",
    "VALUE_BYTES",
    "VOLUME",
    "Config",
    "capabilities",
    "extract",
    "name_of",
    "pod_ready",
    "prepare_pod",
    "purge",
]

GROUP: Final = "rbac.authorization.k8s.io"
ROLES: Final = Kind(GROUP, "v1", "roles", "Role")
ROLE_BINDINGS: Final = Kind(GROUP, "v1", "rolebindings", "RoleBinding")

TRANSPORT: Final = "resultsfw_transports.config_map"
ENV_NAME: Final = "RESULTSFW_CONFIG_MAP"
ENV_UID: Final = "RESULTSFW_CONFIG_MAP_UID"
RECORDS: Final = "resultsfw.dev/records"

RECORD_BYTES: Final = 262_144 - len(RECORDS)
"""Maximum bytes of an object's annotations, including their names (``TotalAnnotationSizeLimitB``)."""


class Config(ObjectConfig):
    """Options of ``config.config-map``."""


capabilities = Capabilities(
    summary="results in a ConfigMap of the run's own, written by a sidecar: 1 MiB a run, as stored",
    run_bytes=OBJECT_BYTES,  # compressed; less otherwise
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


@hookimpl
def prepare_pod(run: Run, pod: Object, cluster: Cluster, limits: Limits, config: Config) -> int:
    """Create the ConfigMap and the pod's right to write it, and add the sidecar."""
    where = "the annotations of a ConfigMap have"
    refuse_too_many(run, longest_records(run, pod), RECORD_BYTES, where=where, backend="config-map")
    refuse_shared_processes(
        pod, backend="config-map", what="the token of the results sidecar and write its termination message"
    )
    made = create_object(CONFIG_MAPS, run, pod, cluster, backend="config-map")
    uid = made["metadata"].get("uid", "")
    _grant(made, pod["spec"].get("serviceAccountName") or "default", cluster)
    return add_writer(
        run,
        pod,
        config,
        limits=limits,
        transport=TRANSPORT,
        env={ENV_NAME: made["metadata"]["name"], ENV_UID: uid},
    )


@hookimpl
def pod_ready(run: Run, pod: Object) -> bool:
    """Return whether the sidecar has ended for good, so that its termination message is final."""
    return has_ended(run, pod, RESULTS_SIDECAR)


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, limits: Limits, wire: int) -> Extraction:
    """Read the ConfigMap, if the sidecar's termination message has its digest."""
    name = name_of(run)

    def find() -> Written:
        found = cluster.get(CONFIG_MAPS, run.namespace, name)
        annotations = mapping(mapping(found.get("metadata")).get("annotations"))
        return Written(annotations.get(RECORDS), found.get("data"), found.get("binaryData"))

    return extract_written(
        run, pod, backend="config-map", about=f'ConfigMap "{name}"', wire=wire, limits=limits, find=find
    )


@hookimpl
def purge(run: Run, cluster: Cluster) -> None:
    """Delete the ConfigMap; Kubernetes deletes the Role and its binding, which it owns."""
    delete_object(CONFIG_MAPS, run, cluster)


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
