"""The store against what an API server promises."""

import threading

import pytest

from resultsfw.cluster import CONFIG_MAPS, PODS, Cluster
from resultsfw.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
    ObjectTooLargeError,
    UnavailableError,
)
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import TASKRUNS


def config_map(name="settings", **data):
    return {"metadata": {"name": name}, "data": data}


def taskrun(name="run", **metadata):
    return {"metadata": {"name": name, **metadata}, "spec": {"params": []}}


def pod(name="pod", **spec):
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "busybox:1"}], **spec},
    }


def changes(watch):
    """Changes that are there already."""
    found = []
    while (event := watch.get(0.0001)) is not None:
        found.append((event[0], event[1]["metadata"]["name"]))
    return found


def test_the_store_is_a_cluster(store):
    cluster: Cluster = store
    assert cluster


def test_create_sets_the_fields_a_server_sets(store):
    created = store.create(TASKRUNS, {**taskrun(), "status": {"podName": "forged"}})
    metadata = created["metadata"]
    assert (created["apiVersion"], created["kind"]) == ("tekton.dev/v1", "TaskRun")
    assert metadata["namespace"] == "default"
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["generation"] == 1
    assert int(metadata["resourceVersion"]) > 0
    assert "status" not in created
    assert store.get(TASKRUNS, "default", "run") == created
    with pytest.raises(AlreadyExistsError, match='taskruns "run" already exists'):
        store.create(TASKRUNS, taskrun())


def test_generate_name_makes_a_name_and_a_missing_name_is_refused(store):
    name = store.create(TASKRUNS, {"metadata": {"generateName": "run-"}})["metadata"]["name"]
    assert name.startswith("run-")
    assert len(name) == 9
    with pytest.raises(ClusterError, match="name or generateName"):
        store.create(TASKRUNS, {"metadata": {}})


def test_a_generated_name_is_a_valid_label_value(store):
    name = store.create(TASKRUNS, {"metadata": {"generateName": "r" * 80}})["metadata"]["name"]
    assert len(name) == 63
    assert name.startswith("r" * 58)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("", True),
        ("a", True),
        ("A-b_c.d", True),
        ("x" * 63, True),
        ("x" * 64, False),
        ("-a", False),
        ("a b", False),
    ],
)
def test_invalid_labels_are_refused(store, value, stored):
    labelled = taskrun(labels={"app": value})
    if stored:
        store.create(TASKRUNS, labelled)
    else:
        with pytest.raises(ClusterError, match='the value of "app" must be no more than 63') as refused:
            store.create(TASKRUNS, labelled)
        assert not refused.value.retryable
        store.create(TASKRUNS, taskrun())
        with pytest.raises(ClusterError, match='the value of "app"'):
            store.patch(TASKRUNS, "default", "run", {"metadata": labelled["metadata"]})
        assert "labels" not in store.get(TASKRUNS, "default", "run")["metadata"]


@pytest.mark.parametrize(
    ("paths", "stored"),
    [(["/a", "/b"], True), (["/a", "/a/"], True), (["/a", "/a"], False), (["/b", "/a", "/a"], False)],
)
def test_two_volumes_at_one_path_are_refused(store, paths, stored):
    mounts = [{"name": f"v{number}", "mountPath": path} for number, path in enumerate(paths)]
    made = pod(
        containers=[{"name": "main", "image": "i"}, {"name": "b", "image": "i", "volumeMounts": mounts}]
    )
    if stored:
        store.create(PODS, made)
    else:
        last = len(paths) - 1
        with pytest.raises(ClusterError, match=rf"containers\[1\].volumeMounts\[{last}\].*must be unique"):
            store.create(PODS, made)


def test_returned_objects_are_copies(store):
    given = config_map(a="1")
    created = store.create(CONFIG_MAPS, given)
    given["data"]["a"] = created["data"]["a"] = "changed"
    store.get(CONFIG_MAPS, "default", "settings")["data"]["a"] = "changed"
    store.list(CONFIG_MAPS)[0]["data"]["a"] = "changed"
    patch = {"data": {"b": {"c": "d"}}}
    store.patch(CONFIG_MAPS, "default", "settings", patch)
    patch["data"]["b"]["c"] = "changed"
    assert store.get(CONFIG_MAPS, "default", "settings")["data"] == {"a": "1", "b": {"c": "d"}}


def test_a_missing_object_is_not_found(store):
    for ask in (
        lambda: store.get(PODS, "default", "none"),
        lambda: store.patch(PODS, "default", "none", {}),
        lambda: store.delete(PODS, "default", "none"),
        lambda: store.read_log("default", "none", "main", limit=1),
    ):
        with pytest.raises(NotFoundError, match='pods "none" not found') as caught:
            ask()
        assert caught.value.subject == "Pod default/none"


def test_a_patch_with_another_version_or_uid_conflicts(store):
    first = store.create(CONFIG_MAPS, config_map(a="1"))
    version = first["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"a": "2"}}
    second = store.patch(CONFIG_MAPS, "default", "settings", patch)
    assert int(second["metadata"]["resourceVersion"]) > int(version)
    with pytest.raises(ConflictError, match="read it again") as caught:
        store.patch(CONFIG_MAPS, "default", "settings", patch)
    assert caught.value.retryable
    with pytest.raises(ConflictError):
        store.patch(CONFIG_MAPS, "default", "settings", {"metadata": {"uid": "another"}})


def test_a_patch_that_changes_nothing_makes_no_new_version(store):
    created = store.create(CONFIG_MAPS, config_map(a="1"))
    with store.watch(CONFIG_MAPS, since=created["metadata"]["resourceVersion"]) as watch:
        same = store.patch(CONFIG_MAPS, "default", "settings", {"data": {"a": "1", "b": None}})
        assert same == created
        assert changes(watch) == []


def test_status_changes_only_through_its_subresource(store):
    store.create(TASKRUNS, taskrun())
    store.patch(TASKRUNS, "default", "run", {"status": {"a": 1}, "spec": {"params": ["p"]}})
    store.patch(TASKRUNS, "default", "run", {"status": {"b": 2}, "spec": {"q": 1}}, subresource="status")
    found = store.get(TASKRUNS, "default", "run")
    assert found["spec"] == {"params": ["p"]}
    assert found["status"] == {"b": 2}
    assert found["metadata"]["generation"] == 2, "a change of the spec counts, one of the status does not"
    with pytest.raises(ClusterError, match='no subresource "scale"'):
        store.patch(TASKRUNS, "default", "run", {}, subresource="scale")


def test_fields_the_server_sets_cannot_be_patched(store):
    created = store.create(TASKRUNS, taskrun())
    forged = {"creationTimestamp": "1970-01-01T00:00:00Z", "generation": 9, "name": "x", "namespace": "y"}
    store.patch(TASKRUNS, "default", "run", {"metadata": {**forged, "labels": {"a": "b"}}})
    found = store.get(TASKRUNS, "default", "run")
    assert found["metadata"].pop("labels") == {"a": "b"}
    assert int(found["metadata"].pop("resourceVersion")) > int(created["metadata"].pop("resourceVersion"))
    assert found["metadata"] == created["metadata"]
    store.patch(TASKRUNS, "default", "run", {"metadata": None})
    assert store.get(TASKRUNS, "default", "run")["metadata"]["uid"] == created["metadata"]["uid"]


def test_only_images_and_deadline_of_a_pod_can_change(store):
    store.create(PODS, pod())
    spec = store.get(PODS, "default", "pod")["spec"]
    changed = [{**spec["containers"][0], "image": "nop:1"}]
    store.patch(PODS, "default", "pod", {"spec": {"containers": changed, "activeDeadlineSeconds": 5}})
    found = store.get(PODS, "default", "pod")
    assert found["spec"]["containers"][0]["image"] == "nop:1"
    for patch in ({"containers": []}, {"volumes": []}, {"containers": [{**changed[0], "args": ["x"]}]}):
        with pytest.raises(ClusterError, match="may not change"):
            store.patch(PODS, "default", "pod", {"spec": patch})


def test_an_object_over_the_limit_is_refused_and_not_stored(store):
    store.create(TASKRUNS, taskrun())
    before = store.get(TASKRUNS, "default", "run")
    fits = {"status": {"results": "x" * 1_500_000}}
    with pytest.raises(ObjectTooLargeError, match="etcdserver: request is too large") as caught:
        # What Go writes as six bytes counts six.
        store.patch(TASKRUNS, "default", "run", {"status": {"results": "<" * 300_000}}, subresource="status")
    assert not caught.value.retryable
    assert store.get(TASKRUNS, "default", "run") == before
    store.patch(TASKRUNS, "default", "run", fits, subresource="status")
    with pytest.raises(ObjectTooLargeError):
        store.create(CONFIG_MAPS, config_map(a="\u2028" * 300_000))


def test_an_object_without_finalizers_is_deleted_at_once(store):
    store.create(TASKRUNS, taskrun())
    store.delete(TASKRUNS, "default", "run")
    assert store.list(TASKRUNS) == []
    store.create(TASKRUNS, taskrun(finalizers=["a", "b"]))
    store.delete(TASKRUNS, "default", "run")
    store.delete(TASKRUNS, "default", "run")
    held = store.get(TASKRUNS, "default", "run")
    assert held["metadata"]["deletionTimestamp"]
    store.patch(TASKRUNS, "default", "run", {"metadata": {"finalizers": ["b"], "deletionTimestamp": None}})
    assert store.get(TASKRUNS, "default", "run")["metadata"]["deletionTimestamp"]
    store.patch(TASKRUNS, "default", "run", {"metadata": {"finalizers": []}})
    assert store.list(TASKRUNS) == []


def test_a_running_pod_is_deleted_by_its_kubelet(store):
    store.create(PODS, pod())
    store.delete(PODS, "default", "pod")
    assert store.list(PODS) == [], "no node has it yet"
    created = store.create(PODS, pod())
    store.patch(PODS, "default", "pod", {"spec": {"nodeName": "n"}})
    store.delete(PODS, "default", "pod", grace_seconds=20)
    store.delete(PODS, "default", "pod", grace_seconds=25)
    metadata = store.get(PODS, "default", "pod")["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 20
    assert metadata["generation"] == created["metadata"]["generation"] + 2
    store.delete(PODS, "default", "pod", grace_seconds=10)
    assert store.get(PODS, "default", "pod")["metadata"]["deletionGracePeriodSeconds"] == 10
    with pytest.raises(ConflictError):
        store.delete(PODS, "default", "pod", grace_seconds=0, uid="another")
    store.delete(PODS, "default", "pod", grace_seconds=0, uid=created["metadata"]["uid"])
    assert store.list(PODS) == []


def test_a_finished_pod_is_deleted_at_once(store):
    store.create(PODS, pod(nodeName="n"))
    store.patch(PODS, "default", "pod", {"status": {"phase": "Failed"}}, subresource="status")
    store.delete(PODS, "default", "pod")
    assert store.list(PODS) == []


def test_a_watch_gives_every_event_in_order(store):
    store.create(CONFIG_MAPS, config_map("one"))
    with store.watch(CONFIG_MAPS, TASKRUNS) as watch:
        assert changes(watch) == [("ADDED", "one")], "what is there comes first"
        store.create(TASKRUNS, taskrun())
        store.create(PODS, pod())
        store.patch(CONFIG_MAPS, "default", "one", {"data": {"a": "1"}})
        store.delete(TASKRUNS, "default", "run")
        assert changes(watch) == [("ADDED", "run"), ("MODIFIED", "one"), ("DELETED", "run")]


def test_a_watch_begins_after_a_resource_version(store):
    version = store.create(CONFIG_MAPS, config_map("one"))["metadata"]["resourceVersion"]
    store.create(CONFIG_MAPS, config_map("two"))
    with store.watch(CONFIG_MAPS, since=version) as watch:
        assert changes(watch) == [("ADDED", "two")]
    for index in range(1001):
        store.patch(CONFIG_MAPS, "default", "one", {"data": {"a": str(index)}})
    with pytest.raises(ClusterError, match="too old"):
        store.watch(CONFIG_MAPS, since=version)


def test_a_closed_watch_gives_no_more_events(store):
    watch = store.watch(CONFIG_MAPS)
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(watch))
    thread.start()
    watch.close()
    thread.join(5)
    assert not thread.is_alive()
    store.create(CONFIG_MAPS, config_map())
    assert seen == []
    assert watch.get() is None
    assert store._watches == []


def test_objects_of_a_watch_are_copies(store):
    with store.watch(CONFIG_MAPS) as watch:
        store.create(CONFIG_MAPS, config_map(a="1"))
        watch.get()[1]["data"]["a"] = "changed"
    assert store.get(CONFIG_MAPS, "default", "settings")["data"]["a"] == "1"


def test_concurrent_patches_are_all_applied(store):
    """Counting with conditional patches: every increment counts once, every version is another one."""
    store.create(CONFIG_MAPS, config_map(n=0))

    def count():
        done = 0
        while done < 50:
            found = store.get(CONFIG_MAPS, "default", "settings")
            metadata = {"resourceVersion": found["metadata"]["resourceVersion"]}
            patch = {"metadata": metadata, "data": {"n": found["data"]["n"] + 1}}
            try:
                store.patch(CONFIG_MAPS, "default", "settings", patch)
            except ConflictError:
                continue
            done += 1

    with store.watch(CONFIG_MAPS) as watch:
        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        versions = []
        while (event := watch.get(0.0001)) is not None:
            versions.append(int(event[1]["metadata"]["resourceVersion"]))
    assert store.get(CONFIG_MAPS, "default", "settings")["data"]["n"] == 200
    assert len(versions) == 201
    assert versions == sorted(set(versions))


def test_logs_are_read_up_to_the_limit(store, tmp_path):
    store.create(PODS, pod())
    with pytest.raises(UnavailableError, match="waiting to start") as caught:
        store.read_log("default", "pod", "main", limit=1)
    assert caught.value.retryable
    with pytest.raises(NotFoundError, match='container "other"'):
        store.read_log("default", "pod", "other", limit=1)
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100_000)
    store.register_log("default", "pod", "main", log)
    assert [len(piece) for piece in store.read_log("default", "pod", "main", limit=200_000)] == [
        65_536,
        34_464,
    ]
    assert [len(piece) for piece in store.read_log("default", "pod", "main", limit=65_537)] == [65_536, 1]
    assert list(store.read_log("default", "pod", "main", limit=0)) == []
    reader = store.read_log("default", "pod", "main", limit=10)
    log.unlink()
    with pytest.raises(NotFoundError):
        next(reader)
    store.delete(PODS, "default", "pod")
    with pytest.raises(NotFoundError):
        store.read_log("default", "pod", "main", limit=1)


def test_a_log_that_is_not_read_to_its_end_is_closed(store, tmp_path):
    """A reader that stops leaves no open file: warnings are errors here."""
    store.create(PODS, pod())
    (tmp_path / "log").write_bytes(b"x" * 200_000)
    store.register_log("default", "pod", "main", tmp_path / "log")
    reader = store.read_log("default", "pod", "main", limit=200_000)
    next(reader)
    reader.close()


def test_list_returns_the_objects_of_a_namespace_or_of_all(store):
    store.create(TASKRUNS, taskrun("a", namespace="one"))
    store.create(TASKRUNS, taskrun("b", namespace="two"))
    assert [one["metadata"]["name"] for one in store.list(TASKRUNS)] == ["a", "b"]
    assert [one["metadata"]["name"] for one in store.list(TASKRUNS, "two")] == ["b"]


def test_stores_are_independent():
    Store().create(TASKRUNS, taskrun())
    assert Store().list(TASKRUNS) == []
