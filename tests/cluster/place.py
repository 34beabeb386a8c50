"""A namespace of its own on the cluster, and controllers that take the runs made in it and no others."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from api import ApiServer
from running import CONTROLLER, Running

from resultsfw import PODS, Kind, Object
from resultsfw.cluster import CONFIG_MAPS, EVENTS
from resultsfw.errors import NotFoundError
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS, TASKRUNS
from resultsfw.tekton.pod.builder import PodOptions

NAMESPACES = Kind("", "v1", "namespaces", "Namespace")


def pod_options() -> PodOptions:
    """Images of the pods, as the environment names them."""
    return PodOptions(
        entrypoint_image=os.environ.get("RESULTSFW_ENTRYPOINT_IMAGE", "tekton/entrypoint:1"),
        shell_image=os.environ.get("RESULTSFW_SHELL_IMAGE", "busybox:1"),
        nop_image=os.environ.get("RESULTSFW_NOP_IMAGE", "tekton/nop:1"),
    )


def create_namespace(server: ApiServer, name: str) -> None:
    """Create a namespace and wait for the service account that every pod has, which the cluster makes."""
    server.create(NAMESPACES, {"metadata": {"name": name, "namespace": ""}})
    end = time.monotonic() + 60
    while True:
        try:
            server.get(SERVICE_ACCOUNTS, name, "default")
        except NotFoundError:
            assert time.monotonic() < end, f"namespace {name} has no service account"
            time.sleep(0.3)
        else:
            return


def trust_api_server(server: ApiServer, namespace: str) -> None:
    """Let pods trust the API server where the cluster publishes no certificate for that.

    A controller manager without ``--root-ca-file`` publishes none; it cannot change what is immutable.
    """
    end = time.monotonic() + 60
    while True:
        try:
            found = server.get(CONFIG_MAPS, namespace, "kube-root-ca.crt")
        except NotFoundError:
            assert time.monotonic() < end, f"namespace {namespace} has no kube-root-ca.crt"
            time.sleep(0.3)
        else:
            break
    if not (found.get("data") or {}).get("ca.crt"):
        data = {"ca.crt": _certificates(server)}
        server.patch(CONFIG_MAPS, namespace, "kube-root-ca.crt", {"data": data, "immutable": True})


def _certificates(server: ApiServer) -> str:
    """Return the certificates that the API server shows, up to that of its authority."""
    command = ["openssl", "s_client", "-showcerts", "-connect", "{}:{}".format(*server.address)]
    shown = subprocess.run(command, input="", capture_output=True, text=True, check=True).stdout
    return "\n".join(re.findall("-----BEGIN CERT.*?END CERTIFICATE-----", shown, re.DOTALL)) + "\n"


class Place:
    """Made with a test, gone with it.

    Args:
        server: The cluster.
        options: Images of the pods.
        name: Of the namespace; nobody else's.
    """

    def __init__(self, server: ApiServer, options: PodOptions, name: str) -> None:
        self.server = server
        self.options = options
        self.namespace = name
        self.managed_by = f"resultsfw.dev/{name}"
        self.started: list[Running] = []
        create_namespace(server, name)
        if "RESULTSFW_API_FORWARD" in os.environ:
            trust_api_server(server, name)

    def flags(self, **data: str) -> None:
        """The ConfigMap of the controllers here; artifacts may be used, as some captures do."""
        metadata = {"name": "feature-flags", "namespace": self.namespace}
        made = {key.replace("_", "-"): value for key, value in {"enable_artifacts": "true", **data}.items()}
        self.server.create(CONFIG_MAPS, {"metadata": metadata, "data": made})

    def start(self, *options: str, sidecar: bool = True, prefix: Sequence[str] = ()) -> Running:
        """A controller; with its own sidecar image unless the flags name one.

        Args:
            options: Of the command line.
            sidecar: Whether the environment's sidecar image is named on it.
            prefix: A command that starts it.
        """
        images = {"entrypoint": self.options.entrypoint_image, "shell": self.options.shell_image}
        images["nop"] = self.options.nop_image
        images["workingdirinit"] = os.environ.get("RESULTSFW_WORKINGDIRINIT_IMAGE", "tekton/workingdirinit:1")
        if sidecar and (image := os.environ.get("RESULTSFW_SIDECAR_IMAGE")):
            images["sidecar"] = image
        command = [*prefix, *CONTROLLER, "--kubeconfig", os.environ["RESULTSFW_KUBECONFIG"]]
        command += ["--listen", "127.0.0.1:0", "--managed-by", self.managed_by]
        command += ["--namespace", self.namespace, *options]
        for purpose, image in images.items():
            command += [f"--{purpose}-image", image]
        self.started.append(controller := Running(command, dict(os.environ)))
        return controller

    def runs(self) -> dict[str, Object]:
        """By name."""
        return {
            taskrun["metadata"]["name"]: taskrun for taskrun in self.server.list(TASKRUNS, self.namespace)
        }

    def pods(self) -> dict[str, Object]:
        """By name."""
        return {pod["metadata"]["name"]: pod for pod in self.server.list(PODS, self.namespace)}

    def until(self, so: Callable[[], Any], seconds: float) -> None:
        """Wait until it is so."""
        end = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < end, {
                name: run.get("status", {}).get("conditions") for name, run in self.runs().items()
            }
            time.sleep(0.3)

    def until_done(
        self, seconds: float, meanwhile: Callable[[Object], None] | None = None
    ) -> dict[str, Object]:
        """Wait until every run is over; what became of them."""

        def so() -> bool:
            runs = self.runs().values()
            for run in runs if meanwhile else ():
                meanwhile(run)  # type: ignore[misc]
            return all(map(is_done, runs))

        self.until(so, seconds)
        return self.runs()

    def assert_none_doubled(self) -> None:
        """Each pod was placed once, starts and ends were reported at most once; no controller had a fault."""
        placed: Counter[str] = Counter()
        reported: Counter[tuple[str, str]] = Counter()
        for event in self.server.list(EVENTS, self.namespace):
            about = event["involvedObject"]
            if about["kind"] == "Pod" and event["reason"] == "Scheduled":
                placed[about["name"]] += event.get("count") or 1
            elif about["kind"] == "TaskRun":
                reported[about["name"], "start" if event["reason"] == "Started" else "end"] += event["count"]
        assert set(placed.values()) == {1}, placed
        assert set(reported.values()) <= {1}, reported
        for controller in self.started:
            assert not [line for line in controller.lines if "internal error" in line or "Traceback" in line]

    def close(self) -> None:
        for controller in self.started:
            if controller.process.poll() is None:
                controller.signal(signal.SIGKILL)
        self.server.delete(NAMESPACES, "", self.namespace)
