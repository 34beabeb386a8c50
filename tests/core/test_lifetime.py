"""What several threads share ends once: when it is closed and nobody uses it any more."""

import threading

import pytest

from resultsfw.lifetime import ClosedError, Lifetime


@pytest.fixture
def ends():
    return []


@pytest.fixture
def lifetime(ends):
    return Lifetime("thing", lambda: ends.append("end"))


def test_it_ends_at_once_if_nobody_uses_it_and_only_once(lifetime, ends):
    lifetime.close()
    lifetime.close()
    assert ends == ["end"]
    assert lifetime.ended.is_set()


def test_the_last_user_ends_it(lifetime, ends):
    with lifetime.use():
        with lifetime.use():
            lifetime.close()
        assert ends == []
        with lifetime.use():  # a call within a call
            pass
        assert ends == []
    assert ends == ["end"]


def test_nobody_uses_what_is_closed(lifetime):
    lifetime.close()
    with pytest.raises(ClosedError, match="this thing is closed"), lifetime.use():
        raise AssertionError


def test_an_iterator_uses_it_from_its_first_piece_to_its_end(lifetime, ends):
    pieces = lifetime.during([1, 2])
    assert next(pieces) == 1
    lifetime.close()
    assert list(pieces) == [2]
    assert ends == ["end"]


def test_an_abandoned_iterator_uses_it_no_more(lifetime, ends):
    pieces = lifetime.during([1, 2])
    next(pieces)
    pieces.close()
    lifetime.close()
    assert ends == ["end"]


def test_a_failing_end_is_over_all_the_same():
    def fail():
        raise OSError("x")

    lifetime = Lifetime("thing", fail)
    with pytest.raises(OSError, match="x"):
        lifetime.close()
    assert lifetime.ended.is_set()


def test_many_threads_end_it_once(lifetime, ends):
    began = threading.Barrier(9)

    def work():
        with lifetime.use():
            began.wait(10)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    began.wait(10)
    lifetime.close()
    for thread in threads:
        thread.join(10)
    assert lifetime.ended.wait(10)
    assert ends == ["end"]
