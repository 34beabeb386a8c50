"""Follow a reference: read the object, or ask a resolver for it and read the answer."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import AlreadyExistsError, InputError, NotFoundError
from resultsfw.tekton.api.kinds import PIPELINES, RESOLUTION_REQUESTS, STEP_ACTIONS, TASKS
from resultsfw.tekton.resolution.content import document_of
from resultsfw.tekton.resolution.outcomes import AwaitingResolution, ResolutionFailed, Resolved
from resultsfw.tekton.resolution.references import Reference
from resultsfw.tekton.resolution.requests import (
    Requester,
    build_request,
    content_of,
    is_answered,
    ref_source_of,
)

__all__ = ["resolve"]

_WAITING: Final[Mapping[str, tuple[str, str]]] = {
    TASKS.kind: ("ResolvingTaskRef", "remote resource"),
    PIPELINES.kind: ("ResolvingPipelineRef", "remote resource"),
    STEP_ACTIONS.kind: ("ResolvingStepActionRef", "remote StepAction"),
}
"""Reason, and what is awaited in the message, by the kind that is resolved: Tekton's."""


def resolve(
    cluster: Cluster, reference: Reference, requester: Requester, validate: Callable[[Object], None]
) -> Resolved:
    """Return what a reference refers to, valid.

    Args:
        cluster: Where it is, or where requests for it are.
        reference: With variables replaced.
        requester: Who asks.
        validate: Raises InputError for a document of the wrong shape.

    Raises:
        NotFoundError: A reference by name names nothing.
        AwaitingResolution: A resolver has been asked and has not answered yet.
        ResolutionFailed: The resolver has no answer, or its answer is unreadable or invalid.
        RefusedRun: What it found must be verified, and cannot be.
        InputError: What is referred to by name is invalid.
        ClusterError: A request to the cluster failed.
    """
    if not reference.resolver:
        found = cluster.get(reference.kind, requester.namespace, reference.name)
        validate(found)
        return Resolved(found)
    wanted = build_request(reference, requester)
    request = _requested(cluster, wanted)
    if request is None or not is_answered(request, wanted):
        raise _awaiting(reference, requester, wanted)
    if requester.terms is not None:
        requester.terms.refuse_unverified(reference.kind, requester.namespace)
    document = document_of(content_of(request), reference.kind)
    try:
        validate(document)
    except InputError as error:
        raise ResolutionFailed(f"invalid runtime object: {error.message}") from error
    return Resolved(document, ref_source=ref_source_of(request))


def _requested(cluster: Cluster, wanted: Object) -> Object | None:
    """Return the existing request; ``None`` if it was created just now."""
    metadata = wanted["metadata"]
    with contextlib.suppress(NotFoundError):
        return cluster.get(RESOLUTION_REQUESTS, metadata["namespace"], metadata["name"])
    try:
        with contextlib.suppress(AlreadyExistsError):  # it was created since
            cluster.create(RESOLUTION_REQUESTS, wanted)
    except NotFoundError as error:
        raise ResolutionFailed(
            "error requesting remote resource: this cluster does not serve ResolutionRequests "
            "(resolution.tekton.dev/v1beta1); install Tekton's resolvers, or refer to the object by name",
            subject=metadata["name"],
        ) from error
    return None


def _awaiting(reference: Reference, requester: Requester, wanted: Object) -> AwaitingResolution:
    """Return the error that makes the run wait.

    Raises:
        ResolutionFailed: It has waited too long.
    """
    reason, what = _WAITING[reference.kind.kind]
    if requester.terms is not None:
        requester.terms.refuse_late(requester.run, reason)
    run = f"{requester.kind.kind} {requester.namespace}/{requester.run['metadata']['name']}"
    return AwaitingResolution(reason, f"{run} awaiting {what}", subject=wanted["metadata"]["name"])
