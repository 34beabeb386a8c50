"""No text with a variable of Tekton's that nobody replaced reaches a container."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.spec.params import LITERAL_ANNOTATION
from resultsfw.tekton.spec.substitution import stored_spec
from resultsfw.tekton.spec.validate_taskrun import refuse_invalid

STEP = {"name": "s", "image": "i", "script": "true"}


def a_run(**spec):
    return {
        "metadata": {"name": "run", "namespace": "ns", "uid": "u"},
        "spec": {"taskSpec": {}, **spec},
    }


def refused(task, **run):
    with pytest.raises(RefusedRun) as caught:
        refuse_invalid(a_run(**run), task)
    return caught.value


def script_of(text, task=None, run=None):
    run = run or a_run()
    spec = {"steps": [{**STEP, "script": f": {text}"}], **(task or {})}
    return stored_spec(refuse_invalid(run, spec), run)["steps"][0]["script"][2:]


@pytest.mark.parametrize(
    "variable",
    [
        "params.nope",
        "workspaces.nope.path",
        "context.pipelineRun.name",
        "context.taskRun.nope",
        "tasks.a.results.r",
        "tasks.status",
        "finally.a.results.r",
        "steps.step-other.exitCode.path",
        "results.nope.path",
        "inputs.params.nope",
        "inputs.nope",
        "outputs.nope",
        "step.results.nope.path",
    ],
)
def test_each_kind_of_variable_is_refused_by_name_where_it_stands_for_nothing(variable):
    error = refused({"steps": [{**STEP, "script": f"rm -rf $({variable})/*"}]})
    assert error.reason == "PodCreationFailed"
    assert f"$({variable})" in error.message
    assert "steps[0].script" in error.message


WORKSPACE = {"name": "w", "workspaces": [{"name": "w"}]}


@pytest.mark.parametrize(
    ("task", "field"),
    [
        ({"steps": [{**STEP, "image": "$(tasks.a.results.r)"}]}, "steps[0].image"),
        ({"steps": [{**STEP, "workingDir": "$(workspaces.x.path)"}]}, "steps[0].workingDir"),
        (
            {"steps": [{**STEP, "env": [{"name": "A", "value": "$(tasks.a.results.r)"}]}]},
            "steps[0].env[0].value",
        ),
        ({"steps": [{"image": "i", "command": ["c", "$(tasks.a.results.r)"]}]}, "steps[0].command[1]"),
        (
            {"steps": [STEP], "sidecars": [{"name": "p", "image": "i", "script": "$(steps.s.results.r)"}]},
            "sidecars",
        ),
        (
            {
                "steps": [STEP],
                "sidecars": [
                    {"name": "p", "image": "i", "readinessProbe": {"exec": {"command": ["$(params.x)"]}}}
                ],
            },
            "sidecars[0].readinessProbe.exec.command[0]",
        ),
        (
            {"steps": [STEP], "volumes": [{"name": "v", "configMap": {"name": "$(tasks.a.results.r)"}}]},
            "volumes[0]",
        ),
        (
            {"steps": [STEP], "stepTemplate": {"env": [{"name": "A", "value": "$(workspaces.x.path)"}]}},
            "stepTemplate.env",
        ),
        (
            {"steps": [STEP], "workspaces": [{"name": "w", "mountPath": "/$(params.x)"}]},
            "workspaces[0].mountPath",
        ),
        (
            {
                "steps": [
                    {**STEP, "when": [{"input": "$(tasks.a.results.r)", "operator": "in", "values": ["x"]}]}
                ]
            },
            "when",
        ),
        (
            {"steps": [{**STEP, "securityContext": {"seLinuxOptions": {"user": "$(context.taskRun.name)"}}}]},
            "securityContext",
        ),
    ],
)
def test_every_field_that_reaches_a_container_is_looked_at(task, field):
    bound = [{"name": one["name"], "emptyDir": {}} for one in task.get("workspaces", ())]
    assert field in refused(task, workspaces=bound).message


@pytest.mark.parametrize(
    ("run", "field"),
    [
        ({"podTemplate": {"nodeSelector": {"a": "$(params.x)"}}}, "podTemplate.nodeSelector.a"),
        (
            {"podTemplate": {"env": [{"name": "A", "value": "$(context.pipelineRun.name)"}]}},
            "podTemplate.env",
        ),
        ({"workspaces": [{"name": "w", "subPath": "$(params.x)", "emptyDir": {}}]}, "workspaces[0].subPath"),
        (
            {"workspaces": [{"name": "w", "configMap": {"name": "$(tasks.a.results.r)"}}]},
            "workspaces[0].configMap",
        ),
    ],
)
def test_a_runs_own_texts_are_looked_at(run, field):
    assert field in refused({"steps": [STEP]}, **run).message


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("workspaces.suorce.path", "workspaces.source.path"),
        ("params.verison", "params.version"),
        ("results.digset.path", "results.digest.path"),
        ("context.taskRun.nmae", "context.taskRun.name"),
    ],
)
def test_the_nearest_name_is_suggested(typed, meant):
    task = {
        "params": [{"name": "version", "default": "1"}],
        "results": [{"name": "digest"}],
        "workspaces": [{"name": "source"}],
        "steps": [{**STEP, "command": ["c", f"$({typed})"], "script": ""}],
    }
    message = refused(task, workspaces=[{"name": "source", "emptyDir": {}}]).message
    assert f"$({typed})" in message
    if typed.startswith(("workspaces", "results")):  # of the others Tekton's own check speaks first
        assert f"did you mean $({meant})?" in message


@pytest.mark.parametrize(
    "text",
    [
        "$(date)",
        "$(ls -l $(pwd))",
        "$(tasks.sh --all)",
        "$((1 + 2))",
        "$(cat results.txt | wc -l)",
        "$(workspaces.sh | wc)",
        "$HOME ${params.x} $(HOME)",
        "$(params.",
        "$(steps.x.results." * 800,
        "$(workspaces.x.path",
    ],
)
def test_the_shells_own_stays(text):
    assert script_of(text) == text


def test_an_optional_workspace_that_is_not_bound_is_empty_in_all_its_variables():
    task = {"workspaces": [{"name": "w", "optional": True}]}
    script = "<$(workspaces.w.path)><$(workspaces.w.bound)><$(workspaces.w.claim)><$(workspaces.w.volume)>"
    assert script_of(script, task) == "<><false><><>"


def test_an_earlier_steps_result_is_left_to_the_entrypoint_and_a_later_ones_is_refused():
    first = {**STEP, "name": "a", "results": [{"name": "r"}]}
    reader = {"name": "b", "image": "i", "command": ["c", "$(steps.a.results.r)", "$(steps.a.results.r[*])"]}
    refuse_invalid(a_run(), {"steps": [first, reader]})
    assert "$(steps.a.results.r)" in refused({"steps": [reader, first]}).message
    assert (
        "$(steps.a.results.other)"
        in refused({"steps": [first, {**reader, "command": ["c", "$(steps.a.results.other)"]}]}).message
    )


# Values are data.

SOME = st.sampled_from(
    [
        *(
            "$(params.other)",
            "$(params.nope)",
            "$(workspaces.nope.path)",
            "$(tasks.a.results.r)",
            "$(~params.other)",
        ),
        *(
            "$(context.pipelineRun.name)",
            "$(steps.s.results.r)",
            "$(~~results.r.path)",
            "$(",
            ")",
            "~",
            "é",
            "$$",
        ),
    ]
)


@given(st.lists(SOME, max_size=8).map("".join))
def test_a_value_is_data_whatever_it_looks_like(value):
    run = a_run(params=[{"name": "p", "value": value}, {"name": "other", "value": "SECRET"}])
    assert script_of("<$(params.p)>", run=run) == f"<{value}>"
    listed = a_run(params=[{"name": "p", "value": ["-", value]}, {"name": "other", "value": "SECRET"}])
    spec = {"steps": [{"image": "i", "command": ["c", "$(params.p[*])"]}]}
    assert stored_spec(refuse_invalid(listed, spec), listed)["steps"][0]["command"] == ["c", "-", value]


def test_a_value_that_names_what_a_later_pass_knows_has_it():
    """Tekton's passes; Tasks of catalogs are given paths so."""
    task = {"workspaces": [{"name": "w"}], "results": [{"name": "r"}]}
    value = "$(workspaces.w.path)/$(context.taskRun.name) $(results.r.path)"
    run = a_run(params=[{"name": "p", "value": value}], workspaces=[{"name": "w", "emptyDir": {}}])
    assert script_of("$(params.p)", task, run) == "/workspace/w/run /tekton/results/r"


def test_a_default_that_names_nothing_is_refused_where_it_is_used():
    task = {"params": [{"name": "p", "default": "$(params.nope)/x"}]}
    assert script_of("unused", task) == "unused"
    error = refused({**task, "steps": [{**STEP, "script": "rm -rf $(params.p)"}]})
    assert "$(params.nope)" in error.message


def test_a_taskrun_of_a_pipelinerun_says_which_of_its_texts_are_data():
    run = a_run(params=[{"name": "p", "value": "$(~context.taskRun.name)"}])
    run["metadata"]["annotations"] = {LITERAL_ANNOTATION: "true"}
    assert (
        script_of("$(params.p) $(~workspaces.w.path)", run=run)
        == "$(context.taskRun.name) $(workspaces.w.path)"
    )
    plain = a_run(params=[{"name": "p", "value": "$(~context.taskRun.name)"}])
    assert script_of("$(params.p) $(~workspaces.w.path)", run=plain) == (
        "$(~context.taskRun.name) $(~workspaces.w.path)"
    )


@pytest.mark.parametrize(
    "template",
    [{"args": ["$(steps.b.results.r)"]}, {"env": [{"name": "E", "value": "$(steps.b.results.r)"}]}],
)
def test_a_template_that_names_the_result_of_a_later_step_is_refused_where_an_earlier_step_gets_it(template):
    steps = [
        {"name": "a", "image": "i", "command": ["x"]},
        {"name": "b", "image": "i", "command": ["x"], "results": [{"name": "r"}]},
        {"name": "c", "image": "i", "command": ["x"]},
    ]
    assert "$(steps.b.results.r)" in refused({"steps": steps, "stepTemplate": template}).message
    own = {"args": ["own"], "env": [{"name": "E", "value": "own"}]}
    refuse_invalid(
        a_run(), {"steps": [{**steps[0], **own}, {**steps[1], **own}, steps[2]], "stepTemplate": template}
    )


def test_a_value_with_a_variable_that_is_not_closed_is_data():
    """Tekton's validation ends the variable at the next parenthesis of the script, and refuses the run."""
    value = "$(params.other and $(results.x"
    task = {"params": [{"name": "x"}]}
    run = a_run(params=[{"name": "x", "value": value}])
    assert script_of("$(params.x) $(date)", task, run) == f"{value} $(date)"
