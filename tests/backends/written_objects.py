"""What tests of ``custom-resource`` and ``self-update`` share: a run, its sidecar's transport, its end."""

import json
from functools import cache
from types import SimpleNamespace

from configmaps import a_run, bare_pod

from resultsfw import PODS, ResultsManager
from resultsfw.errors import ClusterError, ConflictError
from resultsfw.local.store import Store
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw_backends.custom_resource import RUN_RESULTS
from resultsfw_sidecar import wire
from resultsfw_sidecar.files import RefusedError
from resultsfw_transports import run_result, task_run

TRANSPORTS = {"custom-resource": run_result, "self-update": task_run}
KINDS = {"custom-resource": RUN_RESULTS, "self-update": TASKRUNS}


@cache
def core_of(backend, config=""):
    flags = {"results-from": backend, f"config.{backend}": config, "max-result-size": "1572864"}
    return ResultsManager.from_flags(flags)


class Direct:
    """In place of an API server: the store itself."""

    def __init__(self, store, kind):
        self.store = store
        self.kind = kind
        self.asked = []

    def ask(self, method, path, body=None, **_):
        self.asked.append((method, path, body))
        name, subresource = path.split("/")[-2:]
        try:
            patch = json.loads(body)
            answer = self.store.patch(self.kind, "default", name, patch, subresource=subresource)
        except ClusterError as error:
            status = 409 if isinstance(error, ConflictError) else 422
            return status, json.dumps({"message": error.message}).encode()
        return 200, json.dumps(answer).encode()


class Life:
    """A run from its prepared pod to what is collected of it.

    Args:
        backend: The backend's name.
        values: What the Steps write, by name; bytes.
        store: The objects; with the TaskRun, if there is one.
        attempt: Of the run.
        config: Of the backend.
    """

    def __init__(self, backend, values, *, store=None, attempt=0, config=""):
        self.backend = backend
        self.values = values
        self.store = store or Store()
        self.core = core_of(backend, config)
        try:
            taskrun = self.store.get(TASKRUNS, "default", "run")
        except ClusterError:
            taskrun = self.store.create(TASKRUNS, {"metadata": {"name": "run"}, "spec": {}})
        self.run = a_run(*values, attempt=attempt, uid=taskrun["metadata"]["uid"])
        owner = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": "run", "uid": self.run.uid}
        pod = bare_pod((owner,))
        pod["metadata"]["name"] += f"-{attempt}"
        self.pod = self.store.create(PODS, self.core.prepare_pod(self.run, pod, cluster=self.store))
        self.kind = KINDS[backend]
        env = {variable["name"]: variable.get("value", "") for variable in self._sidecar()["env"]}
        self.env = {**env, wire.ENV_POD_UID: self.pod["metadata"]["uid"]}
        self.name = self.env[TRANSPORTS[backend].ENV_NAME]

    def _sidecar(self):
        (sidecar,) = [
            container
            for container in self.pod["spec"]["initContainers"]
            if container["name"] == RESULTS_SIDECAR
        ]
        return sidecar

    @property
    def object(self):
        return self.store.get(self.kind, "default", self.name)

    def deliver(self):
        """Do what the sidecar does when the Steps have ended; return its termination message."""
        transport = TRANSPORTS[self.backend].Transport()
        self.transport = transport
        limits = (int(self.env[name]) for name in (wire.ENV_MAX_RESULT_SIZE, wire.ENV_MAX_RUN_SIZE))
        result, run = limits
        speaks = int(self.env[wire.ENV_WIRE])
        transport._environment = SimpleNamespace(max_result_size=result, max_run_size=run, wire=speaks)
        transport.room = int(self.env.get(task_run.ENV_ROOM, transport.room))
        transport._stop = SimpleNamespace(wait=lambda _seconds: None)
        transport._name = self.name
        transport._pod_uid = self.pod["metadata"]["uid"]
        transport._annotations = self.env.get(task_run.ENV_PREFIX, "")
        transport._path = (
            f"{transport.prefix}/namespaces/default/{transport.plural}/{self.name}{transport.subresource}"
        )
        transport._server = Direct(self.store, self.kind)
        uid = self.pod["metadata"]["uid"]
        transport.output.line([wire.start_line(uid, wire.WATCH_INOTIFY)])
        for declared in self.run.results:
            self._pass_on(transport, declared.name)
        end = wire.end_line(uid, transport.output.count, transport.output.digest, wire.WHY_STEPS_DONE)
        transport.output.line([end])
        return transport.deliver()

    def _pass_on(self, transport, name):
        value = self.values.get(name)

        def read(limit):
            if len(value) > limit:
                raise RefusedError(wire.TOO_LARGE, "too large", len(value), limit)
            return value

        try:
            pieces = transport.collect(SimpleNamespace(name=name, of=wire.TYPE_TASK, read=read))
        except RefusedError as error:
            text = str(error)
            limits = {"size": error.size, "limit": error.limit}
            pieces = [wire.refused_line(name, wire.TYPE_TASK, error.reason, text, **limits)]
        transport.output.line(pieces)

    def ended(self, message, code=0):
        """Return the pod when its containers have ended."""
        terminated = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
        step = {"terminated": {"exitCode": 0, "reason": "Completed"}}
        return {
            **self.pod,
            "status": {
                "phase": "Succeeded",
                "initContainerStatuses": [{"name": RESULTS_SIDECAR, "state": {"terminated": terminated}}],
                "containerStatuses": [{"name": "step-one", "state": step}],
            },
        }

    def collect(self, message, code=0, *, final=False):
        return self.core.collect(self.run, self.ended(message, code), self.store, final=final)
