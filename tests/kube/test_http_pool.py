"""Connections of our own: TLS as the configuration says, kept open, replaced when they are gone; proxies."""

import contextlib
import json
import os
import socket
import ssl
import threading

import pytest
import trustme
from kubeserver import kubeconfig_for

from resultsfw.cluster import PODS
from resultsfw.errors import InputError, UnavailableError
from resultsfw.kube import KubeCluster, connect


class TlsFront:
    """Ends TLS in front of a server, and counts who came."""

    def __init__(self, port, context):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.context, self.port, self.names, self.taken = context, port, [], 0
        context.sni_callback = lambda _sock, name, _context: self.names.append(name)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.listener.getsockname()[1]}"

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.taken += 1
            threading.Thread(target=self._carry, args=(sock,), daemon=True).start()

    def _carry(self, sock):
        with (
            contextlib.closing(sock),
            contextlib.suppress(OSError),
            self.context.wrap_socket(sock, server_side=True) as near,
            socket.create_connection(("127.0.0.1", self.port)) as far,
        ):
            there = threading.Thread(target=_pump, args=(near, far))
            there.start()
            _pump(far, near)
            there.join(60)

    def close(self):
        self.listener.close()


def _pump(source, sink):
    """Until one side ends; then both do."""
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            sink.sendall(piece)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def ca(authority, tmp_path):
    """The authority's certificate, in a file."""
    authority.cert_pem.write_to_path(tmp_path / "ca")
    return str(tmp_path / "ca")


@pytest.fixture
def front(server, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "api.example").configure_cert(context)
    one = TlsFront(int(server.url.rpartition(":")[2]), context)
    server.put("pods", "ns", "a")
    yield one
    one.close()


def cluster_of(url, folder, user=None, **cluster):
    path = kubeconfig_for(url, folder, **(user or {}))
    config = json.loads(path.read_text())
    config["clusters"][0]["cluster"] |= cluster
    path.write_text(json.dumps(config))
    return KubeCluster(connect(str(path)), timeouts=(2, 2))


@pytest.fixture
def made(tmp_path):
    """Makes clusters, and closes their connections."""
    clusters = []

    def make(url, user=None, **cluster):
        clusters.append(cluster_of(url, tmp_path, user, **cluster))
        return clusters[-1]

    yield make
    for one in clusters:
        one.connection.close()


def name_of_the_pod(cluster):
    return cluster.get(PODS, "ns", "a")["metadata"]["name"]


def test_a_verified_server_is_asked_over_one_connection(front, ca, made):
    cluster = made(front.url, **{"certificate-authority": ca})
    assert [name_of_the_pod(cluster) for _ in range(5)] == ["a"] * 5
    assert front.taken == 1


@pytest.mark.parametrize("given", [{}, {"tls-server-name": "else.example"}])
def test_a_server_that_cannot_be_verified_gets_no_request(front, server, ca, made, given):
    """One whose authority nobody knows, and one that is not who it should be."""
    if given:
        given = {**given, "certificate-authority": ca}
    with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        name_of_the_pod(made(front.url, **given))
    assert server.asked == []


def test_the_tls_server_name_of_the_kubeconfig_is_sent(front, ca, made):
    given = {"tls-server-name": "api.example", "certificate-authority": ca}
    assert name_of_the_pod(made(front.url, **given)) == "a"
    assert front.names == ["api.example"]


def test_no_certificate_is_verified_where_the_kubeconfig_says_so(front, made):
    assert name_of_the_pod(made(front.url, **{"insecure-skip-tls-verify": True})) == "a"


def test_a_replaced_certificate_authority_is_read_again(front, authority, tmp_path, made):
    """As the one in a pod may be, while its controller runs."""
    file = tmp_path / "ca"
    trustme.CA().cert_pem.write_to_path(file)
    cluster = made(front.url, **{"certificate-authority": str(file)})
    with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        name_of_the_pod(cluster)
    authority.cert_pem.write_to_path(file)
    os.utime(file, ns=(1, 1))
    assert name_of_the_pod(cluster) == "a"


def test_the_client_certificate_of_the_kubeconfig_is_sent(front, authority, ca, tmp_path, made):
    front.context.verify_mode = ssl.CERT_REQUIRED
    front.context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    given = {"certificate-authority": ca}
    with pytest.raises(UnavailableError):
        name_of_the_pod(made(front.url, **given))
    own = authority.issue_cert("me@example.org")
    own.private_key_pem.write_to_path(tmp_path / "key")
    own.cert_chain_pems[0].write_to_path(tmp_path / "crt")
    user = {"client-certificate": str(tmp_path / "crt"), "client-key": str(tmp_path / "key")}
    assert name_of_the_pod(made(front.url, user, **given)) == "a"


def test_an_invalid_certificate_raises_an_input_error(front, tmp_path, made):
    ca = str(tmp_path / "none")
    (tmp_path / "none").write_text("no certificate")
    with pytest.raises(InputError, match="kubectl config view"):
        made(front.url, **{"certificate-authority": ca})


def test_a_restarted_server_is_asked_over_a_new_connection(cluster, server):
    """Also for what must not be sent twice: an idle connection that is closed is not used again."""
    server.put("pods", "ns", "a")
    cluster.get(PODS, "ns", "a")
    server.down()
    server.up()
    assert cluster.patch(PODS, "ns", "a", {"metadata": {"labels": {"x": "y"}}})["metadata"]["name"] == "a"


def test_requests_behind_a_proxy_go_through_urllib3(server, made, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.put("pods", "ns", "a")
    cluster = made("http://cluster.example:8001")
    assert name_of_the_pod(cluster) == "a"
    assert server.asked[0].headers["Host"] == "cluster.example:8001"
    server.state.logs["a"] = b"one\ntwo\n"
    assert b"".join(cluster.read_log("ns", "a", "c", limit=5)) == b"one\nt"
