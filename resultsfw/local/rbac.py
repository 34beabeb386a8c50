"""Authorizes requests by the Roles and RoleBindings in a store.

There are no ClusterRoles: a binding to one grants nothing. What an operator grants all pods with the
manifests of a backend is granted here, too (`STANDING`).
"""

from collections.abc import Sequence
from typing import Final

from resultsfw.cluster import Kind, Object
from resultsfw.errors import NotFoundError
from resultsfw.local.store import Store
from resultsfw.local.tokens import Token

__all__ = ["ROLES", "ROLE_BINDINGS", "STANDING", "allowed"]

GROUP: Final = "rbac.authorization.k8s.io"
ROLES: Final = Kind(GROUP, "v1", "roles", "Role")
ROLE_BINDINGS: Final = Kind(GROUP, "v1", "rolebindings", "RoleBinding")

STANDING: Final = frozenset(
    {("patch", "resultsfw.dev", "runresults/status"), ("patch", "tekton.dev", "taskruns/status")}
)
"""Verb, API group and resource of what every service account may do in its namespace: the rights of pods in
``config/backends/``."""


def allowed(
    store: Store, token: Token, verb: str, *, group: str = "", namespace: str, resource: str, name: str
) -> bool:
    """Return whether a service account may apply a verb to an object.

    Args:
        store: The objects.
        token: Of the service account.
        verb: As RBAC has it.
        group: The API group.
        namespace: Of the object.
        resource: Of the object; with a subresource behind a slash.
        name: Of the object.
    """
    if namespace == token.namespace and (verb, group, resource) in STANDING:
        return True
    for binding in store.list(ROLE_BINDINGS, namespace):
        if not any(_matches(subject, token, namespace) for subject in binding.get("subjects") or ()):
            continue
        reference = binding.get("roleRef") or {}
        if reference.get("kind") != ROLES.kind:
            continue
        try:
            role = store.get(ROLES, namespace, reference.get("name", ""))
        except NotFoundError:
            continue
        if any(_grants(rule, verb, group, resource, name) for rule in role.get("rules") or ()):
            return True
    return False


def _matches(subject: Object, token: Token, namespace: str) -> bool:
    name = subject.get("name")
    match subject.get("kind"):
        case "ServiceAccount":
            subject_namespace = subject.get("namespace") or namespace
            return (subject_namespace, name) == (token.namespace, token.service_account)
        case "User":
            return name == token.user
        case "Group":
            group = "system:serviceaccounts"
            return name in (group, f"{group}:{token.namespace}", "system:authenticated")
    return False


def _grants(rule: Object, verb: str, group: str, resource: str, name: str) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        _has(rule.get("verbs") or (), verb)
        and _has(rule.get("apiGroups") or (), group)
        and _has(rule.get("resources") or (), resource)
        and (not names or name in names)
    )


def _has(allowed_values: Sequence[str], value: str) -> bool:
    return value in allowed_values or "*" in allowed_values
