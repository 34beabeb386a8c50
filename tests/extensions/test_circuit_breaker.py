"""A server that hangs holds one thread at a time, and that one a quarter of the time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from resultsfw.errors import ClusterError, UnavailableError
from resultsfw_extensions import _circuit_breaker
from resultsfw_extensions._circuit_breaker import CircuitBreaker


@pytest.fixture
def clock(monkeypatch):
    """The time, which a test moves."""
    now = [1000.0]
    monkeypatch.setattr(_circuit_breaker, "monotonic", lambda: now[0])
    return now


class Server:
    def __init__(self, clock):
        self.clock = clock
        self.calls = 0
        self.seconds = 5.0
        self.error = UnavailableError("away", subject="spire")

    def __call__(self):
        self.calls += 1
        self.clock[0] += self.seconds
        if self.error is not None:
            raise self.error


def test_after_a_call_that_hung_nobody_asks_for_three_times_as_long(clock):
    server, breaker = Server(clock), CircuitBreaker()
    with pytest.raises(UnavailableError, match="away"):
        breaker.call(server)
    for _ in range(15):
        with pytest.raises(UnavailableError, match="away") as refused:
            breaker.call(server)
        assert refused.value.subject == "spire"
        clock[0] += 1
    assert server.calls == 1
    server.error = None
    breaker.call(server)
    breaker.call(server)
    assert server.calls == 3


def test_a_call_that_fails_at_once_is_followed_by_no_pause(clock):
    server, breaker = Server(clock), CircuitBreaker()
    server.seconds, server.error = 0, ClusterError("refused", subject="spire")
    for _ in range(3):
        with pytest.raises(ClusterError, match="refused"):
            breaker.call(server)
    assert server.calls == 3


def test_while_a_thread_tries_again_no_other_one_waits(clock):
    server, breaker = Server(clock), CircuitBreaker()
    with pytest.raises(UnavailableError):
        breaker.call(server)
    clock[0] += 16
    asked, answer = threading.Event(), threading.Event()

    def hang():
        asked.set()
        assert answer.wait(60)

    with ThreadPoolExecutor(1) as threads:
        trying = threads.submit(breaker.call, hang)
        assert asked.wait(60)
        try:
            with pytest.raises(UnavailableError, match="away"):
                breaker.call(server)
        finally:
            answer.set()
        trying.result(60)
    server.error = None
    breaker.call(server)
    assert server.calls == 2
