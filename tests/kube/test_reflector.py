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


def test_objects_are_listed_and_then_watched(server, told, reflect):
    server.put("pods", "ns", "a")
    reflector = reflect()
    assert told.names() == [("ADDED", "a")]
    server.put("pods", "ns", "b", spec={"x": 1})
    server.put("pods", "ns", "b", spec={"x": 2})
    server.remove("pods", "ns", "a")
    told.wait(lambda: len(told.changes) == 4)
    assert told.names()[1:] == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]
    assert reflector.get("ns", "b")["spec"] == {"x": 2}
    assert reflector.get("ns", "a") is None
    assert len(reflector) == 1
    assert told.restarts == []
    watch = next(asked for asked in server.asked if asked.query.get("watch"))
    assert watch.query["allowWatchBookmarks"] == "true"
    assert 300 <= int(watch.query["timeoutSeconds"]) <= 600
    assert watch.query["resourceVersion"] == "101"


def test_listed_objects_get_their_api_version_and_kind(server, told, reflect):
    server.put("pods", "ns", "a")
    assert reflect().get("ns", "a")["kind"] == "Pod"
    assert told.objects["a"]["apiVersion"] == "v1"


def test_namespace_and_selector_are_sent_to_the_server(server, told, reflect):
    server.put("pods", "ns", "a", metadata={"labels": {"run": "x"}})
    server.put("pods", "ns", "b")
    server.put("pods", "other", "c", metadata={"labels": {"run": "x"}})
    reflector = reflect(namespace="ns", label_selector="run")
    server.put("pods", "other", "d", metadata={"labels": {"run": "x"}})
    server.put("pods", "ns", "e", metadata={"labels": {"run": "x"}})
    told.wait(lambda: "e" in told.objects)
    assert names(reflector) == ["a", "e"]


def test_one_object_is_listed_and_watched_by_its_name(server, told, reflect):
    """As Kubernetes authorizes by ``resourceNames``."""
    reflector = reflect(namespace="ns", name="a")
    reflector.put_if_newer({"metadata": {"namespace": "ns", "name": "b", "resourceVersion": "999"}})
    assert not reflector.holds("ns", "b")
    server.put("pods", "ns", "a")
    told.wait(lambda: "a" in told.objects)
    assert {asked.query["fieldSelector"] for asked in server.asked} == {"metadata.name=a"}
    assert len({asked.query.get("watch") for asked in server.asked}) == 2


def test_a_returned_object_is_a_copy(server, told, reflect):
    server.put("pods", "ns", "a", spec={"x": [1]})
    reflector = reflect()
    reflector.get("ns", "a")["spec"]["x"].append(2)
    told.objects["a"]["spec"]["x"].append(3)
    assert reflector.get("ns", "a")["spec"] == {"x": [1]}


def test_only_what_the_transform_returns_is_cached(server, told, reflect):
    def slim(obj):
        return {"metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}

    server.put("pods", "ns", "a", metadata={"managedFields": [1]}, spec={})
    reflector = reflect(transform=slim)
    assert set(reflector.get("ns", "a")) == {"metadata"}
    server.put("pods", "ns", "b", metadata={"managedFields": [1]}, spec={})
    told.wait(lambda: "b" in told.objects)
    reflector.put_if_newer(
        {"metadata": {"namespace": "ns", "name": "c", "resourceVersion": "999", "managedFields": []}}
    )
    for name in "bc":
        assert "managedFields" not in reflector.get("ns", name)["metadata"]
    assert "spec" not in told.objects["b"]


def test_cached_objects_can_be_transformed_again(server, told, reflect):
    kept = {"a", "b"}

    def transform(obj):
        spec = obj.get("spec") if obj["metadata"]["name"] in kept else {"less": True}
        return {**obj, "spec": spec}

    for name in ("a", "b"):
        server.put("pods", "ns", name, spec={"x": 1})
    reflector = reflect(transform=transform)
    kept.clear()
    reflector.retransform("ns", ["a", "unknown"])
    assert reflector.get("ns", "a")["spec"] == {"less": True}
    assert reflector.get("ns", "b")["spec"] == {"x": 1}
    assert names(reflector) == ["a", "b"]
    server.put("pods", "ns", "a", spec={"x": 2})
    told.wait(lambda: len(told.changes) == 3)
    assert told.names()[2] == ("MODIFIED", "a")


def test_a_list_begins_again_when_a_page_has_expired(server, told, reflect):
    for number in range(25):
        server.put("pods", "ns", f"p{number:02}")
    server.plan(lambda handler: (server.forget(), handler.serve()), times=2, path="pods")
    reflector = reflect(page=10)
    assert len(reflector) == 25
    assert told.names() == [("ADDED", f"p{number:02}") for number in range(25)]
    assert told.restarts == ["gone"]
    assert [asked.query.get("limit") for asked in server.asked[:3]] == ["10"] * 3


@pytest.mark.parametrize(
    ("command", "word"),
    [("end", "ended"), ("close", "cut"), ("reset", "cut"), ("half", "ended"), ("error", "cut")],
)
def test_a_watch_that_ends_resumes_at_its_version(server, told, reflect, command, word):
    server.put("pods", "ns", "a")
    reflector = reflect()
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
    assert names(reflector) == ["a", "b", "c"]


def test_half_a_line_is_ignored(server, told, reflect):
    """It says that "a" is deleted, but not to its end."""
    server.put("pods", "ns", "a")
    reflector = reflect()
    server.wait(lambda: server.watches)
    server.tell("half")
    server.put("pods", "ns", "b")
    told.wait(lambda: "b" in told.objects)
    assert names(reflector) == ["a", "b"]
    assert ("DELETED", "a") not in told.names()


def test_a_bookmark_moves_the_version_to_resume_at(server, told, reflect):
    reflector = reflect()
    server.wait(lambda: server.watches)
    server.put("configmaps", "ns", "other")
    server.tell("bookmark")
    server.wait(lambda: server.bookmarks == 1)
    server.tell("end")
    told.wait(lambda: told.restarts)
    server.wait(lambda: server.count(watch="1") == 2)
    assert server.asked[-1].query["resourceVersion"] == "101"
    assert reflector.version == "101"


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
def test_an_expired_version_is_followed_by_a_list_whose_differences_are_reported(server, told, reflect, how):
    """What was deleted meanwhile is told as deleted; who has the name again is another object."""
    changing = change_much(server)
    next(changing)
    reflector = reflect()
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
    assert names(reflector) == ["again", "changed", "new", "same"]
    changes = told.names()[before:]
    assert changes.count(("DELETED", "gone")) == 1
    assert [change for change in changes if change[1] == "again"] == [
        ("DELETED", "again"),
        ("ADDED", "again"),
    ]
    assert ("MODIFIED", "changed") in changes
    assert not [change for change in changes if change[1] == "same"]


def test_a_server_restored_from_a_backup_replaces_the_cache(server, told, reflect):
    """Restored from a backup, its versions are lower; nothing from before survives."""
    server.put("pods", "ns", "a", spec={"x": 1})
    server.put("pods", "ns", "lost")
    reflector = reflect()
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
    assert reflector.get("ns", "a")["spec"] == {"x": 0}
    assert reflector.get("ns", "lost") is None


def test_a_silent_watch_is_given_up_and_resumed(server, told, reflect, caplog):
    reflector = reflect(silence=0.1)
    told.wait(lambda: "cut" in told.restarts)
    server.put("pods", "ns", "a")
    told.wait(lambda: "a" in told.objects)
    assert names(reflector) == ["a"]
    assert server.count(limit="100") == 1
    assert not caplog.records  # nothing may have changed: no reason for a warning


def test_a_server_that_was_down_is_watched_again(server, told, reflect):
    server.put("pods", "ns", "a")
    reflector = reflect()
    server.wait(lambda: server.watches)
    server.down()
    told.wait(lambda: len(told.restarts) > 5)
    server.put("pods", "ns", "b")
    server.up()
    told.wait(lambda: "b" in told.objects)
    assert names(reflector) == ["a", "b"]
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
def test_a_list_or_watch_that_fails_at_the_start_is_retried(server, told, reflect, answer, query):
    server.put("pods", "ns", "a")
    server.plan(answer, times=4, **query)
    reflect()
    server.put("pods", "ns", "b")
    told.wait(lambda: "b" in told.objects)
    assert told.names() == [("ADDED", "a"), ("ADDED", "b")]


def test_an_invalid_line_is_followed_by_a_list(server, told, reflect):
    reflect()
    server.wait(lambda: server.watches)
    server.tell("garbage")
    told.wait(lambda: "fault" in told.restarts)
    server.wait(lambda: server.count(limit="100") == 2)


def test_retry_after_delays_the_next_watch(server, told, reflect):
    server.plan(refusing(429, "TooManyRequests", Retry_After="1"), watch="1")
    began = time.monotonic()
    reflect()
    server.wait(lambda: server.count(watch="1") == 2)
    assert time.monotonic() - began >= 1


def test_repeated_failures_are_retried_with_growing_delays(server, told, reflect, monkeypatch):
    """Never a busy loop: a server that always says 410 is asked less and less often."""
    monkeypatch.setattr("resultsfw.kube.reflector._SHORTEST_PAUSE", 0.1)
    monkeypatch.setattr("resultsfw.kube.reflector._LONGEST_PAUSE", 10)
    pauses = []

    server.plan(refusing(410, "Expired"), times=10, watch="1")
    reflector = reflect()
    monkeypatch.setattr(reflector._stopped, "wait", pauses.append)
    told.wait(lambda: len(told.restarts) == 10)
    server.wait(lambda: server.watches)
    assert len(pauses) >= 9
    assert all(0.5 * 0.1 <= pause <= 15 for pause in pauses)
    assert pauses[0] < 1
    assert pauses[-1] > 4


def test_a_failing_handler_is_logged_and_called_again(server, connection, quick, caplog):
    seen = threading.Event()

    def fails(change, obj):
        if obj["metadata"]["name"] == "b":
            seen.set()
        raise RuntimeError("no")

    server.put("pods", "ns", "a")
    reflector = Reflector(connection, PODS, on_change=fails)
    reflector.start()
    assert reflector.synced.wait(10)
    server.put("pods", "ns", "b")
    assert seen.wait(10)
    reflector.stop()
    assert "a handler failed" in caplog.text


def test_a_failing_transform_is_logged_and_tried_again(server, told, reflect, caplog):
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


def test_a_reflector_stops_though_no_event_comes(server, reflect):
    reflector = reflect()
    server.wait(lambda: server.watches)
    reflector.stop(timeout=5)  # far below the watch's own end
    assert not reflector.alive


def test_a_reflector_stops_though_the_server_does_not_respond(connection, server, told):
    until = threading.Event()
    server.plan(silent(until), watch="1")
    reflector = Reflector(connection, PODS, on_change=told.change, silence=0.5)
    reflector.start()
    server.wait(lambda: server.count(watch="1") == 1)
    reflector.stop()
    until.set()
    assert not reflector.alive


def test_a_reflector_that_was_not_started_can_be_stopped(connection, told):
    Reflector(connection, PODS, on_change=told.change).stop()


def test_errors_of_the_server_are_logged_without_a_traceback(server, told, reflect, caplog):
    caplog.set_level(logging.INFO)
    server.plan(refusing(403, "Forbidden", "pods is forbidden: cannot list"), times=2)
    reflect()
    assert "watch of pods: pods is forbidden" in caplog.text
    assert "Traceback" not in caplog.text


def test_many_objects_are_compressed_and_still_returned_as_copies(server, told, reflect, monkeypatch):
    """And every look gets a copy of its own, however they are held."""
    monkeypatch.setattr("resultsfw.kube.reflector._COMPRESS_ABOVE", 5)
    for number in range(12):
        server.put(
            "pods", "ns", f"a{number:02}", spec={"containers": [{"name": "one", "command": ["x" * 99]}]}
        )
    reflector = reflect()
    for number in range(12, 15):
        server.put("pods", "ns", f"a{number:02}", spec={"containers": []})
    told.wait(lambda: len(told.objects) == 15)
    assert reflector.holds("ns", "a00")
    assert not reflector.holds("ns", "b")
    for number in range(12):
        found = reflector.get("ns", f"a{number:02}")
        assert found["spec"]["containers"][0]["command"] == ["x" * 99]
        found["spec"]["containers"].clear()
        assert reflector.get("ns", f"a{number:02}")["spec"]["containers"]
    assert all(held.compressed for held in reflector._entries.values())
    for number in range(11):
        server.remove("pods", "ns", f"a{number:02}")
    told.wait(lambda: sum(obj is None for obj in told.objects.values()) == 11)
    server.put("pods", "ns", "a14", spec={"containers": [{"name": "two"}]})
    told.wait(lambda: told.objects["a14"]["spec"]["containers"] != [])
    assert not reflector._entries["ns", "a14"].compressed
    assert reflector.get("ns", "a14")["spec"]["containers"] == [{"name": "two"}]
