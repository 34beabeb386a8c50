"""Registries with TLS, directly and through the proxy that the environment names."""

import socket
import ssl
import threading

import pytest
import trustme
from registry_harness import FakeRegistry

from resultsfw.registry import http
from resultsfw.registry.http import RequestError
from resultsfw.registry.lookups import look_up_image
from resultsfw.registry.proxy import proxy_for
from resultsfw.registry.references import ImageName


@pytest.fixture
def secure(monkeypatch):
    """A registry whose certificate is trusted, and is for ``registry.test``."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1", "registry.test").configure_cert(server)
    authority.configure_trust(client)
    monkeypatch.setattr(http, "_tls", lambda: client)
    made = FakeRegistry(server)
    made.push("1", cmd=["c"])
    yield made
    made.close()


class Proxy:
    """A proxy that connects to one server whatever it is asked for, or answers with another status."""

    def __init__(self, port, status=b"200 OK"):
        self.port, self.status = port, status
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://u:p%40@127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.asked.append(client.recv(65_536).decode())
            client.sendall(b"HTTP/1.1 " + self.status + b"\r\n\r\n")
            if not self.status.startswith(b"200"):
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.port))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=(source, target), daemon=True).start()

    @staticmethod
    def copy(source, target):
        with source, target:
            try:
                while data := source.recv(65_536):
                    target.sendall(data)
            except OSError:
                return


def looked_up(registry):
    return look_up_image(ImageName(registry, "team/image", "1"), None, lambda _: None, wait=lambda _: None)


def test_a_registry_with_tls_is_asked_with_tls(secure):
    assert looked_up(secure.address).platforms


def test_a_certificate_that_is_not_valid_ends_the_lookup_at_once(secure, monkeypatch):
    monkeypatch.setattr(http, "_tls", ssl.create_default_context)
    with (
        http.Connections(10) as connections,
        pytest.raises(RequestError, match="its certificate is not valid") as error,
    ):
        connections.get(f"https://{secure.address}/v2/", {}, limit=10)
    assert not error.value.temporary


def test_a_proxy_of_the_environment_makes_the_connection(secure, monkeypatch):
    proxy = Proxy(secure.server.server_port)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    assert looked_up("registry.test").platforms
    assert proxy.asked[0].startswith("CONNECT registry.test:443 HTTP/1.")
    assert "Proxy-Authorization: Basic dTpwQA==" in proxy.asked[0]
    monkeypatch.setenv("NO_PROXY", "registry.test")
    with pytest.raises(RequestError, match=r"GET https://registry\.test/v2/"):
        looked_up("registry.test")
    proxy.listener.close()


@pytest.mark.parametrize(("status", "why"), [(b"403 Forbidden", ".*403 Forbidden"), (b"", "")])
def test_a_proxy_that_refuses_is_named(monkeypatch, status, why):
    proxy = Proxy(1, status)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(RequestError, match=f"the proxy that the environment names does not connect{why}"):
        looked_up("registry.test")
    proxy.listener.close()


def test_which_servers_have_a_proxy(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", ".svc,10.0.0.1")
    assert proxy_for("ghcr.io", 443) == "http://proxy:3128"
    for host in ("localhost", "127.0.0.1", "::1", "registry.svc", "10.0.0.1"):
        assert proxy_for(host, 443) == ""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy")
    with pytest.raises(RequestError, match="not an HTTP proxy"):
        looked_up("ghcr.io")
