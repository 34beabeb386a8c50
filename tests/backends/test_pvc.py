"""The backend `pvc`: its pods, who sees the claim, what a claim must be, how values are read and removed."""

import base64
import copy
import hashlib
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import PODS, Limits, Reference, ResultsManager, ResultSpec, Run, Step
from resultsfw.errors import (
    BackendError,
    ClusterError,
    CorruptError,
    FlagError,
    ForbiddenError,
    InputError,
    NotFoundError,
    TooEarlyError,
    UnavailableError,
)
from resultsfw.local.kubelet import Kubelet
from resultsfw.local.store import Store
from resultsfw.pods import RESULTS_SIDECAR, containers
from resultsfw_backends import pvc
from resultsfw_backends._claim import CLAIMS, VOLUME

VALUE = b"value" * 5000
DIGEST = hashlib.sha256(VALUE).hexdigest()
RUN = Run(
    namespace="default",
    name="run",
    uid="run-uid",
    attempt=1,
    results=(ResultSpec(name="a"),),
    steps=(Step(name="build", container="step-build"),),
)
BARE = {
    "metadata": {"name": "pod", "namespace": "default"},
    "spec": {
        "containers": [{"name": "step-build", "image": "i", "args": ["-entrypoint", "x", "--"]}],
        "initContainers": [{"name": "prepare", "image": "i"}],
        "volumes": [],
    },
}
MOUNT = {"name": "files", "mountPath": "/tekton/params"}
TOGETHER = {
    "labelSelector": {"matchLabels": {"resultsfw.dev/results-claim": "results"}},
    "topologyKey": "kubernetes.io/hostname",
}


def configured(**more):
    return pvc.Config.model_validate(more)


def claimed(*modes, name="results", **status):
    store = Store()
    claim = {"metadata": {"name": name, "namespace": "default"}, "spec": {"accessModes": list(modes)}}
    store.create(CLAIMS, claim)
    if status:
        store.patch(CLAIMS, "default", name, {"status": status}, subresource="status")
    return store


def prepared(config=None, *, cluster=None, run=RUN, **spec):
    pod = copy.deepcopy(BARE)
    pod["spec"].update(copy.deepcopy(spec))
    limits = Limits(result_bytes=2**40, run_bytes=2**63 - 1)
    pvc.prepare_pod(run, pod, cluster or claimed("ReadWriteMany"), limits, config or configured())
    return pod


def placed(files, cluster=None):
    pod = copy.deepcopy(BARE)
    pvc.place_files(RUN, pod, files, MOUNT, cluster or claimed("ReadWriteMany"), configured())
    return pod


def reference(location=f"pvc://results/default/run-uid/{DIGEST}.1", **more):
    known = {"backend": "pvc", "location": location, "size": len(VALUE), "digest": f"sha256:{DIGEST}"}
    return Reference(**{**known, **more})


# The pod, and who sees the claim.


def test_only_the_sidecar_mounts_the_claim_and_of_it_the_folder_of_its_attempt():
    pod = prepared()
    mounts = {
        name: [mount for mount in container.get("volumeMounts") or () if mount["name"] == VOLUME]
        for name, container in containers(pod).items()
    }
    assert mounts.pop(RESULTS_SIDECAR) == [
        {"name": VOLUME, "mountPath": "/results-claim", "subPath": "default/run-uid.1"}
    ]
    assert not any(mounts.values())
    claim = {"name": VOLUME, "persistentVolumeClaim": {"claimName": "results"}}
    assert claim in pod["spec"]["volumes"]
    assert VOLUME.startswith("resultsfw-")  # the prefix that Tasks may not use
    assert pod["spec"]["terminationGracePeriodSeconds"] == 300
    assert "securityContext" not in pod["spec"]
    assert "affinity" not in pod["spec"]


def test_pods_with_a_claim_that_one_node_mounts_are_kept_on_one_node():
    own = {
        "nodeAffinity": {"x": 1},
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"y": 1}]},
    }
    pod = prepared(cluster=claimed("ReadWriteOnce"), affinity=own)
    required = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required == [{"y": 1}, TOGETHER]
    assert pod["spec"]["affinity"]["nodeAffinity"] == {"x": 1}
    assert pod["metadata"]["labels"] == {"resultsfw.dev/results-claim": "results"}
    long = "x" * 64
    label = prepared(configured(claim=long), cluster=claimed("ReadWriteOnce", name=long))["metadata"][
        "labels"
    ]
    assert [len(value) for value in label.values()] == [63]


def test_the_group_that_may_write_is_that_of_the_pod_unless_it_has_one():
    ours = {"fsGroup": 7, "fsGroupChangePolicy": "OnRootMismatch"}
    assert prepared(configured(**{"fs-group": 7}))["spec"]["securityContext"] == ours
    pod = prepared(configured(**{"fs-group": 7}), securityContext={"fsGroup": 9, "runAsUser": 5})
    assert pod["spec"]["securityContext"] == {**ours, "fsGroup": 9, "runAsUser": 5}


CLAIM_OF_A_STEP = {"name": "work", "persistentVolumeClaim": {"claimName": "results"}}
THIEF = {"name": "thief", "image": "i", "volumeMounts": [{"name": VOLUME, "mountPath": "/stolen"}]}
EXPOSED = {
    'volume "work" is the PersistentVolumeClaim "results"': {"volumes": [CLAIM_OF_A_STEP]},
    f'container "thief" mounts volume "{VOLUME}"': {"initContainers": [THIEF]},
    f'container "{pvc.FETCH}" mounts volume "{VOLUME}"': {"initContainers": [{**THIEF, "name": pvc.FETCH}]},
    'the pod has "shareProcessNamespace: true"': {"shareProcessNamespace": True},
    'the pod has "hostPID: true"': {"hostPID": True},
}


@pytest.mark.parametrize("why", EXPOSED)
def test_a_pod_whose_steps_could_reach_results_is_refused(why):
    with pytest.raises(BackendError) as caught:
        prepared(**EXPOSED[why])
    assert why in caught.value.message
    other = {"name": "work", "persistentVolumeClaim": {"claimName": "another"}}
    assert prepared(volumes=[other])


def test_a_volume_of_that_name_is_refused():
    with pytest.raises(InputError, match=f'already has a volume "{VOLUME}"'):
        prepared(volumes=[{"name": VOLUME, "emptyDir": {}}])


@pytest.mark.parametrize("run", [{"uid": ""}, {"namespace": ""}, {"uid": ".."}, {"uid": "a/b"}])
def test_a_run_without_a_name_of_its_own_is_refused(run):
    named = Run(**{"namespace": "default", "name": "run", "uid": "u", "results": RUN.results, **run})
    for attempt in (lambda: prepared(run=named), lambda: pvc.purge(named, Store(), configured())):
        with pytest.raises(BackendError, match="needs a namespace and a uid"):
            attempt()


# The claim, and the options.


def test_a_claim_that_cannot_hold_results_is_refused_before_any_pod():
    def refusal(cluster, error):
        with pytest.raises(error) as caught:
            prepared(cluster=cluster)
        start = 'PersistentVolumeClaim "results" (claim of config.pvc) in namespace "default" '
        assert caught.value.message.startswith(start)
        return caught.value.message.removeprefix(start)

    assert refusal(Store(), NotFoundError).startswith("does not exist: create it")
    assert refusal(claimed("ReadWriteOnce", phase="Lost"), NotFoundError).startswith(
        "is being deleted, or its"
    )
    assert refusal(claimed("ReadOnlyMany"), BackendError).startswith(
        "has the access modes ReadOnlyMany: results"
    )
    assert refusal(claimed("ReadWriteOncePod"), BackendError).startswith(
        "has the access modes ReadWriteOncePod"
    )
    block = claimed("ReadWriteOnce")
    block.patch(CLAIMS, "default", "results", {"spec": {"volumeMode": "Block"}})
    assert refusal(block, BackendError).startswith("has the volumeMode Block")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("claim", "Upper"), ("claim", "../x"), ("claim", "")),
        *(("folder", "relative"), ("folder", "/a/../b"), ("folder", "/")),
        *(("fs-group", 0), ("max-value-size", 2**41), ("reader-bytes", 0), ("purge-wait", -1)),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(option, value):
    with pytest.raises(FlagError, match=f'"config.pvc": {option.replace("_", "-")}'):
        ResultsManager.from_flags({"results-from": "pvc", "config.pvc": json.dumps({option: value})})


# References.

NOT_OURS = [
    f"pvc://other/default/run-uid/{DIGEST}.1",
    f"s3://results/default/run-uid/{DIGEST}.1",
    f"pvc://results/default/run-uid/{'0' * 64}.1",
    f"pvc://results/default/run-uid/{DIGEST}",
    f"pvc://results/default/run-uid/{DIGEST}.x",
    f"pvc://results/default/run-uid/{DIGEST}.1/more",
    f"pvc://results/default/../{DIGEST}.1",
    f"pvc://results/default/.hidden/{DIGEST}.1",
    f"pvc://results/../default/run-uid/{DIGEST}.1",
    f"pvc://results//default/run-uid/{DIGEST}.1",
    f"pvc://results/default/run-uid/{DIGEST}.-1",
    "",
]


@pytest.mark.parametrize("location", NOT_OURS)
def test_a_location_that_is_no_result_on_the_claim_is_not_followed(tmp_path, location):
    with pytest.raises(CorruptError, match="which is no result on the claim"):
        pvc.dereference(reference(location), Store(), configured(folder=str(tmp_path)))
    with pytest.raises(CorruptError, match="which is no result on the claim"):
        placed({"/f": reference(location)})


@given(st.text(max_size=120))
def test_no_text_in_a_location_leads_out_of_a_runs_folder(text):
    try:
        owner, folder, name = pvc._path_of(reference(f"pvc://results/{text}"), configured())
    except CorruptError:
        return
    assert name == DIGEST
    assert not {"", ".", ".."} & {owner, folder}
    assert "/" not in owner + folder


def test_files_come_from_the_folders_of_their_runs_mounted_read_only():
    files = {
        "/tekton/params/a": reference(),
        "/tekton/params/b": reference(),
        "/tekton/params/c": reference(f"pvc://results/default/other/{DIGEST}.0"),
    }
    pod = placed(files, claimed("ReadWriteOnce"))
    fetching = containers(pod)[pvc.FETCH]
    assert fetching["volumeMounts"] == [
        MOUNT,
        {"name": VOLUME, "mountPath": "/results-claim/0", "subPath": "default/run-uid.1", "readOnly": True},
        {"name": VOLUME, "mountPath": "/results-claim/1", "subPath": "default/other.0", "readOnly": True},
    ]
    limits = Limits(result_bytes=2**40, run_bytes=2**63 - 1)
    pvc.prepare_pod(RUN, pod, claimed("ReadWriteOnce"), limits, configured())
    required = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required == [TOGETHER]
    assert [volume["name"] for volume in pod["spec"]["volumes"]].count(VOLUME) == 1


# From a folder.


def test_a_value_is_read_from_the_folder_and_goes_with_its_attempt(tmp_path):
    config = configured(folder=str(tmp_path))
    for attempt in (0, 1):
        (tmp_path / f"default/run-uid.{attempt}").mkdir(parents=True)
        (tmp_path / f"default/run-uid.{attempt}/{DIGEST}").write_bytes(VALUE + b"more")
    read = b"".join(pvc.dereference(reference(), Store(), config))
    assert read == VALUE + b"m"  # enough for the core to see that it grew
    for _ in range(2):
        pvc.purge(RUN, Store(), config)
    assert [path.name for path in (tmp_path / "default").iterdir()] == ["run-uid.0"]
    with pytest.raises(NotFoundError, match="is gone: somebody removed it"):
        b"".join(pvc.dereference(reference(), Store(), config))


def test_a_folder_that_is_not_mounted_or_closed_may_come_back(tmp_path, monkeypatch):
    config = configured(folder=str(tmp_path / "not-mounted"))
    with pytest.raises(UnavailableError, match=r"could not be read from .*not-mounted \(folder of"):
        b"".join(pvc.dereference(reference(), Store(), config))
    with pytest.raises(UnavailableError, match=r"default/run-uid\.1 could not be removed from"):
        pvc.purge(RUN, Store(), config)

    def closed(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pvc.value_folder, "pieces", closed)
    with pytest.raises(ForbiddenError, match="Permission denied"):
        b"".join(pvc.dereference(reference(), Store(), config))


def test_the_policy_of_the_documentation_reserves_the_backends_claim_and_volume():
    text = (Path(__file__).parents[2] / "docs/backends/pvc-policy.example.yaml").read_text()
    policy, binding = yaml.safe_load_all(text)
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    conditions = json.dumps(policy["spec"])
    assert f"claimName == '{configured().claim}'" in conditions
    assert f"volume.name == '{VOLUME}'" in conditions


# By pods.


def test_pods_read_and_remove_what_a_claim_holds():
    """On the local engine: the real program in the pods, and nothing stays of them."""
    store = claimed("ReadWriteOnce")
    kubelet = Kubelet(store)
    config = configured(**{"read-wait": 30, "purge-wait": 30})
    try:
        folders = [
            kubelet.workdir / f"CLAIMS/default/results/default/run-uid.{attempt}" for attempt in (0, 1)
        ]
        for folder in folders:
            folder.mkdir(parents=True)
            (folder / DIGEST).write_bytes(VALUE)
        for size in (len(VALUE), 10):  # the core compares: a longer value is read one byte beyond
            read = b"".join(pvc.dereference(reference(size=size), store, config))
            assert read == VALUE[: size + 1]
        for _ in range(2):
            pvc.purge(RUN, store, config)
        assert [folder.exists() for folder in folders] == [True, False]
        with pytest.raises(NotFoundError, match="is gone: somebody removed it"):
            b"".join(pvc.dereference(reference(), store, config))
        assert store.list(PODS) == []
    finally:
        kubelet.stop(grace_seconds=0.5)


def read(store, **options):
    return b"".join(pvc.dereference(reference(), store, configured(**{"read-wait": 0, **options})))


def only_pod(store):
    [pod] = store.list(PODS)
    return pod


def set_status(store, **status):
    store.patch(
        PODS, "default", only_pod(store)["metadata"]["name"], {"status": status}, subresource="status"
    )


class LogOf:
    """A store whose pods have this log."""

    def __init__(self, store, log):
        self._store, self._log = store, log

    def __getattr__(self, name):
        return getattr(self._store, name)

    def read_log(self, *_whose, limit):
        yield from (self._log[at : min(at + 7, limit)] for at in range(0, min(len(self._log), limit), 7))


def test_a_reader_is_confined_and_sees_one_folder_read_only():
    store = claimed("ReadWriteOnce")
    with pytest.raises(UnavailableError):
        read(store)
    assert store.list(PODS) == []  # it had no node, and perhaps nobody asks again
    with pytest.raises(UnavailableError):
        pvc.purge(RUN, store, configured(**{"fs-group": 5}))
    spec = only_pod(store)["spec"]
    [container] = spec["containers"]
    assert container["volumeMounts"] == [
        {"name": VOLUME, "mountPath": "/results-claim", "subPath": "default", "readOnly": False}
    ]
    assert (spec["automountServiceAccountToken"], spec["restartPolicy"]) == (False, "Never")
    assert spec["activeDeadlineSeconds"] == 600
    assert spec["securityContext"]["fsGroup"] == 5
    assert container["securityContext"]["runAsNonRoot"] is True


def test_a_pod_that_cannot_be_placed_is_named_with_the_schedulers_words():
    store = claimed("ReadWriteMany")
    with pytest.raises(TooEarlyError, match=r"which mounts the claim, has not ended$"):
        pvc.purge(RUN, store, configured())
    words = 'persistentvolumeclaim "results" not found'
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    set_status(store, phase="Pending", conditions=[condition])
    with pytest.raises(UnavailableError, match=words):
        pvc.purge(RUN, store, configured())
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    set_status(
        store, phase="Pending", conditions=None, containerStatuses=[{"name": "results", "state": waiting}]
    )
    with pytest.raises(UnavailableError, match="has not ended: ImagePullBackOff: no such image"):
        pvc.purge(RUN, store, configured())
    set_status(store, phase="Succeeded")
    pvc.purge(RUN, store, configured())
    assert store.list(PODS) == []


def started(store):
    """Ask for a value, and let the pod that is to read it have a node."""
    create = store.create

    def create_with_node(kind, obj):
        create(kind, obj)
        set_status(store, startTime="2026-01-01T00:00:00Z")
        return only_pod(store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "create", create_with_node)
        with pytest.raises(UnavailableError):
            read(store)
    return only_pod(store)["metadata"]["name"]


def test_a_later_request_finds_the_pod_of_an_earlier_one():
    store = claimed("ReadWriteMany")
    name = started(store)
    assert name == started(store)
    set_status(store, phase="Succeeded")
    log = base64.b64encode(VALUE[:9000]) + b"\n" + base64.b64encode(VALUE[9000:]) + b"\n"
    assert read(LogOf(store, log)) == VALUE
    assert store.list(PODS) == []


FAILED = {
    "could not be read: Permission denied": {"message": "Permission denied"},
    "could not be read: OOMKilled": {"reason": "OOMKilled"},
    "could not be read: its pod failed": {},
}


@pytest.mark.parametrize("why", FAILED)
def test_a_reader_that_failed_says_why_and_is_made_anew(why):
    store = claimed("ReadWriteMany")
    started(store)
    ended = {"terminated": {"exitCode": 1, **FAILED[why]}}
    set_status(store, phase="Failed", containerStatuses=[{"name": "results", "state": ended}])
    with pytest.raises(UnavailableError, match=why):
        read(store)
    assert store.list(PODS) == []


@pytest.mark.parametrize(
    "log",
    [b"unable to retrieve container logs for containerd://x", b"A" * 33_000],
    ids=["kubelet", "endless line"],
)
def test_a_log_that_is_no_value_is_not_handed_out(log):
    """Whoever may create pods can have made the pod of that name, too."""
    store = claimed("ReadWriteMany")
    started(store)
    set_status(store, phase="Succeeded")
    with pytest.raises(UnavailableError, match=r"the log of its pod is damaged \((Invalid|Only|a line that)"):
        read(LogOf(store, log))


def test_a_value_beyond_what_a_log_carries_is_named_with_what_to_do():
    store = claimed("ReadWriteMany")
    with pytest.raises(ClusterError, match=r"has 25000 bytes, and a pod's log carries up to 1000") as caught:
        read(store, **{"reader-bytes": 1000})
    assert not caught.value.retryable
    assert store.list(PODS) == []


@pytest.mark.parametrize("store", [Store(), claimed("ReadWriteOnce", phase="Lost")])
def test_with_its_claim_what_it_held_is_gone(store):
    pvc.purge(RUN, store, configured())
    assert store.list(PODS) == []
    with pytest.raises(NotFoundError):
        read(store)
