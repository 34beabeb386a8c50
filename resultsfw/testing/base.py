"""What an author gives the suite, and the fixtures every part of it uses."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

import pytest

from resultsfw.core import ResultsManager
from resultsfw.testing.tasks import Write
from resultsfw.testing.world import Life, World

__all__ = ["Base", "Runs"]


class Runs:
    """Pods that have ended, shared by the tests that only read: of one name there is one.

    Args:
        world: Where they run.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[str, Life] = {}

    def __call__(
        self, name: str, writes: Sequence[Write], *, core: ResultsManager | None = None, fails: bool = False
    ) -> Life:
        """The pod of that name; it is run the first time it is asked for."""
        if name not in self._known:
            life = self._world.prepare(writes, core=core, fails=fails)
            self._world.start(life)
            self._world.follow(life)
            self._known[name] = life
        return self._known[name]

    def together(self, **writes: Sequence[Write]) -> tuple[Life, ...]:
        """Pods that ran at the same time, by their names."""
        if not writes.keys() <= self._known.keys():
            lives = {name: self._world.prepare(some) for name, some in writes.items()}
            self._world.start(*lives.values())
            self._world.follow(*lives.values())
            self._known |= lives
        return tuple(self._known[name] for name in writes)


class Base:
    """Settings and fixtures.

    Attributes:
        backend: Its installed name; or a class, a module or an object that has no entry point.
        config: Its options, as ``config.NAME`` would hold them.
    """

    backend: ClassVar[object] = ""
    config: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, request: pytest.FixtureRequest) -> Iterator[World]:
        """The engine with no cluster and the backend in it, for all tests of the class."""
        if not cls.backend:
            pytest.fail(f'{cls.__name__} names no backend: set its attribute "backend"', pytrace=False)
        config = _given(request, "backend_config", cls.config)
        outside: MutableMapping[str, bytes] | None = _given(request, "backend_outside", None)
        with World(cls.backend, config, outside=outside) as world:
            yield world

    @pytest.fixture(scope="class")
    @classmethod
    def runs(cls, world: World) -> Runs:
        """Pods that have ended, for all tests of the class."""
        return Runs(world)


def _given(request: pytest.FixtureRequest, name: str, default: Any) -> Any:
    """What the author's fixture of that name gives, if there is one."""
    try:
        return request.getfixturevalue(name)
    except pytest.FixtureLookupError as error:
        if error.argname != name:
            raise
        return default
