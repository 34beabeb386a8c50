"""The `Cluster` protocol over HTTP: each answer of a server, and each way in which it does not come."""

import json
import threading

import pytest
from kubeserver import kubeconfig_for, refusing, reset, resetting, silent

from resultsfw.cluster import CONFIG_MAPS, PODS, Kind
from resultsfw.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    ObjectTooLargeError,
    UnavailableError,
)
from resultsfw.kube import GoneError, KubeCluster, TryLaterError
from resultsfw.kube.status_errors import UnauthorizedError, error_from_response, redact

TASKRUNS = Kind("tekton.dev", "v1", "taskruns", "TaskRun")


def test_an_object_is_created_read_patched_and_deleted(cluster, server):
    made = cluster.create(TASKRUNS, {"metadata": {"name": "a", "namespace": "ns"}, "spec": {"x": 1}})
    assert made["metadata"]["uid"]
    assert (made["apiVersion"], made["kind"]) == ("tekton.dev/v1", "TaskRun")
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "status": {"é": "😀"}}
    cluster.patch(TASKRUNS, "ns", "a", patch, subresource="status")
    assert cluster.get(TASKRUNS, "ns", "a")["status"] == {"é": "😀"}
    with pytest.raises(ConflictError):
        cluster.patch(TASKRUNS, "ns", "a", patch, subresource="status")
    with pytest.raises(AlreadyExistsError) as caught:
        cluster.create(TASKRUNS, {"metadata": {"name": "a", "namespace": "ns"}})
    assert caught.value.subject == "TaskRun ns/a"
    cluster.delete(TASKRUNS, "ns", "a", grace_seconds=3, uid="u")
    with pytest.raises(NotFoundError):
        cluster.get(TASKRUNS, "ns", "a")
    root = "/apis/tekton.dev/v1/namespaces/ns/taskruns"
    assert [(one.method, one.path) for one in server.asked[:2]] == [
        ("POST", root),
        ("PATCH", f"{root}/a/status"),
    ]
    assert server.asked[1].headers["Content-Type"] == "application/merge-patch+json"
    assert b'"gracePeriodSeconds":3,"preconditions":{"uid":"u"}' in server.asked[-2].body


def test_whether_a_server_has_a_kind(cluster, server):
    assert not cluster.serves(TASKRUNS)
    server.put("customruns", "ns", "a")
    assert not cluster.serves(TASKRUNS)
    server.put("taskruns", "ns", "a")
    assert cluster.serves(TASKRUNS)
    server.plan(refusing(403, "Forbidden"), path="/apis/tekton.dev/v1")
    with pytest.raises(ForbiddenError):
        cluster.serves(TASKRUNS)


def test_one_connection_serves_many_requests(cluster, server):
    server.put("pods", "ns", "a")
    for _ in range(5):
        cluster.get(PODS, "ns", "a")
        with pytest.raises(NotFoundError):
            cluster.get(PODS, "ns", "b")
    assert len(server.sockets) == 1


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_an_invalid_name_is_refused_before_it_becomes_a_path(cluster, server, name):
    """A DELETE without a name would be one of all Pods."""
    with pytest.raises(ClusterError, match="not a name"):
        cluster.delete(PODS, "ns", name)
    assert server.asked == []


def test_a_list_is_read_in_pages_and_each_object_gets_its_kind(cluster, server):
    for number in range(250):
        server.put("pods", "ns", f"p{number:03}", metadata={"labels": {"even": str(number % 2 == 0)}})
    server.put("pods", "other", "x")
    names = [one["metadata"]["name"] for one in cluster.list(PODS, "ns")]
    assert names == [f"p{number:03}" for number in range(250)]
    assert len(server.asked) == 3
    assert len(cluster.list(PODS)) == 251
    found = cluster.list(PODS, "ns", label_selector="even=True")
    assert len(found) == 125
    assert {(one["apiVersion"], one["kind"]) for one in found} == {("v1", "Pod")}


def test_a_list_begins_again_when_its_next_page_has_expired(cluster, server):
    for number in range(150):
        server.put("pods", "ns", f"p{number:03}")
    server.plan(lambda handler: (server.forget(), handler.serve()), times=2, path="pods")
    assert len(cluster.list(PODS, "ns")) == 150


def test_a_list_whose_pages_always_expire_is_given_up(cluster, server):
    server.plan(refusing(410, "Expired"), times=100)
    with pytest.raises(UnavailableError, match="faster than"):
        cluster.list(PODS)


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind"),
    [
        (400, "BadRequest", "no", ClusterError),
        (401, "Unauthorized", "no", UnauthorizedError),
        (403, "Forbidden", "no", ForbiddenError),
        (404, "NotFound", "no", NotFoundError),
        (405, "MethodNotAllowed", "no", ClusterError),
        (408, "Timeout", "no", UnavailableError),
        (409, "AlreadyExists", "no", AlreadyExistsError),
        (409, "Conflict", "no", ConflictError),
        (410, "Expired", "no", GoneError),
        (413, "RequestEntityTooLarge", "limit is 3145728", ObjectTooLargeError),
        (413, "", "", ObjectTooLargeError),
        (
            422,
            "Invalid",
            "metadata.annotations: Too long: may not be more than 262144 bytes",
            ObjectTooLargeError,
        ),
        (422, "Invalid", "metadata.name: Too long: may not be more than 253 bytes", ClusterError),
        (422, "Invalid", "spec: Required value", ClusterError),
        (429, "TooManyRequests", "no", UnavailableError),
        (500, "", "etcdserver: request is too large", ObjectTooLargeError),
        (500, "", "rpc error: trying to send message larger than max (3 vs. 2)", ObjectTooLargeError),
        (500, "InternalError", "no", UnavailableError),
        (502, "", "no", UnavailableError),
        (503, "ServiceUnavailable", "no", UnavailableError),
        (504, "Timeout", "Too large resource version: 9, current: 3", GoneError),
        (302, "", "no", ClusterError),
    ],
)
def test_each_status_code_raises_its_error(cluster, server, status, reason, message, kind):  # noqa: PLR0917
    server.plan(refusing(status, reason, message))
    with pytest.raises(ClusterError) as caught:
        cluster.get(PODS, "ns", "a")
    assert type(caught.value) is kind
    assert caught.value.subject == "Pod ns/a"
    assert caught.value.message == message or kind is ObjectTooLargeError or not message


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "3"}, 3),
        (503, {"Retry-After": "1"}, 1),
        (429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
    ],
)
def test_retry_after_pauses_all_requests(  # noqa: PLR0917
    cluster, server, monkeypatch, status, headers, seconds
):
    """To the caller, and to everyone else by the rate limit."""
    held = []
    monkeypatch.setattr(cluster.connection.limit, "block", held.append)
    server.plan(refusing(status, "TooManyRequests", **headers))
    with pytest.raises(TryLaterError) as caught:
        cluster.get(PODS, "ns", "a")
    assert caught.value.retry_after == seconds
    assert caught.value.retryable
    assert held == [seconds]
    assert len(server.asked) == 1


def test_retry_after_is_read_from_the_status_object():
    body = b'{"message": "no", "details": {"retryAfterSeconds": 5}}'
    error = error_from_response(429, {}, body, "x")
    assert isinstance(error, TryLaterError)
    assert error.retry_after == 5
    assert type(error_from_response(429, {"Retry-After": "soon"}, b"{}", "x")) is UnavailableError


SECRET = "hunter2" * 40


@pytest.mark.parametrize(
    "message",
    [
        f'TaskRun "a" is invalid: status.results[0].value: Invalid value: "{SECRET}": too odd',
        f'TaskRun "a" is invalid: spec.x: Invalid value: "a \\" {SECRET}": too odd',
        f'Pod "a" is invalid: spec: Invalid value: core.PodSpec{{Env: "{SECRET}"}}: no',
        f'spec: Invalid value: {{"a":"{SECRET}"}}: no',
        f'spec: Unsupported value: "{SECRET}": supported values: "a", "b"',
        f"spec: Forbidden: pod updates may not change fields\n  core.PodSpec{{{SECRET}",
        f'admission webhook denied the request: "{SECRET}"',
    ],
)
def test_values_that_the_server_quotes_are_in_no_message(message):
    said = redact(message)
    assert "hunter2" not in said
    assert said.startswith(message[:4])


def test_the_text_of_a_proxy_is_in_no_message():
    error = error_from_response(502, {}, b"<html>" + SECRET.encode(), "x")
    assert error.message == "HTTP 502 without a Status object"
    assert len(redact("x " * 10_000)) == 500


def test_a_read_is_repeated_once_if_its_connection_was_just_closed(cluster, server):
    server.put("pods", "ns", "a")
    server.plan(resetting)
    assert cluster.get(PODS, "ns", "a")
    assert len(server.asked) == 2


def test_a_write_is_never_repeated(cluster, server):
    server.plan(resetting)
    with pytest.raises(UnavailableError):
        cluster.patch(PODS, "ns", "a", {})
    assert len(server.asked) == 1


def test_a_silent_server_is_unavailable(connection, server):
    until = threading.Event()
    server.plan(silent(until))
    with pytest.raises(UnavailableError, match="timed out"):
        KubeCluster(connection, timeouts=(1, 0.05)).get(PODS, "ns", "a")
    until.set()


def test_a_server_that_is_down_is_unavailable_until_it_is_up(cluster, server):
    server.put("pods", "ns", "a")
    cluster.get(PODS, "ns", "a")
    server.down()
    with pytest.raises(UnavailableError):
        cluster.get(PODS, "ns", "a")
    server.up()
    assert cluster.get(PODS, "ns", "a")


def cut_answer(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"metadata": {}}')
    handler.wfile.flush()
    handler.close_connection = True


@pytest.mark.parametrize("answer", [cut_answer, lambda handler: handler.send(200, b"<html>")])
def test_an_incomplete_response_is_unavailable(cluster, server, answer):
    server.plan(answer)
    with pytest.raises(UnavailableError):
        cluster.get(PODS, "ns", "a")


def test_access_is_reviewed_by_the_server(cluster, server):
    assert cluster.can("get", PODS, "ns", "log")
    server.state.allowed = False
    assert not cluster.can("list", TASKRUNS, None)
    assert server.asked[0].path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert b'"resource":"pods","subresource":"log","namespace":"ns"' in server.asked[0].body
    assert b'"group":"tekton.dev"' in server.asked[1].body


def test_an_event_refers_to_its_object(cluster, server):
    about = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"namespace": "ns", "name": "a" * 250, "uid": "u", "resourceVersion": "7"},
    }
    event = cluster.event(about, type="Warning", reason="Failed", message="é" * 1000)
    assert event["involvedObject"] == {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "namespace": "ns",
        "name": "a" * 250,
        "uid": "u",
        "resourceVersion": "7",
    }
    assert len(event["message"].encode()) <= 1024
    assert len(event["metadata"]["name"]) <= 253
    assert event["source"] == {"component": "resultsfw-controller"}
    assert server.asked[0].path == "/api/v1/namespaces/ns/events"


# Logs.

AWKWARD = bytes(range(256)) * 300 + b"caf\xe9\r\n\r" + "😀".encode()[:3]


def test_a_log_is_read_byte_for_byte(cluster, server):
    server.state.logs["a"] = AWKWARD
    assert b"".join(cluster.read_log("ns", "a", "c", limit=10**6)) == AWKWARD
    query = server.asked[0].query
    assert (query["container"], query["limitBytes"], query["follow"]) == ("c", "1000000", "false")


@pytest.mark.parametrize("limit", [1, 999, 1000, 1001, len(AWKWARD), len(AWKWARD) + 1])
def test_a_log_is_cut_at_the_limit(cluster, server, limit):
    """Also where the server does not count."""
    server.state.logs["a"] = AWKWARD

    def uncounted(handler):
        handler.asked.query["limitBytes"] = str(10**9)
        handler.serve()

    assert b"".join(cluster.read_log("ns", "a", "c", limit=limit)) == AWKWARD[:limit]
    server.plan(uncounted)
    assert b"".join(cluster.read_log("ns", "a", "c", limit=limit)) == AWKWARD[:limit]


def test_a_log_with_limit_zero_is_not_requested(cluster, server):
    assert list(cluster.read_log("ns", "a", "c", limit=0)) == []
    assert server.asked == []


def test_the_kubelets_error_message_is_read_like_a_log(cluster, server):
    server.state.logs["a"] = b"unable to retrieve container logs for containerd://1"
    assert b"".join(cluster.read_log("ns", "a", "c", limit=100)).startswith(b"unable to retrieve")


def chunked_and_gone(how):
    def answer(handler):
        handler.begin()
        handler.chunk(b"one\n")
        if how == "reset":
            reset(handler.connection)
        elif how == "within":
            handler.wfile.write(b"64\r\ntwo")
        handler.close_connection = True

    return answer


@pytest.mark.parametrize(
    "answer", [chunked_and_gone("reset"), chunked_and_gone("within"), chunked_and_gone("end"), cut_answer]
)
def test_a_log_that_was_cut_is_unavailable(cluster, server, answer):
    """A reset, half a chunk, no last chunk, fewer bytes than announced: never an end like any other."""
    server.plan(answer)
    with pytest.raises(UnavailableError):
        list(cluster.read_log("ns", "a", "c", limit=10_000))


def test_a_log_that_stalls_is_unavailable(connection, server):
    until = threading.Event()

    def stalls(handler):
        handler.begin()
        handler.chunk(b"one\n")
        until.wait(10)
        handler.close_connection = True

    server.plan(stalls)
    log = KubeCluster(connection, timeouts=(1, 0.05)).read_log("ns", "a", "c", limit=100)
    assert next(log) == b"one\n"
    with pytest.raises(UnavailableError):
        next(log)
    until.set()


def test_closing_a_logs_iterator_closes_its_connection(cluster, server):
    went = threading.Event()

    def endless(handler):
        handler.begin()
        try:
            while True:
                handler.chunk(b"x" * 60_000)
        except OSError:
            went.set()

    server.plan(endless)
    log = cluster.read_log("ns", "a", "c", limit=10**9)
    next(log)
    log.close()
    assert went.wait(10)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, 'container "c" in pod "a" is waiting to start: ContainerCreating', UnavailableError),
        (400, "container c is not valid for pod a", NotFoundError),
        (400, "something else", ClusterError),
        (404, 'pods "a" not found', NotFoundError),
        (403, 'pods "a" is forbidden: cannot get resource "pods/log"', ForbiddenError),
        (500, "Get https://node:10250/containerLogs: dial tcp: refused", UnavailableError),
    ],
)
def test_each_refusal_of_a_log_raises_its_error(cluster, server, status, message, kind):
    server.plan(refusing(status, "", message))
    with pytest.raises(ClusterError) as caught:
        list(cluster.read_log("ns", "a", "c", limit=10))
    assert type(caught.value) is kind
    assert caught.value.subject == "Pod ns/a, container c"


def test_requests_are_rate_limited_except_those_for_a_lease(connection, server, monkeypatch):
    turns = []
    monkeypatch.setattr(connection.limit, "wait", lambda: turns.append(1))
    server.put("configmaps", "ns", "a")
    KubeCluster(connection).get(CONFIG_MAPS, "ns", "a")
    KubeCluster(connection, limited=False).get(CONFIG_MAPS, "ns", "a")
    assert turns == [1]


def test_apply_sends_the_field_manager_and_strict_validation(cluster, server):
    flags = {"metadata": {"name": "a", "namespace": "ns"}, "data": {"é": "1"}}
    server.put("configmaps", "ns", "a")
    cluster.apply(CONFIG_MAPS, flags, manager="resultsfw", dry_run=True)
    cluster.apply(CONFIG_MAPS, flags, manager="resultsfw")
    tried, done = server.asked
    assert (tried.method, tried.path) == ("PATCH", "/api/v1/namespaces/ns/configmaps/a")
    assert tried.query == {"fieldManager": "resultsfw", "fieldValidation": "Strict", "dryRun": "All"}
    assert done.query == {"fieldManager": "resultsfw", "fieldValidation": "Strict"}
    assert done.headers["Content-Type"] == "application/apply-patch+yaml"
    assert json.loads(done.body) == {"apiVersion": "v1", "kind": "ConfigMap", **flags}


@pytest.mark.slow
def test_a_cluster_is_made_from_a_kubeconfig(server, tmp_path):
    """What an embedder writes first."""
    server.put("pods", "ns", "a")
    with KubeCluster.from_config(str(kubeconfig_for(server.url, tmp_path)), "one") as cluster:
        assert cluster.get(PODS, "ns", "a")["metadata"]["name"] == "a"
    assert server.asked[-1].headers["authorization"] == "Bearer sesame"
    server.wait(lambda: not server.sockets)
    with pytest.raises(InputError, match="no such file"):
        KubeCluster.from_config(str(tmp_path / "none"))
