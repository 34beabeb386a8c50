"""Backend ``custom-resource``: a sidecar writes the results into a custom resource of the run's own.

An alternative of TEP-0086. Before the pod, a RunResult without a status is created, which the run owns and
which names the pod. The pod's service account may patch the status of RunResults; the
ValidatingAdmissionPolicy ``resultsfw-custom-resource`` lets each pod write that of its own, once.
`resultsfw_transports.run_result` describes what the sidecar writes, and `resultsfw_backends._api_object` why
a Step cannot forge it.
"""

from typing import Final

from resultsfw import Capabilities, Cluster, Extraction, Kind, Limits, Object, Permission, Run, hookimpl
from resultsfw.errors import BackendError
from resultsfw.limits import OBJECT_BYTES
from resultsfw.podchecks import refuse_shared_processes
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.sidecars import has_ended
from resultsfw_backends._api_object import (
    ObjectConfig,
    Written,
    add_writer,
    extract_written,
    mapping,
)
from resultsfw_backends._policies import policy_permissions, require_policy
from resultsfw_backends._record_room import longest_records, refuse_too_many
from resultsfw_backends._run_object import create_object, delete_object, name_of

__all__ = ["RUN_RESULTS", "Config", "capabilities", "extract", "pod_ready", "prepare_pod", "purge"]

GROUP: Final = "resultsfw.dev"
RUN_RESULTS: Final = Kind(GROUP, "v1alpha1", "runresults", "RunResult")
POLICY: Final = "resultsfw-custom-resource"

TRANSPORT: Final = "resultsfw_transports.run_result"
ENV_NAME: Final = "RESULTSFW_RUN_RESULT"

RECORD_BYTES: Final = 150_000
"""Maximum bytes of records and keys in the object's JSON. All values take 1,398,104 bytes at most there, and
etcd's limit is 1,572,864: the rest is for metadata."""

_EACH: Final = 96
"""Bytes that each result takes beside its record, its name and its value: quotes, padding, managed fields."""


class Config(ObjectConfig):
    """Options of ``config.custom-resource``."""


capabilities = Capabilities(
    summary="results in a custom resource of the run's own, written by a sidecar under an admission policy",
    run_bytes=OBJECT_BYTES,  # compressed; less otherwise
    external_state="owned",
    verified=True,
    artifacts=True,
    plain_pods=True,
    permissions=(
        Permission(verb="create", resource="runresults", group=GROUP, why="a run gets one for its results"),
        Permission(verb="get", resource="runresults", group=GROUP, why="the results are in it"),
        Permission(
            verb="delete",
            resource="runresults",
            group=GROUP,
            why="it goes when its results are in the status",
        ),
        *policy_permissions(),
    ),
)


@hookimpl
def prepare_pod(run: Run, pod: Object, cluster: Cluster, limits: Limits, config: Config) -> int:
    """Create the RunResult and add the sidecar."""
    records = longest_records(run, pod, escaped=True, each=_EACH)
    refuse_too_many(run, records, RECORD_BYTES, where="a RunResult has", backend="custom-resource")
    refuse_shared_processes(
        pod,
        backend="custom-resource",
        what="the token of the results sidecar and write its termination message",
    )
    if not pod["metadata"].get("name"):
        raise BackendError(
            "the pod has no name yet, and its RunResult must name the one pod that may write it: give the "
            "pod a name in place of generateName, or use another results-from",
            subject="custom-resource",
        )
    require_policy(cluster, POLICY, backend="custom-resource")
    create_object(
        RUN_RESULTS, run, pod, cluster, backend="custom-resource", spec={"podName": pod["metadata"]["name"]}
    )
    return add_writer(run, pod, config, limits=limits, transport=TRANSPORT, env={ENV_NAME: name_of(run)})


@hookimpl
def pod_ready(run: Run, pod: Object) -> bool:
    """Return whether the sidecar has ended for good, so that its termination message is final."""
    return has_ended(run, pod, RESULTS_SIDECAR)


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, limits: Limits, wire: int) -> Extraction:
    """Read the RunResult, if the sidecar's termination message has its digest."""
    name = name_of(run)

    def find() -> Written:
        status = mapping(cluster.get(RUN_RESULTS, run.namespace, name).get("status"))
        return Written(status.get("records"), status.get("texts"), status.get("encoded"))

    return extract_written(
        run, pod, backend="custom-resource", about=f'RunResult "{name}"', wire=wire, limits=limits, find=find
    )


@hookimpl
def purge(run: Run, cluster: Cluster) -> None:
    """Delete the RunResult."""
    delete_object(RUN_RESULTS, run, cluster)
