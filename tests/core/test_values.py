"""From text to a value of the declared type, under Tekton's rules and in Tekton's words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import Problem, ProblemCode, ResultSpec
from resultsfw.values import (
    escape_surrogates,
    format_names,
    label,
    mismatch_message,
    missing_keys_message,
    parse_value,
    utf8_size,
)

ARRAY = ResultSpec(name="list", type="array")
OBJECT = ResultSpec(name="map", type="object", properties=("url", "digest"))
FREE = ResultSpec(name="free", type="object")
WHOLE = st.text()  # of characters that UTF-8 has


def shown(problem):
    """A mismatch in the words of the condition."""
    return mismatch_message([problem])


@given(st.text())
def test_a_string_is_taken_verbatim(text):
    """Guarantee 6: newlines, quotes, emoji, control characters survive."""
    assert parse_value(ResultSpec(name="s"), text) == text


@given(st.lists(WHOLE))
def test_an_array_of_strings_round_trips(elements):
    assert parse_value(ARRAY, json.dumps(elements)) == elements
    assert parse_value(ARRAY, json.dumps(elements, ensure_ascii=False, indent=1)) == elements


@pytest.mark.slow
@given(st.dictionaries(WHOLE, WHOLE))
def test_an_object_of_strings_round_trips(members):
    assert parse_value(FREE, json.dumps(members)) == members
    assert parse_value(FREE, json.dumps(members, ensure_ascii=False)) == members


@given(st.text(), st.sampled_from([ARRAY, OBJECT, FREE]))
def test_any_text_is_a_value_of_the_type_or_a_problem(text, declared):
    got = parse_value(declared, text)
    if isinstance(got, Problem):
        assert got.code in (ProblemCode.TYPE_MISMATCH, ProblemCode.MISSING_KEYS, ProblemCode.NOT_UTF8)
    else:
        assert isinstance(got, list if declared.type == "array" else dict)
        assert got == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        ' ["a"]',  # a first byte that is no bracket makes a string, says Tekton
        '\n["a"]',
        '\ufeff["a"]',
        '"a"',
        "null",
        "1",
        "[1]",
        "[null]",
        '["a", null]',
        "[true]",
        '[["a"]]',
        '[{"a": "b"}]',
        "[NaN]",
        "[Infinity]",
        '["a"',
        '["a"] x',
        '["a",]',
        "['a']",
        '["a\nb"]',  # a raw line end inside a string is not JSON
        '["\\x41"]',
        "[" + "9" * 5000 + "]",
        "[" * 100_000,
        '{"a":' * 20_000,
        "[" * 500 + "]" * 500,
    ],
)
@pytest.mark.parametrize("declared", [ARRAY, OBJECT], ids=["array", "object"])
def test_what_is_no_json_of_strings_is_a_string(text, declared):
    problem = parse_value(declared, text)
    assert problem.code is ProblemCode.TYPE_MISMATCH
    assert problem.message == (
        f'expected to be "{declared.type}" type but was initialized to a different type "string"'
    )
    assert problem.result == declared.name


@pytest.mark.parametrize(
    "text", ['{"a": 1}', '{"a": null}', '{"a": ["b"]}', '{"a": {"b": "c"}}', '{"a": NaN}', "{1: 2}", '{"a"}']
)
def test_an_object_of_other_things_than_strings_is_a_string(text):
    assert parse_value(FREE, text).message.endswith('a different type "string"')


def test_each_other_type_is_named():
    assert parse_value(ARRAY, '{"a": "b"}').message.endswith('a different type "object"')
    assert parse_value(FREE, '["a"]').message.endswith('a different type "array"')
    assert parse_value(ARRAY, "[]") == []
    assert parse_value(FREE, "{}") == {}
    assert parse_value(ARRAY, '["a"]\n') == ["a"]


def test_of_a_key_twice_the_later_counts_as_in_go():
    assert parse_value(FREE, '{"a": "1", "b": "2", "a": "3"}') == {"a": "3", "b": "2"}


def test_an_escaped_lone_surrogate_is_refused_by_name():
    """Guarantee 6: what is not UTF-8 is refused by name, not replaced in silence."""
    problem = parse_value(ARRAY, '["\\ud83d\\ude00", "\\ud800"]', step="build")
    assert problem.code is ProblemCode.NOT_UTF8
    assert 'result "list" of Step "build" is not UTF-8' in problem.message
    assert parse_value(ARRAY, '["\\ud83d\\ude00"]') == ["😀"]
    assert parse_value(FREE, '{"a": "\\udfff"}').code is ProblemCode.NOT_UTF8


def test_a_lone_surrogate_in_a_key_is_refused_too():
    """A key goes into the status as a value does."""
    assert parse_value(FREE, '{"\\ud800": "a"}').code is ProblemCode.NOT_UTF8


def test_absent_keys_are_told_in_declaration_order_and_extra_ones_are_fine():
    assert parse_value(OBJECT, '{"more": "", "url": "u", "digest": "d"}') == {
        "more": "",
        "url": "u",
        "digest": "d",
    }
    problem = parse_value(OBJECT, "{}")
    assert problem.code is ProblemCode.MISSING_KEYS
    assert missing_keys_message([problem]) == (
        "missing keys for these results which are required in TaskResult's properties map[map:[url digest]]"
    )


def test_missing_keys_of_several_results_print_as_a_go_map():
    problems = [
        Problem(code=ProblemCode.MISSING_KEYS, result="z", message="k"),
        Problem(code=ProblemCode.MISSING_KEYS, result="a", message="k l"),
        Problem(code=ProblemCode.MISSING_KEYS, result="m", step="s", message="n"),
    ]
    assert missing_keys_message(problems).endswith("properties map[a:[k l] s.m:[n] z:[k]]")


def test_a_mismatch_in_tektons_words():
    """As pkg/reconciler/taskrun/validate_taskrun.go prints it, two blanks after the colon included."""
    assert shown(parse_value(ResultSpec(name="X", type="array"), "plain")) == (
        "Provided results don't match declared results; may be invalid JSON or missing result declaration: "
        ' "X": task result is expected to be "array" type but was initialized to a different type "string"'
    )


def test_several_mismatches_in_tektons_words():
    problems = [
        parse_value(ResultSpec(name="b", type="array"), "x"),
        parse_value(ResultSpec(name="a", type="object"), "[]"),
        parse_value(ResultSpec(name="c", type="array"), "x", step="s"),
    ]
    assert mismatch_message(problems).partition("declaration: ")[2] == (
        ' "a": task result is expected to be "object" type but was initialized to a different type "array",'
        ' "b": task result is expected to be "array" type but was initialized to a different type "string",'
        ' "s.c": step result is expected to be "array" type but was initialized to a different type "string"'
    )


@given(st.text())
def test_byte_size_is_utf8s(text):
    assert utf8_size(text) == len(text.encode())


def test_a_lone_surrogate_has_no_bytes_and_can_be_shown():
    assert utf8_size("a\ud800") is None
    assert escape_surrogates("a\ud800é") == "a\\ud800é"


def test_how_messages_name_results():
    assert label("x") == 'result "x"'
    assert label("x", "build") == 'result "x" of Step "build"'
    assert format_names(["a", "b"]) == '"a", "b"'
    assert format_names([f"{index}" for index in range(20)]).endswith('"18", "19"')
    assert format_names([f"{index}" for index in range(21)]).endswith('"19" and 1 more')
    assert format_names(["n" * 255, "m" * 256]) == f'"{"n" * 255}", "{"m" * 255}..."'
