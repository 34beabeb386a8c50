"""Backend ``http``: what it puts into a pod, how it reads, and every way in which that can go wrong."""

import gzip
import hashlib
import http.server
import json
import threading

import pytest
import trustme
import yaml
from http_pods import AUDIENCE, BODY, DIGEST, PATH, RUN, a_pod, core_for
from sidecarlogs import UID, codes, log_of, value, values_of

from resultsfw import ProblemCode, ResultsManager
from resultsfw.errors import FlagError, ForbiddenError, TooEarlyError, UnavailableError
from resultsfw.local.store import Store
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw_backends import http as backend
from resultsfw_sidecar import wire
from resultsfw_sidecar.output import OutputError
from resultsfw_sidecar.settings import Environment, SettingsError
from resultsfw_transports import http as transport


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text("the-token\n")
    return path


@pytest.fixture
def served():
    """A server that says what it is told to: (status, headers, body); what it was asked."""
    servers = []

    def serve(status=200, body=BODY, *, headers=None, short=0):
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append((self.command, self.path, self.headers["Authorization"]))
                if status is None:
                    return
                self.send_response(status)
                given = {"Content-Length": str(len(body) + short), **(headers or {})}
                for name, item in given.items():
                    if item is not None:
                        self.send_header(name, item)
                self.end_headers()
                self.wfile.write(body)

            do_DELETE = do_PUT = do_GET  # noqa: N815 - named by http.server

            def log_message(self, *_args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}", asked

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join(60)
        server.server_close()


def said(code, message="why"):
    return json.dumps({"code": code, "message": message}).encode()


# Into the pod.


def prepared(**config):
    core = ResultsManager.from_flags({"results-from": "http", "config.http": yaml.safe_dump(config)})
    pod = {
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "step-one", "args": ["-step_metadata_dir", "x"]}]},
    }
    out = core.prepare_pod(RUN, pod, cluster=Store())
    return out, next(
        container for container in out["spec"]["initContainers"] if container["name"] == RESULTS_SIDECAR
    )


def test_the_token_is_for_the_server_and_for_the_sidecar_alone():
    pod, sidecar = prepared(url="https://server:1")
    [volume] = [volume for volume in pod["spec"]["volumes"] if "projected" in volume]
    [source] = volume["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == AUDIENCE
    [mount] = [mount for mount in sidecar["volumeMounts"] if mount["name"] == volume["name"]]
    assert mount["readOnly"]
    assert not [
        container
        for container in pod["spec"]["containers"]
        for m in container.get("volumeMounts", ())
        if m["name"] == volume["name"]
    ]
    env = {variable["name"]: variable.get("value") for variable in sidecar["env"]}
    assert (env["RESULTSFW_SERVER_URL"], env["RESULTSFW_SERVER_PATH"]) == ("https://server:1", PATH)
    assert env["RESULTSFW_SERVER_TOKEN_FILE"] == f"{mount['mountPath']}/token"
    assert env["RESULTSFW_TRANSPORT"] == "resultsfw_transports.http"


def test_certificates_come_as_text_or_from_a_configmap_of_the_namespace():
    pem = trustme.CA().cert_pem.bytes().decode()
    _, sidecar = prepared(ca=pem)
    assert (
        next(variable["value"] for variable in sidecar["env"] if variable["name"] == transport.ENV_CA) == pem
    )
    pod, sidecar = prepared(**{"ca-config-map": "trust"})
    [volume] = [volume for volume in pod["spec"]["volumes"] if "projected" in volume]
    assert volume["projected"]["sources"][1]["configMap"]["name"] == "trust"
    assert next(
        variable["value"] for variable in sidecar["env"] if variable["name"] == transport.ENV_CA_FILE
    ).endswith("/ca.crt")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"url": "http://server:1"}, "must be https: tokens would be seen"),
        ({"url": "https://u:p@server"}, "must be https://HOST:PORT"),
        ({"url": "server:1"}, "must be https://HOST:PORT"),
        ({"url": "https://server:x"}, "url"),
        ({"ca": "nonsense"}, "must be certificates in PEM"),
        ({"ca": trustme.CA().cert_pem.bytes().decode(), "ca-config-map": "x"}, "not both"),
        ({"timeout": 0}, "timeout"),
        ({"audience": ""}, "audience"),
        ({"token": "x"}, "token"),
    ],
)
def test_an_invalid_configuration_is_refused(config, why):
    with pytest.raises(FlagError, match=why):
        ResultsManager.from_flags({"results-from": "http", "config.http": yaml.safe_dump(config)})


# Reading.


def test_what_was_delivered_is_read_with_one_request(served, token):
    url, asked = served()
    collected = core_for(url, token).collect(RUN, a_pod(DIGEST), None)
    assert (values_of(collected), collected.problems) == ({"a": "one"}, ())
    assert asked == [("GET", f"{PATH}/pods/{UID}", "Bearer the-token")]


def test_the_digest_in_the_pods_status_wins_over_server_and_store(served, token):
    """Whoever forges a delivery forges all of it, its own digests too; the kubelet says what it was."""
    forged = log_of(value("a", "forged"), wire.absent_line("b", "task"))
    url, _ = served(body=forged)
    collected = core_for(url, token).collect(RUN, a_pod(DIGEST), None)
    assert (codes(collected), values_of(collected)) == ([ProblemCode.TRANSPORT_CORRUPT], {})
    assert "its sidecar left in the pod's status" in collected.problems[0].message


def test_of_a_sidecar_that_says_it_could_not_nothing_is_believed(served, token):
    url, asked = served()
    pod = a_pod("Undelivered: the results server refused 9 bytes with HTTP 409: ...", code=1)
    collected = core_for(url, token).collect(RUN, pod, None)
    assert (codes(collected), asked) == ([ProblemCode.TRANSPORT_INCOMPLETE], [])
    assert "HTTP 409" in collected.problems[0].message


@pytest.mark.parametrize(
    "state",
    [
        {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}},
        {"terminated": {"exitCode": 0, "reason": "Completed", "message": ""}},
        {"terminated": {"exitCode": 0, "reason": "Completed", "message": "sha256:" + "0" * 63}},
        {"terminated": {"exitCode": 0, "reason": "Completed", "message": f"{DIGEST} and more"}},
        {"running": {}},
        {},
    ],
    ids=["node lost", "no message", "cut digest", "more than a digest", "running", "nothing known"],
)
def test_a_delivery_without_the_digest_of_its_sidecar_is_not_believed(served, token, state):
    """A Step may have a token that is bound to the pod too, and deliver before the sidecar does."""
    url, asked = served()
    collected = core_for(url, token).collect(RUN, a_pod(state=state), None, final=True)
    assert (values_of(collected), codes(collected)) == ({}, [ProblemCode.TRANSPORT_INCOMPLETE])
    assert asked == []


def test_nothing_delivered_is_early_while_the_sidecar_runs_and_a_problem_after(served, token):
    url, _ = served(404, said("NotFound"))
    core = core_for(url, token)
    running = a_pod(state={"running": {}}, phase="Running")
    with pytest.raises(TooEarlyError):
        core.collect(RUN, running, None)
    assert codes(core.collect(RUN, running, None, final=True)) == [ProblemCode.TRANSPORT_INCOMPLETE]
    killed = a_pod(state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
    [problem] = core.collect(RUN, killed, None).problems
    assert "ended with exit code 137 (OOMKilled) and left no message" in problem.message
    [problem] = core.collect(RUN, a_pod(DIGEST), None).problems
    assert problem.message.startswith("the results server has nothing of this pod: container")
    assert "ended with exit code 0 (Completed)" in problem.message
    assert problem.message.endswith("; results that a Step wrote may be missing")


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        ((401, said("Unauthenticated")), ForbiddenError, "refused: why"),
        ((403, said("Forbidden")), ForbiddenError, "refused: why"),
        ((429, said("Busy")), UnavailableError, "refused: why"),
        ((500, said("Internal")), UnavailableError, "refused: why"),
        ((503, said("Unavailable")), UnavailableError, "refused: why"),
        ((404, b"<html>"), UnavailableError, "HTTP 404, and not as a results server says it"),
        ((404, said("Else")), UnavailableError, "refused: why"),
        ((502, b"["), UnavailableError, "HTTP 502"),
        ((502, b"[" * 4096), UnavailableError, "HTTP 502"),
        ((200, BODY, {"Content-Length": None}), UnavailableError, "has None bytes"),
        ((200, b"", {"Content-Length": "99999999999"}), UnavailableError, "has 99999999999 bytes"),
        ((None,), UnavailableError, "cannot be asked: RemoteDisconnected"),
    ],
)
def test_what_can_come_right_is_an_error_and_tried_again(served, token, answer, error, why):
    status, *rest = answer
    url, _ = served(status, *rest[:1], headers=rest[1] if rest[1:] else None)
    with pytest.raises(error, match=why) as raised:
        core_for(url, token).collect(RUN, a_pod(DIGEST), None)
    assert raised.value.retryable
    [problem] = core_for(url, token).collect(RUN, a_pod(DIGEST), None, final=True).problems
    assert problem.code is ProblemCode.TRANSPORT_UNREADABLE


def test_an_answer_that_is_cut_is_asked_for_again(served, token):
    url, _ = served(short=5)
    with pytest.raises(UnavailableError, match=r"ends after \d+ of \d+ bytes|IncompleteRead"):
        core_for(url, token).collect(RUN, a_pod(DIGEST), None)


def test_an_answer_that_never_ends_is_given_up(served, token, monkeypatch):
    monkeypatch.setattr(backend, "_LONGEST", -1.0)
    url, _ = served()
    with pytest.raises(UnavailableError, match="TimeoutError"):
        core_for(url, token).collect(RUN, a_pod(DIGEST), None)


def test_redirects_are_not_followed(served, token):
    other, asked = served()
    url, _ = served(307, b"", headers={"Location": f"{other}/"})
    with pytest.raises(UnavailableError, match="HTTP 307"):
        core_for(url, token).collect(RUN, a_pod(DIGEST), None)
    assert asked == []


def test_a_damaged_store_is_a_verdict(served, token):
    url, _ = served(500, said("Damaged", "its digest is another"))
    assert codes(core_for(url, token).collect(RUN, a_pod(DIGEST), None)) == [ProblemCode.TRANSPORT_CORRUPT]


def test_no_server_no_token_and_no_trust_are_named(served, token, tmp_path):
    with pytest.raises(UnavailableError, match="ConnectionRefusedError"):
        core_for("http://127.0.0.1:1", token).collect(RUN, a_pod(DIGEST), None)
    url, asked = served()
    with pytest.raises(UnavailableError, match=r"no token for the results server in .*none \(token-file\)"):
        core_for(url, tmp_path / "none").collect(RUN, a_pod(DIGEST), None)
    with pytest.raises(UnavailableError, match="SSL"):
        core_for(url.replace("http:", "https:"), token).collect(RUN, a_pod(DIGEST), None)
    assert asked == []


def test_purge_removes_the_attempt_and_says_what_it_could_not(served, token):
    url, asked = served(204, b"", headers={"Content-Length": None})
    core_for(url, token).purge(RUN, a_pod(), None)
    assert asked == [("DELETE", PATH, "Bearer the-token")]
    url, _ = served(403, said("Forbidden"))
    with pytest.raises(ForbiddenError):
        core_for(url, token).purge(RUN, a_pod(), None)


def test_a_compressed_delivery_is_read_as_any_other(served, token):
    text = b"a line of a report\n" * 100
    packed = wire.compressed_pieces("a", text, gzip.compress(text), "task")
    body = log_of(b"".join(packed), wire.absent_line("b", "task"))
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    url, _ = served(body=body)
    assert values_of(core_for(url, token).collect(RUN, a_pod(digest, stamp="http/2"), None)) == {
        "a": text.decode()
    }
    pod, sidecar = prepared(compress=True)
    assert pod["metadata"]["annotations"]["resultsfw.dev/stamp"] == "http/2"
    assert {"name": wire.ENV_WIRE, "value": "2"} in sidecar["env"]


def test_a_wire_of_another_version_is_not_guessed(served, token):
    url, asked = served()
    [problem] = core_for(url, token).collect(RUN, a_pod(DIGEST, stamp="http/3"), None).problems
    assert ("wire version 3" in problem.message, asked) == (True, [])


def test_it_is_read_when_the_sidecar_has_ended(token):
    core = core_for("http://127.0.0.1:1", token)
    assert core.is_ready(RUN, a_pod(DIGEST))
    assert not core.is_ready(RUN, a_pod(state={"running": {}}, phase="Running"))


# Out of the pod.


class Waits:
    """Stands for the sidecar's `Stop`."""

    requested = False

    def wait(self, seconds):
        del seconds


def a_way(url, token, **more):
    variables = {
        transport.ENV_URL: url,
        transport.ENV_PATH: PATH,
        transport.ENV_TOKEN_FILE: str(token),
        wire.ENV_POD_UID: UID,
        **more,
    }
    environment = Environment({key.encode(): text.encode() for key, text in variables.items()})
    client = transport.Transport()
    client.open(environment, Waits())
    return client


def test_a_refusal_is_passed_on_and_not_tried_again(served, token, monkeypatch):
    asked = []
    client = a_way("https://server:1", token)
    monkeypatch.setattr(
        client._server, "ask", lambda *args, **_: asked.append(args) or (413, said("TooLarge", "x" * 900))
    )
    client.output.line([b"records\n"])
    with pytest.raises(OutputError, match=r"refused 8 bytes with HTTP 413: .*TooLarge") as raised:
        client.deliver()
    assert len(str(raised.value)) < 600
    with pytest.raises(OutputError):
        client.deliver()
    assert asked == [("PUT", f"{PATH}/pods/{UID}", b"records\n")]


def test_a_delivery_names_its_run(token, monkeypatch):
    _, sidecar = prepared(url="https://server:1")
    assert {"name": transport.ENV_RUN, "value": RUN.name} in sidecar["env"]
    for variables, headers in (({transport.ENV_RUN: "run"}, {"Resultsfw-Run": "run"}), ({}, {})):
        client = a_way("https://server:1", token, **variables)
        sent = []
        monkeypatch.setattr(
            client._server, "ask", lambda *_, sent=sent, **named: sent.append(named) or (201, b"")
        )
        client.deliver()
        assert [named["headers"] for named in sent] == [headers]


def test_a_namespace_over_its_quota_is_tried_again_for_a_while(served, token, monkeypatch):
    monkeypatch.setattr("resultsfw_transports.request.PATIENCE", 0.3)
    url, asked = served(507, said("QuotaExceeded"))
    client = a_way(url, token)
    with pytest.raises(OutputError, match=r"HTTP 507.*QuotaExceeded"):
        client.deliver()
    assert len(asked) > 1


@pytest.mark.parametrize("missing", [transport.ENV_URL, transport.ENV_PATH, transport.ENV_TOKEN_FILE])
def test_a_variable_that_is_missing_is_named(token, missing):
    with pytest.raises(SettingsError, match=missing):
        a_way("https://server:1", token, **{missing: ""})


@pytest.mark.parametrize(
    "more", [{transport.ENV_URL: "server"}, {transport.ENV_CA: "nonsense"}, {transport.ENV_CA_FILE: "/none"}]
)
def test_an_invalid_variable_is_named(token, more):
    with pytest.raises(SettingsError, match=transport.ENV_URL):
        a_way("https://server:1", token, **more)
