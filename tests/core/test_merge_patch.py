"""JSON merge patches against RFC 7386's own pseudocode and examples."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.jsons import copy as json_copy
from resultsfw.jsons import merge_patch

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
keys = st.sampled_from("abc")
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


def oracle(target, patch):
    """RFC 7386, section 2, word for word; it changes its target."""
    if isinstance(patch, dict):
        if not isinstance(target, dict):
            target = {}
        for name, value in patch.items():
            if value is None:
                if name in target:
                    del target[name]
            else:
                target[name] = oracle(target.get(name), value)
        return target
    return patch


@given(values, values)
def test_agrees_with_the_rfc_and_changes_nothing(target, patch):
    before = copy.deepcopy((target, patch))
    merged = merge_patch(target, patch)
    assert (target, patch) == before
    assert merged == oracle(copy.deepcopy(target), copy.deepcopy(patch))


@given(values, values)
def test_a_second_time_changes_nothing(target, patch):
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_examples_of_the_rfc(target, patch, merged):
    assert merge_patch(target, patch) == merged


@given(values)
def test_copies_share_nothing(value):
    copied = json_copy(value)
    assert copied == value
    if isinstance(value, dict | list):
        assert copied is not value
