"""Secrets of a service account that Steps do not get: named on the run, without reading one."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from resultsfw.errors import ForbiddenError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS
from resultsfw.tekton.api.policies import policies_of
from resultsfw.tekton.taskrun.credentials import CredentialNotes, withheld_secrets
from resultsfw.tekton.taskrun.reconciler import Reconciler

NAMED = ("git-key", "registry.login")


class Room(World):
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
    world = Room(*NAMED)
    with caplog.at_level(logging.WARNING):
        world.step()
    ((run, reason, message),) = world.told
    assert (run, reason) == ("run", "CredentialsNotGiven")
    for text in (message, caplog.text, world.condition["message"]):
        assert 'ServiceAccount "bot" lists Secrets (git-key, registry.login)' in text
    assert world.condition["reason"] == "Pending"
    assert ("get", "Secret") not in world.cluster.calls


def test_a_step_that_failed_is_told_with_what_it_did_not_get():
    world = Room(*NAMED)
    world.step()
    world.finish(code=1)
    world.step()
    assert world.condition["status"] == "False"
    assert '"step-build" exited with code 1' in world.condition["message"]
    assert 'ServiceAccount "bot" lists Secrets' in world.condition["message"]


def test_it_is_said_once_and_not_at_each_reconciliation():
    world = Room(*NAMED)
    world.step()
    world.step()
    assert len(world.told) == 1


def test_nothing_is_said_where_tekton_gives_no_credentials_either():
    world = Room(*NAMED, flags={"disable-creds-init": "true"})
    world.step()
    assert world.told == []
    assert ("get", "ServiceAccount") not in world.cluster.calls


def test_secrets_that_servers_make_are_not_meant_for_steps():
    world = Room("bot-token-x7k2p", "bot-dockercfg-9zq4d")
    world.step()
    assert world.told == []
    assert world.condition["message"] == "Pending"


def test_an_account_that_may_not_be_read_stops_no_run(monkeypatch):
    world = Room(*NAMED)

    def forbidden(kind, namespace, name, get=world.cluster.get):
        if kind == SERVICE_ACCOUNTS:
            raise ForbiddenError("no")
        return get(kind, namespace, name)

    monkeypatch.setattr(world.cluster, "get", forbidden)
    world.step()
    assert world.pod()
    assert world.told == []


def test_an_account_is_read_once_a_minute():
    world, now = Room(*NAMED), [0.0]
    notes = CredentialNotes(world.cluster, clock=lambda: now[0])
    for now[0] in (0.0, 30.0, 59.0):
        assert notes.note("default", "bot")
    assert world.cluster.calls.count(("get", "ServiceAccount")) == 1
    now[0] = 61.0
    assert notes.note("default", "bot")
    assert world.cluster.calls.count(("get", "ServiceAccount")) == 2
    assert notes.note("default", "nobody") == ""


def test_many_secrets_make_no_long_message():
    world = Room(*(f"s{number}" for number in range(500)))
    world.step()
    assert "s4 and 495 more" in world.told[0][2]
    assert len(world.told[0][2]) < 500


@pytest.mark.parametrize("account", [{}, {"secrets": None}, {"secrets": [{}, None, {"name": None}]}])
def test_an_account_without_secrets_has_none_to_name(account):
    assert withheld_secrets(account) == []


@given(st.lists(st.fixed_dictionaries({"name": st.text()})))
def test_only_listed_names_are_named(listed):
    assert set(withheld_secrets({"secrets": listed})) <= {one["name"] for one in listed}
