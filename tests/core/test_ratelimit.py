"""Token buckets: bursts, rates, and pauses that a server asks for."""

from resultsfw.ratelimit import TokenBucket


class Time:
    def __init__(self):
        self.now = 0.0
        self.slept = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(round(seconds, 6))


def test_a_burst_passes_at_once_and_then_so_many_a_second():
    time = Time()
    limit = TokenBucket(10, 3, clock=time.clock, sleep=time.sleep)
    for _ in range(5):
        limit.wait()
    assert time.slept == [0.1, 0.2]
    time.now = 100
    for _ in range(4):
        limit.wait()
    assert time.slept == [0.1, 0.2, 0.1]


def test_a_blocked_bucket_lets_nothing_pass_until_its_time():
    time = Time()
    limit = TokenBucket(10, 3, clock=time.clock, sleep=time.sleep)
    limit.block(7)
    limit.wait()
    assert time.slept == [7]
    time.now = 8
    limit.wait()
    assert time.slept == [7]


def test_a_bucket_fills_up_to_its_burst():
    time = Time()
    bucket = TokenBucket(2, 2, clock=time.clock)
    assert [bucket.reserve() for _ in range(3)] == [0, 0, 0.5]
    time.now = 100
    assert [bucket.reserve() for _ in range(3)] == [0, 0, 0.5]
    assert TokenBucket(0, 1, clock=time.clock).reserve() == 0


def test_a_bucket_without_a_limit_can_be_blocked():
    time = Time()
    bucket = TokenBucket(0, 1, clock=time.clock, sleep=time.sleep)
    bucket.block(3)
    bucket.wait()
    time.now = 3
    bucket.wait()
    assert time.slept == [3]
