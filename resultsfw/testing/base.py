"""Settings that an author gives the suite, and the fixtures of all its parts."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

import pytest

from resultsfw.core import ResultsManager
from resultsfw.errors import InputError, ResultsError
from resultsfw.testing.harness import Harness, SamplePod
from resultsfw.testing.tasks import Write

__all__ = ["Base", "FinishedPods", "fixture_or_default"]


class FinishedPods:
    """Pods that have ended, shared by the tests that only read; each is run once and found by its name.

    Args:
        harness: Runs them.
    """

    def __init__(self, harness: Harness) -> None:
        self._world = harness
        self._known: dict[str, SamplePod] = {}

    def __call__(
        self, name: str, writes: Sequence[Write], *, core: ResultsManager | None = None, fails: bool = False
    ) -> SamplePod:
        """Return the pod of that name; run it the first time."""
        if name not in self._known:
            sample = self._world.prepare(writes, core=core, fails=fails)
            self._world.start(sample)
            self._world.follow(sample)
            self._known[name] = sample
        return self._known[name]

    def run_concurrently(self, **writes: Sequence[Write]) -> tuple[SamplePod, ...]:
        """Return pods that ran at the same time, by their names."""
        if not writes.keys() <= self._known.keys():
            samples = {name: self._world.prepare(some) for name, some in writes.items()}
            self._world.start(*samples.values())
            self._world.follow(*samples.values())
            self._known |= samples
        return tuple(self._known[name] for name in writes)


class _Loaded:
    """The backend under test on the local engine; or why it cannot be loaded, which one test reports.

    Args:
        harness: Runs its pods; or the error of loading it.
        suite: Name of the author's class.
    """

    def __init__(self, harness: Harness | ResultsError, suite: str) -> None:
        self._harness = harness
        self._suite = suite
        self._reported = False
        self.finished_pods = FinishedPods(harness) if isinstance(harness, Harness) else None

    @property
    def harness(self) -> Harness:
        """Return the harness; without one, fail the first test with the error and skip the others."""
        if isinstance(self._harness, Harness):
            return self._harness
        if self._reported:
            pytest.skip(f"the backend of {self._suite} cannot be loaded; another test says why")
        self._reported = True
        pytest.fail(self._harness.message, pytrace=False)


class Base:
    """Settings and fixtures of the suite.

    Attributes:
        backend: The backend's installed name; or a class, a module or an object without an entry point.
        name: The name under which the suite selects a backend without an entry point.
        config: Its options, as ``config.NAME`` contains them.
        harness_type: Runs its pods; a part of the suite may need another one.
    """

    backend: ClassVar[object] = ""
    name: ClassVar[str] = "under-test"
    config: ClassVar[Mapping[str, Any]] = {}
    harness_type: ClassVar[type[Harness]] = Harness

    @pytest.fixture(scope="class")
    @classmethod
    def _loaded(cls, request: pytest.FixtureRequest) -> Iterator[_Loaded]:
        """Load the backend once for all tests of the class."""
        if not cls.backend:
            unset = InputError(
                f'{cls.__name__} names no backend: set its attribute "backend"', subject="backend"
            )
            yield _Loaded(unset, cls.__name__)
            return
        config = fixture_or_default(request, "backend_config", cls.config)
        external_state: MutableMapping[str, bytes] | None = fixture_or_default(
            request, "backend_external_state", None
        )
        claims = fixture_or_default(request, "backend_claims", None)
        try:
            harness = cls.harness_type(
                cls.backend, config, name=cls.name, external_state=external_state, claims=claims
            )
        except ResultsError as error:
            yield _Loaded(error, cls.__name__)
            return
        with harness:
            yield _Loaded(harness, cls.__name__)

    @pytest.fixture
    def harness(self, _loaded: _Loaded) -> Harness:
        """Provide the local engine with the backend in it, the same for all tests of the class."""
        return _loaded.harness

    @pytest.fixture(scope="class")
    @classmethod
    def store_faults(cls, request: pytest.FixtureRequest) -> Mapping[str, Any]:
        """Provide what makes the backend's store down, slow or full; empty if the author gives nothing."""
        faults: Mapping[str, Any] = fixture_or_default(request, "backend_store_faults", {})
        return faults

    @pytest.fixture
    def finished_pods(self, _loaded: _Loaded) -> FinishedPods | None:
        """Provide pods that have ended, the same for all tests of the class."""
        return _loaded.finished_pods


def fixture_or_default(request: pytest.FixtureRequest, name: str, default: Any) -> Any:
    """Return the value of the author's fixture of that name, or the default without one."""
    try:
        return request.getfixturevalue(name)
    except pytest.FixtureLookupError as error:
        if error.argname != name:
            raise
        return default
