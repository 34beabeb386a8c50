"""Quotas of stored bytes, and results of runs that do not exist."""

import contextlib
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serverharness import POD, RUN

from resultsfw.errors import NotFoundError, UnavailableError
from resultsfw.server.refusals import RefusalError
from resultsfw.server.runs import ClusterRuns
from resultsfw.server.store import ORPHAN_SECONDS, AttemptKey, open_store
from resultsfw.server.usage import Usage, cost

ATTEMPT = AttemptKey("default", RUN, 0)
OTHER = AttemptKey("other", RUN, 0)


@pytest.fixture
def results(tmp_path):
    return open_store(f"file://{tmp_path}/store")


def test_only_the_namespace_over_its_quota_is_refused(results):
    results.usage = Usage(20_000)
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


def test_empty_deliveries_count_too(results):
    results.usage = Usage(100_000)
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
    results.remove(OTHER)
    assert (results.usage.largest(10), results.usage.total) == ([], 0)


def test_a_failed_write_uses_no_quota(results):
    results._put = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        results.put(ATTEMPT, "a", b"x")
    assert results.usage.total == 0


def test_bytes_stored_during_a_recount_count():
    usage = Usage(100_000)

    def objects():
        yield "a", 10
        usage.reserve("b", 500)

    usage.recount(objects())
    assert dict(usage.largest(2)) == {"a": cost(10), "b": 500}
    with pytest.raises(ZeroDivisionError):
        usage.recount(("a", 1 / 0) for _ in range(1))
    assert usage.total == cost(10) + 500


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 60_000), st.booleans()), max_size=30))
def test_a_namespace_never_has_more_than_its_quota(changes):
    usage = Usage(100_000)
    for namespace, size, more in changes:
        if more:
            with contextlib.suppress(RefusalError):
                usage.reserve(namespace, size)
        else:
            usage.release(namespace, size)
        assert all(0 < stored <= 100_000 for _, stored in usage.largest(9))


class Cluster:
    """Knows TaskRuns, and counts what is asked."""

    def __init__(self, **runs):
        self.runs = runs
        self.fails = None

    def get(self, kind, namespace, name):
        if self.fails:
            raise self.fails
        if (namespace, name) not in self.runs.values():
            raise NotFoundError("no", subject=f"{kind.kind} {name}")
        [uid] = [uid for uid, where in self.runs.items() if where == (namespace, name)]
        return {"metadata": {"uid": uid}}


def test_a_run_exists_only_with_that_name_and_uid():
    cluster = Cluster(u=("ns", "run"))
    runs = ClusterRuns(cluster)
    assert runs.exists("ns", "run", "u")
    assert not runs.exists("ns", "run", "another")
    assert not runs.exists("ns", "other", "u")
    cluster.fails = UnavailableError("away", subject="s")
    with pytest.raises(RefusalError) as refused:
        runs.exists("ns", "run", "u")
    assert refused.value.code == "Unavailable"


def test_results_of_deleted_runs_are_removed(results, tmp_path):
    gone, there, unknown = (AttemptKey("default", uid, 0) for uid in ("gone", "there", "unknown"))
    results.put(gone, "a", b"x", "run-gone")
    results.put(there, "b", b"x", "run-there")
    results.put(unknown, "c", b"x")  # of an older sidecar, which does not name its run
    asked = []

    def exists(namespace, name, uid):
        asked.append((namespace, name, uid))
        return uid == "there"

    assert results.orphans(exists) == 0
    assert asked == []  # the controller has some time to read
    stale = time.time() - ORPHAN_SECONDS - 10
    for file in (one for one in (tmp_path / "store").rglob("*") if one.is_file()):
        os.utime(file, (stale, stale))
    assert results.orphans(exists) == 1
    assert sorted(asked) == [("default", "run-gone", "gone"), ("default", "run-there", "there")]
    left = {one.name for one in (tmp_path / "store").rglob("*") if one.is_file()}
    assert left == {"b", "c"}


def test_a_delivery_is_stored_with_or_without_the_name_of_its_run(results):
    results.put(ATTEMPT, POD, b"x", "run")
    assert results.put(ATTEMPT, POD, b"x")[1] is False  # from a sidecar of another version
