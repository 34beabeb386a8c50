"""Say which extra of the distribution a command needs, where what that extra installs is missing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from resultsfw.errors import InputError

__all__ = ["MODULES", "needs"]

_CLUSTER: Final = frozenset({"httptools", "kubernetes", "orjson", "prometheus_client", "urllib3"})
MODULES: Final[Mapping[str, frozenset[str]]] = {
    "cluster": _CLUSTER,
    "results-server": _CLUSTER | {"fastapi", "obstore", "sqlalchemy", "uvicorn"},
    "signed": frozenset({"cryptography", "h2", "spiffe"}),
}
"""Top-level modules that each extra installs."""


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Turn the failed import of a module of an extra into an error that says how to install it.

    Raises:
        InputError: A module of the extra is not installed.
    """
    try:
        yield
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        if module not in MODULES[extra]:
            raise
        raise InputError(
            f"this needs the extra \"{extra}\": pip install 'resultsfw[{extra}]' ({module} is not installed)",
            subject=extra,
        ) from error
