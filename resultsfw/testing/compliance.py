"""``pytest --pyargs resultsfw.testing.compliance``: the suite for the backends that are installed.

Which ones, and with which options, says the ``feature-flags`` ConfigMap in the file that the variable
RESULTSFW_FEATURE_FLAGS names, as ``resultsfw run --feature-flags`` takes it: those of ``results-from`` and
``allowed-results-from``. Without it: every installed one, with its default options. Where the flag
``extensions`` there lists ``signed``, it runs `resultsfw.testing.signing` for each, too.
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
from resultsfw.testing.base import Base
from resultsfw.testing.suite import BackendSuite

VARIABLE: Final = "RESULTSFW_FEATURE_FLAGS"
_SIGNED: Final = "signed"


def chosen(file: str | None) -> tuple[dict[str, Mapping[str, Any]], bool]:
    """Return the backends to test, each with its options, and whether results are signed.

    Raises:
        FlagError: The file holds no such ConfigMap, or a flag has a value it cannot have.
        OSError: It cannot be read.
    """
    if not file:
        return {plugin.name: {} for plugin in installed_plugins()}, False
    documents = [
        document for document in yaml.safe_load_all(Path(file).read_text()) if isinstance(document, dict)
    ]
    maps = [document for document in documents if document.get("kind") == "ConfigMap"]
    if len(maps) != 1:
        raise FlagError(
            f"{VARIABLE}={file}: it must hold one ConfigMap, and holds {len(maps)}", subject=VARIABLE
        )
    flags = parse_flags(maps[0].get("data") or {})
    backends = {name: flags.config.get(name, {}) for name in sorted(flags.allowed_results_from)}
    return backends, _SIGNED in flags.extensions


def _suites(backends: Mapping[str, Mapping[str, Any]], *, signed: bool) -> dict[str, type[Base]]:
    """Make a test class for each backend, and one for its signed results where results are signed."""
    kinds: dict[str, type[Base]] = {"": BackendSuite}
    if signed:
        from resultsfw.testing.signing import SigningSuite  # noqa: PLC0415 - needs libraries of its own

        kinds["Signed"] = SigningSuite
    suites = {}
    for name, config in backends.items():
        words = "".join(part.capitalize() for part in re.split(r"[^a-zA-Z0-9]+", name))
        for kind, suite in kinds.items():
            body = {"backend": name, "config": config, "__module__": __name__}
            suites[f"Test{words}{kind}"] = type(f"Test{words}{kind}", (suite,), body)
    return suites


def _collected() -> dict[str, type[Base]]:
    backends, signed = chosen(os.environ.get(VARIABLE))
    return _suites(backends, signed=signed)


globals().update(_collected())
