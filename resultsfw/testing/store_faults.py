"""Test guarantees 0 and 1 while the store in which a backend keeps results is down, slow or full."""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, Literal, TypeVar

import pytest

from resultsfw.cluster import Cluster
from resultsfw.core import ResultsManager
from resultsfw.errors import ClusterError, ForbiddenError, ResultsError, UnavailableError
from resultsfw.testing.assertions import assert_intact, describe_problems, differences, fail, skip
from resultsfw.testing.base import Base
from resultsfw.testing.clusters import WriteFailingCluster
from resultsfw.testing.harness import Harness, Outcome, SamplePod
from resultsfw.testing.references import read_error
from resultsfw.testing.tasks import VALUE_MARK, Write
from resultsfw.types import Reference

__all__ = ["ClusterWriteCases", "StoreFaultCases", "StoreFaults"]

READ: Final = (
    "guarantee 0: while the store cannot be read, what fails is tried again, and is never "
    '"succeeded, no results"'
)
WRITE: Final = (
    "guarantee 1: what the store did not take is a problem of the run, never a result that is absent"
)
PURGE: Final = "what could not be purged is purged later: until then purge raises an error"

CLUSTER: Final = "guarantee 0: what the cluster refuses to create or delete is an error, and is tried again"

PATIENCE = 60.0
"""Seconds within which a backend must give up waiting for a store that does not answer."""

_LARGE: Final = 2_500_003
_SMALL: Final = 3_003
"""Bytes of the value that is kept: of a backend by reference, and of one by value."""

_T = TypeVar("_T")

StoreFault = Literal["down", "slow", "full"]
StoreFaults = Mapping[StoreFault, Callable[[], AbstractContextManager[object]]]
"""For each fault, a function that returns a context manager: the store has the fault within its block."""


class StoreFaultCases(Base):
    """Open to backends whose author gives the fixture ``backend_store_faults``."""

    @pytest.mark.parametrize("fault", ["down", "slow"])
    def test_store_fault_for_readers(
        self, harness: Harness, store_faults: StoreFaults, fault: StoreFault
    ) -> None:
        """Collect, dereference and purge fail for now; when the store is back, they do what they do else."""
        has_fault = _fault(harness, store_faults, fault)
        sample = harness.run_pod(_writes(harness))
        before = assert_intact(READ, harness, sample, harness.collect(sample))
        references = [result.value for result in before.results if isinstance(result.value, Reference)]
        calls = _Calls()
        with has_fault():
            first = calls.bounded(partial(harness.collect, sample))
            last = calls.bounded(partial(harness.collect, sample, final=True))
            errors = [calls.bounded(partial(read_error, harness, reference)) for reference in references]
            purged = calls.bounded(partial(_purge_error, harness, sample))
        calls.check(fault)
        if first is not None:
            _assert_retried(harness, sample, first, fault)
        if last is not None:
            _assert_verdict(harness, sample, last, fault)
        for error in errors:
            if error is not None and not getattr(error, "retryable", False):
                fail(READ, f"the store is {fault}, and dereference raises {_describe(error)}, which is final")
        if isinstance(purged, ResultsError):
            if not getattr(purged, "retryable", False):
                fail(PURGE, f"the store is {fault}, and purge raises {_describe(purged)}, which is final")
            assert_intact(READ, harness, sample, harness.collect(sample))
            harness.purge(sample)
        if remaining := harness.remaining(sample):
            fail(PURGE, f"the store was {fault}, and left behind after purge: {', '.join(remaining)}")

    @pytest.mark.parametrize("fault", ["down", "slow", "full"])
    def test_store_fault_for_writers(
        self, harness: Harness, store_faults: StoreFaults, fault: StoreFault
    ) -> None:
        """A pod runs to its end while nothing can be stored: the run fails, or all arrived by another way."""
        has_fault = _fault(harness, store_faults, fault)
        if fault == "down" and "persistentVolumeClaim" in harness.capabilities.volumes:
            skip('volumes=("persistentVolumeClaim",)', "a pod whose claim cannot be mounted does not start")
        kept = frozenset(harness.external_state or ())
        with has_fault():
            try:
                sample = harness.prepare(_writes(harness))
            except ResultsError as error:
                if getattr(error, "retryable", False):
                    return
                fail(WRITE, f"the store is {fault}: prepare_pod raises {_describe(error)}, which is final")
            sample.kept = kept
            harness.start(sample)
            harness.follow(sample)
        _assert_verdict(harness, sample, harness.collect(sample, final=True), fault)
        harness.purge(sample)
        if remaining := harness.remaining(sample):
            fail(PURGE, f"the store was {fault}, and left behind after purge: {', '.join(remaining)}")


class ClusterWriteCases(Base):
    """Open to backends that create and delete objects of the cluster."""

    @pytest.mark.quick
    @pytest.mark.parametrize("fault", ["forbidden", "unavailable"])
    def test_fault_while_writing(self, harness: Harness, fault: str) -> None:
        """The cluster refuses what prepare_pod creates and purge deletes: the errors come out."""
        error = {"forbidden": ForbiddenError, "unavailable": UnavailableError}[fault]
        core, sample = harness.core(), harness.prepare(_writes(harness))
        failing = WriteFailingCluster(harness.store, error(f"the suite says: {fault}"))
        _assert_raised(
            "purge", error, failing, partial(core.purge, sample.run, sample.prepared, deleted=True)
        )
        harness.purge(sample)
        _assert_raised("prepare_pod", error, failing, partial(_prepare, core, sample))
        harness.purge(sample)
        if not failing.failed:
            skip("what it writes", "it creates and deletes no object of the cluster")
        if remaining := harness.remaining(sample):
            fail(PURGE, f"left behind after purge: {', '.join(remaining)}")


def _prepare(core: ResultsManager, sample: SamplePod, cluster: Cluster) -> None:
    core.prepare_pod(sample.run, sample.original, cluster=cluster)


def _assert_raised(
    hook: str, error: type[ClusterError], failing: WriteFailingCluster, call: Callable[[Cluster], None]
) -> None:
    """Fail unless the error of a failing request comes out of a hook."""
    before = failing.failed
    try:
        call(failing)
    except ResultsError as raised:
        if failing.failed == before:
            fail(
                CLUSTER, f"{hook} raises {raised!r}, and no request failed: the pod of this run never existed"
            )
        if not isinstance(raised, error):
            fail(CLUSTER, f"the cluster raised {error.__name__} in {hook}, and {hook} raises {raised!r}")
    else:
        if failing.failed > before:
            fail(CLUSTER, f"the cluster raised {error.__name__} in {hook}, and {hook} says nothing")


class _Calls:
    """Makes calls on threads: a call that waits for ever fails its test and blocks nothing."""

    def __init__(self) -> None:
        self._late: list[threading.Thread] = []

    def bounded(self, call: Callable[[], _T]) -> _T | None:
        """Return what a call returns; ``None`` if it takes longer than `PATIENCE`, or if another one did."""
        if self._late:
            return None
        returned: list[_T] = []
        thread = threading.Thread(target=lambda: returned.append(call()), daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if thread.is_alive():
            self._late.append(thread)
        return returned[0] if returned else None

    def check(self, fault: StoreFault) -> None:
        """Fail if a call did not return in time. The store has no fault any more, so it returns now."""
        for thread in self._late:
            thread.join(PATIENCE)
            fail(READ, f"the store is {fault}, and a hook waits for it longer than {PATIENCE:g} s")


def _fault(
    harness: Harness, faults: StoreFaults, fault: StoreFault
) -> Callable[[], AbstractContextManager[object]]:
    if (state := harness.capabilities.external_state) != "elsewhere":
        skip(f'external_state="{state}"', "it keeps nothing outside the cluster")
    if fault not in faults:
        skip("backend_store_faults", f'define a fixture of that name that returns a mapping with "{fault}"')
    return faults[fault]


def _writes(harness: Harness) -> list[Write]:
    size = _LARGE if harness.capabilities.delivery == "reference" else _SMALL
    size = min(size, harness.limits().result_bytes)
    return [Write(name="large", size=size), Write(name="small", data=VALUE_MARK.encode())]


def _assert_retried(harness: Harness, sample: SamplePod, outcome: Outcome, fault: StoreFault) -> None:
    """Fail unless a read is tried again, or needs no store."""
    if outcome.collected is None:
        if not getattr(outcome.error, "retryable", False):
            fail(READ, f"the store is {fault}, and collect raises {outcome.error!r}, which is final")
    elif wrong := differences(harness, sample, outcome.collected):
        fail(
            READ,
            f"the store is {fault}, and the verdict is there already, though the read may be tried again: "
            f"{'; '.join(wrong)} [{describe_problems(outcome.collected)}]",
        )


def _assert_verdict(harness: Harness, sample: SamplePod, outcome: Outcome, fault: StoreFault) -> None:
    """Fail unless the last attempt names what is lost, and keeps nothing that is wrong."""
    if outcome.collected is None:
        fail(READ, f"the store is {fault}, and in the last attempt collect raises {outcome.error!r}")
    if wrong := differences(harness, sample, outcome.collected, missing=outcome.ok):
        verdict = "succeeds" if outcome.ok else "fails"
        fail(WRITE, f"the store is {fault}, the run {verdict}, and {'; '.join(wrong)}")


def _purge_error(harness: Harness, sample: SamplePod) -> ResultsError | None:
    """Return the error of purging a run; ``None`` if it can be purged."""
    try:
        harness.purge(sample)
    except ResultsError as error:
        return error
    return None


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
