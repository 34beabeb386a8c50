"""Text that a tenant can write makes the controller import no backend."""

import sys

import pytest
from taskrun_harness import TaskRunHarness

from resultsfw import PODS
from resultsfw.cluster import Object
from resultsfw.core import ResultsManager
from resultsfw.errors import BackendNotAllowedError
from resultsfw.flags import ANNOTATION
from resultsfw.local.store import Store
from resultsfw.stamps import LIMIT_ANNOTATION, STAMP_ANNOTATION
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.tekton.taskrun.stamps import stamped_backends
from resultsfw.types import Reference, Stamp

INSTALLED = "config-map"
"""A backend that is installed, and that no flag here allows."""

FORGED = {STAMP_ANNOTATION: f"{INSTALLED}/1", LIMIT_ANNOTATION: "4096"}
REFERENCE = Reference(backend=INSTALLED, location="default/uid/l", size=1, digest=f"sha256:{'0' * 64}")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the backends that were imported."""
    module = sys.modules["resultsfw.plugin_registry"]
    names: list[str] = []
    load = module.load_backend

    def note(name: str, **more: object) -> object:
        names.append(name)
        return load(name, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "load_backend", note)
    return names


def verdict(harness: TaskRunHarness) -> Object:
    conditions = harness.taskrun.get("status", {}).get("conditions") or [{}]
    first: Object = conditions[0]
    return first


def a_pod(harness: TaskRunHarness, annotations: Object) -> None:
    """A pod in the name and with the owner of the run, as whoever may make pods can make it."""
    metadata = {"name": "run-pod", "namespace": "default", "annotations": annotations}
    metadata["ownerReferences"] = [{"kind": "TaskRun", "uid": harness.taskrun["metadata"]["uid"]}]
    pod = {"metadata": metadata, "spec": {"containers": [{"name": "step-build", "image": "i"}]}}
    Store.create(harness.cluster, PODS, pod)


def test_a_run_that_asks_for_it_is_refused_and_its_status_does_not_name_it(loaded):
    harness = TaskRunHarness({"results-from": "termination-message"})
    harness.submit(annotations={ANNOTATION: INSTALLED})
    harness.reconcile()
    assert verdict(harness)["reason"] == "TaskRunValidationFailed"
    assert stamped_backends(harness.taskrun) <= {"termination-message"}
    assert INSTALLED not in loaded


def test_a_pod_that_somebody_made_beforehand_is_not_believed(loaded):
    harness = TaskRunHarness({"results-from": "termination-message"})
    harness.submit(annotations={STAMP_ANNOTATION: f"{INSTALLED}/1"})
    a_pod(harness, FORGED)
    harness.reconcile()
    assert verdict(harness)["status"] == "False"
    assert INSTALLED in verdict(harness)["message"]
    assert INSTALLED not in loaded


def test_a_pods_stamp_that_somebody_changed_is_not_believed_for_ever(loaded):
    harness = TaskRunHarness({"results-from": "termination-message"})
    harness.submit()
    harness.reconcile()
    Store.patch(harness.cluster, PODS, "default", "run-pod", {"metadata": {"annotations": FORGED}})
    harness.kubelet("Succeeded", {"step-build": harness.ended()})
    for _ in range(20):
        harness.reconcile()
        harness.clock.forward(600)
        if verdict(harness).get("status") == "False":
            break
    assert verdict(harness)["reason"] == "TaskRunResultsUnreadable"
    assert INSTALLED in verdict(harness)["message"]
    harness.reconcile()  # what is left to clean up needs no backend
    assert INSTALLED not in loaded


def test_a_run_whose_pod_is_gone_is_not_read_by_what_its_annotation_says(loaded):
    harness = TaskRunHarness({"results-from": "sidecar-logs"})
    harness.submit()
    harness.reconcile()
    harness.kubelet("Running", {"step-build": harness.ended()})
    harness.reconcile()
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"metadata": {"annotations": FORGED}})
    Store.delete(harness.cluster, PODS, "default", "run-pod", grace_seconds=0)
    harness.reconcile()
    assert verdict(harness)["status"] == "False"
    assert INSTALLED not in loaded


def test_a_flag_that_changed_since_changes_not_how_a_pod_is_read():
    harness = TaskRunHarness({"results-from": "sidecar-logs"})
    harness.submit()
    harness.reconcile()
    harness.flags = {"results-from": "termination-message"}
    harness.restart()
    assert not harness.reconciler.core.allows("sidecar-logs")
    status = harness.taskrun["status"]["provenance"]["featureFlags"]
    assert status["resultExtractionMethod"] == "sidecar-logs"
    harness.finish("d")
    harness.reconcile()
    assert verdict(harness)["status"] == "True"
    assert harness.taskrun["status"]["results"][0]["value"] == "d"


def test_the_core_believes_its_caller_and_no_pod_and_no_reference(loaded):
    core = ResultsManager.from_flags({"results-from": "termination-message"})
    run = TaskRunHarness({"results-from": "termination-message"})
    run.submit()
    declares = run_of(run.taskrun, run.taskrun["spec"]["taskSpec"], attempt=0)
    pod = {"metadata": {"name": "p", "annotations": FORGED}, "spec": {"containers": []}, "status": {}}
    refused = [
        lambda: core.is_ready(declares, pod),
        lambda: core.is_ready(declares, pod, stamp=Stamp("termination-message", 0, 9)),
        lambda: core.collect(declares, pod, run.cluster),
        lambda: core.external_state(pod),
        lambda: core.purge(declares, pod, run.cluster),
        lambda: core.can_place_files(REFERENCE),
        lambda: core.dereference(REFERENCE, run.cluster),
        lambda: core.place_files(declares, pod, {"/a": REFERENCE}, {}),
    ]
    for ask in refused:
        with pytest.raises(BackendNotAllowedError, match="no flag allows"):
            ask()
    assert INSTALLED not in loaded
    core.is_ready(declares, pod, stamp=Stamp(INSTALLED, 1, 4096))
    assert INSTALLED in loaded


def test_what_flags_allow_is_believed_of_anybody():
    core = ResultsManager.from_flags({"allowed-results-from": INSTALLED})
    assert core.external_state({"metadata": {"annotations": FORGED}}) in ("no", "owned", "elsewhere")
    assert core.allows(INSTALLED)
    assert not core.allows("sidecar-logs")


@pytest.mark.parametrize("allowed", ["sidecar-logs", "config-map"])
def test_a_task_without_results_runs_whichever_backend_is_the_only_one_allowed(allowed):
    """Its pod has nothing to hand out and no stamp: it was taken for one of the default backend."""
    harness = TaskRunHarness({"results-from": allowed})
    harness.submit(taskSpec={"steps": [{"image": "i", "script": "true"}]})
    harness.reconcile()
    harness.reconcile()
    assert harness.taskrun["status"]["podName"] == "run-pod"
    assert verdict(harness)["status"] == "Unknown"
