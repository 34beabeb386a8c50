"""Where an object is: paths of the API, and how errors name it."""

from urllib.parse import quote

from resultsfw.cluster import Kind
from resultsfw.errors import ClusterError

__all__ = ["collection_path", "describe", "object_path"]


def collection_path(kind: Kind, namespace: str | None) -> str:
    """Of all objects of a kind, of one namespace where one is given."""
    root = f"/apis/{kind.group}" if kind.group else "/api"
    where = f"/namespaces/{quote(_checked(namespace), safe='')}" if namespace else ""
    return f"{root}/{kind.version}{where}/{kind.plural}"


def object_path(kind: Kind, namespace: str | None, name: str, subresource: str = "") -> str:
    """Of one object, or of a subresource of it.

    Raises:
        ClusterError: That is no name: without one, the path would be that of all of them.
    """
    path = f"{collection_path(kind, namespace)}/{quote(_checked(name), safe='')}"
    return f"{path}/{subresource}" if subresource else path


def describe(kind: Kind, namespace: str | None, name: str = "") -> str:
    """An object as errors name it."""
    return f"{kind.kind} {namespace or ''}/{name}" if name else f"{kind.plural} {namespace or ''}".rstrip()


def _checked(name: str) -> str:
    if not name or name in (".", "..") or "/" in name:
        raise ClusterError(f'"{name[:64]}" is not a name', subject=name[:64])
    return name
