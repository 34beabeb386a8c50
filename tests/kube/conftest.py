"""A server on loopback and the real client against it."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

from kubeserver import Server, kubeconfig_for

from resultsfw.cluster import PODS
from resultsfw.kube import Connection, KubeCluster, Reflector, connect


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests may have a kubeconfig, a proxy, or be in a pod."""
    for name in (
        "KUBECONFIG",
        "KUBERNETES_SERVICE_HOST",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.down()


@pytest.fixture
def connection(server: Server, tmp_path: Path) -> Iterator[Connection]:
    one = connect(str(kubeconfig_for(server.url, tmp_path)))
    yield one
    one.close()


@pytest.fixture
def cluster(connection: Connection) -> KubeCluster:
    return KubeCluster(connection, timeouts=(1, 1))


class Told:
    """What a reflector said."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.changes: list[tuple[str, str, str]] = []
        self.objects: dict[str, dict[str, Any] | None] = {}
        self.restarts: list[str] = []

    def change(self, change: str, obj: dict[str, Any]) -> None:
        name = obj["metadata"]["name"]
        with self.changed:
            self.changes.append((change, name, obj["metadata"]["resourceVersion"]))
            self.objects[name] = None if change == "DELETED" else obj
            self.changed.notify_all()

    def restart(self, reason: str) -> None:
        with self.changed:
            self.restarts.append(reason)
            self.changed.notify_all()

    def wait(self, so: Callable[[], bool], seconds: float = 10) -> None:
        with self.changed:
            assert self.changed.wait_for(so, seconds), (self.changes, self.restarts)

    def names(self) -> list[tuple[str, str]]:
        return [one[:2] for one in self.changes]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a millisecond."""
    monkeypatch.setattr("resultsfw.kube.reflector._SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr("resultsfw.kube.reflector._LONGEST_PAUSE", 0.01)


@pytest.fixture
def reflect(connection: Connection, told: Told, quick: None) -> Iterator[Callable[..., Reflector]]:
    started: list[Reflector] = []

    def reflect(**options: Any) -> Reflector:
        one = Reflector(connection, PODS, on_change=told.change, on_restart=told.restart, **options)
        started.append(one)
        one.start()
        assert one.synced.wait(10)
        return one

    yield reflect
    for one in started:
        one.stop()
        assert not one.alive
