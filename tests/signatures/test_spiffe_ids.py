"""SPIFFE IDs are accepted by the letters of their specification, and nothing else is."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_harness import RUN

from resultsfw.errors import InputError
from resultsfw.signatures import SpiffeId, check_trust_domain, parse_spiffe_id, pod_identity


@pytest.mark.parametrize(
    ("text", "domain", "path"),
    [
        ("spiffe://example.org", "example.org", ""),
        ("spiffe://example.org/a", "example.org", "/a"),
        ("spiffe://a_b-c.9/Ns/A.b_c-9/...", "a_b-c.9", "/Ns/A.b_c-9/..."),
        (f"spiffe://{'a' * 255}/b", "a" * 255, "/b"),
        (f"spiffe://example.org/{'a' * 2027}", "example.org", "/" + "a" * 2027),
    ],
)
def test_a_spiffe_id_has_a_trust_domain_and_a_path(text, domain, path):
    assert parse_spiffe_id(text) == SpiffeId(domain, path)
    assert str(parse_spiffe_id(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://",
        "spiffe:///a",
        "spiffe://Example.org/a",
        "SPIFFE://example.org/a",
        "https://example.org/a",
        "spiffe://example.org/",
        "spiffe://example.org/a/",
        "spiffe://example.org//a",
        "spiffe://example.org/./a",
        "spiffe://example.org/a/..",
        "spiffe://example.org/a?b",
        "spiffe://example.org/a#b",
        "spiffe://example.org/a%20b",
        "spiffe://example.org/ä",
        "spiffe://example.org/a\n",
        "spiffe://user@example.org/a",
        "spiffe://example.org:8443/a",
        "spiffe://exämple.org/a",
        f"spiffe://{'a' * 256}/b",
        f"spiffe://example.org/{'a' * 2028}",
        f"spiffe://example.org{'/a' * 1015}",
    ],
)
def test_what_is_not_a_spiffe_id_is_refused(text):
    with pytest.raises(InputError, match="is not a SPIFFE ID") as caught:
        parse_spiffe_id(text)
    assert len(caught.value.message) < 500


@given(st.text(alphabet="spife:/.aA-_9 \n\ud800", max_size=40))
def test_any_text_is_a_spiffe_id_or_an_input_error(text):
    for candidate in (text, "spiffe://" + text):
        with contextlib.suppress(InputError):
            assert str(parse_spiffe_id(candidate)) == candidate


def test_a_trust_domain_is_a_name_and_not_a_spiffe_id():
    assert check_trust_domain("example.org") == "example.org"
    for text in ("", "Example.org", "spiffe://example.org", "a/b", "a" * 256, "a\n"):
        with pytest.raises(InputError, match="is not a trust domain"):
            check_trust_domain(text)


def test_the_identity_of_a_pod_names_run_and_pod():
    identity = "spiffe://example.org/ns/team-a/taskrun/build-1/pod/pod-1"
    assert str(pod_identity("example.org", RUN, "pod-1")) == identity
