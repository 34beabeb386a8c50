"""Create, move and remove the affinity assistants of a PipelineRun, and the claims that end with them."""

import logging
from collections.abc import Iterable
from typing import Final

from resultsfw.cluster import PODS, Cluster, Kind, Object
from resultsfw.errors import AlreadyExistsError, ClusterError, NotFoundError, UnavailableError
from resultsfw.tekton.api.kinds import CLAIMS
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.pipelinerun.affinity_assistant import assistant_names, assistants_of, claims_to_delete
from resultsfw.tekton.spec.coscheduling import Coscheduling, Mode

__all__ = ["NODES", "STATEFUL_SETS", "create_assistants", "leave_cordoned_nodes", "remove_assistants"]

log = logging.getLogger(__name__)

STATEFUL_SETS: Final = Kind("apps", "v1", "statefulsets", "StatefulSet")
NODES: Final = Kind("", "v1", "nodes", "Node")

_PROTECTION: Final = "kubernetes.io/pvc-protection"
"""Keeps a claim until no pod uses it; pods that have ended count."""


def create_assistants(
    cluster: Cluster, pipelinerun: Object, bindings: Iterable[Object], coscheduling: Coscheduling
) -> tuple[str, ClusterError] | None:
    """Create the assistants of a run; those that exist stay.

    Args:
        cluster: Where they are created.
        pipelinerun: The run.
        bindings: Its workspace bindings, with variables replaced.
        coscheduling: How its pods are placed.

    Returns:
        The message about the first that could not be created, and the error; ``None`` if all exist.
    """
    metadata = pipelinerun["metadata"]
    for stateful_set in assistants_of(pipelinerun, bindings, coscheduling):
        name = stateful_set["metadata"]["name"]
        try:
            _create(cluster, pipelinerun, stateful_set)
        except ClusterError as error:
            run = f"{metadata.get('namespace', '')}/{metadata['name']}"
            return (
                f"Failed to create StatefulSet for PipelineRun {run} correctly: Affinity Assistant creation "
                f"error: [failed to create StatefulSet {name}: {error.message}]"
            ), error
    return None


def _create(cluster: Cluster, pipelinerun: Object, stateful_set: Object) -> None:
    namespace, name = stateful_set["metadata"]["namespace"], stateful_set["metadata"]["name"]
    try:
        cluster.create(STATEFUL_SETS, stateful_set)
    except AlreadyExistsError:
        if not owns(pipelinerun, cluster.get(STATEFUL_SETS, namespace, name)):
            # Of an earlier run of the same name: the garbage collector will delete it.
            raise UnavailableError(
                f'StatefulSet "{name}" exists and does not belong to this run', subject=f"StatefulSet {name}"
            ) from None


def leave_cordoned_nodes(cluster: Cluster, pipelinerun: Object, mode: Mode) -> None:
    """Delete the pod of an assistant on a cordoned node; its StatefulSet creates another pod elsewhere.

    Otherwise the pods that must run on the assistant's node would wait for ever. A failed request changes
    nothing.
    """
    namespace = pipelinerun["metadata"].get("namespace", "")
    for name in assistant_names(pipelinerun, mode):
        try:
            pod = cluster.get(PODS, namespace, f"{name}-0")
            node = (pod.get("spec") or {}).get("nodeName")
            if node and (cluster.get(NODES, "", node).get("spec") or {}).get("unschedulable"):
                cluster.delete(PODS, namespace, f"{name}-0")
        except NotFoundError:
            continue
        except ClusterError as error:
            log.warning("affinity assistant %s/%s stays where it is: %s", namespace, name, error.message)


def remove_assistants(cluster: Cluster, pipelinerun: Object, mode: Mode) -> list[str]:
    """Remove the assistants of a run that ends, and the claims that end with it.

    Returns:
        A sentence for each that could not be removed. The run ends nevertheless.
    """
    namespace = pipelinerun["metadata"].get("namespace", "")
    left = []
    for name in assistant_names(pipelinerun, mode):
        try:
            cluster.delete(STATEFUL_SETS, namespace, name)
        except NotFoundError:
            continue
        except ClusterError as error:
            left.append(f"failed to delete StatefulSet {name}: {error.message}; delete it")
    for name in claims_to_delete(pipelinerun, mode):
        try:
            _delete_claim(cluster, namespace, name)
        except NotFoundError:
            continue
        except ClusterError as error:
            left.append(f"failed to delete the PVC {name}: {error.message}; delete it")
    return left


def _delete_claim(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete a claim though pods that have ended refer to it.

    Raises:
        NotFoundError: There is none.
        ClusterError: A request failed.
    """
    claim = cluster.get(CLAIMS, namespace, name)
    kept = [item for item in claim["metadata"].get("finalizers") or () if item != _PROTECTION]
    cluster.delete(CLAIMS, namespace, name)
    cluster.patch(CLAIMS, namespace, name, {"metadata": {"finalizers": kept}})
