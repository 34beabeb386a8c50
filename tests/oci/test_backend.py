"""The controller's part: the pod, the log, references, and what is deleted."""

import copy
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocipods import BARE, RUN, Accounts, Sidecar, configured, extracted, prepared, sidecar_of, variables_of
from registryserver import MANIFEST, PASSWORD, StoredValues, digest_of

from resultsfw import Reference, ResultsManager, Run
from resultsfw.errors import (
    BackendError,
    CorruptError,
    FlagError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from resultsfw_backends import oci
from resultsfw_backends._oci_config import registry_of
from resultsfw_sidecar import wire
from resultsfw_transports.logins import ENV_AUTHS

LARGE = b"0123456789" * 1000
HOST = "registry.example"
PUSH = {"secret": "push"}


@pytest.fixture(autouse=True)
def _no_logins_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))


# The pod, and who gets logins.


def secrets_of(pod, container):
    found = [
        entry["valueFrom"]["secretKeyRef"]
        for entry in container.get("env", ())
        if "secretKeyRef" in entry.get("valueFrom", {})
    ]
    return [(entry["name"], entry["key"], entry.get("optional", False)) for entry in found]


def test_the_sidecar_alone_has_the_named_secret():
    pod = prepared(configured(HOST, **PUSH))
    assert secrets_of(pod, sidecar_of(pod)) == [("push", ".dockerconfigjson", False)]
    assert not any(
        "env" in container for container in [*pod["spec"]["containers"], pod["spec"]["initContainers"][0]]
    )
    assert pod["spec"]["volumes"] == []  # nor is there a mount they could share


def test_without_one_it_has_the_pull_secrets_of_pod_and_account():
    pod = copy.deepcopy(BARE)
    pod["spec"]["imagePullSecrets"] = [{"name": "own"}, {"name": "both"}]
    found = secrets_of(
        pod, sidecar_of(prepared(configured(HOST), pod=pod, cluster=Accounts("both", "account")))
    )
    assert [name for name, key, optional in found if key == ".dockerconfigjson" and optional] == [
        "own",
        "both",
        "account",
    ]
    assert [name for name, key, optional in found if key == ".dockercfg" and optional] == [
        "own",
        "both",
        "account",
    ]
    assert secrets_of(pod, sidecar_of(prepared(configured(HOST)))) == []


def test_an_account_that_cannot_be_read_is_reported_with_what_to_do():
    denied = Accounts(error=ForbiddenError("no right"))
    with pytest.raises(BackendError, match="name a Secret with registry logins"):
        prepared(configured(HOST), cluster=denied)
    assert prepared(configured(HOST, **PUSH), cluster=denied)
    with pytest.raises(BackendError, match="21 pull secrets, and at most 20"):
        prepared(configured(HOST), cluster=Accounts(*map(str, range(21))))


@pytest.mark.parametrize("field", ["shareProcessNamespace", "hostPID"])
def test_a_pod_whose_steps_could_read_the_logins_is_refused(field):
    pod = {**BARE, "spec": {**BARE["spec"], field: True}}
    for config, cluster in ((configured(HOST, **PUSH), None), (configured(HOST), Accounts("pull"))):
        with pytest.raises(BackendError, match=f"{field}: true"):
            prepared(config, pod=pod, cluster=cluster)
    assert prepared(configured(HOST), pod=pod)  # there is nothing to read


def test_a_step_that_takes_the_named_secret_is_refused():
    pod = {**BARE, "spec": {**BARE["spec"], "volumes": [{"name": "v", "secret": {"secretName": "push"}}]}}
    with pytest.raises(BackendError, match='volume "v" takes from the Secret "push"'):
        prepared(configured(HOST, **PUSH), pod=pod)


def test_repositories_and_tags_say_whose_a_value_is():
    found = variables_of(prepared(configured(HOST)))
    assert found["RESULTSFW_OCI_REPOSITORY"] == "results/default"
    assert found["RESULTSFW_OCI_TAG"] == "run-uid-0-"
    own = variables_of(prepared(configured(HOST), repository_per="run"))
    assert own["RESULTSFW_OCI_REPOSITORY"] == "results/default/run-uid"
    option = configured(HOST, **{"repository-per": "run"})
    assert (
        variables_of(prepared(option, repository_per="namespace"))["RESULTSFW_OCI_REPOSITORY"]
        == "results/default"
    )
    assert found[wire.ENV_MAX_RESULT_SIZE] == str(2**30)


@pytest.mark.parametrize(
    ("annotations", "run", "why"),
    [
        ({"repository_per": "cluster"}, {}, 'must be "namespace" or "run"'),
        ({"subject": "none"}, {}, '"none" must be one or two string results'),
        ({"subject": "b"}, {}, "must be one or two"),
        ({"subject": "a,IMAGE,a2"}, {}, "must be one or two"),
        ({}, {"namespace": "UPPER"}, "cannot have a repository"),
        ({"repository_per": "run"}, {"uid": "A"}, "cannot have a repository"),
        ({}, {"uid": "a" * 101}, "cannot have tags"),
        ({}, {"uid": ""}, "needs a namespace and a uid"),
    ],
)
def test_what_cannot_have_an_artifact_is_refused_before_any_pod(annotations, run, why):
    fields = {"namespace": "default", "name": "run", "uid": "u", "results": RUN.results, **run}
    with pytest.raises(BackendError, match=why):
        prepared(configured(HOST), run=Run(**fields), **annotations)


def test_the_option_for_a_subject_is_for_tasks_that_have_such_results():
    assert variables_of(prepared(configured(HOST, subject="IMAGE")))["RESULTSFW_OCI_SUBJECT"] == "IMAGE"
    assert variables_of(prepared(configured(HOST, subject="OTHER,IMAGE")))["RESULTSFW_OCI_SUBJECT"] == ""
    assert (
        variables_of(prepared(configured(HOST, subject="IMAGE"), subject=""))["RESULTSFW_OCI_SUBJECT"] == ""
    )


def test_the_annotation_of_a_pipelinerun_is_for_those_of_its_tasks_that_build_an_image():
    labels = {"tekton.dev/pipelineTask": "test"}
    pod = {**BARE, "metadata": {**BARE["metadata"], "labels": labels}}
    found = variables_of(prepared(configured(HOST), pod=pod, subject="OTHER"))
    assert found["RESULTSFW_OCI_SUBJECT"] == ""
    with pytest.raises(BackendError, match='"IMAGE,OTHER" must be one or two'):
        prepared(configured(HOST), pod=pod, subject="IMAGE,OTHER")


REFUSED = {
    "say where results go": {"repository": ""},
    "must be REGISTRY/PATH": {"repository": "planted"},
    "must be REGISTRY/PATH, without": {"repository": "https://planted/x"},
    "without tag": {"repository": "r.io/planted:tag"},
    "in lower case": {"repository": "r.io/Planted"},
    "must be certificates in PEM": {"ca": "planted"},
    "subject": {"subject": "a,b,planted"},
}


@pytest.mark.parametrize("why", REFUSED)
def test_options_that_cannot_be_used_are_refused_before_any_pod(why):
    config = {"repository": "r.io/x", **REFUSED[why]}
    with pytest.raises(FlagError) as caught:
        ResultsManager.from_flags({"results-from": "oci", "config.oci": json.dumps(config)})
    assert why in caught.value.message


# References.


@pytest.fixture
def pushed(registry, tmp_path, capfdbinary):
    """A prepared pod, the log of its sidecar, and the reference to its value `a`."""

    def push(value=LARGE, **annotations):
        pod = prepared(configured(registry.host), **annotations)
        root = tmp_path / f"t{len(registry.requests)}"
        log, _ = Sidecar(root, pod).run(capfdbinary, a=value, b=b"[]", IMAGE=b"i")
        [found] = [result for result in extracted(pod, log).results if result.name == "a"]
        return pod, log, found.value

    return push


def dereferenced(registry, reference):
    return b"".join(oci.dereference(reference, configured(registry.host)))


def core_of(registry):
    config = {"repository": f"{registry.host}/results", "plain-http": True}
    return ResultsManager.from_flags({"results-from": "oci", "config.oci": json.dumps(config)})


@pytest.mark.parametrize("per", ["namespace", "run"])
def test_a_value_comes_back_from_either_repository(registry, pushed, per):
    _, _, reference = pushed(repository_per=per)
    assert (reference.backend, reference.size, reference.digest) == ("oci", len(LARGE), digest_of(LARGE))
    assert dereferenced(registry, reference) == LARGE


def test_a_location_that_this_sidecar_cannot_have_printed_is_refused(pushed):
    pod, _, reference = pushed()
    for location in (
        reference.location.replace("run-uid", "other-uid"),
        reference.location.replace("/default/", "/other/"),
        reference.location.replace("oci://", "oci://evil.example/"),
        reference.location[:-1],
        f"{reference.location}/x",
    ):
        line = wire.reference_line(
            "a", "task", location=location, size=7, digest=reference.digest, media_type="text/plain"
        )
        log = wire.start_line(pod["metadata"]["uid"], wire.WATCH_INOTIFY) + line
        assert not extracted(pod, log).results


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("another registry", "oci://evil.example/results/default/run-uid/{name}"),
        ("another path", "oci://{host}/results-2/default/run-uid/{name}"),
        ("no manifest", "oci://{host}/results/default/run-uid/latest"),
        ("a path out of it", "oci://{host}/results/../run-uid/{name}"),
        ("a query", "oci://{host}/results/default/run-uid/{name}?x"),
        ("nothing", ""),
    ],
)
def test_a_reference_that_leads_elsewhere_is_not_followed(registry, pushed, name, location):
    _, _, reference = pushed()
    registry.requests.clear()
    text = location.format(host=registry.host, name=reference.location.rpartition("/")[2])
    other = Reference(backend="oci", location=text, size=reference.size, digest=reference.digest)
    with pytest.raises(CorruptError):
        dereferenced(registry, other)
    assert not registry.requests


_PARTS = [
    "oci:",
    "",
    HOST,
    "results",
    "default",
    "run-uid",
    "..",
    "latest",
    f"sha256:{'a' * 64}",
    "own+sha256:",
]


@given(st.lists(st.sampled_from(_PARTS) | st.text(max_size=8), max_size=8), st.booleans())
def test_whatever_the_location_it_leads_below_the_repository_or_nowhere(parts, own):
    config = configured(HOST)
    head = f"{config.root}/" if own else ""
    location = head + "/".join(parts)
    reference = Reference(backend="oci", location=location, size=7, digest=digest_of(LARGE))
    try:
        value = oci._located(reference, config)
    except CorruptError:
        return
    below, *inner = value["repository"].split("/")
    assert below == "results"
    assert inner
    assert not {"", ".", ".."} & set(inner)
    assert oci._NAMES.fullmatch(value["manifest"])


def test_another_namespace_gets_nothing(registry, pushed):
    _, _, reference = pushed()
    with pytest.raises(CorruptError, match='runs of "other" get only'):
        core_of(registry).dereference(reference, cluster=None, namespace="other")


def test_a_manifest_of_another_run_or_value_is_not_what_was_stored(registry, pushed):
    _, _, reference = pushed()
    changed = {
        "of another run": {"location": reference.location.replace("run-uid", "other")},
        "of another value": {"digest": f"sha256:{'0' * 64}"},
    }
    for why, fields in changed.items():
        known = {name: getattr(reference, name) for name in ("backend", "location", "size", "digest")}
        with pytest.raises(CorruptError, match=why):
            dereferenced(registry, Reference(**{**known, **fields}))
    registry.faults = lambda handler: "/manifests/" in handler.path and (handler.reply(200, b"[]") or True)
    with pytest.raises(UnavailableError, match="another digest"):
        dereferenced(registry, reference)


def test_damage_is_noticed_by_who_reads(registry, pushed):
    _, _, reference = pushed()
    core = core_of(registry)
    blobs = registry.blobs["results/default"]
    for damaged in (LARGE[:-1], LARGE + b"x", b"", b"x" + LARGE[1:]):
        blobs[reference.digest] = damaged
        with pytest.raises(CorruptError):
            b"".join(core.dereference(reference, cluster=None))
    del blobs[reference.digest]
    with pytest.raises(NotFoundError, match="is gone"):
        b"".join(core.dereference(reference, cluster=None))


def test_the_controller_has_a_login_of_its_own(make_registry, tmp_path, capfdbinary, monkeypatch):
    registry = make_registry(login="bearer")
    pod = prepared(configured(registry.host))
    log, _ = Sidecar(tmp_path / "t", pod, login=registry.config_json).run(capfdbinary, a=LARGE)
    reference = next(result.value for result in extracted(pod, log).results if result.name == "a")
    with pytest.raises(ForbiddenError, match="needs a login of its own"):
        dereferenced(registry, reference)
    monkeypatch.setenv(f"{ENV_AUTHS}_0", registry.config_json)
    assert dereferenced(registry, reference) == LARGE
    monkeypatch.delenv(f"{ENV_AUTHS}_0")
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "config.json").write_text(registry.config_json)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    registry_of.__globals__["_registry"].cache_clear()
    assert dereferenced(registry, reference) == LARGE
    oci.purge(RUN, configured(registry.host))
    assert not registry.manifests["results/default"]


def test_files_are_fetched_by_a_container_that_has_the_logins():
    name = f"sha256:{'a' * 64}"
    reference = Reference(
        backend="oci",
        location=f"oci://{HOST}/results/default/u/own+{name}",
        size=7,
        digest=f"sha256:{'b' * 64}",
    )
    pod = copy.deepcopy(BARE)
    config = configured(HOST, **PUSH)
    mount = {"name": "v", "mountPath": "/files"}
    oci.place_files(RUN, pod, {"/files/a": reference}, mount, None, config)
    container = pod["spec"]["initContainers"][-1]
    assert secrets_of(pod, container) == [("push", ".dockerconfigjson", False)]
    [wanted] = json.loads(
        next(entry["value"] for entry in container["env"] if entry["name"] == "RESULTSFW_OCI_FETCH")
    )
    assert (wanted["repository"], wanted["manifest"]) == ("results/default/u", name)
    assert wanted["owner"] == {"dev.resultsfw.namespace": "default", "dev.resultsfw.uid": "u"}
    assert prepared(config, pod=pod)  # its own container does not expose the Secret
    pod = copy.deepcopy(BARE)
    oci.place_files(RUN, pod, {"/files/a": reference}, mount, Accounts("pull"), configured(HOST))
    found = secrets_of(pod, pod["spec"]["initContainers"][-1])
    assert found == [("pull", ".dockerconfigjson", True), ("pull", ".dockercfg", True)]


# Purging.


def test_purge_deletes_an_attempt_in_both_repositories_and_nothing_else(registry, pushed):
    for per in ("namespace", "run"):
        pushed(repository_per=per)
    other = Run(namespace="default", name="r", uid="other", results=RUN.results)
    kept = dict(registry.tags["results/default"])
    registry.tags["results/default"]["run-uid-00"] = kept["run-uid-0-0"]
    oci.purge(other, configured(registry.host))
    assert len(StoredValues(registry)) == 3
    for _ in range(2):
        oci.purge(RUN, configured(registry.host))
        assert not registry.manifests["results/default"]
        assert not registry.manifests["results/default/run-uid"]


def test_an_artifact_of_another_run_under_such_a_tag_stays(registry, pushed):
    pushed()
    [digest] = set(registry.tags["results/default"].values())
    registry.tags["results/default"]["other-0-0"] = digest
    other = Run(namespace="default", name="r", uid="other", results=RUN.results)
    oci.purge(other, configured(registry.host))
    assert list(registry.manifests["results/default"]) == [digest]
    nonsense = [b"[]", b"{}", b'{"annotations": []}', b"\xff", b'{"annotations": {"dev.resultsfw.uid": 1}}']
    for number, body in enumerate(nonsense, 1):
        registry.manifests["results/default"][digest_of(body)] = MANIFEST, body
        registry.tags["results/default"][f"other-0-{number}"] = digest_of(body)
    oci.purge(other, configured(registry.host))
    assert len(registry.manifests["results/default"]) == 1 + len(nonsense)


def test_a_purge_that_is_cut_short_is_completed_by_the_next(registry, tmp_path, capfdbinary):
    pod = prepared(configured(registry.host))
    values = {name: name.encode() * 5000 for name in ("a", "b", "IMAGE")}
    Sidecar(tmp_path / "t", pod).run(capfdbinary, **values)
    deletes = [True, True]

    def cut(handler):
        if handler.command == "DELETE" and not (deletes and deletes.pop()):
            handler.reply(403, "DENIED")
            return True
        return False

    registry.faults = cut
    with pytest.raises(ForbiddenError, match="could not be removed"):
        oci.purge(RUN, configured(registry.host))
    assert list(registry.tags["results/default"]) == ["run-uid-0-0"]
    registry.faults = lambda _: False
    oci.purge(RUN, configured(registry.host))
    assert not registry.manifests["results/default"]


def test_what_a_registry_never_deletes_is_named_and_kept(registry, pushed, caplog):
    _, _, reference = pushed()
    registry.deletes = False
    with caplog.at_level(logging.WARNING):
        oci.purge(RUN, configured(registry.host))
    [record] = caplog.records
    assert f"1 of its results stay in {registry.host}/results/default" in record.getMessage()
    assert "tags run-uid-0-0 to run-uid-0-0" in record.getMessage()
    assert dereferenced(registry, reference) == LARGE


def test_a_registry_that_cannot_be_asked_keeps_the_run(registry, monkeypatch):
    registry.faults = lambda handler: handler.reply(503) or True
    monkeypatch.setattr("resultsfw_backends._oci_config._PATIENCE", 0.0)
    registry_of.__globals__["_registry"].cache_clear()
    with pytest.raises(UnavailableError, match="503 Service Unavailable"):
        oci.purge(RUN, configured(registry.host))
    # Of the repository that no option names, "forbidden" may mean that there is none.
    registry.faults = lambda handler: "run-uid/" in handler.path and (handler.reply(403, "DENIED") or True)
    oci.purge(RUN, configured(registry.host))
    with pytest.raises(ForbiddenError):
        oci.purge(RUN, configured(registry.host, **{"repository-per": "run"}))


def test_no_message_has_a_login_or_words_of_the_registry(make_registry, monkeypatch):
    registry = make_registry(login="basic")
    monkeypatch.setenv(f"{ENV_AUTHS}_0", registry.config_json.replace(PASSWORD, "planted-wrong"))
    registry_of.__globals__["_registry"].cache_clear()
    with pytest.raises(ForbiddenError) as caught:
        oci.purge(RUN, configured(registry.host))
    assert "planted" not in caught.value.message
