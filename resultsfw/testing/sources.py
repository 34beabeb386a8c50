"""Find what a backend reads, by recording its requests, and replace those bytes."""

import base64
import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from resultsfw import jsons
from resultsfw.cluster import Cluster, Object
from resultsfw.testing.clusters import ModifiedCluster, RecordingCluster, Request
from resultsfw.testing.harness import Harness, Outcome, SamplePod

__all__ = ["STATUSES", "Collect", "DataSource", "data_sources", "external_data", "requests_of", "through"]

Collect = Callable[[bool], Outcome]
"""Collects the run's results; the argument says whether it is the last attempt."""

_PIECE = 1000
STATUSES = ("initContainerStatuses", "containerStatuses")
"""Fields of a pod's status with container statuses."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """Something that a backend reads: a log, a text of an object, a termination message, external data.

    Attributes:
        name: For people.
        true: The genuine bytes.
        put: Replaces them by other bytes, and collects from these.
    """

    name: str
    true: bytes
    put: Callable[[bytes], AbstractContextManager[Collect]]


def requests_of(harness: Harness, sample: SamplePod) -> list[Request]:
    """Return the requests that the backend sends to the cluster to read that run."""
    noted = RecordingCluster(harness.store)
    harness.collect(sample, cluster=noted)
    return list(dict.fromkeys(noted.requests))


def data_sources(harness: Harness, sample: SamplePod) -> list[DataSource]:
    """Return everything that the backend reads of that run, and the messages of its pod."""
    request = requests_of(harness, sample)
    found = [
        *_logs(harness, sample, request),
        *_objects(harness, sample, request),
        *_messages(harness, sample),
    ]
    return [source for source in [*found, *external_data(harness, sample)] if source.true]


def through(harness: Harness, sample: SamplePod, cluster: Cluster) -> Collect:
    """Return what collects the run's results through that cluster."""
    return lambda final: harness.collect(sample, cluster=cluster, final=final)


def _logs(harness: Harness, sample: SamplePod, requests: Iterable[Request]) -> Iterator[DataSource]:
    for request in requests:
        if request.kind is not None:
            continue

        @contextlib.contextmanager
        def put(data: bytes, request: Request = request) -> Iterator[Collect]:
            def log(current: Request, pieces: Iterable[bytes]) -> Iterable[bytes]:
                # In small pieces: a reader must not rely on complete lines.
                return _pieces(data) if current == request else pieces

            yield through(harness, sample, ModifiedCluster(harness.cluster, log=log))

        true = b"".join(
            harness.store.read_log(request.namespace, request.name, request.container, limit=1 << 30)
        )
        yield DataSource(f'log of container "{request.container}"', true, put)


def _pieces(data: bytes) -> Iterator[bytes]:
    yield from (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))


def _objects(harness: Harness, sample: SamplePod, requests: Iterable[Request]) -> Iterator[DataSource]:
    for request in requests:
        if request.verb != "get" or request.kind is None:
            continue
        obj = harness.store.get(request.kind, request.namespace, request.name)
        for path, text in _texts(obj):
            coded = path[0] == "binaryData" or request.kind.plural == "secrets"

            @contextlib.contextmanager
            def put(
                data: bytes,
                request: Request = request,
                path: tuple[str | int, ...] = path,
                coded: bool = coded,
            ) -> Iterator[Collect]:
                text = (base64.b64encode(data) if coded else data).decode("utf-8", "replace")

                def changed(current: Request, found: Object) -> Object:
                    if current == request:
                        with contextlib.suppress(KeyError, IndexError, TypeError):
                            _set(found, path, text)
                    return found

                yield through(harness, sample, ModifiedCluster(harness.cluster, obj=changed))

            true = base64.b64decode(text) if coded else text.encode()
            yield DataSource(f"{request.kind.kind} {request.name}, {'.'.join(map(str, path))}", true, put)


def _messages(harness: Harness, sample: SamplePod) -> Iterator[DataSource]:
    for status in [
        container_status for key in STATUSES for container_status in sample.pod["status"].get(key) or ()
    ]:
        message = status.get("state", {}).get("terminated", {}).get("message")
        if not message:
            continue

        @contextlib.contextmanager
        def put(data: bytes, name: str = status["name"]) -> Iterator[Collect]:
            pod = jsons.copy(sample.pod)
            for container_status in (
                container_status for key in STATUSES for container_status in pod["status"].get(key) or ()
            ):
                if container_status["name"] == name:
                    container_status["state"]["terminated"]["message"] = data.decode("utf-8", "replace")
            yield lambda final: harness.collect(sample, pod=pod, final=final)

        yield DataSource(f'termination message of container "{status["name"]}"', message.encode(), put)


def external_data(harness: Harness, sample: SamplePod) -> Iterator[DataSource]:
    """Yield what the backend keeps of that run outside the cluster, if the author shows it."""
    if (kept := harness.external_state) is None:
        return
    there = [key for key in sorted(sample.added) if key in kept]
    # A pod that ran at the same time added data, too: if names show whose data it is, use only this run's.
    for key in [key for key in there if sample.run.uid in key or sample.name in key] or there:

        @contextlib.contextmanager
        def put(data: bytes, key: str = key) -> Iterator[Collect]:
            true = kept[key]
            kept[key] = data
            try:
                yield lambda final: harness.collect(sample, final=final)
            finally:
                kept[key] = true

        yield DataSource(f'"{key}", kept outside', kept[key], put)


def _texts(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the texts of an object that the server did not set."""
    if isinstance(value, str) and path:
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            own = path == ("metadata",) and key not in ("annotations", "labels")
            if not own and not (path == () and key in ("apiVersion", "kind")):
                yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _set(obj: Object, path: tuple[str | int, ...], text: str) -> None:
    place: object = obj
    for key in path[:-1]:
        place = place[key]  # type: ignore[index] # a path that was found in such an object
    place[path[-1]] = text  # type: ignore[index]
