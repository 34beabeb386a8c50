"""The option `encryption` of backends by reference: the pods, the Secret, and who gets which key."""

import base64
import copy
import json
from dataclasses import replace
from hashlib import sha256

import pytest
from operatorkeys import add_key

from resultsfw import Limits, Reference, ResultsManager, ResultSpec, Run, Step
from resultsfw.errors import (
    AlreadyExistsError,
    BackendError,
    CorruptError,
    FaultyBackendError,
    FlagError,
    ForbiddenError,
)
from resultsfw.images import SIDECAR_OBJECT_STORE
from resultsfw.pods import RESULTS_SIDECAR, containers
from resultsfw.references import format_reference, read_reference
from resultsfw_backends import object_store
from resultsfw_backends._encryption import SECRETS
from resultsfw_sidecar import wire
from resultsfw_transports.encryption import Encryptor, encrypted, public_key_of
from resultsfw_transports.placing import ENV_KEYS, PlacingError, keys_in, place
from resultsfw_transports.store import Store
from resultsfw_transports.stored import ENV_INLINE, ENV_SEALING

RUN = Run(
    namespace="default",
    name="run",
    uid="run-uid",
    results=(ResultSpec(name="a"),),
    steps=(Step(name="one", container="step-one"),),
)
OWNER = {
    "apiVersion": "tekton.dev/v1",
    "kind": "TaskRun",
    "name": "run",
    "uid": "run-uid",
    "controller": True,
}
BARE = {
    "metadata": {"name": "pod", "namespace": "default", "ownerReferences": [OWNER]},
    "spec": {
        "containers": [{"name": "step-one", "image": "i", "args": ["-step_metadata_dir", "d", "--"]}],
        "volumes": [],
    },
}
MOUNT = {"name": "params", "mountPath": "/files"}
VALUE = b"value " * 30_000


class Waits:
    requested = False


class Cluster:
    """Keeps the Secrets that are created."""

    def __init__(self):
        self.secrets = []

    def create(self, kind, body):
        assert kind == SECRETS
        if body["metadata"]["name"] in [secret["metadata"]["name"] for secret in self.secrets]:
            raise AlreadyExistsError("it exists")
        self.secrets.append(body)


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/store"


def configured(url, keys, **more):
    encryption = {"options": {"folder": str(keys)}}
    return object_store.Config.model_validate({"url": url, "encryption": encryption, **more})


def core_of(url, keys, **more):
    config = json.dumps({"url": url, "encryption": {"options": {"folder": str(keys)}}, **more})
    return ResultsManager.from_flags({"results-from": "object-store", "config.object-store": config})


def stored(url, keys, value=VALUE, owner="default/run-uid"):
    """What a sidecar leaves in the store, and its reference."""
    key = configured(url, keys).encryption.provider().sealing_key()
    secret, text = Encryptor(key.id, key.public_key, owner).value()
    data = b"".join(encrypted(secret, [value]))
    digest = sha256(data).hexdigest()
    Store(url, {}, patience=1, make=True).put(f"{owner}/{digest}", data)
    return Reference(
        backend="object-store",
        location=f"{url}/{owner}/{digest}",
        size=len(value),
        digest=f"sha256:{digest}",
        encryption=text,
    )


def read(core, reference, namespace="default"):
    return b"".join(core.dereference(reference, None, namespace=namespace))


# Flags.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inline-bytes": 1}, "inline-bytes must be 0 with encryption"),
        ({"encryption": {"keys": "other"}}, 'no installed distribution has a key provider "other"'),
        ({"encryption": {"options": {"folder": "relative"}}}, "absolute path"),
        ({"encryption": {"key": "x"}}, "encryption.key"),
    ],
)
def test_invalid_options_are_refused_when_they_are_loaded(url, keys, options, message):
    with pytest.raises(FlagError, match=message):
        core_of(url, keys, **options)


def test_nothing_stays_in_the_log_and_the_image_has_the_library(url, keys):
    config = configured(url, keys)
    assert (config.inline_bytes, config.image) == (0, SIDECAR_OBJECT_STORE)
    assert configured(url, keys, image="own", **{"inline-bytes": 0}).image == "own"


# The pod that stores values.


def prepared(url, keys, **spec):
    pod = copy.deepcopy(BARE)
    pod["spec"] |= spec
    limits = Limits(result_bytes=10**9, run_bytes=10**9)
    object_store.prepare_pod(RUN, pod, limits, configured(url, keys))
    return pod


def test_a_pod_that_stores_gets_a_public_key_and_no_other(url, keys):
    pod = prepared(url, keys)
    env = {variable["name"]: variable.get("value") for variable in containers(pod)[RESULTS_SIDECAR]["env"]}
    sealing = json.loads(env[ENV_SEALING])
    assert (env[ENV_INLINE], sealing["owner"]) == ("0", "default/run-uid")
    public_key_of(sealing["key"])
    assert "PRIVATE" not in json.dumps(pod)


def test_a_pod_whose_steps_could_read_the_sidecars_memory_is_refused(url, keys):
    with pytest.raises(BackendError, match="shareProcessNamespace"):
        prepared(url, keys, shareProcessNamespace=True)


def test_without_a_key_no_pod_is_made(url, tmp_path):
    (tmp_path / "keys").mkdir()
    with pytest.raises(ForbiddenError, match=r"has no file NAME.pem"):
        prepared(url, tmp_path / "keys")


def test_a_value_that_was_not_encrypted_is_never_taken_for_one_that_was(url, keys):
    """Guarantee 4: of an image that cannot encrypt, which ignores the variable."""
    pod = prepared(url, keys)
    pod["metadata"]["uid"] = "pod-uid"
    pod["status"] = {"initContainerStatuses": [{"name": RESULTS_SIDECAR, "state": {"terminated": {}}}]}
    plain = {"location": f"{url}/default/run-uid/{'0' * 64}", "size": 3, "media_type": "text/plain"}
    for record in (
        wire.value_line("a", "readable", wire.TYPE_TASK),
        wire.reference_line("a", wire.TYPE_TASK, digest=f"sha256:{'0' * 64}", **plain),
    ):
        lines = wire.start_line("pod-uid", wire.WATCH_INOTIFY) + record
        log = lines + wire.end_line("pod-uid", 2, sha256(lines).hexdigest(), wire.WHY_STEPS_DONE)

        class Log:
            def read_log(self, *_args, limit, log=log):
                yield log[:limit]

        extraction = object_store.extract(RUN, pod, Log(), wire.WIRE, "object-store")
        assert extraction.results == ()
        assert extraction.problems


# Who reads.


def test_a_reader_with_the_key_gets_the_value_and_the_store_has_nothing_of_it(url, keys, tmp_path):
    reference = stored(url, keys)
    assert read_reference(format_reference(reference)) == reference
    assert read(core_of(url, keys), reference) == VALUE
    [content] = [path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert b"value" not in content
    assert sha256(VALUE).hexdigest() not in json.dumps(format_reference(reference))


def test_after_a_rotation_what_the_former_key_sealed_is_read(url, tmp_path):
    (folder := tmp_path / "keys").mkdir()
    add_key(folder, "2026-05")
    reference = stored(url, folder)
    add_key(folder, "2026-11")
    assert read(core_of(url, folder), reference) == VALUE
    (folder / "2026-05.pem").unlink()
    with pytest.raises(ForbiddenError, match=f'{reference.location} cannot be decrypted: .*no key "2026-05"'):
        read(core_of(url, folder), reference)


def test_without_the_option_an_encrypted_value_is_named(url, keys):
    reference = stored(url, keys)
    config = json.dumps({"url": url})
    core = ResultsManager.from_flags({"results-from": "object-store", "config.object-store": config})
    with pytest.raises(
        ForbiddenError, match=r"is encrypted: set the option encryption of config.object-store"
    ):
        read(core, reference)


def test_a_backend_without_the_hook_is_at_fault(url, keys):
    class Plain:
        capabilities = object_store.capabilities
        prepare_pod = staticmethod(object_store.prepare_pod)
        pod_ready = staticmethod(object_store.pod_ready)
        extract = staticmethod(object_store.extract)
        purge = staticmethod(object_store.purge)
        dereference = staticmethod(object_store.dereference)
        Config = object_store.Config

    config = json.dumps({"url": url})
    flags = {"results-from": "plain", "config.plain": config}
    core = ResultsManager.from_flags(flags, register={"plain": Plain})
    with pytest.raises(FaultyBackendError, match="no hook decrypt"):
        read(core, replace(stored(url, keys), backend="plain"))


@pytest.mark.parametrize("change", ["size", "smaller", "text", "sealed", "digest"])
def test_a_reference_that_was_edited_gives_an_error(url, keys, change):
    reference = stored(url, keys)
    edited = {
        "size": {"size": len(VALUE) + 1},
        "smaller": {"size": len(VALUE) - 1},
        "text": {"encryption": "x"},
        "sealed": {"encryption": reference.encryption.replace(".", ".x", 1)},
        "digest": {"digest": f"sha256:{'0' * 64}"},
    }[change]
    with pytest.raises((CorruptError, ForbiddenError)):
        read(core_of(url, keys), replace(reference, **edited))


def test_a_sealed_key_of_another_tenants_status_opens_nothing(url, keys):
    """Guarantee 7: the controller unseals no key for whoever copied it from a status of another namespace."""
    victim = stored(url, keys, owner="victim/uid")
    mine = replace(stored(url, keys, owner="mine/uid"), encryption=victim.encryption)
    core, cluster = core_of(url, keys), Cluster()
    with pytest.raises(CorruptError, match="data key is not one of mine/uid"):
        read(core, mine, namespace="mine")
    pod = copy.deepcopy(BARE)
    with pytest.raises(CorruptError, match="data key is not one of mine/uid"):
        core.place_files(replace(RUN, namespace="mine"), pod, {"/files/a": mine}, MOUNT, cluster=cluster)
    assert not cluster.secrets


# The pod that gets values as files.


def test_only_the_init_container_gets_keys_and_only_of_its_values(url, keys, tmp_path):
    first, second = stored(url, keys), stored(url, keys, value=b"second")
    stored(url, keys, value=b"third")
    cluster, core = Cluster(), core_of(url, keys)
    files = {str(tmp_path / "first"): first, str(tmp_path / "second"): second}
    pod = core.place_files(RUN, BARE, files, MOUNT, cluster=cluster)
    [secret] = cluster.secrets
    metadata = secret["metadata"]
    assert metadata["ownerReferences"] == [{key: OWNER[key] for key in ("apiVersion", "kind", "name", "uid")}]
    assert secret["immutable"]
    source = {"secretKeyRef": {"name": metadata["name"], "key": "keys"}}
    naming = [name for name, one in containers(pod).items() if metadata["name"] in json.dumps(one)]
    assert naming == [object_store.FETCH]
    assert {"name": ENV_KEYS, "valueFrom": source} in containers(pod)[object_store.FETCH]["env"]

    held = keys_in({ENV_KEYS: base64.b64decode(secret["data"]["keys"]).decode()})
    assert set(held) == set(files)
    for file, reference, value in zip(files, (first, second), (VALUE, b"second"), strict=True):
        data = (tmp_path / "store" / reference.location.removeprefix(f"{url}/")).read_bytes()
        wanted = {"file": file, "digest": reference.digest, "encrypted": True}
        place(wanted, [data], Waits(), held)
        with open(file, "rb") as placed:  # noqa: PTH123 - a path as text
            assert placed.read() == value
        for wrong, message in (({}, "no key for it"), (dict.fromkeys(files, b"k" * 32), "another key")):
            with pytest.raises(PlacingError, match=message):
                place(
                    {**wanted, "file": f"{file}-"},
                    [data],
                    Waits(),
                    {f"{file}-": wrong.get(file)} if wrong else {},
                )

    core.place_files(RUN, BARE, files, MOUNT, cluster=cluster)  # again, after a crash
    assert len(cluster.secrets) == 1


@pytest.mark.parametrize("where", ["env", "envFrom", "volume", "processes"])
def test_a_step_that_could_read_the_keys_is_refused(url, keys, where):
    core, cluster, files = core_of(url, keys), Cluster(), {"/files/a": stored(url, keys)}
    core.place_files(RUN, BARE, files, MOUNT, cluster=cluster)
    name = cluster.secrets[0]["metadata"]["name"]
    pod = copy.deepcopy(BARE)
    step = pod["spec"]["containers"][0]
    match where:
        case "env":
            step["env"] = [{"name": "K", "valueFrom": {"secretKeyRef": {"name": name, "key": "keys"}}}]
        case "envFrom":
            step["envFrom"] = [{"secretRef": {"name": name}}]
        case "volume":
            pod["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": name}}]
        case _:
            pod["spec"]["shareProcessNamespace"] = True
    with pytest.raises(BackendError, match=name if where != "processes" else "shareProcessNamespace"):
        core.place_files(RUN, pod, files, MOUNT, cluster=Cluster())


def test_keys_that_nobody_would_delete_are_not_written(url, keys):
    files, pod = {"/files/a": stored(url, keys)}, copy.deepcopy(BARE)
    with pytest.raises(BackendError, match="give place_files the cluster"):
        core_of(url, keys).place_files(RUN, pod, files, MOUNT)
    del pod["metadata"]["ownerReferences"]
    with pytest.raises(BackendError, match="and the pod an owner"):
        core_of(url, keys).place_files(RUN, pod, files, MOUNT, cluster=Cluster())


def test_no_more_keys_are_unsealed_for_a_pod_than_the_limit(url, keys):
    """Each takes a millisecond of the controller's, or a request to a service."""
    reference = stored(url, keys)
    version, key_id, _, salt = reference.encryption.split(".")
    files = {
        f"/files/{number}": replace(reference, encryption=f"{version}.{key_id}.A{number:03}.{salt}")
        for number in range(257)
    }
    cluster = Cluster()
    with pytest.raises(BackendError, match="with 257 keys as files, over the limit of 256"):
        core_of(url, keys).place_files(RUN, copy.deepcopy(BARE), files, MOUNT, cluster=cluster)
    assert cluster.secrets == []


def test_a_right_that_is_missing_is_named_with_its_manifest(url, keys):
    class Refuses:
        def create(self, *_):
            raise ForbiddenError("cannot create secrets")

    with pytest.raises(ForbiddenError, match="config/enable-encryption/"):
        core_of(url, keys).place_files(RUN, BARE, {"/files/a": stored(url, keys)}, MOUNT, cluster=Refuses())
