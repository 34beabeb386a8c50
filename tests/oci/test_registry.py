"""The client of registries: what it sends, what it believes, and whom it gives a login."""

import hashlib
import json
import ssl
import threading

import pytest
import trustme
from registryserver import BASIC, INDEX, MANIFEST, PASSWORD, USER, described, digest_of

from resultsfw_transports import registry_http
from resultsfw_transports.logins import Login, own_logins
from resultsfw_transports.referrers import attach, parse_subject, subject_descriptor
from resultsfw_transports.registry import Registry, RegistryError

REPOSITORY = "results/ns"
DATA = b"0123456789" * 100_000
DIGEST = digest_of(DATA)


def client(registry, *, login=True, plain=True, patience=1.0, **more):
    found = Login(USER, PASSWORD) if login else None
    return Registry(
        registry.host, login=lambda _: found, plain=plain, patience=patience, wait=lambda _: None, **more
    )


def pieces():
    for at in range(0, len(DATA), 65_536):
        yield DATA[at : at + 65_536]


def a_manifest(**more):
    layer = described(DATA, "application/x")
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": layer, "layers": [layer], **more}


def pushed(to, repository=REPOSITORY, tag="one"):
    to.put_blob(repository, DIGEST, len(DATA), pieces)
    body = json.dumps(a_manifest()).encode()
    to.put_manifest(repository, tag, body, MANIFEST)
    return digest_of(body)


def test_what_is_pushed_is_read_and_deleted(any_registry):
    to = client(any_registry)
    assert not to.has_blob(REPOSITORY, DIGEST)
    assert to.digest_of(REPOSITORY, "one") is None
    digest = pushed(to)
    assert to.has_blob(REPOSITORY, DIGEST)
    assert to.digest_of(REPOSITORY, "one") == to.digest_of(REPOSITORY, digest) == digest
    assert to.manifest(REPOSITORY, digest)[1] == MANIFEST
    assert b"".join(to.pieces(REPOSITORY, DIGEST, len(DATA))) == DATA
    assert len(b"".join(to.pieces(REPOSITORY, DIGEST, 100))) == 100
    assert to.mount_blob("results/other", DIGEST, REPOSITORY)
    assert to.has_blob("results/other", DIGEST)
    assert not to.mount_blob("results/other", digest_of(b"none"), REPOSITORY)
    assert to.delete_manifest(REPOSITORY, digest)
    assert to.delete_manifest(REPOSITORY, digest)
    assert to.digest_of(REPOSITORY, "one") is None


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_it_logs_in_when_it_is_asked_to(make_registry, kind):
    registry = make_registry(login=kind)
    digest = pushed(client(registry))
    to = client(registry)
    assert b"".join(to.pieces(REPOSITORY, DIGEST, len(DATA))) == DATA
    assert to.delete_manifest(REPOSITORY, digest)
    first = registry.requests[0]
    assert first[2] == ""  # nothing before it is asked
    with pytest.raises(RegistryError, match=r"401 Unauthorized UNAUTHORIZED$") as caught:
        client(registry, login=False).manifest(REPOSITORY, digest)
    assert caught.value.kind == "forbidden"


def test_a_login_is_sent_to_its_registry_alone(make_registry):
    """Not to where an upload, a redirect or a token leads."""
    registry, other = make_registry(login="basic"), make_registry()
    other.blobs[REPOSITORY][DIGEST] = DATA

    def elsewhere(handler):
        if handler.command == "GET" and "/blobs/" in handler.path and handler.headers.get("Authorization"):
            handler.reply(307, b"", Location=f"http://localhost:{other.server.server_port}{handler.path}")
            return True
        return False

    registry.faults = elsewhere
    assert b"".join(client(registry).pieces(REPOSITORY, DIGEST, len(DATA))) == DATA
    assert [authorization for _, _, authorization in other.requests] == [""]


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/x",
        "http://10.0.0.7/x",
        "file:///etc/passwd",
        "http://u@h/x",
        "http://[",
        "http://h/\xe9",
    ],
)
def test_an_address_that_no_registry_may_name_is_not_asked(registry, address):
    def named(handler):
        header = "WWW-Authenticate" if handler.command == "HEAD" else "Location"
        value = f'Bearer realm="{address}"' if handler.command == "HEAD" else address
        handler.reply({"HEAD": 401, "POST": 202}.get(handler.command, 307), b"", **{header: value})
        return True

    registry.faults = named
    to = client(registry)
    for ask in (
        lambda: to.has_blob(REPOSITORY, DIGEST),
        lambda: to.put_blob(REPOSITORY, DIGEST, len(DATA), pieces),
        lambda: list(to.pieces(REPOSITORY, DIGEST, 1)),
        lambda: to.manifest(REPOSITORY, "one"),
    ):
        with pytest.raises(RegistryError, match="the registry names an address"):
            ask()


def test_what_passes_is_tried_again_and_what_does_not_is_not(registry):
    left = [503, 429, 500]

    def failing(handler):
        if handler.command in ("POST", "HEAD") and left:
            handler.reply(left.pop(), "TOOMANYREQUESTS")
            return True
        return False

    registry.faults = failing
    pushed(client(registry))
    assert len(registry.asked("POST")) == 4
    registry.faults = lambda handler: handler.reply(403, "DENIED") or True
    registry.requests.clear()
    with pytest.raises(RegistryError, match="403 Forbidden DENIED") as caught:
        pushed(client(registry))
    assert (caught.value.kind, len(registry.requests)) == ("forbidden", 1)


def test_patience_ends(registry):
    registry.faults = lambda handler: handler.reply(503) or True
    with pytest.raises(RegistryError, match="503 Service Unavailable") as caught:
        client(registry).has_blob(REPOSITORY, DIGEST)
    assert caught.value.kind == "unavailable"
    registry.close()
    with pytest.raises(RegistryError, match="Connection refused"):
        client(registry).has_blob(REPOSITORY, DIGEST)


def test_an_upload_that_is_cut_begins_again(registry):
    cut = [True, True]

    def cutting(handler):
        if handler.command == "PUT" and "/uploads/" in handler.path and cut:
            cut.pop()
            handler.rfile.read(1000)
            handler.close_connection = True
            return True
        return False

    registry.faults = cutting
    pushed(client(registry))
    assert registry.blobs[REPOSITORY][DIGEST] == DATA


def test_a_refusal_in_the_middle_of_an_upload_is_reported(registry):
    def full(handler):
        if handler.command == "PUT":
            handler.rfile.read(1000)
            handler.reply(413, "SIZE_INVALID")
            handler.rfile.read(int(handler.headers["Content-Length"]) - 1000)
            return True
        return False

    registry.faults = full
    with pytest.raises(RegistryError, match=r"413 .* SIZE_INVALID") as caught:
        pushed(client(registry))
    assert "planted" not in str(caught.value)


def test_an_answer_that_ends_early_is_noticed(registry):
    digest = pushed(client(registry))

    def cut(handler):
        body = DATA if "/blobs/" in handler.path else registry.manifests[REPOSITORY][digest][1]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.close_connection = True
        return True

    registry.faults = cut
    for ask in (
        lambda: list(client(registry).pieces(REPOSITORY, DIGEST, len(DATA))),
        lambda: client(registry).manifest(REPOSITORY, digest),
    ):
        with pytest.raises(RegistryError) as caught:
            ask()
        assert caught.value.kind == "unavailable"


@pytest.mark.parametrize("endless", ["headers", "100 Continue"])
def test_an_answer_whose_beginning_never_ends_is_given_up(registry, monkeypatch, endless):
    """Each byte is in time, and all of them are not."""
    monkeypatch.setattr(registry_http, "ANSWER_SECONDS", 0.2)
    line = b"X: y\r\n" if endless == "headers" else b"HTTP/1.1 100 Continue\r\n\r\n"
    given_up = threading.Event()

    def trickling(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" if endless == "headers" else b"")
        try:
            while not given_up.wait(0.01):
                handler.wfile.write(line)
        except OSError:
            handler.close_connection = True
        return True

    registry.faults = trickling
    try:
        for ask in (
            lambda: client(registry, patience=0).manifest(REPOSITORY, "tag"),
            lambda: list(client(registry).pieces(REPOSITORY, DIGEST, 1)),
        ):
            with pytest.raises(RegistryError, match="no answer in time") as caught:
                ask()
            assert caught.value.kind == "unavailable"
    finally:
        given_up.set()


def test_a_client_for_many_repositories_does_not_keep_the_tokens_of_all(make_registry):
    """The controller asks for a repository of each run that is deleted."""
    to = client(make_registry(login="bearer"))
    for number in range(150):
        assert to.digest_of(f"results/ns/run-{number}", "one") is None
    assert len(to._authorization) <= 100
    assert "results/ns/run-149" in to._authorization


def test_a_manifest_of_another_digest_or_size_is_refused(registry):
    digest = pushed(client(registry))
    registry.faults = lambda handler: handler.reply(200, b"{}") or True
    with pytest.raises(RegistryError, match="another digest"):
        client(registry).manifest(REPOSITORY, digest)
    registry.faults = lambda handler: handler.reply(200, b"x" * (5 << 20)) or True
    with pytest.raises(RegistryError, match="over 4 MiB"):
        client(registry).manifest(REPOSITORY, "tag")


@pytest.mark.parametrize(
    "answer", [b"\xff", b"[" * 100_000, b"[1]", b'{"errors": 1}', b'{"errors": [{"code": "a b"}]}']
)
def test_nonsense_in_an_answer_is_no_more_than_a_status(registry, answer):
    registry.faults = lambda handler: handler.reply(400, answer) or True
    with pytest.raises(RegistryError, match=r"400 Bad Request$") as caught:
        client(registry).manifest(REPOSITORY, "tag")
    assert caught.value.kind == "refused"


def test_a_registry_that_deletes_nothing_says_so(make_registry):
    registry = make_registry(deletes=False)
    to = client(registry)
    assert to.delete_manifest(REPOSITORY, pushed(to)) is False


def test_tls_with_an_authority_of_its_own(make_registry):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    registry = make_registry(tls=context, login="bearer")
    pushed(client(registry, plain=False, ca=authority.cert_pem.bytes().decode()))
    with pytest.raises(RegistryError, match="its certificate is not valid"):
        client(registry, plain=False, patience=0).has_blob(REPOSITORY, DIGEST)
    with pytest.raises(ValueError, match="certificates cannot be read"):
        client(registry, plain=False, ca="planted")


# Referrers.


def test_an_artifact_is_listed_with_its_image(make_registry, any_registry):
    for registry in (any_registry, make_registry(referrers=True)):
        to = client(registry)
        image = pushed(to, "team/app")
        subject = parse_subject(f"{registry.host}/team/app:v1@{image}")
        descriptor = subject_descriptor(to, subject)
        manifests = [
            a_manifest(artifactType="application/a", annotations={"n": n}, subject=descriptor) for n in "12"
        ]
        digests = [attach(to, subject, manifest) for manifest in (*manifests, manifests[0])]
        assert digests[0] == digests[2]
        if getattr(registry, "referrers", False):
            assert to.digest_of("team/app", image.replace(":", "-")) is None
            continue
        index = json.loads(to.manifest("team/app", image.replace(":", "-"))[0])
        assert index["mediaType"] == INDEX
        assert [entry["digest"] for entry in index["manifests"]] == digests[:2]
        assert index["manifests"][0]["artifactType"] == "application/a"


@pytest.mark.parametrize("listed", [b"[]", b'{"manifests": 1}', b'{"manifests": [1]}', b"\xff"])
def test_a_list_of_referrers_that_is_none_is_not_overwritten(registry, listed):
    to = client(registry)
    image = pushed(to, "team/app")
    subject = parse_subject(f"{registry.host}/team/app@{image}")
    tag = image.replace(":", "-")
    registry.manifests["team/app"][digest_of(listed)] = INDEX, listed
    registry.tags["team/app"][tag] = digest_of(listed)
    manifest = a_manifest(artifactType="a/b", annotations={}, subject=subject_descriptor(to, subject))
    with pytest.raises(RegistryError, match="is not a list of referrers"):
        attach(to, subject, manifest)
    assert registry.tags["team/app"][tag] == digest_of(listed)


HEX = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"r.io/a/b@sha256:{HEX}", ("r.io", "a/b", f"sha256:{HEX}")),
        (f"r.io:5000/a:tag@sha256:{HEX}", ("r.io:5000", "a", f"sha256:{HEX}")),
        (f"[::1]:5000/a@sha256:{HEX}", ("[::1]:5000", "a", f"sha256:{HEX}")),
        (f"a@sha256:{HEX}", None),
        ("r.io/a:tag", None),
        (f"r.io/../a@sha256:{HEX}", None),
        (f"https://r.io/a@sha256:{HEX}", None),
        (f"r.io/a@sha256:{HEX}\n", None),
        (f"r.io/A@sha256:{HEX}", None),
        (f"r.io/{'a' * 1000}@sha256:{HEX}", None),
    ],
)
def test_images_by_digest(text, found):
    subject = parse_subject(text)
    assert (subject and (subject.registry, subject.repository, subject.digest)) == found


def test_logins_of_a_process(tmp_path):
    def config(server, user):
        return json.dumps({"auths": {server: {"username": user, "password": "p"}}})

    (tmp_path / "config.json").write_text(config("file.io", "f"))
    variables = {
        "RESULTSFW_OCI_AUTHS_0": config("r.io", "a"),
        "RESULTSFW_OCI_AUTHS_1": json.dumps({"old.io": {"auth": BASIC.removeprefix("Basic ")}}),
        "RESULTSFW_OCI_AUTHS_2": "not JSON",
        "OTHER": config("no.io", "n"),
        "DOCKER_CONFIG": str(tmp_path),
    }
    found = own_logins(variables, files=True)
    assert [(server, login.user) for server, login in found] == [
        ("r.io", "a"),
        ("old.io", USER),
        ("file.io", "f"),
    ]
    assert len(own_logins(variables, files=False)) == 2
    assert own_logins({"HOME": str(tmp_path / "none")}, files=True) == []
    assert PASSWORD not in repr(found)
