"""Test guarantees 0, 1, 3 and 7 with a transport that damages, forges, fails or never ends."""

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.errors import (
    BackendError,
    ClusterError,
    ForbiddenError,
    NotFoundError,
    ResultsError,
    UnavailableError,
)
from resultsfw.testing.assertions import describe_problems, differences, fail, skip
from resultsfw.testing.base import Base, FinishedPods
from resultsfw.testing.clusters import FailingCluster, ModifiedCluster, Request
from resultsfw.testing.corruption import CORRUPTIONS, FORGERIES, TRUNCATIONS, TYPES, endless_line
from resultsfw.testing.harness import Harness, Outcome, SamplePod
from resultsfw.testing.sources import (
    STATUSES,
    Collect,
    DataSource,
    data_sources,
    external_data,
    requests_of,
    through,
)
from resultsfw.testing.tasks import VALUE_MARK, Write
from resultsfw.types import ProblemCode

__all__ = ["RobustnessCases", "attempts", "traced", "two_pods"]

_T = TypeVar("_T")

NEVER_WRONG: Final = (
    "guarantees 1 and 7: whatever is damaged, no run gets results other than those that its Steps wrote"
)
ONLY_OURS: Final = "guarantee 0: whatever was written, reading it gives a verdict or an error of resultsfw"
ENDLESS: Final = "guarantee 3: memory stays bounded by the limits, whatever a pod prints"
FAULTS: Final = (
    'guarantee 0: a failed read is tried again while it can come right, and is never "succeeded, no results"'
)

_VICTIM: Final = (
    Write(name="first", data=f'first\n"{VALUE_MARK}" \u00e9'.encode()),
    Write(name="second", data=f"second {VALUE_MARK}".encode()),
    Write(name="third", data=b""),
    Write(name="list", data=f'["{VALUE_MARK}","b"]'.encode(), type="array", value=[VALUE_MARK, "b"]),
    Write(name="never"),
)
# Of the same sizes as far as both have a value: a mix-up must not be noticed by the size.
_OTHER: Final = (
    Write(name="first", data=f"of another {VALUE_MARK}".encode()),
    Write(name="second", data=f"SECOND {VALUE_MARK}".encode()),
    Write(name="third", data=f"not empty {VALUE_MARK}".encode()),
    Write(name="list", data=f'["{VALUE_MARK}","c"]'.encode(), type="array", value=[VALUE_MARK, "c"]),
    Write(name="never", data=f"written {VALUE_MARK}".encode()),
)

_QUICK: Final = frozenset({"cut", "line-dropped", "of-another-run", "nothing"})
"""Damage that takes part in a quick run."""

_SHOWN: Final = 400

_LONG: Final = 100_000_000
_HELD: Final = 16 * 1024 * 1024
"""Bytes that may be held for one log while a value may have 4096 bytes."""
_OUTSIDE: Final = 32 * 1024 * 1024
"""Bytes in place of what is kept outside."""

_FAULTS: Final[dict[str, type[ClusterError]]] = {
    "not-found": NotFoundError,
    "forbidden": ForbiddenError,
    "unavailable": UnavailableError,
}


def traced(call: Callable[[], _T]) -> tuple[_T, int]:
    """Return what a call returns, and the most bytes of memory that it held."""
    tracemalloc.start()
    try:
        returned = call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return returned, peak


def two_pods(finished_pods: FinishedPods) -> tuple[SamplePod, SamplePod]:
    """Return the pod whose data is damaged, and another one of the same Task."""
    victim, other = finished_pods.run_concurrently(victim=_VICTIM, other=_OTHER)
    return victim, other


def violation_of(
    harness: Harness, sample: SamplePod, outcome: Outcome, *, strict: bool, cut: bool, final: bool
) -> str:
    """Return which guarantee an outcome of damaged data violates, in words; empty if none.

    Args:
        harness: Has the backend.
        sample: The pod that was read.
        outcome: The outcome of the collection.
        strict: Whether the backend claims to notice all damage.
        cut: Whether data was only removed: then no value may differ, even without digests.
        final: Whether it was the last attempt.
    """
    if faults := [problem for problem in outcome.problems if problem.code is ProblemCode.BACKEND_FAULTY]:
        return f"{ONLY_OURS}\n  {faults[0].message}"
    if outcome.error is not None:
        if (stranger := foreign_exception(outcome.error)) is not None:
            return f"{ONLY_OURS}\n  extract raised {type(stranger).__name__}"
        return f"{ONLY_OURS}\n  the last try raised {outcome.error}" if final else ""
    if outcome.collected is None or not (strict or cut):
        return ""
    if wrong := differences(harness, sample, outcome.collected, missing=strict and outcome.ok):
        verdict = "succeeds" if outcome.ok else "fails and keeps results"
        return f"{NEVER_WRONG}\n  the run {verdict}, and {'; '.join(wrong)}"
    return ""


def attempts(collect: Collect) -> Iterator[tuple[bool, Outcome]]:
    """Yield the outcome while another attempt may follow, and if it is no verdict, that of the last attempt.

    No hook gets the number of the attempt to read: a verdict would be the same in the last one.
    """
    outcome = collect(False)
    yield False, outcome
    if outcome.collected is None:
        yield True, collect(True)


def foreign_exception(error: BaseException) -> BaseException | None:
    """Return an exception of the backend that is not one of resultsfw's; the core may have wrapped it."""
    if not isinstance(error, ResultsError):
        return error
    cause = error.__cause__
    wrapped = type(error) is BackendError and cause is not None and not isinstance(cause, ResultsError)
    return cause if wrapped else None


class RobustnessCases(Base):
    """Damage everything that the backend reads, fail its requests, and flood it."""

    @pytest.mark.parametrize(
        "kind",
        [pytest.param(kind, marks=pytest.mark.quick) if kind in _QUICK else kind for kind in CORRUPTIONS],
    )
    def test_damaged(self, harness: Harness, finished_pods: FinishedPods, kind: str) -> None:
        """Damaged bytes are noticed, or have no effect."""
        sample, other = two_pods(finished_pods)
        others = {_plain(source, other): source.true for source in data_sources(harness, other)}
        sources = data_sources(harness, sample)
        if not sources:
            _unseen(harness)
        for source in sources:
            foreign = others.get(_plain(source, sample), b"")
            for data in CORRUPTIONS[kind](source.true, foreign):
                _judge(harness, sample, source, data, cut=kind in TRUNCATIONS, forged=kind in FORGERIES)

    def test_damaged_at_random(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """Random pieces are replaced by random bytes; the same damage in each execution."""
        sample, _ = two_pods(finished_pods)
        sources = data_sources(harness, sample)
        if not sources:
            _unseen(harness)

        @settings(max_examples=150, deadline=None, database=None, derandomize=True)
        @given(st.data())
        def damaged(data: st.DataObject) -> None:
            source = data.draw(st.sampled_from(sources))
            size = len(source.true)
            start = data.draw(st.integers(0, size))
            end = data.draw(st.integers(start, min(size, start + 40)))
            piece = data.draw(st.binary(max_size=40) | st.sampled_from([source.true[:30], source.true[-30:]]))
            _judge(harness, sample, source, source.true[:start] + piece + source.true[end:], cut=False)

        damaged()

    def test_objects_of_other_shapes(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """An object that is read has parts of another type, or lacks them."""
        sample, _ = two_pods(finished_pods)
        requests = requests_of(harness, sample)
        read = [
            (request, request.kind)
            for request in requests
            if request.kind is not None and request.verb == "get"
        ]
        if not read:
            skip("what it reads", "it reads no object of the cluster")
        for request, kind in read:
            found = harness.store.get(kind, request.namespace, request.name)
            for shape in _shapes(found):
                changed = ModifiedCluster(harness.cluster, obj=_always(shape))
                for final, outcome in attempts(through(harness, sample, changed)):
                    strict = harness.capabilities.verified
                    if fault := violation_of(harness, sample, outcome, strict=strict, cut=False, final=final):
                        fail(fault, f"[{kind.kind} {request.name} has another shape than it should]")

    def test_a_message_that_the_kubelet_cuts(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """Messages over the pod's budget are cut: the run fails, or all came by another transport."""
        sample, _ = two_pods(finished_pods)
        true = harness.collect(sample).collected
        without = harness.collect(sample, pod=_without_messages(sample.pod)).collected
        if true is not None and without is not None and true.results == without.results:
            skip("what it reads", "it reads no termination message")
        writes = [Write(name=f"r{number}", size=1150) for number in range(3)]
        with harness.with_cut_messages() as other:
            # A second Step leaves each container 3072 bytes, and a Step may write 4096.
            cut = other.run_pod([*writes, Write(name="own", data=VALUE_MARK.encode(), step="second")])
            outcome = other.collect(cut)
            if fault := violation_of(other, cut, outcome, strict=True, cut=True, final=False):
                fail(fault, "[a termination message of some 3600 bytes, cut at 3072]")
            if outcome.collected and (wrong := differences(other, cut, outcome.collected, missing=False)):
                fail(NEVER_WRONG, f"what is kept beside the failure is wrong: {'; '.join(wrong)}")

    def test_an_endless_line(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """A line of 100 MB: reading stops, holds little of it, and the run does not succeed."""
        sample, _ = two_pods(finished_pods)
        if not any(request.verb == "log" for request in requests_of(harness, sample)):
            skip("what it reads", "it reads no log")
        changed = ModifiedCluster(harness.cluster, log=lambda _, __: endless_line(_LONG))
        outcome, peak = traced(partial(harness.collect, sample, cluster=changed, final=True))
        if peak > _HELD:
            fail(
                ENDLESS,
                f"a line of {_LONG} bytes took {peak} bytes of memory, {changed.pulled} were read; the "
                f"limit of a value is {harness.limits().result_bytes}: read_log takes a limit, and you can "
                f"stop iterating",
            )
        if fault := violation_of(harness, sample, outcome, strict=True, cut=False, final=True):
            fail(fault, f"[a log of one line of {_LONG} bytes]")
        if outcome.ok:
            fail(ENDLESS, "the run succeeds")

    def test_endless_data_outside(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """What is kept outside has grown to 32 MB: little of it is held, and no such result arrives."""
        sample, _ = two_pods(finished_pods)
        if (state := harness.capabilities.external_state) != "elsewhere":
            skip(f'external_state="{state}"', "it keeps nothing outside the cluster")
        if not (sources := list(external_data(harness, sample))):
            _unseen(harness)
        endless = b"x" * _OUTSIDE
        for source in sources:
            with source.put(endless) as collect:
                outcome, peak = traced(partial(collect, True))
            if peak > _HELD:
                fail(
                    ENDLESS,
                    f"{source.name}, has {_OUTSIDE} bytes in place of {len(source.true)}; reading it takes "
                    f"{peak} bytes of memory. Read one byte more than there can be, and no further",
                )
            strict = harness.capabilities.verified
            if fault := violation_of(harness, sample, outcome, strict=strict, cut=False, final=True):
                fail(fault, f"[{source.name}, has {_OUTSIDE} bytes]")

    @pytest.mark.quick
    @pytest.mark.parametrize("when", ["at-once", "in-the-middle"])
    @pytest.mark.parametrize("fault", _FAULTS)
    def test_fault(self, harness: Harness, finished_pods: FinishedPods, fault: str, when: str) -> None:
        """The cluster fails: the error is raised; in the last attempt it becomes a problem."""
        sample, _ = two_pods(finished_pods)
        reads = [request for request in requests_of(harness, sample) if request.verb in ("log", "get")]
        if not reads:
            skip("what it reads", "it reads nothing through the cluster")
        gets = sum(request.verb == "get" for request in reads)
        if when == "in-the-middle" and gets == len(reads) == 1:
            skip("what it reads", "one object has no middle")
        after = 0 if when == "at-once" else 40 if gets == 0 else gets - 1
        raised = _FAULTS[fault]

        def failing() -> FailingCluster:
            return FailingCluster(harness.store, raised(f"the suite says: {fault}"), after=after)

        first = harness.collect(sample, cluster=failing())
        _assert_fault_reported(first, raised, final=False)
        last = harness.collect(sample, cluster=failing(), final=True)
        _assert_fault_reported(last, raised, final=True)


def _assert_fault_reported(outcome: Outcome, raised: type[ClusterError], *, final: bool) -> None:
    """Fail unless an error of the cluster was reported as it must be."""
    which = "in the last attempt" if final else "with another attempt to come"
    if outcome.ok:
        fail(FAULTS, f"the cluster raised {raised.__name__} {which}, and the run succeeds")
    if final and outcome.error is not None:
        fail(FAULTS, f"the cluster raised {raised.__name__} {which}, and so did collect: {outcome.error}")
    if final or not raised.retryable:
        return
    if outcome.collected is not None:
        fail(
            FAULTS,
            f"the cluster raised {raised.__name__} {which}, and the verdict is there already: "
            f"{describe_problems(outcome.collected)}. Let a ClusterError through",
        )
    if not getattr(outcome.error, "retryable", False):
        fail(
            FAULTS, f"the cluster raised {raised.__name__}, which can come right; out came {outcome.error!r}"
        )


def _judge(
    harness: Harness, sample: SamplePod, source: DataSource, data: bytes, *, cut: bool, forged: bool = False
) -> None:
    """Collect from those bytes; fail if a guarantee is violated."""
    strict = harness.capabilities.verified
    with source.put(data) as collect:
        for final, outcome in attempts(collect):
            if forged and not outcome.ok and outcome.error is None:
                continue
            if fault := violation_of(harness, sample, outcome, strict=strict, cut=cut, final=final):
                fail(
                    fault,
                    f"[in place of {source.name}: {_clipped(data)}; in truth {_clipped(source.true)}]",
                )


def _without_messages(pod: Object) -> Object:
    original: Object = jsons.copy(pod)
    for status in [status for key in STATUSES for status in original["status"].get(key) or ()]:
        status.get("state", {}).get("terminated", {}).pop("message", None)
    return original


def _always(shape: Object) -> Callable[[Request, Object], Object]:
    return lambda _, __: {**shape}


def _clipped(data: bytes) -> str:
    return f"{data!r}" if len(data) <= _SHOWN else f"{data[:200]!r}...{data[-200:]!r} ({len(data)} bytes)"


def _plain(source: DataSource, sample: SamplePod) -> str:
    """Return a source's name without the run's own names, to find the same source of another run."""
    name = source.name
    for text in (sample.run.uid, sample.pod["metadata"]["uid"], sample.name, sample.run.name):
        name = name.replace(text, "*")
    return name


def _unseen(harness: Harness) -> None:
    can = harness.capabilities
    skip(
        f'external_state="{can.external_state}"',
        'it reads nothing that the suite can see: define a fixture "backend_external_state" that returns a '
        "mutable mapping from names to the stored bytes",
    )


def _shapes(obj: Object) -> Iterable[Object]:
    """Yield the object with parts missing or of another type."""
    yield {"metadata": obj["metadata"]}
    for key in obj:
        if key in ("apiVersion", "kind", "metadata"):
            continue
        yield {field: value for field, value in obj.items() if field != key}
        for other in TYPES:
            yield {**obj, key: other}
        if isinstance(obj[key], dict):
            for name in obj[key]:
                yield {**obj, key: {field: value for field, value in obj[key].items() if field != name}}
                for other in TYPES:
                    yield {**obj, key: {**obj[key], name: other}}
