"""Test guarantee 7 with two runs that are read at the same moment, on threads of one process."""

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.testing.assertions import differences, fail
from resultsfw.testing.base import Base, FinishedPods
from resultsfw.testing.clusters import RecordingCluster
from resultsfw.testing.harness import TIMEOUT, Harness, SamplePod
from resultsfw.testing.robustness import two_pods
from resultsfw.types import CollectionOutcome

__all__ = ["ConcurrencyCases"]

THREADS: Final = "guarantee 7: hooks are called on several threads at once, and mix up no two runs"

_ROUNDS: Final = 20
_SWITCH_SECONDS: Final = 1e-6
_MEETING: Final = 0.05
"""Seconds that a request waits for one of the other thread."""


class ConcurrencyCases(Base):
    """Call the hooks for two runs at once."""

    @pytest.mark.quick
    def test_two_runs_in_threads(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """Two runs of one Task are prepared and read at the same time, again and again: each gets its own."""
        samples = two_pods(finished_pods)
        with _frequent_switches():
            for _ in range(_ROUNDS):
                for sample, (pod, collected) in zip(samples, _at_once(harness, samples), strict=True):
                    if pod != sample.prepared:
                        fail(THREADS, "prepare_pod makes another pod than it makes for one run alone")
                    if wrong := differences(harness, sample, collected, damaged=False):
                        fail(THREADS, "; ".join(wrong))


def _at_once(harness: Harness, samples: Sequence[SamplePod]) -> list[tuple[Object, CollectionOutcome]]:
    """Prepare and collect each run on a thread of its own, with all threads in the same hook at once."""
    barrier = threading.Barrier(len(samples))
    core = harness.core()

    def call(sample: SamplePod) -> tuple[Object, CollectionOutcome]:
        cluster = _MeetingCluster(harness.store, barrier)
        cluster.meet()
        pod = core.prepare_pod(sample.run, sample.original, cluster=cluster)
        cluster.meet()
        core.is_ready(sample.run, sample.pod)
        return pod, core.collect(sample.run, sample.pod, cluster)

    with ThreadPoolExecutor(len(samples)) as threads:
        return list(threads.map(call, samples, timeout=TIMEOUT))


class _MeetingCluster(RecordingCluster):
    """Lets each request wait for one of the other thread, so that both threads are in the same hook.

    Args:
        cluster: The cluster.
        barrier: Of all threads.
    """

    def __init__(self, cluster: Cluster, barrier: threading.Barrier) -> None:
        super().__init__(cluster)
        self._barrier = barrier

    def meet(self) -> None:
        """Wait for the other threads; if they send no request any more, go on alone from then on."""
        with contextlib.suppress(threading.BrokenBarrierError):
            self._barrier.wait(_MEETING)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """See `Cluster.get`."""
        self.meet()
        return super().get(kind, namespace, name)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """See `Cluster.read_log`."""
        self.meet()
        return super().read_log(namespace, pod, container, limit=limit)


@contextlib.contextmanager
def _frequent_switches() -> Iterator[None]:
    """Let Python switch between threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
