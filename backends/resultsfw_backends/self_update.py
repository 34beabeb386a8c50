"""Backend ``self-update``: a sidecar writes the results into its own TaskRun's status (TEP-0086).

The pod's service account may patch the status of TaskRuns; the ValidatingAdmissionPolicy
``resultsfw-self-update`` lets each pod add the annotations of `resultsfw.result_annotations` to the status
that names this pod, once, and nothing else. `resultsfw_transports.task_run` describes what the sidecar
writes, and `resultsfw_backends._api_object` why a Step cannot forge it. The controller judges sizes and types
as of every backend, writes ``status.results`` and removes the annotations.
"""

from typing import Final

from resultsfw import Capabilities, Cluster, Extraction, Kind, Limits, Object, Permission, Run, hookimpl
from resultsfw.errors import BackendError
from resultsfw.limits import OBJECT_BYTES, OBJECT_CAPACITY, object_size
from resultsfw.podchecks import refuse_shared_processes
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.result_annotations import RESULT_ANNOTATIONS, without_result_annotations
from resultsfw.sidecars import has_ended
from resultsfw_backends._api_object import (
    VALUE_BYTES,
    ObjectConfig,
    Written,
    add_writer,
    extract_written,
    mapping,
)
from resultsfw_backends._policies import policy_permissions, require_policy
from resultsfw_backends._record_room import longest_records

__all__ = ["TASK_RUNS", "Config", "capabilities", "extract", "pod_ready", "prepare_pod"]

GROUP: Final = "tekton.dev"
TASK_RUNS: Final = Kind(GROUP, "v1", "taskruns", "TaskRun")
POLICY: Final = "resultsfw-self-update"

TRANSPORT: Final = "resultsfw_transports.task_run"
ENV_NAME: Final = "RESULTSFW_TASK_RUN"
ENV_ROOM: Final = "RESULTSFW_STATUS_BYTES"
ENV_PREFIX: Final = "RESULTSFW_STATUS_ANNOTATIONS"
RECORDS: Final = "records"
TEXT: Final = "text."
ENCODED: Final = "base64."

STATUS_BYTES: Final = 65_536
"""Bytes by which the TaskRun may grow until its pod has ended, beside what its pod holds and its results:
states of Steps and Sidecars."""

_EACH: Final = 192
"""Bytes that each result takes beside its record, its name and its value: the annotation's name, quotes,
padding, managed fields."""


class Config(ObjectConfig):
    """Options of ``config.self-update``."""


capabilities = Capabilities(
    summary="results in the TaskRun's own status, written by its sidecar under an admission policy",
    run_bytes=OBJECT_BYTES,  # compressed; less otherwise
    verified=True,
    artifacts=True,
    permissions=(
        Permission(verb="get", resource="taskruns", group=GROUP, why="the results are in its status"),
        *policy_permissions(),
    ),
)


@hookimpl
def prepare_pod(run: Run, pod: Object, cluster: Cluster, limits: Limits, config: Config) -> int:
    """Add the sidecar, with limits by which everything fits into the TaskRun."""
    _refuse_others(run, pod)
    refuse_shared_processes(
        pod, backend="self-update", what="the token of the results sidecar and write its termination message"
    )
    require_policy(cluster, POLICY, backend="self-update")
    room = _room(run, pod, cluster)
    return add_writer(
        run,
        pod,
        config,
        limits=limits,
        transport=TRANSPORT,
        env={ENV_NAME: run.name, ENV_PREFIX: _prefix(run), ENV_ROOM: str(room)},
        room=room,
    )


@hookimpl
def pod_ready(run: Run, pod: Object) -> bool:
    """Return whether the sidecar has ended for good, so that its termination message is final."""
    return has_ended(run, pod, RESULTS_SIDECAR)


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, limits: Limits, wire: int) -> Extraction:
    """Read the TaskRun's status, if the sidecar's termination message has the digest of its annotations.

    The controller reads TaskRuns from a cache, which may be older than the pod: then it reads again.
    """

    def find() -> Written:
        status = mapping(cluster.get(TASK_RUNS, run.namespace, run.name).get("status"))
        found = {
            name.removeprefix(_prefix(run)): text
            for name, text in mapping(status.get("annotations")).items()
            if name.startswith(_prefix(run))
        }
        texts, encoded = (
            {name.removeprefix(kind): text for name, text in found.items() if name.startswith(kind)}
            for kind in (TEXT, ENCODED)
        )
        return Written(found.get(RECORDS), texts, encoded)

    about = f'TaskRun "{run.name}"'
    return extract_written(
        run,
        pod,
        backend="self-update",
        about=about,
        wire=wire,
        limits=limits,
        find=find,
        room=None,
        wait=True,
    )


def _prefix(run: Run) -> str:
    """Return what the annotations of an attempt begin with."""
    return f"{RESULT_ANNOTATIONS}{run.attempt}."


def _refuse_others(run: Run, pod: Object) -> None:
    """Refuse a pod of something other than a TaskRun.

    Raises:
        BackendError: There is no TaskRun whose status the sidecar could write.
    """
    for owner in pod["metadata"].get("ownerReferences") or ():
        group, _, _ = str(owner.get("apiVersion")).partition("/")
        if (group, owner.get("kind"), owner.get("uid")) == (GROUP, TASK_RUNS.kind, run.uid):
            return
    raise BackendError(
        f'the pod of "{run.name}" has no owner reference to a TaskRun with its uid, and only TaskRuns have a '
        f"status for their results: use another results-from",
        subject="self-update",
    )


def _room(run: Run, pod: Object, cluster: Cluster) -> int:
    """Return how many bytes all values may have, so that they fit into the TaskRun in any encoding.

    What the TaskRun will hold of its Task is in the pod, too.

    Raises:
        BackendError: There is no room.
    """
    taskrun = object_size(without_result_annotations(cluster.get(TASK_RUNS, run.namespace, run.name)))
    records = longest_records(run, pod, escaped=True, each=_EACH)
    taken = taskrun + object_size(pod) + records.total + STATUS_BYTES
    room = (OBJECT_CAPACITY - taken) * 3 // 4  # base64
    if room <= 0:
        raise BackendError(
            f"the TaskRun has {taskrun} bytes, its pod {object_size(pod)}, and the records of its results "
            f"can have {records}: in the {OBJECT_CAPACITY} bytes of an object no room is left for results; "
            f"make the Task smaller, or use another results-from",
            subject="self-update",
        )
    return min(room, VALUE_BYTES)
