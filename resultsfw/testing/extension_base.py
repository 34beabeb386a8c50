"""Settings that an author gives the suite for extensions, and the fixtures of all its parts."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import pytest

from resultsfw.errors import ResultsError
from resultsfw.testing.assertions import fail, skip
from resultsfw.testing.base import fixture_or_default
from resultsfw.testing.extension_harness import ExtensionHarness

__all__ = ["WRAPPED", "ExtensionBase", "needs"]

WRAPPED: Final = ("place_files", "prepare_pod", "pod_ready", "extract", "dereference", "purge")
"""Hooks that an extension may wrap, in the order of a run."""

_LOADED: Final = "loads: the extension is created with its options, and keeps the contract"


class _Loaded:
    """A core with the extension under test; or why it cannot be loaded, which one test reports.

    Args:
        harness: Drives the extension; or the reason, in words.
    """

    def __init__(self, harness: ExtensionHarness | str) -> None:
        self._harness = harness
        self._reported = False

    @property
    def harness(self) -> ExtensionHarness:
        """Return the harness; without one, fail the first test with the reason and skip the others."""
        if not isinstance(self._harness, ExtensionHarness):
            if self._reported:
                skip("loads", "the extension cannot be loaded; another test says why")
            self._reported = True
            fail(_LOADED, self._harness)
        return self._harness


class ExtensionBase:
    """Settings and fixtures of the suite for extensions.

    Attributes:
        extension: The extension's installed name; or a class, a module or an object without an entry point.
        config: Its options, as ``config.NAME`` contains them.
        seconds: How long one call of a hook may take. Only an extension that blocks reaches it.
    """

    extension: ClassVar[object] = ""
    config: ClassVar[Mapping[str, Any]] = {}
    seconds: ClassVar[float] = 20.0

    @pytest.fixture(scope="class")
    @classmethod
    def _loaded(cls, request: pytest.FixtureRequest) -> Iterator[_Loaded]:
        """Load the extension once for all tests of the class."""
        if not cls.extension:
            yield _Loaded(f'{cls.__name__} names no extension: set its attribute "extension"')
            return
        config = fixture_or_default(request, "extension_config", cls.config)
        try:
            harness = ExtensionHarness(cls.extension, config, seconds=cls.seconds)
        except ResultsError as error:
            yield _Loaded(error.message)
            return
        except pytest.fail.Exception as failure:  # its constructor blocks
            yield _Loaded(str(failure))
            return
        with harness:
            yield _Loaded(harness)

    @pytest.fixture
    def harness(self, _loaded: _Loaded) -> ExtensionHarness:
        """Provide a core with the extension, the same for all tests of the class."""
        return _loaded.harness

    @pytest.fixture(autouse=True)
    def _starts_anew(self, harness: ExtensionHarness) -> Iterator[None]:
        """Undo what a test changed; skip it if the extension blocks, which another test reports."""
        if harness.blocked:
            skip("blocks", f"{harness.blocked} did not return")
        yield
        harness.backend.__init__()  # type: ignore[misc] # the script of a new backend


def needs(harness: ExtensionHarness, *hooks: str) -> None:
    """Skip the test if the extension implements none of these hooks."""
    if not any(harness.implements(hook) for hook in hooks):
        skip("hooks", f"it implements no {' or '.join(hooks)}")
