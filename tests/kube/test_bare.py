"""``managedFields`` are left out of what a server says, and nothing else ever is."""

import json

import captures
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.kube.bare import loads_bare

TEXTS = st.text(alphabet='}]{[,":\\a', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.just("managedFields"), inner, max_size=3)
    ),
    max_leaves=12,
)
FIELDS = st.recursive(
    st.just({}), lambda inner: st.dictionaries(TEXTS.map("f:{}".format), inner, max_size=3), max_leaves=8
)
MANAGED = st.lists(st.fixed_dictionaries({"manager": TEXTS, "fieldsV1": FIELDS}), min_size=1, max_size=3)


def encoded(value):
    return json.dumps(value, separators=(",", ":")).encode()


def bare(obj):
    return {
        **obj,
        "metadata": {key: obj["metadata"][key] for key in obj["metadata"] if key != "managedFields"},
    }


@given(before=VALUES, managed=MANAGED, after=VALUES, spec=VALUES)
def test_what_servers_write_goes_unless_a_text_in_it_ends_like_it(before, managed, after, spec):
    obj = {"metadata": {"a": 1, "b": before, "managedFields": managed, "z": after}, "spec": spec}
    if "managedFields" in encoded([before]).decode():
        return
    found = loads_bare(encoded(obj))
    doubtful = b"}]" in encoded(managed)[:-2]
    assert found == bare(obj) or (doubtful and found == obj)


@given(obj=VALUES, metadata=st.dictionaries(TEXTS, VALUES, max_size=3))
def test_whatever_comes_it_is_that_or_that_without_a_field_of_this_name(obj, metadata):
    data = encoded({"metadata": metadata, "spec": obj})
    whole, found = orjson.loads(data), loads_bare(data)

    def less(one, other):
        if one == other:
            return True
        if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            return all(map(less, one, other))
        if not (isinstance(one, dict) and isinstance(other, dict)):
            return False
        gone = one.keys() - other.keys()
        return (
            gone <= {"managedFields"}
            and not other.keys() - one.keys()
            and all(less(one[k], other[k]) for k in other)
        )

    assert less(whole, found)


@pytest.mark.parametrize("name", captures.names())
def test_pods_as_a_server_sent_them(name):
    managed = [{"manager": "kubelet", "fieldsV1": {"f:status": {'k:{"type":"Ready"}': {".": {}}}}}]
    for event in captures.load(name)["pod_events"]:
        metadata = {**event["object"]["metadata"], "managedFields": managed}
        sent = {**event, "object": {**event["object"], "metadata": metadata}}
        assert loads_bare(encoded(sent)) == {**sent, "object": bare(sent["object"])}


@pytest.mark.parametrize("data", [b"", b"{", b'{"a":1,"managedFields":[{"b":1}]', b"nonsense"])
def test_what_is_no_json_is_an_error(data):
    with pytest.raises(ValueError):
        loads_bare(data)
