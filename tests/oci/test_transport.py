"""The pod's part: which artifacts it pushes, what they say, and what is refused."""

import json
import os

import pytest
from ocipods import RUN, Sidecar, configured, prepared
from registryserver import MANIFEST, PASSWORD, digest_of

LARGE = b"0123456789" * 100_000


def manifest_of(registry, repository, tag):
    return json.loads(registry.manifests[repository][registry.tags[repository][tag]][1])


def test_small_values_stay_and_large_ones_are_artifacts(registry, tmp_path, capfdbinary):
    pod = prepared(configured(registry.host, **{"inline-bytes": 5}))
    log, records = Sidecar(tmp_path / "t", pod).run(capfdbinary, a=b"small", b=b'["x","y"]', big=LARGE)
    assert records["a"]["value"] == "small"
    repository, prefix = "results/default", "run-uid-0-"
    assert sorted(registry.tags[repository]) == [f"{prefix}0", f"{prefix}1"]
    for number, (name, value, kind) in enumerate([("b", b'["x","y"]', "v1+json"), ("big", LARGE, "v1.text")]):
        record, manifest = records[name], manifest_of(registry, repository, f"{prefix}{number}")
        digest = registry.tags[repository][f"{prefix}{number}"]
        assert record["location"] == f"oci://{registry.host}/results/default/run-uid/{digest}"
        assert (record["bytes"], record["digest"]) == (len(value), digest_of(value))
        assert manifest["mediaType"] == MANIFEST
        assert manifest["artifactType"] == "application/vnd.resultsfw.result.v1"
        [layer] = manifest["layers"]
        assert layer["mediaType"] == f"application/vnd.resultsfw.result.value.{kind}"
        assert layer["annotations"] == {"org.opencontainers.image.title": name}
        assert manifest["annotations"] == {
            "dev.resultsfw.namespace": "default",
            "dev.resultsfw.run": "run",
            "dev.resultsfw.uid": "run-uid",
            "dev.resultsfw.attempt": "0",
            "dev.resultsfw.task": "build",
            "dev.resultsfw.pipelinerun": "nightly",
            "dev.resultsfw.result": name,
        }
        assert registry.blobs[repository][layer["digest"]] == value
    assert b"planted" not in log


def test_a_run_can_have_a_repository_of_its_own(registry, tmp_path, capfdbinary):
    pod = prepared(configured(registry.host), repository_per="run")
    _, records = Sidecar(tmp_path / "t", pod).run(capfdbinary, big=LARGE)
    digest = registry.tags["results/default/run-uid"]["run-uid-0-0"]
    assert records["big"]["location"] == f"oci://{registry.host}/results/default/run-uid/own+{digest}"
    assert "results/default" not in registry.manifests


def test_a_sidecar_that_starts_again_pushes_nothing_twice_and_loses_no_tag(registry, tmp_path, capfdbinary):
    pod = prepared(configured(registry.host))
    sidecar = Sidecar(tmp_path / "t", pod)
    _, first = sidecar.run(capfdbinary, b=LARGE, c=LARGE)
    registry.requests.clear()
    assert sidecar.run(capfdbinary)[1] == first
    assert not registry.asked("PUT")
    # It was killed, and the value is another one: what it stored before keeps its tag.
    _, third = sidecar.run(capfdbinary, b=LARGE + b"more")
    tags = registry.tags["results/default"]
    assert sorted(tags) == [f"run-uid-0-{number}" for number in range(3)]
    assert third["b"]["location"].endswith(tags["run-uid-0-2"])
    assert third["c"] == first["c"]


@pytest.mark.parametrize("login", ["basic", "bearer"])
def test_it_uses_the_login_that_only_its_container_has(make_registry, tmp_path, capfdbinary, login):
    registry = make_registry(login=login)
    pod = prepared(configured(registry.host))
    log, records = Sidecar(tmp_path / "t", pod, login=registry.config_json).run(capfdbinary, big=LARGE)
    assert records["big"]["digest"] == digest_of(LARGE)
    assert PASSWORD.encode() not in log
    sidecar = Sidecar(tmp_path / "u", pod)
    _, records = sidecar.run(capfdbinary, a=b"x" * 10, big=LARGE)
    assert records["a"]["value"] == "x" * 10
    assert records["big"]["reason"] == "Undelivered"
    assert "its 1000000 bytes could not be stored" in records["big"]["message"]
    assert "401 Unauthorized" in records["big"]["message"]
    assert "Undelivered: big: its 1000000 bytes" in sidecar.message.read_text()


def test_a_registry_that_is_down_fails_what_is_large_and_is_asked_for_the_first_only(
    registry, tmp_path, capfdbinary
):
    registry.faults = lambda handler: handler.reply(503) or True
    pod = prepared(configured(registry.host, patience=1))
    _, records = Sidecar(tmp_path / "t", pod).run(capfdbinary, a=b"a" * 5000, b=b"b" * 5000, c=b"small")
    assert records["c"]["value"] == "small"
    assert {records[name]["reason"] for name in "ab"} == {"Undelivered"}
    assert "503 Service Unavailable" in records["b"]["message"]
    assert set(registry.asked()) == {registry.requests[0][1]}


def test_a_file_that_changes_while_it_is_pushed_is_pushed_again(registry, tmp_path, capfdbinary):
    target = tmp_path / "t/results/big"

    def changing(handler):
        if handler.command == "PUT" and "/uploads/" in handler.path and target.stat().st_size == len(LARGE):
            target.write_bytes(b"other, " * 200_000)
        return False

    registry.faults = changing
    pod = prepared(configured(registry.host))
    _, records = Sidecar(tmp_path / "t", pod).run(capfdbinary, big=LARGE)
    stored = records["big"]
    assert registry.blobs["results/default"][stored["digest"]] == target.read_bytes()[: stored["bytes"]]


# An image to which values are attached.


def image_of(registry, repository="team/app"):
    return f"{registry.host}/{repository}@{registry.push_image(repository)}"


def with_subject(registry, tmp_path, capfdbinary, image, subject="IMAGE", **values):
    pod = prepared(configured(registry.host), subject=subject)
    written = {"IMAGE": image.encode()} if image is not None else {}
    return Sidecar(tmp_path / "t", pod).run(capfdbinary, a=LARGE, **written, **values)[1]


@pytest.mark.parametrize("referrers", [True, False])
def test_values_are_attached_to_the_image_that_the_task_built(
    make_registry, tmp_path, capfdbinary, referrers
):
    registry = make_registry(referrers=referrers, login="bearer")
    image = image_of(registry)
    pod = prepared(configured(registry.host), subject="IMAGE")
    sidecar = Sidecar(tmp_path / "t", pod, login=registry.config_json)
    _, records = sidecar.run(capfdbinary, a=LARGE, b=LARGE, IMAGE=image.encode())
    assert "location" in records["a"], records
    digest = image.partition("@")[2]
    attached = [json.loads(body) for _, body in registry.manifests["team/app"].values()]
    attached = [manifest for manifest in attached if "subject" in manifest]
    assert [manifest["annotations"]["dev.resultsfw.result"] for manifest in attached] == ["a", "b"]
    assert {manifest["subject"]["digest"] for manifest in attached} == {digest}
    assert registry.blobs["team/app"][digest_of(LARGE)] == LARGE  # mounted: uploaded once
    assert (
        len([path for path in registry.asked("PUT", "/uploads/") if digest_of(LARGE).split(":")[1] in path])
        == 1
    )
    listed = registry.tags["team/app"].get(digest.replace(":", "-"))
    assert (listed is None) is referrers
    if listed:
        assert len(json.loads(registry.manifests["team/app"][listed][1])["manifests"]) == 2


def test_an_image_can_be_named_by_two_results(registry, tmp_path, capfdbinary):
    url, _, digest = image_of(registry).partition("@")
    run = RUN
    pod = prepared(configured(registry.host), run=run, subject="IMAGE,a")
    values = {"IMAGE": url.encode() + b"\n", "a": digest.encode(), "b": LARGE}
    records = Sidecar(tmp_path / "t", pod).run(capfdbinary, **values)[1]
    assert "location" in records["b"]
    assert len(registry.manifests["team/app"]) == 3  # the image, the artifact, and the list


def test_a_task_without_an_image_attaches_nothing(registry, tmp_path, capfdbinary):
    records = with_subject(registry, tmp_path, capfdbinary, None)
    assert "location" in records["a"]
    assert list(registry.manifests) == ["results/default"]


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("{host}/team/app:latest", "the value of IMAGE is no"),
        ("other.io/team/app@{digest}", "the value of IMAGE is no"),
        ("{host}/team/none@{digest}", "404 Not Found"),
        ("x" * 5000, "the value of IMAGE is no"),
    ],
)
def test_a_value_that_cannot_be_attached_fails_the_run_by_name(registry, tmp_path, capfdbinary, image, why):
    text = image.format(host=registry.host, digest=f"sha256:{'0' * 64}")
    record = with_subject(registry, tmp_path, capfdbinary, text)["a"]
    assert record["reason"] == "Undelivered"
    assert why in record["message"]


def test_refused_are_what_is_too_large_no_text_or_no_file(registry, tmp_path, capfdbinary):
    pod = prepared(configured(registry.host, **{"inline-bytes": 5, "max-object-size": 100}))
    sidecar = Sidecar(tmp_path / "t", pod)
    os.mkfifo(sidecar.results / "pipe")
    _, records = sidecar.run(capfdbinary, large=b"x" * 101, latin=b"x" * 50 + b"\xe9")
    assert {name: record["reason"] for name, record in records.items()} == {
        "large": "TooLarge",
        "latin": "NotUtf8",
        "pipe": "NotRegularFile",
    }
    assert not registry.requests
