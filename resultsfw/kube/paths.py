"""Build the API paths of kinds and objects, and the names by which errors call them."""

from urllib.parse import quote

from resultsfw.cluster import Kind
from resultsfw.errors import ClusterError

__all__ = ["collection_path", "describe", "object_path"]


def collection_path(kind: Kind, namespace: str | None) -> str:
    """Return the path of a kind's objects, of one namespace or (``None``, "") of all."""
    root = f"/apis/{kind.group}" if kind.group else "/api"
    where = f"/namespaces/{quote(_check_name(namespace), safe='')}" if namespace else ""
    return f"{root}/{kind.version}{where}/{kind.plural}"


def object_path(kind: Kind, namespace: str | None, name: str, subresource: str = "") -> str:
    """Return the path of one object or of its subresource.

    Raises:
        ClusterError: The name is empty or not a name: the path would be that of another object, or of all.
    """
    path = f"{collection_path(kind, namespace)}/{quote(_check_name(name), safe='')}"
    return f"{path}/{subresource}" if subresource else path


def describe(kind: Kind, namespace: str | None, name: str = "") -> str:
    """Return how errors call an object, or without a name the objects of a kind."""
    return f"{kind.kind} {namespace or ''}/{name}" if name else f"{kind.plural} {namespace or ''}".rstrip()


def _check_name(name: str) -> str:
    if not name or name in (".", "..") or "/" in name:
        raise ClusterError(f'"{name[:64]}" is not a name', subject=name[:64])
    return name
