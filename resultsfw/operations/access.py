"""Ask the API server which permissions are granted, and name each missing permission."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from resultsfw.cluster import Kind
from resultsfw.errors import ClusterError

__all__ = ["AccessChecker", "Finding", "RequiredPermission", "check_access", "missing_permissions"]


class AccessChecker(Protocol):
    """Answers SelfSubjectAccessReviews, as a `Cluster` of an API server does."""

    def can(self, verb: str, kind: Kind, namespace: str, subresource: str = "", /, *, name: str = "") -> bool:
        """Return whether the identity in use may do that.

        A namespace "" means in all namespaces, a name "" to any object.

        Raises:
            ClusterError: The API server did not answer the question.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredPermission:
    """A permission that a process needs.

    Attributes:
        verb: As RBAC has it.
        kind: Of the objects.
        subresource: Of the kind; "" for none.
        namespace: Where it is needed; "" for all namespaces.
        name: Of the only object for which it is needed; "" for any.
        why: What it is needed for, as the rest of a sentence: "to create pods".
        fix: The command that grants it.
    """

    verb: str
    kind: Kind
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    why: str
    fix: str

    @property
    def what(self) -> str:
        """The permission as RBAC names it: "get pods/log"."""
        resource = f"{self.kind.plural}.{self.kind.group}" if self.kind.group else self.kind.plural
        path = "/".join(filter(None, (resource, self.subresource)))
        named = f" {self.name}" if self.name else ""
        return f"{self.verb} {path}{named}" + (f" in {self.namespace}" if self.namespace else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check. `resultsfw doctor -o json` prints these fields.

    Attributes:
        what: What was checked.
        well: Whether it is as needed; ``None`` where that cannot be determined.
        detail: Why, or why not.
        fix: The command that corrects it; "" where there is none.
        doubtful: It works, but probably not as intended.
    """

    what: str
    well: bool | None
    detail: str
    fix: str = ""
    doubtful: bool = False

    @property
    def sentence(self) -> str:
        """The finding as one line of a log."""
        return f"{self.what}: {self.detail}" + (f"; {self.fix}" if self.fix else "")


def check_access(cluster: AccessChecker, permissions: Iterable[RequiredPermission]) -> Iterator[Finding]:
    """Ask the API server for each permission (SelfSubjectAccessReview)."""
    for permission in permissions:
        try:
            well: bool | None = cluster.can(
                permission.verb,
                permission.kind,
                permission.namespace,
                permission.subresource,
                name=permission.name,
            )
            detail = permission.why if well else f"not allowed, but needed {permission.why}"
        except ClusterError as error:
            well, detail = None, f"cannot be checked: {error.message}"
        yield Finding(
            what=permission.what, well=well, detail=detail, fix="" if well is not False else permission.fix
        )


def missing_permissions(cluster: AccessChecker, permissions: Iterable[RequiredPermission]) -> list[str]:
    """Return a sentence for each permission that is not granted."""
    return [finding.sentence for finding in check_access(cluster, permissions) if finding.well is False]
