"""Watch events of TaskRuns and pods become reconcile requests."""

import json

import captures
import pytest
from controllerharness import MANAGED_BY, taskrun
from hypothesis import given
from hypothesis import strategies as st
from taskrunharness import ScriptedReconciler, TaskRunHarness

from resultsfw.controller.cache_transforms import trim_pod, trim_taskrun
from resultsfw.controller.controller import LiveReconciler
from resultsfw.controller.ownership import TASKRUN_LABEL, taskrun_of
from resultsfw.controller.taskruns import PENDING_DELAY, PROGRESS_DELAY, enqueue_delay, pod_fingerprint
from resultsfw.errors import BackendError, ClusterError, ConflictError, NotFoundError, UnavailableError
from resultsfw.lifetime import ClosedError, Lifetime


@pytest.fixture
def made():
    found = []

    def make(managed_by=MANAGED_BY, threads=1):
        harness = TaskRunHarness(managed_by, threads)
        found.append(harness)
        return harness

    yield make
    for controller in found:
        controller.queue.shut_down_with_drain(5)


def seen(name, version="1", managed_by=MANAGED_BY, **status):
    run = taskrun(name, managed_by)
    run["metadata"]["resourceVersion"] = version
    return {**run, "status": status}


def done(name, **status):
    return seen(name, conditions=[{"type": "Succeeded", "status": "True"}], **status)


def pod(name, phase="Running", **metadata):
    owner = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": name}
    return {
        "metadata": {"namespace": "runs", "name": f"{name}-pod", "ownerReferences": [owner], **metadata},
        "status": {"phase": phase},
    }


def count(controller, result):
    return controller.metrics.work._reconciles.labels("TaskRun", result)._value.get()


def test_only_selected_runs_are_reconciled(made):
    harness = made()
    harness.on_taskrun("ADDED", seen("theirs", managed_by="somebody/else"))
    harness.on_taskrun("ADDED", seen("ours"))
    harness.on_pod("ADDED", pod("theirs"))
    harness.on_pod("ADDED", pod("unknown"))
    harness.start()
    harness.reconciler.wait(1)
    harness.queue.shut_down_with_drain(5)
    assert harness.reconciler.seen == [("runs", "ours")]


def test_without_managed_by_every_run_is_selected(made):
    harness = made(managed_by="")
    harness.on_taskrun("ADDED", seen("any", managed_by="somebody/else"))
    harness.start()
    harness.reconciler.wait(1)


def test_a_pod_event_enqueues_its_taskrun_and_that_of_a_pending_pod_is_delayed(made):
    harness = made()
    harness.on_taskrun("ADDED", seen("r"))
    assert harness.queue.get(0) == ("runs", "r")
    harness.queue.done(("runs", "r"))
    harness.on_pod("MODIFIED", pod("r", "Pending"))
    assert (len(harness.queue), harness.queue.delayed) == (0, 1)
    harness.on_pod("MODIFIED", pod("r"))
    assert len(harness.queue) == 1
    for late in (pod("r", "Pending", deletionTimestamp="t"), pod("r", "Pending")):
        harness.queue.get(0)
        harness.queue.done(("runs", "r"))
        harness.on_pod("DELETED", late)
        assert len(harness.queue) == 1


def test_a_taskrun_whose_pod_waits_or_has_ended_is_reconciled_before_new_ones(made):
    """With a thousand new TaskRuns, those that are finished would else wait for all of them."""
    harness = made()
    for name in ("pending", "waits", "ended"):
        harness.on_taskrun("ADDED", seen(name))
        harness.queue.done(harness.queue.get(0))
    for number in range(5):
        harness.on_taskrun("ADDED", seen(f"new-{number}"))
    harness.on_pod("MODIFIED", pod("pending", "Pending"))
    harness.on_pod("MODIFIED", pod("waits"))
    harness.on_pod("MODIFIED", pod("ended", "Succeeded"))
    first = [harness.queue.get(0) for _ in range(3)]
    assert first == [("runs", "waits"), ("runs", "ended"), ("runs", "new-0")]


def container(name, **state):
    return {"name": name, "state": state}


def begun(*containers, phase="Running", ready=True, **status):
    annotations = {"tekton.dev/ready": "READY"} if ready else {}
    status["containerStatuses"] = list(containers)
    return {"metadata": {"annotations": annotations}, "status": {"phase": phase, **status}}


WAITS = {"waiting": {"reason": "PodInitializing"}}
RUNS = {"running": {}}
ENDED = {"terminated": {"exitCode": 0}}
FAILED = {"terminated": {"exitCode": 1}}


@pytest.mark.parametrize(
    ("obj", "pause"),
    [
        (begun(phase="Pending"), PENDING_DELAY),
        (begun(container("step-a", **WAITS), phase="Pending"), PENDING_DELAY),
        (
            begun(container("step-a", waiting={"reason": "ImagePullBackOff"}), phase="Pending"),
            PROGRESS_DELAY,
        ),
        (begun(phase="Pending", initContainerStatuses=[container("prepare", **FAILED)]), PROGRESS_DELAY),
        (begun(container("step-a", **RUNS), ready=False), 0),
        (begun(container("step-a", **RUNS), container("step-b", **RUNS)), PROGRESS_DELAY),
        (begun(container("step-a", **ENDED), container("step-b", **RUNS)), PROGRESS_DELAY),
        (begun(container("step-a", **FAILED), container("step-b", **RUNS)), 0),
        (begun(container("step-a", **ENDED), container("sidecar-s", **RUNS)), 0),
        (begun(container("step-a", **ENDED), phase="Succeeded"), 0),
        (begun(phase="Failed"), 0),
    ],
)
def test_pod_events_that_a_run_awaits_are_enqueued_at_once_and_others_delayed(obj, pause):
    assert enqueue_delay(obj) == pause
    assert enqueue_delay({**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "t"}}) == 0


def test_a_pod_event_that_no_reconciliation_reads_enqueues_nothing(made):
    """A pod gets its addresses in changes of their own; the release of its first Step comes back to us."""
    harness = made()
    harness.on_taskrun("ADDED", seen("r"))
    first = pod("r")
    changes = [
        (first, True),
        ({**first, "status": {**first["status"], "podIP": "10.0.0.1"}}, False),
        (pod("r", annotations={"tekton.dev/ready": "READY"}), False),
        (pod("r", annotations={"resultsfw.dev/stopped": "{}"}), True),
        (pod("r", annotations={"resultsfw.dev/stopped": "{}"}, deletionTimestamp="t"), True),
        (pod("r", annotations={"resultsfw.dev/stopped": "{}"}, deletionTimestamp="t", uid="other"), True),
    ]
    for changed, looked_at in changes:
        while harness.queue.get(0):
            harness.queue.done(("runs", "r"))
        harness.on_pod("MODIFIED", changed)
        assert bool(len(harness.queue)) is looked_at, changed


@given(
    change=st.sampled_from(["phase", "reason", "message", "conditions", "containerStatuses"]), data=st.data()
)
def test_the_fingerprint_changes_with_every_field_that_a_reconciliation_reads(change, data):
    values = st.recursive(
        st.text(), lambda inner: st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
    )
    before, after = data.draw(values), data.draw(values)
    sights = [pod_fingerprint({"metadata": {}, "status": {change: value}}) for value in (before, after)]
    assert (sights[0] == sights[1]) is (before == after)


def test_a_deleted_run_is_not_enqueued(made):
    harness = made()
    harness.on_taskrun("ADDED", seen("r"))
    harness.on_taskrun("DELETED", seen("r"))
    harness.on_pod("DELETED", pod("r"))
    assert harness.queue.get(0) is None


def test_a_finished_run_is_reconciled_only_while_its_pod_exists(made):
    harness = made()
    harness.pods.names.add("b-pod")
    harness.on_taskrun("ADDED", done("a", podName="a-pod"))
    harness.on_taskrun("ADDED", done("b", podName="b-pod"))
    harness.on_taskrun("ADDED", done("c", podName=""))
    harness.start()
    harness.reconciler.wait(1)
    harness.on_taskrun("ADDED", seen("d"))
    harness.reconciler.wait(2)
    assert harness.reconciler.seen == [("runs", "b"), ("runs", "d")]


def test_a_conflict_is_requeued_soon_without_a_log_line(made, caplog):
    harness = made()
    harness.reconciler.answers = [ConflictError("changed")]
    harness.on_taskrun("ADDED", seen("r"))
    harness.start()
    harness.reconciler.wait(2)
    assert count(harness, "conflict") == 1
    assert not caplog.records


@pytest.mark.parametrize(
    ("error", "result", "level"),
    [
        (UnavailableError("away", subject="Pod runs/r-pod"), "retry", "WARNING"),
        (NotFoundError("no Task"), "failed", "ERROR"),
        (ClusterError("refused"), "failed", "ERROR"),
        (BackendError("broken", subject="mine"), "failed", "ERROR"),
        (RuntimeError("a bug"), "bug", "ERROR"),
    ],
)
def test_a_failed_reconciliation_is_logged_counted_and_requeued_and_others_continue(
    made, caplog, error, result, level
):
    harness = made()
    harness.reconciler.answers = [error]
    harness.on_taskrun("ADDED", seen("r"))
    harness.on_taskrun("ADDED", seen("other"))
    harness.start()
    harness.reconciler.wait(3)
    assert harness.reconciler.seen.count(("runs", "r")) == 2
    assert count(harness, result) == 1
    assert [record.levelname for record in caplog.records] == [level]
    if result == "bug":
        assert "TaskRun runs/r (backend none)" in caplog.text
        assert "a bug" in caplog.text
    assert harness.controller.is_healthy


def test_a_reconciliation_can_requeue_its_run(made):
    harness = made()
    harness.reconciler.answers = [0.01]
    harness.on_taskrun("ADDED", seen("r"))
    harness.start()
    harness.reconciler.wait(2)


def test_the_watch_event_of_an_own_write_enqueues_nothing_whenever_it_comes(made):
    harness = made()
    harness.own_writes.versions.add("own")
    harness.reconciler.answers = [lambda: harness.on_taskrun("MODIFIED", seen("r", "own"))]
    harness.on_taskrun("ADDED", seen("r"))
    harness.start()
    harness.reconciler.wait(1)
    harness.on_taskrun("MODIFIED", seen("r", "own"))
    harness.on_taskrun("ADDED", seen("next"))
    harness.reconciler.wait(2)
    assert harness.reconciler.seen == [("runs", "r"), ("runs", "next")]


def test_an_event_during_a_reconciliation_requeues_the_run(made):
    harness = made()
    harness.own_writes.versions.add("own")

    def meanwhile():
        harness.on_taskrun("MODIFIED", seen("r", "foreign"))
        harness.on_taskrun("MODIFIED", seen("r", "own"))

    harness.reconciler.answers = [meanwhile]
    harness.on_taskrun("ADDED", seen("r"))
    harness.start()
    harness.reconciler.wait(2)


def test_the_taskrun_of_a_pod_is_found_by_owner_reference_or_label():
    assert taskrun_of(pod("r")) == ("runs", "r")
    foreign = {"apiVersion": "v1", "kind": "TaskRun", "name": "r"}
    bare = {"metadata": {"namespace": "n", "ownerReferences": [foreign]}}
    assert taskrun_of(bare) is None
    labelled = {"metadata": {"namespace": "n", "labels": {"tekton.dev/taskRun": "r"}}}
    assert taskrun_of(labelled) == ("n", "r")


def test_other_controllers_objects_are_cached_with_their_identity_only(made, capture):
    harness = made()
    run = {
        **capture["tekton_final"],
        "metadata": {**capture["tekton_final"]["metadata"], "namespace": "runs"},
    }
    slim = harness.transform(run)
    assert len(json.dumps(slim)) < 1000
    harness.on_taskrun("ADDED", slim)
    for event in capture["pod_events"]:
        found = event["object"]
        found["metadata"]["namespace"] = "runs"
        slim = harness.index.trim_pod(found)
        assert slim["metadata"]["labels"] == found["metadata"]["labels"]
        assert "spec" not in slim


@pytest.mark.parametrize("name", captures.names())
def test_a_trimmed_pod_has_everything_a_reconciliation_reads(name):
    for event in captures.load(name)["pod_events"]:
        found = event["object"]
        slim = trim_pod(found)
        assert slim["status"] == found["status"]
        assert slim["spec"]["containers"] == found["spec"]["containers"]
        assert "managedFields" not in slim["metadata"]


def test_a_trimmed_finished_run_has_its_declared_results():
    final = captures.load("sl-step-results")["tekton_final"]
    slim = trim_taskrun(final)
    assert slim["status"]["conditions"] == final["status"]["conditions"]
    assert slim["status"]["taskSpec"].get("results") == final["status"]["taskSpec"].get("results")
    assert [step.get("results") for step in slim["status"]["taskSpec"]["steps"]] == [
        step.get("results") for step in final["status"]["taskSpec"]["steps"]
    ]
    assert "script" not in json.dumps(slim)
    final["status"]["retriesStatus"] = [final["status"]]
    assert len(trim_taskrun(final)["status"]["retriesStatus"]) == 1


def test_a_running_taskrun_is_cached_completely():
    run = seen("r", steps=[{"name": "one"}])
    run["metadata"]["managedFields"] = [1]
    slim = trim_taskrun(run)
    assert slim["spec"] == run["spec"]
    assert slim["status"] == run["status"]
    assert "managedFields" not in slim["metadata"]
    assert TASKRUN_LABEL == "tekton.dev/taskRun"


def test_the_reconciler_for_the_flags_in_effect_is_used_and_none_before():
    live, first, second = LiveReconciler(), ScriptedReconciler(), ScriptedReconciler()
    with pytest.raises(RuntimeError, match="no feature flags"):
        live.reconcile("runs", "r")
    first.answers, second.answers = [1.0], [2.0]
    for reconciler in (first, second):
        live.swap(reconciler, Lifetime("test", lambda: None))
        assert live.reconcile("runs", "r") == (1.0 if reconciler is first else 2.0)
    assert (first.seen, second.seen) == ([("runs", "r")], [("runs", "r")])


def test_a_reconciliation_keeps_its_flags_extensions_open_and_none_begins_with_closed_ones():
    live, ended = LiveReconciler(), []
    lifetime = Lifetime("manager", lambda: ended.append("old"))

    class Swapping:
        def reconcile(self, *_):
            live.swap(ScriptedReconciler(), Lifetime("manager", lambda: None))
            lifetime.close()
            assert ended == []
            return 3.0

    live.swap(Swapping(), lifetime)
    assert live.reconcile("runs", "r") == 3.0
    assert ended == ["old"]
    live.swap(ScriptedReconciler(), lifetime)
    with pytest.raises(ClosedError, match="this manager is closed"):
        live.reconcile("runs", "r")


def test_the_work_of_a_controller_is_measured(made):
    taskruns = made()
    metrics = taskruns.metrics
    metrics.work.watch({"TaskRun": taskruns.controller})
    for name in ("a", "b"):
        taskruns.on_taskrun("ADDED", seen(name))
    text = metrics.text().decode()
    assert taskruns.index.unfinished == 2
    assert 'resultsfw_workqueue_depth{kind="TaskRun"} 2.0' in text
    assert 'resultsfw_max_concurrent_reconciles{kind="TaskRun"} 1.0' in text
    assert 'resultsfw_active_workers{kind="TaskRun"} 0.0' in text
    assert 'resultsfw_workqueue_longest_running_processor_seconds{kind="TaskRun"} 0.0' in text
    request = taskruns.queue.get(0)
    taskruns.queue.done(request)
    taskruns.on_taskrun("DELETED", seen("b"))
    for result in ("done", "retry", "bug"):
        taskruns.controller.record_result(result)
    text = metrics.text().decode()
    assert taskruns.index.unfinished == 1
    assert 'resultsfw_workqueue_queue_duration_seconds_count{kind="TaskRun"} 1.0' in text
    assert 'resultsfw_workqueue_work_duration_seconds_count{kind="TaskRun"} 1.0' in text
    assert 'resultsfw_reconciles_total{kind="TaskRun",result="bug"} 1.0' in text
    assert 'resultsfw_workqueue_retries_total{kind="TaskRun"} 2.0' in text
