"""A signed run through any built-in backend: its pod, the sidecar's program with the real signer, its reader.

In place of the Workload API there is a credential in memory, in place of the API server and the results
server a function; everything else is as in a pod.
"""

import inspect
import json
import os
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace

import yaml
from configmaps import bare_pod

from resultsfw import (
    CONFIG_MAPS,
    PODS,
    Kind,
    ResultsManager,
    ResultSpec,
    Run,
    Step,
    StepResultRef,
)
from resultsfw.limits import effective_limits
from resultsfw.local.store import Store
from resultsfw.pods import RESULTS_SIDECAR, containers
from resultsfw.signatures import bundle_from_der, verify_results
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.testing.signing_ca import new_authority
from resultsfw_backends import http as http_backend
from resultsfw_backends.custom_resource import RUN_RESULTS
from resultsfw_sidecar import program, wire
from resultsfw_signing import signer, statement
from resultsfw_signing.identity import Certificate
from resultsfw_transports import api_object, claim
from resultsfw_transports import http as http_transport

DOMAIN = "example.org"
CLAIMS = Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
KINDS = {"configmaps": CONFIG_MAPS, "runresults": RUN_RESULTS, "taskruns": TASKRUNS}
PROVENANCE = b'{"inputs":[],"outputs":[]}'
VALUES = {"small": b"x", "list": b'["a,b","c"]', "large": "é\1<".encode() * 900, "binary": b"\xff"}
"""What Steps write of the Task's results; `none` is declared, too."""
RESULTS = (
    *(ResultSpec(name=name, type="array" if name == "list" else "string") for name in (*VALUES, "none")),
    ResultSpec(name="taken", from_step=StepResultRef(step="one", result="own")),
)
STEP = Step(name="one", container="step-one", results=(ResultSpec(name="own"),), artifacts=True)


class Waits:
    """Stands for `Stop`: never requested, and it waits for nothing."""

    requested = False

    def wait(self, *_args):
        pass

    def wait_until_requested(self, *_args):
        pass


class Servers:
    """Answers what the sidecar asks of the API server and of the results server."""

    def __init__(self, store):
        self.store = store
        self.delivery = b""
        self.patches = {}

    def __call__(self, *_args, **_options):
        return self

    def ask(self, method, path, body=None, **_options):
        if method == "PUT":
            if self.delivery not in (b"", body):
                return 409, b"the pod delivered something else before"
            self.delivery = body
            return 201, b""
        _, plural, name, *subresource = path.rpartition("/namespaces/")[2].split("/")
        if self.patches.setdefault(path, body) != body:
            return 422, b'{"message": "it has been written and cannot be changed"}'
        self.store.patch(KINDS[plural], "default", name, json.loads(body), subresource="".join(subresource))
        return 200, b"{}"


@cache
def certificate_of(name):
    """The certificate of an ID: an agent has the same one for each process of a pod, until it is renewed."""
    issued = LocalIdentity.authority.issue_svid(name)
    svid = SimpleNamespace(
        spiffe_id=name,
        cert_chain=[issued.certificate, *issued.intermediates],
        leaf=issued.certificate,
        private_key=issued.key,
    )
    return Certificate(svid)


class LocalIdentity:
    """In place of the Workload API."""

    authority = new_authority(DOMAIN)

    def __init__(self, _socket, _ids):
        pass

    def start(self):
        pass

    def wait(self, _seconds, _stop):
        pass

    def certificate(self, name):
        return certificate_of(name)


class SignedRun:
    """A run whose pod is prepared by a backend, as one to be signed.

    Args:
        backend: The backend's name.
        config: Its options.
        root: An empty folder.
        monkeypatch: Of the test.
        tekton: Whether Tekton's keys are made, too.
    """

    def __init__(self, backend, config, root, monkeypatch, *, tekton=False):
        self.root, self.store = root, Store()
        self.core = ResultsManager.from_flags(
            {
                "results-from": backend,
                f"config.{backend}": yaml.safe_dump(config),
                "max-result-size": "100000",
            }
        )
        uid = self.store.create(TASKRUNS, {"metadata": {"name": "run"}, "spec": {}})["metadata"]["uid"]
        owner = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": "run", "uid": uid}
        self.run = Run(
            namespace="default",
            name="run",
            uid=uid,
            results=RESULTS,
            steps=(STEP,),
            artifacts=True,
            spec={"steps": [{"name": "one"}]},
        )
        pod = bare_pod((owner,))
        how = statement.SIGNED_WITH_TEKTON_KEYS if tekton else statement.SIGNED
        pod["metadata"]["annotations"] = {statement.ANNOTATION: how}
        self.store.create(
            CLAIMS, {"metadata": {"name": "results"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
        )
        self.pod = self.store.create(PODS, self.core.prepare_pod(self.run, pod, cluster=self.store))
        self.backend = self.core.backend(backend)
        self._servers = Servers(self.store)
        for module in (api_object, http_transport):
            monkeypatch.setattr(module, "Server", self._servers)
        monkeypatch.setattr(http_backend, "_read", lambda *_: self._servers.delivery)
        monkeypatch.setattr(signer, "Identity", LocalIdentity)
        monkeypatch.setattr(program, "_signer", self._signer)
        self.tekton = tekton

    def _signer(self, environment):
        settings = {
            statement.KEY_SOCKET: "unix:///none",
            statement.KEY_DOMAIN: DOMAIN,
            statement.KEY_RUN: {
                "namespace": self.run.namespace,
                "name": self.run.name,
                "uid": self.run.uid,
                "attempt": self.run.attempt,
            },
            statement.KEY_SPEC_DIGEST: self.run.spec_digest,
            statement.KEY_TYPES: {"results/list": "array"},
            statement.KEY_TEKTON: self.tekton,
        }
        return signer.Signer(signer.Signing(json.dumps(settings), environment.pod), environment.wire)

    def write(self):
        """Do what the Step does."""
        step = self.root / "run/0/status"
        files = {f"results/{name}": value for name, value in VALUES.items()}
        files |= {"run/0/status/results/own": b"own", "run/0/out": b"", "message": b""}
        files |= {f"{place}artifacts/provenance.json": PROVENANCE for place in ("", "run/0/status/")}
        for name, value in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(value)
        (self.root / "steps").mkdir()
        (self.root / "steps/step-one").symlink_to(step)
        for name in ("account", "claim"):
            (self.root / name).mkdir()
        (self.root / "account/namespace").write_text("default")

    def deliver(self, capfdbinary):
        """Run the sidecar's program in this process; return the records, wherever it delivered them."""
        sidecar = containers(self.pod)[RESULTS_SIDECAR]
        variables = {variable["name"]: variable.get("value", "") for variable in sidecar["env"]}
        variables |= {
            wire.ENV_POD_UID: self.pod["metadata"]["uid"],
            wire.ENV_TEKTON_ROOT: str(self.root),
            wire.ENV_TERMINATION_LOG: str(self.root / "message"),
            api_object.ENV_ACCOUNT: str(self.root / "account"),
            claim.ENV_FOLDER: str(self.root / "claim"),
            "KUBERNETES_SERVICE_HOST": "localhost",
            "KUBERNETES_SERVICE_PORT": "1",
        }
        arguments = [*sidecar["command"][1:], "-results-dir", str(self.root / "results")]
        capfdbinary.readouterr()
        encoded = {os.fsencode(name): os.fsencode(text) for name, text in variables.items()}
        status = program.run([os.fsencode(argument) for argument in arguments], encoded, Waits())
        self._log = capfdbinary.readouterr().out
        self.message = (self.root / "message").read_text()
        assert status == 0, self.message

    def extract(self):
        """Return what the backend reads, when all containers have ended."""
        ended = {"exitCode": 0, "reason": "Completed", "message": self.message}
        status = {"name": RESULTS_SIDECAR, "state": {"terminated": ended}}
        step = {"name": "step-one", "state": {"terminated": {**ended, "message": ""}}}
        pod = {
            **self.pod,
            "status": {"phase": "Succeeded", "initContainerStatuses": [status], "containerStatuses": [step]},
        }
        given = {
            "run": self.run,
            "pod": pod,
            "cluster": Logs(self.store, self._log),
            "limits": effective_limits(self.core.flags.max_result_size, self.backend.capabilities),
            "config": None,
            "wire": int(pod["metadata"]["annotations"]["resultsfw.dev/stamp"].partition("/")[2]),
            "backend": self.backend.name,
        }
        extract = self.backend.plugin.extract
        return extract(**{name: given[name] for name in inspect.signature(extract).parameters})

    def verify(self, extraction):
        """Verify what was read, as the controller does."""
        bundle = bundle_from_der(DOMAIN, [LocalIdentity.authority.der])
        uid = self.pod["metadata"]["uid"]
        return verify_results(self.run, uid, extraction, bundle, at=datetime.now(UTC))


class Logs:
    """A cluster with one log."""

    def __init__(self, store, log):
        self._log = log
        self.get = store.get

    def read_log(self, *_whose, limit):
        yield self._log[:limit]
