"""Reading from the cache: as fresh as what we know, whoever wrote last."""

import pytest

from resultsfw.cluster import CONFIG_MAPS, PODS
from resultsfw.errors import ConflictError, NotFoundError
from resultsfw.kube import CachedCluster, Reflector
from resultsfw.kube.store import is_newer, matches_selector


@pytest.fixture
def reads(server):
    """How many single objects the server was asked for."""

    def count():
        return sum(asked.method == "GET" and asked.path.count("/") == 6 for asked in server.asked)

    return count


@pytest.fixture
def behind(server, connection, told, quick):
    """A reflector that has listed, and whose watch is far behind."""
    reflector = Reflector(connection, PODS, on_change=told.change)
    server.put("pods", "ns", "a", spec={"x": 0})
    reflector._list()
    return reflector


def test_a_cached_object_is_read_without_a_request(server, cluster, reflect, reads):
    server.put("pods", "ns", "a")
    cached = CachedCluster(cluster, {PODS: reflect()})
    first = cached.get(PODS, "ns", "a")
    first["spec"] = "changed"
    assert "spec" not in cached.get(PODS, "ns", "a")
    assert reads() == 0


def test_an_object_that_is_not_cached_is_requested_once(server, cluster, behind, reads):
    cached = CachedCluster(cluster, {PODS: behind})
    server.put("pods", "ns", "b")
    for _ in range(3):
        assert cached.get(PODS, "ns", "b")
    assert reads() == 1
    with pytest.raises(NotFoundError):
        cached.get(PODS, "ns", "c")


def test_objects_are_requested_until_the_first_list_is_cached(server, cluster, connection, told, reads):
    server.put("pods", "ns", "a")
    cached = CachedCluster(cluster, {PODS: Reflector(connection, PODS, on_change=told.change)})
    for _ in range(2):
        assert cached.get(PODS, "ns", "a")
    assert reads() == 2


def test_objects_of_kinds_without_a_cache_are_requested(server, cluster, behind, reads):
    server.put("configmaps", "ns", "a")
    cached = CachedCluster(cluster, {PODS: behind})
    for _ in range(2):
        assert cached.get(CONFIG_MAPS, "ns", "a")
    cached.patch(CONFIG_MAPS, "ns", "a", {"data": {}})
    cached.delete(CONFIG_MAPS, "ns", "a")
    assert reads() == 2


def test_a_written_object_is_read_before_the_watch_sends_it(cluster, behind, reads):
    cached = CachedCluster(cluster, {PODS: behind})
    cached.patch(PODS, "ns", "a", {"spec": {"x": 1}})
    assert cached.get(PODS, "ns", "a")["spec"] == {"x": 1}
    cached.create(PODS, {"metadata": {"namespace": "ns", "name": "b"}})
    assert cached.get(PODS, "ns", "b")["metadata"]["uid"]
    assert reads() == 0


def test_a_late_event_does_not_replace_a_later_write(server, cluster, behind, told):
    cached = CachedCluster(cluster, {PODS: behind})
    between = server.put("pods", "ns", "a", spec={"x": "theirs"})
    cached.patch(PODS, "ns", "a", {"spec": {"x": "ours"}})
    behind._apply("MODIFIED", between)
    assert cached.get(PODS, "ns", "a")["spec"] == {"x": "ours"}
    assert told.objects["a"]["spec"] == {"x": "theirs"}


def test_a_late_response_does_not_restore_a_deleted_object(server, cluster, behind, reads):
    """The write's answer comes after the watch has told the object's end."""
    answer = cluster.patch(PODS, "ns", "a", {"spec": {"x": 1}})
    server.remove("pods", "ns", "a")
    behind._apply("DELETED", server.state.history[-1][3])
    behind.put_if_newer(answer)
    assert behind.get("ns", "a") is None
    assert len(behind) == 0


def test_the_deletion_of_an_older_object_does_not_remove_a_new_one_of_the_same_name(server, cluster, behind):
    cached = CachedCluster(cluster, {PODS: behind})
    server.remove("pods", "ns", "a")
    end = server.state.history[-1][3]
    made = cached.create(PODS, {"metadata": {"namespace": "ns", "name": "a"}})
    behind._apply("DELETED", end)
    assert cached.get(PODS, "ns", "a")["metadata"]["uid"] == made["metadata"]["uid"]


def test_after_a_conflict_the_stale_version_is_not_read(server, cluster, behind, reads):
    cached = CachedCluster(cluster, {PODS: behind})
    stale = cached.get(PODS, "ns", "a")["metadata"]["resourceVersion"]
    server.put("pods", "ns", "a", spec={"x": 9})
    with pytest.raises(ConflictError):
        cached.patch(PODS, "ns", "a", {"metadata": {"resourceVersion": stale}})
    # Who only asks what was seen is not told that there is none.
    assert behind.get("ns", "a")["spec"] == {"x": 0}
    for _ in range(3):
        assert cached.get(PODS, "ns", "a")["spec"] == {"x": 9}
    assert reads() == 1


def test_after_a_deletion_the_object_is_not_read(server, cluster, behind):
    cached = CachedCluster(cluster, {PODS: behind})
    cached.delete(PODS, "ns", "a")
    with pytest.raises(NotFoundError):
        cached.get(PODS, "ns", "a")
    with pytest.raises(NotFoundError):
        cached.patch(PODS, "ns", "a", {})


def test_a_list_does_not_replace_what_was_written_after_it(server, cluster, connection, behind, told):
    """The list was read, then we wrote, then the list is taken over."""
    cached = CachedCluster(cluster, {PODS: behind})
    written = []

    def listed(handler):
        written.append(1)
        handler.serve()

    server.plan(listed, limit="100")
    original = behind._transform

    def write_meanwhile(obj):
        if obj["metadata"]["name"] == "a" and len(written) == 1:
            written.append(2)
            cached.patch(PODS, "ns", "a", {"spec": {"x": 7}})
            cached.create(PODS, {"metadata": {"namespace": "ns", "name": "b"}})
        return original(obj)

    behind._transform = write_meanwhile
    behind._list()
    assert written == [1, 2]
    assert behind.get("ns", "a")["spec"] == {"x": 7}
    assert behind.get("ns", "b")


def test_an_object_that_the_selector_does_not_fit_is_not_cached(server, cluster, connection, told, reads):
    """The watch would never tell its end."""
    reflector = Reflector(connection, PODS, namespace="ns", label_selector="run", on_change=told.change)
    reflector._list()
    cached = CachedCluster(cluster, {PODS: reflector})
    cached.create(PODS, {"metadata": {"namespace": "ns", "name": "a"}})
    cached.create(PODS, {"metadata": {"namespace": "no", "name": "b", "labels": {"run": "x"}}})
    cached.create(PODS, {"metadata": {"namespace": "ns", "name": "c", "labels": {"run": "x"}}})
    assert reflector.keys() == [("ns", "c")]
    cached.patch(PODS, "ns", "c", {"metadata": {"labels": {"run": None}}})
    assert "run" not in cached.get(PODS, "ns", "c")["metadata"]["labels"]
    assert reads() == 1


def test_versions_that_are_no_numbers_are_not_compared(behind):
    """Then what was written is asked for until the watch brings something."""
    behind.put_if_newer({"metadata": {"namespace": "ns", "name": "a", "resourceVersion": "abc"}})
    assert behind.get_fresh("ns", "a") is None
    behind._apply(
        "MODIFIED", {"metadata": {"namespace": "ns", "name": "a", "resourceVersion": "def"}, "spec": 2}
    )
    assert behind.get("ns", "a")["spec"] == 2


@pytest.mark.parametrize(
    ("version", "other", "expected"),
    [("10", "9", True), ("9", "10", False), ("9", "9", False), ("a", "a", False), ("a", "9", None)],
)
def test_versions_are_compared_as_numbers(version, other, expected):
    assert is_newer(version, other) is expected


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", True),
        ("a", True),
        ("b", False),
        ("!b", True),
        ("!a", False),
        ("a=1", True),
        ("a == 1", True),
        ("a=2", False),
        ("a!=2,b!=1", True),
        ("a!=1", False),
        ("a, !b", True),
        ("a,b", False),
        ("a in (1)", None),
    ],
)
def test_selectors_fit_the_objects_that_they_fit_on_the_server(selector, expected):
    assert matches_selector(selector, {"metadata": {"labels": {"a": "1"}}}) is expected


def test_logs_are_read_from_the_server(server, cluster, behind):
    server.state.logs["a"] = b"x"
    assert b"".join(CachedCluster(cluster, {PODS: behind}).read_log("ns", "a", "c", limit=9)) == b"x"


def test_a_list_reports_a_write_that_no_event_reported(cluster, behind, told):
    """The handlers know only what the watch brought; after a list, nothing else would tell them."""
    cached = CachedCluster(cluster, {PODS: behind})
    cached.patch(PODS, "ns", "a", {"spec": {"x": 1}})
    assert told.objects["a"]["spec"] == {"x": 0}
    behind._list()
    assert told.objects["a"]["spec"] == {"x": 1}
    behind._list()
    assert told.names() == [("ADDED", "a"), ("MODIFIED", "a")]
