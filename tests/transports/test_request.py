"""Requests from the pod: token, TLS, tries and their end, against a real server."""

import http.server
import ssl
import threading

import pytest
import trustme

from resultsfw_sidecar.output import OutputError
from resultsfw_transports import request
from resultsfw_transports.request import Server


class Waits:
    """Stands for the sidecar's `Stop`: waits are noted and not waited for."""

    requested = False

    def __init__(self):
        self.waited = []

    def wait(self, seconds):
        self.waited.append(seconds)


@pytest.fixture
def served():
    """A server that gives the answers it is given, the last one again and again; what it was asked."""
    servers = []

    def serve(*answers, tls=None):
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                size = int(self.headers.get("Content-Length") or 0)
                asked.append((self.path, dict(self.headers), self.rfile.read(size)))
                status = answers[min(len(asked), len(answers)) - 1]
                if status is None:  # hangs up
                    self.close_connection = True
                    return
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"said")

            def log_message(self, *_args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"127.0.0.1:{server.server_port}", asked

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join(60)
        server.server_close()


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


def test_a_request_carries_the_token_and_the_body(served, token):
    host, asked = served(201)
    server = Server(f"http://{host}/base/", token_file=str(token), ca_file="", stop=Waits())
    assert server.ask("PUT", "/a%20b", b"body", media_type="text/x") == (201, b"said")
    [(path, headers, body)] = asked
    assert (path, headers["Authorization"], headers["Content-Type"], body) == (
        "/base/a%20b",
        "Bearer first",
        "text/x",
        b"body",
    )


@pytest.mark.parametrize("passing", [None, 429, 500, 503])
def test_what_can_come_right_is_tried_again_with_the_token_of_then(served, token, passing):
    host, asked = served(passing, passing, 200)
    waits = Waits()
    waits.wait = lambda seconds: (waits.waited.append(seconds), token.write_text("renewed"))
    server = Server(f"http://{host}", token_file=str(token), ca_file="", stop=waits)
    assert server.ask("PUT", "/", b"x") == (200, b"said")
    assert [headers["Authorization"] for _, headers, _ in asked] == ["Bearer first"] + ["Bearer renewed"] * 2
    assert waits.waited == [0.1, 0.2]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413])
def test_a_refusal_is_no_reason_to_ask_again(served, token, status):
    host, asked = served(status)
    server = Server(f"http://{host}", token_file=str(token), ca_file="", stop=Waits())
    assert server.ask("PUT", "/", b"x")[0] == status
    assert len(asked) == 1


def test_patience_ends(served, token, monkeypatch):
    clock = [0.0]
    waits = Waits()

    def wait(seconds):
        clock[0] += seconds

    waits.wait = wait
    monkeypatch.setattr(request, "_now", lambda: clock[0])
    host, asked = served(503)
    server = Server(f"http://{host}", token_file=str(token), ca_file="", stop=waits)
    assert server.ask("PUT", "/", b"x")[0] == 503
    assert 50 < clock[0] <= request.PATIENCE
    assert len(asked) > 10
    token.unlink()
    with pytest.raises(OutputError, match="FileNotFoundError"):
        server.ask("PUT", "/", b"x")


def test_a_signal_makes_patience_short_enough_for_a_last_word(served, token, monkeypatch):
    clock = [0.0]
    waits = Waits()

    def wait(seconds):
        clock[0] += seconds
        waits.requested = clock[0] > 5

    waits.wait = wait
    monkeypatch.setattr(request, "_now", lambda: clock[0])
    host, _ = served(503)
    server = Server(f"http://{host}", token_file=str(token), ca_file="", stop=waits)
    assert server.ask("PUT", "/", b"x")[0] == 503
    assert 15 < clock[0] < 5 + 5 + request.HASTE  # the signal, the pause it fell into, the rest


def test_a_server_must_show_the_certificate_that_was_agreed(served, token, tmp_path):
    right, wrong = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    right.issue_cert("127.0.0.1").configure_cert(context)
    host, asked = served(200, tls=context)
    for ca, name in ((right, "right.pem"), (wrong, "wrong.pem")):
        ca.cert_pem.write_to_path(str(tmp_path / name))
    server = Server(
        f"https://{host}", token_file=str(token), ca_file=str(tmp_path / "right.pem"), stop=Waits()
    )
    assert server.ask("PUT", "/", b"x")[0] == 200
    waits = Waits()
    server = Server(f"https://{host}", token_file=str(token), ca_file=str(tmp_path / "wrong.pem"), stop=waits)
    waits.wait = lambda _: pytest.fail("a wrong certificate was tried again") if len(asked) > 1 else None
    asked.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request, "PATIENCE", 0.2)
        with pytest.raises(OutputError, match="certificate verify failed"):
            server.ask("PUT", "/", b"x")
    assert asked == []


@pytest.mark.parametrize("url", ["", "ftp://x", "https://", "https://user:secret@host", "host:1"])
def test_what_is_no_url_is_refused(url, token):
    with pytest.raises(ValueError, match="not the URL"):
        Server(url, token_file=str(token), ca_file="", stop=Waits())


def test_certificates_that_cannot_be_read_are_named(token, tmp_path):
    with pytest.raises(ValueError, match="certificates cannot be read"):
        Server("https://h", token_file=str(token), ca_file=str(tmp_path / "none"), stop=Waits())
