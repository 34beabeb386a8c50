"""The combinations of a matrix: Tekton's, in Tekton's order, and never more than the limit."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.references import format_reference
from resultsfw.tekton.pipelinerun.matrix import (
    MatrixError,
    combinations_of,
    has_empty_array,
    mistyped_param,
    most_combinations,
    refuse_combinations,
)
from resultsfw.types import Reference

REFERENCE = format_reference(
    Reference(backend="object-store", location="file:///x", size=9, digest="sha256:" + "0" * 64)
)


def params(**values):
    return [{"name": name, "value": value} for name, value in values.items()]


def include(**values):
    return {"params": params(**values)}


def combined(limit=256, **matrix):
    return list(combinations_of(matrix, limit))


def test_the_last_param_varies_slowest_and_names_are_sorted():
    made = combined(params=params(platform=["linux", "mac"], browser=["chrome", "safari"]))
    assert made == [
        {"browser": "chrome", "platform": "linux"},
        {"browser": "chrome", "platform": "mac"},
        {"browser": "safari", "platform": "linux"},
        {"browser": "safari", "platform": "mac"},
    ]
    assert [list(combination) for combination in made] == [["browser", "platform"]] * 4


def test_an_include_adds_to_the_combinations_that_agree_and_else_becomes_one():
    made = combined(
        params=params(arch=["amd64", "s390x"], version=["1", "2"]),
        include=[
            include(package="all"),
            include(arch="s390x", flags="-v"),
            include(version="1", context="old"),
            include(arch="none"),
            include(arch="amd64", version="9"),  # agrees with none, and a value of it is there: left out
        ],
    )
    assert made == [
        {"arch": "amd64", "context": "old", "package": "all", "version": "1"},
        {"arch": "s390x", "context": "old", "flags": "-v", "package": "all", "version": "1"},
        {"arch": "amd64", "package": "all", "version": "2"},
        {"arch": "s390x", "flags": "-v", "package": "all", "version": "2"},
        {"arch": "none"},
    ]


def test_includes_alone_are_the_combinations():
    made = combined(include=[include(b="1", a="2"), include(b="3")])
    assert made == [{"a": "2", "b": "1"}, {"b": "3"}]


def test_a_reference_is_an_element_like_any_other():
    made = combined(params=params(a=[REFERENCE, "text"]), include=[include(a=REFERENCE, b="c")])
    assert made == [{"a": REFERENCE, "b": "c"}, {"a": "text"}]


names = st.sampled_from("abcd")
values = st.sampled_from(["0", "1", "2"])
arrays = st.dictionaries(names, st.lists(values, max_size=4, unique=True), max_size=3)
includes = st.lists(st.dictionaries(names, values, max_size=3), max_size=4)


def tektons(arrays, includes):
    """Return what Tekton's FanOut returns, by its description: product, overwriting, adding."""
    if not arrays:
        return includes
    chosen = itertools.product(*reversed(arrays.values()))
    rows = [dict(zip(reversed(arrays), values, strict=True)) for values in chosen]
    for row in rows:
        for entry in includes:
            if all(row.get(name, value) == value for name, value in entry.items()):
                row.update(entry)
    for entry in includes:
        seen = {pair for row in rows for pair in row.items()}
        if entry and not seen & set(entry.items()):
            rows.append(entry)
    return rows


@given(arrays, includes)
def test_combinations_are_those_of_the_description(arrays, includes):
    matrix = {"params": params(**arrays), "include": [include(**entry) for entry in includes]}
    if has_empty_array(matrix):
        return
    made = combined(**matrix)
    assert made == tektons(arrays, includes)
    assert len(made) <= most_combinations(matrix)


@given(arrays, includes, st.integers(0, 20))
def test_no_more_combinations_are_made_than_the_limit(arrays, includes, limit):
    matrix = {"params": params(**arrays), "include": [include(**entry) for entry in includes]}
    wanted = len(combined(limit=10**6, **matrix))
    if wanted <= limit:
        refuse_combinations(matrix, limit)
        assert len(combined(limit=limit, **matrix)) == wanted
    else:
        with pytest.raises(MatrixError, match=rf"expected 0 <= \d+ <= {limit}"):
            combined(limit=limit, **matrix)


@pytest.mark.parametrize(
    "matrix",
    [
        {"params": params(**{f"p{number}": ["a", "b"] for number in range(5000)})},
        {"include": [include(a="b")] * 257},
    ],
)
def test_too_many_combinations_are_counted_and_not_made(matrix):
    for refuse in (refuse_combinations, combinations_of):
        with pytest.raises(MatrixError, match=r"expected 0 <= [0-9]{3,19} <= 256"):
            refuse(matrix, 256)


def test_few_combinations_of_very_many_params_or_includes_are_not_made():
    with pytest.raises(MatrixError, match="over the limit of 500000"):
        combinations_of({"params": params(many=["a"] * 256), "include": [{}] * 30_000}, 256)
    wide = params(**{f"p{number}": ["a"] for number in range(10_000)}, many=["a"] * 256)
    with pytest.raises(MatrixError, match="256 combinations of 10001 params and includes are 2560256"):
        combinations_of({"params": wide}, 256)


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (
            {"params": params(a="x")},
            'parameters of type array only are allowed, but param "a" has type "string"',
        ),
        ({"params": params(a={"k": "v"})}, 'of type array only are allowed, but param "a" has type "object"'),
        ({"include": [include(a=["x"])]}, 'of type string only are allowed, but param "a" has type "array"'),
        ({"params": params(a=["x"]), "include": [include(b="y")]}, ""),
    ],
)
def test_a_value_of_the_wrong_type_is_named_in_tektons_words(matrix, why):
    found = mistyped_param(matrix, "t")
    assert why in found
    assert found.endswith('in pipelineTask "t"') or not why
