"""Whatever a server answers, reading it is bounded, and what is wrong is a ClusterError."""

import json
import logging
import subprocess
import sys
import textwrap

import pytest
from kubeserver import kubeconfig_for

from resultsfw.cluster import PODS, UNREADABLE, Kind
from resultsfw.errors import ClusterError, UnavailableError, UnreadableObjectError
from resultsfw.kube import LeaderElector
from resultsfw.kube import list_watch as listing_module
from resultsfw.kube.response_body import AnswerTooLongError, read_body
from resultsfw.kube.status_errors import error_from_response, error_from_status

DEEP = b'{"a":' * 1200 + b"1" + b"}" * 1200


def answers(body, status=200, **headers):
    return lambda handler: handler.send(status, body, **headers)


def endless(*pieces):
    """A body that goes on until the client has enough."""

    def answer(handler):
        handler.begin()
        try:
            while True:
                for piece in pieces:
                    handler.chunk(piece)
        except OSError:
            handler.close_connection = True

    return answer


def raw(*pieces, repeat):
    """What is no HTTP any more, without end."""

    def answer(handler):
        try:
            for piece in pieces:
                handler.wfile.write(piece)
            while True:
                handler.wfile.write(repeat * 1000)
                handler.wfile.flush()
        except OSError:
            pass
        handler.close_connection = True

    return answer


NO_OBJECTS = [
    b"null",
    b"[]",
    b"1",
    b'"x"',
    b"{}",
    b'{"metadata":null}',
    b'{"metadata":[]}',
    b'{"metadata":{"name":null}}',
    b'{"metadata":{"name":["x"]}}',
    b'{"metadata":{"name":"a","namespace":5}}',
    b"[" * 100_000,
    b'{"metadata":' + DEEP + b"}",
]


@pytest.mark.parametrize("body", NO_OBJECTS, ids=lambda body: body[:40].decode())
def test_a_response_that_is_no_object_raises_a_cluster_error(cluster, server, body):
    for method, ask in (
        ("GET", lambda: cluster.get(PODS, "ns", "a")),
        ("POST", lambda: cluster.create(PODS, {"metadata": {"name": "a", "namespace": "ns"}})),
        ("PATCH", lambda: cluster.patch(PODS, "ns", "a", {})),
    ):
        server.plan(answers(body), method=method)
        with pytest.raises(ClusterError):
            ask()


def test_a_review_without_a_name_is_returned(cluster, server):
    """Reviews are answered and not stored; a server gives them no name."""
    kind = Kind("authentication.k8s.io", "v1", "tokenreviews", "TokenReview")
    server.plan(answers(b'{"metadata":{"managedFields":[]},"status":{"authenticated":true}}'), method="POST")
    made = cluster.create(kind, {"metadata": {}, "spec": {"token": "t"}})
    assert made["status"] == {"authenticated": True}


NO_LISTS = [
    *NO_OBJECTS,
    b'{"metadata":{"resourceVersion":"1"},"items":[null]}',
    b'{"metadata":{"resourceVersion":"1"},"items":[{}]}',
    b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata":null}]}',
    b'{"metadata":{"resourceVersion":"1"},"items":{"a":1}}',
    b'{"metadata":{"resourceVersion":"1"},"items":"x"}',
    b'{"metadata":{"resourceVersion":1},"items":[]}',
    b'{"metadata":{"resourceVersion":"1","continue":["x"]},"items":[]}',
    b'{"metadata":{"resourceVersion":"1"},"items":[' + DEEP + b"]}",
]


@pytest.mark.parametrize("body", NO_LISTS, ids=lambda body: body[:60].decode())
def test_a_response_that_is_no_list_raises_a_cluster_error(cluster, server, body):
    server.plan(answers(body), times=9)
    with pytest.raises(ClusterError):
        cluster.list(PODS)


@pytest.mark.parametrize(
    "body",
    [
        DEEP,
        b"[" * 100_000,
        b"null",
        b"[]",
        b'{"message":' + DEEP[:3000] + b"}",
        b'{"message":{"a":[1]},"reason":[],"code":"x","details":[]}',
        b'{"details":{"retryAfterSeconds":{"a":1}}}',
        b'{"details":{"retryAfterSeconds":1e999}}',
        b'{"message":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
    ],
    ids=lambda body: body[:40].decode(),
)
@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_an_error_response_of_any_shape_becomes_a_cluster_error(body, status):
    assert isinstance(error_from_response(status, {}, body, "Pod ns/a"), ClusterError)


@pytest.mark.parametrize("said", [None, [], 5, "x", {}, {"code": [], "message": {}, "reason": 5}])
def test_an_error_event_of_any_shape_becomes_a_cluster_error(said):
    assert isinstance(error_from_status(said, "pods"), ClusterError)


@pytest.mark.parametrize("after", ["nan", "inf", "-1", "x" * 1000, "9" * 400])
def test_an_invalid_retry_after_is_no_endless_pause(after):
    error = error_from_response(429, {"Retry-After": after}, b"{}", "x")
    assert 0 <= getattr(error, "retry_after", 0) < 1e300


def test_getting_an_object_nested_too_deeply_raises_an_error_that_names_it(cluster, server):
    for levels in (1200, 600, 150):
        spec = b'{"a":' * levels + b"1" + b"}" * levels
        server.plan(answers(b'{"metadata":{"name":"a","namespace":"ns"},"spec":%s}' % spec), method="GET")
        with pytest.raises(UnreadableObjectError, match="Pod ns/a is unreadable: it is nested"):
            cluster.get(PODS, "ns", "a")


def test_writing_to_an_object_nested_too_deeply_returns_it_marked(cluster, server):
    server.plan(answers(b'{"metadata":{"name":"a","namespace":"ns"},"spec":%s}' % DEEP), method="PATCH")
    assert "levels" in cluster.patch(PODS, "ns", "a", {})[UNREADABLE]


def test_an_endless_body_is_given_up_at_the_first_byte_beyond_the_limit(cluster, server, monkeypatch):
    monkeypatch.setattr(sys.modules["resultsfw.kube.connection"], "OBJECT_ANSWER_BYTES", 1 << 20)
    server.plan(endless(b" " * 65_536), method="GET")
    with pytest.raises(AnswerTooLongError):
        cluster.get(PODS, "ns", "a")
    server.plan(endless(b" " * 65_536), method="PATCH")
    with pytest.raises(ClusterError):
        cluster.patch(PODS, "ns", "a", {})


def test_an_endless_error_body_raises_the_error(cluster, server):
    def answer(handler):
        handler.send_response(500)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            while True:
                handler.chunk(b"x" * 65_536)
        except OSError:
            handler.close_connection = True

    server.plan(answer, method="GET")
    with pytest.raises(UnavailableError):
        cluster.get(PODS, "ns", "a")


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"HTTP/1.1 200 OK\r\n", repeat=b"X-A: b\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nX-A: ", repeat=b"b"),
        raw(repeat=b"HTTP/1.1 100 Continue\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", repeat=b"x=y;"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", repeat=b"X-A: b\r\n"),
    ],
    ids=["headers", "a header", "interim answers", "chunk extensions", "trailers"],
)
def test_an_endless_head_raises_a_cluster_error(cluster, server, answer):
    server.plan(answer, times=2, method="GET")
    with pytest.raises(ClusterError):
        cluster.get(PODS, "ns", "a")


def test_a_body_that_arrives_byte_by_byte_is_given_up_in_time():
    class Slow:
        now = 0.0

        def stream(self, amt, *, decode_content):
            del amt, decode_content
            while True:
                Slow.now += 29
                yield b" "

    with pytest.raises(UnavailableError, match="did not end within 60 s"):
        read_body(Slow(), "x", limit=1 << 30, clock=lambda: Slow.now)


def a_page(following, count=1):
    items = [{"metadata": {"name": f"n{at}", "namespace": "ns"}} for at in range(count)]
    return {"metadata": {"resourceVersion": "1", "continue": following}, "items": items}


@pytest.mark.parametrize("count", [0, 1])
def test_a_list_whose_token_repeats_is_given_up(cluster, server, count):
    server.plan(lambda handler: handler.send(200, a_page("again", count)), times=1000)
    with pytest.raises(UnavailableError, match="does not end"):
        cluster.list(PODS)
    assert len(server.asked) <= 4


def test_an_endless_list_is_given_up(cluster, server, monkeypatch):
    monkeypatch.setattr(listing_module, "_MAX_OBJECTS", 50)
    server.plan(lambda handler: handler.send(200, a_page(str(len(server.asked)), 10)), times=1000)
    with pytest.raises(UnavailableError, match="does not end"):
        cluster.list(PODS)
    server.plans.clear()
    server.plan(lambda handler: handler.send(200, a_page(str(len(server.asked)), 0)), times=1000)
    with pytest.raises(UnavailableError, match="does not end"):
        cluster.list(PODS)


def test_a_page_that_is_too_large_is_requested_with_fewer_objects(cluster, server, monkeypatch):
    monkeypatch.setattr(listing_module, "_PAGE_BYTES", 50_000)
    for number in range(12):
        server.put("pods", "ns", f"p{number:02}", spec={"x": "y" * 10_000})
    server.put("pods", "ns", "p99", spec={"x": "y" * 100_000})
    assert [one["metadata"]["name"] for one in cluster.list(PODS)][-1] == "p99"
    assert [one.query["limit"] for one in server.asked][:4] == ["100", "25", "6", "1"]


def test_an_unreadable_object_is_cached_by_its_name_and_all_others_whole(server, told, reflect, caplog):
    caplog.set_level(logging.ERROR)
    server.put("pods", "ns", "good", spec={"x": 1})
    page = server_list(server, b"bad", DEEP)
    server.plan(answers(page), method="GET", path="/pods")
    one = reflect()
    assert set(one.unreadable) == {("ns", "bad")}
    assert one.get("ns", "good")["spec"] == {"x": 1}
    assert "levels" in one.get("ns", "bad")[UNREADABLE]
    assert "Pod ns/bad is unreadable: it is nested" in caplog.text
    assert told.restarts == []


def server_list(server, name, value):
    items = [json.dumps(one).encode() for one in server.held("pods").values()]
    metadata = b'{"name":"%s","namespace":"ns","uid":"u","resourceVersion":"1"}' % name
    items.append(b'{"metadata":%s,"spec":{"x":%s}}' % (metadata, value))
    return b'{"metadata":{"resourceVersion":"%d"},"items":[%s]}' % (server.state.version, b",".join(items))


def test_a_transform_that_fails_for_one_object_hides_no_other(server, told, reflect):
    def transform(obj):
        if obj["metadata"]["name"] == "bad":
            raise KeyError("spec")
        return obj

    server.put("pods", "ns", "bad")
    server.put("pods", "ns", "good")
    one = reflect(transform=transform)
    assert one.holds("ns", "good")
    assert UNREADABLE in one.get("ns", "bad")
    server.put("pods", "ns", "bad", spec={"x": 2})
    server.put("pods", "ns", "better")
    told.wait(lambda: "better" in told.objects)
    assert told.restarts == []
    server.remove("pods", "ns", "bad")
    told.wait(lambda: told.objects["bad"] is None)
    assert one.unreadable == {}


@pytest.mark.parametrize(
    "line",
    [
        b"null",
        b"[]",
        b'{"type":"ADDED","object":null}',
        b'{"type":"ADDED","object":{"metadata":null}}',
        b'{"type":"ADDED","object":{"metadata":{"resourceVersion":7}}}',
        b'{"type":"MODIFIED","object":{"metadata":{"resourceVersion":"7"}}}',
        b'{"type":"ERROR","object":null}',
        b'{"type":"ERROR","object":[]}',
        b'{"type":["x"],"object":{"metadata":{"resourceVersion":"7"}}}',
    ],
    ids=lambda line: line.decode(),
)
def test_a_watch_with_an_invalid_line_begins_again(server, told, reflect, line):
    def answer(handler):
        handler.begin()
        handler.chunk(line + b"\n")
        handler.chunk(b"")

    server.plan(answer, watch="1")
    reflect()
    server.put("pods", "ns", "later")
    told.wait(lambda: "later" in told.objects)


@pytest.mark.parametrize(
    "spec", [None, [], "x", {"holderIdentity": ["a"], "leaseTransitions": "x", "leaseDurationSeconds": {}}]
)
def test_a_lease_of_any_shape_raises_nothing_in_the_elector(connection, server, spec):
    server.put("leases", "ns", "l", spec=spec)
    elector = LeaderElector(connection, "ns", "l", "me", on_started=lambda: None, on_stopped=lambda: None)
    assert elector._acquire_or_renew() in (True, False)


LARGE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({most}, {most}))
from resultsfw.cluster import PODS
from resultsfw.errors import ClusterError
from resultsfw.kube import KubeCluster
cluster = KubeCluster.from_config({config!r})
for ask in (lambda: cluster.list(PODS), lambda: cluster.get(PODS, "ns", "a")):
    try:
        ask()
    except ClusterError as error:
        print(error.code)
"""


@pytest.mark.slow
def test_bodies_of_200_mb_are_refused_within_1_gb_of_memory(server, tmp_path):
    config = str(kubeconfig_for(server.url, tmp_path))
    page = b'{"metadata":{"resourceVersion":"1"},"items":[' + b"[]," * (200_000_000 // 3) + b"[]]}"

    def answer(handler):
        try:
            handler.send(200, page)
        except OSError:
            handler.close_connection = True

    server.plan(answer, times=100)
    code = textwrap.dedent(LARGE).format(most=1 << 30, config=config)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["AnswerTooLong", "AnswerTooLong"], done.stderr[-800:]
