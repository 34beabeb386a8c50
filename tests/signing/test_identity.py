"""The pod's identity: fetched in the background, by its SPIFFE ID, however late it comes."""

import select
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from signedpods import POD_ID, RUN_ID, served

from resultsfw.testing.signing_ca import ca_template, new_key, svid_template
from resultsfw_sidecar.stop import drain
from resultsfw_signing import identity
from resultsfw_signing.identity import Identity, IdentityError


class Stop:
    """Waits as the sidecar's Stop does, and receives no signals."""

    def __init__(self, *, requested=False):
        self.requested = requested
        self.waits = threading.Event()

    def wait(self, seconds, *files):
        self.waits.set()
        select.select(files, [], [], seconds)


def tried(fetcher):
    """Waits until a call has ended, and returns the error of who asks for the pod's certificate then."""
    assert select.select([fetcher._reader], [], [], 20)[0]
    fetcher.wait(0, Stop())
    with pytest.raises(IdentityError) as raised:
        fetcher.certificate(POD_ID)
    return raised.value


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(identity, "_LEAST_PAUSE", 0.01)
    monkeypatch.setattr(identity, "_WAITED_PAUSE", 0.02)


@pytest.fixture
def fetch(api):
    """Makes a fetcher of the wanted IDs, started."""
    made = []

    def make(*ids, socket=api.address):
        made.append(Identity(socket, ids or (POD_ID,)))
        made[-1].start()
        return made[-1]

    yield make
    for fetcher in made:
        fetcher.close()


def test_of_several_identities_the_wanted_one_is_used(api, fetch, authority, credential):
    others = [authority.issue_svid(f"spiffe://example.org/{name}") for name in ("a", "z")]
    api.serve(*(served(svid, authority) for svid in (others[0], credential, others[1])))
    fetcher = fetch()
    fetcher.wait(20, Stop())
    found = fetcher.certificate(POD_ID)
    assert (found.id, found.leaf, found.pem) == (POD_ID, credential.der, credential.pem)
    with pytest.raises(IdentityError):
        fetcher.certificate("spiffe://example.org/a")


def test_an_identity_that_arrives_late_ends_the_wait(api, fetch, authority, credential):
    fetcher, stop = fetch(), Stop()
    waiting = threading.Thread(target=fetcher.wait, args=(60, stop))
    waiting.start()
    assert stop.waits.wait(20)
    api.wait_for_refusals(2)
    api.serve(served(credential, authority))
    waiting.join(20)
    assert fetcher.certificate(POD_ID).leaf == credential.der


@pytest.mark.parametrize("name", ["spiffe://example.org/ns/ns/taskrun/build/pod/other-uid", RUN_ID])
def test_an_identity_of_another_pod_is_not_used(api, fetch, authority, name):
    api.serve(served(authority.issue_svid(name), authority))
    error = tried(fetch())
    assert (error.reason, str(error)) == (
        "NoIdentity",
        f"the agent has {name} for this pod, not {POD_ID}",
    )


def test_without_an_identity_the_agents_message_is_the_reason(api, fetch):
    error = tried(fetch())
    assert error.reason == "NoIdentity"
    assert "no identity issued" in str(error)


def test_an_agent_that_is_away_is_called_again(api, fetch, authority, credential):
    api.stop()
    fetcher = fetch()
    assert tried(fetcher).reason == "NoAgent"
    api.serve(served(credential, authority))
    api.start()
    fetcher.wait(20, Stop())
    assert fetcher.certificate(POD_ID).leaf == credential.der


def test_a_socket_without_a_server_is_no_agent(tmp_path, fetch):
    (tmp_path / "socket").touch()
    assert tried(fetch(socket=f"unix://{tmp_path}/socket")).reason == "NoAgent"


def test_an_agent_that_never_answers_is_no_agent(tmp_path, fetch, monkeypatch):
    monkeypatch.setattr(identity, "_CALL", 0.1)
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert tried(fetch(socket=f"unix://{path}")).reason == "NoAgent"


def test_a_signal_shortens_the_wait(api, fetch, monkeypatch):
    monkeypatch.setattr(identity, "AFTER_STOP", 0.0)
    fetcher, start = fetch(), time.monotonic()
    fetcher.wait(600, Stop(requested=True))
    assert time.monotonic() - start < 60
    with pytest.raises(IdentityError):
        fetcher.certificate(POD_ID)


def test_an_expired_certificate_is_never_used_and_a_renewed_one_is(api, fetch, authority, credential):
    old = authority.issue_svid(POD_ID, at=datetime.now(UTC) - timedelta(hours=2))
    api.serve(served(old, authority))
    fetcher = fetch()
    assert tried(fetcher).reason == "NoIdentity"
    api.serve(served(credential, authority))
    fetcher.wait(20, Stop())
    assert fetcher.certificate(POD_ID).leaf == credential.der


def test_a_certificate_is_renewed_before_it_ends(api, fetch, authority, credential, monkeypatch):
    ending = authority.issue_svid(POD_ID, at=datetime.now(UTC) - timedelta(minutes=30))
    now = ending.certificate.not_valid_after_utc.timestamp() - 0.02
    monkeypatch.setattr(identity, "time", SimpleNamespace(time=lambda: now, monotonic=time.monotonic))
    api.serve(served(ending, authority))
    fetcher = fetch()
    assert select.select([fetcher._reader], [], [], 20)[0]
    assert fetcher.certificate(POD_ID).leaf == ending.der
    api.serve(served(credential, authority))
    end = time.monotonic() + 20
    while fetcher.certificate(POD_ID).leaf != credential.der and time.monotonic() < end:
        select.select([fetcher._reader], [], [], 20)
        drain(fetcher._reader)
    assert fetcher.certificate(POD_ID).leaf == credential.der


@pytest.mark.parametrize("kind", ["ed25519", "ec-p521", "rsa-1024"])
def test_a_key_of_another_kind_signs_nothing(api, fetch, authority, kind):
    api.serve(served(authority.issue(svid_template(POD_ID), key=new_key(kind)), authority))
    assert tried(fetch()).reason in ("UnsupportedKey", "NoIdentity")  # the library refuses some itself


def test_a_chain_without_room_in_an_envelope_signs_nothing(api, fetch, authority):
    below = authority
    for number in range(8):
        below = below.subordinate(ca_template("example.org", serial_number=str(number + 2)))
    api.serve(served(below.issue_svid(POD_ID), authority))
    error = tried(fetch())
    assert error.reason == "UnsupportedKey"
    assert "the 9 certificates of" in str(error)
