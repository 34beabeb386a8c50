"""Test whether a backend or an extension keeps the contract.

The contract: docs/how-to/writing-a-backend.md and docs/how-to/writing-an-extension.md.

The complete test file of an author::

    from resultsfw.testing import BackendSuite

    class TestMine(BackendSuite):
        backend = "mine"

and of an extension::

    from resultsfw.testing import ExtensionSuite

    class TestMine(ExtensionSuite):
        extension = "mine"

Needs ``pip install 'resultsfw[testing]'``. ``pytest --pyargs resultsfw.testing.compliance`` runs the suite
for all installed backends.
"""

try:
    import hypothesis
    import pytest
except ImportError as error:  # pragma: no cover - the tests have both
    raise ImportError(
        f"resultsfw.testing needs {error.name}: pip install 'resultsfw[testing]'", name=error.name
    ) from error

from resultsfw.testing.extension_suite import ExtensionSuite
from resultsfw.testing.folder import Folder
from resultsfw.testing.suite import BackendSuite

__all__ = ["BackendSuite", "ExtensionSuite", "Folder"]

del hypothesis, pytest
