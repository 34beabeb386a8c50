"""Secrets of a service account that Steps do not get: named on the run, without reading one."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskrun_harness import TaskRunHarness

from resultsfw.errors import ForbiddenError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS
from resultsfw.tekton.api.policies import policies_of
from resultsfw.tekton.taskrun.credentials import CredentialNotes, withheld_secrets
from resultsfw.tekton.taskrun.reconciler import Reconciler

NAMED = ("git-key", "registry.login")


class Room(TaskRunHarness):
    """A run whose service account lists Secrets."""

    def __init__(self, *secrets, flags=None):
        super().__init__()
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}
        account["metadata"] = {"name": "bot", "namespace": "default"}
        listed = [{"name": name} for name in secrets]
        Store.create(self.cluster, SERVICE_ACCOUNTS, {**account, "secrets": listed})
        self.told = []
        self.reconciler = Reconciler(
            self.reconciler.core,
            self.cluster,
            clock=self.clock,
            policies=policies_of(flags or {}, {}),
            tell=lambda run, reason, message: self.told.append((run["metadata"]["name"], reason, message)),
        )
        self.submit(serviceAccountName="bot")


def test_listed_secrets_are_named_in_event_log_and_condition(caplog):
    harness = Room(*NAMED)
    with caplog.at_level(logging.WARNING):
        harness.reconcile()
    ((run, reason, message),) = harness.told
    assert (run, reason) == ("run", "CredentialsNotGiven")
    for text in (message, caplog.text, harness.condition["message"]):
        assert 'ServiceAccount "bot" lists Secrets (git-key, registry.login)' in text
    assert harness.condition["reason"] == "Pending"
    assert ("get", "Secret") not in harness.cluster.calls


def test_a_step_that_failed_is_told_with_what_it_did_not_get():
    harness = Room(*NAMED)
    harness.reconcile()
    harness.finish(code=1)
    harness.reconcile()
    assert harness.condition["status"] == "False"
    assert '"step-build" exited with code 1' in harness.condition["message"]
    assert 'ServiceAccount "bot" lists Secrets' in harness.condition["message"]


def test_it_is_said_once_and_not_at_each_reconciliation():
    harness = Room(*NAMED)
    harness.reconcile()
    harness.reconcile()
    assert len(harness.told) == 1


def test_nothing_is_said_where_tekton_gives_no_credentials_either():
    harness = Room(*NAMED, flags={"disable-creds-init": "true"})
    harness.reconcile()
    assert harness.told == []
    assert ("get", "ServiceAccount") not in harness.cluster.calls


def test_secrets_that_servers_make_are_not_meant_for_steps():
    harness = Room("bot-token-x7k2p", "bot-dockercfg-9zq4d")
    harness.reconcile()
    assert harness.told == []
    assert harness.condition["message"] == "Pending"


def test_an_account_that_may_not_be_read_stops_no_run(monkeypatch):
    harness = Room(*NAMED)

    def forbidden(kind, namespace, name, get=harness.cluster.get):
        if kind == SERVICE_ACCOUNTS:
            raise ForbiddenError("no")
        return get(kind, namespace, name)

    monkeypatch.setattr(harness.cluster, "get", forbidden)
    harness.reconcile()
    assert harness.pod()
    assert harness.told == []


def test_an_account_is_read_once_a_minute():
    harness, now = Room(*NAMED), [0.0]
    notes = CredentialNotes(harness.cluster, clock=lambda: now[0])
    for now[0] in (0.0, 30.0, 59.0):
        assert notes.note("default", "bot")
    assert harness.cluster.calls.count(("get", "ServiceAccount")) == 1
    now[0] = 61.0
    assert notes.note("default", "bot")
    assert harness.cluster.calls.count(("get", "ServiceAccount")) == 2
    assert notes.note("default", "nobody") == ""


def test_many_secrets_make_no_long_message():
    harness = Room(*(f"s{number}" for number in range(500)))
    harness.reconcile()
    assert "s4 and 495 more" in harness.told[0][2]
    assert len(harness.told[0][2]) < 500


@pytest.mark.parametrize("account", [{}, {"secrets": None}, {"secrets": [{}, None, {"name": None}]}])
def test_an_account_without_secrets_has_none_to_name(account):
    assert withheld_secrets(account) == []


@given(st.lists(st.fixed_dictionaries({"name": st.text()})))
def test_only_listed_names_are_named(listed):
    assert set(withheld_secrets({"secrets": listed})) <= {one["name"] for one in listed}
