"""Sets up each backend on a cluster for `bench/backends.py`, and counts what it stores outside the API."""

import base64
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import test_http
import yaml
from place import Place
from registryserver import RealRegistry
from rights import install
from s3server import S3Server
from store_harness import SQLite
from test_self_update import bind_pods

from resultsfw import Kind, read_reference
from resultsfw.cluster import CONFIG_MAPS
from resultsfw.tekton.api.kinds import CLAIMS, SECRETS, TASKRUNS
from resultsfw_backends.custom_resource import RUN_RESULTS
from resultsfw_transports.store import Store

Object = dict[str, Any]

NET: Final = os.environ.get("RESULTSFW_SIDECAR_NET_IMAGE", "docker.io/resultsfw/sidecar-net:0.1.0")
STORE: Final = os.environ.get(
    "RESULTSFW_STORE_SIDECAR_IMAGE", "docker.io/resultsfw/sidecar-object-store:0.1.0"
)
ADDRESS: Final = os.environ.get("RESULTSFW_NODE_ADDRESS", "")
_VOLUMES: Final = Kind("", "v1", "persistentvolumes", "PersistentVolume")


@dataclass(frozen=True)
class PreparedBackend:
    """One backend in one configuration, ready to be measured.

    Attributes:
        backend: The name of the backend.
        config: Its options.
        watched: The kind of object that the sidecar writes values to, if it does.
        stored: Bytes outside the API, of this run, or of all runs so far.
    """

    backend: str
    config: Object
    watched: Kind | None = None
    stored: Callable[[Object], int] = lambda _: 0

    @property
    def flags(self) -> dict[str, str]:
        """The data of the ConfigMap feature-flags."""
        flags = {"results-from": self.backend, "max-result-size": "1572864"}
        if self.config:
            flags[f"config.{self.backend}"] = yaml.safe_dump(self.config)
        return flags


@contextmanager
def set_up(name: str, place: Place, folder: Path) -> Iterator[PreparedBackend]:
    """Start what a configuration needs, and stop it afterwards."""
    backend, *words = name.split(", ")
    with ExitStack() as stack:
        yield _SET_UP[backend](stack, place, folder, words)


def _plain(_stack: ExitStack, _place: Place, _folder: Path, words: list[str]) -> PreparedBackend:
    return PreparedBackend("sidecar-logs", {"compress": True} if "compress" in words else {})


def _message(_stack: ExitStack, _place: Place, _folder: Path, _words: list[str]) -> PreparedBackend:
    return PreparedBackend("termination-message", {})


def _config_map(_stack: ExitStack, _place: Place, _folder: Path, _words: list[str]) -> PreparedBackend:
    return PreparedBackend("config-map", {"image": NET}, CONFIG_MAPS)


def _custom_resource(_stack: ExitStack, place: Place, _folder: Path, _words: list[str]) -> PreparedBackend:
    install(place.server, "custom-resource")
    return PreparedBackend("custom-resource", {"image": NET}, RUN_RESULTS)


def _self_update(_stack: ExitStack, place: Place, _folder: Path, _words: list[str]) -> PreparedBackend:
    install(place.server, "self-update")
    bind_pods(place)
    return PreparedBackend("self-update", {"image": NET}, TASKRUNS)


def _http(stack: ExitStack, place: Place, folder: Path, _words: list[str]) -> PreparedBackend:
    accounts = test_http.Accounts(place, folder)
    stack.callback(accounts.close)
    store = SQLite(folder)
    server = test_http.ResultsServer(folder, accounts, store)
    stack.callback(server.process.wait)
    stack.callback(server.process.terminate)
    store.sql("CREATE TABLE bench_bodies (bytes INTEGER)")
    store.sql(
        "CREATE TRIGGER bench_body AFTER INSERT ON resultsfw_deliveries "
        "BEGIN INSERT INTO bench_bodies VALUES (length(new.body)); END"
    )
    reader = folder / "reader"
    reader.write_text(accounts.token("controller", {"audiences": [test_http.AUDIENCE]}))
    config = {
        "url": f"https://{ADDRESS}:{server.port}",
        "ca": server.ca.cert_pem.bytes().decode(),
        "token-file": str(reader),
        "image": NET,
    }

    def stored(_run: Object) -> int:
        [(total,)] = store.sql("SELECT coalesce(sum(bytes), 0) FROM bench_bodies")
        return int(total)

    return PreparedBackend("http", config, stored=stored)


def _oci(stack: ExitStack, _place: Place, folder: Path, _words: list[str]) -> PreparedBackend:
    registry = RealRegistry(folder / "registry", listen=ADDRESS)
    stack.callback(registry.close)
    config = {"repository": f"{registry.host}/results", "plain-http": True, "image": NET}
    return PreparedBackend("oci", config, stored=lambda _: _bytes_below(folder / "registry" / "data"))


def _pvc(_stack: ExitStack, place: Place, _folder: Path, _words: list[str]) -> PreparedBackend:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "",
    }
    place.server.create(CLAIMS, {"metadata": {"name": "results", "namespace": place.namespace}, "spec": spec})

    def stored(_run: Object) -> int:
        volume = place.server.get(CLAIMS, place.namespace, "results")["spec"].get("volumeName")
        if volume is None:
            return 0
        return _bytes_below(Path(place.server.get(_VOLUMES, "", volume)["spec"]["hostPath"]["path"]))

    config: Object = {"image": NET}
    if group := os.environ.get("RESULTSFW_CLAIM_GROUP"):
        config["fs-group"] = int(group)
    return PreparedBackend("pvc", config, stored=stored)


def _object_store(stack: ExitStack, place: Place, folder: Path, words: list[str]) -> PreparedBackend:
    server = S3Server(folder / "s3", listen="0.0.0.0")  # noqa: S104 - pods come from elsewhere
    stack.callback(server.stop)
    os.environ.update(server.env)  # the controller's own
    server.wait()
    data = {key: base64.b64encode(value.encode()).decode() for key, value in server.env.items()}
    place.server.create(SECRETS, {"metadata": {"name": "store", "namespace": place.namespace}, "data": data})
    options = {"endpoint": f"http://{ADDRESS}:{server.port}", "region": "us-east-1"}
    config: Object = {"url": "s3://results/bench", "options": options, "secret": "store", "image": STORE}
    if "encryption" in words:
        keys = folder / "keys"
        keys.mkdir()
        subprocess.run(["openssl", "genrsa", "-out", str(keys / "bench.pem"), "3072"], check=True)
        config["encryption"] = {"keys": "secret-file", "options": {"folder": str(keys)}}
    store = Store(config["url"], options, patience=5)

    def stored(run: Object) -> int:
        found = [read_reference(result["value"]) for result in run.get("status", {}).get("results", ())]
        paths = [reference.location.removeprefix(config["url"] + "/") for reference in found if reference]
        return sum(store.size(path) or 0 for path in paths)

    return PreparedBackend("object-store", config, stored=stored)


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


_SET_UP: Final = {
    "termination-message": _message,
    "sidecar-logs": _plain,
    "config-map": _config_map,
    "custom-resource": _custom_resource,
    "self-update": _self_update,
    "http": _http,
    "pvc": _pvc,
    "oci": _oci,
    "object-store": _object_store,
}
