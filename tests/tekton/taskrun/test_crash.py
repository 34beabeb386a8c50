"""A controller that is killed at any request to the API server comes to the same end (guarantee 4)."""

import pytest
from taskrun_harness import TaskRunHarness

from resultsfw import PODS


@pytest.mark.slow
def test_guarantee_4_killed_at_any_call_and_started_again_it_comes_to_the_same_end():
    """Guarantee 4: no second pod, no second extraction after the verdict, the same status."""
    whole = TaskRunHarness()
    whole.submit()
    whole.drive()
    wanted = whole.taskrun["status"]
    assert whole.condition["status"] == "True"
    for call in range(1, len(whole.cluster.calls) + 1):
        harness = TaskRunHarness()
        harness.clock.now = whole.clock.now
        harness.cluster.fail_at = call
        harness.submit()
        harness.drive()
        assert harness.taskrun["status"] == wanted, f"killed at call {call}"
        assert len(harness.cluster.list(PODS)) == 1
        reads = harness.cluster.log_reads
        harness.reconcile()
        assert harness.cluster.log_reads == reads
