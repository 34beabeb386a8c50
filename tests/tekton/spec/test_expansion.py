"""Texts are built only where they fit, and values go into them once."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.limits import OBJECT_BYTES
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.spec.expansion import Budget, Expansion, TooLargeError
from resultsfw.tekton.spec.substitution import apply
from resultsfw.tekton.spec.validate_taskrun import refuse_invalid

VALUES = st.text(st.sampled_from("aé€😀$()"), max_size=12)


@given(st.lists(st.sampled_from(["$(a)", "$(b)", "$(none)", "é", "x"]), max_size=12), VALUES, VALUES)
def test_the_size_that_is_counted_is_the_size_that_is_built(pieces, a, b):
    budget = Budget()
    built = Expansion({"a": a, "b": b}.get, budget).text("".join(pieces), "f")
    if "$(a)" in pieces or "$(b)" in pieces:
        assert budget.spent == len(built.encode())
    else:
        assert (budget.spent, built) == (0, "".join(pieces))


@given(st.integers(0, 40), st.integers(1, 12), st.integers(0, 10))
def test_what_is_over_the_limit_is_refused_with_both_numbers_and_what_is_not_is_built(limit, size, times):
    text, value = "-" + "$(a)" * times, "v" * size
    expansion = Expansion({"a": value}.get, Budget(limit))
    if times and 1 + times * size > limit:
        with pytest.raises(TooLargeError) as caught:
            expansion.text(text, "steps[0].script")
        assert caught.value.limit == limit
        assert limit < caught.value.size <= 1 + times * size
        assert "steps[0].script" in caught.value.message
        assert f"{limit} bytes" in caught.value.message
    else:
        assert expansion.text(text, "f") == "-" + value * times


def a_run(**params):
    return {
        "metadata": {"name": "run", "namespace": "ns", "uid": "u"},
        "spec": {
            "taskSpec": {},
            "params": [{"name": name, "value": value} for name, value in params.items()],
        },
    }


HOSTILE = {
    "one large param named 8,000 times in a script": (
        {"steps": [{"image": "i", "script": "$(params.p)" * 8000}]},
        {"p": "x" * 500_000},
    ),
    "arguments of 10,000 times an array of 10,000 elements": (
        {"steps": [{"image": "i", "command": ["c"], "args": ["$(params.p[*])"] * 10_000}]},
        {"p": ["x"] * 10_000},
    ),
    "a param in the text of each of 2,000 Steps": (
        {"steps": [{"image": "i", "script": "$(params.p)"}] * 2000},
        {"p": "x" * 100_000},
    ),
    "a param of variables, each of which stands for more": (
        {
            "workspaces": [{"name": "w", "mountPath": "/" + "m" * 50_000}],
            "steps": [{"image": "i", "script": "$(params.p)"}],
        },
        {"p": "$(workspaces.w.path)" * 10_000},
    ),
    "array elements by index, each large": (
        {"steps": [{"image": "i", "script": "$(params.p[0])" * 8000}]},
        {"p": ["x" * 500_000]},
    ),
    "an object's key in a volume": (
        {"steps": [{"image": "i", "script": "true"}], "volumes": [{"name": "$(params.p.k)" * 4000}]},
        {"p": {"k": "x" * 500_000}},
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_that_would_grow_beyond_an_object_is_refused_before_it_is_built(name):
    spec, params = HOSTILE[name]
    run = a_run(**params)
    run["spec"]["workspaces"] = [{"name": one["name"], "emptyDir": {}} for one in spec.get("workspaces", ())]
    held = len(json.dumps([run, spec]))
    tracemalloc.start()
    try:
        with pytest.raises(RefusedRun) as caught:
            refuse_invalid(run, spec)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == "TaskRunValidationFailed"
    assert f"over the limit of {OBJECT_BYTES} bytes" in caught.value.message
    assert peak < 12 * OBJECT_BYTES + 12 * held


def test_unused_params_take_nothing_of_the_limit():
    spec = {"steps": [{"image": "i", "script": "echo $(params.small)"}]}
    run = a_run(small="s", **{f"large{n}": "x" * 500_000 for n in range(3)})
    assert apply(spec, run)["steps"][0]["script"] == "echo s"


@pytest.mark.parametrize(
    ("text", "values", "means"),
    [
        ("$(params.a)$(params.b)", {"a": "$", "b": "(params.c)"}, "$(~params.c)"),
        ("$$(params.b)", {"b": "(params.c)"}, "$(~params.c)"),
        ("$(params.a).c)", {"a": "$(params"}, "$(~params.c)"),
        ("$(params.a)$(params.b)", {"a": "$", "b": "(~params.c)"}, "$(~~params.c)"),
        ("$(params.a)$(params.b)", {"a": "$", "b": "(date)"}, "$(date)"),
        # The author's own beginning: nobody may run it as it is, so that it is refused later.
        ("$(params.$(params.a))", {"a": "c"}, "$(params.c)"),
        # What is whole in a value was protected, or left for a later pass, before it came here.
        ("$(params.a)$(params.b)", {"a": "$(params.c)", "b": ""}, "$(params.c)"),
    ],
)
def test_a_variable_that_comes_about_where_values_meet_is_data(text, values, means):
    lookup = {f"params.{name}": value for name, value in values.items()}.get
    assert Expansion(lookup, Budget()).text(text, "f") == means
