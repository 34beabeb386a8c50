"""Quotas of stored bytes, and results of runs that do not exist."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serverharness import RUN

from resultsfw.errors import NotFoundError, UnavailableError
from resultsfw.server.refusals import RefusalError
from resultsfw.server.runs import ClusterRuns
from resultsfw.server.store import AttemptKey
from resultsfw.server.stores import open_store
from resultsfw.server.usage import Usage, cost

ATTEMPT = AttemptKey("default", RUN, 0)


@pytest.fixture
def results(tmp_path):
    return open_store(f"file://{tmp_path}/store")


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
