"""The limits of the results server: capacity, concurrency, quotas, connections, run checks, reviews."""

import asyncio
import contextlib
import os
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serverharness import POD, RUN

from resultsfw.cluster import Object
from resultsfw.errors import NotFoundError, UnavailableError
from resultsfw.server import body_capacity
from resultsfw.server.body_capacity import BodyCapacity, transfer
from resultsfw.server.concurrency import ConcurrencyLimit
from resultsfw.server.connections import Connection, Connections, listen
from resultsfw.server.refusals import RefusalError
from resultsfw.server.review import AUDIENCE, ClusterReviewer, Identity
from resultsfw.server.runs import ClusterRuns
from resultsfw.server.store import ORPHAN_SECONDS, AttemptKey, open_store
from resultsfw.server.usage import Usage, cost

PLACE = AttemptKey("default", RUN, 0)
OTHER = AttemptKey("other", RUN, 0)


@pytest.fixture
def results(tmp_path):
    return open_store(f"file://{tmp_path}/store")


@pytest.fixture
def capacity(monkeypatch):
    """Room for 100 bytes, and no patience."""
    monkeypatch.setattr(body_capacity, "_LEAST", 100)
    monkeypatch.setattr(body_capacity, "_WAIT", 0.05)
    return BodyCapacity(10)


# Room.


def test_a_body_takes_capacity_as_it_arrives_and_releases_it(capacity):
    async def work():
        async with capacity.allocation("a") as allocation:
            assert capacity.allocated == 0
            await capacity.allocate(allocation, 6)
            await capacity.allocate(allocation, 4)
            assert capacity.allocated == 10
        assert capacity.allocated == 0

    asyncio.run(work())


def test_one_namespace_never_gets_all_capacity(capacity):
    async def work():
        async with (
            capacity.allocation("a") as first,
            capacity.allocation("a") as second,
            capacity.allocation("b") as other,
        ):
            await capacity.allocate(first, 50)
            with pytest.raises(RefusalError) as refused:
                await capacity.allocate(second, 1)
            assert (refused.value.code, refused.value.status) == ("Busy", 503)
            await capacity.allocate(other, 50)

    asyncio.run(work())


def test_a_body_of_a_namespace_over_its_share_is_revoked_for_one_below(capacity, monkeypatch):
    monkeypatch.setattr(body_capacity, "_WAIT", 60)

    async def slow(namespace, size, there):
        async with capacity.allocation(namespace) as allocation:
            await capacity.allocate(allocation, size)
            with pytest.raises(TimeoutError):  # noqa: PT012 - within the transfer
                async with transfer(allocation):
                    there.release()
                    await asyncio.Event().wait()
            assert allocation.revoked
            with pytest.raises(RefusalError, match="needed for results of other namespaces"):
                allocation.check()

    async def work():
        there = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(slow(name, 50, there)) for name in ("a", "b")]
        for _ in tasks:
            await there.acquire()
        async with capacity.allocation("c") as allocation:
            await capacity.allocate(allocation, 20)  # a third is its share, and nothing was free
            done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            assert (len(done), len(left), capacity.allocated) == (1, 1, 70)
            for task in done:
                task.result()
            for task in left:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    asyncio.run(work())


def test_a_body_that_is_being_stored_is_not_revoked(capacity):
    async def work():
        async with (
            capacity.allocation("a") as first,
            capacity.allocation("b") as second,
            capacity.allocation("c") as third,
        ):
            await capacity.allocate(first, 50)
            await capacity.allocate(second, 50)
            with pytest.raises(RefusalError) as refused:
                await capacity.allocate(third, 20)
            assert refused.value.code == "Busy"
            assert not first.revoked
            assert capacity.allocated == 100

    asyncio.run(work())


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 60)), max_size=40))
def test_capacity_is_never_exceeded_and_namespaces_below_their_share_always_get_some(takes):
    async def work():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(body_capacity, "_LEAST", 120)
            patch.setattr(body_capacity, "_WAIT", 0)
            capacity = BodyCapacity(10)
        async with contextlib.AsyncExitStack() as stack:
            for namespace, size in takes:
                allocation = await stack.enter_async_context(capacity.allocation(namespace))
                allocation.cancel = lambda: None  # it is being transferred: it can be cancelled
                before = capacity._of(namespace)
                namespaces = {name for name in capacity._allocations if capacity._of(name)} | {namespace}
                with contextlib.suppress(RefusalError):
                    await capacity.allocate(allocation, size)
                assert 0 <= capacity.allocated <= 120
                assert capacity.allocated == sum(capacity._of(name) for name in capacity._allocations)
                if before + size <= min(120 // len(namespaces), 60):
                    assert allocation.size == size

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_capacity, "_WAIT", 0.001)
        asyncio.run(work())


# Concurrency.


def test_concurrency_is_limited_for_each_key():
    async def work():
        limit = ConcurrencyLimit(2, 1, 60, "namespace")
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(limit.slot("a"))
            waits = asyncio.create_task(stack.enter_async_context(limit.slot("a")))
            await asyncio.sleep(0)
            with pytest.raises(RefusalError) as refused:
                async with limit.slot("a"):
                    pass
            assert (refused.value.code, refused.value.status) == ("TooManyRequests", 429)
            async with limit.slot("b"):
                pass
            waits.cancel()
            await asyncio.wait([waits])
        assert limit._calls == {}

    asyncio.run(work())


def test_a_request_whose_turn_does_not_come_in_time_is_refused():
    async def work():
        limit = ConcurrencyLimit(1, 5, 0.01, "client")
        async with limit.slot("a"):
            with pytest.raises(RefusalError, match="this client has 1 requests in progress"):
                async with limit.slot("a"):
                    pass
        async with limit.slot("a"):
            pass

    asyncio.run(work())


# Stored bytes.


def test_only_the_namespace_over_its_quota_is_refused(results):
    results.usage = Usage(20_000)
    results.put(PLACE, "a", b"x" * 5000)
    with pytest.raises(RefusalError) as refused:
        results.put(PLACE, "b", b"x" * 5000)
    assert (refused.value.code, refused.value.status) == ("QuotaExceeded", 507)
    assert refused.value.headers["Retry-After"]
    assert "quota of 20000 bytes" in refused.value.message
    with pytest.raises(RefusalError, match="quota"):
        results.admit(PLACE, "b", 5000)
    results.admit(OTHER, "b", 5000)
    assert results.put(OTHER, "b", b"x" * 5000)[1]
    assert results.put(PLACE, "a", b"x" * 5000)[1] is False  # its answer was lost, say
    results.admit(PLACE, "a", 5000)
    results.remove(PLACE)
    assert results.put(PLACE, "b", b"x" * 5000)[1]


def test_empty_deliveries_count_too(results):
    results.usage = Usage(100_000)
    with pytest.raises(RefusalError, match="quota"):  # noqa: PT012 - the last one
        for number in range(13):
            results.put(PLACE, f"pod-{number}", b"")


def test_the_counted_usage_equals_a_recount(results):
    for number in range(3):
        results.put(PLACE, f"a{number}", b"x" * 1000 * number)
        results.put(OTHER, f"b{number}", b"y" * 10)
    results.put(OTHER, "b0", b"y" * 10)
    with pytest.raises(RefusalError, match="other results before"):
        results.put(OTHER, "b1", b"z")
    counted = dict(results.usage.largest(10))
    results.recount()
    assert dict(results.usage.largest(10)) == counted
    results.remove(PLACE)
    assert dict(results.usage.largest(10)) == {"other": counted["other"]}
    results.remove(OTHER)
    assert (results.usage.largest(10), results.usage.total) == ([], 0)


def test_a_failed_write_uses_no_quota(results):
    results._put = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        results.put(PLACE, "a", b"x")
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


# Runs that do not exist.


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
    results.put(PLACE, POD, b"x", "run")
    assert results.put(PLACE, POD, b"x")[1] is False  # from a sidecar of another version


# Connections.


def connected(connections, number, address):
    """As many connections from an address, accepted."""
    ends = []
    for _ in range(number):
        ours, theirs = socket.socketpair()
        accepted = connections.admit(theirs, address)
        theirs.close()
        ends.append((ours, accepted))
    return ends


def close(*groups):
    for group in groups:
        for ours, accepted in group:
            ours.close()
            if accepted is not None:
                accepted.close()


def test_the_oldest_connection_of_an_address_is_closed_at_its_limit():
    connections = Connections(100, 3)
    ends = connected(connections, 5, "a")
    assert connections.total == 3
    assert [ours.recv(1) for ours, _ in ends[:2]] == [b"", b""]
    for ours, _ in ends[2:]:
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
    assert connections.shed == {"address": 2, "total": 0}
    close(ends)
    assert connections.total == 0


def test_a_connection_of_the_busiest_address_is_closed_at_the_total_limit():
    connections = Connections(10, 9)
    few, many = connected(connections, 2, "few"), connected(connections, 8, "many")
    new = connected(connections, 4, "new")
    assert connections.total == 10
    for ours, _ in [*few, *new]:
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
    assert [ours.recv(1) for ours, _ in many[:4]] == [b""] * 4
    close(few, many, new)
    assert connections.total == 0


def test_a_connection_with_an_authenticated_request_is_kept():
    connections = Connections(2, 2)
    ends = connected(connections, 2, "a")
    for one in connections._by_file.values():
        one.held = True
    [(ours, refused)] = connected(connections, 1, "a")
    [(other, also)] = connected(connections, 1, "b")
    assert (refused, also, connections.total) == (None, None, 2)
    assert connections.shed == {"address": 1, "total": 1}
    ours.close()
    other.close()
    close(ends)


def test_a_garbage_collected_socket_is_not_counted():
    connections = Connections(10, 5)
    [(ours, accepted)] = connected(connections, 1, "a")
    with pytest.warns(ResourceWarning):
        del accepted
    assert connections.total == 0
    ours.close()


def test_a_listener_refuses_with_an_error_after_which_asyncio_goes_on():
    connections = Connections(1, 1)
    with listen("127.0.0.1", 0, connections) as listener:
        address = listener.getsockname()
        with socket.create_connection(address) as first, socket.create_connection(address) as second:
            accepted, _ = listener.accept()
            next(iter(connections._by_file.values())).held = True
            with pytest.raises(ConnectionAbortedError):
                listener.accept()
            assert second.recv(1) == b""
            accepted.close()
            assert first.recv(1) == b""


def test_a_transport_without_a_counted_socket_gets_an_uncounted_connection():
    class Transport:
        def get_extra_info(self, _name):
            return None

        def abort(self):
            pass

    assert isinstance(Connections(1, 1).of(Transport()), Connection)


# ReviewApi.


class Reviewing:
    """A cluster that counts reviews, and answers when it may."""

    def __init__(self):
        self.asked = 0
        self.known = set()
        self.may = threading.Event()
        self.may.set()
        self.began = threading.Semaphore(0)

    def create(self, kind, obj) -> Object:
        self.asked += 1
        self.began.release()
        self.may.wait(60)
        spec = obj["spec"]
        if kind.kind == "TokenReview":
            good = spec["token"] in self.known
            return {"status": {"authenticated": good, "audiences": [AUDIENCE], "user": {"username": "u"}}}
        return {"status": {"allowed": False}}


def test_the_refusal_of_a_token_is_cached():
    cluster = Reviewing()
    reviewer = ClusterReviewer(cluster)
    assert [reviewer.review("forged") for _ in range(5)] == [None] * 5
    assert cluster.asked == 1
    assert reviewer.known("forged") == (True, None)
    assert reviewer.known("another") == (False, None)


def test_refused_tokens_do_not_evict_valid_ones_and_are_limited():
    cluster = Reviewing()
    cluster.known.add("good")
    reviewer = ClusterReviewer(cluster)
    assert reviewer.review("good") == Identity(username="u")
    for number in range(3000):
        reviewer.review(f"forged-{number}")
    before = cluster.asked
    assert reviewer.review("good") == Identity(username="u")
    assert cluster.asked == before
    assert len(reviewer._unknown._kept) <= 1024
    assert not [key for key in (*reviewer._unknown._kept, *reviewer._identities._kept) if "o" in key]


def test_the_refusal_of_a_permission_is_cached():
    cluster = Reviewing()
    reviewer = ClusterReviewer(cluster)
    assert [reviewer.allows(Identity(username="u"), "get", "ns") for _ in range(5)] == [False] * 5
    assert cluster.asked == 1


def test_concurrent_reviews_of_one_token_are_one_request_and_share_its_failure():
    cluster = Reviewing()
    reviewer = ClusterReviewer(cluster)
    cluster.may.clear()
    heard = []

    def review():
        try:
            heard.append(reviewer.review("token"))
        except RefusalError as error:
            heard.append(error.code)

    threads = [threading.Thread(target=review) for _ in range(5)]
    for one in threads:
        one.start()
    assert cluster.began.acquire(timeout=60)

    def fail(kind, obj):
        raise UnavailableError("away", subject=kind.kind)

    cluster.may.set()
    for one in threads:
        one.join(60)
    assert heard == [None] * 5
    assert cluster.asked == 1
    cluster.create = fail
    with pytest.raises(RefusalError):
        reviewer.review("other")
    assert reviewer.known("other") == (False, None)  # a failure is no refusal
