"""A pytest plugin that makes the marker ``quick`` of the suite for backends known to pytest.

It is loaded in every pytest run of an environment that has resultsfw, so it imports nothing. With its entry
point, an author's own settings need no line for the marker, even with ``--strict-markers``.
"""

from typing import Protocol


class _Config(Protocol):
    """The part of pytest's configuration that is used here."""

    def addinivalue_line(self, name: str, line: str) -> None: ...


def pytest_configure(config: _Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "quick: of the resultsfw suite for backends, a test that takes part in a quick run"
    )
