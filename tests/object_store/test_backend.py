"""The backend `object-store`: its pods, its log, its references, and who sees what is secret."""

import copy
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import Place
from sidecars import UID

from resultsfw import Limits, Reference, ResultsManager, ResultSpec, Run, Step
from resultsfw.errors import (
    BackendError,
    CorruptError,
    FlagError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.types import ProblemCode
from resultsfw_backends import object_store
from resultsfw_sidecar import wire
from resultsfw_transports.store import ENV_FOLDER, ENV_URL, StoreError
from resultsfw_transports.stored import ENV_INLINE

RUN = Run(
    namespace="default",
    name="run",
    uid="run-uid",
    results=(ResultSpec(name="a"), ResultSpec(name="b", type="array")),
    steps=(Step(name="one", container="step-one", results=(ResultSpec(name="own", type="object"),)),),
)
BARE = {
    "metadata": {"name": "pod", "namespace": "default", "uid": UID},
    "spec": {
        "containers": [{"name": "step-one", "image": "i", "args": ["-step_metadata_dir", "d", "--"]}],
        "initContainers": [{"name": "prepare", "image": "i"}],
        "volumes": [],
    },
}
S3 = {"url": "s3://bucket/results", "options": {"endpoint": "http://h:1", "region": "x"}, "secret": "store"}


def configured(**more):
    return object_store.Config.model_validate({**S3, **more})


def prepared(config=None, pod=BARE, run=RUN):
    pod = copy.deepcopy(pod)
    object_store.prepare_pod(
        run, pod, Limits(result_bytes=2**40, run_bytes=2**63 - 1), config or configured()
    )
    return pod


def sidecar_of(pod):
    return next(
        container for container in pod["spec"]["initContainers"] if container["name"] == RESULTS_SIDECAR
    )


# The pod, and what is secret.


def test_the_sidecar_alone_has_the_secret():
    pod = prepared()
    others = [*pod["spec"]["containers"], pod["spec"]["initContainers"][0]]
    assert sidecar_of(pod)["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert [
        container
        for container in others
        if "envFrom" in container or "env" in container or "volumeMounts" in container
    ] == []
    assert pod["spec"]["volumes"] == []  # nor is there a mount they could share
    assert "envFrom" not in sidecar_of(prepared(configured(secret="")))


def test_the_sidecar_gets_what_it_needs():
    env = {variable["name"]: variable.get("value") for variable in sidecar_of(prepared())["env"]}
    assert env[ENV_URL] == "s3://bucket/results"
    assert env[ENV_FOLDER] == "default/run-uid"
    assert json.loads(env["RESULTSFW_STORE_OPTIONS"]) == S3["options"]
    assert json.loads(env["RESULTSFW_STORE_JSON"]) == ["b", "step-one.own"]
    assert env[wire.ENV_MAX_RESULT_SIZE] == str(2**30)


@pytest.mark.parametrize(("has", "gets"), [(None, 300), (30, 300), (3600, 3600)])
def test_kubernetes_gives_it_time_to_upload(has, gets):
    pod = copy.deepcopy(BARE)
    if has:
        pod["spec"]["terminationGracePeriodSeconds"] = has
    assert prepared(pod=pod)["spec"]["terminationGracePeriodSeconds"] == gets


EXPOSED = {
    "shareProcessNamespace": {"shareProcessNamespace": True},
    "hostPID": {"hostPID": True},
    'container "step-one"': {
        "containers": [{"name": "step-one", "envFrom": [{"secretRef": {"name": "store"}}]}]
    },
    'container "prepare"': {
        "initContainers": [
            {
                "name": "prepare",
                "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "store", "key": "k"}}}],
            }
        ]
    },
    'volume "v"': {"volumes": [{"name": "v", "secret": {"secretName": "store"}}]},
    'volume "w"': {"volumes": [{"name": "w", "projected": {"sources": [{"secret": {"name": "store"}}]}}]},
}


@pytest.mark.parametrize("what", EXPOSED)
def test_a_pod_that_shows_the_secret_to_others_is_refused(what):
    pod = {**BARE, "spec": {**BARE["spec"], **EXPOSED[what]}}
    with pytest.raises(BackendError) as caught:
        prepared(pod=pod)
    assert what in caught.value.message
    assert '"store"' in caught.value.message
    assert prepared(configured(secret=""), pod=pod)


@pytest.mark.parametrize("run", [{"uid": ""}, {"namespace": ""}, {"uid": ".."}, {"uid": "a/b"}])
def test_a_run_without_a_name_of_its_own_is_refused(run):
    named = Run(**{"namespace": "default", "name": "run", "uid": "u", "results": RUN.results, **run})
    with pytest.raises(BackendError, match="needs a namespace and a uid"):
        prepared(run=named)
    with pytest.raises(BackendError, match="needs a namespace and a uid"):
        object_store.purge(named, configured())  # else it would remove everybody's


REFUSED = {
    "say where results go": {"url": ""},
    "must begin with one of s3://": {"url": "ftp://planted"},
    "must hold no user": {"url": "s3://planted:planted@bucket/x"},
    "must hold no user, query": {"url": "az://container/x?sig=planted"},
    "names no bucket": {"url": "s3:///planted"},
    "an empty part": {"url": "s3://bucket//planted/x"},
    "file:///ABSOLUTE/PATH": {"url": "file://planted/x"},
    "aws_secret_access_key: it is secret": {"options": {"aws_secret_access_key": "planted"}},
    "session_token: it is secret": {"options": {"session_token": "planted"}},
    "ACCOUNT_KEY: it is secret": {"options": {"ACCOUNT_KEY": "planted"}},
    "sas_key: it is secret": {"options": {"sas_key": "planted"}},
    "service_account_key: it is secret": {"options": {"service_account_key": "planted"}},
    "holds a user or a query": {"options": {"endpoint": "https://planted:planted@h"}},
    "must begin with http": {"options": {"endpoint": "planted"}},
    "no option of a store": {"options": {"allow_http": True}},
    "unknown option bogus": {"options": {"bogus": "planted"}},
    "as boolean": {"options": {"skip_signature": "planted"}},
    "a folder takes no options": {"url": "file:///tmp/x", "options": {"region": "planted"}},
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_used_is_refused_before_any_pod_and_not_repeated(why):
    config = {**S3, **REFUSED[why]}
    with pytest.raises(FlagError) as caught:
        ResultsManager.from_flags({"results-from": "object-store", "config.object-store": json.dumps(config)})
    assert why in caught.value.message
    assert "planted" not in caught.value.message


def test_options_that_are_no_secrets_are_taken():
    options = {"sse_kms_key_id": "k", "aws_web_identity_token_file": "/var/token", "skip_signature": True}
    assert configured(options={**S3["options"], **options}).options["skip_signature"] is True


# The log.


class Logs:
    def __init__(self, log):
        self._log = log

    def read_log(self, *_whose, limit):
        yield self._log[:limit]


def log_of(*lines):
    before = wire.start_line(UID, wire.WATCH_INOTIFY) + b"".join(lines)
    digest = hashlib.sha256(before).hexdigest()
    return before + wire.end_line(UID, before.count(b"\n"), digest, wire.WHY_STEPS_DONE)


def reference_line(name, of="task", *, digest="a" * 64, size=7, folder="default/run-uid", **more):
    location = f"s3://bucket/results/{folder}/{digest}"
    record = {"location": location, "size": size, "digest": f"sha256:{digest}", "media_type": "text/plain"}
    return wire.reference_line(name, of, **{**record, **more})


ABSENT = (wire.absent_line("b", "task"), wire.absent_line("step-one.own", "step"))


def extracted(*lines, log=None):
    pod = prepared()
    ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    statuses = [{"name": RESULTS_SIDECAR, "state": ended}]
    pod["status"] = {"phase": "Succeeded", "initContainerStatuses": statuses, "containerStatuses": []}
    cluster = Logs(log_of(*lines, *ABSENT) if log is None else log)
    return object_store.extract(RUN, pod, cluster, wire.WIRE, "object-store")


def test_small_values_and_references_are_found():
    extraction = extracted(wire.value_line("a", "small", "task"))
    assert [(result.name, result.value) for result in extraction.results] == [("a", "small")]
    extraction = extracted(reference_line("a"))
    [found] = extraction.results
    assert found.value == Reference(
        backend="object-store",
        location=f"s3://bucket/results/default/run-uid/{'a' * 64}",
        size=7,
        digest=f"sha256:{'a' * 64}",
        media_type="text/plain",
    )
    assert extraction.problems == ()


FORGED = {
    "of another run": {"folder": "default/other-uid"},
    "of another namespace": {"folder": "other/run-uid"},
    "in another store": {"location": "https://evil.example/x"},
    "of another digest": {"location": f"s3://bucket/results/default/run-uid/{'b' * 64}"},
    "no digest": {"digest": "nonsense"},
    "a negative size": {"size": -1},
    "too large for any store": {"size": 2**60},
}


@pytest.mark.parametrize("what", FORGED)
def test_a_reference_that_this_sidecar_cannot_have_made_is_refused(what):
    extraction = extracted(reference_line("a", **FORGED[what]))
    assert extraction.results == ()
    assert [problem.code for problem in extraction.problems][:1] == [ProblemCode.TRANSPORT_CORRUPT]


@given(st.data())
def test_a_log_that_is_damaged_is_noticed(data):
    whole = log_of(reference_line("a"), *ABSENT)
    end = whole.rindex(b"\n", 0, -1)  # behind it stands what lies outside its own digest: why it ended
    at = data.draw(st.integers(0, end))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    damaged = whole[:at] + bytes([other]) + whole[at + 1 :]
    extraction = extracted(log=damaged)
    assert extraction.problems
    for result in extraction.results:
        assert result.value == extracted(log=whole).results[0].value
    assert extracted(log=whole[:at]).problems


def test_a_value_over_the_limit_says_which_one_that_is():
    line = wire.refused_line("a", "task", wire.TOO_LARGE, "m", size=2**31, limit=2**30)
    [problem] = extracted(line).problems
    assert (problem.size, problem.limit, problem.result) == (2**31, 2**30, "a")
    assert problem.hint.startswith("max-object-size of config.object-store")


def test_what_could_not_be_stored_is_no_fault_of_the_user():
    line = wire.refused_line("a", "task", wire.UNDELIVERED, "its 7 bytes could not be stored: 503")
    [problem] = extracted(line).problems
    assert problem.code is ProblemCode.TRANSPORT_UNREADABLE
    assert 'result "a"' in problem.message
    assert "could not be stored: 503" in problem.message


@pytest.mark.parametrize("inline", [0, 65_536])
def test_the_log_may_have_what_the_pod_says(inline):
    """Whatever the flags say by now."""
    pod = prepared(configured(inline_bytes=inline))
    pod["status"] = {
        "phase": "Succeeded",
        "initContainerStatuses": [{"name": RESULTS_SIDECAR, "state": {"terminated": {"exitCode": 0}}}],
    }
    assert {ENV_INLINE: str(inline)}.items() <= {
        variable["name"]: variable.get("value") for variable in sidecar_of(pod)["env"]
    }.items()
    value = "\x01" * (inline or 1)
    lines = [
        wire.value_line(name, value, of)
        for name, of in (("a", "task"), ("b", "task"), ("step-one.own", "step"))
    ]
    extraction = object_store.extract(RUN, pod, Logs(log_of(*lines)), wire.WIRE, "object-store")
    assert (len(extraction.results), extraction.problems) == (3, ())


# References.


def stored(place, data, uid="run-uid"):
    digest = hashlib.sha256(data).hexdigest()
    path = f"default/{uid}/{digest}"
    place.store().put(path, data)
    location = f"{place.url}/{path}"
    return Reference(
        backend="object-store", location=location, size=len(data), digest=f"sha256:{digest}"
    ), path


def dereferenced(place, reference, **flags):
    return b"".join(ResultsManager.from_flags({**place.flags, **flags}).dereference(reference, cluster=None))


@given(st.one_of(st.binary(min_size=1, max_size=200), st.text(min_size=1, max_size=200).map(str.encode)))
def test_any_content_comes_back(tmp_path_factory, data):
    folder = Place(f"file://{tmp_path_factory.getbasetemp()}/any", {}, {})
    reference, _ = stored(folder, data)
    assert b"".join(object_store.dereference(reference, folder.configured())) == data


def purged(place, _reference):
    object_store.purge(RUN, place.configured())


def test_large_content_comes_back_in_pieces(place):
    data = bytes(range(256)) * 40_000
    pieces = list(ResultsManager.from_flags(place.flags).dereference(stored(place, data)[0], cluster=None))
    assert b"".join(pieces) == data
    assert len(pieces) == 3


def test_an_object_that_is_not_what_was_stored_is_noticed(place):
    reference, path = stored(place, b"content")
    for other, error in (
        (b"contenT", "digest"),
        (b"content and more", "more than"),
        (b"cont", "4 of"),
        (b"", "0 of"),
    ):
        place.store().put(path, other)
        with pytest.raises(CorruptError, match=error):
            dereferenced(place, reference)
    place.store().remove("default/run-uid")
    with pytest.raises(NotFoundError, match="is gone"):
        dereferenced(place, reference)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "s3://other/results/default/run-uid/{digest}",
        "s3://bucket/results-2/default/run-uid/{digest}",
        "s3://bucket/results/default/run-uid/../../../{digest}",
        "s3://bucket/results/default/../{digest}",
        "s3://bucket/results/default/run-uid/x/{digest}",
        "s3://bucket/results/default/run-uid/{digest}?versionId=1",
        "s3://bucket/results/{digest}",
        "s3://bucket/results/default/run-uid/other",
        "http://169.254.169.254/{digest}",
    ],
)
def test_a_reference_that_leads_elsewhere_is_not_followed(location, monkeypatch):
    monkeypatch.setattr(object_store, "store_of", lambda _: pytest.fail("the store was asked"))
    digest = "a" * 64
    reference = Reference(
        backend="object-store", location=location.format(digest=digest), size=1, digest=f"sha256:{digest}"
    )
    with pytest.raises(CorruptError, match="which is no result below s3://bucket/results"):
        object_store.dereference(reference, object_store.Config.model_construct(url=S3["url"]))


@pytest.mark.parametrize(
    ("kind", "error"),
    [("missing", NotFoundError), ("forbidden", ForbiddenError), ("unavailable", UnavailableError)],
)
def test_what_goes_wrong_is_said_with_the_place(kind, error, folder, monkeypatch):
    reference, _ = stored(folder, b"content")
    store = object_store.store_of(folder.configured())

    def fail(*_args):
        raise StoreError("503 Slow Down", kind)

    for method in ("size", "pieces", "remove"):
        with monkeypatch.context() as patch:
            patch.setattr(type(store), method, fail)
            ask = purged if method == "remove" else dereferenced
            wanted = UnavailableError if (method, kind) == ("remove", "missing") else error
            with pytest.raises(wanted, match="503 Slow Down") as caught:
                ask(folder, reference)
            assert folder.url in caught.value.message


def test_purge_removes_the_run_and_no_other(place):
    mine, path = stored(place, b"mine")
    other, other_path = stored(place, b"other", uid="run-uid-2")
    core = ResultsManager.from_flags(place.flags)
    core.purge(RUN, {}, cluster=None, backend="object-store")
    assert dereferenced(place, mine) == b"mine"  # the run is still there
    for _ in range(2):
        core.purge(RUN, {}, cluster=None, backend="object-store", deleted=True)
        assert place.store().size(path) is None
    assert dereferenced(place, other) == b"other"
    assert place.store().size(other_path) == 5
