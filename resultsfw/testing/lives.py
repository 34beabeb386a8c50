"""The life of a run: when it is read, what a restart may cost, two at once, and what is left behind."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from resultsfw import jsons
from resultsfw.cluster import Kind, Object
from resultsfw.errors import NotFoundError, ResultsError
from resultsfw.testing.base import Base, Runs
from resultsfw.testing.clusters import Asked, Changed
from resultsfw.testing.damage import DAMAGE
from resultsfw.testing.hostile import victims
from resultsfw.testing.judging import (
    breach,
    closed,
    differences,
    must_be_true,
    problems_in_words,
)
from resultsfw.testing.surfaces import surfaces_of
from resultsfw.testing.tasks import MARK, Write, task_of
from resultsfw.testing.world import Life, World

__all__ = ["LifeCases"]

EARLY: Final = "guarantee 0: a run is never judged before its results can be there"
HANG: Final = "guarantee 0: never a hang: of a pod that is over, all is there to be read"
CRASH: Final = "guarantee 4: stopped between any two hooks and started again, it comes to the same"
APART: Final = "guarantee 7: two runs, and two attempts of one, do not see each other's results"
WHOLE: Final = "guarantee 1: every declared result that a Step wrote arrives whole"
LEFT: Final = "purge leaves nothing of this run outside the pod, and leaves other runs alone"

_WRITES: Final = (
    Write(name="first", data=f"first {MARK}".encode()),
    Write(name="second", data=f"second {MARK}".encode()),
    Write(name="own", data=f"own {MARK}".encode(), step="later"),
)


class LifeCases(Base):
    """Hook after hook, in every order that a cluster brings about."""

    def test_whole_run(self, world: World) -> None:
        """A TaskRun through the reconciler, from its creation to its status."""
        final = world.reconciled(task_of(_WRITES))
        (verdict,) = [one for one in final["status"]["conditions"] if one["type"] == "Succeeded"]
        if verdict["status"] != "True":
            breach(WHOLE, f"the TaskRun ended with {verdict['reason']}: {verdict['message']}")
        came = {one["name"] for one in final["status"].get("results") or ()}
        if came != {"first", "second"}:
            breach(WHOLE, f"status.results has {sorted(came)}, written were first and second")
        if world.capabilities.delivery == "value" and (
            values := [one["value"] for one in final["status"]["results"]]
        ) != [
            f"first {MARK}",
            f"second {MARK}",
        ]:
            breach(WHOLE, f"status.results has the values {values}")

    def test_a_step_that_fails_keeps_what_was_written(self, world: World, runs: Runs) -> None:
        """A Step writes and then fails: its results arrive beside the failure."""
        life = runs("failing", _WRITES[:2], fails=True)
        must_be_true(WHOLE, world, life, world.collect(life))

    def test_not_before_the_steps_have_ended(self, world: World) -> None:
        """While a Step still runs the backend is not ready, or says that it is too early."""
        life = world.prepare(_WRITES, held=True)
        world.start(life)
        world.follow(life, until=_is_held, what="come to its last Step")
        faults: list[str] = []
        _watch_early(world, life, life.pod, faults, "a Step still runs")
        world.let_go(life)
        world.follow(life, until=lambda pod: _seen(world, life, pod, faults))
        if faults:
            breach(EARLY, faults[0])
        must_be_true(WHOLE, world, life, world.collect(life))

    def test_ready_when_the_pod_is_over(self, world: World, runs: Runs) -> None:
        """When all containers have ended, the backend is ready, and reads at once."""
        life, _ = victims(runs)
        if not world.core().is_ready(life.run, life.pod):
            breach(
                HANG,
                "the pod is over and pod_ready says no: nothing will happen any more that could change that",
            )

    def test_not_before_its_own_containers_have_spoken(self, world: World, runs: Runs) -> None:
        """The Steps have ended, the backend's containers still run and have not said all."""
        life, _ = victims(runs)
        pod = jsons.copy(life.pod)
        steps = {step.container for step in life.run.steps}
        mine = {one["name"] for one in _containers(life.prepared)} - {
            one["name"] for one in _containers(life.bare)
        }
        if not mine - steps:
            closed("what it adds", "it adds no container that could be late")
        pod["status"]["phase"] = "Running"
        for one in _statuses(pod):
            if one["name"] in mine and "terminated" in one["state"]:
                one["state"] = {"running": {"startedAt": one["state"]["terminated"]["startedAt"]}}
        if not world.core().is_ready(life.run, pod):
            return
        for what, cluster in _unfinished(world, life):
            outcome = world.collect(life, pod=pod, cluster=cluster)
            if outcome.collected is None:
                if not getattr(outcome.error, "retryable", False):
                    breach(EARLY, f"{what}: that is told by no error which says try again: {outcome.error!r}")
            elif (told := differences(world, life, outcome.collected)) or not outcome.ok:
                breach(
                    EARLY,
                    f"{what}: pod_ready says yes, and the verdict is there already: {'; '.join(told)} "
                    f"[{problems_in_words(outcome.collected)}]. Return Extraction(too_early=True), or be "
                    f"ready later",
                )

    @pytest.mark.parametrize("between", ["prepare-and-ready", "ready-and-collect", "collect-and-purge"])
    def test_restart(self, world: World, runs: Runs, between: str) -> None:
        """The controller is started anew between two hooks; the plugin is imported anew with it."""
        life, _ = victims(runs)
        if between == "collect-and-purge":
            _skip_without_purge(world)
            life = world.ended(_WRITES)
        before = world.restarted()
        after = world.restarted() if between == "ready-and-collect" else before
        if not before.is_ready(life.run, life.pod):
            breach(CRASH, "the pod is over, and pod_ready says no")
        must_be_true(CRASH, world, life, world.collect(life, core=after), after)
        if between == "collect-and-purge":
            world.purge(life, core=world.restarted())
            _must_be_gone(CRASH, world, life)

    def test_prepare_twice(self, world: World) -> None:
        """Prepared, stopped before the pod was made, and prepared again: the same pod, one set of things."""
        life = world.prepare(_WRITES)
        for core in (world.core(), world.restarted()):
            try:
                again = core.prepare_pod(life.run, jsons.copy(life.bare), cluster=world.cluster)
            except ResultsError as error:
                breach(CRASH, f"prepare_pod meets what it made itself and raises {_told(error)}")
            if again != life.prepared:
                where = _first_difference(life.prepared, again)
                breach(CRASH, f"prepare_pod makes another pod the second time, at {where}")
        world.start(life)
        world.follow(life)
        must_be_true(CRASH, world, life, world.collect(life))
        world.purge(life)
        _must_be_gone(CRASH, world, life)

    def test_collect_twice(self, world: World, runs: Runs) -> None:
        """Collected, stopped before the status was written, and collected again."""
        life, _ = victims(runs)
        once = must_be_true(CRASH, world, life, world.collect(life))
        for core in (world.core(), world.restarted()):
            again = must_be_true(CRASH, world, life, world.collect(life, core=core), core)
            if once.results != again.results or once.step_results != again.step_results:
                breach(CRASH, "the second verdict is not the first")

    def test_purge_twice(self, world: World) -> None:
        """Purged, stopped before that was noted, and purged again, by a process that never saw the run."""
        _skip_without_purge(world)
        life = world.ended(_WRITES)
        for core in (world.core(), world.core(), world.restarted()):
            try:
                world.purge(life, core=core)
            except ResultsError as error:
                breach(CRASH, f"purge raises {_told(error)}. What is gone already is purged")

    def test_purge_without_a_pod(self, world: World) -> None:
        """A run whose pod was never made, and one that has nothing left, can be purged."""
        _skip_without_purge(world)
        life = world.prepare(_WRITES)
        world.purge(life)
        _must_be_gone(LEFT, world, life)
        try:
            world.purge(life)
        except ResultsError as error:
            breach(LEFT, f"of a run that left nothing, purge raises {_told(error)}")

    def test_purge(self, world: World) -> None:
        """Nothing of the run is left; what another run keeps is."""
        _skip_without_purge(world)
        if world.capabilities.external_state == "elsewhere" and world.external_state is None:
            closed(
                'external_state="elsewhere"', 'give a fixture "backend_outside" to show what is kept there'
            )
        life, other = world.prepare(_WRITES), world.prepare(_WRITES)
        world.start(life, other)
        world.follow(life, other)
        must_be_true(LEFT, world, life, world.collect(life))
        world.purge(life)
        if mine := set(world.left(life)) - set(world.left(other)):
            breach(LEFT, f"left behind: {', '.join(sorted(mine))}")
        must_be_true(LEFT, world, other, world.collect(other))
        world.purge(other)
        _must_be_gone(LEFT, world, life)

    def test_two_runs_at_once(self, world: World, runs: Runs) -> None:
        """Two runs of one Task at the same time each get their own."""
        for life in victims(runs):
            must_be_true(APART, world, life, world.collect(life))

    def test_two_attempts(self, world: World, runs: Runs) -> None:
        """What only the first attempt wrote is no result of the second; what both wrote is the second's."""
        _, old = victims(runs)
        new = world.prepare(
            [Write(name="first", data=f"new {MARK}".encode()), Write(name="second")], attempt=1, of=old
        )
        world.start(new)
        world.follow(new)
        must_be_true(APART, world, new, world.collect(new))
        must_be_true(APART, world, old, world.collect(old))

    def test_purge_leaves_the_next_attempt(self, world: World) -> None:
        """What the first attempt left is purged while the second one runs."""
        _skip_without_purge(world)
        old = world.ended(_WRITES)
        new = world.prepare(_WRITES, attempt=1, of=old)
        world.start(new)
        world.purge(old)
        world.follow(new)
        must_be_true(APART, world, new, world.collect(new))
        world.purge(new)


def _skip_without_purge(world: World) -> None:
    if world.capabilities.external_state == "no":
        closed('external_state="no"', "it keeps nothing outside the pod")


def _must_be_gone(guarantee: str, world: World, life: Life) -> None:
    if left := world.left(life):
        breach(guarantee, f"left behind after purge: {', '.join(left)}")


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _seen(world: World, life: Life, pod: Object, faults: list[str]) -> bool:
    """Whether the pod is over; until then no verdict may be wrong."""
    over = pod["status"].get("phase") in ("Succeeded", "Failed")
    if not over:
        _watch_early(world, life, pod, faults, "the pod is not over")
    return bool(over)


def _watch_early(world: World, life: Life, pod: Object, faults: list[str], what: str) -> None:
    if faults or not world.core().is_ready(life.run, pod):
        return
    outcome = world.collect(life, pod=pod)
    if outcome.collected is not None and (told := differences(world, life, outcome.collected)):
        faults.append(f"{what}, pod_ready says yes, and the verdict has: {'; '.join(told)}")


def _is_held(pod: Object) -> bool:
    """Whether all Steps but the last have ended."""
    steps = [one for one in _statuses(pod) if one["name"].startswith("step-")]
    last = [one for one in steps if one["name"] == "step-hold"]
    rest = [one for one in steps if one["name"] != "step-hold"]
    return (
        bool(last and rest)
        and "running" in last[0]["state"]
        and all("terminated" in one["state"] for one in rest)
    )


def _unfinished(world: World, life: Life) -> list[tuple[str, Any]]:
    """Clusters on which the backend's containers have not said all yet: nothing, or a part."""
    found: list[tuple[str, Any]] = [
        ("of its log nothing is there yet", Changed(world.cluster, log=lambda _, __: (), obj=_as_made(life)))
    ]
    for surface in surfaces_of(world, life):
        if surface.name.startswith("log of"):
            found += [
                (f"of its log {len(data)} bytes are there yet", _with_log(world, data))
                for data in DAMAGE["cut"](surface.true, b"")
            ]
    return found


def _with_log(world: World, data: bytes) -> Changed:
    return Changed(world.cluster, log=lambda _, __: (data,))


def _as_made(life: Life) -> Callable[[Asked, Object], Object]:
    """Objects as they were when prepare_pod had made them: nothing was put in yet."""

    def first(asked: Asked, _: Object) -> Object:
        if asked.kind is None:
            raise NotFoundError("no log")
        place: tuple[Kind, str, str] = (asked.kind, asked.namespace, asked.name)
        if place not in life.fresh:
            raise NotFoundError(f"the suite says: {asked.kind.kind} {asked.name} is not there yet")
        made: Object = jsons.copy(life.fresh[place])
        return made

    return first


def _statuses(pod: Object) -> list[Object]:
    status = pod["status"]
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _containers(pod: Object) -> list[Object]:
    return [*(pod["spec"].get("initContainers") or ()), *(pod["spec"].get("containers") or ())]


def _first_difference(one: Any, other: Any, path: str = "pod") -> str:
    """Where two objects differ first."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                return _first_difference(one.get(key), other.get(key), f"{path}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            if mine != theirs:
                return _first_difference(mine, theirs, f"{path}[{index}]")
    return f"{path}: {one!r:.80} and {other!r:.80}"
