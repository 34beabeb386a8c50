"""Run pods that sign their results, and change what arrives of them on its way to the verifier."""

import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import yaml

from resultsfw.cluster import PODS, Cluster, Kind, Object
from resultsfw.core import ResultsManager
from resultsfw.jsons import copy
from resultsfw.pods import containers
from resultsfw.signatures import TrustBundle, controller_identity
from resultsfw.testing.clusters import ModifiedCluster, RecordingCluster, Request
from resultsfw.testing.harness import Harness, Outcome, SamplePod
from resultsfw.testing.signing_ca import Credential, new_authority
from resultsfw.testing.signing_forgery import Scene
from resultsfw.testing.workload_api import WorkloadApi, served_svid
from resultsfw.types import Extraction
from resultsfw_sidecar import wire
from resultsfw_sidecar.digest import sha256
from resultsfw_signing.statement import ANNOTATION, SIGNER_CONTAINER, run_spiffe_id

__all__ = ["DOMAIN", "SignedHarness"]

DOMAIN: Final = "example.org"
_EXTENSION: Final = "signed"
_CONTROLLER: Final = str(controller_identity(DOMAIN))

Change = Callable[[Extraction], Extraction]


class SignedHarness(Harness):
    """A harness whose pods sign: with the extension ``signed``, and a Workload API of its own.

    Args:
        backend: See `Harness`.
        config: See `Harness`.
        name: See `Harness`.
        external_state: See `Harness`.
        claims: See `Harness`.

    Attributes:
        root: The authority that issues the identities of pods and controller.
        foreign: An authority that is not in the trust bundle.
    """

    def __init__(
        self,
        backend: object,
        config: Mapping[str, Any],
        *,
        name: str = "under-test",
        external_state: MutableMapping[str, bytes] | None = None,
        claims: Path | None = None,
    ) -> None:
        # Valid since long before the certificates of any attack.
        self.root = new_authority(DOMAIN, at=datetime.now(UTC) - timedelta(hours=6))
        self.foreign = new_authority(DOMAIN)
        self._credentials: dict[str, Credential] = {}
        self._delivered: dict[str, Extraction] = {}
        self._change: Change = _same
        self._api = WorkloadApi(
            svids=[served_svid(_CONTROLLER, self.root.issue_svid(_CONTROLLER), self.root)]
        )
        with ExitStack() as opened:
            opened.enter_context(self._api)
            # What the local engine mounts as the volume of SPIFFE's CSI driver, and what a controller uses.
            opened.enter_context(mock.patch.dict(os.environ, {"SPIFFE_ENDPOINT_SOCKET": self._api.address}))
            super().__init__(backend, config, name=name, external_state=external_state, claims=claims)
            self._registered = {self.name: _with_extract(self.plugin, self._changed)}
            self._close_cores()
            self._opened = opened.pop_all()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._close_cores()
        self._opened.close()

    def flags(self, more: Mapping[str, str]) -> dict[str, str]:
        """See `Harness.flags`: with the extension."""
        signed = {"trust-domain": DOMAIN, "tekton-keys": True, "policy": more.get("policy", "fail")}
        others = {flag: value for flag, value in more.items() if flag != "policy"}
        return super().flags(
            {"extensions": _EXTENSION, f"config.{_EXTENSION}": yaml.safe_dump(signed), **others}
        )

    @property
    def bundle(self) -> TrustBundle:
        """Return the trust bundle."""
        return TrustBundle(DOMAIN, (self.root.certificate,))

    def scene(self, sample: SamplePod) -> Scene:
        """Return what an attack on a pod needs."""
        uid = sample.pod["metadata"]["uid"]
        return Scene(
            run=sample.run,
            pod_uid=uid,
            domain=DOMAIN,
            root=self.root,
            foreign=self.foreign,
            credential=self._credentials[uid],
        )

    def delivered(self, sample: SamplePod) -> Extraction:
        """Return what a pod that has ended delivers, with its envelope, wherever that arrives; read once."""
        uid = sample.pod["metadata"]["uid"]
        if uid not in self._delivered:
            self._delivered[uid] = self._read_delivered(sample)
        return self._delivered[uid]

    def collect_changed(
        self, sample: SamplePod, changed: Extraction, core: ResultsManager | None = None
    ) -> Outcome:
        """Collect the results of a pod from which something else arrives than it delivered.

        Args:
            sample: The pod.
            changed: What arrives. The envelope comes where that of the pod comes: from the backend, or from
                the log of the container that signs.
            core: Collects; by default the harness's.
        """
        if not _has_own_signer(sample):
            return self._collect(sample, lambda _: changed, self.cluster, core)
        values = replace(changed, envelope="", envelope_fault="", tekton_signatures={})
        log = _signed_log(sample.pod["metadata"]["uid"], changed)

        def rewritten(request: Request, pieces: Iterable[bytes]) -> Iterable[bytes]:
            return [log] if request.container == SIGNER_CONTAINER else pieces

        return self._collect(sample, lambda _: values, ModifiedCluster(self.cluster, log=rewritten), core)

    def unsigned_pod(self, sample: SamplePod) -> Object:
        """Return the pod as it is made without signing: without annotation, variable and signer."""
        pod: Object = copy(sample.pod)
        pod["metadata"]["annotations"].pop(ANNOTATION, None)
        for kind in ("containers", "initContainers"):
            kept = [part for part in pod["spec"].get(kind) or () if part["name"] != SIGNER_CONTAINER]
            pod["spec"][kind] = kept
            for container in kept:
                variables = container.get("env") or ()
                container["env"] = [entry for entry in variables if entry["name"] != wire.ENV_SIGNING]
        return pod

    def _read_delivered(self, sample: SamplePod) -> Extraction:
        seen: list[Extraction] = []

        def note(found: Extraction) -> Extraction:
            seen.append(found)
            return found

        self._collect(sample, note, self.cluster)
        found = seen[-1]
        if not _has_own_signer(sample):
            return found
        record = _signature(self._signer_log(sample))
        return replace(
            found,
            envelope=record.get("envelope", ""),
            envelope_fault=record.get("fault", ""),
            tekton_signatures=record.get("tekton", {}),
        )

    def _changed(self, found: Extraction) -> Extraction:
        return self._change(found)

    def _collect(
        self, sample: SamplePod, change: Change, cluster: Cluster, core: ResultsManager | None = None
    ) -> Outcome:
        self._change = change
        try:
            return self.collect(sample, cluster=cluster, core=core, final=True)
        finally:
            self._change = _same

    def _signer_log(self, sample: SamplePod) -> bytes:
        pieces = self.store.read_log(sample.run.namespace, sample.name, SIGNER_CONTAINER, limit=1 << 20)
        return b"".join(pieces)

    def _with_claims(self, cluster: Cluster) -> RecordingCluster:
        return _RegisteringCluster(super()._with_claims(cluster), self._register)

    def _register(self, pod: Object) -> None:
        """Give a pod that was created the identities that it needs."""
        for container in containers(pod).values():
            for variable in container.get("env") or ():
                if variable["name"] == wire.ENV_SIGNING:
                    self._issue(json.loads(variable["value"])["run"], pod["metadata"]["uid"])

    def _issue(self, run: Mapping[str, Any], pod_uid: str) -> None:
        of_run = run_spiffe_id(DOMAIN, run["namespace"], run["name"])
        of_pod = f"{of_run}/pod/{pod_uid}"
        self._credentials[pod_uid] = self.root.issue_svid(of_pod)
        self._api.add(
            served_svid(of_pod, self._credentials[pod_uid], self.root),
            served_svid(of_run, self.root.issue_svid(of_run), self.root),
        )

    def _close_cores(self) -> None:
        for core in self._cores.values():
            core.close()
        self._cores.clear()


class _RegisteringCluster(RecordingCluster):
    """Calls a function with each Pod that is created."""

    def __init__(self, cluster: Cluster, created: Callable[[Object], None]) -> None:
        super().__init__(cluster)
        self._created = created

    def create(self, kind: Kind, obj: Object) -> Object:
        """See `Cluster.create`."""
        found = super().create(kind, obj)
        if kind == PODS:
            self._created(found)
        return found


def _same(found: Extraction) -> Extraction:
    return found


def _with_extract(plugin: object, change: Change) -> object:
    """Return a backend that returns something else from ``extract`` than its own hook does."""
    names = [name for name in dir(plugin) if not name.startswith("__")]
    parts = {name: getattr(plugin, name) for name in names}
    genuine = parts["extract"]

    @functools.wraps(genuine)
    def extract(*arguments: Any) -> Extraction:
        return change(genuine(*arguments))

    return SimpleNamespace(**parts | {"extract": extract})


def _has_own_signer(sample: SamplePod) -> bool:
    """Return whether the pod's results are signed by a container that does nothing else."""
    return SIGNER_CONTAINER in containers(sample.pod)


def _signature(log: bytes) -> dict[str, Any]:
    records: Iterable[dict[str, Any]] = (json.loads(line) for line in log.splitlines())
    return next((record for record in records if record["type"] == wire.TYPE_SIGNATURE), {})


def _signed_log(pod_uid: str, changed: Extraction) -> bytes:
    """Return the log of a container that only signs, whole, with another envelope or none."""
    lines = [wire.start_line(pod_uid, wire.WATCH_POLL)]
    if changed.envelope:
        lines.append(wire.signature_line(changed.envelope, changed.tekton_signatures))
    elif changed.envelope_fault:
        lines.append(wire.signature_fault_line(changed.envelope_fault))
    body = b"".join(lines)
    return body + wire.end_line(pod_uid, len(lines), sha256(body).hexdigest(), wire.WHY_STEPS_DONE)
