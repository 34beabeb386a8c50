"""Answers that admission policies are installed, without evaluating any.

Pods of this engine are processes of one user, whom neither a token nor a policy keeps apart. Backends that
need a policy on a cluster run here without it.
"""

from typing import Final

from resultsfw.cluster import Kind, Object
from resultsfw.errors import NotFoundError

__all__ = ["GROUP", "installed_policy"]

GROUP: Final = "admissionregistration.k8s.io"

_KINDS: Final = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


def installed_policy(kind: Kind, name: str) -> Object:
    """Return a policy or a binding of that name.

    Raises:
        NotFoundError: It is another kind of the API group.
    """
    if kind.kind not in _KINDS:
        raise NotFoundError(f'{kind.plural} "{name}" not found', subject=f"{kind.kind} {name}")
    spec = {"failurePolicy": "Fail", "policyName": name, "validationActions": ["Deny"]}
    return {"metadata": {"name": name}, "spec": spec}
