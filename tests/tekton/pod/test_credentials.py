"""Secrets of a service account become volumes and entrypoint arguments as Tekton makes them."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resultsfw.tekton.pod.builder import PodOptions, build_pod
from resultsfw.tekton.pod.credentials import NO_CREDENTIALS, credentials_of, lacks_known_hosts
from resultsfw.tekton.spec.substitution import apply

CAPTURE = json.loads((Path(__file__).parents[2] / "data" / "tekton" / "credentials.json").read_text())


def secret(name="s", kind="kubernetes.io/basic-auth", **annotations):
    named = {f"tekton.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {"metadata": {"name": name, "annotations": named}, "type": kind}


def built(credentials=NO_CREDENTIALS, **options):
    run = CAPTURE["taskrun"]
    spec = apply(run["spec"]["taskSpec"], run)
    return build_pod(run, spec, attempt=0, options=PodOptions(**options), credentials=credentials)["spec"]


def without_random_names(value):
    return json.loads(re.sub(r"script-0-[a-z0-9]{5}", "script-0-x", json.dumps(value)))


def test_the_pod_is_the_one_that_tekton_built():
    pod = built(credentials_of(CAPTURE["secrets"]))
    assert pod["volumes"] == CAPTURE["pod"]["volumes"]
    containers = [
        {field: container[field] for field in ("name", "command", "args", "volumeMounts")}
        for container in pod["containers"]
    ]
    assert without_random_names(containers) == CAPTURE["pod"]["containers"]


def test_no_value_of_a_secret_is_in_the_pod():
    text = json.dumps(built(credentials_of(CAPTURE["secrets"])))
    values = [value for found in CAPTURE["secrets"] for value in found["stringData"].values()]
    assert len(values) > 4
    assert not [value for value in values if len(value) > 2 and value in text]


def test_disable_creds_init_leaves_out_secrets_and_folders():
    pod = json.dumps(built(credentials_of(CAPTURE["secrets"]), disable_creds_init=True))
    assert "tekton-creds" not in pod
    assert "-basic-git" not in pod


def test_a_secret_that_names_no_server_is_left_out():
    assert credentials_of([secret(), secret(kind="Opaque", git_0="https://x")]) == NO_CREDENTIALS
    assert credentials_of([secret(kind="kubernetes.io/ssh-auth", docker_0="x")]) == NO_CREDENTIALS
    assert credentials_of([{"metadata": {"name": "s", "annotations": ["no"]}, "type": 3}]) == NO_CREDENTIALS


def test_two_secrets_of_the_same_hash_have_volumes_of_their_own(monkeypatch):
    hashed = {"a": "tekton-creds-0", "b": "tekton-creds-0", "tekton-creds-0$": "tekton-creds-1"}
    monkeypatch.setattr("resultsfw.tekton.pod.credentials._volume_name", hashed.__getitem__)
    found = credentials_of([secret("a", git_0="https://a"), secret("b", git_0="https://b")])
    assert [volume["name"] for volume in found.volumes] == ["tekton-creds-0", "tekton-creds-1"]


@pytest.mark.parametrize(
    ("kind", "keys", "lacks"),
    [
        ("kubernetes.io/ssh-auth", ["ssh-privatekey"], True),
        ("kubernetes.io/ssh-auth", ["ssh-privatekey", "known_hosts"], False),
        ("kubernetes.io/basic-auth", [], False),
    ],
)
def test_an_ssh_key_without_the_servers_keys_is_recognized(kind, keys, lacks):
    for field in ("data", "stringData"):
        assert lacks_known_hosts({"type": kind, field: dict.fromkeys(keys, "")}) is lacks


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,4})?", fullmatch=True), st.text()), max_size=8)
)
def test_each_secret_has_one_volume_and_one_mount(listed):
    secrets = [secret(name, git_0=server, docker_0=server) for name, server in dict(listed).items()]
    found = credentials_of(secrets)
    names = [volume["name"] for volume in found.volumes]
    assert len(set(names)) == len(names) == len(secrets)
    assert [mount["name"] for mount in found.mounts] == names
    assert len(found.args) == 2 * len(secrets)
