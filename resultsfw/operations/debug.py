"""Say what a process is doing, for its operators: stacks of threads, as JSON or in the log.

Stacks name functions and lines, and no value of a variable.
"""

import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from queue import SimpleQueue
from types import FrameType
from typing import Final

from resultsfw.cluster import Object

__all__ = [
    "LOCAL_HOSTS",
    "LOOPBACK",
    "NOT_LOCAL",
    "encode_state",
    "install_signal_handler",
    "stack_of",
    "stacks_of_others",
    "state_lines",
]

log = logging.getLogger(__name__)

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
"""Addresses of clients in the pod, among them ``kubectl port-forward``, which needs a right in Kubernetes.

Not all of 127.0.0.0/8: Istio's proxy forwards the requests of other pods from 127.0.0.6."""

LOCAL_HOSTS: Final = frozenset({"", "127.0.0.1", "localhost", "[::1]"})
"""Hosts of requests from there. A page in a browser could let its own host's name lead to a loopback
address, and so read what a forwarded port answers."""

NOT_LOCAL: Final = (
    b"only for clients in the pod: kubectl port-forward POD 8080, then http://127.0.0.1:8080/debug\n"
)

_FRAMES: Final = 12
"""Innermost frames of a stack."""

_THREADS: Final = 100


def stack_of(thread: int) -> list[str]:
    """Return the innermost frames of a thread, "module:line function", the innermost last."""
    return _frames(sys._current_frames().get(thread))  # noqa: SLF001 - documented, for debuggers


def stacks_of_others(known: Collection[int]) -> list[Object]:
    """Return name and stack of each thread that is not among the known ones and not the caller."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    hidden = {*known, threading.get_ident()}
    frames = sys._current_frames()  # noqa: SLF001 - documented, for debuggers
    others = sorted((names.get(ident, ""), ident) for ident in frames if ident not in hidden)
    return [{"name": name, "stack": _frames(frames[ident])} for name, ident in others[:_THREADS]]


def _frames(frame: FrameType | None) -> list[str]:
    found: list[str] = []
    while frame is not None and len(found) < _FRAMES:
        module = frame.f_globals.get("__name__", "?")
        found.append(f"{module}:{frame.f_lineno} {frame.f_code.co_qualname}")
        frame = frame.f_back
    return found[::-1]


def encode_state(state: Object) -> bytes:
    """Return a state as JSON in ASCII, for people and programs."""
    return (json.dumps(state, indent=1) + "\n").encode("ascii")


def state_lines(state: Object) -> Iterator[str]:
    """Yield a state as lines of a log: one for each value, and for each item of a list."""
    for key, value in state.items():
        for item in value if isinstance(value, list) else (value,):
            yield f"{key}: {json.dumps(item)}"


def install_signal_handler(state: Callable[[], Object]) -> None:
    """Log the state when the process gets SIGUSR1. Call it on the main thread.

    All signals that come while the state is being logged count as one.
    """
    # A thread of its own logs: the interrupted one may hold locks that are needed here. It exists before, as
    # starting one takes such a lock, too. Of all queues, only this one may be used in a signal handler.
    signals: SimpleQueue[None] = SimpleQueue()

    def write() -> None:
        while True:
            signals.get()
            while not signals.empty():
                signals.get()
            try:
                for line in state_lines(state()):
                    log.info("state: %s", line)
            except Exception:
                log.exception("the state cannot be logged")

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        signals.put(None)

    threading.Thread(target=write, name="state", daemon=True).start()
    signal.signal(signal.SIGUSR1, on_signal)
