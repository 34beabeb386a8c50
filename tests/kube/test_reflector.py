"""Reflectors: nothing is lost and nothing comes twice out of order, whatever happens to the streams."""

import logging
import threading
import time

import pytest
from kubeserver import refusing, resetting, silent

from resultsfw.cluster import PODS
from resultsfw.kube import Reflector


def names(reflector):
    return sorted(name for _, name in list(reflector.keys()))


def test_what_is_there_is_listed_then_watched(server, told, reflect):
    server.put("pods", "ns", "a")
    one = reflect()
    assert told.names() == [("ADDED", "a")]
    server.put("pods", "ns", "b", spec={"x": 1})
    server.put("pods", "ns", "b", spec={"x": 2})
    server.remove("pods", "ns", "a")
    told.wait(lambda: len(told.changes) == 4)
    assert told.names()[1:] == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]
    assert one.get("ns", "b")["spec"] == {"x": 2}
    assert one.get("ns", "a") is None
    assert len(one) == 1
    assert told.restarts == []
    watch = next(one for one in server.asked if one.query.get("watch"))
    assert watch.query["allowWatchBookmarks"] == "true"
    assert 300 <= int(watch.query["timeoutSeconds"]) <= 600
    assert watch.query["resourceVersion"] == "101"


def test_objects_say_what_they_are_though_lists_do_not(server, told, reflect):
    server.put("pods", "ns", "a")
    assert reflect().get("ns", "a")["kind"] == "Pod"
    assert told.objects["a"]["apiVersion"] == "v1"


def test_namespace_and_selector_go_to_the_server(server, told, reflect):
    server.put("pods", "ns", "a", metadata={"labels": {"run": "x"}})
    server.put("pods", "ns", "b")
    server.put("pods", "other", "c", metadata={"labels": {"run": "x"}})
    one = reflect(namespace="ns", label_selector="run")
    server.put("pods", "other", "d", metadata={"labels": {"run": "x"}})
    server.put("pods", "ns", "e", metadata={"labels": {"run": "x"}})
    told.wait(lambda: "e" in told.objects)
    assert names(one) == ["a", "e"]


def test_what_is_handed_out_is_a_copy(server, told, reflect):
    server.put("pods", "ns", "a", spec={"x": [1]})
    one = reflect()
    one.get("ns", "a")["spec"]["x"].append(2)
    told.objects["a"]["spec"]["x"].append(3)
    assert one.get("ns", "a")["spec"] == {"x": [1]}


def test_only_what_the_transform_leaves_is_held(server, told, reflect):
    def slim(obj):
        return {"metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}

    server.put("pods", "ns", "a", metadata={"managedFields": [1]}, spec={})
    one = reflect(transform=slim)
    assert set(one.get("ns", "a")) == {"metadata"}
    server.put("pods", "ns", "b", metadata={"managedFields": [1]}, spec={})
    told.wait(lambda: "b" in told.objects)
    one.put_if_newer(
        {"metadata": {"namespace": "ns", "name": "c", "resourceVersion": "999", "managedFields": []}}
    )
    for name in "bc":
        assert "managedFields" not in one.get("ns", name)["metadata"]
    assert "spec" not in told.objects["b"]


def test_what_is_held_can_be_made_less_later(server, told, reflect):
    kept = {"a", "b"}

    def transform(obj):
        spec = obj.get("spec") if obj["metadata"]["name"] in kept else {"less": True}
        return {**obj, "spec": spec}

    for name in ("a", "b"):
        server.put("pods", "ns", name, spec={"x": 1})
    one = reflect(transform=transform)
    kept.clear()
    one.retransform("ns", ["a", "unknown"])
    assert one.get("ns", "a")["spec"] == {"less": True}
    assert one.get("ns", "b")["spec"] == {"x": 1}
    assert names(one) == ["a", "b"]
    server.put("pods", "ns", "a", spec={"x": 2})
    told.wait(lambda: len(told.changes) == 3)
    assert told.names()[2] == ("MODIFIED", "a")


def test_a_list_comes_in_pages_and_begins_again_when_one_is_gone(server, told, reflect):
    for number in range(25):
        server.put("pods", "ns", f"p{number:02}")
    server.plan(lambda handler: (server.forget(), handler.serve()), times=2, path="pods")
    one = reflect(page=10)
    assert len(one) == 25
    assert told.names() == [("ADDED", f"p{number:02}") for number in range(25)]
    assert told.restarts == ["gone"]
    assert [asked.query.get("limit") for asked in server.asked[:3]] == ["10"] * 3


@pytest.mark.parametrize(
    ("command", "word"),
    [("end", "ended"), ("close", "cut"), ("reset", "cut"), ("half", "ended"), ("error", "cut")],
)
def test_a_stream_that_ends_is_resumed_where_it_was(server, told, reflect, command, word):
    server.put("pods", "ns", "a")
    one = reflect()
    server.wait(lambda: server.watches)
    server.put("pods", "ns", "b")
    told.wait(lambda: "b" in told.objects)
    server.tell(command)
    told.wait(lambda: told.restarts == [word])
    server.put("pods", "ns", "c")
    told.wait(lambda: "c" in told.objects)
    assert told.names() == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]
    assert server.count(limit="100") == 1
    assert server.count(watch="1", resourceVersion="102") == 1
    assert names(one) == ["a", "b", "c"]


def test_half_a_line_is_no_event(server, told, reflect):
    """It says that "a" is deleted, but not to its end."""
    server.put("pods", "ns", "a")
    one = reflect()
    server.wait(lambda: server.watches)
    server.tell("half")
    server.put("pods", "ns", "b")
    told.wait(lambda: "b" in told.objects)
    assert names(one) == ["a", "b"]
    assert ("DELETED", "a") not in told.names()


def test_a_bookmark_moves_where_to_resume(server, told, reflect):
    one = reflect()
    server.wait(lambda: server.watches)
    server.put("configmaps", "ns", "other")
    server.tell("bookmark")
    server.wait(lambda: server.bookmarks == 1)
    server.tell("end")
    told.wait(lambda: told.restarts)
    server.wait(lambda: server.count(watch="1") == 2)
    assert server.asked[-1].query["resourceVersion"] == "101"
    assert one.version == "101"


def change_much(server):
    server.put("pods", "ns", "same", metadata={"labels": {"x": "y"}})
    server.put("pods", "ns", "changed")
    server.put("pods", "ns", "gone")
    server.put("pods", "ns", "again")
    yield
    with server.changed:
        server.put("pods", "ns", "changed", spec={})
        server.remove("pods", "ns", "gone")
        server.remove("pods", "ns", "again")
        server.put("pods", "ns", "again")
        server.put("pods", "ns", "new")
        server.forget()
    yield


@pytest.mark.parametrize("how", ["answer", "event"])
def test_too_far_behind_it_lists_again_and_tells_the_difference(server, told, reflect, how):
    """What was deleted meanwhile is told as deleted; who has the name again is another object."""
    changing = change_much(server)
    next(changing)
    one = reflect()
    server.wait(lambda: server.watches)
    before = len(told.changes)
    held = threading.Event()
    server.plan(lambda handler: (held.wait(10), handler.serve()), watch="1")
    if how == "event":
        with server.changed:
            server.tell("gone")
            server.wait(lambda: not server.watches)
            next(changing)
        held.set()
    else:
        server.tell("end")
        server.wait(lambda: not server.watches)
        next(changing)
        held.set()
    told.wait(lambda: "new" in told.objects)
    told.wait(lambda: told.objects["gone"] is None)
    server.wait(lambda: server.watches)
    assert "gone" in told.restarts
    assert names(one) == ["again", "changed", "new", "same"]
    changes = told.names()[before:]
    assert changes.count(("DELETED", "gone")) == 1
    assert [one for one in changes if one[1] == "again"] == [("DELETED", "again"), ("ADDED", "again")]
    assert ("MODIFIED", "changed") in changes
    assert not [one for one in changes if one[1] == "same"]


def test_a_server_set_back_in_time_is_believed(server, told, reflect):
    """Restored from a backup, its versions are lower; nothing from before survives."""
    server.put("pods", "ns", "a", spec={"x": 1})
    server.put("pods", "ns", "lost")
    one = reflect()
    server.wait(lambda: server.watches)
    with server.changed:
        server.state.version = 50
        server.state.history.clear()
        server.state.objects.clear()
        server.put("pods", "ns", "a", spec={"x": 0})
    server.plan(refusing(504, "Timeout", "Too large resource version: 102, current: 51"), watch="1")
    server.tell("end")
    told.wait(lambda: told.objects.get("lost", 1) is None)
    told.wait(lambda: (told.objects["a"] or {}).get("spec") == {"x": 0})
    assert one.get("ns", "a")["spec"] == {"x": 0}
    assert one.get("ns", "lost") is None


def test_a_silent_connection_is_given_up_and_resumed(server, told, reflect):
    one = reflect(silence=0.1)
    told.wait(lambda: "cut" in told.restarts)
    server.put("pods", "ns", "a")
    told.wait(lambda: "a" in told.objects)
    assert names(one) == ["a"]
    assert server.count(limit="100") == 1


def test_a_server_that_goes_away_for_a_while(server, told, reflect):
    server.put("pods", "ns", "a")
    one = reflect()
    server.wait(lambda: server.watches)
    server.down()
    told.wait(lambda: len(told.restarts) > 5)
    server.put("pods", "ns", "b")
    server.up()
    told.wait(lambda: "b" in told.objects)
    assert names(one) == ["a", "b"]
    assert told.names() == [("ADDED", "a"), ("ADDED", "b")]


@pytest.mark.parametrize(
    "answer",
    [
        refusing(500, "InternalError"),
        refusing(429, "TooManyRequests", Retry_After="0"),
        refusing(403, "Forbidden"),
        refusing(404, "NotFound"),
        resetting,
        lambda handler: handler.send(200, {"items": []}),
        lambda handler: handler.send(200, []),
        lambda handler: handler.send(200, b"{"),
    ],
)
@pytest.mark.parametrize("query", [{}, {"watch": "1"}])
def test_a_start_that_fails_is_tried_again(server, told, reflect, answer, query):
    server.put("pods", "ns", "a")
    server.plan(answer, times=4, **query)
    reflect()
    server.put("pods", "ns", "b")
    told.wait(lambda: "b" in told.objects)
    assert told.names() == [("ADDED", "a"), ("ADDED", "b")]


def test_what_no_server_says_makes_it_list_again(server, told, reflect):
    reflect()
    server.wait(lambda: server.watches)
    server.tell("garbage")
    told.wait(lambda: "fault" in told.restarts)
    server.wait(lambda: server.count(limit="100") == 2)


def test_a_pause_the_server_asks_for_is_kept(server, told, reflect):
    server.plan(refusing(429, "TooManyRequests", Retry_After="1"), watch="1")
    began = time.monotonic()
    reflect()
    server.wait(lambda: server.count(watch="1") == 2)
    assert time.monotonic() - began >= 1


def test_failures_are_spread_over_more_and_more_time(server, told, reflect, monkeypatch):
    """Never a busy loop: a server that always says 410 is asked less and less often."""
    monkeypatch.setattr("resultsfw.kube.reflector._SHORTEST_PAUSE", 0.1)
    monkeypatch.setattr("resultsfw.kube.reflector._LONGEST_PAUSE", 10)
    pauses = []

    server.plan(refusing(410, "Expired"), times=10, watch="1")
    one = reflect()
    monkeypatch.setattr(one._stopped, "wait", pauses.append)
    told.wait(lambda: len(told.restarts) == 10)
    server.wait(lambda: server.watches)
    assert len(pauses) >= 9
    assert all(0.5 * 0.1 <= pause <= 15 for pause in pauses)
    assert pauses[0] < 1
    assert pauses[-1] > 4


def test_a_handler_that_fails_stops_nothing(server, connection, quick, caplog):
    seen = threading.Event()

    def fails(change, obj):
        if obj["metadata"]["name"] == "b":
            seen.set()
        raise RuntimeError("no")

    server.put("pods", "ns", "a")
    one = Reflector(connection, PODS, on_change=fails)
    one.start()
    assert one.synced.wait(10)
    server.put("pods", "ns", "b")
    assert seen.wait(10)
    one.stop()
    assert "a handler failed" in caplog.text


def test_a_transform_that_fails_is_tried_again_and_logged(server, told, reflect, caplog):
    fails = [True, True]

    def transform(obj):
        if fails and obj["metadata"]["name"] == "b":
            fails.pop()
            raise RuntimeError("no")
        return obj

    reflect(transform=transform)
    server.put("pods", "ns", "b")
    told.wait(lambda: "b" in told.objects)
    assert "watch of pods" in caplog.text


def test_a_stop_is_quick_though_nothing_happens(server, reflect):
    one = reflect()
    server.wait(lambda: server.watches)
    one.stop(timeout=5)  # far below the watch's own end
    assert not one.alive


def test_a_stop_while_the_server_says_nothing_is_bounded(connection, server, told):
    until = threading.Event()
    server.plan(silent(until), watch="1")
    one = Reflector(connection, PODS, on_change=told.change, silence=0.5)
    one.start()
    server.wait(lambda: server.count(watch="1") == 1)
    one.stop()
    until.set()
    assert not one.alive


def test_one_that_never_began_can_be_stopped(connection, told):
    Reflector(connection, PODS, on_change=told.change).stop()


def test_errors_are_logged_without_a_stack(server, told, reflect, caplog):
    caplog.set_level(logging.INFO)
    server.plan(refusing(403, "Forbidden", "pods is forbidden: cannot list"), times=2)
    reflect()
    assert "watch of pods: pods is forbidden" in caplog.text
    assert "Traceback" not in caplog.text


def test_many_objects_are_held_in_few_bytes(server, told, reflect, monkeypatch):
    """And every look gets a copy of its own, however they are held."""
    monkeypatch.setattr("resultsfw.kube.reflector._COMPRESS_ABOVE", 5)
    for number in range(12):
        server.put(
            "pods", "ns", f"a{number:02}", spec={"containers": [{"name": "one", "command": ["x" * 99]}]}
        )
    one = reflect()
    for number in range(12, 15):
        server.put("pods", "ns", f"a{number:02}", spec={"containers": []})
    told.wait(lambda: len(told.objects) == 15)
    assert one.holds("ns", "a00")
    assert not one.holds("ns", "b")
    for number in range(12):
        found = one.get("ns", f"a{number:02}")
        assert found["spec"]["containers"][0]["command"] == ["x" * 99]
        found["spec"]["containers"].clear()
        assert one.get("ns", f"a{number:02}")["spec"]["containers"]
    assert all(held.compressed for held in one._entries.values())
    for number in range(11):
        server.remove("pods", "ns", f"a{number:02}")
    told.wait(lambda: sum(one is None for one in told.objects.values()) == 11)
    server.put("pods", "ns", "a14", spec={"containers": [{"name": "two"}]})
    told.wait(lambda: told.objects["a14"]["spec"]["containers"] != [])
    assert not one._entries["ns", "a14"].compressed
    assert one.get("ns", "a14")["spec"]["containers"] == [{"name": "two"}]
