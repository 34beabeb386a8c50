"""The Workload API server of resultsfw.testing, asked by the library's own client."""

import socket
import threading
from collections.abc import Iterator

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from spiffe import TrustDomain, WorkloadApiClient
from spiffe.workloadapi.errors import FetchX509BundleError, FetchX509SvidError

from resultsfw.errors import InputError
from resultsfw.testing.signing_ca import ca_template, new_authority
from resultsfw.testing.workload_api import WorkloadApi, served_svid

TIMEOUT = 30.0
DER = Encoding.DER

HERE = new_authority("example.org")
ELSEWHERE = new_authority("example.com")


def issue(spiffe_id, authority=HERE, issuer=None):
    return served_svid(spiffe_id, (issuer or authority).issue_svid(spiffe_id), authority)


FIRST = issue("spiffe://example.org/first")
SECOND = issue("spiffe://example.org/second")
FOREIGN = issue("spiffe://example.com/first", ELSEWHERE)


@pytest.fixture
def api() -> Iterator[WorkloadApi]:
    with WorkloadApi() as server:
        yield server
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("workload-api")]
    assert not server.socket.parent.exists()


@pytest.fixture
def client(api: WorkloadApi) -> Iterator[WorkloadApiClient]:
    with WorkloadApiClient(api.address, default_timeout=TIMEOUT) as connected:
        yield connected


class Stream:
    """What one open stream received."""

    def __init__(self, client: WorkloadApiClient) -> None:
        self._arrived = threading.Condition()
        self.received: list[list[str]] = []
        self._handle = client.stream_x509_contexts(self._take, lambda _: None)

    def _take(self, context: object) -> None:
        with self._arrived:
            self.received.append([str(svid.spiffe_id) for svid in context.x509_svids])
            self._arrived.notify_all()

    def wait_for(self, number: int) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.received) >= number, TIMEOUT)

    def close(self) -> None:
        self._handle.cancel()


def ids(client: WorkloadApiClient) -> list[str]:
    return [str(svid.spiffe_id) for svid in client.fetch_x509_svids()]


def test_no_caller_has_an_identity_at_first(api, client):
    with pytest.raises(FetchX509SvidError, match=r"no identity issued.*PERMISSION_DENIED"):
        client.fetch_x509_svid()
    with pytest.raises(FetchX509BundleError, match="PERMISSION_DENIED"):
        client.fetch_x509_bundles()
    api.wait_for_refusals(2)
    assert (api.calls, api.refused) == (2, 2)


def test_identities_are_served_with_keys_and_authorities(api, client):
    api.serve(FIRST, SECOND)
    assert ids(client) == [FIRST.spiffe_id, SECOND.spiffe_id]
    svid = client.fetch_x509_svid()
    assert svid.leaf.public_bytes(DER) == FIRST.chain[0]
    assert svid.private_key.public_key() == svid.leaf.public_key()
    bundle = client.fetch_x509_bundles().get_bundle_for_trust_domain(TrustDomain("example.org"))
    assert [authority.public_bytes(DER) for authority in bundle.x509_authorities] == [HERE.der]


def test_an_identity_has_its_intermediates(api, client):
    intermediate = HERE.subordinate(ca_template("example.org", serial_number="2"))
    api.serve(issue("spiffe://example.org/first", issuer=intermediate))
    chain = client.fetch_x509_svid().cert_chain
    assert [certificate.public_bytes(DER) for certificate in chain[1:]] == [intermediate.der]


def test_an_identity_that_is_late_and_one_that_is_taken_back(api, client):
    stream = Stream(client)
    api.wait_for_refusals(1)
    api.serve(FIRST)
    stream.wait_for(1)
    refused = api.refused
    api.serve()
    api.wait_for_refusals(refused + 1)
    stream.close()
    assert stream.received == [[FIRST.spiffe_id]]


def test_changes_are_sent_on_open_streams(api, client):
    api.serve(FIRST)
    stream = Stream(client)
    stream.wait_for(1)
    api.wait_for_streams(1)
    api.add(FOREIGN)
    stream.wait_for(2)
    stream.close()
    api.wait_for_streams(0)
    assert stream.received == [[FIRST.spiffe_id], [FIRST.spiffe_id, FOREIGN.spiffe_id]]


def test_authorities_may_be_others_than_those_of_the_identities(api, client):
    api.serve(FIRST)
    another = new_authority("example.org")
    api.serve_bundles({"example.org": [HERE.der, another.der], "example.com": [ELSEWHERE.der]})
    published = client.fetch_x509_bundles()
    for name, authorities in (("example.org", {HERE.der, another.der}), ("example.com", {ELSEWHERE.der})):
        bundle = published.get_bundle_for_trust_domain(TrustDomain(name))
        assert {authority.public_bytes(DER) for authority in bundle.x509_authorities} == authorities
    context = client.fetch_x509_context()
    assert {str(bundle.trust_domain) for bundle in context.x509_bundle_set.bundles} == {
        "example.org",
        "example.com",
    }


def test_an_agent_that_is_away_and_comes_back_on_the_same_socket(api, client):
    api.serve(FIRST)
    stream = Stream(client)
    stream.wait_for(1)
    api.stop()
    assert not api.socket.exists()
    with pytest.raises(FetchX509SvidError):
        client.fetch_x509_svid(timeout=TIMEOUT)
    api.start()
    stream.wait_for(2)
    stream.close()


def test_a_request_without_the_header_is_refused(api):
    api.serve(FIRST)
    with grpc.insecure_channel(api.address) as channel:
        call = channel.unary_stream("/SpiffeWorkloadAPI/FetchX509SVID")
        with pytest.raises(grpc.RpcError) as raised:
            next(call(b"", timeout=TIMEOUT))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_folder_of_the_tests_own_is_kept(tmp_path):
    with WorkloadApi(tmp_path / "agent", svids=[FIRST]) as server:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(server.socket))
        assert server.address == f"unix://{tmp_path}/agent/spire-agent.sock"
    assert list((tmp_path / "agent").iterdir()) == []


def test_a_path_that_is_too_long_for_a_socket_is_refused(tmp_path):
    with pytest.raises(InputError, match="more than 107 bytes"):
        WorkloadApi(tmp_path / ("x" * 100))
