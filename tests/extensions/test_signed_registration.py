"""A pod's signer is registered when the pod exists, and its entry removed when it has signed, on request."""

import itertools
import threading

import pytest
from signed_pods_harness import NO_LOG, PLAIN, STAMP, Logs, arrived_names, new_core, pod_of, read, signer_log
from signing_harness import AT, RUN, authority

from resultsfw.errors import FlagError, TooEarlyError, UnavailableError
from resultsfw.testing.workload_api import WorkloadApi, served_svid
from resultsfw_extensions import _circuit_breaker, _signed_registration
from resultsfw_extensions._signed_config import SignedConfig
from resultsfw_extensions._signed_identity import Identity
from resultsfw_extensions._signed_registration import Registration

CONTROLLER = "spiffe://example.org/controller"
POD_ID = "spiffe://example.org/ns/team-a/taskrun/build-1/pod/pod-uid-1"
RUN_ID = "spiffe://example.org/ns/team-a/taskrun/build-1"
ENTRIES = {"server": "spire:8081", "parent-id": "spiffe://example.org/nodes"}


class Client:
    """Stands for the SPIRE server.

    Attributes:
        calls: Each call, with its arguments.
        error: Raised by each call.
    """

    def __init__(self):
        self.calls = []
        self.error = None

    def create(self, pod, container, identities):
        self._call("create", pod["metadata"]["uid"], container, identities)

    def delete(self, pod, identities):
        self._call("delete", pod["metadata"]["uid"], identities)

    def _call(self, *call):
        self.calls.append(call)
        if self.error:
            raise self.error


@pytest.fixture
def client(monkeypatch):
    client = Client()
    monkeypatch.setattr(_signed_registration, "EntryClient", lambda *_: client)
    return client


@pytest.fixture(scope="module")
def api():
    svid = served_svid(CONTROLLER, authority().issue_svid(CONTROLLER, at=AT), authority())
    with WorkloadApi(svids=[svid]) as api:
        yield api


def test_only_so_many_pods_wait_for_the_removal_of_their_entries(client, monkeypatch, tmp_path):
    monkeypatch.setattr(_signed_registration, "_WAITING", 1)
    config = SignedConfig.model_validate({"trust-domain": "example.org", "entries": ENTRIES})
    registration = Registration(config, Identity(f"unix://{tmp_path}/agent.sock"))
    answered = threading.Event()
    monkeypatch.setattr(client, "delete", lambda *_: (client.calls.append("delete"), answered.wait()))
    for _ in range(3):
        registration.remove(RUN, pod_of("resultsfw-signer"))
    answered.set()
    registration._remover.submit(int).result()
    assert client.calls == ["delete"]
    registration.remove(RUN, pod_of("resultsfw-signer"))
    registration._remover.submit(int).result()
    assert client.calls == ["delete", "delete"]
    registration.close()


@pytest.mark.parametrize(
    ("container", "options", "identities"),
    [
        ("resultsfw-signer", {}, [POD_ID]),
        ("sidecar-tekton-log-results", {"tekton-keys": True}, [POD_ID, RUN_ID]),
    ],
)
def test_the_container_that_signs_gets_the_pods_identity(api, client, container, options, identities):
    with new_core(api, read(), entries=ENTRIES, **options) as core:
        assert core.pod_created(RUN, pod_of(container)).status == "Unknown"
    assert client.calls == [("create", "pod-uid-1", container, identities)]


def test_all_steps_get_the_runs_identity_where_tektons_entrypoint_signs(api, client):
    pod = pod_of("")
    pod["spec"]["containers"][0]["args"] += ["-enable_spire", "--", "x"]
    with new_core(api, read(), entries=ENTRIES) as core:
        core.pod_created(RUN, pod)
    assert client.calls == [("create", "pod-uid-1", None, [RUN_ID])]


def test_a_pod_that_is_not_signed_is_not_registered(api, client):
    with new_core(api, read(), entries=ENTRIES, namespaces={RUN.namespace: "off"}) as core:
        core.pod_created(RUN, pod_of())
    with new_core(api, read(), entries=ENTRIES) as core:
        core.pod_created(RUN, pod_of(""))
        core.collect(RUN, pod_of(""), NO_LOG, stamp=STAMP)
        core.extensions["signed"].plugin._registration._remover.shutdown(wait=True)
    with new_core(api, read()) as core:
        core.pod_created(RUN, pod_of())
    assert client.calls == []


def test_the_core_retries_when_the_server_is_away(api, client):
    client.error = UnavailableError("away")
    with new_core(api, read(), entries=ENTRIES) as core, pytest.raises(UnavailableError, match="away"):
        core.pod_created(RUN, pod_of())


def test_a_server_that_hangs_is_not_asked_by_each_run(api, client, monkeypatch):
    seconds = itertools.chain([0, 5], itertools.repeat(6))
    monkeypatch.setattr(_circuit_breaker, "monotonic", lambda: next(seconds))
    client.error = UnavailableError("timed out")
    with new_core(api, read(), entries=ENTRIES) as core:
        for _ in range(3):
            with pytest.raises(UnavailableError, match="timed out"):
                core.pod_created(RUN, pod_of())
    assert len(client.calls) == 1


def test_of_a_pod_that_vanished_nothing_is_removed(api, client):
    pod = pod_of("resultsfw-signer")
    del pod["metadata"]["uid"]
    with new_core(api, read(), entries=ENTRIES) as core:
        collected = core.collect(RUN, pod, Logs(signer_log(PLAIN.envelope())), stamp=STAMP, final=True)
    assert (collected.verification.status, arrived_names(collected), client.calls) == ("False", set(), [])
    assert "must sign" in collected.verification.message


@pytest.mark.parametrize("error", [None, UnavailableError("away")])
def test_entries_are_removed_in_the_background_when_the_pod_has_signed(api, client, error, caplog):
    client.error = error
    with new_core(api, read(), entries=ENTRIES) as core:
        assert core.collect(RUN, pod_of(), NO_LOG, stamp=STAMP).verification.status == "True"
        core.extensions["signed"].plugin._registration._remover.shutdown(wait=True)
    assert client.calls == [("delete", "pod-uid-1", [POD_ID])]
    assert bool([record for record in caplog.records if "not removed" in record.message]) == bool(error)


def test_entries_stay_while_the_pod_may_still_sign(api, client):
    with (
        new_core(api, read(too_early=True), entries=ENTRIES) as core,
        pytest.raises(TooEarlyError),
    ):
        core.collect(RUN, pod_of(), NO_LOG, stamp=STAMP)
    assert client.calls == []


def test_agents_of_another_trust_domain_are_refused(api):
    with pytest.raises(FlagError, match="not of the trust domain"):
        new_core(api, read(), entries={**ENTRIES, "parent-id": "spiffe://other.org/nodes"})
