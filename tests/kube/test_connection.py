"""Connections: whose configuration, what it says when that is wrong, and credentials."""

import base64
import threading

import pytest
from kubernetes.config import ConfigException
from kubeserver import kubeconfig_for, refusing

from resultsfw.cluster import PODS
from resultsfw.errors import ForbiddenError, InputError, NotFoundError, UnavailableError
from resultsfw.kube import KubeCluster, connect
from resultsfw.kube.connection import encode


def test_a_kubeconfig_is_used_with_its_token(cluster, server):
    server.put("pods", "ns", "a")
    cluster.get(PODS, "ns", "a")
    assert {key.lower(): value for key, value in server.asked[0].headers.items()}["authorization"] == (
        "Bearer sesame"
    )
    assert server.asked[0].headers["User-Agent"] == "resultsfw"


def test_the_kubeconfig_of_the_environment_is_used_with_a_context(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig_for(server.url, tmp_path)))
    assert connect().host == server.url
    assert connect(None, "one").host == server.url


def test_the_kubeconfig_of_the_home_folder_is_used(server, tmp_path):
    (tmp_path / ".kube").mkdir()
    kubeconfig_for(server.url, tmp_path).rename(tmp_path / ".kube/config")
    assert connect().host == server.url


@pytest.mark.parametrize(
    ("content", "context", "says"),
    [
        (None, None, "no such file; name a kubeconfig"),
        ("", None, "kubectl config view"),
        ("[1, 2]", None, "kubectl config view"),
        ("{a: [", None, "kubectl config view"),
        ("{}", None, "kubectl config view"),
        (..., "absent", "absent"),
        (..., "broken", "nowhere"),
    ],
)
def test_an_invalid_configuration_raises_an_input_error(tmp_path, content, context, says):
    path = tmp_path / "kubeconfig"
    if content is ...:
        path = kubeconfig_for("http://127.0.0.1:1", tmp_path)
    elif content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=says) as caught:
        connect(str(path), context)
    assert caught.value.subject == str(path)


def test_a_missing_configuration_raises_an_error_that_names_the_files():
    with pytest.raises(InputError, match=r"~/\.kube/config: no such file"):
        connect()


def test_a_pod_without_a_token_raises_an_error_that_says_so(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(InputError, match="the pod's service account: Service token file"):
        connect()


def test_basic_credentials_are_sent(server, tmp_path):
    user = {"username": "me", "password": "pw"}
    one = connect(str(kubeconfig_for(server.url, tmp_path, **user)))
    server.put("pods", "ns", "a")
    KubeCluster(one).get(PODS, "ns", "a")
    headers = {key.lower(): value for key, value in server.asked[0].headers.items()}
    assert headers["authorization"] == "Basic " + base64.b64encode(b"me:pw").decode()
    one.close()


def test_credentials_are_renewed_after_a_401(connection, cluster, server, monkeypatch):
    """A rotated token is used at once, and the client is not asked for each request."""
    tokens = iter(["Bearer one", "Bearer two\n"])
    configuration = connection.api.configuration
    monkeypatch.setattr(configuration, "get_api_key_with_prefix", lambda *_, **__: next(tokens))
    server.put("pods", "ns", "a")
    cluster.get(PODS, "ns", "a")
    server.plan(refusing(401, "Unauthorized"))
    with pytest.raises(ForbiddenError):
        cluster.get(PODS, "ns", "a")
    cluster.get(PODS, "ns", "a")
    sent = [one.headers.get("authorization") for one in server.asked]
    assert sent == ["Bearer one", "Bearer one", "Bearer two"]


def test_a_failed_renewal_of_credentials_is_retryable(connection, cluster, monkeypatch):
    def fails(*_, **__):
        raise ConfigException("Token file exists but empty.")

    monkeypatch.setattr(connection.api.configuration, "get_api_key_with_prefix", fails)
    with pytest.raises(UnavailableError, match="cannot be renewed: Token file"):
        cluster.get(PODS, "ns", "a")


def test_no_warning_is_shown_where_verification_is_off(tmp_path):
    """The warning would come with every request; pytest makes it an error."""
    path = kubeconfig_for("https://127.0.0.1:1", tmp_path)
    path.write_text(path.read_text().replace('"server"', '"insecure-skip-tls-verify": true, "server"'))
    one = connect(str(path))
    assert one.api.configuration.verify_ssl is False
    with pytest.raises(UnavailableError, match="refused"):
        KubeCluster(one).get(PODS, "ns", "a")


def test_text_is_sent_without_escapes():
    assert encode({"a": "é😀"}) == '{"a":"é😀"}'.encode()
    assert encode({"a": "\ud800"}) == b'{"a":"\\ud800"}'


def test_more_threads_than_pooled_connections_all_get_responses(server, tmp_path):
    """They are opened and closed; nobody waits for ever and nothing warns."""
    one = connect(str(kubeconfig_for(server.url, tmp_path)), threads=1)
    server.put("pods", "ns", "a")
    cluster, got = KubeCluster(one), []
    threads = [
        threading.Thread(target=lambda: got.append(cluster.get(PODS, "ns", "a")["metadata"]["name"]))
        for _ in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert got == ["a"] * 30
    one.close()


def test_requests_are_measured_by_verb_with_their_code(server, tmp_path):
    class Requests:
        def __init__(self):
            self.seen, self.waits = [], []
            self.on_wait = self.waits.append

        def on_request(self, verb, code, seconds):
            assert 0 <= seconds < 60
            self.seen.append((verb, code))

    requests = Requests()
    server.put("pods", "ns", "a")
    with KubeCluster(connect(str(kubeconfig_for(server.url, tmp_path)), metrics=requests)) as cluster:
        cluster.get(PODS, "ns", "a")
        with pytest.raises(NotFoundError):
            cluster.get(PODS, "ns", "b")
        cluster.list(PODS, "ns")
        cluster.patch(PODS, "ns", "a", {"metadata": {"labels": {"a": "b"}}})
        cluster.delete(PODS, "ns", "a")
    assert requests.seen == [("get", 200), ("get", 404), ("list", 200), ("patch", 200), ("delete", 200)]
    assert len(requests.waits) == 5
    gone = connect(str(kubeconfig_for("http://127.0.0.1:1", tmp_path)), metrics=requests)
    with KubeCluster(gone) as cluster, pytest.raises(UnavailableError):
        cluster.get(PODS, "ns", "a")
    assert requests.seen[-1] == ("get", 0)
