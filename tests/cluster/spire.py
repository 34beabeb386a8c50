"""A SPIRE server and its agent beside the cluster: registers the controllers of the tests.

`RESULTSFW_SPIRE_SERVER_SOCKET` is the server's socket for administrators, `RESULTSFW_SPIRE_AGENT_SOCKET` the
agent's Workload API, in a folder that pods may mount from the node; `RESULTSFW_SPIRE_PARENT_ID` is the
agent's SPIFFE ID. The agent needs the workload attestors `k8s` and `unix`, and this machine is the node.
"""

import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Final

import pytest
import yaml

from resultsfw.errors import ClusterError
from resultsfw_extensions import _spire_entries as entries
from resultsfw_extensions._spiffe_grpc import call

VARIABLES: Final = tuple(f"RESULTSFW_SPIRE_{name}" for name in ("SERVER_SOCKET", "AGENT_SOCKET", "PARENT_ID"))
CONTROLLER: Final = "/ns/resultsfw/sa/resultsfw-controller"
"""Path of the SPIFFE ID of a controller, as `resultsfw verify` expects it."""
IMAGE: Final = os.environ.get("RESULTSFW_SIGNED_SIDECAR_IMAGE", "docker.io/resultsfw/sidecar-signed:0.1.0")

_BUNDLE = """
import sys
from cryptography.hazmat.primitives.serialization import Encoding
from spiffe import WorkloadApiClient
with WorkloadApiClient(sys.argv[1], default_timeout=30) as client:
    for bundle in client.fetch_x509_bundles().bundles:
        if str(bundle.trust_domain) == sys.argv[2]:
            for authority in bundle.x509_authorities:
                print(authority.public_bytes(Encoding.PEM).decode())
"""

_ADMIN = b"\x38\x01"
"""Field 7 of an entry, `admin`, as true."""


class Spire:
    """The server and the agent that the environment names.

    Attributes:
        domain: The trust domain.
        agent: The agent's socket.
        group: A group of this machine by which a controller is known to the agent; no pod has it.
    """

    def __init__(self):
        server, agent, self.parent_id = (os.environ[name] for name in VARIABLES)
        self.server = f"unix://{server}"
        self.agent = Path(agent)
        self.domain = self.parent_id.removeprefix("spiffe://").partition("/")[0]
        self.group = 100_000 + secrets.randbelow(900_000)
        self._id = f"resultsfw-test.{uuid.uuid4()}"

    @property
    def command(self):
        """What starts a process in the group."""
        return ("setpriv", f"--regid={self.group}", "--clear-groups")

    def register_controller(self):
        """Give processes of the group an identity that may make entries."""
        entry = entries.Entry(
            id=self._id,
            spiffe_id={"trust_domain": self.domain, "path": CONTROLLER},
            parent_id={
                "trust_domain": self.domain,
                "path": self.parent_id.removeprefix(f"spiffe://{self.domain}"),
            },
            selectors=[{"type": "unix", "value": f"gid:{self.group}"}],
        )
        admin = entries.Entry.FromString(entry.SerializeToString() + _ADMIN)
        self._call("BatchCreateEntry", entries.CreateRequest(entries=[admin]))

    def forget_controller(self):
        self._call("BatchDeleteEntry", entries.DeleteRequest(ids=[self._id]))

    def has_entry(self, pod):
        """Whether the server has the entry of a pod."""
        try:
            # The request has the id of one entry as its field 1, as that for a deletion has.
            self._call("GetEntry", entries.DeleteRequest(ids=[entries.entry_id(pod, 0)]))
        except ClusterError:
            return False
        return True

    def _call(self, method, request):
        path = f"/spire.api.server.entry.v1.Entry/{method}"
        return call(self.server, path, request.SerializeToString(), server_id="", credentials=lambda: None)

    def bundle(self):
        """The certificates of the trust domain's authorities, PEM, as the controller's agent has them."""
        command = [*self.command, sys.executable, "-c", _BUNDLE, f"unix://{self.agent}", self.domain]
        return subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout

    def options(self, **more):
        """The options of the extension, for the flag `config.signed`."""
        server = os.environ.get("RESULTSFW_SPIRE_SERVER", self.server)
        options = {
            "trust-domain": self.domain,
            "image": IMAGE,
            "workload-api": "host-path",
            "socket-folder": str(self.agent.parent),
            "socket-file": self.agent.name,
            "controller-socket": f"unix://{self.agent}",
            "entries": {"server": server, "parent-id": self.parent_id},
            **more,
        }
        return {"extensions": "signed", "config.signed": yaml.safe_dump(options)}

    def stop_agent(self):
        """Stop the agent, by the command that the environment names."""
        subprocess.run(shlex.split(os.environ["RESULTSFW_SPIRE_AGENT_STOP"]), check=True, timeout=60)
        assert not self.agent.exists() or not _listens(self.agent)

    def start_agent(self):
        subprocess.run(shlex.split(os.environ["RESULTSFW_SPIRE_AGENT_START"]), check=True, timeout=60)
        end = time.monotonic() + 60
        while not _listens(self.agent):
            assert time.monotonic() < end
            time.sleep(0.3)


def _listens(path):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


needs_agent_commands = pytest.mark.skipif(
    "RESULTSFW_SPIRE_AGENT_STOP" not in os.environ or "RESULTSFW_SPIRE_AGENT_START" not in os.environ,
    reason="RESULTSFW_SPIRE_AGENT_STOP and RESULTSFW_SPIRE_AGENT_START are not set",
)
