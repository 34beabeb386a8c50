"""The text that Tekton signs of a value, as Go decodes it, and the names that it keeps for signatures."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw_signing import tekton_format

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)


@pytest.mark.parametrize(
    ("value", "signed"),
    [
        ("plain", "plain"),
        ("", ""),
        ('["a,b"]', "a,b"),
        ('["a","b"]', "a,b"),
        ("[]", ""),
        ('["a",null]', "a,"),
        ('["a",1]', '["a",1]'),
        (' ["a"]', ' ["a"]'),
        ('["a"]\n', "a"),
        ('["a"', '["a"'),
        ('{"b":"2","a":"1","b":"3"}', "a,1,b,3"),
        ('{"a":null}', "a,"),
        ('{"a":{}}', '{"a":{}}'),
        ("{}", ""),
        ('"quoted"', "quoted"),
        ("null", ""),
        (' "quoted"\n', "quoted"),
        ('{"\U00010000":"1","\uffff":"2"}', "\uffff,2,\U00010000,1"),
        ('"\\ud800x"', "\ufffdx"),
        ('"\\udc00\\ud800"', "\ufffd\ufffd"),
        ("[NaN]", "[NaN]"),
        ("true", "true"),
        ("NaN", "NaN"),
        ('"\\ud800"', "\ufffd"),
        ('["\\ud83d\\ude00"]', "\U0001f600"),
        ('{"\\ud800":"1","\\udc00":"2"}', "\ufffd,2"),
        ("[" * 100_000, "[" * 100_000),
        ("1" * 100_000, "1" * 100_000),
    ],
)
def test_the_text_is_what_tektons_code_makes_of_the_value(value, signed):
    assert tekton_format.signed_text(value) == signed


@given(st.lists(TEXTS), st.dictionaries(TEXTS, TEXTS), TEXTS)
def test_arrays_and_objects_are_joined_with_commas(items, pairs, text):
    assert tekton_format.signed_text(json.dumps(items)) == ",".join(items)
    expected = ",".join(part for key in sorted(pairs, key=str.encode) for part in (key, pairs[key]))
    assert tekton_format.signed_text(json.dumps(pairs)) == expected
    assert tekton_format.signed_text(json.dumps(text)) == text


@given(st.text() | st.text('[]{}",:\\u0d8 \nnull1'))
def test_whatever_the_value_there_is_a_text_of_it(value):
    assert isinstance(tekton_format.signed_text(value), str)


def test_a_manifest_lists_names_and_is_read_back():
    assert tekton_format.manifest_names(tekton_format.manifest(["a", "b"])) == ["a", "b"]
    assert tekton_format.manifest_names(tekton_format.manifest([])) == []
