"""Caches of some namespaces: no request is for others, and one that is refused delays none."""

import threading

import pytest
from kubeserver import refusing

from resultsfw.cluster import PODS
from resultsfw.kube import CachedCluster, ReflectorGroup


@pytest.fixture
def group(connection, told, quick):
    del quick
    made = ReflectorGroup(
        connection,
        PODS,
        ["a", "b"],
        on_change=told.change,
        on_restart=lambda namespace, reason: told.restart(f"{namespace}: {reason}"),
    )
    yield made
    made.stop()


def test_each_namespace_is_watched_by_itself_and_others_are_read_from_the_server(
    server, cluster, told, group
):
    refused = refusing(403, "Forbidden")
    server.plan(refused, times=1000, path="/api/v1/namespaces/b/pods")
    for namespace in "abc":
        server.put("pods", namespace, "p", spec={"in": namespace})
    group.start()
    told.wait(lambda: ("ADDED", "p") in told.names())
    assert group.holds("a", "p")
    assert group.get_fresh("a", "p")["spec"] == {"in": "a"}
    assert group.get("c", "p") is group.get_fresh("c", "p") is None
    cached = CachedCluster(cluster, {PODS: group})
    assert cached.get(PODS, "c", "p")["spec"] == {"in": "c"}
    assert not group.holds("c", "p")
    cached.patch(PODS, "c", "p", {"spec": {"in": "d"}})
    group.mark_stale("c", "p")
    group.retransform("c", ["p"])
    told.wait(lambda: "b: cut" in told.restarts)
    assert not group.holds("b", "p")
    assert all("/namespaces/" in asked.path for asked in server.asked)


def test_without_namespaces_the_whole_cluster_is_one(connection):
    whole = ReflectorGroup(connection, PODS, [], on_change=print, on_restart=print)
    (reflector,) = whole
    assert reflector.namespace is None
    assert whole.reflector("any") is reflector


def test_handlers_are_called_by_one_thread_at_a_time(connection):
    inside, alone = threading.Lock(), []

    def on_change(change, obj):
        del change, obj
        if entered := inside.acquire(blocking=False):
            threading.Event().wait(0.001)  # lets another thread run
            inside.release()
        alone.append(entered)

    group = ReflectorGroup(connection, PODS, ["a", "b"], on_change=on_change, on_restart=print)
    threads = [threading.Thread(target=group._change, args=("ADDED", {})) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert alone == [True] * 8
