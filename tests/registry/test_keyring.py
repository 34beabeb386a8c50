"""Credentials reach the registry that they are for, and no other."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.registry.keyring import Login, entries_of, login_for


def secret(auths, kind="kubernetes.io/dockerconfigjson"):
    key = ".dockercfg" if kind.endswith("dockercfg") else ".dockerconfigjson"
    text = json.dumps(auths if kind.endswith("dockercfg") else {"auths": auths})
    return {"type": kind, "data": {key: base64.b64encode(text.encode()).decode()}}


def entry(user):
    return {"username": user, "password": "p"}


def chosen(path, **auths):
    named = {server.replace("__", "/"): entry(user) for server, user in auths.items()}
    login = login_for(path, entries_of([secret(named)]))
    return login and login.user


@pytest.mark.parametrize(
    ("server", "path", "matches"),
    [
        ("registry.io", "registry.io/a/b", True),
        ("https://registry.io/v2/", "registry.io/a/b", True),
        ("https://index.docker.io/v1/", "index.docker.io/library/a", True),
        ("registry.io/a", "registry.io/a/b", True),
        ("registry.io/c", "registry.io/a/b", False),
        ("*.registry.io", "eu.registry.io/a/b", True),
        ("*.registry.io", "registry.io/a/b", False),
        ("*.registry.io", "a.b.registry.io/a/b", False),
        ("registry.io", "registry.io:5000/a/b", False),
        ("registry.io:5000", "registry.io:5000/a/b", True),
        ("registry.io", "registry.io.evil.org/a/b", False),
        ("registry.io", "evilregistry.io/a/b", False),
    ],
)
def test_which_images_an_entry_is_for(server, path, matches):
    login = login_for(path, entries_of([secret({server: entry("u")})]))
    assert (login is not None) is matches


def test_the_longest_entry_wins_and_of_equals_the_first_secret():
    listed = [secret({"r.io": entry("host"), "r.io/a": entry("first")}), secret({"r.io/a": entry("second")})]
    assert login_for("r.io/a/b", entries_of(listed)) == Login("first", "p")
    assert login_for("r.io/c/b", entries_of(listed)) == Login("host", "p")


def test_both_types_of_secret_and_both_forms_of_a_login():
    auth = base64.b64encode(b"u:p:q").decode()
    for kind in ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson"):
        assert login_for("r.io/a", entries_of([secret({"r.io": {"auth": auth}}, kind)])) == Login("u", "p:q")
    assert entries_of([secret({"r.io": entry("u")}) | {"type": "Opaque"}]) == []


def test_a_login_is_never_shown():
    assert "hunter2" not in repr(Login("hunter2", "hunter2"))


def test_a_login_that_no_request_can_carry_is_left_out():
    for field in ("username", "password"):
        assert entries_of([secret({"r.io": {"username": "u", "password": "p", field: "\ud800"}})]) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_a_secret_of_any_shape_is_left_out_or_taken(value):
    text = base64.b64encode(json.dumps(value).encode()).decode()
    for kind, key in (("dockerconfigjson", ".dockerconfigjson"), ("dockercfg", ".dockercfg")):
        for data in ({key: text}, {key: value}, value):
            login_for("r.io/a", entries_of([{"type": f"kubernetes.io/{kind}", "data": data}]))
        assert entries_of([secret(value) | {"data": {key: "//"}}]) == []
