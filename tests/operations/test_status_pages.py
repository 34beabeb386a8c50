"""Status pages are served to probes and Prometheus, beside silent clients."""

import socket
import threading
import urllib.error
import urllib.request

import pytest

from resultsfw.errors import InputError
from resultsfw.operations.status_pages import StatusServer, parse_address


def ask(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def server():
    def broken():
        raise RuntimeError

    pages = {"/ok": lambda: (True, b"fine\n"), "/no": lambda: (False, b"why\n"), "/broken": broken}
    server = StatusServer(("127.0.0.1", 0), pages)
    yield server
    server.close()


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/ok", 200, b"fine\n"),
        ("/ok?x=1", 200, b"fine\n"),
        ("/no", 503, b"why\n"),
        ("/else", 404, b"there is"),
    ],
)
def test_status_pages_answer_200_503_or_404(server, path, status, body):
    got = ask(server.port, path)
    assert got[0] == status
    assert got[1].startswith(body)


def test_a_status_page_that_raises_is_a_503_and_the_server_continues(server):
    assert ask(server.port, "/broken")[0] == 503
    assert ask(server.port, "/ok")[0] == 200


def test_a_silent_client_delays_nobody_else(server):
    with socket.create_connection(("127.0.0.1", server.port)):
        assert ask(server.port, "/ok")[0] == 200


def test_silent_clients_do_not_block_others_and_take_no_thread_each(server):
    before = threading.active_count()
    idle = []
    try:
        for _ in range(300):
            idle.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))  # noqa: PERF401 - closed
        assert ask(server.port, "/ok") == (200, b"fine\n")
        assert idle[0].recv(1) == b"", "the oldest has made room"
        assert threading.active_count() - before < 100
    finally:
        for one in idle:
            one.close()


def test_an_address_in_use_is_reported(server):
    with pytest.raises(InputError, match="--listen"):
        StatusServer(("127.0.0.1", server.port), {})


@pytest.mark.parametrize(
    ("text", "address"),
    [(":8080", ("", 8080)), ("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:80", ("::1", 80))],
)
def test_a_listen_address_is_parsed(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["8080", ":x", ":99999", ""])
def test_an_invalid_listen_address_is_an_input_error(text):
    with pytest.raises(InputError, match="HOST:PORT"):
        parse_address(text)
