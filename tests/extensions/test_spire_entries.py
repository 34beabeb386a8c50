"""Entries are made in a SPIRE server as its own code encodes them, and only in the server that is meant."""

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from resultsfw.errors import ClusterError, FlagError, ForbiddenError, ResultsError, UnavailableError
from resultsfw.testing.signing_ca import ca_template, new_authority, svid_template
from resultsfw_extensions import _spiffe_grpc as transport
from resultsfw_extensions import _spire_entries as entries
from resultsfw_extensions._spiffe_grpc import Credentials
from resultsfw_extensions._spire_entries import EntriesConfig, EntryClient, entries_of

UID = "de8bb390-c874-482b-a37a-a6eeeebb3093"
SPIFFE_ID = f"spiffe://example.org/ns/team/taskrun/build/pod/{UID}"
POD = {"metadata": {"uid": UID}, "spec": {"activeDeadlineSeconds": 5400}}
SERVER_ID = "spiffe://example.org/spire/server"
PARENT_ID = "spiffe://example.org/spire/agent/node1"

# What SPIRE's own Go types encode (spire-api-sdk, google.golang.org/protobuf): an entry of the pod above.
ENTRY = (
    "0a30726573756c747366772e64653862623339302d633837342d343832622d613337612d6136656565656262333039332e30"
    "124e0a0b6578616d706c652e6f7267123f2f6e732f7465616d2f7461736b72756e2f6275696c642f706f642f6465386262333930"
    "2d633837342d343832622d613337612d6136656565656262333039331a210a0b6578616d706c652e6f726712122f73706972652f"
    "6167656e742f6e6f64653122330a036b3873122c706f642d7569643a64653862623339302d633837342d343832622d613337612d"
    "61366565656562623330393322260a036b3873121f636f6e7461696e65722d6e616d653a726573756c747366772d7369676e6572"
    "28d80448c48ed0aa06"
)
CREATE_REQUEST = bytes.fromhex("0a8b02" + ENTRY)
CREATE_RESPONSE = bytes.fromhex(
    "0ab0020a200806121c73696d696c617220656e74727920616c726561647920657869737473128b02" + ENTRY
)
ID = "30726573756c747366772e64653862623339302d633837342d343832622d613337612d6136656565656262333039332e30"
DELETE_REQUEST = bytes.fromhex("0a" + ID)
DELETE_RESPONSE = bytes.fromhex("0a470a130805120f656e747279206e6f7420666f756e6412" + ID)


def make_config(server="unix:///run/spire/server/api.sock", **options):
    return EntriesConfig.model_validate({"server": server, "parent-id": PARENT_ID, **options})


def no_credentials():
    raise AssertionError("a socket of this machine needs none")


class Server:
    """A gRPC server that answers both methods with what a test chooses."""

    def __init__(self, address, credentials=None):
        self.requests = []
        self.answers = {"BatchCreateEntry": CREATE_RESPONSE, "BatchDeleteEntry": DELETE_RESPONSE}
        self.threads = ThreadPoolExecutor(2)
        self.server = grpc.server(self.threads)
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                lambda data, context, name=method: self.answer(name, data, context)
            )
            for method in self.answers
        }
        service = "spire.api.server.entry.v1.Entry"
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        if credentials is None:
            self.port = self.server.add_insecure_port(address)
        else:
            self.port = self.server.add_secure_port(address, credentials)
        self.server.start()

    def answer(self, method, data, context):
        self.requests.append((method, data))
        answer = self.answers[method]
        if isinstance(answer, tuple):
            context.abort(*answer)
        return answer

    def close(self):
        self.server.stop(None).wait(60)
        self.threads.shutdown()


@pytest.fixture
def server(tmp_path):
    server = Server(f"unix://{tmp_path}/api.sock")
    yield server
    server.close()


@pytest.fixture
def client(server, tmp_path):
    return EntryClient(make_config(f"unix://{tmp_path}/api.sock"), "example.org", no_credentials)


def test_an_entry_is_encoded_as_spires_own_code_encodes_it():
    config = make_config(**{"svid-ttl": 600})
    (entry,) = entries_of(POD, "resultsfw-signer", [SPIFFE_ID], config, now=1_700_000_000.9)
    assert entries.CreateRequest(entries=[entry]).SerializeToString(deterministic=True) == CREATE_REQUEST


@pytest.mark.parametrize(
    ("deadline", "lifetime", "expected"),
    [(None, 86_400, 86_400), (5400, 86_400, 5700), (2_147_483_647, 3600, 3600)],
)
def test_an_entry_expires_after_its_pods_deadline_or_its_lifetime(deadline, lifetime, expected):
    pod = {"metadata": {"uid": UID}, "spec": {"activeDeadlineSeconds": deadline} if deadline else {}}
    (entry,) = entries_of(pod, "c", [SPIFFE_ID], make_config(lifetime=lifetime), now=1000)
    assert entry.expires_at == 1000 + expected


def test_further_selectors_are_added_to_those_of_pod_and_container():
    config = make_config(selectors=["k8s:container-image:docker.io/a@sha256:0"])
    (entry,) = entries_of(POD, "c", [SPIFFE_ID], config, now=0)
    found = [(selector.type, selector.value) for selector in entry.selectors]
    assert found[1:] == [("k8s", "container-name:c"), ("k8s", "container-image:docker.io/a@sha256:0")]


def test_entries_that_exist_and_entries_that_are_gone_are_no_error(server, client):
    client.create(POD, "resultsfw-signer", [SPIFFE_ID])
    client.delete(POD, [SPIFFE_ID])
    (method, created), deleted = server.requests
    assert method == "BatchCreateEntry"
    assert entries.CreateRequest.FromString(created).entries[0].selectors[0].value == f"pod-uid:{UID}"
    assert deleted == ("BatchDeleteEntry", DELETE_REQUEST)


def test_each_spiffe_id_has_an_entry_that_the_pods_uid_alone_finds(server, client):
    two = entries.CreateResponse(results=[{"status": {"code": 0}}, {"status": {"code": 6}}])
    server.answers["BatchCreateEntry"] = two.SerializeToString()
    client.create(POD, "c", [SPIFFE_ID, "spiffe://example.org/ns/team/taskrun/build"])
    found = entries.CreateRequest.FromString(server.requests[0][1]).entries
    assert [entry.id for entry in found] == [f"resultsfw.{UID}.0", f"resultsfw.{UID}.1"]
    assert [entry.spiffe_id.path for entry in found][1] == "/ns/team/taskrun/build"


@pytest.mark.parametrize(
    ("code", "expected", "retryable"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, ForbiddenError, True),
        (grpc.StatusCode.UNAUTHENTICATED, ForbiddenError, True),
        (grpc.StatusCode.UNAVAILABLE, UnavailableError, True),
        (grpc.StatusCode.INTERNAL, UnavailableError, True),
        (grpc.StatusCode.INVALID_ARGUMENT, ClusterError, False),
    ],
)
def test_what_the_server_refuses_says_whether_another_try_may_succeed(
    server, client, code, expected, retryable
):
    server.answers["BatchCreateEntry"] = (code, "no: 50% of\nit")
    with pytest.raises(ClusterError, match="no: 50% of it") as whole:
        client.create(POD, "c", [SPIFFE_ID])
    assert (type(whole.value), whole.value.retryable) == (expected, retryable)
    failed = entries.CreateResponse(results=[{"status": {"code": code.value[0], "message": "no\x00"}}])
    server.answers["BatchCreateEntry"] = failed.SerializeToString()
    with pytest.raises(ClusterError) as part:
        client.create(POD, "c", [SPIFFE_ID])
    assert (type(part.value), part.value.retryable) == (expected, retryable)
    assert part.value.message.isprintable()


@pytest.mark.parametrize("answer", [b"", CREATE_RESPONSE * 2, b"\xff", b"x" * 70_000])
def test_a_malformed_answer_is_an_error_that_may_pass(server, client, answer):
    server.answers["BatchCreateEntry"] = answer
    with pytest.raises(UnavailableError):
        client.create(POD, "c", [SPIFFE_ID])


def test_an_answer_without_a_whole_message_is_an_error_that_may_pass():
    for body in (b"", b"\0\0", b"\0\0\0\0\2x", b"\1\0\0\0\0"):
        with pytest.raises(UnavailableError):
            transport._message("spire:8081", {"grpc-status": "0"}, body)


def test_a_server_that_is_away_is_an_error_that_may_pass(tmp_path):
    client = EntryClient(make_config(f"unix://{tmp_path}/none.sock"), "example.org", no_credentials)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        client.create(POD, "c", [SPIFFE_ID])


@given(st.binary(max_size=200), st.booleans())
def test_bytes_that_are_no_http_raise_nothing_else(data, greets):
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall((settings if greets else b"") + data)
        theirs.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ResultsError, OSError, transport.h2.exceptions.H2Error):
            transport.exchange(ours, "unix:///s", "/m", b"", transport.time.monotonic() + 60)


def credentials_of(authority, *uris, root):
    """Return a certificate with these names and no other, as SPIRE's have."""
    issued = authority.issue(replace(svid_template("spiffe://example.org"), uris=uris))
    chain = (issued.der, *issued.intermediates_der)
    return Credentials(chain=chain, key=issued.key_der, authorities=(root.der,))


def server_credentials(credentials):
    key = transport.pem("PRIVATE KEY", credentials.key)
    chain, roots = (
        b"".join(transport.pem("CERTIFICATE", certificate) for certificate in certificates)
        for certificates in (credentials.chain, credentials.authorities)
    )
    return grpc.ssl_server_credentials([(key, chain)], roots, require_client_auth=True)


@pytest.mark.parametrize("uris", [[SERVER_ID], [PARENT_ID], [SERVER_ID, PARENT_ID]])
def test_only_a_server_with_the_spiffe_id_of_a_server_gets_a_request(uris):
    root = new_authority("example.org")
    issuing = root.subordinate(replace(ca_template("example.org"), serial_number="2"))
    server = Server("127.0.0.1:0", server_credentials(credentials_of(issuing, *uris, root=root)))
    ours = credentials_of(issuing, "spiffe://example.org/controller", root=root)
    other_root = new_authority("example.org")
    config = make_config(f"127.0.0.1:{server.port}")
    try:
        client = EntryClient(config, "example.org", lambda: ours)
        if uris == [SERVER_ID]:
            client.create(POD, "c", [SPIFFE_ID])
            stranger = replace(ours, authorities=(other_root.der,))
            with pytest.raises(UnavailableError, match="certificate verify failed"):
                EntryClient(config, "example.org", lambda: stranger).create(POD, "c", [SPIFFE_ID])
        else:
            with pytest.raises(UnavailableError, match=f"must have {SERVER_ID} alone"):
                client.create(POD, "c", [SPIFFE_ID])
    finally:
        server.close()
    assert len(server.requests) == (uris == [SERVER_ID])


def test_a_server_that_never_answers_ends_the_call_at_its_limit():
    root = new_authority("example.org")
    ours = credentials_of(root, "spiffe://example.org/controller", root=root)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(UnavailableError):
            transport.call(target, "/m", b"", server_id=SERVER_ID, credentials=lambda: ours, seconds=0.2)


@pytest.mark.parametrize(
    "options",
    [
        {"server": "spire-server"},
        {"server": "spire-server:0"},
        {"server": "spire-server:65536"},
        {"server": "https://spire-server:8081"},
        {"server": "unix://relative\n"},
        {"parent-id": "spiffe://Example.org/agent"},
        {"parent-id": "spiffe://example.org"},
        {"parent-id": "spiffe://example.org/agent/"},
        {"lifetime": 1},
        {"ttl": 60},
        {"selectors": ["k8s"]},
    ],
)
def test_options_that_cannot_work_are_refused(options):
    with pytest.raises(ValidationError):
        EntriesConfig.model_validate({"server": "spire-server:8081", "parent-id": PARENT_ID} | options)


def test_agents_of_another_trust_domain_are_refused():
    with pytest.raises(FlagError, match="not of the trust domain"):
        EntryClient(make_config(), "example.com", no_credentials)
