"""What every store does alike: a folder, SQLite, and PostgreSQL where its server is installed."""

import subprocess
import sys
import threading

import pytest
from serverharness import POD, RUN
from store_harness import Folder

from resultsfw.server.refusals import RefusalError
from resultsfw.server.store import ORPHAN_SECONDS, AttemptKey

ATTEMPT = AttemptKey("default", RUN, 0)
OTHER = AttemptKey("other", RUN, 0)


@pytest.fixture
def results(open_results):
    return open_results()


def refusal(call, *args, **named):
    """The code with which a call is refused."""
    with pytest.raises(RefusalError) as refused:
        call(*args, **named)
    return refused.value.code


def test_a_pod_delivers_once_and_the_run_removes_all(results, place):
    for body in (b"", bytes(range(256)) * 3, b"x" * 300_000):
        digest, new = results.put(ATTEMPT, POD, body, "name")
        assert new
        assert results.put(ATTEMPT, POD, body) == (digest, False)
        assert results.get(ATTEMPT, POD, most=300_000) == (body, digest)
        assert 0 <= results.size(ATTEMPT, POD) - len(body) < 1024
        assert refusal(results.put, ATTEMPT, POD, body + b"y") == "AlreadyWritten"
        assert refusal(results.put, AttemptKey("default", "another", 0), POD, body) == "AlreadyWritten"
        assert refusal(results.put, AttemptKey("default", RUN, 1), POD, body) == "AlreadyWritten"
        results.put(OTHER, POD, b"kept")
        results.put(ATTEMPT, "second", b"")
        assert results.remove(ATTEMPT) == 2
        assert results.remove(ATTEMPT) == 0
        assert refusal(results.get, ATTEMPT, POD, most=9) == "NotFound"
        assert refusal(results.size, ATTEMPT, POD) == "NotFound"
        assert place.left() == {POD}
        assert results.remove(OTHER) == 1
    assert place.left() == set()


def test_no_run_attempt_or_namespace_reads_anothers(results):
    results.put(ATTEMPT, POD, b"x")
    others = (AttemptKey("default", "r", 0), AttemptKey("default", RUN, 1), OTHER)
    assert {refusal(results.get, other, POD, most=9) for other in others} == {"NotFound"}
    assert refusal(results.get, ATTEMPT, POD[:-1], most=9) == "NotFound"
    assert [results.remove(other) for other in others] == [0, 0, 0]
    assert results.get(ATTEMPT, POD, most=9)[0] == b"x"


@pytest.mark.slow
def test_one_of_many_concurrent_deliveries_wins(results):
    barrier, outcomes = threading.Barrier(6), []

    def deliver(number):
        barrier.wait(20)
        try:
            outcomes.append((number, results.put(ATTEMPT, POD, b"%d" % number * 1000)[1]))
        except RefusalError as error:
            outcomes.append((number, error.code))

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    [winner] = [number for number, outcome in outcomes if outcome is True]
    assert [outcome for _, outcome in outcomes if outcome is not True] == ["AlreadyWritten"] * 5
    assert results.get(ATTEMPT, POD, most=1000)[0] == b"%d" % winner * 1000


def test_only_the_namespace_over_its_quota_is_refused(open_results):
    results = open_results(quota=20_000)
    results.put(ATTEMPT, "a", b"x" * 5000)
    with pytest.raises(RefusalError) as refused:
        results.put(ATTEMPT, "b", b"x" * 5000)
    assert (refused.value.code, refused.value.status) == ("QuotaExceeded", 507)
    assert refused.value.headers["Retry-After"]
    assert "quota of 20000 bytes" in refused.value.message
    with pytest.raises(RefusalError, match="quota"):
        results.admit(ATTEMPT, "b", 5000)
    results.admit(OTHER, "b", 5000)
    assert results.put(OTHER, "b", b"x" * 5000)[1]
    assert results.put(ATTEMPT, "a", b"x" * 5000)[1] is False  # its answer was lost, say
    results.admit(ATTEMPT, "a", 5000)
    results.remove(ATTEMPT)
    assert results.put(ATTEMPT, "b", b"x" * 5000)[1]


def test_empty_deliveries_count_too(open_results):
    results = open_results(quota=100_000)
    with pytest.raises(RefusalError, match="quota"):  # noqa: PT012 - the last one
        for number in range(13):
            results.put(ATTEMPT, f"pod-{number}", b"")


def test_the_counted_usage_equals_a_recount(results):
    for number in range(3):
        results.put(ATTEMPT, f"a{number}", b"x" * 1000 * number)
        results.put(OTHER, f"b{number}", b"y" * 10)
    results.put(OTHER, "b0", b"y" * 10)
    with pytest.raises(RefusalError, match="other results before"):
        results.put(OTHER, "b1", b"z")
    counted = dict(results.usage.largest(10))
    results.recount()
    assert dict(results.usage.largest(10)) == counted
    results.remove(ATTEMPT)
    assert dict(results.usage.largest(10)) == {"other": counted["other"]}
    assert results.usage.total == counted["other"]
    results.remove(OTHER)
    assert (results.usage.largest(10), results.usage.total) == ([], 0)


KILLED = """
import os, sys
from resultsfw.server.store import AttemptKey
from resultsfw.server.stores import open_store
results = open_store(sys.argv[1], password_file=sys.argv[2] or None)
body = os.urandom(1) * 8_000_000
number = 0
while True:
    results.put(AttemptKey("default", "r", number), f"p{number}", body)
    number += 1
    print(number, flush=True)
"""


@pytest.mark.slow
def test_after_a_kill_during_writes_only_complete_results_are_stored(results, place):
    password = str(place.server.password_file) if hasattr(place, "server") else ""
    command = [sys.executable, "-c", KILLED, place.url, password]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        for _ in range(3):
            writer.stdout.readline()
        writer.kill()
    number = 0
    with pytest.raises(RefusalError) as refused:  # noqa: PT012 - the last one
        while True:
            body, _ = results.get(AttemptKey("default", "r", number), f"p{number}", most=10_000_000)
            assert len(body) == 8_000_000
            number += 1
    assert refused.value.code == "NotFound"  # and never: damaged
    assert number >= 3
    counted = results.usage.total
    results.recount()
    assert isinstance(place, Folder) or results.usage.total == counted


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda _: b"",
        lambda data: data.replace(b"b", b"c"),
        lambda data: b"[" * 100_000 + b"\n" + data,
    ],
)
def test_damaged_results_are_refused_and_repaired_by_the_pods_retry(results, place, damage):
    results.put(ATTEMPT, POD, b"a body")
    place.damage(ATTEMPT, POD, damage)
    assert refusal(results.get, ATTEMPT, POD, most=100) == "Damaged"
    assert results.put(ATTEMPT, POD, b"a body")[1]
    assert results.get(ATTEMPT, POD, most=100)[0] == b"a body"


def test_results_larger_than_any_delivery_are_not_read(results, place):
    results.put(ATTEMPT, POD, b"x")
    place.damage(ATTEMPT, POD, lambda _: b"x" * 5000)
    with pytest.raises(RefusalError, match="have 5000 bytes, over 100"):
        results.get(ATTEMPT, POD, most=100)


def test_results_that_were_never_purged_are_removed_after_the_retention_time(results, place):
    old, new = AttemptKey("default", RUN, 0), AttemptKey("default", RUN, 1)
    results.put(old, POD, b"old")
    results.put(OTHER, POD, b"old")
    results.put(new, "new", b"new")
    place.make_older(1000, POD)
    assert results.sweep(500) == 2
    assert results.sweep(500) == 0
    assert place.left() == {"new"}
    assert results.get(new, "new", most=10)[0] == b"new"
    assert [namespace for namespace, _ in results.usage.largest(9)] == ["default"]


def test_results_of_deleted_runs_are_removed(results, place):
    gone, there, unknown = (AttemptKey("default", uid, 0) for uid in ("gone", "there", "unknown"))
    results.put(gone, "a", b"x", "run-gone")
    results.put(there, "b", b"x", "run-there")
    results.put(unknown, "c", b"x")  # of an older sidecar, which does not name its run
    results.put(there, "d", b"x", "run-forged")  # by a pod, while nobody checked
    asked = set()

    def exists(namespace, name, uid):
        asked.add((namespace, name, uid))
        return (name, uid) == ("run-there", "there")

    assert results.orphans(exists) == 0
    assert asked == set()  # the controller has some time to read
    place.make_older(ORPHAN_SECONDS + 10, "a", "b", "c", "d")
    assert results.orphans(exists) == 2
    assert {name for _, name, _ in asked} == {"run-gone", "run-there", "run-forged"}
    assert place.left() == {"b", "c"}


def test_a_delivery_is_stored_with_or_without_the_name_of_its_run(results):
    results.put(ATTEMPT, POD, b"x", "run")
    assert results.put(ATTEMPT, POD, b"x")[1] is False  # from a sidecar of another version


def test_a_store_that_is_opened_again_has_what_was_stored(open_results):
    first, second = open_results(), open_results()
    first.put(ATTEMPT, POD, b"x")
    assert second.get(ATTEMPT, POD, most=1)[0] == b"x"
    second.probe()
    assert second.put(ATTEMPT, POD, b"x")[1] is False
    assert refusal(second.put, ATTEMPT, POD, b"y") == "AlreadyWritten"
