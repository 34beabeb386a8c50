"""The work queue: no key is handed out twice at once, none is lost, and delays grow."""

import threading
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resultsfw.workqueue import BASE_DELAY, MAX_DELAY, WorkQueue


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(clock):
    return WorkQueue(clock=clock)


def test_a_key_added_twice_is_handed_out_once(queue):
    queue.add("a")
    queue.add("a")
    assert len(queue) == 1
    assert queue.get(0) == "a"
    queue.done("a")
    assert queue.get(0) is None


def test_a_key_added_while_it_is_processed_is_handed_out_again(queue):
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("a")
    assert queue.get(0) is None
    queue.done("a")
    assert queue.get(0) == "a"


def test_keys_are_handed_out_in_the_order_of_adding(queue):
    for key in "cab":
        queue.add(key)
    assert [queue.get(0) for _ in range(3)] == ["c", "a", "b"]


def test_the_earliest_timer_of_a_key_is_kept(queue, clock):
    queue.add_after("a", 5)
    queue.add_after("a", 2)
    queue.add_after("a", 9)
    assert queue.delayed == 1
    clock.now = 1.9
    assert queue.get(0) is None
    clock.now = 2
    assert queue.get(0) == "a"
    queue.done("a")
    clock.now = 20
    assert queue.get(0) is None


def test_the_time_that_keys_wait_and_are_worked_on_is_measured(clock):
    class Times:
        def __init__(self):
            self.waited, self.worked = [], []
            self.on_get, self.on_done = self.waited.append, self.worked.append

    times = Times()
    queue = WorkQueue(clock=clock, metrics=times)
    queue.add("a")
    clock.now = 1
    queue.add("a", urgent=True)  # waits since it was added first
    queue.add_after("b", 1)
    clock.now = 3
    assert queue.get(0) == "a"
    queue.add("a")
    clock.now = 4
    assert queue.state(5).oldest == [("b", 2), ("a", 1)]  # "b" was due at 2, "a" waits for its worker
    assert (len(queue), queue.state(1).processing, len(queue.state(1).oldest)) == (2, 1, 1)
    queue.done("a")
    clock.now = 10
    assert [queue.get(0), queue.get(0)] == ["b", "a"]
    assert (times.waited, times.worked) == ([3, 8, 7], [1])
    queue.done("b")
    queue.add_rate_limited("b")
    assert queue.state(1)[:4] == (0, 1, 1, 1)


def test_handing_a_key_out_ends_its_timer(queue, clock):
    queue.add_after("a", 5)
    queue.add("a")
    assert queue.get(0) == "a"
    queue.done("a")
    clock.now = 6
    assert queue.get(0) is None


def test_delays_double_with_jitter_up_to_the_limit_until_forgotten(queue, clock):
    pauses = []
    for _ in range(40):
        pauses.append(queue.add_rate_limited("a"))
        clock.now += MAX_DELAY
        assert queue.get(0) == "a"
        queue.done("a")
    for number, pause in enumerate(pauses):
        full = min(BASE_DELAY * 2**number, MAX_DELAY)
        assert full / 2 <= pause <= full
    assert len(set(pauses)) > 30
    queue.forget("a")
    assert queue.add_rate_limited("a") <= BASE_DELAY


def test_retries_of_all_keys_together_are_rate_limited(clock):
    queue = WorkQueue(rate=10, burst=3, clock=clock)
    pauses = [queue.add_rate_limited(key) for key in range(13)]
    assert max(pauses[:3]) <= BASE_DELAY
    assert pauses[12] == pytest.approx(1.0)


def test_a_tenant_with_thousands_of_keys_delays_no_other():
    queue = WorkQueue(tenant=lambda key: key[0])
    for number in range(5000):
        queue.add(("many", number))
    queue.add(("few", 1))
    queue.add(("few", 2))
    assert [queue.get(0) for _ in range(5)] == [
        ("many", 0), ("few", 1), ("many", 1), ("few", 2), ("many", 2),
    ]  # fmt: skip
    assert len(queue) == 4997
    queue.discard(("many", 3))
    assert queue.get(0) == ("many", 4)
    assert len(queue) == 4995


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=40))
def test_every_key_is_handed_out_once_and_of_each_tenant_in_order(keys):
    queue = WorkQueue(tenant=lambda key: key[0])
    for key in keys:
        queue.add(key)
    out = []
    while (key := queue.get(0)) is not None:
        out.append(key)
    assert sorted(out) == sorted(set(keys))
    for tenant in "abc":
        assert [key for key in out if key[0] == tenant] == list(
            dict.fromkeys(key for key in keys if key[0] == tenant)
        )


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.booleans()), max_size=40))
def test_urgent_keys_are_handed_out_before_the_others_of_their_tenant(added):
    queue = WorkQueue(tenant=lambda key: key[0])
    for *key, urgent in added:
        queue.add(tuple(key), urgent=urgent)
    urgent_keys = {(tenant, number) for tenant, number, urgent in added if urgent}
    assert len(queue) == len({(tenant, number) for tenant, number, _ in added})
    out = []
    while (key := queue.get(0)) is not None:
        out.append(key)
    assert len(queue) == 0
    for tenant in "abc":
        keys = [key for key in out if key[0] == tenant]
        assert keys == sorted(keys, key=lambda key: key not in urgent_keys)


def test_a_key_added_as_urgent_while_it_is_processed_is_urgent_afterwards(queue):
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("b")
    queue.add("a", urgent=True)
    queue.add("a")
    queue.done("a")
    assert [queue.get(0), queue.get(0)] == ["a", "b"]


def test_urgent_keys_of_one_tenant_delay_no_other():
    queue = WorkQueue(tenant=lambda key: key[0])
    queue.add(("few", 0))
    for number in range(100):
        queue.add(("many", number), urgent=True)
    assert ("few", 0) in [queue.get(0), queue.get(0)]


def test_a_discarded_urgent_key_is_not_handed_out(queue):
    queue.add("a", urgent=True)
    queue.discard("a")
    assert len(queue) == 0
    assert queue.get(0) is None


def test_retries_of_one_tenant_delay_no_other(clock):
    queue = WorkQueue(tenant=lambda key: key[0], rate=10, burst=3, clock=clock)
    assert max(queue.add_rate_limited(("many", number)) for number in range(103)) == pytest.approx(10.0)
    assert queue.add_rate_limited(("few", 1)) <= BASE_DELAY


def test_replaced_timers_do_not_pile_up(queue):
    for seconds in range(10_000, 0, -1):
        queue.add_after("a", seconds)
    assert len(queue._heap) < 200


def test_a_discarded_key_is_not_handed_out(queue, clock):
    queue.add("a")
    queue.add_after("b", 1)
    queue.discard("a")
    queue.discard("b")
    clock.now = 2
    assert queue.get(0) is None


def test_a_queue_that_shuts_down_hands_out_nothing_and_drains(queue):
    queue.add("a")
    queue.add("b")
    assert queue.get(0) == "a"
    assert queue.shut_down_with_drain(0) is False
    assert queue.get() is None
    queue.done("a")
    assert queue.shut_down_with_drain(0) is True


def test_draining_waits_for_the_worker_and_no_longer():
    queue = WorkQueue()
    queue.add("a")
    assert queue.get() == "a"
    timer = threading.Timer(0.05, queue.done, ("a",))
    timer.start()
    drained = []
    drain = threading.Thread(target=lambda: drained.append(queue.shut_down_with_drain(3600)), daemon=True)
    drain.start()
    drain.join(60)
    assert drained == [True]


KEYS = st.integers(0, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, st.booleans()),
        st.tuples(st.just("later"), KEYS, st.floats(0, 3)),
        st.tuples(st.just("retry"), KEYS),
        st.tuples(st.just("get")),
        st.tuples(st.just("done"), KEYS),
        st.tuples(st.just("tick"), st.floats(0, 2)),
    ),
    max_size=60,
)


@given(STEPS)
@settings(deadline=None)
def test_no_key_is_handed_out_twice_at_once_and_none_is_lost(steps):
    clock = Clock()
    queue = WorkQueue(clock=clock)
    busy, owed = set(), set()
    for step, *given_ in steps:
        if step == "add":
            queue.add(given_[0], urgent=given_[1])
            owed.add(given_[0])
        elif step == "later":
            queue.add_after(*given_)
            owed.add(given_[0])
        elif step == "retry":
            queue.add_rate_limited(given_[0])
            owed.add(given_[0])
        elif step == "tick":
            clock.now += given_[0]
        elif step == "done" and given_[0] in busy:
            busy.discard(given_[0])
            queue.done(given_[0])
        elif step == "get" and (key := queue.get(0)) is not None:
            assert key not in busy
            busy.add(key)
            owed.discard(key)
    for key in busy:
        queue.done(key)
    clock.now += MAX_DELAY
    while (key := queue.get(0)) is not None:
        owed.discard(key)
        queue.done(key)
    assert not owed


def test_threads_never_process_a_key_at_once_and_see_every_last_addition():
    queue = WorkQueue()
    said = Counter()
    seen = Counter()
    at_work = Counter()
    faults = []

    def work():
        while (key := queue.get()) is not None:
            at_work[key] += 1
            if at_work[key] != 1:
                faults.append(key)
            seen[key] = said[key]
            at_work[key] -= 1
            queue.done(key)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for number in range(2000):
        key = number % 7
        said[key] += 1
        if number % 3:
            queue.add(key)
        else:
            queue.add_after(key, 0.001)
    end = time.monotonic() + 5
    while seen != said and time.monotonic() < end:
        threading.Event().wait(0.005)
    assert queue.shut_down_with_drain(5)
    for worker in workers:
        worker.join(5)
    assert not faults
    assert seen == said
