"""Results of a matrix: aggregated in Tekton's order, references among them kept, lengths counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.errors import CorruptError
from resultsfw.references import MARK, format_reference, format_reference_list, read_reference_list
from resultsfw.tekton.pipelinerun.matrix_results import aggregate_results, length_of, parse_length
from resultsfw.tekton.spec.variables import contains_variable, escape_protection, unprotect
from resultsfw.types import Reference

references = st.builds(
    lambda size: format_reference(
        Reference(backend="object-store", location="file:///x", size=size, digest="sha256:" + "0" * 64)
    ),
    st.integers(0, 10**9),
)
texts = st.text() | st.sampled_from(["$(params.x)", "$(~tasks.a.results.r)", "]", '"'])


def test_elements_are_in_the_order_of_the_childrens_names():
    made = aggregate_results({f"p-t-{number}": {"r": str(number)} for number in range(12)})
    assert made == {"r": ["0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9"]}


def test_a_child_that_did_not_write_a_result_adds_no_element():
    made = aggregate_results({"p-t-0": {"r": "a"}, "p-t-1": {}, "p-t-2": {"r": "c", "q": "d"}})
    assert made == {"r": ["a", "c"], "q": ["d"]}
    assert (length_of(made["r"]), length_of(made["q"]), length_of(None)) == (2, 1, 0)


@given(st.lists(texts | references, min_size=1, max_size=9))
def test_an_array_with_references_is_read_back_whole_after_every_pass(elements):
    made = aggregate_results({f"p-{number}": {"r": element} for number, element in enumerate(elements)})["r"]
    if any(isinstance(element, dict) for element in elements):
        assert made[MARK]
        assert not contains_variable(made)  # so no pass changes it
        assert unprotect(escape_protection(made)) == unprotect(made) == made
        assert read_reference_list(made) == elements
    else:
        assert made == elements
    assert length_of(made) == len(elements)


@pytest.mark.parametrize("elements", ["", "{}", "[1]", '[{"a":"b"}]', '["a"', "[" * 10**5, None, 7])
def test_an_array_with_references_that_was_edited_is_refused(elements):
    made = {**format_reference_list([]), "elements": elements}
    with pytest.raises(CorruptError):
        read_reference_list(made)


@pytest.mark.parametrize(
    ("variable", "found"),
    [
        ("tasks.a.matrix.length", ("a", "")),
        ("tasks.a.matrix.r.length", ("a", "r")),
        ("tasks.a.matrix.r.s.length", None),
        ("tasks.a.results.length", None),
        ("finally.a.matrix.length", None),
        ("tasks.a.matrix.size", None),
    ],
)
def test_a_length_is_asked_by_its_variable(variable, found):
    assert parse_length(variable) == found
