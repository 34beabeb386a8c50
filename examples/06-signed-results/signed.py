"""Run a TaskRun on this machine with signed results, and find a result that was changed on its way."""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from resultsfw import PODS, Kind, Object, ResultsManager
from resultsfw.local.engine import Engine
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.testing.signing_ca import Authority, new_authority
from resultsfw.testing.workload_api import WorkloadApi, served_svid

DOMAIN = "example.org"
CONTROLLER = f"spiffe://{DOMAIN}/ns/resultsfw/sa/resultsfw-controller"
TASKRUN = {
    "apiVersion": "tekton.dev/v1",
    "kind": "TaskRun",
    "metadata": {"name": "build", "namespace": "default"},
    "spec": {
        "taskSpec": {
            "results": [{"name": "digest"}],
            "steps": [
                {"name": "one", "image": "busybox", "script": "printf sha256:9f86 > $(results.digest.path)"}
            ],
        }
    },
}


class Cluster:
    """The engine's objects. It registers pods as SPIRE does, and changes logs as an intruder on a node may.

    Args:
        store: The engine's objects.
        api: Gives each pod its identity.
        authority: Issues it.
        forge: Whether to change logs.
    """

    def __init__(self, store: Any, api: WorkloadApi, authority: Authority, *, forge: bool) -> None:
        self._store, self._api, self._authority, self._forge = store, api, authority, forge

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def create(self, kind: Kind, obj: Object) -> Object:
        """Create an object; give a pod its identity."""
        created: Object = self._store.create(kind, obj)
        if kind == PODS:
            uid = created["metadata"]["uid"]
            name = f"spiffe://{DOMAIN}/ns/default/taskrun/build/pod/{uid}"
            # The controller takes the first, the signer the one with its pod's uid.
            identities = [
                served_svid(identity, self._authority.issue_svid(identity), self._authority)
                for identity in (CONTROLLER, name)
            ]
            self._api.serve(*identities)
        return created

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """Read a log, or what an intruder makes of it."""
        log = b"".join(self._store.read_log(namespace, pod, container, limit=limit))
        yield forged(log) if self._forge else log


def forged(log: bytes) -> bytes:
    """Return a results sidecar's log with another digest, so that all checksums fit."""
    lines = []
    for line in log.splitlines(keepends=True):
        record = json.loads(line)
        if record.get("name") == "digest":
            record["value"] = "sha256:6666"
            record["sha256"] = sha256(f"task\0digest\0{record['value']}".encode())
        if record["type"] == "end":
            record["sha256"] = sha256(b"".join(lines))
        lines.append(json.dumps(record, separators=(",", ":")).encode() + b"\n")
    return b"".join(lines)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of data, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def run(api: WorkloadApi, authority: Authority, *, signs: bool, forge: bool) -> None:
    """Run the TaskRun, and print its results and conditions."""
    flags = {"results-from": "sidecar-logs"}
    if signs:
        flags |= {"extensions": "signed", "config.signed": f"trust-domain: {DOMAIN}"}
    with (
        ResultsManager.from_flags(flags) as core,
        Engine(lambda store: Reconciler(core, Cluster(store, api, authority, forge=forge))) as engine,
    ):
        engine.submit(TASKRUN)
        (done,) = engine.run_until_done(timeout=60)
    status = done["status"]
    values = {result["name"]: result["value"] for result in status.get("results") or ()}
    print(f"{'signed' if signs else 'unsigned'}, {'forged' if forge else 'genuine'}: {values}")
    for condition in status["conditions"]:
        if signs:
            print(f"  {condition['type']} {condition['status']}: {condition['message']}")


def main() -> None:
    """Run it genuine and forged, without signatures and with them."""
    authority = new_authority(DOMAIN)
    controller = served_svid(CONTROLLER, authority.issue_svid(CONTROLLER), authority)
    with WorkloadApi(svids=[controller]) as api:
        os.environ["SPIFFE_ENDPOINT_SOCKET"] = api.address
        run(api, authority, signs=False, forge=True)
        run(api, authority, signs=True, forge=False)
        run(api, authority, signs=True, forge=True)


if __name__ == "__main__":
    main()
