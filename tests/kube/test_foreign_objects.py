"""Objects of other controllers are recognized by their JSON, and of ours none is ever taken for one."""

import json
from functools import partial

import captures
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resultsfw.cluster import PODS
from resultsfw.kube import CachedCluster, Reflector, lacks_string
from resultsfw.kube.decoding import decode_event, decode_head

OURS = "resultsfw.dev/controller"

TEXTS = st.text(alphabet='}]{[,":\\a/<>&é', max_size=8) | st.just(OURS) | st.just("spec")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
MANAGED = [{"manager": "m", "fieldsV1": {"f:spec": {"f:a": {}}}}]
METADATA = st.dictionaries(TEXTS, VALUES, max_size=3).map(
    lambda more: {**more, "managedFields": MANAGED, "name": "n", "resourceVersion": "7"}
)


def compact(value, **options):
    return json.dumps(value, separators=(",", ":"), **options).encode()


def as_go_writes_it(value):
    """No character escaped that need not be, but for the three of HTML."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()


@st.composite
def spellings(draw, text):
    """A JSON string of a text, each character written in one of the ways that JSON knows."""

    def spelling(char):
        ways = [char, f"\\u{ord(char):04x}", f"\\u{ord(char):04X}"]
        return draw(st.sampled_from([*ways, "\\/"] if char == "/" else ways))

    return '"' + "".join(map(spelling, text)) + '"'


def strings_of(value):
    """All strings in a value, keys among them."""
    if isinstance(value, dict):
        return set(value).union(*map(strings_of, value.values()))
    if isinstance(value, list):
        return set().union(*map(strings_of, value))
    return {value} if isinstance(value, str) else set()


@given(value=VALUES, encode=st.sampled_from([compact, as_go_writes_it, partial(json.dumps, indent=1)]))
def test_json_said_to_lack_a_string_contains_none_when_decoded(value, encode):
    data = encode(value)
    data = data if isinstance(data, bytes) else data.encode()
    assert not (lacks_string(data, OURS) and OURS in strings_of(orjson.loads(data)))


@given(data=st.data(), before=VALUES, after=VALUES)
def test_a_string_is_found_however_it_is_escaped(data, before, after):
    written = data.draw(spellings(OURS)).encode()
    sent = b'{"a":%s,"spec":{"managedBy":%s},"z":%s}' % (compact(before), written, as_go_writes_it(after))
    assert orjson.loads(sent)["spec"] == {"managedBy": OURS}
    assert not lacks_string(sent, OURS)


@given(script=st.text(alphabet='ab<>&"\\\n\té', max_size=50))
def test_the_escapes_of_every_script_hide_no_foreign_object(script):
    """Else each of Tekton's runs would be decoded after all."""
    assert lacks_string(
        as_go_writes_it({"spec": {"managedBy": "tekton.dev/pipeline", "script": script}}), OURS
    )


@pytest.mark.parametrize("text", ["", 'a"b', "a\\b", "a<b", "é", "a b"])
def test_a_text_that_encoders_may_escape_is_never_said_to_be_lacking(text):
    assert not lacks_string(b"{}", text)


@given(metadata=METADATA, spec=VALUES, status=VALUES, encode=st.sampled_from([compact, as_go_writes_it]))
@example(metadata={"name": "n", "x": {"spec": {"y": 1}}}, spec={}, status={}, encode=compact)
@example(metadata={"name": "n", "x": [{"a": 1, "spec": {}}]}, spec={}, status={}, encode=compact)
def test_the_head_of_an_event_has_the_metadata_of_the_whole(metadata, spec, status, encode):
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}
    line = encode({"type": "MODIFIED", "object": obj})
    whole = decode_event(line)
    try:
        head = decode_head(line)
    except ValueError:
        return
    assert head["type"] == whole["type"]
    bare = {key: value for key, value in whole["object"]["metadata"].items() if key != "managedFields"}
    found = {key: value for key, value in head["object"]["metadata"].items() if key != "managedFields"}
    assert found == bare


@pytest.mark.parametrize("name", captures.names())
def test_runs_as_tekton_left_them_are_foreign_and_have_a_head(name):
    run = captures.load(name)["tekton_final"]
    line = as_go_writes_it(
        {"type": "MODIFIED", "object": {**run, "metadata": {**run["metadata"], "a": MANAGED}}}
    )
    assert lacks_string(line, OURS)
    assert decode_head(line)["object"]["metadata"]["uid"] == run["metadata"]["uid"]
    run["spec"]["managedBy"] = OURS
    assert not lacks_string(as_go_writes_it(run), OURS)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}',
        b'{"object":{"metadata":{"labels":{"x":"y","spec":{"a":1}}},"spec":{}},"type":"ADDED"}',
        b'[{"a":1,"spec":{',
        b'"x,"spec":{',
    ],
)
def test_an_event_without_a_head_raises_a_value_error(line):
    with pytest.raises(ValueError):
        decode_head(line)


# What a reflector makes of it.


@pytest.fixture
def follow(reflect):
    """Follow pods as runs are followed: those that do not name us are held by their identity."""

    def transform(obj):
        return obj if (obj.get("spec") or {}).get("managedBy") == OURS else {"metadata": obj["metadata"]}

    return partial(reflect, transform=transform, is_foreign=partial(lacks_string, text=OURS))


def mine(**more):
    return {"spec": {"managedBy": OURS, **more}}


@pytest.mark.parametrize("where", ["list", "watch"])
def test_of_a_foreign_object_only_the_identity_is_held(server, cluster, told, follow, where):
    if where == "list":
        server.put("pods", "ns", "a", metadata={"labels": {"x": "y"}}, spec={"x": 1})
    reflector = follow()
    server.put("pods", "ns", "a", metadata={"labels": {"x": "y"}}, spec={"x": 2})
    server.put("pods", "ns", "b", **mine())
    told.wait(lambda: "b" in told.objects)
    assert reflector.holds("ns", "a")
    version = server.held("pods")["ns", "a"]["metadata"]["resourceVersion"]
    held = reflector.get("ns", "a")
    assert held.keys() == {"metadata"}
    assert held["metadata"].keys() == {"name", "namespace", "uid", "resourceVersion"}
    assert held["metadata"]["resourceVersion"] == version
    assert reflector.get_fresh("ns", "a") is None
    # Who wants to read it all the same gets it from the server.
    assert CachedCluster(cluster, {PODS: reflector}).get(PODS, "ns", "a")["spec"] == {"x": 2}
    assert reflector.get_fresh("ns", "b")["spec"] == {"managedBy": OURS}


def test_a_foreign_object_is_reported_when_it_appears_and_when_it_is_deleted(server, told, follow):
    reflector = follow()
    for number in range(4):
        server.put("pods", "ns", "a", spec={"x": number})
    server.remove("pods", "ns", "a")
    told.wait(lambda: told.objects.get("a", 1) is None)
    assert told.names() == [("ADDED", "a"), ("DELETED", "a")]
    assert not reflector.holds("ns", "a")
    assert reflector.version == str(server.state.version)


def test_a_foreign_object_that_is_created_again_is_reported_again(server, told, follow):
    follow()
    server.wait(lambda: server.watches)
    server.put("pods", "ns", "a", spec={})
    server.remove("pods", "ns", "a")
    server.put("pods", "ns", "a", spec={})
    told.wait(lambda: len(told.changes) == 3)
    assert told.names() == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]


def test_an_object_that_becomes_foreign_is_reported_and_no_longer_read(server, told, follow):
    server.put("pods", "ns", "a", **mine())
    reflector = follow()
    server.put("pods", "ns", "a", spec={"managedBy": "else"})
    told.wait(lambda: len(told.changes) == 2)
    assert told.names() == [("ADDED", "a"), ("MODIFIED", "a")]
    assert told.objects["a"].keys() == {"metadata"}
    assert reflector.get_fresh("ns", "a") is None


def test_an_object_that_becomes_ours_is_reported_and_read(server, told, follow):
    server.put("pods", "ns", "a", spec={})
    reflector = follow()
    server.put("pods", "ns", "a", **mine(x=1))
    told.wait(lambda: len(told.changes) == 2)
    assert reflector.get_fresh("ns", "a")["spec"]["x"] == 1
    assert told.objects["a"]["spec"]["x"] == 1


def test_a_foreign_object_deleted_between_two_watches_is_reported_as_deleted(server, told, follow):
    reflector = follow()
    server.put("pods", "ns", "a", spec={})
    told.wait(lambda: told.names() == [("ADDED", "a")])
    with server.changed:
        server.tell("gone")
        server.wait(lambda: not server.watches)
        server.remove("pods", "ns", "a")
        server.forget()
    told.wait(lambda: told.names()[-1] == ("DELETED", "a"))
    assert len(reflector) == 0


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"500"},"spec":{}}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"x","resourceVersion":"500"}}}',
    ],
)
def test_an_event_whose_head_is_not_enough_is_decoded_whole(server, told, follow, line):
    def answer(handler):
        handler.begin()
        handler.chunk(line + b"\n")
        handler.chunk(b"")

    server.plan(answer, watch="1")
    reflector = follow()
    told.wait(lambda: told.restarts)
    assert reflector.version == "500"


# Labels that select nothing of the others' in the first place.

NARROW, WIDE = "run,!theirs", "run"


@pytest.fixture
def select(reflect):
    return partial(reflect, label_selector=NARROW, wider_selector=WIDE)


@pytest.fixture
def cached_select(cluster, select):
    return CachedCluster(cluster, {PODS: select()})


def labelled(**more):
    return {"metadata": {"labels": {"run": "x", **more}}}


def test_the_narrow_selector_is_used_as_long_as_it_selects_what_is_ours(server, cluster, told, select):
    server.put("pods", "ns", "foreign", **labelled(theirs="x"))
    reflector = select()
    made = {"metadata": {"namespace": "ns", "name": "a", "labels": {"run": "x"}}}
    CachedCluster(cluster, {PODS: reflector}).create(PODS, made)
    told.wait(lambda: "a" in told.objects)
    server.remove("pods", "ns", "a")
    told.wait(lambda: told.objects["a"] is None)
    assert not reflector.holds("ns", "foreign")
    assert server.count(labelSelector=WIDE) == 0


@pytest.mark.parametrize("how", ["created", "read"])
def test_the_wide_selector_is_used_once_an_object_of_ours_needs_it(server, cached_select, told, caplog, how):
    """As an admission webhook may give it the label: its changes must be seen all the same."""
    server.wait(lambda: server.watches)
    if how == "created":
        metadata = {"namespace": "ns", "name": "a", "labels": {"run": "x", "theirs": "x"}}
        cached_select.create(PODS, {"metadata": metadata})
    else:
        server.put("pods", "ns", "a", **labelled(theirs="x"))
        assert cached_select.get(PODS, "ns", "a")
    told.wait(lambda: "a" in told.objects)
    server.put("pods", "ns", "a", **labelled(theirs="y"))
    told.wait(lambda: told.objects["a"]["metadata"]["labels"]["theirs"] == "y")
    assert "Pod ns/a is not selected by run,!theirs: watching pods by run from now on" in caplog.text


def test_the_wide_selector_is_used_once_an_object_leaves_the_narrow_one(server, told, select):
    """A server says then that it is deleted, and shows it with its new labels."""
    server.put("pods", "ns", "a", **labelled())
    reflector = select()
    server.wait(lambda: server.watches)
    with server.changed:
        obj = server.put("pods", "ns", "a", **labelled(theirs="x"))
        server.state.history[-1] = (server.state.version, "pods", "MODIFIED", {**obj, "metadata": {}})
    reflector._apply("DELETED", obj)
    told.wait(lambda: told.names()[-1] == ("ADDED", "a"))
    assert told.names() == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]


def test_a_list_that_was_read_by_the_narrow_selector_is_read_again(server, cluster, connection, told, quick):
    reflector = Reflector(connection, PODS, on_change=told.change, label_selector=NARROW, wider_selector=WIDE)
    cached = CachedCluster(cluster, {PODS: reflector})
    server.put("pods", "ns", "a", **labelled(theirs="x"))
    original = reflector._transform

    def read_meanwhile(obj):
        reflector._transform = original
        cached.get(PODS, "ns", "a")
        return original(obj)

    reflector._transform = read_meanwhile
    server.put("pods", "ns", "b", **labelled())
    reflector.start()
    told.wait(lambda: {"a", "b"} <= told.objects.keys())
    reflector.stop()
