"""A run and the pod of it, as the backend oci sees them, and the sidecar in this process."""

import copy
import json
import os

from resultsfw import Limits, ResultSpec, Run, Step
from resultsfw.errors import NotFoundError
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw_backends import oci
from resultsfw_sidecar import wire
from resultsfw_sidecar.program import run as run_sidecar
from resultsfw_transports.logins import ENV_AUTHS

POD_UID = "51b37f1b-97b7-4b83-81a0-acdc337a94c2"
RUN = Run(
    namespace="default",
    name="run",
    uid="run-uid",
    results=(ResultSpec(name="a"), ResultSpec(name="b", type="array"), ResultSpec(name="IMAGE")),
    steps=(Step(name="one", container="step-one", results=(ResultSpec(name="own", type="object"),)),),
)
BARE = {
    "metadata": {
        "name": "pod",
        "namespace": "default",
        "uid": POD_UID,
        "labels": {"tekton.dev/task": "build", "tekton.dev/pipelineRun": "nightly"},
    },
    "spec": {
        "containers": [{"name": "step-one", "image": "i", "args": ["-step_metadata_dir", "d", "--"]}],
        "initContainers": [{"name": "prepare", "image": "i"}],
        "volumes": [],
    },
}


class Accounts:
    """A cluster that has service accounts."""

    def __init__(self, *secrets, error=None):
        self._secrets, self._error = secrets, error

    def get(self, _kind, _namespace, _name):
        if self._error:
            raise self._error
        if not self._secrets:
            raise NotFoundError("no account")
        return {"imagePullSecrets": [{"name": name} for name in self._secrets]}


def configured(host, **more):
    return oci.Config.model_validate({"repository": f"{host}/results", "plain-http": True, **more})


def prepared(config, *, run=RUN, pod=BARE, cluster=None, **annotations):
    pod = copy.deepcopy(pod)
    pod["metadata"]["annotations"] = {
        f"oci.resultsfw.dev/{key.replace('_', '-')}": text for key, text in annotations.items()
    }
    limits = Limits(result_bytes=2**40, run_bytes=2**63 - 1)
    oci.prepare_pod(run, pod, cluster or Accounts(), limits, config)
    return pod


def sidecar_of(pod):
    return next(
        container for container in pod["spec"]["initContainers"] if container["name"] == RESULTS_SIDECAR
    )


def variables_of(pod):
    return {variable["name"]: variable.get("value", "") for variable in sidecar_of(pod)["env"]}


class Waits:
    """Stands for `Stop`: nobody stops it, and it waits for nothing."""

    requested = False

    def wait(self, *_args):
        pass


class Sidecar:
    """The sidecar of a prepared pod, whose Steps have ended, with a folder of its own."""

    def __init__(self, root, pod, *, login=""):
        self.results = root / "results"
        for folder in (self.results, root / "run/0", root / "steps"):
            folder.mkdir(parents=True)
        (root / "run/0/out").touch()
        self.message = root / "message"
        self.message.touch()
        self.command = sidecar_of(pod)["command"]
        self.variables = variables_of(pod) | {
            wire.ENV_POD_UID: POD_UID,
            wire.ENV_TEKTON_ROOT: str(root),
            wire.ENV_TERMINATION_LOG: str(self.message),
        }
        if login:
            self.variables[f"{ENV_AUTHS}_0"] = login

    def run(self, capfdbinary, **values):
        """Write results and run it; its log and its records by name."""
        for name, value in values.items():
            (self.results / name).write_bytes(value)
        names = ",".join(sorted(path.name for path in self.results.iterdir()))
        arguments = ["-results-dir", str(self.results), "-result-names", names]
        capfdbinary.readouterr()
        variables = {os.fsencode(key): os.fsencode(value) for key, value in self.variables.items()}
        run_sidecar([os.fsencode(argument) for argument in arguments], variables, Waits())
        log = capfdbinary.readouterr().out
        first, *between, last = [json.loads(line) for line in log.splitlines()]
        assert (first["type"], last["type"]) == ("start", "end")
        return log, {record["name"]: record for record in between}


class Logs:
    """A cluster that has one log."""

    def __init__(self, log):
        self._log = log

    def read_log(self, *_whose, limit):
        yield self._log[:limit]


def extracted(pod, log, run=RUN):
    """What the backend reads of a log whose sidecar has ended."""
    ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    status = {"phase": "Succeeded", "initContainerStatuses": [{"name": RESULTS_SIDECAR, "state": ended}]}
    return oci.extract(
        run, {**pod, "status": {**status, "containerStatuses": []}}, Logs(log), wire.WIRE, "oci"
    )
