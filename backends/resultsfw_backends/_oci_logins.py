"""Give the results sidecar of the backend ``oci`` registry logins that no Step gets by it."""

from typing import Final

from resultsfw import Cluster, Kind, Object
from resultsfw.errors import BackendError, ForbiddenError, NotFoundError
from resultsfw.podchecks import refuse_secrets, refuse_shared_processes
from resultsfw_backends._oci_config import FETCH, NAME, Config
from resultsfw_transports.logins import ENV_AUTHS

__all__ = ["login_variables"]

_SERVICE_ACCOUNTS: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
_MOST_SECRETS: Final = 20


def login_variables(pod: Object, namespace: str, config: Config, cluster: Cluster | None) -> list[Object]:
    """Return the variables with registry logins: of the Secret that is named, or of the pod's pull secrets.

    The kubelet reads the Secrets; neither the controller nor a Step sees them.

    Raises:
        BackendError: Steps could read them, or there are too many.
        ClusterError: The service account cannot be read.
    """
    if config.secret:
        _refuse_shared(pod)
        refuse_secrets(pod, config.secret, backend=NAME, own=(FETCH,))
        return [_login(0, config.secret, ".dockerconfigjson", optional=False)]
    names = _pull_secrets(pod, namespace, cluster)
    if names:
        _refuse_shared(pod)
    keys = (".dockerconfigjson", ".dockercfg")
    return [
        _login(2 * index + which, name, key, optional=True)
        for index, name in enumerate(names)
        for which, key in enumerate(keys)
    ]


def _refuse_shared(pod: Object) -> None:
    refuse_shared_processes(pod, backend=NAME, what="the registry logins of the results sidecar")


def _login(number: int, secret: str, key: str, *, optional: bool) -> Object:
    source = {"name": secret, "key": key, **({"optional": True} if optional else {})}
    return {"name": f"{ENV_AUTHS}_{number}", "valueFrom": {"secretKeyRef": source}}


def _pull_secrets(pod: Object, namespace: str, cluster: Cluster | None) -> list[str]:
    """Return the names of the pull secrets of a pod and of its service account."""
    spec = pod["spec"]
    listed = list(spec.get("imagePullSecrets") or ())
    if cluster is not None:
        account = spec.get("serviceAccountName") or "default"
        try:
            listed += cluster.get(_SERVICE_ACCOUNTS, namespace, account).get("imagePullSecrets") or ()
        except NotFoundError:
            pass  # the API server refuses its pods, and says so
        except ForbiddenError as error:
            raise BackendError(
                f'ServiceAccount "{account}" cannot be read for the names of its pull secrets: grant the '
                f'controller "get serviceaccounts", or name a Secret with registry logins (secret of '
                f"config.{NAME}): {error.message}",
                subject=NAME,
            ) from error
    names = list(dict.fromkeys(entry.get("name", "") for entry in listed if entry.get("name")))
    if len(names) > _MOST_SECRETS:
        raise BackendError(
            f"the pod has {len(names)} pull secrets, and at most {_MOST_SECRETS} are given to the results "
            f"sidecar: name the one with the registry's login (secret of config.{NAME})",
            subject=NAME,
        )
    return names
