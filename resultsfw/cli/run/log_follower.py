"""Print the lines of Steps' logs while the Steps run, as ``tkn ... logs -f`` prints them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Final, Self

from resultsfw.cli.output import show
from resultsfw.cluster import Object
from resultsfw.errors import ClusterError
from resultsfw.local.container_paths import show_paths
from resultsfw.local.engine import Engine
from resultsfw.tekton.api.kinds import is_step

__all__ = ["LogFollower"]

_INTERVAL: Final = 0.1
"""Seconds between two reads of new lines, where ``tail -f`` waits one second."""
_PIECE: Final = 65_536
_LINE_BYTES: Final = 65_536
"""Bytes after which a line without an end is printed as it is."""
_TASK_RUN: Final = "tekton.dev/taskRun"
_PIPELINE_TASK: Final = "tekton.dev/pipelineTask"


@dataclass(slots=True)
class _Stream:
    """The log of one Step.

    Attributes:
        prefix: Before each of its lines.
        log: The file.
        paths: The path in its container that each folder of this machine stands in for.
        rest: What was read of a line whose end was not.
    """

    prefix: str
    log: BinaryIO
    paths: Mapping[str, str]
    rest: bytes = b""


class LogFollower:
    """Follows the logs of all Steps of an engine. A context manager: leaving it prints what is left.

    Args:
        emit: Prints whole lines, each with its end.
    """

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._streams: dict[tuple[str, str, str], _Stream | None] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="resultsfw-logs", daemon=True)

    def attach(self, engine: Engine) -> None:
        """Take the engine whose Pods `on_event` is called for."""
        self._engine = engine

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        with self._lock:
            for key in list(self._streams):
                self._end(key)

    def on_event(self, change: str, obj: Object) -> None:
        """Begin to follow the Steps of a Pod that run, and print the rest of those that have ended."""
        if change == "DELETED" or obj["kind"] != "Pod":
            return
        metadata = obj["metadata"]
        with self._lock:
            for status in obj.get("status", {}).get("containerStatuses") or ():
                key = (metadata["namespace"], metadata["name"], status["name"])
                state = status.get("state") or {}
                if not is_step(status["name"]) or "waiting" in state or not state:
                    continue
                if key not in self._streams:
                    self._streams[key] = self._open(key, metadata.get("labels") or {})
                if "terminated" in state:
                    self._end(key)

    def _open(self, key: tuple[str, str, str], labels: Mapping[str, str]) -> _Stream | None:
        if self._engine is None:
            return None
        try:
            log = self._engine.store.log_path(*key).open("rb")
        except (ClusterError, OSError):
            return None
        task = labels.get(_PIPELINE_TASK) or labels.get(_TASK_RUN, "")
        prefix = f"[{show.plain(task)} : {show.plain(key[2].removeprefix('step-'))}] "
        return _Stream(prefix, log, self._engine.kubelet.container_paths(*key))

    def _follow(self) -> None:
        while not self._stopped.wait(_INTERVAL):
            with self._lock:
                for stream in self._streams.values():
                    if stream is not None:
                        self._print_new(stream)

    def _end(self, key: tuple[str, str, str]) -> None:
        """Print all that is left of a log, and close it."""
        stream = self._streams[key]
        if stream is None:
            return
        self._print_new(stream)
        if stream.rest:
            self._emit(_line(stream, stream.rest))
        stream.log.close()
        self._streams[key] = None

    def _print_new(self, stream: _Stream) -> None:
        while piece := stream.log.read(_PIECE):
            *lines, stream.rest = (stream.rest + piece).split(b"\n")
            if len(stream.rest) >= _LINE_BYTES:
                lines, stream.rest = [*lines, stream.rest], b""
            if lines:
                self._emit("".join(_line(stream, line) for line in lines))


def _line(stream: _Stream, line: bytes) -> str:
    return f"{stream.prefix}{show.plain(show_paths(line.decode('utf-8', 'replace'), stream.paths))}\n"
