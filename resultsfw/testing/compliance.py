"""``pytest --pyargs resultsfw.testing.compliance``: the suite for the backends that are installed.

Which ones, and with which options, says the ``feature-flags`` ConfigMap in the file that the variable
RESULTSFW_FEATURE_FLAGS names, as ``resultsfw run --feature-flags`` takes it: those of ``results-from`` and
``allowed-results-from``. Without it: every installed one, with its default options.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from resultsfw.errors import FlagError
from resultsfw.flags import parse_flags
from resultsfw.plugins import installed_plugins
from resultsfw.testing.suite import BackendSuite

VARIABLE: Final = "RESULTSFW_FEATURE_FLAGS"


def chosen(file: str | None) -> dict[str, Mapping[str, Any]]:
    """Return the backends to test, each with its options.

    Raises:
        FlagError: The file holds no such ConfigMap, or a flag has a value it cannot have.
        OSError: It cannot be read.
    """
    if not file:
        return {plugin.name: {} for plugin in installed_plugins()}
    documents = [
        document for document in yaml.safe_load_all(Path(file).read_text()) if isinstance(document, dict)
    ]
    maps = [document for document in documents if document.get("kind") == "ConfigMap"]
    if len(maps) != 1:
        raise FlagError(
            f"{VARIABLE}={file}: it must hold one ConfigMap, and holds {len(maps)}", subject=VARIABLE
        )
    flags = parse_flags(maps[0].get("data") or {})
    return {name: flags.config.get(name, {}) for name in sorted(flags.allowed_results_from)}


def _suites(backends: Mapping[str, Mapping[str, Any]]) -> dict[str, type[BackendSuite]]:
    """Make a test class for each backend."""
    suites = {}
    for name, config in backends.items():
        title = "Test" + "".join(part.capitalize() for part in re.split(r"[^a-zA-Z0-9]+", name))
        suites[title] = type(
            title, (BackendSuite,), {"backend": name, "config": config, "__module__": __name__}
        )
    return suites


globals().update(_suites(chosen(os.environ.get(VARIABLE))))
