"""What backends keep outside a pod: marked before the pod, purged after the verdict or with the run."""

from dataclasses import replace

import pytest
from taskrun_harness import TaskRunHarness

from resultsfw import PODS, Capabilities, ExtractedResult, Extraction, Reference, hookimpl
from resultsfw.core import ResultsManager
from resultsfw.errors import ForbiddenError, NotFoundError, TooEarlyError
from resultsfw.flags import ANNOTATION
from resultsfw.local.store import Store
from resultsfw.plugins import make_backend
from resultsfw.stamps import STAMP_ANNOTATION
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.taskrun.finalizers import FINALIZER, awaits_finalizer
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.tekton.taskrun.stamps import stamped_backends

MINE = f"{FINALIZER}mine"
REFERENCE = Reference(backend="mine", location="", size=1, digest=f"sha256:{'0' * 64}")


class Keeper:
    """A backend that keeps things; it notes what it was asked to purge."""

    def __init__(self, **says) -> None:
        self.capabilities = Capabilities(summary="keeps", **says)
        self.purged: list[tuple[str, int]] = []
        self.error: Exception | None = None
        self.values = [REFERENCE if says.get("delivery") == "reference" else "d"]

    @hookimpl
    def prepare_pod(self, cluster) -> int:
        assert cluster is not None
        if self.error is not None:
            raise self.error
        return 1

    @hookimpl
    def pod_ready(self) -> bool:
        return True

    @hookimpl
    def extract(self, run) -> Extraction:
        values = [
            replace(value, location=f"{run.namespace}/{run.uid}/value") if value is REFERENCE else value
            for value in self.values
        ]
        return Extraction(
            results=tuple(ExtractedResult(name="digest", value=value, source="s") for value in values)
        )

    @hookimpl
    def dereference(self):
        yield b""

    @hookimpl
    def purge(self, run) -> None:
        if self.error is not None:
            raise self.error
        self.purged.append((run.uid, run.attempt))


def harness_of(**says) -> tuple[TaskRunHarness, Keeper]:
    keeper = Keeper(**says)
    harness = TaskRunHarness({"results-from": "mine"}, mine=keeper)
    harness.submit()
    harness.reconcile()
    return harness, keeper


def run_of(harness: TaskRunHarness):
    return Store.get(harness.cluster, TASKRUNS, "default", "run")


def ended(harness: TaskRunHarness) -> None:
    harness.kubelet("Succeeded", {"step-build": harness.ended()})
    harness.reconcile()


def test_a_run_is_held_from_before_its_pod_if_its_backend_keeps_things_elsewhere():
    harness, _ = harness_of(external_state="elsewhere")
    assert run_of(harness)["metadata"]["finalizers"] == [MINE]
    verbs = [call for call in harness.cluster.calls if call in (("patch", "TaskRun"), ("create", "Pod"))]
    assert verbs == [("patch", "TaskRun"), ("create", "Pod")]  # in one write with the stamp


@pytest.mark.parametrize("external_state", ["no", "owned"])
def test_other_runs_are_not_held(external_state):
    harness, _ = harness_of(external_state=external_state)
    assert "finalizers" not in run_of(harness)["metadata"]


def test_values_are_purged_after_the_verdict_and_once_more_with_the_run():
    harness, keeper = harness_of(external_state="elsewhere")
    assert keeper.purged == []
    ended(harness)
    uid = run_of(harness)["metadata"]["uid"]
    assert set(keeper.purged) == {(uid, 0)}
    keeper.purged.clear()
    Store.delete(harness.cluster, TASKRUNS, "default", "run")
    assert awaits_finalizer(run_of(harness))
    harness.reconcile()
    assert keeper.purged == [(uid, 0)]
    with pytest.raises(NotFoundError):
        run_of(harness)


def test_what_references_stand_for_is_kept_until_the_run_is_deleted():
    harness, keeper = harness_of(external_state="elsewhere", delivery="reference")
    ended(harness)
    assert run_of(harness)["status"]["results"][0]["value"]["location"].endswith("/value")
    assert keeper.purged == []
    Store.delete(harness.cluster, PODS, "default", "run-pod", grace_seconds=0)
    Store.delete(harness.cluster, TASKRUNS, "default", "run")
    harness.reconcile()
    assert len(keeper.purged) == 1
    with pytest.raises(NotFoundError):
        run_of(harness)


def test_a_deleted_run_waits_for_its_pod_which_might_still_add_to_what_is_kept():
    harness, keeper = harness_of(external_state="elsewhere", delivery="reference")
    harness.kubelet("Running", {"step-build": harness.running()})
    Store.delete(harness.cluster, TASKRUNS, "default", "run")
    assert harness.reconcile() is not None
    assert keeper.purged == []
    assert Store.get(harness.cluster, PODS, "default", "run-pod")["metadata"]["deletionTimestamp"]
    Store.delete(harness.cluster, PODS, "default", "run-pod", grace_seconds=0)
    harness.reconcile()
    assert len(keeper.purged) == 1


def test_a_run_stays_until_its_purge_succeeds():
    harness, keeper = harness_of(external_state="elsewhere")
    ended(harness)
    keeper.error = ForbiddenError("no right to delete")
    Store.delete(harness.cluster, TASKRUNS, "default", "run")
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    assert run_of(harness)["metadata"]["finalizers"] == [MINE]
    keeper.error = None
    harness.reconcile()
    with pytest.raises(NotFoundError):
        run_of(harness)


def test_a_purge_that_takes_time_is_asked_for_again_without_an_error():
    harness, keeper = harness_of(external_state="elsewhere")
    ended(harness)
    keeper.error = TooEarlyError("a pod is removing it")
    Store.delete(harness.cluster, TASKRUNS, "default", "run")
    assert harness.reconcile() == 2
    assert run_of(harness)["metadata"]["finalizers"] == [MINE]
    keeper.error = None
    harness.reconcile()
    with pytest.raises(NotFoundError):
        run_of(harness)


def test_finalizers_of_others_stay():
    harness, _ = harness_of(external_state="elsewhere")
    ended(harness)
    both = {"metadata": {"finalizers": ["other.dev/mine", MINE]}}
    Store.patch(harness.cluster, TASKRUNS, "default", "run", both)
    Store.delete(harness.cluster, TASKRUNS, "default", "run")
    harness.reconcile()
    assert run_of(harness)["metadata"]["finalizers"] == ["other.dev/mine"]


def test_a_person_sees_why_a_backend_cannot_prepare_a_pod():
    keeper = Keeper(external_state="owned")
    keeper.error = ForbiddenError('may not create configmaps in "default"')
    harness = TaskRunHarness({"results-from": "mine"}, mine=keeper)
    harness.submit()
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    [condition] = run_of(harness)["status"]["conditions"]
    assert condition["status"] == "Unknown"
    assert "may not create configmaps" in condition["message"]
    keeper.error = None
    harness.reconcile()
    assert Store.get(harness.cluster, PODS, "default", "run-pod")


def test_what_earlier_attempts_left_goes_with_the_verdict_over_the_last():
    keeper = Keeper(external_state="elsewhere")
    harness = TaskRunHarness({"results-from": "mine"}, mine=keeper)
    harness.submit(retries=1)
    harness.reconcile()
    harness.kubelet("Failed", {"step-build": harness.ended(1)})
    harness.reconcile()
    harness.reconcile()
    assert keeper.purged == []
    harness.kubelet("Succeeded", {"step-build": harness.ended()}, name="run-pod-retry1")
    harness.reconcile()
    uid = run_of(harness)["metadata"]["uid"]
    assert set(keeper.purged) == {(uid, 0), (uid, 1)}


def deleted_with(harness: TaskRunHarness, *finalizers: str) -> None:
    """The run is deleted, and somebody gave it these finalizers before."""
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"metadata": {"finalizers": list(finalizers)}})
    Store.delete(harness.cluster, TASKRUNS, "default", "run")


def test_five_thousand_equal_finalizers_are_one_purge():
    harness, keeper = harness_of(external_state="elsewhere")
    ended(harness)
    keeper.purged.clear()
    harness.cluster.calls.clear()
    deleted_with(harness, *[MINE] * 5000)
    harness.reconcile()
    assert len(keeper.purged) == 1
    assert harness.cluster.calls.count(("patch", "TaskRun")) == 1
    with pytest.raises(NotFoundError):
        run_of(harness)


def test_a_thousand_finalizers_of_backends_the_run_never_had_import_nothing(monkeypatch):
    harness, keeper = harness_of(external_state="elsewhere")
    ended(harness)
    keeper.purged.clear()
    loaded = []
    monkeypatch.setattr("resultsfw.plugin_registry.load_backend", lambda name, **_: loaded.append(name))
    deleted_with(
        harness, "other.dev/x", MINE, *(f"{FINALIZER}none{number}" for number in range(1000)), FINALIZER
    )
    harness.reconcile()
    assert loaded == []
    assert len(keeper.purged) == 1
    assert run_of(harness)["metadata"]["finalizers"] == ["other.dev/x"]


def test_what_a_run_left_is_purged_though_the_flags_name_another_backend_now(monkeypatch):
    harness, keeper = harness_of(external_state="elsewhere")
    ended(harness)
    keeper.purged.clear()
    later = ResultsManager.from_flags({"results-from": "termination-message"})
    monkeypatch.setattr(
        "resultsfw.plugin_registry.load_backend", lambda name, **_: make_backend(name, keeper)
    )
    assert not later.allows("mine")
    harness.reconciler = Reconciler(later, harness.cluster, clock=harness.clock)
    Store.delete(harness.cluster, TASKRUNS, "default", "run")
    Store.delete(harness.cluster, PODS, "default", "run-pod", grace_seconds=0)
    harness.reconcile()
    assert len(keeper.purged) == 1
    with pytest.raises(NotFoundError):
        run_of(harness)


@pytest.mark.parametrize("attempts", [0, 1])
def test_only_what_the_controller_wrote_proves_that_a_run_had_a_backend(attempts):
    annotations = {STAMP_ANNOTATION: "forged/1", ANNOTATION: "forged"}
    metadata = {"annotations": annotations, "finalizers": [f"{FINALIZER}forged"]}
    known = {"provenance": {"featureFlags": {"resultExtractionMethod": "mine"}}}
    status = {"retriesStatus": [known]} if attempts else known
    assert stamped_backends({"metadata": metadata, "status": status}) == {"mine"}
    assert stamped_backends({"metadata": metadata}) == set()
