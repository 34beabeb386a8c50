"""Settings that an author gives the suite, and the fixtures of all its parts."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

import pytest

from resultsfw.core import ResultsManager
from resultsfw.testing.harness import Harness, SamplePod
from resultsfw.testing.tasks import Write

__all__ = ["Base", "FinishedPods"]


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


class Base:
    """Settings and fixtures of the suite.

    Attributes:
        backend: The backend's installed name; or a class, a module or an object without an entry point.
        config: Its options, as ``config.NAME`` contains them.
    """

    backend: ClassVar[object] = ""
    config: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, request: pytest.FixtureRequest) -> Iterator[Harness]:
        """Provide the local engine with the backend in it, for all tests of the class."""
        if not cls.backend:
            pytest.fail(f'{cls.__name__} names no backend: set its attribute "backend"', pytrace=False)
        config = _fixture_or_default(request, "backend_config", cls.config)
        external_state: MutableMapping[str, bytes] | None = _fixture_or_default(
            request, "backend_external_state", None
        )
        with Harness(cls.backend, config, external_state=external_state) as harness:
            yield harness

    @pytest.fixture(scope="class")
    @classmethod
    def finished_pods(cls, harness: Harness) -> FinishedPods:
        """Provide pods that have ended, for all tests of the class."""
        return FinishedPods(harness)


def _fixture_or_default(request: pytest.FixtureRequest, name: str, default: Any) -> Any:
    """Return the value of the author's fixture of that name, or the default without one."""
    try:
        return request.getfixturevalue(name)
    except pytest.FixtureLookupError as error:
        if error.argname != name:
            raise
        return default
