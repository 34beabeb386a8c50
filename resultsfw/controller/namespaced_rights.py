"""Turn the rights of the manifests into Roles of some namespaces, for a controller limited to them."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from resultsfw.cluster import Object

__all__ = ["CLUSTER_SCOPED", "EVENTS", "FLAGS_ROLE", "limit_to"]

FLAGS_ROLE: Final = "resultsfw-controller-flags"
"""Name of the ClusterRole for the ConfigMaps with the flags, which are in one namespace."""

CLUSTER_SCOPED: Final = frozenset(
    {"nodes", "validatingadmissionpolicies", "validatingadmissionpolicybindings"}
)
"""Resources of the manifests' rules that are in no namespace: no Role can grant them."""

_ALL_ACCOUNTS: Final = "system:serviceaccounts"
"""The group of all service accounts; followed by ":NAMESPACE", of those of one namespace."""

EVENTS: Final[Object] = {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}
"""For the Events about the flags, such as an edit that is rejected."""

_RBAC: Final = "rbac.authorization.k8s.io"


def limit_to(objects: Iterable[Object], namespaces: Sequence[str], flags: str) -> list[Object]:
    """Return the objects with a Role and a RoleBinding in each namespace in place of each ClusterRole.

    What no Role can grant stays in the ClusterRole; only some backends and options need such rights. A
    binding to a role of Kubernetes' own stays as it is. Admission policies are bound to the namespaces.

    Args:
        objects: Of the manifests.
        namespaces: Those that the controller is limited to.
        flags: The namespace of the ConfigMap ``feature-flags``.
    """
    objects = list(objects)
    rules = {obj["metadata"]["name"]: obj["rules"] for obj in objects if obj["kind"] == "ClusterRole"}
    limited: list[Object] = []
    for obj in objects:
        role = obj["roleRef"]["name"] if "roleRef" in obj else obj["metadata"]["name"]
        if obj["kind"] == "ClusterRole" or (obj["kind"] == "ClusterRoleBinding" and role in rules):
            limited += _limited(obj, rules[role], [flags] if role == FLAGS_ROLE else namespaces)
        elif obj["kind"] == "ValidatingAdmissionPolicyBinding":
            limited.append(_bound_to(obj, namespaces))
        else:
            limited.append(obj)
    return limited


def _limited(obj: Object, rules: Sequence[Object], namespaces: Sequence[str]) -> Iterator[Object]:
    """Yield what replaces a ClusterRole with these rules, or a binding to it."""
    whole = [part for rule in rules if (part := _part(rule, cluster_scoped=True))]
    parts = [part for rule in rules if (part := _part(rule, cluster_scoped=False))]
    if obj["metadata"]["name"] == FLAGS_ROLE:
        parts.append(EVENTS)
    if whole:
        yield {**obj, "rules": whole} if obj["kind"] == "ClusterRole" else obj
    for namespace in namespaces if parts else ():
        metadata = {**obj["metadata"], "namespace": namespace}
        local = {**copy.deepcopy(obj), "kind": obj["kind"].removeprefix("Cluster"), "metadata": metadata}
        if "rules" in obj:
            local["rules"] = copy.deepcopy(parts)
        else:
            local["roleRef"] = {"apiGroup": _RBAC, "kind": "Role", "name": obj["roleRef"]["name"]}
            local["subjects"] = [_in_namespace(subject, namespace) for subject in obj["subjects"]]
        yield local


def _part(rule: Mapping[str, Any], *, cluster_scoped: bool) -> Object:
    """Return the part of a rule for resources of namespaces, or for others; empty if it has none."""
    resources = [name for name in rule["resources"] if (name in CLUSTER_SCOPED) == cluster_scoped]
    return {**rule, "resources": resources} if resources else {}


def _in_namespace(subject: Object, namespace: str) -> Object:
    """Return a subject; in place of all service accounts, those of a namespace."""
    every = subject["kind"] == "Group" and subject["name"] == _ALL_ACCOUNTS
    return {**subject, "name": f"{_ALL_ACCOUNTS}:{namespace}"} if every else {**subject}


def _bound_to(binding: Object, namespaces: Sequence[str]) -> Object:
    """Return the binding of an admission policy, for requests in these namespaces only."""
    selected = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [*namespaces]}
    spec = {**binding["spec"], "matchResources": {"namespaceSelector": {"matchExpressions": [selected]}}}
    return {**binding, "spec": spec}
