"""The results server process, over TLS, with an API server that reviews tokens."""

import contextlib
import json
import os
import signal
import ssl
import threading
import uuid

import pytest
from serverharness import OTHER, POD, READER, ServerProcess, answer_on, head, path

from resultsfw.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture
def run():
    """A run's uid that no other test has."""
    return str(uuid.uuid4())


@pytest.fixture
def pod():
    return str(uuid.uuid4())


def test_a_pod_writes_once_and_the_controller_reads_and_removes(server, reviews, run, pod):
    token, reader = reviews.pod_token(pod), reviews.token()
    reviews.allow("get")
    reviews.allow("delete")
    where = path(run, pod)
    assert server.ask("GET", where, reader).code == "NotFound"
    stored = server.ask("PUT", where, token, b"SECRET records")
    assert (stored.status, json.loads(stored.body)["bytes"]) == (201, 14)
    assert server.ask("PUT", where, token, b"SECRET records").status == 200  # its answer was lost, say
    other = server.ask("PUT", where, token, b"SECRET others")
    assert (other.status, other.code) == (409, "AlreadyWritten")
    read = server.ask("GET", where, reader)
    assert (read.status, read.body) == (200, b"SECRET records")
    assert read.headers["etag"].strip('"') == json.loads(stored.body)["sha256"]
    assert server.ask("DELETE", path(run, None), reader).status == 204
    assert server.ask("DELETE", path(run, None), reader).status == 204
    assert server.ask("GET", where, reader).status == 404
    assert not list((server.folder / "store").rglob(pod))


def test_a_pod_writes_once_whichever_run_it_names(server, reviews, run, pod):
    token = reviews.pod_token(pod)
    assert server.ask("PUT", path(run, pod), token, b"x").status == 201
    for other in (path(str(uuid.uuid4()), pod), path(run, pod, attempt=1)):
        assert server.ask("PUT", other, token, b"x").status == 409


def test_two_pods_of_a_run_keep_apart_and_go_together(server, reviews, run):
    reader = reviews.token()
    reviews.allow("get")
    reviews.allow("delete")
    pods = [str(uuid.uuid4()) for _ in range(2)]
    for pod in pods:
        assert server.ask("PUT", path(run, pod), reviews.pod_token(pod), pod.encode()).status == 201
    again = path(run, pods[0], attempt=1)
    assert [server.ask("GET", path(run, pod), reader).body for pod in pods] == [pod.encode() for pod in pods]
    assert server.ask("GET", again, reader).status == 404
    server.ask("DELETE", path(run, None), reader)
    assert [server.ask("GET", path(run, pod), reader).status for pod in pods] == [404, 404]


def refusals():
    """What is asked with which token, and how it is refused."""
    pods_own = lambda reviews: reviews.pod_token()  # noqa: E731 - a table
    return [
        ("no token", "PUT", path(), None, {}, 401, "Unauthenticated"),
        ("no such token", "PUT", path(), lambda _: "forged", {}, 401, "Unauthenticated"),
        ("another scheme", "PUT", path(), None, {"Authorization": "Basic eA=="}, 401, "Unauthenticated"),
        ("a token with odd bytes", "PUT", path(), lambda _: "a\xe9", {}, 401, "Unauthenticated"),
        ("endless token", "PUT", path(), lambda _: "a" * 33_000, {}, 401, "Unauthenticated"),
        (
            "for the API server",
            "PUT",
            path(),
            lambda reviews: reviews.pod_token(audience="https://kubernetes.default.svc"),
            {},
            401,
            "Unauthenticated",
        ),
        ("of another pod", "PUT", path(pod=OTHER), pods_own, {}, 403, "Forbidden"),
        ("of another namespace", "PUT", path(namespace="other"), pods_own, {}, 403, "Forbidden"),
        ("of no pod", "PUT", path(), lambda reviews: reviews.token(), {}, 403, "Forbidden"),
        ("a pod reads its own", "GET", path(), pods_own, {}, 403, "Forbidden"),
        ("a pod reads another's", "GET", path(pod=OTHER), pods_own, {}, 403, "Forbidden"),
        ("a pod removes", "DELETE", path(pod=None), pods_own, {}, 403, "Forbidden"),
        ("reads elsewhere", "GET", path(namespace="other"), lambda r: r.token(), {}, 403, "Forbidden"),
        ("may only read", "DELETE", path(pod=None), lambda r: r.token(), {}, 403, "Forbidden"),
        ("chunked", "PUT", path(), pods_own, {"Transfer-Encoding": "chunked"}, 411, "LengthRequired"),
        ("too large", "PUT", path(), pods_own, {"Content-Length": "100001"}, 413, "TooLarge"),
        ("far too large", "PUT", path(), pods_own, {"Content-Length": "9" * 18}, 413, "TooLarge"),
        ("an odd pod", "PUT", path(pod="a%20b"), pods_own, {}, 400, "BadRequest"),
        ("an odd namespace", "PUT", path(namespace="Default"), pods_own, {}, 400, "BadRequest"),
        ("an odd attempt", "PUT", path(attempt="x"), pods_own, {}, 400, "BadRequest"),
        ("a quoted slash", "PUT", path(pod="a%2Fb"), pods_own, {}, 404, "NotFound"),
        ("nothing", "GET", "/v1", None, {}, 404, "NotFound"),
        ("a verb", "POST", path(), pods_own, {}, 405, "MethodNotAllowed"),
    ]


@pytest.mark.parametrize(
    ("method", "target", "token", "headers", "status", "code"),
    [refusal[1:] for refusal in refusals()],
    ids=[refusal[0] for refusal in refusals()],
)
def test_a_request_is_refused_with_status_and_code(
    server, reviews, *, method, target, token, headers, status, code
):
    reviews.allow("get")
    given = token(reviews) if token else None
    if given is not None:
        headers = {"Authorization": f"Bearer {given}", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Content-Length": "0", **headers}.items())
    if "Transfer-Encoding" in headers:
        lines = lines.replace("Content-Length: 0\r\n", "")
    # Headers only, whatever they promise: the answer comes without the body.
    with server.raw(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode("latin-1")) as sock:
        answer = answer_on(sock)
    assert (answer.status, answer.code) == (status, code)
    assert "SECRET" not in answer.message
    reader = reviews.token()
    assert server.ask("GET", path(), reader).status == 404


def test_a_token_without_confirmed_audience_is_refused(server, reviews):
    reviews.audiences = False
    assert server.ask("PUT", path(), reviews.pod_token(), b"x").status == 401


def test_the_sender_of_a_too_large_body_receives_the_refusal(server, reviews):
    answer = server.ask("PUT", path(), reviews.pod_token(), b"x" * 3_000_000)
    assert (answer.status, answer.message) == (
        413,
        "the body has 3000000 bytes, over the limit of 100000 bytes",
    )


def test_100_continue_is_sent_only_once_the_request_is_accepted(server, reviews, run, pod):
    def first(token):
        with server.raw(head("PUT", path(run, pod), token, Content_Length=1, Expect="100-continue")) as sock:
            said = sock.recv(12)
            if said.endswith(b"100"):
                sock.recv(1000)
                sock.sendall(b"x")
                return 100, answer_on(sock).status
            return int(said[-3:]), None

    assert first("forged") == (401, None)
    assert first(reviews.pod_token(pod)) == (100, 201)


def test_one_of_twenty_concurrent_deliveries_wins(server, reviews, run, pod):
    reader = reviews.token()
    reviews.allow("get")
    token = reviews.pod_token(pod)
    barrier = threading.Barrier(20)
    answers = [None] * 20

    def write(number):
        connection = server.connection()
        connection.connect()
        barrier.wait(20)
        while answers[number] in (None, 429):
            connection.request(
                "PUT", path(run, pod), f"{number}".encode() * 500, {"Authorization": f"Bearer {token}"}
            )
            answer = connection.getresponse()
            answer.read()
            answers[number] = answer.status
        connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == [201] + [409] * 19
    winner = answers.index(201)
    assert server.ask("GET", path(run, pod), reader).body == f"{winner}".encode() * 500


def test_no_second_body_of_a_pod_is_read_beside_the_first(server, reviews, run, pod):
    token = reviews.pod_token(pod)
    with server.raw(head("PUT", path(run, pod), token, Content_Length=2, Expect="100-continue")) as sock:
        assert sock.recv(12).endswith(b"100")
        second = server.ask("PUT", path(run, pod), token, b"zz")
        assert (second.status, second.code, second.headers["retry-after"]) == (429, "OneAtATime", "1")
        sock.recv(1000)
        sock.sendall(b"yy")
        assert answer_on(sock).status == 201


def test_an_unavailable_token_review_is_a_503_and_an_invalid_token_a_401(server, reviews):
    reviews.fails = 500
    answer = server.ask("PUT", path(), reviews.pod_token(), b"x")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "Unavailable", "1")
    assert "TokenReview" in answer.message
    server.wait_for("could not create a TokenReview")


def test_answers_are_cached_for_seconds_and_refusals_for_fewer(server, reviews, run, pod):
    reader = reviews.token()
    assert server.ask("GET", path(run, pod), reader).status == 403
    reviews.allow("get")
    # In time, and without a new token, the right that was granted comes into force.
    while server.ask("GET", path(run, pod), reader).status != 404:
        pass
    reviews.asked.clear()
    for _ in range(3):
        assert server.ask("GET", path(run, pod), reader).status == 404
    assert len(reviews.asked) < 3


def test_an_endless_header_is_refused(server):
    with server.raw(b"GET / HTTP/1.1\r\n") as sock, contextlib.suppress(OSError):
        for _ in range(300):
            sock.sendall(b"X: " + b"a" * 10_000 + b"\r\n")
        assert sock.recv(12) in (b"", b"HTTP/1.1 431")
    assert server.ask("GET", "/openapi.json").status == 200


def test_a_request_that_is_not_http_is_refused(server):
    with server.raw(b"\x00\x01nonsense\r\n\r\n") as sock:
        assert answer_on(sock).status == 400


def test_content_length_with_transfer_encoding_is_refused(server, reviews):
    data = head("PUT", path(), reviews.pod_token(), Content_Length=1, Transfer_Encoding="chunked")
    with server.raw(data) as sock:
        assert answer_on(sock).status in (400, 411)


def test_health_metrics_and_openapi_document_are_served(server, reviews, run, pod):
    server.ask("PUT", path(run, pod), reviews.pod_token(pod), b"12345")
    server.ask("PUT", path(run, pod), None, b"12345")
    assert server.page("/healthz") == (200, "ok\n")
    assert server.page("/readyz") == (200, "ok\n")
    assert server.page("/else")[0] == 404
    _, text = server.page("/metrics")
    assert 'resultsfw_server_requests_total{code="201",verb="put"}' in text
    assert 'resultsfw_server_refused_total{reason="' in text
    assert 'resultsfw_server_request_size_bytes_bucket{le="1024.0"}' in text
    assert "resultsfw_server_body_bytes 0.0" in text
    assert "process_resident_memory_bytes" in text
    assert 'resultsfw_server_connections_shed_total{limit="address"}' in text
    assert 'resultsfw_server_stored_bytes{namespace="default"}' in text
    state = json.loads(server.page("/debug")[1])
    assert (state["store"], state["requests"], state["bodies"]["bytes"]) == ("ObjectResults", [], 0)
    assert state["connections"]["byAddress"].keys() <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert "MainThread" not in json.dumps(state)  # it answers
    for page in ("/healthz", "/readyz", "/metrics", "/debug"):  # not where pods come in
        assert server.ask("GET", page).status == 404
    document = json.loads(server.ask("GET", "/openapi.json").body)
    assert document["info"]["title"] == "resultsfw results server"


def test_logs_name_the_request_and_contain_no_token_or_value(server, reviews, run, pod):
    token = reviews.pod_token(pod)
    server.ask("PUT", path(run, pod), token, b"SECRET value")
    line = server.wait_for(f'"pod": "{pod}"')
    assert (line["message"].partition(" in ")[0], line["run"], line["namespace"]) == (
        "put: 201",
        run,
        "default",
    )
    assert not [line for line in server.lines if "SECRET" in line]


def test_after_a_kill_while_a_body_arrives_nothing_is_stored_and_the_retry_succeeds(start_server, reviews):
    server = start_server()
    token, reader = reviews.pod_token(), reviews.token()
    reviews.allow("get")
    sock = server.raw(head("PUT", path(), token, Content_Length=100_000, Expect="100-continue"))
    with sock:
        assert sock.recv(12).endswith(b"100")
        sock.sendall(b"x" * 50_000)
        server.kill()
    assert not [file for file in (server.folder / "store").rglob("*") if file.is_file()]
    server.begin()
    assert server.ask("GET", path(), reader).status == 404
    assert server.ask("PUT", path(), token, b"x" * 100_000).status == 201
    server.kill()
    server.begin()
    assert server.ask("GET", path(), reader).body == b"x" * 100_000


def test_running_requests_finish_after_sigterm(start_server, reviews):
    server = start_server()
    with server.raw(
        head("PUT", path(), reviews.pod_token(), Content_Length=4, Expect="100-continue")
    ) as sock:
        assert sock.recv(12).endswith(b"100")
        sock.recv(1000)
        sock.sendall(b"da")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("shutting down")
        sock.sendall(b"ta")
        assert answer_on(sock).status == 201
    assert server.wait() == 0
    server.wait_for("stopped")


def test_an_unavailable_store_is_reported(start_server, reviews):
    server = start_server()
    store = server.folder / "store"
    store.rmdir()
    store.write_text("in the way")
    answer = server.ask("PUT", path(), reviews.pod_token(), b"x")
    assert (answer.status, answer.code) == (503, "Unavailable")
    status, why = server.page("/readyz")
    assert (status, "the store" in why) == (503, True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            ["--listen", ":0"],
            "without --tls-cert and --tls-key only a loopback address such as 127.0.0.1:8443",
        ),
        (["--listen", ":0", "--insecure-http"], "without --tls-cert and --tls-key only"),
        (["--listen", "127.0.0.1:0"], "give --tls-cert and --tls-key, or --insecure-http"),
        (["--listen", "127.0.0.1:0", "--tls-cert", "/none"], "give --tls-cert and --tls-key"),
        (["--listen", ":0", "--tls-cert", "/no.crt", "--tls-key", "/no.key"], "cannot load the certificate"),
        (["--listen", ":0", "--local"], "--local accepts tokens that anybody can make"),
        (["--listen", "nowhere"], "is not of the form HOST:PORT"),
        (["--local", "--listen", "127.0.0.1:0", "--store", "file:relative"], "file:///PATH"),
        (["--local", "--listen", "127.0.0.1:0", "--store", "ftp://host/x"], "--store ftp://host/x"),
        (["--local", "--store", "postgresql://u:SECRET@h/x"], "the URL has a password"),
        (["--local", "--store", "sqlite:relative"], "sqlite:///PATH"),
        (["--local", "--listen", "127.0.0.1:0", "--limit-bytes", "1"], "--limit-bytes"),
        (["--local", "--listen", "127.0.0.1:0", "--check-runs"], "--check-runs requires a cluster"),
        (["--local", "--listen", "127.0.0.1:0", "--listen-status", "x"], "is not of the form HOST:PORT"),
    ],
)
def test_invalid_options_are_refused_before_anything_starts(options, why, tmp_path, capsys):
    store = [] if "--store" in options else ["--store", f"file://{tmp_path}"]
    assert main(["results-server", *store, *options]) == 2
    said = capsys.readouterr().err
    assert why in said
    assert "SECRET" not in said


def test_a_store_is_required_on_a_cluster(capsys):
    assert main(["results-server", "--insecure-http", "--listen", "127.0.0.1:0"]) == 2
    assert "--store is required without --local" in capsys.readouterr().err


def test_refusals_name_the_pod_or_permission(server, reviews):
    assert READER in server.ask("GET", path(), reviews.token()).message
    assert POD in server.ask("PUT", path(pod=OTHER), reviews.pod_token(), b"").message


def test_a_new_certificate_is_loaded_without_a_restart(start_server):
    server = start_server()
    first = ssl.get_server_certificate(("127.0.0.1", server.port))
    server.certify()
    server.wait_for("reloaded the certificate")
    assert ssl.get_server_certificate(("127.0.0.1", server.port)) != first
    os.truncate(server.key, 10)
    server.wait_for("the new certificate is rejected")
    assert server.ask("GET", "/openapi.json").status == 200


# What is stored.


def test_a_namespace_has_a_quota_of_stored_bytes(start_server, reviews):
    server = start_server("--namespace-bytes", "40000")
    reader = reviews.token()
    reviews.allow("delete", "full")
    run, pod, other = (str(uuid.uuid4()) for _ in range(3))
    first = path(run, pod, "full")
    assert server.ask("PUT", first, reviews.pod_token(pod, "full"), b"x" * 25_000).status == 201
    refused = server.ask("PUT", path(run, other, "full"), reviews.pod_token(other, "full"), b"x" * 25_000)
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (507, "QuotaExceeded", "1")
    assert "quota of 40000 bytes" in refused.message
    assert server.ask("PUT", first, reviews.pod_token(pod, "full"), b"x" * 25_000).status == 200
    elsewhere = path(run, other, "free")
    assert server.ask("PUT", elsewhere, reviews.pod_token(other, "free"), b"x" * 25_000).status == 201
    _, text = server.page("/metrics")
    assert 'resultsfw_server_refused_total{reason="QuotaExceeded",verb="put"} 1.0' in text
    assert 'resultsfw_server_stored_bytes{namespace="full"} 33' in text
    assert "resultsfw_server_quota_bytes 40000.0" in text
    assert server.ask("DELETE", path(run, None, "full"), reader).status == 204
    again = path(run, other, "full")
    assert server.ask("PUT", again, reviews.pod_token(other, "full"), b"x" * 25_000).status == 201


def test_stored_bytes_count_after_a_restart(start_server, reviews, run, pod):
    server = start_server()
    assert server.ask("PUT", path(run, pod), reviews.pod_token(pod), b"x" * 25_000).status == 201
    server.kill()
    server.begin()
    text = ""
    while 'resultsfw_server_stored_bytes{namespace="default"} 33' not in text:
        _, text = server.page("/metrics")


def test_results_of_unknown_runs_are_refused_with_check_runs(start_server, reviews, run, pod):
    server = start_server("--check-runs")
    reviews.runs["default", "my-run"] = run
    token = reviews.pod_token(pod)

    def put(name, uid=run):
        headers = {"Resultsfw-Run": name} if name else {}
        return server.ask("PUT", path(uid, pod), token, b"x", headers=headers)

    for answer in (put("no-run"), put("my-run", POD), put("")):
        assert (answer.status, answer.code) == (404, "NoSuchRun")
    assert put("not/a/name").code == "BadRequest"
    assert put("my-run").status == 201
    assert put("my-run").status == 200
    reviews.fails = 500
    assert put("my-run").code == "Unavailable"
    reviews.fails = 0
    assert server.page("/readyz") == (200, "ok\n")


def test_runs_are_not_read_without_the_operators_option(server, reviews, run, pod):
    reviews.asked.clear()
    headers = {"Resultsfw-Run": "no-run"}
    assert server.ask("PUT", path(run, pod), reviews.pod_token(pod), b"x", headers=headers).status == 201
    assert reviews.asked == ["TokenReview"]


# A database as its store.


def test_two_servers_share_a_postgresql_database(postgresql, reviews, run, pod, tmp_path):
    """What one stores, the other reads and removes; while the database is down, both refuse and go on."""
    name, url = postgresql.new_schema()
    options = ["--store", url, "--store-password-file", str(postgresql.password_file)]
    options += ["--namespace-bytes", "40000"]
    servers = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        servers.append(ServerProcess(folder, reviews, *options))
    first, second = servers
    token, reader = reviews.pod_token(pod), reviews.token()
    reviews.allow("get")
    reviews.allow("delete")
    where = path(run, pod)
    assert first.ask("PUT", where, token, b"SECRET" * 4000).status == 201
    assert second.ask("PUT", where, token, b"SECRET" * 4000).status == 200
    assert second.ask("PUT", where, token, b"SECRET others").code == "AlreadyWritten"
    assert second.ask("GET", where, reader).body == b"SECRET" * 4000
    full = second.ask("PUT", path(run, OTHER), reviews.pod_token(OTHER), b"x" * 1000)
    assert full.code == "QuotaExceeded"
    assert 'resultsfw_server_stored_bytes{namespace="default"} 32192.0' in second.page("/metrics")[1]
    assert second.page("/readyz") == (200, "ok\n")
    postgresql.stop()
    try:
        refused = first.ask("PUT", path(run, OTHER), reviews.pod_token(OTHER), b"SECRET")
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "Unavailable", "1")
        assert first.page("/healthz") == (200, "ok\n")
        assert 'stored_bytes{namespace="default"} 32192.0' in second.page("/metrics")[1]
    finally:
        postgresql.start()
    assert first.ask("GET", where, reader).body == b"SECRET" * 4000
    assert second.ask("DELETE", path(run, None), reader).status == 204
    assert first.ask("GET", where, reader).status == 404
    for server in servers:
        assert server.signal(signal.SIGTERM) == 0
        assert not [line for line in server.lines if "SECRET" in line or "Traceback" in line]
    assert postgresql.backends(name) == []
