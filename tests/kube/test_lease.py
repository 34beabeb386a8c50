"""Leases: one leads, another takes over, and clocks that differ mislead nobody."""

import re
import threading
import time

import pytest
from kubeserver import refusing, silent

from resultsfw.kube import LeaderElector
from resultsfw.kube.lease import LEASES

HOURS_OFF = "2001-01-01T00:00:00.000000Z"


class Candidate:
    """An elector on a thread, and what it did."""

    def __init__(self, connection, server, name, stopping=lambda: None, **times):
        self.server = server
        self.did = []
        self.stop_event = threading.Event()
        self.stopping = stopping
        times = {"lease_seconds": 1, "renew_deadline": 0.4, "retry": 0.02} | times
        self.elector = LeaderElector(
            connection, "ns", "lock", name, on_started=self.started, on_stopped=self.stopped, **times
        )
        self.thread = threading.Thread(target=self.elector.run, args=(self.stop_event,), daemon=True)

    def note(self, what):
        with self.server.changed:
            self.did.append(what)
            self.server.changed.notify_all()

    def started(self):
        self.note("started")

    def stopped(self):
        self.stopping()
        self.note("stopped")

    def stop(self):
        self.stop_event.set()
        if self.thread.ident is not None:
            self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def candidate(connection, server):
    all_of_them = []

    def candidate(name, **options):
        one = Candidate(connection, server, name, **options)
        all_of_them.append(one)
        one.thread.start()
        return one

    yield candidate
    for one in all_of_them:
        one.stop()


def spec(server):
    return server.held("leases")["ns", "lock"]["spec"]


def test_the_first_candidate_acquires_the_lease_and_renews_it(server, candidate):
    one = candidate("one")
    server.wait(lambda: one.did == ["started"])
    taken = spec(server)
    assert taken["holderIdentity"] == "one"
    assert taken["leaseDurationSeconds"] == 1
    assert taken["leaseTransitions"] == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", taken["acquireTime"])
    server.wait(lambda: spec(server)["renewTime"] > taken["renewTime"])
    server.wait(lambda: len(server.asked) > 3)
    assert spec(server)["acquireTime"] == taken["acquireTime"]
    assert one.elector.is_leader
    assert one.elector.leader == "one"
    assert server.asked[0].path == "/apis/coordination.k8s.io/v1/namespaces/ns/leases/lock"
    # To keep it takes one request each time.
    assert [asked.method for asked in server.asked[:4]] == ["GET", "POST", "PATCH", "PATCH"]


def test_a_clean_stop_releases_the_lease_and_the_next_acquires_it_at_once(server, candidate):
    one = candidate("one", lease_seconds=3600)
    server.wait(lambda: one.did)
    two = candidate("two", lease_seconds=3600)
    server.wait(lambda: two.elector.leader == "one")
    assert not two.elector.is_leader
    one.stop()
    server.wait(lambda: two.did == ["started"])
    assert one.did == ["started", "stopped"]
    assert spec(server)["holderIdentity"] == "two"
    assert spec(server)["leaseTransitions"] == 1


def test_the_lease_is_renewed_until_the_work_has_ended(server, candidate):
    """Longer than the lease lasts: nobody begins before."""
    ended = threading.Event()
    one = candidate("one", stopping=lambda: ended.wait(10))
    server.wait(lambda: one.did)
    two = candidate("two", lease_seconds=1)
    one.stop_event.set()
    server.wait(lambda: not one.elector.is_leader)
    renewals = len([asked for asked in server.asked if asked.method == "PATCH"])
    server.wait(lambda: len([asked for asked in server.asked if asked.method == "PATCH"]) > renewals + 50)
    assert two.did == []
    ended.set()
    server.wait(lambda: two.did == ["started"])
    assert one.did == ["started", "stopped"]


def test_a_dead_leader_is_replaced_when_its_lease_has_expired(server, candidate):
    server.put("leases", "ns", "lock", spec={"holderIdentity": "dead", "leaseDurationSeconds": 1})
    began = time.monotonic()
    one = candidate("one")
    server.wait(lambda: one.did == ["started"])
    assert time.monotonic() - began >= 1
    assert spec(server)["leaseTransitions"] == 1


def test_times_in_the_lease_are_not_compared_with_the_clock(server, candidate):
    """The leader's clock is 25 years slow; it lives, so its Lease changes, so it is believed."""
    server.put("leases", "ns", "lock", spec={"holderIdentity": "slow", "leaseDurationSeconds": 1})
    one = candidate("one")
    began, number = time.monotonic(), 0
    while time.monotonic() - began < 1.5:
        number += 1
        renewed = {"holderIdentity": "slow", "leaseDurationSeconds": 1, "renewTime": HOURS_OFF + str(number)}
        server.put("leases", "ns", "lock", spec=renewed)
        asked = len(server.asked)
        server.wait(lambda asked=asked: len(server.asked) > asked)
    assert one.did == []


def test_a_leader_that_cannot_renew_stops_before_others_begin(server, candidate):
    one = candidate("one", lease_seconds=3600)
    server.wait(lambda: one.did)
    server.plan(refusing(500, "InternalError"), times=10**6, path="leases")
    renewals = len(server.asked)
    server.wait(lambda: one.did == ["started", "stopped"])
    assert len(server.asked) > renewals + 1  # one refusal is not the end
    server.plans.clear()
    server.wait(lambda: one.did == ["started", "stopped", "started"])


def test_a_leader_without_responses_stops_before_others_begin(server, candidate):
    """A request that hangs is given up in time."""
    one = candidate("one", lease_seconds=5)
    server.wait(lambda: one.did)
    until = threading.Event()
    server.plan(silent(until), times=10**6, path="leases")
    server.wait(lambda: one.did == ["started", "stopped"], seconds=5)  # as long as its lease lasts
    until.set()
    server.plans.clear()


def test_a_leader_whose_lease_was_taken_stops_at_once(server, candidate):
    one = candidate("one", renew_deadline=50, lease_seconds=60)
    server.wait(lambda: one.did)
    server.put("leases", "ns", "lock", spec={"holderIdentity": "two", "leaseDurationSeconds": 60})
    server.wait(lambda: one.did == ["started", "stopped"])
    assert one.elector.leader == "two"


@pytest.mark.parametrize("change", ["touched", "removed"])
def test_a_lease_that_a_person_edited_is_still_renewed(server, candidate, change):
    one = candidate("one")
    server.wait(lambda: one.did)
    with server.changed:
        held = spec(server)
        if change == "removed":
            server.remove("leases", "ns", "lock")
        else:
            server.put("leases", "ns", "lock", spec=held, metadata={"labels": {"a": "b"}})
    asked = len(server.asked)
    server.wait(lambda: len(server.asked) > asked + 10)
    assert one.did == ["started"]
    assert spec(server)["holderIdentity"] == "one"


def test_of_two_candidates_that_begin_together_one_becomes_the_leader(server, candidate):
    both = [candidate("one"), candidate("two")]
    server.wait(lambda: any(one.did for one in both))
    asked = len(server.asked)
    server.wait(lambda: len(server.asked) > asked + 20)
    assert sorted(one.did for one in both) == [[], ["started"]]


def test_a_failing_on_started_releases_the_lease(server, connection):
    def fails():
        raise RuntimeError("no")

    stopped = []
    elector = LeaderElector(
        connection, "ns", "lock", "one", on_started=fails, on_stopped=lambda: stopped.append(1)
    )
    with pytest.raises(RuntimeError, match="no"):
        elector.run(threading.Event())
    assert stopped == [1]
    assert spec(server)["holderIdentity"] == ""


def test_impossible_durations_are_refused(connection):
    with pytest.raises(ValueError, match="must be less than"):
        LeaderElector(
            connection,
            "ns",
            "x",
            "y",
            on_started=print,
            on_stopped=print,
            lease_seconds=10,
            renew_deadline=10,
        )
    assert LEASES.api_version == "coordination.k8s.io/v1"
