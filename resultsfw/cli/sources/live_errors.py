"""Errors of a cluster that is read by a person: what happened, and how to go on."""

from resultsfw.cluster import PODS, Kind
from resultsfw.errors import ForbiddenError, NotFoundError, UnavailableError
from resultsfw.kube.status_errors import UnauthorizedError

__all__ = ["forbidden", "log_forbidden", "no_tekton", "unreachable"]


def forbidden(error: ForbiddenError, verb: str, kind: Kind, namespace: str | None) -> ForbiddenError:
    """Return the error for a refused request, with the right that it needs."""
    return _forbidden(error, verb, _resource(kind), namespace)


def log_forbidden(error: ForbiddenError, namespace: str, container: str) -> ForbiddenError:
    """Return the error for the log of a container that may not be read."""
    refused = _forbidden(error, "get", f"{PODS.plural}/log", namespace)
    return ForbiddenError(f'the log of container "{container}": {refused.message}', subject=error.subject)


def no_tekton(kind: Kind, host: str) -> NotFoundError:
    """Return the error for a cluster whose API has no such kind."""
    return NotFoundError(
        f"the cluster at {host} has no {_resource(kind)}: Tekton is not installed there; another cluster is "
        f"selected with --context",
        subject=_resource(kind),
    )


def unreachable(error: UnavailableError, host: str) -> UnavailableError:
    """Return the error for a cluster that does not answer."""
    return UnavailableError(
        f"the cluster at {host} does not answer: {error.message}; try kubectl get --raw /readyz, or select "
        f"another with --context",
        subject=error.subject,
    )


def _forbidden(error: ForbiddenError, verb: str, resource: str, namespace: str | None) -> ForbiddenError:
    if isinstance(error, UnauthorizedError):
        return ForbiddenError(
            f"the cluster does not accept the credentials of the kubeconfig ({error.message}): log in again, "
            f"or select another context with --context",
            subject=error.subject,
        )
    where = f'in namespace "{namespace}"' if namespace else "in all namespaces"
    grant = (
        f"kubectl create rolebinding NAME --clusterrole=view --user=USER -n {namespace}"
        if namespace
        else "kubectl create clusterrolebinding NAME --clusterrole=view --user=USER"
    )
    return ForbiddenError(
        f'you may not {verb} {resource} {where} ({error.message}); the ClusterRole "view" has what reading '
        f"runs needs: {grant}",
        subject=error.subject,
    )


def _resource(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural
