"""What tests of the backend ``config-map`` share: a prepared pod, and its sidecar's transport without a
network."""

import hashlib
import json
from types import SimpleNamespace

from resultsfw import CONFIG_MAPS, PODS, ResultsManager, ResultSpec, Run, Step
from resultsfw.errors import ClusterError, ConflictError
from resultsfw.local.store import Store
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw_backends.config_map import ENV_NAME, ENV_UID, VALUE_BYTES, name_of
from resultsfw_sidecar import wire
from resultsfw_sidecar.files import RefusedError
from resultsfw_transports.config_map import Transport

OWNER = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": "run", "uid": "run-uid"}
OWNER |= {"controller": True, "blockOwnerDeletion": True}
FLAGS = {"results-from": "config-map", "max-result-size": "1572864"}
CORE = ResultsManager.from_flags(FLAGS)


def a_run(*names, own=(), attempt=0, uid="run-uid"):
    return Run(
        namespace="default",
        name="run",
        uid=uid,
        attempt=attempt,
        results=tuple(ResultSpec(name=name) for name in names),
        steps=(Step(name="one", container="step-one", results=tuple(ResultSpec(name=name) for name in own)),),
    )


def bare_pod(owners=(OWNER,)):
    return {
        "metadata": {"name": "run-pod", "namespace": "default", "ownerReferences": [*owners]},
        "spec": {
            "restartPolicy": "Never",
            "initContainers": [],
            "containers": [{"name": "step-one", "args": ["-step_metadata_dir", "/tekton/run/0/status"]}],
            "volumes": [],
        },
    }


class Direct:
    """In place of an API server: the store itself."""

    def __init__(self, store):
        self.store = store
        self.asked = []

    def ask(self, method, path, body=None, **_):
        self.asked.append((method, body))
        name = path.rpartition("/")[2]
        try:
            if method == "GET":
                answer = self.store.get(CONFIG_MAPS, "default", name)
            else:
                answer = self.store.patch(CONFIG_MAPS, "default", name, json.loads(body))
        except ClusterError as error:
            status = 409 if isinstance(error, ConflictError) else 422
            return status, json.dumps({"message": error.message}).encode()
        return 200, json.dumps(answer).encode()


class Life:
    """A run from its prepared pod to what is collected of it.

    Args:
        values: What the Steps write, by name; a Step's own as "step-one.NAME". Bytes.
        declared: Names that nobody writes, beside those.
        config: Of the backend.
    """

    def __init__(self, values, declared=(), config="", store=None):
        names = [*values, *declared]
        own = [name.removeprefix("step-one.") for name in names if name.startswith("step-one.")]
        self.run = a_run(*(name for name in names if not name.startswith("step-one.")), own=own)
        self.values = values
        self.store = store or Store()
        self.core = ResultsManager.from_flags({**FLAGS, "config.config-map": config}) if config else CORE
        self.pod = self.store.create(PODS, self.core.prepare_pod(self.run, bare_pod(), cluster=self.store))
        self.name = name_of(self.run)

    @property
    def config_map(self):
        return self.store.get(CONFIG_MAPS, "default", self.name)

    @property
    def container(self):
        spec = self.pod["spec"]
        (sidecar,) = [
            container
            for container in (*spec["initContainers"], *spec["containers"])
            if container["name"] == RESULTS_SIDECAR
        ]
        return sidecar

    def transport(self):
        """The sidecar's transport, open, with this pod's environment."""
        env = {variable["name"]: variable.get("value", "") for variable in self.container["env"]}
        transport = Transport()
        limits = (int(env[name]) for name in (wire.ENV_MAX_RESULT_SIZE, wire.ENV_MAX_RUN_SIZE))
        speaks = int(env[wire.ENV_WIRE])
        result, run = (limit if speaks == wire.COMPRESSED else min(limit, VALUE_BYTES) for limit in limits)
        transport._environment = SimpleNamespace(max_result_size=result, max_run_size=run, wire=speaks)
        transport._stop = SimpleNamespace(wait=lambda _seconds: None)
        transport._name, transport._uid = env[ENV_NAME], env[ENV_UID]
        transport._path = f"/api/v1/namespaces/default/configmaps/{env[ENV_NAME]}"
        transport._server = Direct(self.store)
        return transport

    def deliver(self, transport=None, uid=None):
        """What the sidecar does when the Steps have ended; returns its termination message."""
        transport = transport or self.transport()
        uid = uid or self.pod["metadata"]["uid"]
        transport.output.line([wire.start_line(uid, wire.WATCH_INOTIFY)])
        for result in self.run.results:
            self._pass_on(transport, result.name, wire.TYPE_TASK)
        for step in self.run.steps:
            for result in step.results:
                self._pass_on(transport, f"step-one.{result.name}", wire.TYPE_STEP)
        end = wire.end_line(uid, transport.output.count, transport.output.digest, wire.WHY_STEPS_DONE)
        transport.output.line([end])
        return transport.deliver()

    def _pass_on(self, transport, name, of):
        value = self.values.get(name)

        def read(limit):
            if value is not None and len(value) > limit:
                raise RefusedError(wire.TOO_LARGE, "too large", len(value), limit)
            return value

        try:
            pieces = transport.collect(SimpleNamespace(name=name, of=of, read=read))
        except RefusedError as error:
            line = wire.refused_line(name, of, error.reason, str(error), size=error.size, limit=error.limit)
            transport.output.line([line])
        else:
            transport.output.line([wire.absent_line(name, of)] if pieces is None else pieces)

    def ended(self, message, code=0, *, phase="Succeeded", **state):
        """The pod when its containers have ended."""
        terminated = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
        step = {"terminated": {"exitCode": 0, "reason": "Completed"}}
        return {
            **self.pod,
            "status": {
                "phase": phase,
                "initContainerStatuses": [
                    {"name": RESULTS_SIDECAR, "state": {"terminated": terminated}, **state},
                ],
                "containerStatuses": [{"name": "step-one", "state": step}],
            },
        }

    def collect(self, pod, *, final=False):
        return self.core.collect(self.run, pod, self.store, final=final)

    def damage(self, config_map):
        """Put something else in its place, as nobody could whom the API server lets do only what it may."""
        self.store.delete(CONFIG_MAPS, "default", self.name)
        self.store.create(CONFIG_MAPS, config_map)


def values_of(collected):
    values = {result.name: result.value for result in collected.results}
    for step, some in collected.step_results.items():
        values |= {f"step-{step}.{result.name}": result.value for result in some}
    return values


def proof_of(records):
    return f"sha256:{hashlib.sha256(records.encode()).hexdigest()}"
