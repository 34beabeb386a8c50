"""Whatever changes, and however the streams are cut: in the end the cache is what the server holds."""

import contextlib
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kubeserver import Server, kubeconfig_for, refusing, resetting

from resultsfw.cluster import PODS
from resultsfw.errors import ClusterError
from resultsfw.kube import CachedCluster, KubeCluster, Reflector, connect, lacks_string

pytestmark = pytest.mark.slow

OURS = "resultsfw.dev/controller"
NAMES = st.sampled_from("abcd")
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMES),
    st.tuples(st.just("remove"), NAMES),
    # By ourselves, through the cache.
    st.tuples(st.sampled_from(["write", "create", "delete", "read"]), NAMES),
    st.tuples(st.sampled_from(["end", "close", "reset", "half", "gone", "error", "garbage", "bookmark"])),
    st.tuples(st.sampled_from(["forget", "refuse", "break", "wait", "elsewhere"])),
)


def take(server, cached, step, number):
    """Do one thing to the server, or to us."""
    what, *names = step
    name = names[0] if names else ""
    spec = {"spec": {"x": number}}
    acts = {
        "put": lambda: server.put("pods", "ns", name, **spec),
        "remove": lambda: ("pods", "ns", name) in server.state.objects and server.remove("pods", "ns", name),
        "write": lambda: cached.patch(PODS, "ns", name, spec),
        "create": lambda: cached.create(PODS, {"metadata": {"namespace": "ns", "name": name}, **spec}),
        "delete": lambda: cached.delete(PODS, "ns", name),
        "read": lambda: cached.get(PODS, "ns", name),
        "forget": server.forget,
        "refuse": lambda: (
            server.plan(refusing(500, "InternalError"), watch="1"),
            server.plan(refusing(410, "Expired"), limit="2"),
        ),
        "break": lambda: server.plan(resetting, path="pods"),
        "elsewhere": lambda: server.put("configmaps", "ns", "x"),
        "wait": lambda: server.wait(lambda: server.watches),
    }
    acts.get(what, lambda: server.tell(what))()


def spec_of(name, number):
    """Of ours one time, of another controller's the next."""
    return {"x": number, "managedBy": OURS if (number + ord(name)) % 3 else "else"}


def taken(obj):
    return obj if obj["spec"]["managedBy"] == OURS else {"metadata": obj["metadata"]}


@given(steps=st.lists(st.one_of(STEPS, st.tuples(st.just("change"), NAMES)), max_size=25))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_in_the_end_ours_are_cached_whole_and_others_by_their_identity(steps, tmp_path, quick, told):
    server = Server()
    connection = connect(str(kubeconfig_for(server.url, tmp_path)))
    told.__init__()
    recognizing = {"transform": taken, "is_foreign": partial(lacks_string, text=OURS)}
    reflector = Reflector(connection, PODS, on_change=told.change, page=2, **recognizing)
    cached = CachedCluster(KubeCluster(connection, timeouts=(1, 1)), {PODS: reflector})
    try:
        reflector.start()
        for number, (what, *names) in enumerate(steps):
            with contextlib.suppress(ClusterError):
                if what in ("change", "put"):
                    server.put("pods", "ns", *names, spec=spec_of(names[0], number))
                elif what == "write":
                    cached.patch(PODS, "ns", *names, {"spec": spec_of(names[0], number)})
                elif what != "create":
                    take(server, cached, (what, *names), number)
        server.plans.clear()
        server.put("pods", "ns", "last", spec={"managedBy": OURS})
        told.wait(lambda: told.objects.get("last") is not None)
        holds = {key[1]: obj for key, obj in server.held("pods").items()}
        assert {name for _, name in list(reflector.keys())} == set(holds)
        assert {name for name, obj in told.objects.items() if obj is not None} == set(holds)
        for name, obj in holds.items():
            assert (
                reflector.get("ns", name)["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]
            )
            assert cached.get(PODS, "ns", name)["spec"] == obj["spec"]
            ours = obj["spec"]["managedBy"] == OURS
            assert (reflector.get_fresh("ns", name) is not None) == ours
            assert told.objects[name].get("spec") == (obj["spec"] if ours else None)
    finally:
        reflector.stop()
        connection.close()
        server.down()


@given(steps=st.lists(STEPS, max_size=25))
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_in_the_end_cache_and_handlers_have_the_servers_objects(steps, tmp_path, quick, told):
    server = Server()
    connection = connect(str(kubeconfig_for(server.url, tmp_path)))
    told.__init__()
    reflector = Reflector(connection, PODS, on_change=told.change, on_restart=told.restart, page=2)
    cached = CachedCluster(KubeCluster(connection, timeouts=(1, 1)), {PODS: reflector})
    try:
        server.put("pods", "ns", "a", spec={"x": -1})
        reflector.start()
        for number, step in enumerate(steps):
            with contextlib.suppress(ClusterError):
                take(server, cached, step, number)
        server.plans.clear()
        server.put("pods", "ns", "last")
        told.wait(lambda: told.objects.get("last") is not None)
        holds = {key[1]: obj for key, obj in server.held("pods").items()}
        seen = {name: obj for name, obj in told.objects.items() if obj is not None}
        assert {name: obj["metadata"]["resourceVersion"] for name, obj in seen.items()} == {
            name: obj["metadata"]["resourceVersion"] for name, obj in holds.items()
        }
        assert {name for _, name in list(reflector.keys())} == set(holds)
        for name, obj in holds.items():
            for known in (reflector.get("ns", name), cached.get(PODS, "ns", name), seen[name]):
                assert known.get("spec") == obj.get("spec")
                assert known["metadata"] == obj["metadata"]
            # What was in doubt has been looked at.
            assert reflector.get_fresh("ns", name)
        order = {}
        for change, name, version in told.changes:
            # A deletion that is told after a list has the version it was last seen with.
            assert order.get(name, 0) < int(version) or change == "DELETED", told.changes
            order[name] = int(version)
    finally:
        reflector.stop()
        connection.close()
        server.down()
    assert not reflector.alive
