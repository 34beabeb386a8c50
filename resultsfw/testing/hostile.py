"""Guarantees 0, 1, 3, 7 against a way that damages, forges, fails or never ends."""

import tracemalloc
from collections.abc import Callable, Iterable
from typing import Final

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
from resultsfw.testing.base import Base, Runs
from resultsfw.testing.clusters import Asked, Changed, Failing
from resultsfw.testing.damage import CUTS, DAMAGE, TYPES, endless
from resultsfw.testing.judging import breach, closed, differences, problems_in_words
from resultsfw.testing.surfaces import STATUSES, Surface, asked_in, surfaces_of
from resultsfw.testing.tasks import MARK, Write
from resultsfw.testing.world import Life, Outcome, World

__all__ = ["HostileCases", "victims"]

NEVER_WRONG: Final = (
    "guarantees 1 and 7: however the way is damaged, no run succeeds with other results than were written"
)
ONLY_OURS: Final = "guarantee 0: whatever was written, reading it gives a verdict or an error of resultsfw"
ENDLESS: Final = "guarantee 3: memory stays bounded by the limits, whatever a pod prints"
FAULTS: Final = (
    'guarantee 0: a failed read is tried again while it can come right, and is never "succeeded, no results"'
)

_VICTIM: Final = (
    Write(name="first", data=f'first\n"{MARK}" \u00e9'.encode()),
    Write(name="second", data=f"second {MARK}".encode()),
    Write(name="third", data=b""),
    Write(name="list", data=f'["{MARK}","b"]'.encode(), type="array", value=[MARK, "b"]),
    Write(name="never"),
)
_OTHER: Final = (
    Write(name="first", data=f"of another {MARK}".encode()),
    Write(name="second", data=f"another second {MARK}".encode()),
    Write(name="third", data=f"not empty {MARK}".encode()),
    Write(name="list", data=f'["{MARK}"]'.encode(), type="array", value=[MARK]),
    Write(name="never", data=f"written {MARK}".encode()),
)

_SHOWN: Final = 400

_LONG: Final = 100_000_000
_HELD: Final = 16 * 1024 * 1024
"""Bytes that may be held for one log while a value may have 4096 bytes."""

_FAULTS: Final[dict[str, type[ClusterError]]] = {
    "not-found": NotFoundError,
    "forbidden": ForbiddenError,
    "unavailable": UnavailableError,
}


def victims(runs: Runs) -> tuple[Life, Life]:
    """The run whose way is damaged, and another one of the same Task."""
    victim, other = runs.together(victim=_VICTIM, other=_OTHER)
    return victim, other


def fault_of(world: World, life: Life, outcome: Outcome, *, strict: bool, cut: bool, final: bool) -> str:
    """What is wrong with what came of a damaged way; empty if nothing is.

    Args:
        world: With the backend.
        life: The run that was read.
        outcome: What came of it.
        strict: The backend says that it notices all damage.
        cut: Something was only taken away: even without digests no value may be another one.
        final: It was the last try.
    """
    if outcome.error is not None:
        if (stranger := stranger_of(outcome.error)) is not None:
            return f"{ONLY_OURS}\n  extract raised {type(stranger).__name__}"
        return f"{ONLY_OURS}\n  the last try raised {outcome.error}" if final else ""
    if outcome.collected is None or not outcome.ok or not (strict or cut):
        return ""
    if told := differences(world, life, outcome.collected, missing=strict):
        return f"{NEVER_WRONG}\n  the run succeeds, and {'; '.join(told)}"
    return ""


def stranger_of(error: BaseException) -> BaseException | None:
    """The exception behind an error that is none of resultsfw's own; the core wraps what a hook raises."""
    if not isinstance(error, ResultsError):
        return error
    cause = error.__cause__
    wrapped = type(error) is BackendError and cause is not None and not isinstance(cause, ResultsError)
    return cause if wrapped else None


class HostileCases(Base):
    """Damage, faults and floods, wherever the backend reads."""

    @pytest.mark.parametrize("kind", DAMAGE)
    def test_damaged(self, world: World, runs: Runs, kind: str) -> None:
        """The bytes on the way are damaged: noticed, or without effect."""
        life, other = victims(runs)
        others = {_plain(one, other): one.true for one in surfaces_of(world, other)}
        surfaces = surfaces_of(world, life)
        if not surfaces:
            _unseen(world)
        for surface in surfaces:
            foreign = others.get(_plain(surface, life), b"")
            for data in DAMAGE[kind](surface.true, foreign):
                _judge(world, life, surface, data, cut=kind in CUTS)

    def test_damaged_at_random(self, world: World, runs: Runs) -> None:
        """Any piece of the bytes on the way is replaced by any other bytes. The same damage on each run."""
        life, _ = victims(runs)
        surfaces = surfaces_of(world, life)
        if not surfaces:
            _unseen(world)

        @settings(max_examples=150, deadline=None, database=None, derandomize=True)
        @given(st.data())
        def damaged(data: st.DataObject) -> None:
            surface = data.draw(st.sampled_from(surfaces))
            size = len(surface.true)
            start = data.draw(st.integers(0, size))
            end = data.draw(st.integers(start, min(size, start + 40)))
            piece = data.draw(
                st.binary(max_size=40) | st.sampled_from([surface.true[:30], surface.true[-30:]])
            )
            _judge(world, life, surface, surface.true[:start] + piece + surface.true[end:], cut=False)

        damaged()

    def test_objects_of_other_shapes(self, world: World, runs: Runs) -> None:
        """An object that is read has parts of another type, or lacks them."""
        life, _ = victims(runs)
        requests = asked_in(world, life)
        read = [(one, one.kind) for one in requests if one.kind is not None and one.verb == "get"]
        if not read:
            closed("what it reads", "it reads no object of the cluster")
        for asked, kind in read:
            found = world.store.get(kind, asked.namespace, asked.name)
            for shape in _shapes(found):
                changed = Changed(world.cluster, obj=_always(shape))
                for final in (False, True):
                    outcome = world.collect(life, cluster=changed, final=final)
                    strict = world.capabilities.verified
                    if fault := fault_of(world, life, outcome, strict=strict, cut=False, final=final):
                        breach(fault, f"[{kind.kind} {asked.name} has another shape than it should]")

    def test_a_message_that_the_kubelet_cuts(self, world: World, runs: Runs) -> None:
        """Messages over the pod's budget are cut: the run fails, or all came another way."""
        life, _ = victims(runs)
        true = world.collect(life).collected
        without = world.collect(life, pod=_without_messages(life.pod)).collected
        if true is not None and without is not None and true.results == without.results:
            closed("what it reads", "it reads no termination message")
        writes = [Write(name=f"r{number}", size=1150) for number in range(3)]
        with world.cutting() as other:
            # A second Step leaves each container 3072 bytes, and a Step may write 4096.
            cut = other.ended([*writes, Write(name="own", data=MARK.encode(), step="second")])
            outcome = other.collect(cut)
            if fault := fault_of(other, cut, outcome, strict=True, cut=True, final=False):
                breach(fault, "[a termination message of some 3600 bytes, cut at 3072]")
            if outcome.collected and (told := differences(other, cut, outcome.collected, missing=False)):
                breach(NEVER_WRONG, f"what is kept beside the failure is wrong: {'; '.join(told)}")

    def test_an_endless_line(self, world: World, runs: Runs) -> None:
        """A line of 100 MB: reading stops, holds little of it, and the run does not succeed."""
        life, _ = victims(runs)
        if not any(one.verb == "log" for one in asked_in(world, life)):
            closed("what it reads", "it reads no log")
        changed = Changed(world.cluster, log=lambda _, __: endless(_LONG))
        tracemalloc.start()
        try:
            outcome = world.collect(life, cluster=changed, final=True)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        if peak > _HELD:
            breach(
                ENDLESS,
                f"for a line of {_LONG} bytes {peak} were held at once, of {changed.pulled} read; values may "
                f"have {world.limits().result_bytes} here: read_log takes a limit, and stops where you stop",
            )
        if fault := fault_of(world, life, outcome, strict=True, cut=False, final=True):
            breach(fault, f"[a log of one line of {_LONG} bytes]")
        if outcome.ok:
            breach(ENDLESS, "the run succeeds")

    @pytest.mark.parametrize("when", ["at-once", "in-the-middle"])
    @pytest.mark.parametrize("fault", _FAULTS)
    def test_fault(self, world: World, runs: Runs, fault: str, when: str) -> None:
        """The cluster fails: with a next try to come the error goes through; at the last it is a problem."""
        life, _ = victims(runs)
        reads = [one for one in asked_in(world, life) if one.verb in ("log", "get")]
        if not reads:
            closed("what it reads", "it reads nothing through the cluster")
        gets = sum(one.verb == "get" for one in reads)
        if when == "in-the-middle" and gets == len(reads) == 1:
            closed("what it reads", "one object has no middle")
        after = 0 if when == "at-once" else 40 if gets == 0 else gets - 1
        raised = _FAULTS[fault]

        def failing() -> Failing:
            return Failing(world.store, raised(f"the suite says: {fault}"), after=after)

        first = world.collect(life, cluster=failing())
        _fault_told(first, raised, final=False)
        last = world.collect(life, cluster=failing(), final=True)
        _fault_told(last, raised, final=True)


def _fault_told(outcome: Outcome, raised: type[ClusterError], *, final: bool) -> None:
    """Fail unless a fault of the cluster's was told as it should be."""
    which = "at the last try" if final else "with a next try to come"
    if outcome.ok:
        breach(FAULTS, f"the cluster raised {raised.__name__} {which}, and the run succeeds")
    if final and outcome.error is not None:
        breach(FAULTS, f"the cluster raised {raised.__name__} {which}, and so did collect: {outcome.error}")
    if final or not raised.retryable:
        return
    if outcome.collected is not None:
        breach(
            FAULTS,
            f"the cluster raised {raised.__name__} {which}, and the verdict is there already: "
            f"{problems_in_words(outcome.collected)}. Let a ClusterError through",
        )
    if not getattr(outcome.error, "retryable", False):
        breach(
            FAULTS, f"the cluster raised {raised.__name__}, which can come right; out came {outcome.error!r}"
        )


def _judge(world: World, life: Life, surface: Surface, data: bytes, *, cut: bool) -> None:
    """Read through those bytes, with a next try and without; fail where a guarantee is broken."""
    strict = world.capabilities.verified
    with surface.put(data) as collect:
        for final in (False, True):
            outcome = collect(final)
            if fault := fault_of(world, life, outcome, strict=strict, cut=cut, final=final):
                breach(
                    fault,
                    f"[in place of {surface.name}: {_clipped(data)}; in truth {_clipped(surface.true)}]",
                )


def _without_messages(pod: Object) -> Object:
    bare: Object = jsons.copy(pod)
    for one in [one for key in STATUSES for one in bare["status"].get(key) or ()]:
        one.get("state", {}).get("terminated", {}).pop("message", None)
    return bare


def _always(shape: Object) -> Callable[[Asked, Object], Object]:
    return lambda _, __: {**shape}


def _clipped(data: bytes) -> str:
    return f"{data!r}" if len(data) <= _SHOWN else f"{data[:200]!r}...{data[-200:]!r} ({len(data)} bytes)"


def _plain(surface: Surface, life: Life) -> str:
    """A surface's name without what tells runs apart: to find the same one of another run."""
    name = surface.name
    for text in (life.run.uid, life.pod["metadata"]["uid"], life.name, life.run.name):
        name = name.replace(text, "*")
    return name


def _unseen(world: World) -> None:
    can = world.capabilities
    closed(
        f'external_state="{can.external_state}"',
        'it reads nothing that the suite can see: give a fixture "backend_outside", a mutable mapping from '
        "names to the bytes that are kept",
    )


def _shapes(obj: Object) -> Iterable[Object]:
    """The object with parts of it gone or of another type."""
    yield {"metadata": obj["metadata"]}
    for key in obj:
        if key in ("apiVersion", "kind", "metadata"):
            continue
        yield {one: value for one, value in obj.items() if one != key}
        for other in TYPES:
            yield {**obj, key: other}
        if isinstance(obj[key], dict):
            for name in obj[key]:
                yield {**obj, key: {one: value for one, value in obj[key].items() if one != name}}
                for other in TYPES:
                    yield {**obj, key: {**obj[key], name: other}}
