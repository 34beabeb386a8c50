"""The syntax of variables: found as Tekton finds them, and values kept from being read as some."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.tekton.spec.declared_results import step_results
from resultsfw.tekton.spec.variables import (
    contains_protected,
    escape_protection,
    find_prefixed,
    is_tekton_variable,
    nearest,
    protect,
    unprotect,
    variables_in,
)

PIECES = st.sampled_from(
    [
        *(
            "$(",
            ")",
            "params",
            ".",
            "[",
            "]",
            '"',
            "'",
            "a",
            "b",
            "~",
            "$",
            "\n",
            " ",
            "steps.",
            ".results.",
            "x",
        ),
        *(
            "$(params.",
            '$(params["',
            "$(params['",
            '"])',
            "'])",
            "$(steps.s.results.r)",
            "$(~params.a)",
            "$(context.a)",
        ),
    ]
)
TEXTS = st.lists(PIECES, max_size=24).map("".join)
DATA = st.recursive(
    TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)

# Tekton's own patterns, as Python reads them; quadratic and worse, which is why the product has none of them.
BRACES = r"""\$\({}(?:\.(.*?)|\["(.*?)"\]|\['(.*?)'\])\)"""
STEP_RESULT = re.compile(r"\$\(steps\.(.*?)\.results\.(.*?)\)")


@given(TEXTS, st.sampled_from(["params", "params.a", "context", "step.results"]))
def test_variables_with_a_prefix_are_found_as_tektons_pattern_finds_them(text, prefix):
    pattern = re.compile(BRACES.format(re.escape(prefix)))
    theirs = [(m.start(), m[0], m[1] or "", m[2] or m[3] or "") for m in pattern.finditer(text)]
    assert [(f.start, f.text, f.dotted, f.quoted) for f in find_prefixed(text, prefix)] == theirs


@given(TEXTS)
def test_step_results_are_found_as_tektons_pattern_finds_them(text):
    theirs = [(match[1], match[2]) for match in STEP_RESULT.finditer(text)]
    assert [(found.step, found.result) for found in step_results(text)] == theirs


@given(DATA)
def test_a_protected_value_has_no_variable_and_comes_back_whole(value):
    text = value if isinstance(value, str) else "x"
    protected = protect(text)
    assert not any(is_tekton_variable(name) for name in variables_in(protected))
    assert unprotect(protected) == text


@given(DATA)
def test_what_an_author_wrote_comes_back_whole(value):
    assert unprotect(escape_protection(value)) == value
    assert contains_protected(escape_protection(value)) == (
        unprotect(escape_protection(value)) != escape_protection(value)
    )


@given(TEXTS)
def test_a_live_variable_stays_one(text):
    protected = protect(text, lambda name: name == "context.a")
    assert protected.count("$(context.a)") == text.count("$(context.a)")
    assert unprotect(protected) == text


@pytest.mark.parametrize(
    "name",
    [
        *(
            "params.a",
            'params["a.b"]',
            "params['a'][*]",
            "params.a[0]",
            "workspaces.w.path",
            "context.taskRun.name",
        ),
        *("tasks.a.results.b", "tasks.status", "finally.a.results.b", "steps.s.results.r", "results.r.path"),
        *("inputs.params.a", "outputs.a", "step.results.r.path", "credentials.path", "artifacts.path"),
    ],
)
def test_tektons_own(name):
    assert is_tekton_variable(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "date",
            "ls -l",
            "params",
            "params.",
            "params.sh --all",
            "results.sh | wc",
            "cat params.txt",
            "HOME",
            "",
        ),
        *(
            "parameters.a",
            "my.params.a",
            "workspace.a",
            "context",
            "params.$x",
            "tasks.sh;id",
            "éparams.a",
            "params.é",
        ),
    ],
)
def test_the_shells_own(name):
    assert not is_tekton_variable(name)


def test_the_nearest_name_is_found_among_those_there_are():
    assert nearest("params.tpyo", ["params.typo", "params.other"]) == "params.typo"
    assert nearest("params.x", ["workspaces.source.path"]) == ""
    assert nearest("x" * 1000, ["x" * 999]) == ""


@pytest.mark.parametrize(
    "value", ["$(params.x", "$(params.x y", "$(~tasks.a", "$(workspaces[", "$(params.$(params.x"]
)
def test_a_variable_that_is_not_closed_in_a_value_is_protected_too(value):
    """The text behind the value may close it."""
    assert protect(value) != value
    assert unprotect(protect(value)) == value
    assert not any(map(is_tekton_variable, variables_in(f"{protect(value)})")))
