"""What an author gives the suite, and the fixtures every part of it uses."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

import pytest

from resultsfw.core import Core
from resultsfw.testing.tasks import Write
from resultsfw.testing.world import Life, World

__all__ = ["Base", "Runs"]

Runs = Callable[..., Life]
"""From a name, what Steps write and flags to a pod that has ended; of one name the same one each time."""


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
        """Pods that have ended, shared by the tests that only read."""
        known: dict[str, Life] = {}

        def ended(name: str, writes: Sequence[Write], core: Core | None = None) -> Life:
            if name not in known:
                known[name] = world.ended(writes, core=core)
            return known[name]

        return ended


def _given(request: pytest.FixtureRequest, name: str, default: Any) -> Any:
    """What the author's fixture of that name gives, if there is one."""
    try:
        return request.getfixturevalue(name)
    except pytest.FixtureLookupError as error:
        if error.argname != name:
            raise
        return default
