"""Status pages are served to probes and Prometheus, beside silent clients."""

import json
import socket
import threading
import urllib.error
import urllib.request

import pytest

from resultsfw.errors import InputError
from resultsfw.operations import status_pages
from resultsfw.operations.debug import LOOPBACK, NOT_LOCAL
from resultsfw.operations.status_pages import StatusServer, parse_address


def ask(port, path, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310 - http
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def server():
    def broken():
        raise RuntimeError

    pages = {"/ok": lambda: (True, b"fine\n"), "/no": lambda: (False, b"why\n"), "/broken": broken}
    server = StatusServer(("127.0.0.1", 0), pages, {"/state": lambda: {"worker": "n/\u00e9\x1b[2J"}})
    yield server
    server.close()


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/ok", 200, b"fine\n"),
        ("/ok?x=1", 200, b"fine\n"),
        ("/no", 503, b"why\n"),
        ("/else", 404, b"there is /ok, /no, /broken, /state\n"),
    ],
)
def test_status_pages_answer_200_503_or_404(server, path, status, body):
    got = ask(server.port, path)
    assert got[0] == status
    assert got[1].startswith(body)


def test_the_state_is_json_in_ascii_for_clients_in_the_pod_only(server, monkeypatch):
    status, body = ask(server.port, "/state")
    assert status == 200
    assert body.isascii()
    assert b"\x1b" not in body
    assert json.loads(body) == {"worker": "n/\u00e9\x1b[2J"}
    monkeypatch.setattr(status_pages, "LOOPBACK", frozenset())
    assert ask(server.port, "/state") == (403, NOT_LOCAL)
    assert ask(server.port, "/ok")[0] == 200


def test_a_page_of_a_browser_whose_name_leads_to_a_forwarded_port_reads_no_state(server):
    for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost:x", "["):
        assert ask(server.port, "/state", Host=host) == (403, NOT_LOCAL)
    for host in ("localhost", "LOCALHOST:8080", "127.0.0.1", "[::1]", "[::1]:8080"):
        assert ask(server.port, "/state", Host=host)[0] == 200
    assert ask(server.port, "/ok", Host="10.0.0.1:8080")[0] == 200


def test_only_the_pod_itself_counts_as_local_and_no_proxy_of_a_mesh():
    assert not LOOPBACK & {"127.0.0.6", "10.0.0.1", "::ffff:10.0.0.1", ""}


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
    with pytest.raises(InputError, match=r"choose another port, .*: --listen 127\.0\.0\.1:0$"):
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
