"""What an object of the API can have, and what only a program or YAML can put into one."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.jsons import canonical, is_json

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=12,
)


@given(values)
def test_json_is_json_and_has_a_canonical_form(value):
    assert is_json(value)
    assert canonical(value)


@pytest.mark.parametrize(
    "value", [{1: 2}, {None: 1}, b"x", dt.date(2026, 1, 1), {1}, (1,), 2**64, -(2**63) - 1]
)
def test_nothing_else_is_json_however_deep_it_is(value):
    assert not is_json(value)
    assert not is_json({"a": [[{"b": value}]]})
