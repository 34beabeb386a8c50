"""What parameters stand for: given values, and defaults that name others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.tekton.spec.expansion import Budget, Expansion, TooLargeError
from resultsfw.tekton.spec.params import ParamError, Params, parse_name
from resultsfw.tekton.spec.variables import unprotect


def value_of(text, declared=(), given=(), later=None, live=lambda _: False):
    params = Params(declared, list(dict(given).items()), live)
    return Expansion(params.lookup(later), Budget()).value(text, "f")


def defaults(**values):
    return [{"name": name, "default": value} for name, value in values.items()]


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "b", "a"), ("b", "a", "c")])
def test_defaults_name_others_in_any_order(order):
    texts = {"a": "$(params.b)/a", "b": "$(params['c'])/b", "c": "c"}
    declared = defaults(**{name: texts[name] for name in order})
    assert value_of("$(params.a)", declared) == "c/b/a"


def test_a_default_has_the_value_of_this_run_in_it():
    declared = defaults(image="$(params.registry)/app", registry="default.example")
    assert value_of("$(params.image)", declared, {"registry": "given.example"}) == "given.example/app"


def test_arrays_and_objects_by_default_have_values_in_their_elements():
    declared = [
        *defaults(list=["$(params.x)", "$(params.more[*])", "z"], more=["m", "n"], x="1"),
        {"name": "map", "default": {"k": "$(params.x)-$(params.more[1])", "l": "w"}},
    ]
    assert value_of("$(params.list[*])", declared) == ["1", "m", "n", "z"]
    assert value_of("$(params.map.k)", declared) == "1-n"
    assert value_of("$(params.map.k) $(params['map'].l)", declared, {"map": {"k": "mine"}}) == "mine w"


@pytest.mark.parametrize(
    "texts",
    [
        {"a": "$(params.a)"},
        {"a": "$(params.b)", "b": "$(params.a)"},
        {"a": "$(params.b)", "b": "$(params['c'])", "c": "$(inputs.params.a)", "d": "x"},
        {"a": ["$(params.b[*])"], "b": ["$(params.a[0])"]},
    ],
)
def test_defaults_in_a_circle_are_refused_by_name(texts):
    with pytest.raises(ParamError, match=r'in a circle: "a"'):
        Params(defaults(**texts), [])


def test_a_circle_that_a_value_opens_is_none():
    assert value_of("$(params.b)", defaults(a="$(params.b)", b="$(params.a)"), {"a": "x"}) == "x"


@pytest.mark.slow
def test_a_chain_of_ten_thousand_defaults_is_no_depth():
    chain = [{"name": f"p{n}", "default": f"$(params.p{n + 1})"} for n in range(10_000)]
    assert value_of("$(params.p0)", [*chain, {"name": "p10000", "default": "end"}]) == "end"


def test_eight_defaults_each_ten_times_the_one_before_are_refused_with_both_numbers():
    declared = [{"name": "p0", "default": "x" * 10}]
    declared += [{"name": f"p{n}", "default": f"$(params.p{n - 1})" * 10} for n in range(1, 9)]
    with pytest.raises(
        TooLargeError, match=r"default of parameter p6: .* (\d+) bytes or more, .* 1572864 bytes"
    ):
        Params(declared, [])


def test_an_own_name_with_a_dot_is_not_an_objects_key():
    declared = [{"name": "img.tag"}, {"name": "img"}]
    values = {"img.tag": "t9", "img": "i"}
    assert value_of('$(params["img.tag"])/$(params.img.tag)/$(params.img)', declared, values) == "t9/t9/i"
    assert value_of("$(params.img.other)", declared, {"img": {"other": "o"}, "img.tag": "t"}) == "o"


@given(st.text(st.sampled_from("$().params[]~'\"* xcontext"), max_size=30))
def test_a_given_value_is_data(value):
    """Whatever it holds, it comes out as it is, and names no other parameter."""
    given_values = {"p": value, "x": "SECRET", "params": "SECRET"}

    assert unprotect(value_of("<$(params.p)>", given=given_values)) == f"<{value}>"


def test_a_given_value_has_only_what_a_later_pass_knows():
    later = {"context.taskRun.name": "run"}.get
    text = value_of(
        "$(params.p)",
        given={"p": "$(context.taskRun.name) $(context.other) $(params.x)", "x": "X"},
        later=later,
        live=lambda name: later(name) is not None,
    )
    assert text == "run $(~context.other) $(~params.x)"


@pytest.mark.parametrize(
    ("variable", "parts"),
    [
        ("params.a", ("a", "", False)),
        ("params.a.b", ("a.b", "", False)),
        ("params.a[*]", ("a", "*", False)),
        ("inputs.params.a[3]", ("a", "3", False)),
        ('params["a.b"]', ("a.b", "", True)),
        ("params['a'][1]", ("a", "1", True)),
        ('params["o"].k', ("o", ".k", True)),
    ],
)
def test_names_are_taken_apart(variable, parts):
    name = parse_name(variable)
    assert name is not None
    assert (name.base, name.suffix, name.quoted) == parts


@pytest.mark.parametrize("variable", ["params", "paramsa", "context.params.a", 'params["a', "inputs.a", ""])
def test_other_names_are_none(variable):
    assert parse_name(variable) is None
