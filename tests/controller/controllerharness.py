"""Controller processes, an API server on loopback, and a simulated kubelet."""

import contextlib
import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections import Counter

from running import CONTROLLER, Running
from storeserver import ApiServer

from resultsfw.cluster import CONFIG_MAPS, EVENTS, PODS
from resultsfw.errors import NotFoundError
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw_sidecar import wire

MANAGED_BY = "resultsfw.dev/controller"
NAMESPACE = "tekton-pipelines"


def taskrun(name, managed_by=MANAGED_BY, annotations=None, **spec):
    step = {"name": "one", "image": "i", "script": "printf x > $(results.digest.path)"}
    task = {"results": [{"name": "digest"}], "steps": [step]}
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": name, "namespace": "runs", "annotations": annotations or {}},
        "spec": {"managedBy": managed_by, "taskSpec": task, **spec},
    }


def condition(obj):
    return next(iter((obj.get("status") or {}).get("conditions") or ()), {})


SIDECAR = "sidecar-tekton-log-results"


class Kubelet(threading.Thread):
    """Runs every pod, and ends it once it is ready and ``go`` is set, with its name as its result.

    Attributes:
        created: How often a pod of each name was created.
    """

    def __init__(self, store, folder):
        super().__init__(daemon=True)
        self.store = store
        self.folder = folder
        self.created = Counter()
        self.go = threading.Event()
        self.go.set()
        self._watch = store.watch(PODS)

    def run(self):
        waiting = {}
        while not self._watch.closed:
            event = self._watch.get(timeout=0.02)
            if event is not None:
                change, pod = event
                name = pod["metadata"]["name"]
                self.created[name] += change == "ADDED"
                waiting.pop(name, None)
                if change != "DELETED":
                    waiting[name] = pod
            for name, pod in list(waiting.items()):
                if self._forward(pod):
                    del waiting[name]

    def close(self):
        self._watch.close()
        self.join(5)

    def _forward(self, pod):
        """One step; whether nothing is to be done before the next change."""
        phase = pod["status"]["phase"]
        if phase == "Pending":
            self._say(pod, "Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}})
        elif phase == "Running" and "tekton.dev/ready" in (pod["metadata"].get("annotations") or {}):
            if not self.go.is_set():
                return False
            message = json.dumps([{"key": "digest", "value": pod["metadata"]["name"], "type": 1}])
            if SIDECAR in [one["name"] for one in [*_native(pod), *pod["spec"]["containers"]]]:
                message = ""
                self._log(pod["metadata"])
            times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}
            end = {"exitCode": 0, "reason": "Completed", "message": message, **times}
            self._say(pod, "Succeeded", {"terminated": end})
        return True

    def _log(self, metadata):
        """The results sidecar's, as it prints it."""
        lines = [wire.start_line(metadata["uid"], wire.WATCH_POLL)]
        lines.append(wire.value_line("digest", metadata["name"], wire.TYPE_TASK))
        digest = hashlib.sha256(b"".join(lines)).hexdigest()
        lines.append(wire.end_line(metadata["uid"], len(lines), digest, wire.WHY_STEPS_DONE))
        path = self.folder / metadata["uid"]
        path.write_bytes(b"".join(lines))
        self.store.register_log(metadata["namespace"], metadata["name"], SIDECAR, path)

    def _say(self, pod, phase, state):
        def statuses(containers):
            ready = phase == "Running"
            return [
                {"name": one["name"], "state": state, "ready": ready, "image": one["image"]}
                for one in containers
            ]

        metadata = pod["metadata"]
        status = {"phase": phase, "containerStatuses": statuses(pod["spec"]["containers"])}
        status["initContainerStatuses"] = statuses(_native(pod))
        with contextlib.suppress(NotFoundError):
            self.store.patch(
                PODS, metadata["namespace"], metadata["name"], {"status": status}, subresource="status"
            )


def _native(pod):
    return [one for one in pod["spec"].get("initContainers", []) if one.get("restartPolicy") == "Always"]


_LIMITED = """
import os, resource, sys
for name, most in {limits!r}.items():
    resource.setrlimit(getattr(resource, name), (most, most))
os.execv(sys.argv[1], sys.argv[1:])
"""


_PROGRAM = """
import ast, importlib, sys
from resultsfw.controller.options import Options
from resultsfw.controller.process import run_process
options, settings = map(ast.literal_eval, sys.argv[1:])
for name, value in settings.items():
    module, _, constant = name.rpartition(".")
    assert hasattr(importlib.import_module(module), constant), name
    setattr(importlib.import_module(module), constant, value)
sys.exit(run_process(Options(**options)))
"""


class ControllerHarness:
    """An API server, a simulated kubelet and controller processes."""

    def __init__(self, folder):
        self.server = ApiServer()
        self.store = self.server.store
        self.kubelet = Kubelet(self.store, folder)
        self.kubelet.start()
        self.kubeconfig = self.server.kubeconfig(folder / "kubeconfig")
        self.started = []
        self.flags()

    def flags(self, **data):
        data = {key.replace("_", "-"): value for key, value in data.items()}
        try:
            self.store.patch(CONFIG_MAPS, NAMESPACE, "feature-flags", {"data": data})
        except NotFoundError:
            metadata = {"name": "feature-flags", "namespace": NAMESPACE}
            self.store.create(CONFIG_MAPS, {"metadata": metadata, "data": data})

    def start(self, *options, limits=None, settings=None, **process):
        """Start a controller.

        Args:
            options: Of the command line.
            limits: Those of `resource`, by name: a fault is to end a process, not the machine.
            settings: Constants of modules to replace, by dotted name: delays that would only be waited for.
            process: Options that the command line does not have; in place of ``options``.
        """
        command = [*CONTROLLER, "--kubeconfig", str(self.kubeconfig), "--listen", "127.0.0.1:0", *options]
        if process:
            given = {"kubeconfig": str(self.kubeconfig), "listen": "127.0.0.1:0", **process}
            command = [sys.executable, "-W", "error", "-c", _PROGRAM, repr(given), repr(settings or {})]
        if limits:
            command = [sys.executable, "-c", _LIMITED.format(limits=limits), *command]
        one = Running(command, {**os.environ, "no_proxy": "*"})
        self.started.append(one)
        return one

    def create(self, *names, **spec):
        for name in names:
            self.store.create(TASKRUNS, taskrun(name, **spec))

    def run(self, name):
        return self.store.get(TASKRUNS, "runs", name)

    def until(self, predicate, seconds=20):
        """Wait until the objects satisfy a predicate, which is checked after every change."""
        end = time.monotonic() + seconds
        with self.store.watch(TASKRUNS, PODS, CONFIG_MAPS) as watch:
            while not predicate():
                left = end - time.monotonic()
                assert left > 0, [
                    (one["metadata"]["name"], condition(one)) for one in self.store.list(TASKRUNS)
                ]
                watch.get(timeout=min(left, 0.2))

    def done(self, *names):
        return all(condition(self.run(name)).get("status") in ("True", "False") for name in names)

    def assert_all_succeeded(self, *names):
        """Every run has its own result, and had one pod."""
        for name in names:
            status = self.run(name)["status"]
            assert condition({"status": status})["reason"] == "Succeeded", status
            assert status["results"] == [{"name": "digest", "type": "string", "value": f"{name}-pod"}]
            assert "retriesStatus" not in status
        pods = sorted(f"{name}-pod" for name in names)
        assert sorted(one["metadata"]["name"] for one in self.store.list(PODS)) == pods
        assert sorted(self.kubelet.created.elements()) == pods
        events = Counter(
            (one["involvedObject"]["name"], one["type"] if one["reason"] != "Started" else "Started")
            for one in self.store.list(EVENTS)
            if one["involvedObject"]["kind"] == TASKRUNS.kind
        )
        assert set(events.values()) <= {1}, events

    def close(self):
        for one in self.started:
            if one.process.poll() is None:
                one.signal(signal.SIGKILL)
            else:
                one.wait()
        self.kubelet.close()
        self.server.down()
