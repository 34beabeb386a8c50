"""Create, find and delete the object of the API server that an attempt of a run has for its results.

Shared by ``config-map`` and ``custom-resource``. The run owns the object, so Kubernetes deletes it with the
run.
"""

import contextlib
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from resultsfw import Cluster, Kind, Object, Run
from resultsfw.errors import AlreadyExistsError, BackendError, NotFoundError, UnavailableError

__all__ = ["LABELS", "create_object", "delete_object", "name_of"]

LABELS: Final = {"app.kubernetes.io/part-of": "resultsfw"}

_UID: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,62}[a-z0-9])?")
_OWNER_KEYS: Final = ("apiVersion", "kind", "name", "uid")
"""Without ``blockOwnerDeletion``, which would take a right of its own."""


def name_of(run: Run) -> str:
    """Return the name of an attempt's object."""
    uid = run.uid
    if not _UID.fullmatch(uid):
        uid = hashlib.sha256(f"{run.name}/{uid}".encode()).hexdigest()[:32]
    return f"resultsfw-{uid}-{run.attempt}"


def create_object(
    kind: Kind,
    run: Run,
    pod: Object,
    cluster: Cluster,
    *,
    backend: str,
    spec: Mapping[str, Any] | None = None,
) -> Object:
    """Return the attempt's object, new or as an earlier call created it.

    Args:
        kind: Its kind.
        run: The run.
        pod: The run's pod; its owners own the object.
        cluster: Creates the object.
        backend: The backend's name, for the error's subject.
        spec: The object's ``spec``, if its kind has one.

    Raises:
        BackendError: There is one of that name with another owner or another spec.
        UnavailableError: One of that name was there and is gone: try again.
        ClusterError: A request failed.
    """
    owners = [
        {key: owner[key] for key in _OWNER_KEYS if key in owner}
        for owner in pod["metadata"].get("ownerReferences") or ()
    ]
    metadata: Object = {"name": name_of(run), "namespace": run.namespace, "labels": dict(LABELS)}
    if owners:
        metadata["ownerReferences"] = owners
    wanted: Object = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    if spec is not None:
        wanted["spec"] = spec
    try:
        return cluster.create(kind, wanted)
    except AlreadyExistsError:
        pass
    about = f"{kind.kind} {run.namespace}/{name_of(run)}"
    try:
        found = cluster.get(kind, run.namespace, name_of(run))
    except NotFoundError:
        raise UnavailableError("it existed and is gone; it is created again", subject=about) from None
    known = {owner.get("uid") for owner in found["metadata"].get("ownerReferences") or ()}
    if known != {owner.get("uid") for owner in owners} or (spec is not None and found.get("spec") != spec):
        raise BackendError(
            f"{about} exists and is not of this run's pod; delete it, or find out who makes it",
            subject=backend,
        )
    return found


def delete_object(kind: Kind, run: Run, cluster: Cluster) -> None:
    """Delete the attempt's object, if it is there.

    Raises:
        ClusterError: It could not be deleted.
    """
    with contextlib.suppress(NotFoundError):
        cluster.delete(kind, run.namespace, name_of(run))
