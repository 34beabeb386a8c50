"""The Secrets of a run's service account reach its pod, or it is said why not; no value is ever shown."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskrun_harness import TaskRunHarness

from resultsfw.errors import ForbiddenError, UnavailableError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import SECRETS, SERVICE_ACCOUNTS
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.taskrun.credentials import MOST_SECRETS, read_credentials
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.tekton.taskrun.service_accounts import ServiceAccounts

VALUE = "aHVudGVyMg=="
NAMED = ("git-key", "registry.login")


def annotated(name, kind="kubernetes.io/ssh-auth", **data):
    metadata = {"name": name, "namespace": "default", "annotations": {"tekton.dev/git-0": "example.org"}}
    data = data or {"ssh-privatekey": VALUE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": data}


class Account(TaskRunHarness):
    """A run whose service account lists Secrets."""

    def __init__(self, *names, secrets=(), **options):
        super().__init__()
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}
        account["metadata"] = {"name": "bot", "namespace": "default"}
        Store.create(self.cluster, SERVICE_ACCOUNTS, {**account, "secrets": [{"name": one} for one in names]})
        for secret in secrets:
            Store.create(self.cluster, SECRETS, secret)
        self.events = []
        self.reconciler = Reconciler(
            self.reconciler.core,
            self.cluster,
            clock=self.clock,
            options=PodOptions(**options),
            tell=lambda run, reason, message: self.events.append((run["metadata"]["name"], reason, message)),
        )
        self.submit(serviceAccountName="bot")

    def refuse(self, kind, error, monkeypatch):
        """Let the API server refuse to return objects of this kind."""

        def get(asked, namespace, name, read=self.cluster.get):
            if asked == kind:
                raise error
            return read(asked, namespace, name)

        monkeypatch.setattr(self.cluster, "get", get)

    def volumes(self):
        return [
            volume["secret"]["secretName"] for volume in self.pod()["spec"]["volumes"] if "secret" in volume
        ]


def test_annotated_secrets_reach_the_pod_and_nothing_else(caplog):
    harness = Account(*NAMED, secrets=[annotated("git-key"), annotated("registry.login", kind="Opaque")])
    with caplog.at_level(logging.DEBUG):
        harness.reconcile()
    assert harness.volumes() == ["git-key"]
    assert "-ssh-git=git-key=example.org" in harness.pod()["spec"]["containers"][0]["args"]
    assert harness.events == []
    shown = caplog.text + json.dumps(harness.taskrun) + json.dumps(harness.pod())
    assert VALUE not in shown
    assert "hunter2" not in shown


def test_each_secret_is_read_once_and_missing_ones_are_named():
    harness = Account("git-key", "git-key", "gone", "", secrets=[annotated("git-key")])
    harness.reconcile()
    assert harness.cluster.calls.count(("get", "Secret")) == 2
    ((run, reason, message),) = harness.events
    assert (run, reason) == ("run", "FailedToRetrieveSecret")
    assert message == "Unable to retrieve some secrets (gone); attempting to use them may not succeed."


def test_without_the_right_to_read_secrets_the_run_goes_on_and_an_event_names_the_right(monkeypatch, caplog):
    harness = Account(*NAMED, secrets=[annotated("git-key")])
    harness.refuse(SECRETS, ForbiddenError("no"), monkeypatch)
    with caplog.at_level(logging.WARNING):
        harness.reconcile()
        harness.reconcile()
    assert harness.volumes() == []
    ((_, reason, message),) = harness.events
    assert reason == "CredentialsNotGiven"
    for text in (message, caplog.text):
        assert 'ServiceAccount "bot" lists Secrets (git-key, registry.login)' in text
        assert '"get secrets"' in text


def test_an_account_that_may_not_be_read_stops_no_run(monkeypatch):
    harness = Account(*NAMED)
    harness.refuse(SERVICE_ACCOUNTS, ForbiddenError("no"), monkeypatch)
    harness.reconcile()
    assert harness.pod()
    assert [event[1] for event in harness.events] == ["CredentialsNotGiven"]


def test_a_secret_that_cannot_be_read_now_is_tried_again(monkeypatch):
    harness = Account(*NAMED, secrets=[annotated("git-key")])
    harness.refuse(SECRETS, UnavailableError("later"), monkeypatch)
    with pytest.raises(UnavailableError):
        harness.reconcile()
    assert "later" in harness.condition["message"]
    monkeypatch.undo()
    harness.reconcile()
    assert harness.volumes() == ["git-key"]


def test_nothing_is_read_where_credentials_are_disabled():
    harness = Account(*NAMED, secrets=[annotated("git-key")], disable_creds_init=True)
    harness.reconcile()
    assert harness.volumes() == []
    assert {("get", "ServiceAccount"), ("get", "Secret")}.isdisjoint(harness.cluster.calls)


def test_an_ssh_key_without_known_hosts_is_refused_where_they_are_required():
    harness = Account("git-key", secrets=[annotated("git-key")], require_git_ssh_known_hosts=True)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert '"git-key" must have "known_hosts" included' in harness.condition["message"]
    known = annotated("git-key", **{"ssh-privatekey": VALUE, "known_hosts": VALUE})
    harness = Account("git-key", secrets=[known], require_git_ssh_known_hosts=True)
    harness.reconcile()
    assert harness.volumes() == ["git-key"]


def test_an_account_with_too_many_secrets_is_refused_before_one_is_read():
    harness = Account(*(f"s{number}" for number in range(MOST_SECRETS + 1)))
    harness.reconcile()
    assert harness.condition["reason"] == "PodCreationFailed"
    assert f"lists {MOST_SECRETS + 1} Secrets, and at most {MOST_SECRETS}" in harness.condition["message"]
    assert ("get", "Secret") not in harness.cluster.calls


@given(
    st.one_of(
        st.none(), st.text(), st.lists(st.one_of(st.none(), st.dictionaries(st.just("name"), st.none())))
    )
)
def test_an_account_of_any_shape_stops_nothing(listed):
    harness = TaskRunHarness()
    account = {"metadata": {"name": "odd", "namespace": "default"}, "secrets": listed}
    Store.create(harness.cluster, SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", **account})
    run = {"metadata": {"name": "run", "namespace": "default"}}
    found = read_credentials(
        harness.cluster,
        ServiceAccounts(harness.cluster),
        run,
        "odd",
        now=harness.clock(),
        require_known_hosts=True,
    )
    assert found.credentials.volumes == ()
