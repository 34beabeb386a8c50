"""The controller as a process on a real cluster: runs to their results, and a stop that drains."""

import json
import os
import signal
import subprocess
import sys
import time

import captures

from resultsfw.errors import NotFoundError
from resultsfw.tekton.kinds import TASKRUNS
from resultsfw.tekton.reconciler import is_done


def test_three_runs_and_a_stop(server, options, name):
    command = [sys.executable, "-m", "resultsfw.cli", "controller", "--no-leader-elect"]
    command += ["--kubeconfig", os.environ["RESULTSFW_KUBECONFIG"], "--listen", "127.0.0.1:0"]
    command += ["--entrypoint-image", options.entrypoint_image, "--shell-image", options.shell_image]
    # Its own runs only: the other tests drive theirs, and two may be at work on one cluster at once.
    mine = f"resultsfw.dev/{name}"
    command += ["--nop-image", options.nop_image, "--managed-by", mine]
    runs = [f"{name}-{number}" for number in range(3)]
    with subprocess.Popen(command) as controller:
        try:
            for one in runs:
                taskrun = json.loads(json.dumps(captures.load("tm-basic")["taskrun"]))
                taskrun["metadata"] |= {"name": one, "namespace": "default"}
                taskrun["spec"]["managedBy"] = mine
                server.create(TASKRUNS, taskrun)
            end = time.monotonic() + 120
            finals = []
            while time.monotonic() < end and len(finals) < len(runs):
                finals = [run for one in runs if is_done(run := server.get(TASKRUNS, "default", one))]
                time.sleep(0.2)
            values = [{r["name"]: r["value"] for r in run["status"]["results"]} for run in finals]
            assert values == [{"digest": "sha256:0123", "url": "registry/app\n"}] * len(runs)
            controller.send_signal(signal.SIGTERM)
            assert controller.wait(30) == 0
        finally:
            controller.kill()
            for one in runs:
                try:
                    server.delete(TASKRUNS, "default", one)
                except NotFoundError:
                    continue
