"""One TaskRun from its creation to its verdict, over a real store; the kubelet's part is told by hand."""

import copy
import logging
from typing import Any

import pytest
from world import SIDECAR, KilledError, World

from resultsfw import PODS, Capabilities, ExtractedResult, Extraction, Kind, Object, ResultsManager, hookimpl
from resultsfw.errors import (
    BackendError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    LogUnavailableError,
    ResultsError,
    UnavailableError,
)
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS, TASKS
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.taskrun.reconciler import Reconciler


@pytest.fixture
def world() -> World:
    return World()


def test_from_creation_to_results(world):
    world.submit()
    world.step()
    status = world.taskrun["status"]
    assert status["podName"] == "run-pod"
    assert status["startTime"] == world.at()
    assert status["provenance"]["featureFlags"]["resultExtractionMethod"] == "sidecar-logs"
    assert world.taskrun["metadata"]["annotations"]["resultsfw.dev/stamp"] == "sidecar-logs/1"
    world.kubelet("Running", {"step-build": world.running(), SIDECAR: world.running()})
    world.step()
    assert world.pod()["metadata"]["annotations"]["tekton.dev/ready"] == "READY"
    assert world.condition["reason"] == "Running"
    world.finish()
    assert world.step() is None
    assert world.condition["status"] == "True"
    assert world.taskrun["status"]["results"] == [{"name": "digest", "type": "string", "value": "d"}]
    assert world.taskrun["status"]["steps"][0]["terminated"]["exitCode"] == 0


def test_nothing_is_written_when_nothing_changed(world):
    world.submit()
    world.step()
    world.kubelet("Running", {"step-build": world.running(), SIDECAR: world.running()})
    world.step()
    world.step()
    version = world.taskrun["metadata"]["resourceVersion"]
    world.clock.forward(5)
    world.step()
    assert world.taskrun["metadata"]["resourceVersion"] == version


@pytest.mark.slow
def test_law_4_killed_at_any_call_and_started_again_it_comes_to_the_same_end():
    """Guarantee 4: no second pod, no second extraction after the verdict, the same status."""
    whole = World()
    _drive(whole)
    wanted = whole.taskrun["status"]
    assert whole.condition["status"] == "True"
    for call in range(1, len(whole.cluster.calls) + 1):
        world = World()
        world.clock.now = whole.clock.now
        world.cluster.fail_at = call
        _drive(world)
        assert world.taskrun["status"] == wanted, f"killed at call {call}"
        assert len(world.cluster.list(PODS)) == 1
        reads = world.cluster.log_reads
        world.step()
        assert world.cluster.log_reads == reads


def _drive(world: World) -> None:
    """Take a run to its end, starting the controller anew each time it is killed."""
    world.submit()
    for _ in range(40):
        try:
            world.step()
        except KilledError:
            world.start()
            continue
        if is_done(world.taskrun):
            return
        pods = world.cluster.list(PODS)
        if pods and world.taskrun.get("status", {}).get("podName"):
            if pods[0]["metadata"].get("annotations", {}).get("tekton.dev/ready"):
                world.finish()
            else:
                world.kubelet("Running", {"step-build": world.running(), SIDECAR: world.running()})
    raise AssertionError("no end")


def test_a_conflict_is_left_to_the_caller(world):
    world.submit()
    world.step()
    world.kubelet("Running", {"step-build": world.running(), SIDECAR: world.running()})
    read = world.cluster.get

    def stale(kind: Kind, namespace: str, name: str) -> Object:
        found = read(kind, namespace, name)
        if kind == TASKRUNS:
            found["metadata"]["resourceVersion"] = "1"
        return found

    world.cluster.get = stale
    with pytest.raises(ConflictError):
        world.step()


def test_the_flag_flipped_while_a_pod_runs_does_not_change_how_it_is_read(world):
    world.submit()
    world.step()
    world.flags = {"results-from": "termination-message", "max-result-size": "1"}
    world.start()
    world.finish("longer than one byte")
    world.step()
    assert world.taskrun["status"]["results"][0]["value"] == "longer than one byte"
    assert world.taskrun["status"]["provenance"]["featureFlags"]["resultExtractionMethod"] == "sidecar-logs"


def test_a_run_may_choose_an_allowed_backend():
    world = World({"results-from": "sidecar-logs", "allowed-results-from": "termination-message"})
    world.submit(annotations={"resultsfw.dev/results-from": "termination-message"})
    world.step()
    assert world.pod()["metadata"]["annotations"]["resultsfw.dev/stamp"] == "termination-message/0"


def test_a_run_that_chooses_another_backend_is_refused_before_any_pod(world):
    world.submit(annotations={"resultsfw.dev/results-from": "termination-message"})
    world.step()
    assert world.condition["reason"] == "TaskRunValidationFailed"
    assert "allowed-results-from" in world.condition["message"]
    assert world.cluster.list(PODS) == []


def test_a_task_by_name(world):
    spec = {"results": [{"name": "digest"}], "steps": [{"name": "build", "image": "i", "command": ["true"]}]}
    task = {"metadata": {"name": "t", "namespace": "default"}, "spec": spec}
    world.cluster.create(TASKS, {"apiVersion": "tekton.dev/v1", "kind": "Task", **task})
    world.submit(taskSpec=None, taskRef={"name": "t"})
    world.step()
    assert world.taskrun["status"]["taskSpec"]["steps"][0]["name"] == "build"


def test_a_task_that_is_not_there_ends_the_run(world):
    world.submit(taskSpec=None, taskRef={"name": "none"})
    world.step()
    assert world.condition["reason"] == "TaskRunResolutionFailed"
    assert '"none"' in world.condition["message"]


def test_a_step_that_fails_keeps_the_results(world):
    world.submit()
    world.step()
    world.finish("kept", code=3)
    world.step()
    assert world.condition["reason"] == "StepFailed"
    assert world.condition["message"] == '"step-build" exited with code 3: Error'
    assert world.taskrun["status"]["results"][0]["value"] == "kept"


def test_a_failure_that_its_pipeline_ignores_says_so(world):
    world.submit(annotations={"pipeline.tekton.dev/pipeline-task-on-error": "continue"})
    world.step()
    world.finish("kept", code=3)
    world.step()
    told = (world.condition["status"], world.condition["reason"], world.condition["message"])
    assert told == ("False", "FailureIgnored", '"step-build" exited with code 3: Error')
    assert world.taskrun["status"]["results"][0]["value"] == "kept"


def test_law_0_a_forbidden_log_is_tried_again_and_then_is_the_verdict(world):
    """Guarantee 0: a failed read is retried while it can still come right, and then a failure of its own."""
    world.submit()
    world.step()
    world.finish()
    world.cluster.logs[SIDECAR] = ForbiddenError("pods/log is forbidden", subject="Pod default/run-pod")
    with pytest.raises(ForbiddenError):
        world.step()
    assert world.condition["status"] == "Unknown"
    assert world.condition["reason"] == "TaskRunResultsUnreadable"
    assert "cannot be read yet and are tried again (Forbidden): pods/log is" in world.condition["message"]
    assert world.taskrun["status"]["steps"][0]["terminated"]["exitCode"] == 0
    world.clock.forward(301)
    world.step()
    assert world.condition["status"] == "False"
    assert world.condition["reason"] == "TaskRunResultsUnreadable"
    assert "forbidden" in world.condition["message"]


def test_law_0_what_keeps_results_from_being_read_is_said_once_and_not_once_a_try(world):
    """Guarantee 0: never silence; but messages differ from try to try, and no status is written for that."""
    world.submit()
    world.step()
    world.finish()
    versions = set()
    for number in range(4):
        world.cluster.logs[SIDECAR] = UnavailableError(f"connection 0x{number} was cut")
        with pytest.raises(UnavailableError):
            world.step()
        versions.add(world.taskrun["metadata"]["resourceVersion"])
        world.clock.forward(10)
    assert len(versions) == 1
    assert "(Unavailable): connection 0x0 was cut" in world.condition["message"]
    world.cluster.logs[SIDECAR] = ForbiddenError("and now this")
    with pytest.raises(ForbiddenError):
        world.step()
    assert "(Forbidden): and now this" in world.condition["message"]


def test_law_0_a_read_that_fails_long_after_the_pods_end_is_tried_again(world):
    """Guarantee 0: a controller, or its API server, that was gone for long has all the time of any other."""
    world.submit()
    world.step()
    world.finish()
    good = world.cluster.logs[SIDECAR]
    world.clock.forward(3600)
    for error in (UnavailableError("coming up"), ForbiddenError("not yet"), UnavailableError("soon")):
        world.cluster.logs[SIDECAR] = error
        with pytest.raises(type(error)):
            world.step()
        world.clock.forward(149)
    world.cluster.logs[SIDECAR] = good
    world.step()
    assert world.condition["status"] == "True"


def test_law_0_errors_that_take_turns_do_not_make_the_time_longer(world):
    """Guarantee 0: never a hang."""
    world.submit()
    world.step()
    world.finish()
    for error in (UnavailableError("away"), ForbiddenError("no"), UnavailableError("away")):
        world.cluster.logs[SIDECAR] = error
        with pytest.raises(type(error)):
            world.step()
        world.clock.forward(149)
    world.start()
    world.step()
    assert world.condition["reason"] == "TaskRunResultsUnreadable"
    assert world.condition["status"] == "False"


class Broken:
    """A backend whose hooks fail: with a secret in the text, as foreign code may."""

    capabilities = Capabilities(summary="fails", external_state="owned")

    def __init__(self, *hooks: str) -> None:
        self.hooks = hooks

    @hookimpl
    def prepare_pod(self) -> int:
        return 1

    @hookimpl
    def pod_ready(self) -> bool:
        return self._or_fail("pod_ready", True)

    @hookimpl
    def extract(self) -> Extraction:
        return self._or_fail(
            "extract", Extraction(results=(ExtractedResult(name="digest", value="d", source="here"),))
        )

    @hookimpl
    def purge(self) -> None:
        self._or_fail("purge", None)

    def _or_fail(self, hook: str, answer: Any) -> Any:
        if hook in self.hooks:
            raise LookupError("password=hunter2")
        return answer


def _broken_world(*hooks: str) -> World:
    world = World({"results-from": "mine"}, mine=Broken(*hooks))
    world.submit()
    world.step()
    return world


def test_law_0_a_backend_that_fails_while_it_reads_is_said_by_its_type_and_then_is_the_verdict():
    """Guarantee 0: retried, visibly, and at last a failure; what foreign code says may hold a secret."""
    world = _broken_world("extract")
    world.kubelet("Succeeded", {"step-build": world.ended()})
    assert world.step() == 5
    assert world.condition["status"] == "Unknown"
    assert 'backend "mine" failed in extract: LookupError' in world.condition["message"]
    world.clock.forward(301)
    assert world.step() is None
    assert world.condition["status"] == "False"
    assert world.condition["reason"] == "TaskRunResultsUnreadable"
    assert "hunter2" not in str(world.cluster.list(TASKRUNS))


def test_law_0_a_backend_that_cannot_say_whether_a_pod_is_ready_is_asked_at_its_end():
    """Guarantee 0: never a hang. Its Sidecars may run for ever: the pod is stopped in time, and read."""
    world = _broken_world("pod_ready")
    world.kubelet("Running", {"step-build": world.ended()})
    while (again := world.step()) is not None and not is_done(world.taskrun):
        assert "failed in pod_ready: LookupError" in world.condition["message"]
        if "activeDeadlineSeconds" in world.pod()["spec"]:
            world.kubelet("Failed", {"step-build": world.ended()})
        world.clock.forward(again + 1)
    assert world.condition["status"] == "True"
    assert world.taskrun["status"]["results"][0]["value"] == "d"


def test_law_0_a_pod_whose_stamp_was_edited_ends_its_run():
    """Guarantee 0: never a hang."""
    world = _broken_world()
    edit = {"metadata": {"annotations": {"resultsfw.dev/stamp": "edited"}}}
    Store.patch(world.cluster, PODS, "default", "run-pod", edit)
    world.kubelet("Succeeded", {"step-build": world.ended()})
    assert world.step() == 5
    assert "not for editing" in world.condition["message"]
    world.clock.forward(301)
    with pytest.raises(BackendError, match="not for editing"):  # nobody knows what to purge, and that is said
        world.step()
    assert world.condition["status"] == "False"
    assert world.condition["reason"] == "TaskRunResultsUnreadable"


def test_a_backend_whose_purge_fails_keeps_no_sidecar_running():
    world = _broken_world("purge")
    pod = Store.get(world.cluster, PODS, "default", "run-pod")
    sidecar = {"name": "sidecar-mine", "image": "i"}
    Store.delete(world.cluster, PODS, "default", "run-pod")
    pod["spec"]["containers"].append(sidecar)
    del pod["metadata"]["resourceVersion"], pod["status"]
    Store.create(world.cluster, PODS, pod)
    world.kubelet("Running", {"step-build": world.ended(), "sidecar-mine": world.running()})
    with pytest.raises(BackendError, match="failed in purge"):
        world.step()
    assert world.condition["status"] == "True"
    assert world.pod()["spec"]["containers"][1]["image"] != "i"


def test_law_0_a_permission_granted_in_time_brings_the_results(world):
    """Guarantee 0: what comes right is a success."""
    world.submit()
    world.step()
    world.finish()
    good = world.cluster.logs[SIDECAR]
    world.cluster.logs[SIDECAR] = ForbiddenError("no")
    with pytest.raises(ForbiddenError):
        world.step()
    world.cluster.logs[SIDECAR] = good
    world.step()
    assert world.condition["status"] == "True"


def test_law_1_a_log_without_its_end_record_is_a_failure_that_keeps_what_came(world):
    """Guarantee 1: what did arrive whole is kept beside the failure."""
    world.submit()
    world.step()
    world.finish()
    world.sidecar_prints("kept", end=False)
    world.step()
    assert world.condition["reason"] == "TaskRunResultsIncomplete"
    assert world.taskrun["status"]["results"][0]["value"] == "kept"


def test_law_7_a_log_of_another_pod_is_refused(world):
    """Guarantee 7: a record of another attempt is no result of this one."""
    world.submit()
    world.step()
    world.finish()
    uid = world.pod()["metadata"]["uid"]
    log = world.cluster.logs[SIDECAR]
    assert isinstance(log, bytes)
    world.cluster.logs[SIDECAR] = log.replace(uid.encode(), b"f" * len(uid))
    world.step()
    assert world.condition["reason"] == "TaskRunResultsForeign"
    assert "results" not in world.taskrun["status"]


def _pod_runs(world: World, **spec: Any) -> None:
    world.submit(**spec)
    world.step()
    world.kubelet("Running", {"step-build": world.running(), SIDECAR: world.running()})
    world.step()


def test_cancelled_the_pod_is_stopped_gently_read_and_then_deleted(world):
    _pod_runs(world)
    patch = {"spec": {"status": "TaskRunCancelled", "statusMessage": "enough"}}
    Store.patch(world.cluster, TASKRUNS, "default", "run", patch)
    again = world.step()
    assert again is not None
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 1
    assert world.condition["status"] == "Unknown"
    world.sidecar_prints("saved")
    states = {"step-build": world.ended(143), SIDECAR: world.ended()}
    world.kubelet("Failed", states, reason="DeadlineExceeded", message="Pod was active too long")
    world.step()
    assert world.condition["reason"] == "TaskRunCancelled"
    assert world.condition["message"] == 'TaskRun "run" was cancelled. enough'
    assert world.taskrun["status"]["results"][0]["value"] == "saved"
    (step,) = world.taskrun["status"]["steps"]
    assert step["terminationReason"] == "TaskRunCancelled"
    assert (step["terminated"]["reason"], step["terminated"]["exitCode"]) == ("TaskRunCancelled", 143)
    assert world.cluster.list(PODS) == []


@pytest.mark.parametrize(("made", "now"), [(True, True), (True, False), (False, True)])
def test_the_pod_of_a_cancelled_run_is_kept_where_the_operator_wants_that(world, made, now):
    """keep-pod-on-cancel: set when the pod was made, or set now."""

    def start(keep):
        options = PodOptions(keep_pod_on_cancel=keep)
        core = ResultsManager.from_flags(world.flags)
        world.reconciler = Reconciler(core, world.cluster, options=options, clock=world.clock)

    start(made)
    _pod_runs(world)
    Store.patch(world.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    world.step()
    world.sidecar_prints("saved")
    world.kubelet("Failed", {"step-build": world.ended(143), SIDECAR: world.ended()})
    start(now)
    world.step()
    assert world.condition["reason"] == "TaskRunCancelled"
    assert world.taskrun["status"]["results"][0]["value"] == "saved"
    world.step()
    assert [one["metadata"]["name"] for one in world.cluster.list(PODS)] == ["run-pod"]


def test_cancelled_before_a_pod_exists(world):
    world.submit(status="TaskRunCancelled")
    world.step()
    assert world.condition["reason"] == "TaskRunCancelled"
    assert world.cluster.list(PODS) == []


def test_out_of_time(world):
    _pod_runs(world, timeout="90s")
    world.clock.forward(91)
    world.step()
    world.sidecar_prints("saved")
    world.kubelet("Failed", {"step-build": world.ended(143), SIDECAR: world.ended()})
    world.step()
    assert world.condition["reason"] == "TaskRunTimeout"
    assert world.condition["message"] == 'TaskRun "run" failed to finish within "1m30s"'
    assert world.taskrun["status"]["results"][0]["value"] == "saved"


def test_it_asks_to_look_again_when_time_will_be_up(world):
    _pod_runs(world, timeout="90s")
    world.clock.forward(11)
    world.step()
    assert world.step() == pytest.approx(80)  # a second more: the start is stored without its fraction


def test_a_kubelet_that_missed_the_release_is_told_once_more(world):
    """It would look again after a minute by itself; any change of the pod has it look at once."""
    _pod_runs(world)
    before = world.pod()["metadata"]
    assert before["annotations"]["tekton.dev/ready"] == "READY"
    assert world.step() == pytest.approx(10)
    assert world.pod()["metadata"] == before
    world.clock.forward(10)
    world.step()
    after = world.pod()["metadata"]
    assert after["annotations"]["tekton.dev/ready"] == "READY"
    assert after["resourceVersion"] != before["resourceVersion"]
    world.clock.forward(10)
    world.step()
    assert world.pod()["metadata"] == after


def test_a_kubelet_that_heard_the_release_is_not_told_again(world):
    world.submit()
    world.step()
    world.kubelet("Running", {"step-build": world.running(), SIDECAR: world.running()})
    world.step()
    world.kubelet("Running", {"step-build": world.ended(), SIDECAR: world.running()})
    before = world.pod()["metadata"]
    world.clock.forward(20)
    world.step()
    assert world.pod()["metadata"] == before


def test_a_stopped_pod_that_does_not_end_is_not_waited_for_for_ever(world):
    """Never a hang: a node that is gone sends no states."""
    _pod_runs(world, timeout="90s")
    world.clock.forward(91)
    world.step()
    world.clock.forward(30 + 31)
    world.step()
    assert world.condition["reason"] == "TaskRunTimeout"
    assert "could not be read" in world.condition["message"]


def test_a_step_killed_for_memory_ends_the_run_with_what_was_written(world):
    """The sidecar would wait for ever for a Step whose wrapper was killed with it (capture sl-step-oom)."""
    _pod_runs(world)
    world.kubelet("Running", {"step-build": world.ended(137, "OOMKilled"), SIDECAR: world.running()})
    world.step()
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 1
    world.sidecar_prints("saved")
    world.kubelet("Failed", {"step-build": world.ended(137, "OOMKilled"), SIDECAR: world.ended()})
    world.step()
    assert world.condition["reason"] == "StepOOM"
    assert world.condition["message"] == '"step-build" exited with code 137: OOMKilled'
    assert world.taskrun["status"]["results"][0]["value"] == "saved"


def test_a_sidecar_that_does_not_end_is_stopped_and_the_loss_is_told(world):
    _pod_runs(world)
    states = {"step-build": world.ended(), SIDECAR: world.running()}
    world.kubelet("Running", states)
    world.sidecar_prints("d", end=False)
    assert world.step() == pytest.approx(0.2)
    world.clock.forward(59)
    assert world.step() == pytest.approx(5)
    world.clock.forward(2)
    world.step()
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 1
    world.kubelet("Failed", states | {SIDECAR: world.ended(137)}, reason="DeadlineExceeded", message="late")
    world.step()
    assert world.condition["reason"] == "TaskRunResultsIncomplete"


def test_a_pod_deleted_by_somebody_ends_the_run_with_its_own_reason(world):
    _pod_runs(world)
    world.cluster.delete(PODS, "default", "run-pod", grace_seconds=30)
    world.clock.forward(5)
    world.sidecar_prints("saved")
    world.kubelet("Failed", {"step-build": world.ended(143), SIDECAR: world.ended()})
    world.step()
    assert world.condition["reason"] == "TaskRunPodDeleted"
    assert world.taskrun["status"]["results"][0]["value"] == "saved"


def test_a_pod_deleted_after_its_steps_failed_by_themselves_keeps_their_reason(world):
    _pod_runs(world)
    failed = world.ended(3)
    world.clock.forward(10)
    patch = {"metadata": {"deletionTimestamp": world.at(30), "deletionGracePeriodSeconds": 30}}
    pod = {**world.pod(), "metadata": world.pod()["metadata"] | patch["metadata"]}
    world.sidecar_prints("saved")
    world.kubelet("Failed", {"step-build": failed, SIDECAR: world.ended()})
    pod["status"] = world.pod()["status"]
    world.cluster.get = lambda kind, ns, name: (
        pod if kind == PODS else Store.get(world.cluster, kind, ns, name)
    )
    world.step()
    assert world.condition["reason"] == "StepFailed"


def test_a_pod_that_vanished_ends_the_run_and_is_not_made_again(world):
    """Tekton makes a second pod and runs the Steps again."""
    _pod_runs(world)
    world.cluster.delete(PODS, "default", "run-pod", grace_seconds=0)
    if world.cluster.list(PODS):
        world.cluster.confirm_deletion("default", "run-pod")
    world.step()
    assert world.condition["reason"] == "TaskRunPodDeleted"
    assert world.cluster.list(PODS) == []


def test_a_strangers_pod_of_that_name_is_not_touched(world):
    world.submit()
    _stranger(world)
    world.step()
    assert world.condition["reason"] == "PodCreationFailed"
    assert "belongs to somebody else" in world.condition["message"]


def test_a_retry_knows_its_number(world):
    """Seen on a real cluster: every attempt took itself for the first."""
    step = {"name": "build", "image": "i", "command": ["c"], "args": ["$(context.task.retry-count)"]}
    world.submit(retries=1, taskSpec={"results": [{"name": "digest"}], "steps": [step]})
    world.step()
    world.finish(code=1)
    world.step()
    world.step()
    pods = [world.pod(name)["spec"]["containers"][0]["args"] for name in ("run-pod", "run-pod-retry1")]
    assert [args[-1] for args in pods] == ["0", "1"]
    assert world.taskrun["status"]["taskSpec"]["steps"][0]["args"] == ["1"]


def test_retries_keep_the_earlier_attempts_and_read_only_their_own_pod(world):
    world.submit(retries=1)
    world.step()
    world.finish("first", code=1)
    assert world.step() == 0
    status = world.taskrun["status"]
    assert world.condition["reason"] == "ToBeRetried"
    assert "results" not in status
    assert status["retriesStatus"][0]["results"][0]["value"] == "first"
    assert status["retriesStatus"][0]["podName"] == "run-pod"
    world.step()
    assert world.taskrun["status"]["podName"] == "run-pod-retry1"
    world.sidecar_prints("second", pod="run-pod-retry1")
    states = {"step-build": world.ended(), SIDECAR: world.ended()}
    world.kubelet("Succeeded", states, name="run-pod-retry1")
    world.step()
    assert world.condition["status"] == "True"
    assert world.taskrun["status"]["results"][0]["value"] == "second"
    assert len(world.taskrun["status"]["retriesStatus"]) == 1


def test_a_cancelled_run_is_not_retried(world):
    _pod_runs(world, retries=3)
    Store.patch(world.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    world.step()
    world.sidecar_prints(None)
    world.kubelet("Failed", {"step-build": world.ended(143), SIDECAR: world.ended()})
    world.step()
    assert world.condition["reason"] == "TaskRunCancelled"


def test_sidecars_of_the_user_are_ended_after_the_verdict(world):
    task = {
        "results": [{"name": "digest", "type": "string"}],
        "steps": [{"name": "build", "image": "i", "script": "true"}],
        "sidecars": [{"name": "web", "image": "web:1", "command": ["serve"]}],
    }
    world.submit(taskSpec=task)
    world.step()
    states = {"step-build": world.running(), SIDECAR: world.running(), "sidecar-web": world.running()}
    world.kubelet("Running", states)
    world.step()
    world.sidecar_prints("d")
    world.kubelet("Running", states | {"step-build": world.ended(), SIDECAR: world.ended()})
    world.step()
    assert world.condition["status"] == "True"
    images = {c["name"]: c["image"] for c in world.pod()["spec"]["containers"]}
    assert "nop" in images["sidecar-web"]
    assert "nop" not in images["step-build"]


def test_law_2_results_that_one_object_cannot_hold_end_the_run_and_are_not_tried_again():
    """Guarantee 2: "request is too large" never loops; the message names the result, total and limit."""
    world = World({"results-from": "sidecar-logs", "max-result-size": "1572864"})
    world.submit()
    world.step()
    world.finish("x" * 1_565_000)
    assert world.step() is None
    assert world.condition["reason"] == "TaskRunResultLargerThanAllowedLimit"
    assert '"digest"' in world.condition["message"]
    assert str(OBJECT_BYTES) in world.condition["message"]
    assert object_size(world.taskrun) <= OBJECT_BYTES


def test_a_run_refused_leaves_no_pod(world):
    task = {"results": [{"name": "a"}, {"name": "a"}], "steps": [{"image": "i", "script": "true"}]}
    world.submit(taskSpec=task)
    world.step()
    assert is_done(world.taskrun)
    assert world.condition["status"] == "False"
    assert world.cluster.list(PODS) == []


def test_a_run_that_is_gone_is_nobodys(world):
    assert world.step() is None


def test_the_objects_read_are_not_changed(world, caplog):
    caplog.set_level(logging.DEBUG)
    world.submit()
    before = copy.deepcopy(world.taskrun["spec"])
    world.step()
    assert world.taskrun["spec"] == before


def test_tektons_controller_has_no_reason_to_look_at_our_pods(world):
    """It takes up the TaskRun of any pod with this label, whoever manages it (decision 0006)."""
    world.submit()
    labels = {"app.kubernetes.io/managed-by": "tekton-pipelines", "team": "a"}
    Store.patch(world.cluster, TASKRUNS, "default", "run", {"metadata": {"labels": labels}})
    world.step()
    assert world.pod()["metadata"]["labels"] == {
        "team": "a",
        "tekton.dev/taskRun": "run",
        "tekton.dev/taskRunUID": world.taskrun["metadata"]["uid"],
    }


def test_annotations_of_ours_on_a_run_are_not_its_pods(world):
    """A user cannot stamp a pod, or mark it as stopped, through the run."""
    forged = {
        "resultsfw.dev/stopped": "2026-01-01T00:00:00Z x",
        "resultsfw.dev/stamp": "other/9",
        "note": "n",
    }
    world.submit(annotations=forged)
    world.step()
    annotations = world.pod()["metadata"]["annotations"]
    assert "resultsfw.dev/stopped" not in annotations
    assert annotations["resultsfw.dev/stamp"] == "sidecar-logs/1"
    assert annotations["note"] == "n"


def test_a_container_that_can_never_start_ends_the_run_at_once(world):
    """Seen on a real cluster: an image that runs as root under runAsNonRoot would wait for the timeout."""
    world.submit()
    world.step()
    why = {
        "reason": "CreateContainerConfigError",
        "message": "container has runAsNonRoot and image will run as root",
    }
    world.kubelet("Pending", {"step-build": world.running(), SIDECAR: {"waiting": why}})
    world.step()
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 1
    assert world.condition["reason"] == "CreateContainerConfigError"
    assert 'the sidecar "tekton-log-results"' in world.condition["message"]
    assert "container has runAsNonRoot and image will run as root" in world.condition["message"]


KUBELETS_ERROR = b"unable to retrieve container logs for containerd://27615f0422f9"


def test_the_kubelets_error_in_place_of_a_log_is_read_again(world):
    """Seen on a real cluster: answered 200, and a moment later the log was there."""
    world.submit()
    world.step()
    world.finish()
    whole = world.cluster.logs[SIDECAR]
    world.cluster.logs[SIDECAR] = KUBELETS_ERROR
    with pytest.raises(LogUnavailableError, match="unable to retrieve container logs"):
        world.step()
    assert (world.condition["status"], world.condition["reason"]) == ("Unknown", "TaskRunResultsUnreadable")
    assert "(LogUnavailable)" in world.condition["message"]
    world.cluster.logs[SIDECAR] = whole
    world.step()
    assert world.condition["status"] == "True"
    assert world.taskrun["status"]["results"][0]["value"] == "d"


def test_the_kubelets_error_that_stays_is_a_verdict_of_its_own(world):
    """Seen on a real cluster: once the containers are removed, no try comes right."""
    world.submit()
    world.step()
    world.finish()
    world.cluster.logs[SIDECAR] = KUBELETS_ERROR
    with pytest.raises(LogUnavailableError):
        world.step()
    world.clock.forward(301)
    world.step()
    assert (world.condition["status"], world.condition["reason"]) == ("False", "TaskRunResultsUnreadable")
    assert '"digest"' in world.condition["message"]


def test_a_stop_mark_that_somebody_edited_does_not_hang_the_run(world):
    _pod_runs(world, timeout="90s")
    world.clock.forward(91)
    world.step()
    marked = {"metadata": {"annotations": {"resultsfw.dev/stopped": "nonsense"}}}
    Store.patch(world.cluster, PODS, "default", "run-pod", marked)
    world.step()
    assert is_done(world.taskrun)


def _ends_with(world: World, message: str) -> None:
    world.submit(annotations={"resultsfw.dev/results-from": "termination-message"})
    world.step()
    world.kubelet("Failed", {"step-build": world.ended(1, message=message)})
    world.step()


REASON = '{"key":"Reason","value":"ResultsRefused","type":3}'
REFUSAL = (
    r'{"key":"ResultsRefused","value":"[{\"name\":\"digest\",\"type\":1,\"bytes\":5000,'
    r'\"limit\":4096,\"reason\":\"TooLarge\"}]","type":3}'
)


@pytest.fixture
def messages() -> World:
    return World({"results-from": "termination-message"})


def test_a_container_that_failed_for_its_results_alone_is_no_failed_step(messages):
    """Otherwise the condition would say "exited with code 1" first (Tekton's #4060)."""
    _ends_with(messages, f"[{REASON},{REFUSAL}]")
    assert messages.condition["reason"] == "TaskRunResultLargerThanAllowedLimit"
    assert '"digest" has 5000 bytes' in messages.condition["message"]
    assert "4096 bytes" in messages.condition["message"]


def test_a_step_that_failed_by_itself_stays_the_cause(messages):
    _ends_with(messages, f"[{REFUSAL}]")
    assert messages.condition["reason"] == "StepFailed"
    assert '"digest" has 5000 bytes' in messages.condition["message"]


def test_a_step_cannot_forge_its_own_success(messages):
    """Guarantee 7: entries that a Step writes itself do not turn its failure into anything else."""
    _ends_with(messages, f"[{REASON}]")
    assert messages.condition["reason"] == "StepFailed"
    assert messages.condition["message"] == '"step-build" exited with code 1: Error'


def test_an_attempt_that_failed_does_not_take_the_room_of_the_one_that_succeeds():
    world = World({"results-from": "sidecar-logs", "max-result-size": "1572864"})
    world.submit(retries=1)
    world.step()
    world.finish("f" * 900_000, code=1)
    world.step()
    world.step()
    world.sidecar_prints("s" * 900_000, pod="run-pod-retry1")
    states = {"step-build": world.ended(), SIDECAR: world.ended()}
    world.kubelet("Succeeded", states, name="run-pod-retry1")
    world.step()
    assert world.condition["status"] == "True"
    assert world.taskrun["status"]["results"][0]["value"] == "s" * 900_000


def test_a_run_that_its_server_cannot_hold_is_ended_by_name():
    """Its spec takes more than half of an object, and the status repeats it."""
    world = World()
    script = "#" + "y" * 900_000
    task = {"results": [{"name": "digest"}], "steps": [{"name": "one", "image": "i", "script": script}]}
    world.submit(taskSpec=task)
    world.step()
    assert world.condition["reason"] == "TaskRunResultLargerThanAllowedLimit"
    assert "make its Task" in world.condition["message"]


def test_an_evicted_pod_without_states_is_given_up_in_time(world):
    """Nothing says when its containers ended: the pod's own time does."""
    _pod_runs(world)
    world.cluster.logs[SIDECAR] = ForbiddenError("no")
    at = [{"type": "Ready", "status": "False", "lastTransitionTime": world.at()}]
    world.kubelet("Failed", {}, reason="Evicted", message="low on memory", conditions=at)
    with pytest.raises(ForbiddenError):
        world.step()
    world.clock.forward(301)
    world.step()
    assert world.condition["reason"] == "PodEvicted"


def _creating_fails(world: World, error: ResultsError) -> None:
    create = world.cluster.create

    def refuse(kind: Kind, obj: Object) -> Object:
        if kind == PODS:
            raise error
        return create(kind, obj)

    world.cluster.create = refuse


def test_a_pod_the_server_calls_invalid_ends_the_run(world):
    world.submit()
    _creating_fails(world, ClusterError("Pod is invalid: spec.containers[0].image: Required value"))
    world.step()
    assert world.condition["reason"] == "PodCreationFailed"
    assert "Required value" in world.condition["message"]


def test_a_pod_that_may_not_be_made_is_waited_for_until_the_timeout_and_says_why(world):
    """A quota may free itself; a Pod Security level does not: the run must not wait for ever."""
    world.submit(timeout="90s")
    _creating_fails(world, ForbiddenError("exceeded quota: pods"))
    with pytest.raises(ForbiddenError):
        world.step()
    assert world.condition["status"] == "Unknown"
    assert "exceeded quota" in world.condition["message"]
    world.clock.forward(91)
    world.step()
    assert world.condition["reason"] == "TaskRunTimeout"


def test_a_cancel_that_came_while_the_pod_was_prepared_is_seen_first(world):
    world.submit()
    prepare = world.reconciler.core.prepare_pod

    def meanwhile(*arguments: Any, **more: Any) -> Object:
        Store.patch(world.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
        return prepare(*arguments, **more)

    world.reconciler.core.prepare_pod = meanwhile
    with pytest.raises(ConflictError):
        world.step()
    world.step()
    assert world.condition["reason"] == "TaskRunCancelled"
    assert world.cluster.list(PODS) == []


def _stranger(world: World, **spec: Any) -> None:
    container = {"name": "c", "image": "i"}
    metadata = {"name": "run-pod", "namespace": "default"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [container], **spec},
    }
    Store.create(world.cluster, PODS, pod)


def test_a_strangers_pod_made_after_a_cancelled_run_is_not_deleted(world):
    _pod_runs(world)
    Store.patch(world.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    world.step()
    world.sidecar_prints(None)
    world.kubelet("Failed", {"step-build": world.ended(143), SIDECAR: world.ended()})
    world.step()
    assert world.cluster.list(PODS) == []
    _stranger(world)
    world.step()
    assert len(world.cluster.list(PODS)) == 1


def test_a_strangers_pod_is_not_deleted_with_a_run_too_large_for_its_server(world):
    script = "#" + "y" * 900_000
    task = {"results": [{"name": "digest"}], "steps": [{"name": "one", "image": "i", "script": script}]}
    world.submit(taskSpec=task)
    _stranger(world)
    world.step()
    assert is_done(world.taskrun)
    assert len(world.cluster.list(PODS)) == 1
