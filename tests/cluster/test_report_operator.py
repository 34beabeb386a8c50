"""`examples/03-report-operator` on a real cluster: as a process, with no more rights than its Role gives."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api import ApiServer
from place import NAMESPACES

from resultsfw import Kind, Object
from resultsfw.errors import AlreadyExistsError, NotFoundError
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS

FOLDER = Path(__file__).parents[2] / "examples" / "03-report-operator"
REPORTS = Kind("example.resultsfw.dev", "v1", "reports", "Report")
CRDS = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
PLURALS = {"ServiceAccount": "serviceaccounts", "Role": "roles", "RoleBinding": "rolebindings"}
NAME = "report-operator"


def until(so: Callable[[], Any], seconds: float, about: Callable[[], Any] = str) -> Any:
    end = time.monotonic() + seconds
    while not (found := so()):
        assert time.monotonic() < end, about()
        time.sleep(0.2)
    return found


class World:
    """A namespace with the example in it, and its operator as a process."""

    def __init__(self, server: ApiServer, namespace: str, folder: Path) -> None:
        self.server, self.namespace, self.folder = server, namespace, folder
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(AlreadyExistsError):
            server.create(CRDS, _cluster_scoped(yaml.safe_load((FOLDER / "crd.yaml").read_text())))
        server.create(NAMESPACES, {"metadata": {"name": namespace, "namespace": ""}})
        until(lambda: _there(server, SERVICE_ACCOUNTS, namespace, "default"), 60)
        for one in yaml.safe_load_all((FOLDER / "rbac.yaml").read_text()):
            group, _, version = one["apiVersion"].rpartition("/")
            one["metadata"]["namespace"] = namespace
            for subject in one.get("subjects") or ():
                subject["namespace"] = namespace
            server.create(Kind(group, version, PLURALS[one["kind"]], one["kind"]), one)
        token = Kind("", "v1", f"serviceaccounts/{NAME}/token", "TokenRequest")
        asked = {"metadata": {"namespace": namespace}, "spec": {"expirationSeconds": 3600}}
        self.token = server.create(token, asked)["status"]["token"]
        until(lambda: _there(server, REPORTS, namespace, ""), 60)

    def kubeconfig(self) -> Path:
        """The cluster as the operator's service account sees it."""
        config = yaml.safe_load(Path(os.environ["RESULTSFW_KUBECONFIG"]).read_text())
        config["users"] = [{"name": NAME, "user": {"token": self.token}}]
        for one in config["contexts"]:
            one["context"]["user"] = NAME
        path = self.folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def start(self) -> None:
        image = os.environ.get("RESULTSFW_SIDECAR_IMAGE")
        env = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig()),
            **({"SIDECAR_IMAGE": image} if image else {}),
        }
        command = [sys.executable, "-m", "kopf", "run", str(FOLDER / "report_operator.py")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--namespace", self.namespace, "--standalone"], stdout=log, stderr=log, env=env
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)

    def create(self, name: str, **spec: Any) -> None:
        report = yaml.safe_load((FOLDER / "report.yaml").read_text())
        report["metadata"] = {"name": name, "namespace": self.namespace}
        report["spec"] |= spec
        self.server.create(REPORTS, report)

    def verdict(self, name: str) -> Object:
        """The status, once it has one."""

        def look() -> Object | None:
            status = self.server.get(REPORTS, self.namespace, name).get("status") or {}
            return status if status.get("conditions") else None

        found: Object = until(look, 120, self.log.read_text)
        return found

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill(signal.SIGTERM)
        for one in self.server.list(REPORTS, self.namespace):
            # Whoever would take its finalizer away is gone.
            name = one["metadata"]["name"]
            self.server.patch(REPORTS, self.namespace, name, {"metadata": {"finalizers": None}})
        self.server.delete(NAMESPACES, "", self.namespace)


def _cluster_scoped(obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "namespace": ""}}


def _there(server: ApiServer, kind: Kind, namespace: str, name: str) -> bool:
    try:
        server.get(kind, namespace, name) if name else server.list(kind, namespace)
    except NotFoundError:
        return False
    return True


@pytest.fixture
def world(server: ApiServer, name: str, tmp_path: Path) -> Iterator[World]:
    one = World(server, name, tmp_path)
    yield one
    one.close()


def results(status: Object) -> dict[str, Any]:
    return {one["name"]: one["value"] for one in status.get("results") or ()}


def test_reports_come_to_their_results_with_these_rights_only(world):
    world.start()
    world.create("sizes")
    large = (
        "head -c 5000 /dev/zero | tr '\\0' x > $RESULTSFW_RESULTS/big; printf 1 > $RESULTSFW_RESULTS/small"
    )
    world.create("large", script=large, results=[{"name": "small"}, {"name": "big"}])
    status = world.verdict("sizes")
    assert status["conditions"][0]["status"] == "True"
    assert results(status)["system"][0] == "Linux"
    status = world.verdict("large")
    (condition,) = status["conditions"]
    assert condition["reason"] == "ResultTooLarge"
    assert 'result "big" has 5000 bytes, over the limit of 4096 bytes' in condition["message"]
    assert results(status) == {"small": "1"}
    # A right that it lacks would be told here, and by kopf for ever.
    said = world.log.read_text()
    assert "Traceback" not in said
    assert "orbidden" not in said
    # Deleted, it takes Job and pod along: kopf's finalizer goes, whoever holds it.
    world.server.delete(REPORTS, world.namespace, "sizes")
    until(lambda: not _there(world.server, REPORTS, world.namespace, "sizes"), 30, world.log.read_text)


def test_an_operator_that_is_killed_in_the_middle_goes_on(world):
    world.start()
    world.create("slow", script="sleep 4; printf 1 > $RESULTSFW_RESULTS/n", results=[{"name": "n"}])
    jobs = Kind("batch", "v1", "jobs", "Job")
    until(lambda: world.server.list(jobs, world.namespace), 60, world.log.read_text)
    world.kill()
    # The script ends while nobody looks.
    until(lambda: world.server.list(jobs, world.namespace)[0]["status"].get("succeeded"), 90)
    assert not (world.server.get(REPORTS, world.namespace, "slow").get("status") or {}).get("conditions")
    world.start()
    status = world.verdict("slow")
    assert (status["conditions"][0]["status"], results(status)) == ("True", {"n": "1"})
    assert len(world.server.list(jobs, world.namespace)) == 1


def test_a_report_whose_pod_is_gone_says_so(world):
    """Deleted while no operator ran: the results went with it, and that is no hang."""
    world.start()
    world.create("lost", script="sleep 600", results=[{"name": "n"}])
    jobs, pods = Kind("batch", "v1", "jobs", "Job"), Kind("", "v1", "pods", "Pod")
    pod = until(lambda: world.server.list(pods, world.namespace), 60, world.log.read_text)[0]
    world.kill()
    world.server.delete(pods, world.namespace, pod["metadata"]["name"], grace_seconds=0)
    world.start()
    status = world.verdict("lost")
    assert status["conditions"][0]["status"] == "False"
    assert "its pod is gone" in status["conditions"][0]["message"]
    assert world.server.list(jobs, world.namespace)
