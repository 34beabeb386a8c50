"""CEL expressions mean what they mean to Tekton's cel-go, and the work for each is bounded."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import lark.visitors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import cel
from resultsfw.cel import MOST_CHARACTERS, CelError, Evaluator, evaluate
from resultsfw.cel.checker import MOST_COST
from resultsfw.cel.evaluation import evaluate_checked
from resultsfw.cel.tokens import tokens_of

TEKTON = json.loads((Path(__file__).parents[1] / "data" / "tekton" / "cel.json").read_text(encoding="utf-8"))
"""Expressions, what cel-go 0.31 makes of them in Tekton's environment (``cel.NewEnv()``), and its error."""

REFUSED = {
    "google.protobuf.Int32Value{value: 1} == 1",
    "google.protobuf.Duration{} == duration('0s')",
    "string(true) == 'true'",
    "[1,2,3].map(x, x > 1, x * 2) == [4,6]",
    "{'a':1, 'a':2} == {'a':2}",
    "{1.5: 2} == {1.5: 2}",
    "{[1]: 2} == {}",
    "dyn('a') == 1",
    "dyn(1) == 1.0",
    "dyn(1u) == 1",
    "[1, 2.0].exists(x, x == 2)",
}
"""What cel-go evaluates and this does not: refused, never another value."""


def outcome(expression):
    try:
        return str(evaluate(expression)).lower()
    except CelError as error:
        return "no bool" if "is not evaluated to a boolean" in error.message else "error"


@pytest.mark.parametrize(("expression", "expected"), [(text, value) for text, value, _ in TEKTON])
def test_an_expression_is_what_it_is_to_tekton(expression, expected):
    assert outcome(expression) == ("error" if expression in REFUSED else expected)


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        (text, error)
        for text, value, error in TEKTON
        if value == "error" and error.startswith(("undeclared", "found no", "expected type 'bool'"))
    ],
)
def test_what_does_not_type_check_has_cel_gos_message(expression, error):
    with pytest.raises(CelError) as caught:
        evaluate(expression)
    shared = ("undeclared reference to", "found no matching overload for", "expected type 'bool' but found")
    assert any(caught.value.message.startswith(words) and error.startswith(words) for words in shared)


# Bounded


class Counter:
    """Counts the nodes that the library evaluates."""

    def __init__(self, monkeypatch):
        self.nodes = 0
        visit = lark.visitors.Interpreter.visit

        def counted(interpreter, tree):
            self.nodes += 1
            return visit(interpreter, tree)

        monkeypatch.setattr(lark.visitors.Interpreter, "visit", counted)


ATOMS = st.sampled_from(
    ["true", "1", "2u", "1.5", "'a'", "''", "null", "[1,2,3]", "['a','b']", "{'a': 1}", "x", "[]", "b'a'"]
)


def combined(inner):
    two = st.tuples(inner, inner)
    return st.one_of(
        two.map(lambda pair: f"({pair[0]} == {pair[1]})"),
        two.map(lambda pair: f"({pair[0]} + {pair[1]})"),
        two.map(lambda pair: f"({pair[0]} && {pair[1]})"),
        two.map(lambda pair: f"[{pair[0]}, {pair[1]}]"),
        two.map(lambda pair: f"{pair[0]}.map(x, {pair[1]})"),
        two.map(lambda pair: f"{pair[0]}.all(x, {pair[1]})"),
        two.map(lambda pair: f"({pair[0]} ? {pair[1]} : {pair[1]})"),
        two.map(lambda pair: f"({pair[0]} in {pair[1]})"),
        inner.map(lambda text: f"size({text})"),
        inner.map(lambda text: f"dyn({text})"),
        inner.map(lambda text: f"!{text}"),
    )


@given(st.recursive(ATOMS, combined, max_leaves=30))
def test_no_expression_is_evaluated_in_more_steps_than_were_counted(text):
    with pytest.MonkeyPatch.context() as patch:
        counter = Counter(patch)
        with contextlib.suppress(CelError):
            assert evaluate_checked(text) in (True, False)
        assert counter.nodes <= MOST_COST


@given(st.text(alphabet="ab'\"\\rRxu01{}[]().,:?!=&|<>+-*/% \n$", max_size=60))
def test_any_text_is_evaluated_or_refused(text):
    with contextlib.suppress(CelError):
        assert evaluate_checked(text) in (True, False)


@given(st.text(max_size=80))
def test_a_string_is_the_text_that_was_put_between_its_quotes(text):
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    assert list(tokens_of(f"'{escaped}' == ''").strings.values()) == [text, ""]


NESTED = ".map(a, a + a)"


@pytest.mark.parametrize(
    "expression",
    [
        '"' + r"\a" * 100,
        "r'" + r"\a" * 50 + r"\' + 1",
        "[" + ",".join("1" * 900) + "].size() > 1",
        "[1,2,3,4,5,6,7,8,9].all(a, " * 4 + "true" + ")" * 4,
        "['a']" + NESTED * 40 + ".size() == 1",
        "[['a']].map(a, [a, a])" + ".map(a, [a, a])" * 30 + " == [[]]",
        "dyn(['aaaa'])" + NESTED * 40 + " == []",
        "(" * 50 + "true" + ")" * 50,
        "!" * 500 + "true",
        "-" * 300 + "1 == 1",
        "1" * 5000 + " == 1",
        "duration('" + "a" * 60 + "!') > duration('1s')",
        "'x'.matches('(a{1000}){1000}')",
        "'x'.matches('" + "a" * 2000 + "')",
        "true" + " || true" * 2000,
        "'" + "x" * MOST_CHARACTERS + "' == ''",
    ],
)
def test_an_expression_that_would_cost_too_much_is_refused(expression, monkeypatch):
    counter = Counter(monkeypatch)
    assert outcome(expression) == "error"
    assert counter.nodes <= MOST_COST


def test_a_long_text_in_an_expression_is_only_a_string():
    assert evaluate(f"'{'x' * 90_000}' != 'y'")
    with pytest.raises(CelError, match="size: 100001, limit 100000"):
        evaluate("'" + "x" * 99_999 + "'")


# The library


def test_the_library_is_imported_when_an_expression_is_met():
    code = (
        "import sys, resultsfw.controller.process, resultsfw.tekton.pipelinerun.reconciler\n"
        "loaded = {'celpy', 'lark', 'pendulum', 'resultsfw.cel.evaluation'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_library_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "celpy", None)
    monkeypatch.delitem(sys.modules, "resultsfw.cel.evaluation", raising=False)
    cel._kept.cache_clear()
    with pytest.raises(CelError, match=r"pip install 'resultsfw\[cel\]'"):
        evaluate("true")
    cel._kept.cache_clear()


def test_a_message_shows_strings_and_not_the_names_that_they_hold():
    # Each string holds the name of the next one many times: shown in turn, they grow without end.
    strings = [f'"{f"_string_{index + 2}" * 18}"' for index in range(30)]
    expression = f'{{"a": 1}}[{strings[0]}] == 1 || [{",".join(strings[1:])}] == [""]'
    with pytest.raises(CelError, match="no such key: '_string_3") as caught:
        evaluate(expression)
    assert len(caught.value.message) <= 800


@pytest.mark.parametrize("values", ["'%099999999999d', 1", "b'%099999999999d', 1", "'%s', 'a'", "1, 1u"])
def test_a_remainder_is_of_integers_only(values):
    left, right = values.split(", ")
    with pytest.raises(CelError, match="no such overload: _%_"):
        evaluate(f"dyn({left}) % dyn({right}) == ''")
    assert evaluate("dyn(7) % dyn(4) == 3 && 7u % 4u == 3u")


def test_the_expressions_of_one_pipeline_are_bounded_together(monkeypatch):
    monkeypatch.setattr(cel, "MOST_WEIGHT", 100)
    evaluator = Evaluator()
    assert not any(evaluator.evaluate(f"1 + 1 == {number} + 9") for number in range(14))  # seven tokens each
    assert not any(evaluator.evaluate("1 + 1 == 3 + 9") for _ in range(100))  # that is known
    with pytest.raises(CelError, match="over the limit of 100, counting"):
        evaluator.evaluate("1 + 1 == 2")
    with pytest.raises(CelError, match="over the limit of 100, counting"):
        Evaluator().evaluate(f"'{'x' * 10_000}' == ''")
    # What is not valid costs what is read of it.
    for text in ("'", '"\\a' * 30_000, "a" * MOST_CHARACTERS, "~"):
        with contextlib.suppress(CelError):
            Evaluator().evaluate(text)
