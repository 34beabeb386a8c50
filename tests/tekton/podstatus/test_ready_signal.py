"""When a pod's first Step may start, as far as a native results sidecar is concerned."""

from datetime import datetime

import pytest

from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.tekton.podstatus.ready_signal import NOTHING_DUE, ReadySignal, ready_signal

NOW = datetime.fromisoformat("2026-01-01T00:00:10Z")
FAILED = {"terminated": {"exitCode": 1}}


def running(second):
    return {"running": {"startedAt": f"2026-01-01T00:00:{second:02}Z"}}


@pytest.mark.parametrize(
    ("state", "last", "expected"),
    [
        (running(10), {}, ReadySignal(is_due=True)),
        (running(10), {"terminated": {"exitCode": 0}}, ReadySignal(is_due=True)),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, FAILED, NOTHING_DUE),
        (FAILED, {}, NOTHING_DUE),
        (running(10), FAILED, ReadySignal(due_in=3.0)),
        (running(8), FAILED, ReadySignal(due_in=1.0)),
        (running(7), FAILED, ReadySignal(is_due=True)),
        (running(11), FAILED, ReadySignal(is_due=True)),  # the node's clock is ahead
        ({"running": {"startedAt": None}}, FAILED, ReadySignal(is_due=True)),
    ],
)
def test_no_step_starts_while_the_results_sidecar_keeps_failing(state, last, expected):
    pod = {
        "metadata": {"name": "pod"},
        "spec": {"initContainers": [{"name": RESULTS_SIDECAR, "restartPolicy": "Always"}]},
        "status": {
            "phase": "Running",
            "initContainerStatuses": [{"name": RESULTS_SIDECAR, "state": state, "lastState": last}],
            "containerStatuses": [{"name": "step-one", "state": running(9)}],
        },
    }
    assert ready_signal(pod, NOW) == expected
    pod["spec"]["initContainers"][0].pop("restartPolicy")  # an init container that ended long ago
    assert ready_signal(pod, NOW) == ReadySignal(is_due=True)
