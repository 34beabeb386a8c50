"""YAML and JSON as Kubernetes reads them, and what is refused of them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.cli.output import show
from resultsfw.documents import DEPTH, DocumentError, lines_of, read

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2026-01-02", {"a": "2026-01-02"}),
        ("a: 12:30:45", {"a": "12:30:45"}),
        ("a: =", {"a": "="}),
        ("a: yes", {"a": True}),
        ("a: 'yes'", {"a": "yes"}),
        ("a: Off", {"a": False}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: 0644", {"a": 420}),
        ("a: 0o644", {"a": 420}),
        ("a: 0x1F", {"a": 31}),
        ("a: -1_000", {"a": -1000}),
        ("a: 1.5", {"a": 1.5}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: 089", {"a": 89.0}),
        ("a: 1.2.3", {"a": "1.2.3"}),
        ("a: !!str 5", {"a": "5"}),
        ("1: b", {"1": "b"}),
        ("on: b", {"on": "b"}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("{a: [1, {b: c}]}", {"a": [1, {"b": "c"}]}),
        ('{"a":\t"b"}', {"a": "b"}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("d:\n  <<: [{b: 1}, {b: 2, c: 3}]", {"d": {"b": 1, "c": 3}}),
        ("\ufeffa: b".removeprefix("\ufeff"), {"a": "b"}),
    ],
)
def test_scalars_have_the_values_kubernetes_gives_them(text, value):
    assert read(text) == [value]


def test_empty_documents_count():
    assert read("a: 1\n---\n# nothing\n---\nb: 2\n") == [{"a": 1}, None, {"b": 2}]
    assert read("") == []


def test_an_alias_gives_a_copy_of_its_anchor():
    [value] = read("a: &x [1]\nb: *x")
    value["a"].append(2)
    assert value["b"] == [1]


@pytest.mark.parametrize(
    ("text", "why", "number", "line"),
    [
        ("a: b: c", "mapping values are not allowed", 1, 1),
        ("a: 1\n---\nb: [", "did not find expected node content", 2, 4),
        ("a: 1\nb: 2\na: 3", 'a: the key "a" occurs twice', 1, 3),
        ("x: [{a: 1, a: 2}]", 'x[0].a: the key "a" occurs twice', 1, 1),
        ('{"a": 1,\n"a": 2}', 'a: the key "a" occurs twice', 1, 2),
        ("[a]: b", "a key must be text", 1, 1),
        ("a: *x", "has no anchor", 1, 1),
        ("a: &x [*x]", "has no anchor", 1, 1),
        ("a: !!binary aGk=", "tags are not allowed", 1, 1),
        ("a: !Ref x", "tags are not allowed", 1, 1),
        ("a: .inf", "JSON cannot express", 1, 1),
        ("a: " + "9" * 5000, "is not a number", 1, 1),
        ("<<: 5", "must be a mapping", 1, 1),
        ("[" * (DEPTH + 2) + "]" * (DEPTH + 2), "nested deeper", 1, 1),
        ("[" * 200_000, "nested deeper", 1, 1),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested deeper", 1, 1),
    ],
)
def test_an_error_names_document_and_line(text, why, number, line):
    with pytest.raises(DocumentError) as caught:
        read(text)
    assert why in str(caught.value)
    assert (caught.value.number, caught.value.line) == (number, line)


def test_aliases_that_repeat_too_much_text_are_refused():
    text = f"a: &a {'x' * 100_000}\nb:\n" + "- *a\n" * 20_000
    with pytest.raises(DocumentError, match="its aliases repeat more than"):
        read(text)


def test_paths_below_a_long_key_are_kept_short():
    [document] = read(f"? {'x' * 100_000}\n: " + "[" + "1," * 20_000 + "]\n")
    assert len(document["x" * 100_000]) == 20_000
    assert all(len(path) < 2_000 for path in lines_of(f"? {'x' * 5_000}\n: [1, 2]\n", 1))


@pytest.mark.slow
def test_aliases_that_repeat_too_many_values_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(DocumentError, match="values, counting those that aliases repeat"):
        read("\n".join(lines))


def test_every_field_has_its_line():
    text = "x: 1\n---\nmetadata:\n  name: a\n  annotations:\n    example.com/x.y: b\n"
    text += "spec:\n  steps:\n  - image: i"
    lines = lines_of(text, 2)
    assert lines["metadata.name"] == 4
    assert lines["metadata.annotations.example.com/x.y"] == 6
    assert lines["spec.steps[0].image"] == 9
    assert lines_of("a: [", 1)["a"] == 1  # as far as it can be read


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_document_error(text):
    with contextlib.suppress(DocumentError):
        read(text)


@given(VALUES)
def test_a_value_printed_as_json_is_read_back(value):
    assert read(show.as_json([value])) == [[value]]


@given(
    st.dictionaries(
        st.text(
            st.characters(codec="utf-8", exclude_characters="\x7f\x85\ufeff", exclude_categories=["Cc", "Cs"])
        ),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs"])),
        min_size=1,
        max_size=3,
    )
)
def test_a_value_printed_as_yaml_is_read_back(value):
    """Awkward values too: control characters, line ends, what looks like a number."""
    assert read(show.as_yaml(value)) == [value]
