"""An object that cannot be decoded costs that object only."""

import contextlib
import json
import subprocess
import sys

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.cluster import UNREADABLE
from resultsfw.jsons import MAX_DEPTH, is_deeper_than
from resultsfw.kube.decoding import (
    decode_event,
    decode_head,
    decode_list,
    decode_object,
    drop_managed_fields,
)

TEXTS = st.text(alphabet='}]{[,":\\aé', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


def encoded(value):
    return json.dumps(value, ensure_ascii=False).encode()


def deep(levels, opening=b'{"a":', closing=b"}"):
    return opening * levels + b"1" + closing * levels


def an_object(name, value):
    return b'{"metadata":{"name":"%s"},"spec":{"managedBy":"m","x":%s}}' % (name, value)


@given(value=st.dictionaries(TEXTS, VALUES, max_size=3))
def test_valid_json_is_decoded_unchanged(value):
    assert decode_object(encoded(value)) == value


@given(before=VALUES, after=VALUES, levels=st.integers(1024, 3000), shape=st.sampled_from("{["))
def test_a_value_nested_too_deeply_is_dropped_and_the_rest_decoded(before, after, levels, shape):
    value = deep(levels) if shape == "{" else deep(levels, b"[", b"]")
    data = b'{"a":%s,"deep":%s,"z":%s}' % (encoded(before), value, encoded(after))
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(data)
    found = decode_object(data)
    assert "levels" in found.pop(UNREADABLE)
    assert (found["a"], found["z"]) == (before, after)
    assert not is_deeper_than(found, MAX_DEPTH)


@pytest.mark.slow
@given(others=st.lists(VALUES, max_size=4), at=st.integers(0, 4))
def test_an_object_nested_too_deeply_changes_no_other_of_its_list(others, at):
    items = [an_object(b"n%d" % number, encoded(value)) for number, value in enumerate(others)]
    items.insert(at, an_object(b"bad", deep(1200)))
    data = b'{"metadata":{"resourceVersion":"7"},"items":[%s],"kind":"L"}' % b",".join(items)
    page = decode_list(data)
    assert (page["metadata"], page["kind"]) == ({"resourceVersion": "7"}, "L")
    by_name = {one["metadata"]["name"]: one for one in page["items"]}
    assert len(page["items"]) == len(others) + 1
    assert "levels" in by_name.pop("bad")[UNREADABLE]
    assert [one["spec"]["x"] for one in by_name.values()] == others
    assert not any(UNREADABLE in one for one in by_name.values())


@pytest.mark.parametrize(
    "value",
    [b'"\xff"', b'"\\ud800"', b"NaN", b"1" * 5000, b"Infinity"],
    ids=["no UTF-8", "a lone surrogate", "no number", "a long number", "no end"],
)
def test_an_object_that_is_no_strict_json_changes_no_other_of_its_list(value):
    data = b'{"metadata":{},"items":[%s,%s]}' % (an_object(b"bad", value), an_object(b"good", b"1"))
    bad, good = decode_list(data)["items"]
    assert good == json.loads(an_object(b"good", b"1"))
    assert bad["metadata"]["name"] == "bad"
    assert value == b"1" * 5000 or UNREADABLE in bad


def test_an_event_with_an_object_nested_too_deeply_keeps_its_change():
    event = decode_event(b'{"type":"MODIFIED","object":%s}' % an_object(b"bad", deep(1200)))
    assert event["type"] == "MODIFIED"
    assert event["object"]["metadata"] == {"name": "bad"}
    assert "levels" in event["object"][UNREADABLE]


@pytest.mark.parametrize("decode", [decode_object, decode_event, decode_list])
@given(data=st.binary(max_size=40) | VALUES.map(encoded) | st.integers(0, 5000).map(lambda n: b"[" * n))
def test_any_bytes_are_decoded_or_raise_a_value_error(decode, data):
    with contextlib.suppress(ValueError):
        decode(data)


LINEAR = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (40, 40))
from resultsfw.kube.decoding import (
    decode_event,
    decode_head,
    decode_list,
    decode_object,
    drop_managed_fields,
)
for text in (b"{", b"[", b'"', b'\\\\"', b"[]", b'{"a":', b'"\\\\', b'{"a":[', b"]", b'[""', b'":"'):
    for begin in (b"", b'"', b'{"metadata":{"name":"x"},"items":['):
        data = begin + text * (250_000 // len(text))
        for decode in (decode_object, decode_event, decode_list):
            try:
                decode(data)
            except ValueError:
                pass
"""


@pytest.mark.slow
def test_pathological_bytes_take_linear_time():
    done = subprocess.run([sys.executable, "-c", LINEAR], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


@given(levels=st.integers(0, 300), most=st.integers(0, 300))
def test_depth_is_counted_without_recursion(levels, most):
    value = 1
    for number in range(levels):
        value = {"a": value} if number % 2 else [value, 1]
    assert is_deeper_than(value, most) == (levels > most)


@pytest.mark.parametrize("decode", [decode_event, decode_head])
@given(metadata=st.dictionaries(TEXTS | st.just("labels"), VALUES, max_size=3), managed=VALUES, spec=VALUES)
def test_managed_fields_of_an_events_object_are_dropped_and_nothing_else(decode, metadata, managed, spec):
    inner = {"managedFields": [1]}
    kept = {**metadata, "annotations": inner}
    sent = {"metadata": {**kept, "managedFields": managed}, "spec": {"x": spec, **inner}}
    event = decode(json.dumps({"type": "ADDED", "object": sent}, separators=(",", ":")).encode())
    assert event["object"]["metadata"] == kept
    if decode is decode_event:
        assert event["object"]["spec"] == sent["spec"]


@pytest.mark.parametrize("value", [None, [], 1, {}, {"metadata": None}, {"metadata": []}, {"metadata": {}}])
def test_a_value_without_managed_fields_is_unchanged(value):
    before = json.dumps(value)
    drop_managed_fields(value)
    assert json.dumps(value) == before
