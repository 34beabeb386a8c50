"""A controller that is killed at any request to the API server comes to the same end (guarantee 4)."""

import pytest
from taskrun_harness import SIDECAR, KilledError, TaskRunHarness

from resultsfw import PODS
from resultsfw.tekton.api.conditions import is_done


@pytest.mark.slow
def test_guarantee_4_killed_at_any_call_and_started_again_it_comes_to_the_same_end():
    """Guarantee 4: no second pod, no second extraction after the verdict, the same status."""
    whole = TaskRunHarness()
    _drive(whole)
    wanted = whole.taskrun["status"]
    assert whole.condition["status"] == "True"
    for call in range(1, len(whole.cluster.calls) + 1):
        harness = TaskRunHarness()
        harness.clock.now = whole.clock.now
        harness.cluster.fail_at = call
        _drive(harness)
        assert harness.taskrun["status"] == wanted, f"killed at call {call}"
        assert len(harness.cluster.list(PODS)) == 1
        reads = harness.cluster.log_reads
        harness.reconcile()
        assert harness.cluster.log_reads == reads


def _drive(harness: TaskRunHarness) -> None:
    """Take a run to its end, starting the controller anew each time it is killed."""
    harness.submit()
    for _ in range(40):
        try:
            harness.reconcile()
        except KilledError:
            harness.restart()
            continue
        if is_done(harness.taskrun):
            return
        pods = harness.cluster.list(PODS)
        if pods and harness.taskrun.get("status", {}).get("podName"):
            if pods[0]["metadata"].get("annotations", {}).get("tekton.dev/ready"):
                harness.finish()
            else:
                harness.kubelet("Running", {"step-build": harness.running(), SIDECAR: harness.running()})
    raise AssertionError("no end")
