"""Fixtures: an API server for reviews, a server shared by a file's tests, and one of a test's own."""

import contextlib
import signal
import sys
from pathlib import Path

import pytest

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

import store_harness
from postgresql_harness import PostgreSQL, find_programs
from serverharness import ReviewApi, ServerProcess


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server, for all tests of this process."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed: no initdb in PATH or where pg_config says")
    server = PostgreSQL(programs)
    yield server
    server.close()


@pytest.fixture(params=["folder", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def place(request, tmp_path):
    """A store of each kind."""
    if request.param == "folder":
        return store_harness.Folder(tmp_path / "store")
    if request.param == "sqlite":
        return store_harness.SQLite(tmp_path)
    return store_harness.PostgreSQL(request.getfixturevalue("postgresql"))


@pytest.fixture
def open_results(place):
    """Opens the store, and closes it after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **more: stack.enter_context(contextlib.closing(place.open(**more)))


@pytest.fixture(scope="module")
def reviews():
    api = ReviewApi().start()
    yield api
    api.stop()


@contextlib.contextmanager
def serving(folder, reviews, *options, **more):
    """A server that ends well, and has logged neither a secret nor a fault."""
    server = ServerProcess(folder, reviews, *options, **more)
    yield server
    assert server.signal(signal.SIGTERM) == 0
    assert not [line for line in server.lines if "SECRET" in line or "Traceback" in line]


@pytest.fixture(scope="module")
def shared(reviews, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server"), reviews, "--limit-bytes", "100000") as server:
        yield server


@pytest.fixture
def server(shared, reviews):
    """The shared one, whose cluster grants nothing yet."""
    reviews.reset()
    return shared


@pytest.fixture(scope="module")
def without_tls(reviews, tmp_path_factory):
    """A server that thousands of connections are opened to: without TLS they are cheap."""
    folder = tmp_path_factory.mktemp("plain")
    with serving(folder, reviews, "--limit-bytes", "10000000", tls=False) as server:
        yield server


@pytest.fixture
def plain(without_tls, reviews):
    """That one, whose cluster grants nothing yet."""
    reviews.reset()
    return without_tls


@pytest.fixture
def start_server(reviews, tmp_path):
    """Starts a server of the test's own."""
    started = []

    def start(*options, tls=True):
        started.append(server := ServerProcess(tmp_path, reviews, *options, tls=tls))
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.kill()
