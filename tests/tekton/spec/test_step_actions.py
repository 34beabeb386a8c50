"""A StepAction merged into its Step: values are data, and what is known later stays a variable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.references import MARK
from resultsfw.tekton.spec.step_actions import StepActionError, has_step_refs, merged_bytes
from resultsfw.tekton.spec.substitution import Substitution, apply

REFERENCE = {MARK: "x"}
"""A parameter's value that is a reference to a result; what is in it does not matter here."""


def taskrun(**params):
    given = [{"name": name, "value": value} for name, value in params.items()]
    return {"metadata": {"name": "run", "uid": "u"}, "spec": {"params": given, "taskSpec": {}}}


def merged(action, given_params, *, declared=(), steps=(), **params):
    """The Step ``s`` with its StepAction, as the status of a run would hold it."""
    step = {"name": "s", "ref": {"name": "a"}, "params": given_params}
    spec = {"params": list(declared), "steps": [*steps, step]}
    actions = (*[None] * len(steps), {"image": "i", **action})
    return apply(spec, taskrun(**params), actions=actions)["steps"][-1]


PIECES = st.lists(
    st.sampled_from(
        ["$(", ")", "params.secret", "params.p", "params.own", "$", "(", "~", "$(~", "[*]", "x ", "'"]
    ),
    max_size=8,
).map("".join)


@given(PIECES, PIECES)
def test_a_value_is_text_whatever_it_holds(first, second):
    step = merged(
        {
            "params": [{"name": "p"}, {"name": "q"}, {"name": "own", "default": "d"}],
            "args": ["<$(params.p)$(params.q)>", "$(params.own)"],
        },
        [{"name": "p", "value": "$(params.one)"}, {"name": "q", "value": "$(params.two)"}],
        declared=[{"name": "secret", "default": "hidden"}, {"name": "one"}, {"name": "two"}],
        one=first,
        two=second,
    )
    assert step["args"] == [f"<{first}{second}>", "d"]


ARRAY = [{"name": "p", "type": "array"}]
OBJECT = [{"name": "p", "type": "object", "properties": {"k": {"type": "string"}}}]
RESULT = {"name": "r", "image": "i", "script": "x", "results": [{"name": "out", "type": "array"}]}


@pytest.mark.parametrize(
    ("declared", "args", "value", "expected"),
    [
        (ARRAY, ["$(params.p[*])", "$(params.p[1])"], "$(V[*])", ["$(V[*])", "$(V[1])"]),
        (ARRAY, ['$(params["p"][*])'], "$(V[*])", ["$(V[*])"]),
        (ARRAY, ["$(params.p[*])"], "$(V)", ["$(V[*])"]),
        (OBJECT, ["$(params.p.k)", "x$(params.p.k)y"], "$(V[*])", ["$(V.k)", "x$(V.k)y"]),
        ([{"name": "p"}], ["<$(params.p)>"], "$(V)", ["<$(V)>"]),
        ([{"name": "p"}], ["<$(params.p)>"], "v-$(V)", ["<v-$(V)>"]),
    ],
)
@pytest.mark.parametrize("variable", ["steps.r.results.out", "params.large"])
def test_what_is_known_only_later_stays_a_variable(declared, args, value, expected, variable):
    """Steps' results are put in by the entrypoint, values by reference when they have been read."""
    step = merged(
        {"params": declared, "args": args},
        [{"name": "p", "value": value.replace("V", variable)}],
        declared=[{"name": "large"}],
        steps=[RESULT],
        large=REFERENCE,
    )
    assert step["args"] == [text.replace("V", variable) for text in expected]


def test_a_text_for_an_object_keeps_its_default_as_in_tekton():
    declared = [{"name": "p", "type": "object", "properties": {"k": {}}, "default": {"k": "d"}}]
    step = merged({"params": declared, "args": ["$(params.p.k)"]}, [{"name": "p", "value": "text"}])
    assert step["args"] == ["d"]


def test_keys_that_a_step_does_not_give_come_from_the_default():
    declared = [
        {"name": "p", "type": "object", "properties": {"k": {}, "l": {}}, "default": {"k": "d", "l": "e"}}
    ]
    step = merged(
        {"params": declared, "args": ["$(params.p.k)", "$(params.p.l)"]},
        [{"name": "p", "value": {"l": "mine"}}],
    )
    assert step["args"] == ["d", "mine"]


def test_a_workspace_of_the_step_is_where_the_step_mounts_it():
    step = {"name": "s", "ref": {"name": "a"}, "workspaces": [{"name": "w", "mountPath": "/there"}]}
    spec = {"workspaces": [{"name": "w"}], "steps": [step]}
    run = taskrun()
    run["spec"]["workspaces"] = [{"name": "w", "emptyDir": {}}]
    action = {
        "image": "i",
        "params": [{"name": "p", "default": "x"}],
        "args": ["$(workspaces.w.path)/$(params.p)"],
    }
    assert apply(spec, run, actions=(action,))["steps"][0]["args"] == ["/there/x"]


def test_without_its_step_actions_a_step_keeps_its_reference():
    spec = {"steps": [{"name": "s", "ref": {"name": "a"}, "params": [{"name": "p", "value": "x"}]}]}
    assert has_step_refs(spec)
    assert Substitution(spec, taskrun()).task_spec["steps"][0]["ref"] == {"name": "a"}


def test_the_message_names_the_step():
    with pytest.raises(StepActionError, match=r'for step "s" \(index 0\): extra params passed by Step'):
        merged({}, [{"name": "p", "value": "x"}])


def test_only_what_a_step_gets_counts():
    assert merged_bytes({"script": "x" * 1000}) > 1000
    assert merged_bytes({"description": "x" * 1000, "params": [{"name": "p", "default": "x" * 1000}]}) < 100


def test_thousands_of_parameters_that_name_each_other_take_linear_time():
    count = 10_000  # each was compared with all others: a minute
    declared = [{"name": f"p{at}", "default": f"$(params.p{at + 1})"} for at in range(count)]
    step = merged(
        {"params": [*declared, {"name": f"p{count}", "default": "x"}], "args": ["$(params.p0)"]}, []
    )
    assert step["args"] == ["x"]
