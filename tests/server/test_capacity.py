"""Capacity for bodies in memory, and concurrent calls: shared fairly among namespaces."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.server import body_capacity
from resultsfw.server.body_capacity import BodyCapacity, transfer
from resultsfw.server.concurrency import ConcurrencyLimit
from resultsfw.server.refusals import RefusalError


@pytest.fixture
def capacity(monkeypatch):
    """Capacity for 100 bytes, and a short wait for it."""
    monkeypatch.setattr(body_capacity, "_LEAST", 100)
    monkeypatch.setattr(body_capacity, "_WAIT", 0.05)
    return BodyCapacity(10)


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
