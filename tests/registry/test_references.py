"""Names of images are parsed as go-containerregistry parses them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.registry.references import ImageName, ImageNameError, parse_image_name

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "registry", "repository", "identifier"),
    [
        ("busybox", "index.docker.io", "library/busybox", "latest"),
        ("docker.io/busybox:1", "index.docker.io", "library/busybox", "1"),
        ("team/image:1.2", "index.docker.io", "team/image", "1.2"),
        ("ghcr.io/team/image", "ghcr.io", "team/image", "latest"),
        ("localhost/image", "localhost", "image", "latest"),
        ("registry:5000/a/b:c", "registry:5000", "a/b", "c"),
        ("registry:5000/a/b", "registry:5000", "a/b", "latest"),
        (f"gcr.io/a/b@{DIGEST}", "gcr.io", "a/b", DIGEST),
        (f"gcr.io/a/b:tag@{DIGEST}", "gcr.io", "a/b", DIGEST),
        ("[::1]:5000/a/b", "[::1]:5000", "a/b", "latest"),
    ],
)
def test_the_parts_of_a_name(text, registry, repository, identifier):
    found = parse_image_name(text)
    assert (found.registry, found.repository, found.identifier) == (registry, repository, identifier)
    assert found.pinned(DIGEST) == f"{registry}/{repository}@{DIGEST}"


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "a", "Not A Name", "image:", "image:a b", "http://host/image", "host.io/../../x", "a//b"),
        *(
            f"image@{DIGEST[:-1]}",
            "image@md5:0",
            f"image@{DIGEST}@{DIGEST}",
            "user@host.io/image",
            "x.io/a?b",
        ),
        *("$(params.image)", "host.io:99999999/a/b", "x\r\n.io/a/b", "a" * 256),
    ],
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(ImageNameError, match="could not parse reference"):
        parse_image_name(text)


@pytest.mark.parametrize(
    ("registry", "insecure"),
    [
        *(
            (host, True)
            for host in ("10.1.2.3:5000", "172.16.0.1", "192.168.1.1", "localhost:5000", "127.0.0.1")
        ),
        *((host, True) for host in ("a.localhost:80", "[::1]:5000")),
        *(
            (host, False)
            for host in ("localhost", "8.8.8.8", "172.32.0.1", "169.254.169.254", "x.local", "ghcr.io")
        ),
    ],
)
def test_only_local_and_private_registries_may_be_asked_without_tls(registry, insecure):
    assert ImageName(registry, "a/b", "latest").may_be_http is insecure


@given(st.text())
def test_a_name_can_stand_in_a_url(text):
    try:
        found = parse_image_name(text)
    except ImageNameError:
        return
    assert all(character.isprintable() and character not in " @?#%\\" for character in found.path)
    assert not {"", ".", ".."} & set(found.repository.split("/"))
