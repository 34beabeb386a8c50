"""Runs share the reading of a service account, and none uses one that is older than itself."""

import pytest
from taskrun_harness import Clock, RecordingCluster

from resultsfw.errors import ForbiddenError, NotFoundError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.taskrun.service_accounts import ServiceAccounts, listed_names

READ = ("get", "ServiceAccount")


class Accounts:
    """A service account ``bot`` in each of two namespaces, and runs that read it."""

    def __init__(self):
        self.clock = Clock()
        self.cluster = RecordingCluster(self.clock)
        for namespace in ("a", "b"):
            metadata = {"name": "bot", "namespace": namespace}
            Store.create(
                self.cluster,
                SERVICE_ACCOUNTS,
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            )
        self.accounts = ServiceAccounts(self.cluster)

    def create_run(self, namespace="a", uid=""):
        metadata = {"name": "run", "namespace": namespace, "uid": uid}
        return {"metadata": {**metadata, "creationTimestamp": format_time(self.clock())}}

    def read(self, run, account="bot"):
        return self.accounts.read(run, account, self.clock())

    def list_secrets(self, *names):
        secrets = [{"name": name} for name in names]
        Store.patch(self.cluster, SERVICE_ACCOUNTS, "a", "bot", {"secrets": secrets})

    @property
    def requests(self):
        return self.cluster.calls.count(READ)


def test_runs_that_wait_together_share_a_reading():
    accounts = Accounts()
    runs = [accounts.create_run() for _ in range(50)]
    accounts.clock.forward(3)
    for run in runs:
        accounts.read(run)
    assert accounts.requests == 1


def test_a_run_gets_what_was_applied_before_it_was_created():
    accounts = Accounts()
    earlier = accounts.create_run()
    accounts.clock.forward(5)
    assert accounts.read(earlier).secrets == ()
    accounts.list_secrets("git-key", "git-key")
    for seconds in (0, 1, 1):  # the creation is known to the second, and by another clock
        run = accounts.create_run()
        assert accounts.read(run).secrets == ("git-key",)
        accounts.clock.forward(seconds)
    assert accounts.requests == 4


def test_a_reading_is_used_for_seconds_only():
    accounts = Accounts()
    run = accounts.create_run()
    accounts.clock.forward(5)
    accounts.read(run)
    accounts.clock.forward(11)
    accounts.read(run)
    accounts.clock.forward(-30)  # the clock was put back
    accounts.read(run)
    assert accounts.requests == 3


def test_a_run_reads_its_account_once_for_images_and_credentials():
    accounts = Accounts()
    run = accounts.create_run(uid="u1")
    accounts.read(run)
    accounts.read(run)
    accounts.read(accounts.create_run(uid="u2"))
    assert accounts.requests == 2


@pytest.mark.parametrize("change", [{"generation": 2}, {"retriesStatus": [{}]}])
def test_a_run_that_was_edited_or_is_tried_again_reads_anew(change):
    accounts = Accounts()
    run, other = accounts.create_run(uid="u1"), accounts.create_run()
    accounts.clock.forward(5)
    accounts.read(other)
    if "generation" in change:
        run["metadata"].update(change)
    else:
        run["status"] = change
    accounts.read(run)
    accounts.read(run)
    assert accounts.requests == 3


def test_namespaces_and_accounts_share_nothing():
    accounts = Accounts()
    run, other = accounts.create_run("a"), accounts.create_run("b")
    accounts.clock.forward(5)
    accounts.list_secrets("git-key")
    assert accounts.read(run).secrets == ("git-key",)
    assert accounts.read(other).secrets == ()
    for _ in range(2):
        with pytest.raises(NotFoundError):
            accounts.read(run, "absent")
    assert accounts.requests == 4


def test_a_missing_right_is_asked_for_once(monkeypatch):
    accounts = Accounts()
    asked = []

    def forbidden(*request):
        asked.append(request)
        raise ForbiddenError("no right")

    monkeypatch.setattr(accounts.cluster, "get", forbidden)
    runs = [accounts.create_run() for _ in range(9)]
    accounts.clock.forward(5)
    for run in runs:
        with pytest.raises(ForbiddenError, match="no right"):
            accounts.read(run)
    assert len(asked) == 1


def test_a_long_list_is_not_kept():
    accounts = Accounts()
    run = accounts.create_run()
    accounts.list_secrets(*(f"secret-{number}" for number in range(1000)))
    accounts.clock.forward(5)
    assert len(accounts.read(run).secrets) == 1000
    accounts.read(run)
    assert accounts.requests == 2


def test_readings_are_bounded(monkeypatch):
    monkeypatch.setattr("resultsfw.tekton.taskrun.service_accounts._MOST_READINGS", 1)
    accounts = Accounts()
    run, other = accounts.create_run("a"), accounts.create_run("b")
    accounts.clock.forward(5)
    for reader in (run, other, run, run):
        accounts.read(reader)
    assert accounts.requests == 3


@pytest.mark.parametrize("listed", [None, "text", [None, 1, {}, {"name": None}, {"name": ""}, {"name": []}]])
def test_lists_of_any_shape_name_nothing(listed):
    assert listed_names(listed) == ()
