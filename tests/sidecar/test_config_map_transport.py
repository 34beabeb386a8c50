"""The transport by ConfigMap against servers that fail, refuse, lie and are slow: tried again, or told by
name."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from resultsfw_sidecar import wire
from resultsfw_sidecar.output import OutputError
from resultsfw_sidecar.settings import Environment, SettingsError
from resultsfw_transports import api_object, config_map, request

UID = "3f1c"
FORBIDDEN = (403, {"message": 'configmaps "theirs" is forbidden: not yet'})
INVALID = (422, {"message": 'ConfigMap "theirs" is invalid: data: Forbidden: field is immutable\nall of it'})


class Server(ThreadingHTTPServer):
    """Gives the answers it was told, one after the other, and the last one for ever."""

    daemon_threads = True

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.asked = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        length = int(self.headers.get("Content-Length") or 0)
        server = self.server
        server.asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        answer = server.answers[0]
        if len(server.answers) > 1:
            del server.answers[0]
        if answer == "hang up":
            self.close_connection = True
            return
        status, body = answer(server) if callable(answer) else answer
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_PATCH = do_GET  # noqa: N815

    def log_message(self, format, *args):  # noqa: A002
        pass


class Stop:
    """Nobody asks to stop, and no wait takes time."""

    requested = False

    def __init__(self):
        self.waits = 0
        self.requested = False

    def wait(self, *_):
        self.waits += 1


@pytest.fixture
def account(tmp_path):
    for name, text in (("token", "secret-token\n"), ("namespace", "ns"), ("ca.crt", "")):
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def serve(account):
    """A transport, open and with one result taken, to a server with these answers."""
    made = []

    def serve(*answers):
        made.append(server := Server(*answers))
        variables = {
            config_map.ENV_NAME: "theirs",
            config_map.ENV_UID: UID,
            config_map.ENV_ACCOUNT: str(account),
            config_map.ENV_SCHEME: "http",
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(server.server_address[1]),
            wire.ENV_WIRE: "1",
        }
        transport = config_map.Transport()
        bytes_ = {key.encode(): value.encode() for key, value in variables.items()}
        transport.open(Environment(bytes_, transport.ceiling), Stop())
        record = transport.collect(SimpleNamespace(name="digest", of="task", read=lambda _limit: b"d"))
        transport.output.line([wire.start_line("pod", wire.WATCH_POLL)])
        transport.output.line(record)
        transport.output.line(
            [wire.end_line("pod", transport.output.count, transport.output.digest, wire.WHY_STEPS_DONE)]
        )
        return transport, server

    yield serve
    for started in made:
        started.shutdown()
        started.server_close()


def ours(server):
    """What was sent, as the server would have it by now."""
    patch = json.loads(next(body for method, _, _, body in server.asked if method == "PATCH"))
    return (200, {"kind": "PartialObjectMetadata", "metadata": patch["metadata"]})


def methods(server):
    return [method for method, *_ in server.asked]


def test_one_patch_with_the_pods_token_is_all_it_takes(serve):
    transport, server = serve((200, {}))
    message = transport.deliver()
    [(method, path, head, body)] = server.asked
    assert (method, path) == ("PATCH", "/api/v1/namespaces/ns/configmaps/theirs")
    assert head["Authorization"] == "Bearer secret-token"
    assert head["Content-Type"] == "application/merge-patch+json"
    assert "PartialObjectMetadata" in head["Accept"]  # the values do not come back
    assert json.loads(body) == {
        "metadata": {"uid": UID, "annotations": {config_map.RECORDS: transport.output.data.decode()}},
        "data": {"digest": "d"},
        "binaryData": {},
        "immutable": True,
    }
    assert message == config_map.proof(transport.output.data)


@pytest.mark.parametrize(
    "trouble", [(500, {}), (503, b"busy"), (429, {}), "hang up", FORBIDDEN, (401, {})], ids=str
)
def test_what_can_pass_is_tried_again(serve, trouble):
    transport, server = serve(trouble, trouble, (200, {}))
    assert transport.deliver().startswith("sha256:")
    assert methods(server) == ["PATCH"] * 3
    assert len({body for *_, body in server.asked}) == 1


def test_a_role_that_never_comes_is_reported_in_the_servers_words(serve, monkeypatch):
    monkeypatch.setattr(api_object, "_SETTLING", 0.05)
    transport, server = serve(FORBIDDEN)
    with pytest.raises(OutputError) as raised:
        transport.deliver()
    assert str(raised.value) == 'ConfigMap theirs: HTTP 403: configmaps "theirs" is forbidden: not yet'
    asked = len(server.asked)
    with pytest.raises(OutputError):
        transport.deliver()
    assert len(server.asked) == asked  # that it failed is known


def test_a_server_that_is_gone_is_reported_by_name(serve, monkeypatch):
    monkeypatch.setattr(request, "PATIENCE", 0.05)
    transport, server = serve("hang up")
    with pytest.raises(OutputError, match=r"PATCH 127\.0\.0\.1:\d+/api/v1/.*: RemoteDisconnected"):
        transport.deliver()
    assert server.asked


@pytest.mark.parametrize("first", [INVALID, (409, {"message": "the object has been modified"})], ids=str)
def test_what_is_there_already_as_we_wrote_it_is_success(serve, first):
    """Killed after the patch and started again, or the answer was lost."""
    transport, server = serve(first, ours)
    assert transport.deliver() == config_map.proof(transport.output.data)
    assert methods(server) == ["PATCH", "GET"]


@pytest.mark.parametrize(
    ("there", "foreign"),
    [
        ((200, {"metadata": {"uid": UID, "annotations": {config_map.RECORDS: "theirs"}}}), True),
        ((200, {"metadata": {"uid": "another"}}), True),
        ((200, {"metadata": {"uid": UID}}), False),  # another limit of the server's
        ((404, {"message": "not found"}), False),
        ((200, b"no json"), False),
        ((200, []), False),
        ((200, {"metadata": {"annotations": []}}), True),
    ],
    ids=str,
)
def test_what_is_there_and_not_ours_is_reported(serve, there, foreign):
    transport, _ = serve(INVALID, there)
    with pytest.raises(OutputError) as raised:
        transport.deliver()
    message = str(raised.value)
    assert message.startswith('ConfigMap theirs: HTTP 422: ConfigMap "theirs" is invalid: data: Forbidden')
    assert "all of it" not in message  # behind the first line a server shows values
    assert ("somebody else" in message) is foreign


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message": 1}', b"[" * 100_000, b"\xff"], ids=str)
def test_an_answer_that_is_no_status_does_no_harm(serve, body):
    transport, _ = serve((404, body))
    with pytest.raises(OutputError, match="ConfigMap theirs: HTTP 404: ") as raised:
        transport.deliver()
    assert len(str(raised.value)) < 300


def test_records_without_an_end_record_are_not_written(serve):
    transport, server = serve((200, {}))
    transport.output.line([wire.error_line(wire.INTERNAL, "a fault")])
    with pytest.raises(OutputError, match="without an end record"):
        transport.deliver()
    assert server.asked == []


@pytest.mark.parametrize("missing", [config_map.ENV_NAME, config_map.ENV_UID, "KUBERNETES_SERVICE_HOST"])
def test_a_variable_that_is_missing_is_named(account, missing):
    names = (config_map.ENV_NAME, config_map.ENV_UID, "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
    variables = {name.encode(): b"1" for name in names if name != missing}
    variables[config_map.ENV_ACCOUNT.encode()] = str(account).encode()
    transport = config_map.Transport()
    with pytest.raises(SettingsError, match=f"{missing} is not set"):
        transport.open(Environment(variables), Stop())


def test_certificates_that_cannot_be_read_are_reported(account):
    variables = dict.fromkeys([config_map.ENV_NAME.encode(), config_map.ENV_UID.encode()], b"1")
    variables |= {b"KUBERNETES_SERVICE_HOST": b"::1", b"KUBERNETES_SERVICE_PORT": b"443"}
    variables[config_map.ENV_ACCOUNT.encode()] = str(account).encode()
    transport = config_map.Transport()
    with pytest.raises(SettingsError, match=r"ca\.crt: certificates cannot be read"):
        transport.open(Environment(variables), Stop())
