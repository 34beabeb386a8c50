"""Where a backend reads from, found by watching it, and how to put other bytes there."""

import base64
import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from resultsfw import jsons
from resultsfw.cluster import Cluster, Object
from resultsfw.testing.clusters import Asked, Changed, Noted
from resultsfw.testing.world import Life, Outcome, World

__all__ = ["STATUSES", "Surface", "asked_in", "surfaces_of"]

Collect = Callable[[bool], Outcome]
"""Reads the run; the argument: whether there will be no further try."""

_PIECE = 1000
STATUSES = ("initContainerStatuses", "containerStatuses")
"""Where a pod's status tells of containers."""


@dataclass(frozen=True, slots=True)
class Surface:
    """One place from which a backend may read.

    Attributes:
        name: For people.
        true: Its bytes.
        put: Puts other bytes there, and reads through them.
    """

    name: str
    true: bytes
    put: Callable[[bytes], AbstractContextManager[Collect]]


def asked_in(world: World, life: Life) -> list[Asked]:
    """What the backend asks of the cluster to read that run."""
    noted = Noted(world.store)
    world.collect(life, cluster=noted)
    return list(dict.fromkeys(noted.asked))


def surfaces_of(world: World, life: Life) -> list[Surface]:
    """All places from which the backend reads that run, and the messages of its pod."""
    asked = asked_in(world, life)
    found = [*_logs(world, life, asked), *_objects(world, life, asked), *_messages(world, life)]
    return [one for one in [*found, *_outside(world, life)] if one.true]


def _through(world: World, life: Life, cluster: Cluster) -> Collect:
    return lambda final: world.collect(life, cluster=cluster, final=final)


def _logs(world: World, life: Life, requests: Iterable[Asked]) -> Iterator[Surface]:
    for asked in requests:
        if asked.kind is not None:
            continue

        @contextlib.contextmanager
        def put(data: bytes, asked: Asked = asked) -> Iterator[Collect]:
            def log(one: Asked, pieces: Iterable[bytes]) -> Iterable[bytes]:
                # In small pieces: who reads must not count on lines that come whole.
                return _pieces(data) if one == asked else pieces

            yield _through(world, life, Changed(world.cluster, log=log))

        true = b"".join(world.store.read_log(asked.namespace, asked.name, asked.container, limit=1 << 30))
        yield Surface(f'log of container "{asked.container}"', true, put)


def _pieces(data: bytes) -> Iterator[bytes]:
    yield from (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))


def _objects(world: World, life: Life, requests: Iterable[Asked]) -> Iterator[Surface]:
    for asked in requests:
        if asked.verb != "get" or asked.kind is None:
            continue
        obj = world.store.get(asked.kind, asked.namespace, asked.name)
        for path, text in _texts(obj):
            coded = path[0] == "binaryData" or asked.kind.plural == "secrets"

            @contextlib.contextmanager
            def put(
                data: bytes, asked: Asked = asked, path: tuple[str | int, ...] = path, coded: bool = coded
            ) -> Iterator[Collect]:
                text = (base64.b64encode(data) if coded else data).decode("utf-8", "replace")

                def changed(one: Asked, found: Object) -> Object:
                    if one == asked:
                        with contextlib.suppress(KeyError, IndexError, TypeError):
                            _set(found, path, text)
                    return found

                yield _through(world, life, Changed(world.cluster, obj=changed))

            true = base64.b64decode(text) if coded else text.encode()
            yield Surface(f"{asked.kind.kind} {asked.name}, {'.'.join(map(str, path))}", true, put)


def _messages(world: World, life: Life) -> Iterator[Surface]:
    for status in [one for key in STATUSES for one in life.pod["status"].get(key) or ()]:
        message = status.get("state", {}).get("terminated", {}).get("message")
        if not message:
            continue

        @contextlib.contextmanager
        def put(data: bytes, name: str = status["name"]) -> Iterator[Collect]:
            pod = jsons.copy(life.pod)
            for one in (one for key in STATUSES for one in pod["status"].get(key) or ()):
                if one["name"] == name:
                    one["state"]["terminated"]["message"] = data.decode("utf-8", "replace")
            yield lambda final: world.collect(life, pod=pod, final=final)

        yield Surface(f'termination message of container "{status["name"]}"', message.encode(), put)


def _outside(world: World, life: Life) -> Iterator[Surface]:
    if (kept := world.external_state) is None:
        return
    there = [key for key in sorted(life.added) if key in kept]
    # What ran at the same time added, too: where names tell, only what is this run's.
    for key in [key for key in there if life.run.uid in key or life.name in key] or there:

        @contextlib.contextmanager
        def put(data: bytes, key: str = key) -> Iterator[Collect]:
            true = kept[key]
            kept[key] = data
            try:
                yield lambda final: world.collect(life, final=final)
            finally:
                kept[key] = true

        yield Surface(f'"{key}", kept outside', kept[key], put)


def _texts(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The texts in an object that are not the server's own."""
    if isinstance(value, str) and path:
        yield path, value
    elif isinstance(value, dict):
        for key, one in value.items():
            own = path == ("metadata",) and key not in ("annotations", "labels")
            if not own and not (path == () and key in ("apiVersion", "kind")):
                yield from _texts(one, (*path, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _texts(one, (*path, index))


def _set(obj: Object, path: tuple[str | int, ...], text: str) -> None:
    place: object = obj
    for key in path[:-1]:
        place = place[key]  # type: ignore[index] # a path that was found in such an object
    place[path[-1]] = text  # type: ignore[index]
