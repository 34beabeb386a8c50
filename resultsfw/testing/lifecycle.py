"""Test the lifecycle of a run: when it is read, restarts, two runs at once, and what purge leaves."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from resultsfw import jsons
from resultsfw.cluster import Kind, Object
from resultsfw.errors import NotFoundError, ResultsError
from resultsfw.testing.assertions import (
    assert_collected,
    assert_intact,
    describe_problems,
    differences,
    fail,
    skip,
)
from resultsfw.testing.base import Base, FinishedPods
from resultsfw.testing.clusters import ModifiedCluster, Request
from resultsfw.testing.corruption import CORRUPTIONS
from resultsfw.testing.harness import Harness, SamplePod
from resultsfw.testing.robustness import two_pods
from resultsfw.testing.sources import data_sources
from resultsfw.testing.tasks import VALUE_MARK, Write, make_task

__all__ = ["LifecycleCases"]

EARLY: Final = "guarantee 0: a run is never judged before its results can be there"
HANG: Final = "guarantee 0: no run hangs: when a pod has ended, everything in it can be read"
CRASH: Final = "guarantee 4: stopped between any two hooks and started again, it comes to the same"
APART: Final = "guarantee 7: two runs, and two attempts of one, do not see each other's results"
WHOLE: Final = "guarantee 1: every declared result that a Step wrote arrives whole"
LEFT: Final = "purge leaves nothing of this run outside the pod, and leaves other runs alone"

_WRITES: Final = (
    Write(name="first", data=f"first {VALUE_MARK}".encode()),
    Write(name="second", data=f"second {VALUE_MARK}".encode()),
    Write(name="own", data=f"own {VALUE_MARK}".encode(), step="later"),
)


class LifecycleCases(Base):
    """Call hook after hook, in every order that occurs on a cluster."""

    @pytest.mark.quick
    def test_whole_run(self, harness: Harness) -> None:
        """A TaskRun through the reconciler, from its creation to its status."""
        final = harness.reconcile(make_task(_WRITES))
        (verdict,) = [
            condition for condition in final["status"]["conditions"] if condition["type"] == "Succeeded"
        ]
        if verdict["status"] != "True":
            fail(WHOLE, f"the TaskRun ended with {verdict['reason']}: {verdict['message']}")
        came = {result["name"] for result in final["status"].get("results") or ()}
        if came != {"first", "second"}:
            fail(WHOLE, f"status.results has {sorted(came)}, written were first and second")
        if harness.capabilities.delivery == "value" and (
            values := [result["value"] for result in final["status"]["results"]]
        ) != [
            f"first {VALUE_MARK}",
            f"second {VALUE_MARK}",
        ]:
            fail(WHOLE, f"status.results has the values {values}")

    def test_a_step_that_fails_keeps_what_was_written(
        self, harness: Harness, finished_pods: FinishedPods
    ) -> None:
        """A Step writes and then fails: its results arrive beside the failure."""
        sample = finished_pods("failing", _WRITES[:2], fails=True)
        assert_intact(WHOLE, harness, sample, harness.collect(sample))

    def test_not_before_the_steps_have_ended(self, harness: Harness) -> None:
        """While a Step still runs the backend is not ready, or says that it is too early."""
        sample = harness.prepare(_WRITES, blocked=True)
        harness.start(sample)
        harness.follow(sample, until=_is_blocked, what="come to its last Step")
        faults: list[str] = []
        _watch_early(harness, sample, sample.pod, faults, "a Step still runs")
        harness.unblock(sample)
        harness.follow(sample, until=lambda pod: _is_over(harness, sample, pod, faults))
        if faults:
            fail(EARLY, faults[0])
        assert_intact(WHOLE, harness, sample, harness.collect(sample))

    @pytest.mark.quick
    def test_ready_when_the_pod_is_over(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """When all containers have ended, the backend is ready, and reads at once."""
        sample, _ = two_pods(finished_pods)
        if not harness.core().is_ready(sample.run, sample.pod):
            fail(
                HANG,
                "the pod is over and pod_ready says no: nothing will happen any more that could change that",
            )

    @pytest.mark.quick
    def test_not_before_its_own_containers_have_spoken(
        self, harness: Harness, finished_pods: FinishedPods
    ) -> None:
        """The Steps have ended, the backend's containers still run and have not delivered everything."""
        sample, _ = two_pods(finished_pods)
        pod = jsons.copy(sample.pod)
        steps = {step.container for step in sample.run.steps}
        mine = {container["name"] for container in _containers(sample.prepared)} - {
            container["name"] for container in _containers(sample.original)
        }
        if not mine - steps:
            skip("what it adds", "it adds no container that could be late")
        pod["status"]["phase"] = "Running"
        for status in _statuses(pod):
            if status["name"] in mine and "terminated" in status["state"]:
                status["state"] = {"running": {"startedAt": status["state"]["terminated"]["startedAt"]}}
        if not harness.core().is_ready(sample.run, pod):
            return
        for what, cluster in _unfinished(harness, sample):
            outcome = harness.collect(sample, pod=pod, cluster=cluster)
            if outcome.collected is None:
                if not getattr(outcome.error, "retryable", False):
                    fail(EARLY, f"{what}: no retryable error reports that: {outcome.error!r}")
            elif (wrong := differences(harness, sample, outcome.collected)) or not outcome.ok:
                fail(
                    EARLY,
                    f"{what}: pod_ready says yes, and the verdict is there already: {'; '.join(wrong)} "
                    f"[{describe_problems(outcome.collected)}]. Return Extraction(too_early=True), or be "
                    f"ready later",
                )

    @pytest.mark.parametrize("between", ["prepare-and-ready", "ready-and-collect", "collect-and-purge"])
    def test_restart(self, harness: Harness, finished_pods: FinishedPods, between: str) -> None:
        """The controller is started anew between two hooks; the plugin is imported anew with it."""
        sample, _ = two_pods(finished_pods)
        if between == "collect-and-purge":
            _skip_without_purge(harness)
            sample = harness.run_pod(_WRITES)
        before = harness.restarted_core()
        after = harness.restarted_core() if between == "ready-and-collect" else before
        if not before.is_ready(sample.run, sample.pod):
            fail(CRASH, "the pod is over, and pod_ready says no")
        assert_intact(CRASH, harness, sample, harness.collect(sample, core=after), after)
        if between == "collect-and-purge":
            harness.purge(sample, core=harness.restarted_core())
            _must_be_gone(CRASH, harness, sample)

    def test_prepare_twice(self, harness: Harness) -> None:
        """Prepared, stopped before the pod was made, and prepared again: the same pod, one set of things."""
        sample = harness.prepare(_WRITES)
        for core in (harness.core(), harness.restarted_core()):
            try:
                again = core.prepare_pod(sample.run, jsons.copy(sample.original), cluster=harness.cluster)
            except ResultsError as error:
                fail(CRASH, f"prepare_pod meets what it made itself and raises {_describe_error(error)}")
            if again != sample.prepared:
                where = _first_difference(sample.prepared, again)
                fail(CRASH, f"prepare_pod makes another pod the second time, at {where}")
        harness.start(sample)
        harness.follow(sample)
        assert_intact(CRASH, harness, sample, harness.collect(sample))
        harness.purge(sample)
        _must_be_gone(CRASH, harness, sample)

    @pytest.mark.quick
    def test_collect_twice(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """Collected, stopped before the status was written, and collected again."""
        sample, _ = two_pods(finished_pods)
        once = assert_intact(CRASH, harness, sample, harness.collect(sample))
        for core in (harness.core(), harness.restarted_core()):
            again = assert_intact(CRASH, harness, sample, harness.collect(sample, core=core), core)
            if once.results != again.results or once.step_results != again.step_results:
                fail(CRASH, "the second verdict is not the first")

    def test_purge_twice(self, harness: Harness) -> None:
        """Purged, stopped before that was noted, and purged again, by a process that never saw the run."""
        _skip_without_purge(harness)
        sample = harness.run_pod(_WRITES)
        for core in (harness.core(), harness.core(), harness.restarted_core()):
            try:
                harness.purge(sample, core=core)
            except ResultsError as error:
                fail(CRASH, f"purge raises {_describe_error(error)}. What is gone already is purged")

    def test_purge_without_a_pod(self, harness: Harness) -> None:
        """A run whose pod was never made, and a run that has nothing left, can be purged."""
        _skip_without_purge(harness)
        sample = harness.prepare(_WRITES)
        harness.purge(sample)
        _must_be_gone(LEFT, harness, sample)
        try:
            harness.purge(sample)
        except ResultsError as error:
            fail(LEFT, f"of a run that left nothing, purge raises {_describe_error(error)}")

    def test_purge(self, harness: Harness) -> None:
        """Nothing of the run is left; what another run keeps is."""
        _skip_without_purge(harness)
        if harness.capabilities.external_state == "elsewhere" and harness.external_state is None:
            skip(
                'external_state="elsewhere"',
                'give a fixture "backend_external_state" to show what is kept there',
            )
        sample, other = harness.prepare(_WRITES), harness.prepare(_WRITES)
        harness.start(sample, other)
        harness.follow(sample, other)
        assert_intact(LEFT, harness, sample, harness.collect(sample))
        harness.purge(sample)
        if mine := set(harness.remaining(sample)) - set(harness.remaining(other)):
            fail(LEFT, f"left behind: {', '.join(sorted(mine))}")
        assert_intact(LEFT, harness, other, harness.collect(other))
        harness.purge(other)
        _must_be_gone(LEFT, harness, sample)

    @pytest.mark.quick
    def test_two_runs_at_once(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """Two runs of one Task at the same time each get their own."""
        for sample in two_pods(finished_pods):
            assert_intact(APART, harness, sample, harness.collect(sample))

    def test_two_attempts(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """Nothing of the first attempt is a result of the second, whose own results are not all sound."""
        _, old = two_pods(finished_pods)
        written = {"first": f"new {VALUE_MARK}".encode(), "third": VALUE_MARK.encode() + b"\xe9"}
        writes = [replace(write, data=written.get(write.name), value=None) for write in old.writes]
        new = harness.prepare(writes, attempt=1, of=old)
        harness.start(new)
        harness.follow(new)
        collected = assert_collected(APART, harness.collect(new))
        if wrong := differences(harness, new, collected, damaged=False):
            fail(APART, f"{'; '.join(wrong)} [{describe_problems(collected)}]")
        for source in data_sources(harness, new):
            with source.put(source.true[: len(source.true) // 2]) as collect:
                cut = collect(True).collected
            if cut is not None and (wrong := differences(harness, new, cut, missing=False)):
                fail(APART, f"of {source.name} one half is lost: {'; '.join(wrong)}")
        assert_intact(APART, harness, old, harness.collect(old))

    def test_purge_leaves_other_attempts(self, harness: Harness) -> None:
        """What one attempt left is purged while others run: an earlier one, and one of a similar number."""
        _skip_without_purge(harness)
        purged = harness.prepare(_WRITES, attempt=1)
        harness.start(purged)
        harness.follow(purged)
        others = [harness.prepare(_WRITES, attempt=attempt, of=purged) for attempt in (0, 10)]
        harness.start(*others)
        harness.purge(purged)
        harness.follow(*others)
        for other in others:
            assert_intact(APART, harness, other, harness.collect(other))
        harness.purge(others[0])
        if (
            harness.capabilities.delivery == "value"
        ):  # by reference, the whole run is deleted: attempts may share
            assert_intact(APART, harness, others[1], harness.collect(others[1]))
        harness.purge(others[1])


def _skip_without_purge(harness: Harness) -> None:
    if harness.capabilities.external_state == "no":
        skip('external_state="no"', "it keeps nothing outside the pod")


def _must_be_gone(guarantee: str, harness: Harness, sample: SamplePod) -> None:
    if remaining := harness.remaining(sample):
        fail(guarantee, f"left behind after purge: {', '.join(remaining)}")


def _describe_error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _is_over(harness: Harness, sample: SamplePod, pod: Object, faults: list[str]) -> bool:
    """Return whether the pod is over; until then no verdict may be wrong."""
    over = pod["status"].get("phase") in ("Succeeded", "Failed")
    if not over:
        _watch_early(harness, sample, pod, faults, "the pod is not over")
    return bool(over)


def _watch_early(harness: Harness, sample: SamplePod, pod: Object, faults: list[str], what: str) -> None:
    if faults or not harness.core().is_ready(sample.run, pod):
        return
    outcome = harness.collect(sample, pod=pod)
    if outcome.collected is not None and (wrong := differences(harness, sample, outcome.collected)):
        faults.append(f"{what}, pod_ready says yes, and the verdict has: {'; '.join(wrong)}")


def _is_blocked(pod: Object) -> bool:
    """Return whether all Steps but the last have ended."""
    steps = [status for status in _statuses(pod) if status["name"].startswith("step-")]
    last = [status for status in steps if status["name"] == "step-hold"]
    rest = [status for status in steps if status["name"] != "step-hold"]
    return (
        bool(last and rest)
        and "running" in last[0]["state"]
        and all("terminated" in status["state"] for status in rest)
    )


def _unfinished(harness: Harness, sample: SamplePod) -> list[tuple[str, Any]]:
    """Return clusters on which the backend's containers have delivered nothing yet, or a part."""
    found: list[tuple[str, Any]] = [
        (
            "of its log nothing is there yet",
            ModifiedCluster(harness.cluster, log=lambda _, __: (), obj=_as_made(sample)),
        )
    ]
    for source in data_sources(harness, sample):
        if source.name.startswith("log of"):
            found += [
                (f"of its log {len(data)} bytes are there yet", _with_log(harness, data))
                for data in CORRUPTIONS["cut"](source.true, b"")
            ]
    return found


def _with_log(harness: Harness, data: bytes) -> ModifiedCluster:
    return ModifiedCluster(harness.cluster, log=lambda _, __: (data,))


def _as_made(sample: SamplePod) -> Callable[[Request, Object], Object]:
    """Objects as they were when prepare_pod had made them: nothing was put in yet."""

    def first(request: Request, _: Object) -> Object:
        if request.kind is None:
            raise NotFoundError("no log")
        place: tuple[Kind, str, str] = (request.kind, request.namespace, request.name)
        if place not in sample.created:
            raise NotFoundError(f"the suite says: {request.kind.kind} {request.name} is not there yet")
        made: Object = jsons.copy(sample.created[place])
        return made

    return first


def _statuses(pod: Object) -> list[Object]:
    status = pod["status"]
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _containers(pod: Object) -> list[Object]:
    return [*(pod["spec"].get("initContainers") or ()), *(pod["spec"].get("containers") or ())]


def _first_difference(left: Any, right: Any, path: str = "pod") -> str:
    """Return the path at which two objects differ first, and both values."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted({*left, *right}):
            if left.get(key) != right.get(key):
                return _first_difference(left.get(key), right.get(key), f"{path}.{key}")
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (mine, theirs) in enumerate(zip(left, right, strict=True)):
            if mine != theirs:
                return _first_difference(mine, theirs, f"{path}[{index}]")
    return f"{path}: {left!r:.80} and {right!r:.80}"
