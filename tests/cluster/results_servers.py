"""A results server on this machine for the pods of a cluster, and accounts with the manifests' rights."""

import http.client
import os
import signal
import ssl
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import store_harness
import trustme
import yaml
from postgresql_harness import PostgreSQL, find_programs
from running import Running

from resultsfw.controller.manifests import kind_of, load
from resultsfw.errors import NotFoundError
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS, TASKRUNS

ADDRESS = os.environ.get("RESULTSFW_NODE_ADDRESS", "")
AUDIENCE = "resultsfw-results"


class Accounts:
    """Service accounts that may do what the manifests of the backend say, and no more."""

    def __init__(self, place, folder):
        self.place = place
        self.folder = folder
        self.made = []
        for name in ("controller", "results-server"):
            place.server.create(SERVICE_ACCOUNTS, {"metadata": {"name": name, "namespace": place.namespace}})
        self.grant("")
        self.grant("backends/http")

    def grant(self, manifests):
        for obj in load(manifests):
            if "Role" in obj["kind"]:
                self._make(obj)

    def _make(self, obj):
        suffix = self.place.namespace
        inner = "" if obj["kind"].startswith("Cluster") else self.place.namespace
        metadata = {"name": f"{obj['metadata']['name']}-{suffix}", "namespace": inner}
        if "roleRef" in obj:
            own = not obj["roleRef"]["name"].startswith("system:")
            name = obj["roleRef"]["name"] + (f"-{suffix}" if own else "")
            account = obj["subjects"][0]["name"].removeprefix("resultsfw-")
            subject = {"kind": "ServiceAccount", "name": account, "namespace": self.place.namespace}
            obj = {**obj, "roleRef": {**obj["roleRef"], "name": name}, "subjects": [subject]}
        self.place.server.create(kind_of(obj), {**obj, "metadata": metadata})
        self.made.append((kind_of(obj), metadata))

    def token(self, account, spec=None):
        path = f"/api/v1/namespaces/{self.place.namespace}/serviceaccounts/{account}/token"
        return self.place.server._json("POST", path, {"spec": spec or {}})["status"]["token"]

    def kubeconfig(self, account):
        config = yaml.safe_load(Path(os.environ["RESULTSFW_KUBECONFIG"]).read_text())
        chosen = next(
            context for context in config["contexts"] if context["name"] == config["current-context"]
        )["context"]
        for user in config["users"]:
            if user["name"] == chosen["user"]:
                user["user"] = {"token": self.token(account)}
        file = self.folder / f"{account}.kubeconfig"
        file.write_text(yaml.safe_dump(config))
        return file

    def close(self):
        # With their namespace goes who would let them go.
        for controller in self.place.started:
            if controller.process.poll() is None:
                controller.signal(signal.SIGKILL)
        for name in self.place.runs():
            self.place.server.patch(TASKRUNS, self.place.namespace, name, {"metadata": {"finalizers": None}})
        for kind, metadata in self.made:
            with suppress(NotFoundError):
                self.place.server.delete(kind, metadata["namespace"], metadata["name"])


class ResultsServer(Running):
    """A results server on this machine, for the cluster's pods."""

    def __init__(self, folder, accounts, store, *options):
        self.store = store
        self.ca = trustme.CA()
        cert = self.ca.issue_cert(ADDRESS, "127.0.0.1")
        cert.private_key_pem.write_to_path(str(folder / "tls.key"))
        (folder / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in cert.cert_chain_pems))
        kubeconfig = accounts.kubeconfig("results-server")
        self.command = [sys.executable, "-W", "error", "-m", "resultsfw.cli", "results-server"]
        self.command += ["--store", store.url, "--kubeconfig", str(kubeconfig)]
        if hasattr(store, "server"):
            self.command += ["--store-password-file", str(store.server.password_file)]
        self.command += ["--listen-status", "127.0.0.1:0"]
        self.command += [
            "--tls-cert",
            str(folder / "tls.crt"),
            "--tls-key",
            str(folder / "tls.key"),
            *options,
        ]
        self.port = 0
        self.begin()

    def begin(self):
        env = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
        super().__init__([*self.command, "--listen", f"0.0.0.0:{self.port}"], env)
        try:
            said = self.wait_for("results server on https port", seconds=60)["message"]
        except AssertionError:
            self.process.kill()
            raise
        self.port = int(said.rpartition(" ")[2])

    def ask(self, method, path, token, body=None):
        trust = ssl.create_default_context(cadata=self.ca.cert_pem.bytes().decode())
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=trust)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def kept(self):
        return self.store.left()


@pytest.fixture
def accounts(place, tmp_path):
    accounts = Accounts(place, tmp_path)
    yield accounts
    accounts.close()


@pytest.fixture(scope="module")
def postgresql():
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed")
    server = PostgreSQL(programs)
    yield server
    server.close()


@pytest.fixture
def store(request, tmp_path):
    """The results server's store: of the kind that RESULTSFW_RESULTS_STORE names."""
    kind = os.environ.get("RESULTSFW_RESULTS_STORE", "folder")
    if kind == "postgresql":
        return store_harness.PostgreSQL(request.getfixturevalue("postgresql"))
    return {"folder": store_harness.Folder, "sqlite": store_harness.SQLite}[kind](tmp_path / "store")


@pytest.fixture
def results_server(accounts, tmp_path, store):
    server = ResultsServer(tmp_path, accounts, store)
    yield server
    if server.process.poll() is None:
        assert server.signal(signal.SIGTERM) == 0
    assert not [line for line in server.lines if "Traceback" in line or "eyJ" in line]
