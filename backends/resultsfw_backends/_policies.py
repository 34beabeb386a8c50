"""Refuse to prepare a pod on a cluster without the admission policy that keeps pods apart.

Backends whose pods share one right to write need a ValidatingAdmissionPolicy (Kubernetes 1.30 and later),
which limits each pod to what is its own. The manifests of the backend bring policy and right together.
"""

from typing import Final

from resultsfw import Cluster, Kind, Object, Permission
from resultsfw.errors import BackendError, NotFoundError

__all__ = ["BINDINGS", "POLICIES", "policy_permissions", "require_policy"]

GROUP: Final = "admissionregistration.k8s.io"
POLICIES: Final = Kind(GROUP, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy")
BINDINGS: Final = Kind(GROUP, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding")


def policy_permissions() -> tuple[Permission, ...]:
    """Return the permissions that `require_policy` needs."""
    why = "without the admission policy, a pod could write another run's results"
    return tuple(
        Permission(verb="get", resource=kind.plural, group=GROUP, why=why) for kind in (POLICIES, BINDINGS)
    )


def require_policy(cluster: Cluster, name: str, *, backend: str) -> None:
    """Refuse if a policy, or its binding of the same name, is missing or does not deny.

    Raises:
        BackendError: The message says what is missing, and how to install it.
        ClusterError: The policy could not be read.
    """
    for kind in (POLICIES, BINDINGS):
        try:
            found = cluster.get(kind, "", name)
        except NotFoundError:
            fault = f"the cluster has no {kind.kind} {name}"
        else:
            fault = _fault(kind, found, name)
        if fault:
            raise BackendError(
                f"{fault}; without it a pod could write another run's results: "
                f"resultsfw install --backend {name.removeprefix('resultsfw-')} (Kubernetes 1.30 or later)",
                subject=backend,
            )


def _fault(kind: Kind, obj: Object, name: str) -> str:
    """Return why a policy or a binding does not deny what it is meant to deny; "" if it does."""
    spec = obj.get("spec") or {}
    about = f"{kind.kind} {name}"
    if kind == POLICIES:
        return f"{about} has failurePolicy: Ignore" if spec.get("failurePolicy") == "Ignore" else ""
    if spec.get("policyName") != name:
        return f"{about} binds another policy"
    if "Deny" not in (spec.get("validationActions") or ()):
        return f"{about} does not deny"
    return f"{about} leaves out a part of the cluster" if _is_narrowed(spec.get("matchResources")) else ""


def _is_narrowed(match: object) -> bool:
    """Return whether ``matchResources`` matches less than everything."""
    if not isinstance(match, dict):
        return False
    selectors = [match.get(key) or {} for key in ("namespaceSelector", "objectSelector")]
    return any(selectors) or bool(match.get("resourceRules") or match.get("excludeResourceRules"))
