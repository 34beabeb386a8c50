"""Fixtures: a cluster's reviews, a server that all tests of a file share, and one of a test's own."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

from serverroom import Reviews, Serving


@pytest.fixture(scope="module")
def reviews():
    one = Reviews().start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def shared(reviews, tmp_path_factory):
    one = Serving(tmp_path_factory.mktemp("server"), reviews, "--limit-bytes", "100000")
    yield one
    assert one.signal(signal.SIGTERM) == 0
    assert not [line for line in one.lines if "SECRET" in line or "Traceback" in line]


@pytest.fixture
def server(shared, reviews):
    """The shared one, whose cluster grants nothing yet."""
    reviews.fails, reviews.audiences = 0, True
    reviews.answers.set()
    reviews.rights.clear()
    return shared


@pytest.fixture(scope="module")
def without_tls(reviews, tmp_path_factory):
    """A server that thousands of connections are opened to: without TLS they are cheap."""
    one = Serving(tmp_path_factory.mktemp("plain"), reviews, "--limit-bytes", "10000000", tls=False)
    yield one
    assert one.signal(signal.SIGTERM) == 0
    assert not [line for line in one.lines if "SECRET" in line or "Traceback" in line]


@pytest.fixture
def plain(without_tls, reviews):
    """That one, whose cluster answers."""
    reviews.fails, reviews.audiences = 0, True
    reviews.answers.set()
    return without_tls


@pytest.fixture
def own(reviews, tmp_path):
    """Starts a server of the test's own."""
    started = []

    def start(*options, tls=True):
        started.append(one := Serving(tmp_path, reviews, *options, tls=tls))
        return one

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


settings.register_profile(
    "resultsfw",
    deadline=None,  # shared machines have slow moments
    max_examples=60,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("resultsfw")
