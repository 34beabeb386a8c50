"""Read which version of the controller a cluster has, for ``resultsfw version --cluster``."""

from contextlib import closing
from typing import Any, Final

from resultsfw.cli.sources.live_errors import forbidden, unreachable
from resultsfw.cluster import Kind, Object
from resultsfw.errors import ForbiddenError, NotFoundError, UnavailableError
from resultsfw.kube import connect
from resultsfw.kube.list_watch import list_pages

__all__ = ["installed_controllers"]

_DEPLOYMENTS: Final = Kind("apps", "v1", "deployments", "Deployment")
_SELECTOR: Final = "app.kubernetes.io/part-of=resultsfw,app.kubernetes.io/component=controller"
_VERSION: Final = "app.kubernetes.io/version"


def installed_controllers(
    kubeconfig: str | None, context: str | None, namespace: str
) -> list[dict[str, Any]]:
    """Return name, version, image and replicas of each Deployment of the controller in a namespace.

    Raises:
        NotFoundError: There is none.
        ClusterError: The Deployments cannot be read.
        InputError: The kubeconfig is missing or invalid.
    """
    with closing(connect(kubeconfig, context)) as connection:
        try:
            pages = list_pages(connection, _DEPLOYMENTS, namespace, _SELECTOR)
            found = [_facts(deployment) for items, _ in pages for deployment in items]
        except ForbiddenError as error:
            raise forbidden(error, "list", _DEPLOYMENTS, namespace) from error
        except UnavailableError as error:
            raise unreachable(error, connection.host) from error
        if not found:
            raise NotFoundError(
                f'no controller of resultsfw in namespace "{namespace}" of the cluster at {connection.host}: '
                f"name the namespace that it is in with -n, or install it with resultsfw install",
                subject=namespace,
            )
    return found


def _facts(deployment: Object) -> dict[str, Any]:
    metadata, spec, status = (deployment.get(part) or {} for part in ("metadata", "spec", "status"))
    pod = (spec.get("template") or {}).get("spec") or {}
    return {
        "namespace": metadata.get("namespace", ""),
        "name": metadata.get("name", ""),
        "version": (metadata.get("labels") or {}).get(_VERSION, ""),
        "images": [container.get("image", "") for container in pod.get("containers") or ()],
        "replicas": spec.get("replicas", 1),
        "availableReplicas": status.get("availableReplicas", 0),
    }
