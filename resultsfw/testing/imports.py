"""Import a backend under test again, as a restarted controller does."""

import contextlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator

__all__ = ["import_again", "reimported"]


@contextlib.contextmanager
def reimported(names: Iterable[str]) -> Iterator[None]:
    """Import these modules again within the block; restore the old ones afterwards."""
    kept = {name: sys.modules.pop(name) for name in names}
    try:
        yield
    finally:
        for name in kept:
            sys.modules.pop(name, None)
        sys.modules.update(kept)


def import_again(plugin: object) -> object:
    """Import a module again; the core instantiates a class, and an object stays the same."""
    spec = plugin.__spec__ if inspect.ismodule(plugin) else None
    if spec is None or spec.loader is None:
        return plugin
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
