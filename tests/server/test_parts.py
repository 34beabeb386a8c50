"""Parts of the results server that a process cannot show: clocks, crashes in between, damage."""

import asyncio
import json
import os
import socket
import ssl
import string
import threading
import time
import urllib.parse
from pathlib import Path

import pytest
import trustme
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from serverharness import POD, RUN, path
from uvicorn.server import ServerState

from resultsfw.errors import InputError
from resultsfw.local import tokens
from resultsfw.server import body_capacity, protocol
from resultsfw.server.api import Service, make_app, openapi
from resultsfw.server.body_capacity import BodyCapacity, read_body
from resultsfw.server.local import LocalReviewer
from resultsfw.server.refusals import RefusalError
from resultsfw.server.review import ExpiringCache
from resultsfw.server.store import AttemptKey
from resultsfw.server.stores import open_store
from resultsfw.server.tls import Certificate

DOCUMENT = Path(__file__).parents[2] / "docs" / "backends" / "results-server.openapi.json"
PLACE = AttemptKey("default", RUN, 0)


@pytest.fixture
def results(tmp_path):
    return open_store(f"file://{tmp_path}/store")


def token(pod=POD, namespace="default"):
    return tokens.make(
        tokens.Token(
            namespace=namespace,
            service_account="default",
            pod="p" if pod else "",
            pod_uid=pod,
            audience="resultsfw-results",
        )
    )


def ask(app, method, target, text="", body=b"", *, length=None):
    """Asks the application in this process, as a server that has read a head would."""
    said = []
    came = [{"type": "http.request", "body": body, "more_body": False}]
    headers = [(b"content-length", str(len(body) if length is None else length).encode())]
    if text:
        headers.append((b"authorization", f"Bearer {text}".encode()))

    async def receive():
        return came.pop() if came else {"type": "http.disconnect"}

    async def send(message):
        said.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": urllib.parse.unquote(target),
        "raw_path": target.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "state": {},
    }
    asyncio.run(app(scope, receive, send))
    return said[0]["status"], b"".join(message.get("body", b"") for message in said[1:])


# The store.


def test_after_a_crash_between_claim_and_body_nothing_is_readable_and_the_pod_can_retry(results):
    whole = results._create
    results._create = lambda key, data: whole(key, data) if key.startswith("pods/") else 1 / 0
    with pytest.raises(ZeroDivisionError):
        results.put(PLACE, POD, b"body")
    results._create = whole
    with pytest.raises(RefusalError, match="nothing"):
        results.get(PLACE, POD, most=100)
    with pytest.raises(RefusalError) as refused:
        results.put(PLACE, POD, b"other")
    assert refused.value.code == "AlreadyWritten"
    assert results.put(PLACE, POD, b"body")[1]
    assert results.get(PLACE, POD, most=100)[0] == b"body"


def test_files_that_killed_writes_left_are_removed_after_the_retention_time(results, tmp_path):
    results.put(PLACE, POD, b"new")
    half = tmp_path / "store" / "results" / "half#1"
    half.touch()
    stale = time.time() - 1000
    os.utime(half, (stale, stale))
    assert results.sweep(500) == 0
    assert not half.exists()
    assert results.get(PLACE, POD, most=10)[0] == b"new"


@given(st.binary(max_size=200))
@settings(max_examples=25)
def test_any_bytes_are_stored_and_returned(tmp_path_factory, body):
    results = open_store(f"file://{tmp_path_factory.mktemp('any')}")
    results.put(PLACE, POD, body)
    assert results.get(PLACE, POD, most=200)[0] == body


@pytest.mark.parametrize("url", ["", "file://host/x", "nowhere", "s3://", "file:x"])
def test_an_invalid_store_url_is_an_input_error(url):
    with pytest.raises(InputError, match="--store"):
        open_store(url)


# The application.


def an_app(results, limit=1000):
    return make_app(Service(results=results, reviewer=LocalReviewer("resultsfw-results"), limit=limit))


@pytest.fixture(scope="module")
def one_app(tmp_path_factory):
    base = tmp_path_factory.mktemp("paths")
    return base, an_app(open_store(f"file://{base}/in/store"))


def files_below(base):
    return {file.relative_to(base / "in" / "store").parts for file in base.rglob("*") if file.is_file()}


ODD = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["..", ".", "", "a/../b", "%2e%2e", "a\x00", "a\n", "é", "results", "a" * 129, "-", "_a", "a#1"]
)


@pytest.mark.slow
@given(namespace=ODD, run=ODD, pod=ODD, attempt=ODD, method=st.sampled_from(["PUT", "GET"]))
@settings(max_examples=150)
def test_unusual_paths_are_refused_and_store_nothing(one_app, *, namespace, run, pod, attempt, method):
    """Whatever stands in a path, it is refused or it is a name: nothing is written elsewhere."""
    base, app = one_app
    before = files_below(base)
    parts = [urllib.parse.quote(segment, safe="") for segment in (namespace, run, attempt, pod)]
    target = "/v1/namespaces/{}/runs/{}/attempts/{}/pods/{}".format(*parts)
    status, body = ask(app, method, target, token(pod, namespace), b"x" if method == "PUT" else b"")
    assert status in (200, 201, 400, 401, 403, 404, 405), body
    new = {("pods", namespace, pod), ("results", namespace, run, attempt.lstrip("0") or "0", pod)}
    assert files_below(base) - before == (new if status == 201 else set())


def test_an_internal_error_is_reported_without_its_message(results, caplog):
    results.size = lambda *_, **__: 1 / 0
    status, body = ask(an_app(results), "GET", path(), token(""))
    assert (status, json.loads(body)["code"]) == (500, "Internal")
    assert "division" not in body.decode()
    assert "ZeroDivisionError" in caplog.text


def test_the_openapi_document_is_current():
    """To write it anew: see the command in docs/backends/http.md."""
    assert json.loads(DOCUMENT.read_text()) == json.loads(json.dumps(openapi()))


def test_the_openapi_document_lists_every_status():
    put = next(iter(openapi()["paths"].values()))["put"]["responses"]
    assert set(put) >= {"200", "201", "400", "401", "403", "408", "409", "411", "413", "429", "503"}
    assert "422" not in json.dumps(openapi())


# BodyCapacity.


class Slow:
    """A request whose body never ends."""

    def __init__(self, *pieces):
        self.pieces = pieces

    async def stream(self):
        for piece in self.pieces:
            yield piece
        await asyncio.Event().wait()


def read(request, length):
    """Read a body as the application does."""

    async def work():
        capacity = BodyCapacity(1000)
        async with capacity.allocation("default") as allocation:
            try:
                return await read_body(request, length, capacity, allocation)
            finally:
                assert capacity.allocated == allocation.size

    return asyncio.run(work())


def test_a_body_that_does_not_arrive_times_out(monkeypatch):
    monkeypatch.setattr(body_capacity, "SECONDS", 0.05)
    with pytest.raises(RefusalError) as refused:
        read(Slow(b"ab"), 5)
    assert (refused.value.code, refused.value.status) == ("TooSlow", 408)
    assert "2 of 5 bytes" in refused.value.message


def test_a_body_longer_than_its_content_length_is_refused():
    with pytest.raises(RefusalError, match="has 4 bytes and not 3"):
        read(Slow(b"ab", b"cd", b"ef"), 3)


def test_an_incomplete_body_is_refused(results):
    status, body = ask(an_app(results), "PUT", path(), token(), b"half", length=8)
    assert (status, json.loads(body)["code"]) == (400, "BadRequest")
    assert not list(results._store.list())


# One connection.


def test_a_header_that_does_not_arrive_times_out(monkeypatch, results):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.05)

    async def work():
        config = uvicorn.Config(
            an_app(results), http=protocol.LimitedProtocol, lifespan="off", log_config=None
        )
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        make = lambda: protocol.LimitedProtocol(config, state, {})  # noqa: E731 - a factory
        server = await loop.create_server(make, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for data in (
            b"",
            b"GET / HT",
            b"GET / HTTP/1.1\r\nA: b\r\n",
            b"GET /openapi.json HTTP/1.1\r\n\r\nGET",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            try:
                said = await asyncio.wait_for(reader.read(), 10)
            except ConnectionResetError:
                said = b""
            assert said.startswith(b"HTTP/1.1 200") == (b"openapi" in data)
            writer.close()
        server.close()

    asyncio.run(work())


# The certificate.


def shown(context):
    """The certificate that a client of the context sees, decoded no further."""
    ours, theirs = socket.socketpair()
    got = []

    def serve():
        with context.wrap_socket(theirs, server_side=True):
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    with client.wrap_socket(ours) as sock:
        got.append(sock.getpeercert(binary_form=True))
    thread.join(60)
    return got[0]


def certify(folder):
    issued = trustme.CA().issue_cert("a")
    issued.private_key_pem.write_to_path(str(folder / "key"))
    (folder / "crt").write_bytes(issued.cert_chain_pems[0].bytes())


def test_a_certificate_is_reloaded_once_both_files_match(tmp_path):
    reloads = []
    certify(tmp_path)
    certificate = Certificate(str(tmp_path / "crt"), str(tmp_path / "key"), reloads.append)
    first = shown(certificate.context)
    certificate.refresh()
    assert reloads == []
    key = (tmp_path / "key").read_bytes()
    certify(tmp_path)
    new = (tmp_path / "key").read_bytes()
    (tmp_path / "key").write_bytes(key)  # the kubelet, or a person, is half done
    certificate.refresh()
    assert (reloads, shown(certificate.context)) == ([False], first)
    (tmp_path / "key").write_bytes(new)
    certificate.refresh()
    assert reloads == [False, True]
    assert shown(certificate.context) != first
    (tmp_path / "crt").unlink()
    certificate.refresh()
    assert reloads == [False, True, False]


# ReviewApi.


def test_cached_answers_are_limited_in_time_and_number():
    now = [0.0]
    kept = ExpiringCache(5, 3, clock=lambda: now[0])
    for name in string.ascii_lowercase[:4]:
        kept.put(name, name)
    assert [kept.get(name) for name in "abcd"] == [None, "b", "c", "d"]
    now[0] = 5.0
    assert kept.get("d") is None


def test_without_a_cluster_pods_cannot_read():
    reviewer = LocalReviewer("resultsfw-results")
    pod, engine = reviewer.review(token()), reviewer.review(token(""))
    assert (pod.pod_uid, pod.namespace) == (POD, "default")
    assert (reviewer.allows(pod, "get", "default"), reviewer.allows(engine, "get", "default")) == (
        False,
        True,
    )
    assert LocalReviewer("other").review(token()) is None
    assert reviewer.review("forged") is None
