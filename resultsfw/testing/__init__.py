"""Test whether a backend keeps the contract of docs/writing-a-backend.md.

The complete test file of an author::

    from resultsfw.testing import BackendSuite

    class TestMine(BackendSuite):
        backend = "mine"

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

from resultsfw.testing.folder import Folder
from resultsfw.testing.suite import BackendSuite

__all__ = ["BackendSuite", "Folder"]

del hypothesis, pytest
