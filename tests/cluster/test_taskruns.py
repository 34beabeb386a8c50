"""Every captured situation live, through our reconciler, backends, pods and sidecar, on a real cluster."""

import os
import time
from collections.abc import Callable

import captures
import pytest
from api import ApiServer
from situations import ENDS, cancel_when_the_second_step_runs, check, submit, taskrun

from resultsfw import Object, ResultsManager
from resultsfw.errors import ClusterError
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.taskrun.reconciler import Reconciler

DEADLINE = 120  # seconds for one situation; the slowest waits for a grace of 30


def test_every_capture_is_here():
    assert sorted(ENDS) == sorted(captures.names())


@pytest.mark.parametrize(
    ("situation", "sidecar"),
    [(one, way) for one in sorted(ENDS) for way in ("plain", "native") if one[:2] == "sl" or way == "plain"],
)
def test_live(situation, sidecar, server, options, name):
    core = ResultsManager.from_flags({**captures.load(situation)["flags"], **_sidecar(sidecar)})
    if not submit(server, situation, taskrun(situation, "default", name, f"resultsfw.dev/{name}")):
        return
    cancel = cancel_when_the_second_step_runs if situation == "sl-cancelled" else None
    try:
        check(situation, _drive(server, Reconciler(core, server, options=options), name, cancel))
    finally:
        server.delete(TASKRUNS, "default", name)


def _sidecar(way: str) -> dict[str, str]:
    image = os.environ.get("RESULTSFW_SIDECAR_IMAGE")
    return {"config.sidecar-logs": f"sidecar: {way}\n" + (f"image: {image}" if image else "")}


def _drive(
    server: ApiServer,
    reconciler: Reconciler,
    name: str,
    meanwhile: Callable[[ApiServer, Object], None] | None,
) -> Object:
    """Look at the run again and again until it has its verdict."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            reconciler.reconcile("default", name)
        except ClusterError as error:
            if not error.retryable:
                raise
        taskrun = server.get(TASKRUNS, "default", name)
        if is_done(taskrun):
            return taskrun
        if meanwhile is not None:
            meanwhile(server, taskrun)
        time.sleep(0.1)
    raise AssertionError(f"no verdict in {DEADLINE} s: {taskrun.get('status')}")
