"""An image's commands are read from its registry within bounds, and credentials go nowhere else."""

import json
import time

import pytest
from registry_harness import IMAGE, FakeRegistry, digest_of

from resultsfw.registry import client, http
from resultsfw.registry.http import Connections, RequestError, check_url
from resultsfw.registry.keyring import Login
from resultsfw.registry.lookups import look_up_image
from resultsfw.registry.references import parse_image_name
from resultsfw.tekton.pod.image_commands import ImageCommand

LOGIN = Login("u", "hunter2")
BASIC = "Basic dTpodW50ZXIy"
AMD, ARM = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64", "variant": "v8"}


def looked_up(name, login=None, known=lambda _: None):
    return look_up_image(parse_image_name(name), login, known, wait=lambda _: None)


def failure(name, login=None):
    with pytest.raises(RequestError) as raised:
        looked_up(name, login)
    assert "hunter2" not in str(raised.value)
    return str(raised.value)


def redirecting(location, status=307):
    return lambda handler: handler.reply(status, b"", Location=location)


def test_an_image_by_tag_is_pinned_by_digest(registry):
    digest = registry.push("1", entrypoint=["/e", "x"], cmd=["c"])
    found = looked_up(f"{registry.name}:1")
    assert found.reference == f"{registry.name}@{digest}"
    assert found.platforms == {"linux/amd64": ImageCommand(("/e", "x"), ("c",))}


def test_each_platform_of_an_index_has_its_command(registry):
    amd, arm = registry.push("a", entrypoint=["/amd"]), registry.push("b", cmd=["/arm"])
    unknown = {"os": "unknown", "architecture": "unknown"}
    digest = registry.push_index("multi", (amd, AMD), (arm, ARM), (amd, AMD), (arm, unknown), (arm, None))
    found = looked_up(f"{registry.name}:multi")
    assert found.reference.endswith(digest)
    assert found.platforms == {
        "linux/amd64": ImageCommand(("/amd",)),
        "linux/arm64/v8": ImageCommand((), ("/arm",)),
    }


def test_what_is_known_by_digest_is_not_read_again(registry):
    digest = registry.push("1", cmd=["c"])
    known = {f"{registry.name}@{digest}": looked_up(f"{registry.name}:1")}
    registry.requests.clear()
    assert looked_up(f"{registry.name}:1", known=known.get) is known[f"{registry.name}@{digest}"]
    assert len(registry.asked("/team/image/")) == 1
    registry.requests.clear()
    assert looked_up(f"{registry.name}@{digest}", known=known.get)
    assert registry.requests == []


def test_an_image_that_is_not_there_is_named_with_the_code_of_the_error(registry):
    why = failure(f"{registry.name}:none")
    url = f"http://{registry.address}/v2/team/image/manifests/none"
    assert why == f"GET {url}: 404 Not Found MANIFEST_UNKNOWN"


def test_a_login_by_basic_goes_to_the_registry_that_asks_for_it(registry):
    registry.push("1", cmd=["c"])
    registry.login, registry.challenge = BASIC, "Basic realm=x"
    assert looked_up(f"{registry.name}:1", LOGIN).platforms
    assert "401 Unauthorized" in failure(f"{registry.name}:1")


def test_a_token_is_fetched_with_the_login_and_sent_to_the_registry(registry):
    registry.push("1", cmd=["c"])
    registry.login = "Bearer t0"
    realm = f"http://{registry.address}/token"
    registry.challenge = f'Bearer realm="{realm}",service="s",scope="repository:team/image:pull"'
    registry.answers["/token"] = lambda handler: handler.reply(200, b'{"access_token": "t0"}')
    assert looked_up(f"{registry.name}:1", LOGIN).platforms
    ((path, sent),) = [request for request in registry.requests if "/token" in request[0]]
    assert sent == BASIC
    assert path == "/token?scope=repository%3Ateam%2Fimage%3Apull&service=s"


@pytest.mark.parametrize(
    ("realm", "why"),
    [
        ("http://10.0.0.1/token", "in a private network"),
        ("http://169.254.169.254/token", "in a private network"),
        ("file:///etc/passwd", "not an http or https URL"),
        ("https://user@host.org/", "not an http or https URL"),
        ("http://[::1", "not a URL"),
        ("", "not an http or https URL"),
    ],
)
def test_a_registry_cannot_send_the_login_to_a_private_address(registry, realm, why):
    registry.login, registry.challenge = "Bearer t", f'Bearer realm="{realm}"'
    assert why in failure(f"{registry.name}:1", LOGIN)


@pytest.mark.parametrize("challenge", ["", "Bearer", "Bearer realm", "Negotiate", "Bearer =,=", "Basic"])
def test_a_challenge_of_any_form_ends_the_look_up(registry, challenge):
    registry.login, registry.challenge = "Bearer t", challenge
    assert failure(f"{registry.name}:1")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 1}', b'{"token": "a\\r\\nX: y"}', b"[" * 60_000])
def test_a_token_of_any_form_is_refused(registry, body):
    registry.login, registry.challenge = "Bearer t", f'Bearer realm="http://{registry.address}/token"'
    registry.answers["/token"] = lambda handler: handler.reply(200, body)
    assert failure(f"{registry.name}:1", LOGIN)


def test_a_redirect_is_followed_without_the_login(registry):
    other = FakeRegistry()
    try:
        registry.push("1", cmd=["c"])
        registry.login, registry.challenge = BASIC, "Basic realm=x"
        ((path, (kind, body)),) = [item for item in registry.content.items() if "/blobs/" in item[0]]
        other.content[path] = kind, body
        registry.answers[path] = redirecting(f"http://localhost:{other.server.server_port}{path}")
        assert looked_up(f"{registry.name}:1", LOGIN).platforms
        assert other.requests == [(path, "")]
    finally:
        other.close()


def test_redirects_end(registry):
    path = "/v2/team/image/manifests/1"
    registry.answers[path] = redirecting(path)
    assert "redirects over 5 times" in failure(f"{registry.name}:1")
    registry.answers[path] = redirecting("ftp://host.org/x")
    assert "not an http or https URL" in failure(f"{registry.name}:1")
    for location in ("http://[", "//[::1"):
        registry.answers[path] = redirecting(location)
        assert "redirects to an address that is not a URL" in failure(f"{registry.name}:1")


def test_a_platform_is_a_short_name(registry):
    for name in ("l" * 1000, "\ud800", "linüx"):
        registry.push("1", config={"os": name, "config": {"Cmd": ["x"]}})
        assert list(looked_up(f"{registry.name}:1").platforms) == [""]


def test_addresses_that_a_registry_may_name():
    for url in ("https://cdn.org/x", "https://8.8.8.8/x", "https://10.0.0.1:5000/x"):
        check_url(url, known="https://10.0.0.1:5000", insecure=False)
    for url in ("http://cdn.org/x", "https://10.0.0.2/x", "https://127.0.0.1/x", "https://host.org/a b"):
        with pytest.raises(RequestError):
            check_url(url, known="https://10.0.0.1:5000", insecure=False)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"os": "linux", "config": {"Entrypoint": "sh"}}, "not a list of strings"),
        ({"os": "linux", "config": {"Cmd": [1]}}, "not a list of strings"),
        ({"os": "linux", "config": {"Cmd": ["\ud800"]}}, "not a list of strings"),
        ([], "not a JSON object"),
        (
            {"os": "linux", "config": {"Cmd": ["x" * 200_000]}},
            "its commands have 200003 bytes, over the limit of 131072",
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(registry, config, why):
    registry.push("1", config=config)
    assert why in failure(f"{registry.name}:1")


@pytest.mark.parametrize(
    "manifest", [b"", b"null", b"[" * 100_000, {}, {"config": []}, {"config": {"digest": "../x"}}]
)
def test_a_manifest_of_any_shape_is_refused(registry, manifest):
    registry.put("manifests/1", IMAGE, manifest)
    assert failure(f"{registry.name}:1")


def test_what_has_another_digest_is_refused(registry):
    digest = registry.push("1", cmd=["c"])
    registry.put(f"manifests/{digest}", IMAGE, {"other": 1})
    assert "does not have the digest sha256:" in failure(f"{registry.name}@{digest}")
    registry.push("2", cmd=["d"])
    for path in registry.asked("x") or [path for path in registry.content if "/blobs/" in path]:
        registry.content[path] = ("", b"{}")
    assert "does not have the digest sha256:" in failure(f"{registry.name}:2")


def test_an_index_is_bounded_and_has_one_image_for_a_platform(registry):
    one, two = registry.push("1", cmd=["a"]), registry.push("2", cmd=["b"])
    registry.push_index("twice", (one, AMD), (two, AMD))
    assert "duplicate unique image found for platform: linux/amd64" in failure(f"{registry.name}:twice")
    many = [
        (one, {"os": "linux", "architecture": str(number)}) for number in range(client.MOST_PLATFORMS + 1)
    ]
    registry.push_index("many", *many)
    registry.requests.clear()
    assert "has 65 platforms, and the limit is 64" in failure(f"{registry.name}:many")
    assert len(registry.asked("/team/image/")) == 1
    registry.push_index("none")
    assert "has 0 platforms" in failure(f"{registry.name}:none")


def test_other_media_types_are_refused(registry):
    registry.put("manifests/1", "application/vnd.docker.distribution.manifest.v1+json", {})
    assert failure(f"{registry.name}:1") == "unsupported media type for image reference"


def test_an_answer_is_read_up_to_its_limit(registry, monkeypatch):
    monkeypatch.setattr(client, "_DOCUMENT_BYTES", 1000)
    registry.put("manifests/1", IMAGE, b"x" * 1001)
    assert "the answer has over 1000 bytes" in failure(f"{registry.name}:1")


def test_an_answer_without_end_ends_with_the_time(registry):
    """A byte now and then keeps each read alive, but not the lookup."""

    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.01)

    registry.answers["/x"] = drip
    with Connections(0.2) as connections, pytest.raises(RequestError, match="no answer"):
        connections.get(f"http://{registry.address}/x", {}, limit=10_000_000)


def test_an_error_that_may_pass_is_tried_again(registry):
    registry.push("1", cmd=["c"])
    answers = iter([503, 429])

    def sometimes(handler):
        status = next(answers, 0)
        body = registry.content[handler.path][1]
        handler.reply(status or 200, body, **{"Content-Type": IMAGE})

    registry.answers["/v2/team/image/manifests/1"] = sometimes
    assert looked_up(f"{registry.name}:1").platforms
    registry.answers["/v2/team/image/manifests/1"] = lambda handler: handler.reply(500, b"hunter2")
    registry.requests.clear()
    assert "500 Internal Server Error" in failure(f"{registry.name}:1")
    assert len(registry.asked("/manifests/")) == 3


def test_headers_have_one_line():
    with Connections(5) as connections, pytest.raises(RequestError, match="control characters"):
        connections.get("http://127.0.0.1:1/", {"Authorization": "a\r\nX: b"}, limit=1)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254"])
def test_a_link_local_server_is_refused_whatever_its_name(address):
    with pytest.raises(RequestError, match="link-local"):
        http._refuse_link_local("https://metadata.org/", address)


@pytest.mark.parametrize("host", ["a..b", ".", "x.io:99999", f"{'a' * 64}.io", "-.-"])
def test_a_host_that_no_server_can_have_is_refused(host):
    assert failure(f"{host}/team/image").startswith("GET https://")


def test_a_server_that_is_not_there_is_named():
    assert "GET http://127.0.0.1:1/v2/team/image/manifests/1: Connection refused" in failure(
        "127.0.0.1:1/team/image:1"
    )


def test_digests_are_of_the_body():
    assert digest_of(json.dumps({}).encode()).startswith("sha256:44136fa3")
