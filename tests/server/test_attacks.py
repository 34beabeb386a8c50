"""The results server process under attack over real sockets: good clients are served meanwhile."""

import contextlib
import resource
import socket
import threading
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serverharness import POD, answer_on, head, path

pytestmark = pytest.mark.slow

MANY = 1000


@pytest.fixture(autouse=True)
def files():
    """This process holds the attackers' ends."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def stack():
    with contextlib.ExitStack() as one:
        yield one


def deliver(server, reviews, body=b"x", namespace="default", source=None, **more):
    """A good pod's delivery, whole."""
    pod = str(uuid.uuid4())
    where = path(str(uuid.uuid4()), pod, namespace)
    return server.ask("PUT", where, reviews.pod_token(pod, namespace), body, source=source, **more)


def closed(sock):
    """Wait until the server closes a connection; whatever it says before."""
    with contextlib.suppress(ConnectionError):
        while sock.recv(4096):
            pass


def half_delivered(server, reviews, *, length, sent=b"", namespace="default", source=None):
    """A connection of a pod's own that has been told to go on, and has sent a part of its body."""
    pod = str(uuid.uuid4())
    data = head(
        "PUT",
        path(str(uuid.uuid4()), pod, namespace),
        reviews.pod_token(pod, namespace),
        Content_Length=length,
        Expect="100-continue",
    )
    sock = server.raw(data, source)
    assert sock.recv(12).endswith(b"100")
    sock.recv(1000)
    sock.sendall(sent)
    return sock


# Connections.


def test_a_thousand_idle_connections_do_not_block_other_clients(plain, reviews, stack):
    idle = [stack.enter_context(plain.open()) for _ in range(MANY)]
    answers = [deliver(plain, reviews).status for _ in range(47)]
    assert answers == [201] * 47
    assert plain.page("/healthz")[0] == plain.page("/readyz")[0] == 200
    _, text = plain.page("/metrics")
    assert 'resultsfw_server_connections_shed_total{limit="address"} 0.0' not in text
    for sock in idle:
        closed(sock)


def test_idle_connections_of_many_clients_do_not_block_others(plain, reviews, stack):
    for number in range(MANY + 50):
        stack.enter_context(plain.open(f"127.1.{number % 20}.1"))
    assert [deliver(plain, reviews, source="127.2.0.1").status for _ in range(20)] == [201] * 20
    assert plain.page("/healthz") == (200, "ok\n")


def test_connections_without_tls_do_not_block_other_clients(server, reviews, stack):
    for _ in range(MANY):
        stack.enter_context(server.open())
    assert [deliver(server, reviews).status for _ in range(10)] == [201] * 10


def test_endless_headers_do_not_block_other_clients(plain, reviews, stack):
    for _ in range(MANY):
        stack.enter_context(plain.raw(b"PUT /v1 HTTP/1.1\r\nHost: x\r\nX: "))
    assert [deliver(plain, reviews).status for _ in range(20)] == [201] * 20


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_connection_without_a_tls_handshake_is_closed(server, said):
    with server.open() as sock:
        sock.sendall(said)
        sock.settimeout(30)  # asyncio alone waits for a minute
        closed(sock)


def test_an_idle_connection_is_closed_after_the_handshake_or_a_response(server):
    with server.raw(b"") as sock:
        closed(sock)
    with server.raw(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        assert answer_on(sock).status == 404
        closed(sock)


def test_a_connection_that_sends_only_empty_lines_is_closed(server):
    """Uvicorn takes any byte for the begin of a request, and stops its clock for idle connections."""
    with server.raw(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        assert answer_on(sock).status == 404
        sock.settimeout(0.2)
        for _ in range(300):
            try:
                sock.sendall(b"\r\n")
                assert sock.recv(1) == b""
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it is kept")


def test_a_client_that_does_not_read_its_response_is_disconnected(plain):
    with plain.open() as sock:
        sock.settimeout(1)
        try:
            while True:
                sock.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        except TimeoutError:
            pass  # both buffers are full
        except ConnectionError:
            return
        sock.settimeout(60)
        closed(sock)


def test_too_many_pipelined_requests_close_the_connection(server):
    with server.raw(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n" * 5000) as sock:
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := sock.recv(65536):
                got += piece
        assert got.count(b"HTTP/1.1 ") < 200


def test_idle_connections_to_the_status_port_do_not_block_probes(server, stack):
    port = int(server.wait_for("status pages on port")["message"].rpartition(" ")[2])
    for _ in range(300):
        stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
    assert server.page("/healthz") == (200, "ok\n")


# Heads.


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"X: " + b"a" * 60_000, 401),
        (b"X: " + b"a" * 66_000, 431),
        (b"X: " + b"a" * 100_000, 431),
        (b"X:" + b" " * 100_000 + b"a", 431),
        (b"\r\n".join(b"X%d: a" % number for number in range(12_000)), 431),
    ],
    ids=["within", "over", "far over", "spaces", "many"],
)
def test_a_header_is_counted_in_whatever_pieces_it_arrives(server, line, status):
    whole = b"PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n%s\r\n\r\n" % (path().encode(), line)
    with server.raw(whole) as sock:  # in one piece
        answer = answer_on(sock)
    assert answer.status == status
    # A server that refuses at the limit closes early: TLS then ends in an SSLEOFError.
    with contextlib.suppress(OSError), server.raw(b"") as sock:
        for start in range(0, len(whole), 5000):
            sock.sendall(whole[start : start + 5000])
        assert answer_on(sock).status == status


def test_an_endless_request_target_is_refused(server):
    with server.raw(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        assert answer_on(sock).status == 431


# BodyCapacity.


def test_slow_bodies_take_no_capacity_before_they_arrive(plain, reviews, stack):
    for number in range(96):
        sock = half_delivered(
            plain,
            reviews,
            length=5_000_000,
            namespace=f"bad-{number % 6}",
            source=f"127.1.0.{number % 6 + 1}",
        )
        stack.enter_context(sock)
    answers = [deliver(plain, reviews, b"x" * 20_000, "good", "127.2.0.1").status for _ in range(10)]
    assert answers == [201] * 10


def test_a_namespace_that_fills_the_capacity_does_not_block_others(plain, reviews, stack):

    def fill(number):
        # More than its share of 64 MiB, in bodies that do not come to their end.
        sock = half_delivered(
            plain, reviews, length=9_000_001, namespace="bad-room", source=f"127.1.0.{number + 1}"
        )
        stack.callback(sock.close)
        with contextlib.suppress(OSError):
            sock.sendall(b"x" * 9_000_000)

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(12)]
    for one in threads:
        one.start()
    answers = [deliver(plain, reviews, b"x" * 5_000_000, "good", "127.2.0.1").status for _ in range(5)]
    for one in threads:
        one.join(60)
    assert answers == [201] * 5


def test_many_deliveries_of_one_namespace_delay_no_other(plain, reviews, stack):
    for _ in range(32):
        stack.enter_context(half_delivered(plain, reviews, length=2, namespace="bad-many"))
    refused = deliver(plain, reviews, b"x", "bad-many", "127.2.0.1")
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (429, "TooManyRequests", "1")
    assert deliver(plain, reviews, b"x", "good", "127.2.0.1").status == 201


def resident(server):
    """MB of memory that the server's process has."""
    [line] = [
        one
        for one in Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        if one.startswith("VmRSS:")
    ]
    return int(line.split()[1]) / 1024


def test_bodies_of_unauthenticated_clients_take_little_memory(server, reviews, stack):
    reviews.asked.clear()
    reviews.answers.clear()
    stack.callback(reviews.answers.set)
    before = resident(server)
    for number in range(200):
        data = head("PUT", path(), f"not-reviewed-{number}", Content_Length=100_000)
        sock = stack.enter_context(server.raw(data, f"127.1.{number % 5}.1"))
        sock.settimeout(0.05)
        with contextlib.suppress(OSError):  # it is not read
            sock.sendall(b"x" * 2_000_000)
    assert resident(server) - before < 70  # a third of a MB each; alone asyncio and uvicorn take twice that


def test_chunked_bodies_are_refused_before_anything_else(server, reviews):
    for token in (None, reviews.pod_token()):
        lines = {"Transfer_Encoding": "chunked"}
        with server.raw(head("PUT", path(), token, **lines) + b"5\r\nhello\r\n0\r\n\r\n") as sock:
            assert answer_on(sock).code == "LengthRequired"


def test_disconnected_clients_release_everything(server, reviews):
    for number in range(100):
        with server.raw(head("PUT", path(), f"forged-{number}", Content_Length=10_000_000) + b"x" * 1000):
            pass
    assert deliver(server, reviews).status == 201


# Tokens.


def test_a_forged_token_is_reviewed_once_for_many_requests(server, reviews):
    for _ in range(12):
        assert server.ask("PUT", path(), "forged", b"x").status == 401
    assert reviews.reviewed.count("forged") < 12


def test_concurrent_requests_with_one_token_share_one_review(server, reviews):
    pods = [str(uuid.uuid4()) for _ in range(10)]
    token = reviews.pod_token(POD)
    reviews.asked.clear()
    reviews.answers.clear()
    answers = []

    def ask(pod):
        answers.append(server.ask("PUT", path(pod=pod), token, b"").status)

    threads = [threading.Thread(target=ask, args=(pod,)) for pod in pods]
    for one in threads:
        one.start()
    reviews.until_asked(1)
    reviews.answers.set()
    for one in threads:
        one.join(60)
    assert answers == [403] * 10
    assert reviews.reviewed.count(token) == 1  # a client of an earlier test may still be under review


def test_a_client_whose_tokens_await_review_delays_no_other_client(server, reviews, stack):
    """A client has three of the eight threads that ask the cluster."""
    known = [reviews.pod_token(pod) for pod in ("a", "b", "c")]
    reviews.asked.clear()
    reviews.answers.clear()
    for number in range(60):
        stack.enter_context(server.raw(head("GET", path(), f"forged-{number}"), "127.1.0.1"))
    reviews.until_asked(3)
    asked = len(reviews.asked)
    for pod, token in zip("abc", known, strict=True):
        stack.enter_context(server.raw(head("PUT", path(pod=pod), token, Content_Length=0), "127.2.0.1"))
    reviews.until_asked(asked + 3)
    reviews.answers.set()


# Anything.


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.sampled_from(
                [
                    b"GET ",
                    b"PUT /v1/namespaces/a/runs/b/attempts/0/pods/c HTTP/1.1\r\n",
                    b"Content-Length: 5\r\n",
                    b"Content-Length: 18446744073709551616\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
                    b"Expect: 100-continue\r\n",
                    b"Authorization: Bearer x\r\n",
                    b" HTTP/1.1\r\n",
                    b"/%zz?%00#\xff",
                    b"\r\n\r\n",
                    b"ffffffffffffffff\r\n",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
                ]
            ),
        ),
        max_size=12,
    )
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_do_not_stop_the_server(shared, pieces):
    with contextlib.suppress(ConnectionError), shared.raw(b"".join(pieces)) as sock:
        sock.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            sock.recv(4096)
    assert shared.ask("GET", "/none").status == 404
