"""States of Steps and Sidecars in a TaskRun's status: what its CRD takes."""

import pytest

from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.tekton.podstatus.step_states import pod_status_fields

LOST = {"exitCode": 137, "finishedAt": None, "reason": "ContainerStatusUnknown", "startedAt": None}
"""What a kubelet reports of a container that it does not find any more when its pod is evicted."""


def is_without_null(value):
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is not None and all(map(is_without_null, parts))


@pytest.mark.parametrize("is_over", [True, False])
@pytest.mark.parametrize("shows_messages", [True, False])
@pytest.mark.parametrize("state", [{"terminated": LOST}, {"running": {"startedAt": None}}])
def test_a_null_of_the_kubelet_is_left_out_of_the_status(state, is_over, shows_messages):
    """The API server refuses a TaskRun's status with a null time, and would refuse it for ever."""
    names = ["step-one", "sidecar-mine", RESULTS_SIDECAR]
    pod = {
        "metadata": {"name": "pod"},
        "spec": {"containers": [{"name": name} for name in names]},
        "status": {"containerStatuses": [{"name": name, "state": state} for name in names]},
    }
    fields = pod_status_fields(pod, {}, done=is_over, messages=shows_messages)
    assert is_without_null(fields)
    [kind] = state
    assert [kind in entry for entry in (*fields["steps"], *fields["sidecars"])] == [True] * 3


@pytest.mark.parametrize(("status", "time"), [({"startTime": "2026-01-01T00:00:01Z"}, 1), ({}, 0)])
def test_unknown_times_are_the_pods_start(status, time):
    """Tekton's webhook writes null where they are missing, and the API server then refuses the status."""
    pod = {
        "metadata": {"name": "pod", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "step-one"}]},
        "status": {**status, "containerStatuses": [{"name": "step-one", "state": {"terminated": LOST}}]},
    }
    [step] = pod_status_fields(pod, {}, done=True)["steps"]
    known = f"2026-01-01T00:00:0{time}Z"
    assert (step["terminated"]["startedAt"], step["terminated"]["finishedAt"]) == (known, known)
