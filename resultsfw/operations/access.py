"""Ask the API server which permissions are granted, and name each missing permission."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from resultsfw.cluster import Kind
from resultsfw.errors import ClusterError

__all__ = [
    "AccessChecker",
    "Finding",
    "Lack",
    "RequiredPermission",
    "check_access",
    "lacking_permissions",
    "missing_permissions",
]

_SHOWN: Final = 5
"""Namespaces that a message names."""

_INSTALL: Final = "resultsfw install"


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
        namespace: Where it is needed; "" for all namespaces, or all that the process is limited to.
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


def check_access(
    cluster: AccessChecker, permissions: Iterable[RequiredPermission], namespaces: Collection[str] = ()
) -> Iterator[Finding]:
    """Ask the API server for each permission (SelfSubjectAccessReview).

    Args:
        cluster: Answers.
        permissions: What is needed.
        namespaces: Where permissions are needed that name no namespace; none: in all namespaces.
    """
    for permission in permissions:
        answer, what = _ask(cluster, permission, namespaces), _what(permission, namespaces)
        if isinstance(answer, ClusterError):
            yield Finding(what=what, well=None, detail=f"cannot be checked: {answer.message}")
        elif answer.denied:
            what = _what(permission, answer.denied)
            fix = _fix(permission, namespaces)
            yield Finding(what=what, well=False, detail=_why_not(permission), fix=fix)
        else:
            yield Finding(what=what, well=True, detail=permission.why)


@dataclass(frozen=True, slots=True)
class Lack:
    """A permission that is not granted.

    Attributes:
        sentence: Which one, why it is needed, and how to grant it.
        everywhere: Whether it is granted in none of the namespaces where it is needed.
    """

    sentence: str
    everywhere: bool


def lacking_permissions(
    cluster: AccessChecker, permissions: Iterable[RequiredPermission], namespaces: Collection[str] = ()
) -> list[Lack]:
    """Return each permission that is not granted. See `check_access` for the arguments."""
    lacking = []
    for permission in permissions:
        answer = _ask(cluster, permission, namespaces)
        if isinstance(answer, _Answer) and answer.denied:
            what = _what(permission, answer.denied)
            sentence = f"{what}: {_why_not(permission)}; {_fix(permission, namespaces)}"
            lacking.append(Lack(sentence, everywhere=len(answer.denied) == answer.asked))
    return lacking


def missing_permissions(
    cluster: AccessChecker, permissions: Iterable[RequiredPermission], namespaces: Collection[str] = ()
) -> list[str]:
    """Return a sentence for each permission that is not granted. See `check_access` for the arguments."""
    return [lack.sentence for lack in lacking_permissions(cluster, permissions, namespaces)]


@dataclass(frozen=True, slots=True)
class _Answer:
    """In how many namespaces a permission was asked for, and those without it ("": all)."""

    asked: int
    denied: tuple[str, ...]


def _ask(
    cluster: AccessChecker, permission: RequiredPermission, namespaces: Collection[str]
) -> _Answer | ClusterError:
    places = [permission.namespace] if permission.namespace else [*namespaces] or [""]
    try:
        denied = tuple(
            place
            for place in places
            if not cluster.can(
                permission.verb, permission.kind, place, permission.subresource, name=permission.name
            )
        )
    except ClusterError as error:
        return error
    return _Answer(len(places), denied)


def _what(permission: RequiredPermission, namespaces: Collection[str]) -> str:
    """Return a permission as RBAC names it, with the namespaces if it names none itself."""
    named = [name for name in namespaces if name] if not permission.namespace else []
    return f"{permission.what} in {_listed(named)}" if named else permission.what


def _why_not(permission: RequiredPermission) -> str:
    return f"not allowed, but needed {permission.why}"


def _fix(permission: RequiredPermission, namespaces: Collection[str]) -> str:
    """Return how to grant a permission; the manifests would grant it in all namespaces."""
    if not namespaces:
        return permission.fix
    command = permission.fix.partition(",")[0]
    command = command if command.startswith(_INSTALL) else _INSTALL
    return f"{command} --watch-namespaces {','.join(namespaces)}, and your other options"


def _listed(namespaces: Collection[str]) -> str:
    """Return the names of namespaces, of many the first ones."""
    shown = ", ".join(sorted(namespaces)[:_SHOWN])
    return shown if len(namespaces) <= _SHOWN else f"{shown} and {len(namespaces) - _SHOWN} more"
