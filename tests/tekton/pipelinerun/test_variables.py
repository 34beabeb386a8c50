"""Variables of a PipelineRun: into params, embedded Tasks, bindings and templates; and values as data."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelinerun_harness import PipelineRunHarness, pipeline_task

from resultsfw.tekton.api.kinds import TASKS
from resultsfw.tekton.spec.params import LITERAL_ANNOTATION
from resultsfw.tekton.spec.substitution import stored_spec
from resultsfw.tekton.spec.validate_taskrun import refuse_invalid

STEP = {"name": "s", "image": "i"}


def embedded(name, script, *, task=None, **fields):
    return {"name": name, "taskSpec": {"steps": [{**STEP, "script": script}], **(task or {})}, **fields}


def script_of(harness, name):
    """What a Task's Step runs in the end, after its TaskRun's own passes."""
    taskrun = harness.taskrun(name)
    assert taskrun is not None, harness.condition
    taskrun = {**taskrun, "metadata": {**taskrun["metadata"], "uid": "u"}}
    return stored_spec(refuse_invalid(taskrun, taskrun["spec"]["taskSpec"]), taskrun)["steps"][0]["script"]


def one_step(*tasks, **spec):
    harness = PipelineRunHarness(*tasks, **spec)
    harness.reconcile()
    return harness


def test_contexts_reach_embedded_tasks_and_what_they_run():
    harness = one_step(
        embedded("a", "$(context.pipelineRun.name)/$(context.pipeline.name)/$(context.taskRun.name)")
    )
    assert script_of(harness, "a") == "p/p/p-a"


def test_a_context_in_a_default_and_in_a_value_that_the_run_is_given():
    harness = one_step(
        pipeline_task("a", params=[{"name": "v", "value": "$(params.tag) $(params.given)"}]),
        pipeline_task("b", when=[{"input": "$(params.given)", "operator": "in", "values": ["of-p"]}]),
        params=[{"name": "tag", "default": "$(context.pipelineRun.name)-dev"}, {"name": "given"}],
        run_params=[{"name": "given", "value": "of-$(context.pipelineRun.name)"}],
    )
    assert harness.params_of("a") == {"v": "p-dev of-p"}
    assert harness.taskruns_made == ["a", "b"]


def test_a_default_of_an_embedded_task_does_not_hide_the_runs_value_and_a_value_it_is_given_does():
    task = {"params": [{"name": "x", "default": "inner"}]}
    harness = one_step(
        embedded("a", "$(params.x)", task=task),
        embedded("b", "$(params.x)", task=task, params=[{"name": "x", "value": "own"}]),
        run_params=[{"name": "x", "value": "outer"}],
    )
    assert (script_of(harness, "a"), script_of(harness, "b")) == ("outer", "own")


def test_an_own_param_does_not_hide_one_that_begins_like_it():
    harness = one_step(
        embedded(
            "a",
            '$(params["img.tag"])/$(params.img)',
            task={"params": [{"name": "img"}]},
            params=[{"name": "img", "value": "i"}],
        ),
        params=[{"name": "img.tag"}],
        run_params=[{"name": "img.tag", "value": "t9"}],
    )
    assert script_of(harness, "a") == "t9/i"


def test_an_object_that_is_given_in_part_keeps_the_runs_other_keys():
    harness = one_step(
        embedded(
            "a",
            "$(params.repo.url) $(params.repo.commit) $(params.repo.branch)",
            params=[{"name": "repo", "value": {"branch": "main", "url": "xyz"}}],
        ),
        run_params=[{"name": "repo", "value": {"url": "abc", "commit": "sha"}}],
    )
    assert script_of(harness, "a") == "xyz sha main"


def test_an_object_given_in_part_by_the_run_comes_whole_to_the_task():
    declared = [
        {"name": "o", "type": "object", "properties": {"k": {}, "l": {}}, "default": {"k": "v", "l": "w"}}
    ]
    harness = one_step(
        pipeline_task(
            "a", params=[{"name": "o", "value": "$(params.o[*])"}, {"name": "l", "value": "$(params.o.l)"}]
        ),
        params=declared,
        run_params=[{"name": "o", "value": {"k": "mine"}}],
    )
    assert harness.params_of("a") == {"o": {"k": "mine", "l": "w"}, "l": "w"}


def test_bindings_have_params_and_contexts_in_them_and_results_when_the_task_is_made():
    bound = [
        {"name": "cfg", "configMap": {"name": "cfg-$(params.env)"}},
        {
            "name": "src",
            "subPath": "$(context.pipelineRun.name)/$(params.env)",
            "persistentVolumeClaim": {"claimName": "c"},
        },
        {"name": "late", "secret": {"secretName": "$(tasks.a.results.r)"}},
    ]
    use = [
        {"name": "x", "workspace": "cfg"},
        {"name": "y", "workspace": "src"},
        {"name": "z", "workspace": "late"},
    ]
    harness = one_step(
        pipeline_task("a", results=("r",)),
        pipeline_task("b", runAfter=["a"], workspaces=use),
        run_params=[{"name": "env", "value": "blue"}],
        run_workspaces=bound,
        workspaces=[{"name": one["name"]} for one in bound],
    )
    harness.finish_task("a", r="the-secret")
    harness.reconcile()
    given_ = {one["name"]: one for one in harness.taskrun("b")["spec"]["workspaces"]}
    assert given_["x"]["configMap"] == {"name": "cfg-blue"}
    assert given_["y"]["subPath"] == "p/blue"
    assert given_["z"]["secret"] == {"secretName": "the-secret"}


def test_a_workspace_of_the_run_that_an_embedded_task_only_names_is_bound():
    """It became an empty text: "rm -rf $(workspaces.src.path)/*" was "rm -rf /*", and the run succeeded."""
    harness = one_step(
        embedded("a", "rm -rf $(workspaces.src.path)/* $(workspaces.src.bound)"),
        run_workspaces=[{"name": "src", "emptyDir": {}}],
    )
    assert harness.taskrun("a")["spec"]["workspaces"] == [{"name": "src", "emptyDir": {}}]
    assert script_of(harness, "a") == "rm -rf /workspace/src/* true"


def test_pod_templates_have_the_runs_params_in_them():
    harness = one_step(
        pipeline_task("a"),
        run_params=[{"name": "zone", "value": "z1"}],
        run_taskRunTemplate={"podTemplate": {"nodeSelector": {"zone": "$(params.zone)"}}},
        run_taskRunSpecs=[{"pipelineTaskName": "a", "podTemplate": {"schedulerName": "s-$(params.zone)"}}],
    )
    assert harness.taskrun("a")["spec"]["podTemplate"] == {
        "nodeSelector": {"zone": "z1"},
        "schedulerName": "s-z1",
    }


# What nothing replaces.


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (embedded("a", "rm -rf $(workspaces.src.path)/*"), "$(workspaces.src.path)"),
        (embedded("a", "$(params.nope)"), "params.nope"),
        (embedded("a", "$(context.pipelineRun.nmae)"), "did you mean $(context.pipelineRun.name)?"),
        (pipeline_task("a", params=[{"name": "x", "value": "$(params.nope)"}]), "spec.tasks[0].params[x]"),
        (
            pipeline_task("a", params=[{"name": "x", "value": ["$(workspaces.nope.path)"]}]),
            "$(workspaces.nope.path)",
        ),
        (pipeline_task("a", params=[{"name": "x", "value": "$(tasks.a.status)"}]), "$(tasks.a.status)"),
        (
            pipeline_task("a", when=[{"input": "$(params.nope)", "operator": "in", "values": ["x"]}]),
            "spec.tasks[0].when[0].input",
        ),
        (pipeline_task("a", displayName="$(context.pipeline.nope)"), "spec.tasks[0].displayName"),
    ],
)
def test_a_variable_that_nothing_replaces_fails_the_run_before_a_taskrun_is_created(task, said):
    harness = one_step(task)
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert said in harness.condition[2]
    assert harness.taskruns_made == []


def test_a_misspelt_workspace_of_the_run_in_an_embedded_task_is_refused_with_the_same_field_of_the_nearest():
    harness = one_step(
        embedded("a", "rm -rf $(workspaces.scr.path)/*"),
        run_workspaces=[{"name": "src", "emptyDir": {}}],
    )
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert "did you mean $(workspaces.src.path)?" in harness.condition[2]
    assert harness.taskruns_made == []


@pytest.mark.parametrize("part", ["steps", "sidecars"])
def test_a_result_named_in_the_text_of_an_embedded_task_makes_it_wait_as_in_tekton(part):
    later = embedded("b", "true")
    named = {"name": "n", "image": "i", "script": "echo $(tasks.a.results.r)"}
    later["taskSpec"][part] = [named]
    harness = one_step(later, pipeline_task("a", results=("r",)))
    assert harness.taskruns_made == ["a"]


@pytest.mark.parametrize(
    ("task", "reason"), [("z", "PipelineInvalidGraph"), ("b", "InvalidTaskResultReference")]
)
def test_a_result_that_is_not_there_named_in_the_text_of_an_embedded_task_ends_the_run(task, reason):
    harness = one_step(embedded("a", f"$(tasks.{task}.results.r)"), pipeline_task("b"))
    assert harness.condition[:2] == ("False", reason)
    assert harness.taskruns_made == []


def test_defaults_in_a_circle_fail_the_run_by_name():
    harness = one_step(
        pipeline_task("a"), params=[{"name": one, "default": f"$(params.{two})"} for one, two in ("xy", "yx")]
    )
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert '"x", "y"' in harness.condition[2]


@pytest.mark.parametrize(
    ("tasks", "params"),
    [
        ([pipeline_task("a", params=[{"name": "v", "value": "$(params.p)" * 8000}])], {"p": "x" * 100_000}),
        ([embedded("a", "$(params.p)" * 8000)], {"p": "x" * 100_000}),
        (
            [pipeline_task("a", params=[{"name": "v", "value": ["$(params.p[*])"] * 10_000}])],
            {"p": ["x"] * 10_000},
        ),
        (
            [pipeline_task(f"t{n}", params=[{"name": "v", "value": "$(params.p)"}]) for n in range(40)],
            {"p": "x" * 100_000},
        ),
    ],
)
def test_a_pipeline_that_would_grow_beyond_an_object_is_refused_with_both_numbers(tasks, params):
    types = [
        {"name": name, "type": "array" if isinstance(value, list) else "string"}
        for name, value in params.items()
    ]
    harness = one_step(*tasks, params=types, run_params=[{"name": n, "value": v} for n, v in params.items()])
    assert harness.condition[:2] == ("False", "PipelineRunTooLarge")
    assert "over the limit of 1572864 bytes" in harness.condition[2]
    assert harness.taskruns_made == []


# Values are data.

SOME = st.sampled_from(
    [
        *(
            "$(params.q)",
            "$(params.own)",
            "$(workspaces.nope.path)",
            "$(tasks.a.results.r)",
            "$(~params.q)",
            "$(",
        ),
        *("$(context.taskRun.name)", "$(workspaces.src.path)", "$(results.r.path)", "$(~~x)", ")", "é", "$$"),
    ]
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(SOME, max_size=6).map("".join))
def test_a_result_arrives_unchanged_wherever_it_is_inserted(value):
    """Through a param, an embedded Task's text and a binding, past all that the next TaskRun replaces."""
    use = embedded(
        "b",
        "<$(params.v)> <$(tasks.a.results.r)> $(params.own)",
        task={"params": [{"name": "v"}, {"name": "own", "default": "OWN"}], "results": [{"name": "r"}]},
        params=[{"name": "v", "value": "$(tasks.a.results.r)"}],
        workspaces=[{"name": "src"}],
    )
    harness = one_step(
        pipeline_task("a", results=("r",)),
        use,
        run_params=[{"name": "q", "value": "SECRET"}],
        run_workspaces=[{"name": "src", "emptyDir": {}, "subPath": "$(tasks.a.results.r)"}],
        workspaces=[{"name": "src"}],
    )
    harness.finish_task("a", r=value)
    harness.reconcile()
    assert script_of(harness, "b") == f"<{value}> <{value}> OWN"


def test_a_taskruns_params_are_as_tektons_where_no_value_looks_like_what_it_replaces():
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)),
        pipeline_task("b", params=[{"name": "v", "value": "$(tasks.a.results.r)"}]),
    )
    harness.reconcile()
    harness.finish_task("a", r="$(params.x) $(date)")
    harness.reconcile()
    assert harness.params_of("b") == {"v": "$(params.x) $(date)"}
    assert LITERAL_ANNOTATION not in harness.taskrun("b")["metadata"].get("annotations", {})


def test_what_a_run_is_given_keeps_the_path_of_a_workspace_that_only_its_task_knows():
    harness = one_step(
        embedded(
            "a",
            "cd $(params.dir)",
            task={"params": [{"name": "dir"}], "workspaces": [{"name": "w"}]},
            params=[{"name": "dir", "value": "$(workspaces.w.path)/$(params.sub)"}],
            workspaces=[{"name": "w", "workspace": "shared"}],
        ),
        params=[{"name": "sub"}],
        run_params=[{"name": "sub", "value": "app"}],
        workspaces=[{"name": "shared"}],
        run_workspaces=[{"name": "shared", "emptyDir": {}}],
    )
    assert script_of(harness, "a") == "cd /workspace/w/app"


def test_a_binding_that_would_grow_beyond_an_object_fails_the_run_by_name():
    bound = [{"name": "w", "emptyDir": {}, "subPath": "$(tasks.a.results.r)" * 4000}]
    harness = one_step(
        pipeline_task("a", results=("r",)),
        pipeline_task("b", runAfter=["a"], workspaces=[{"name": "w"}]),
        workspaces=[{"name": "w"}],
        run_workspaces=bound,
    )
    harness.finish_task("a", r="x" * 1000)
    harness.reconcile()
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert "workspaces.w" in harness.condition[2]
    assert "over the limit of 1572864 bytes" in harness.condition[2]
    assert harness.taskruns_made == ["a"]


@pytest.mark.slow
def test_thousands_of_due_taskruns_are_created_in_several_reconciles():
    harness = one_step(*(pipeline_task(f"t{n}") for n in range(450)))
    assert len(harness.taskruns_made) == 200
    assert harness.reconcile() < 1
    harness.reconcile()
    assert len(harness.taskruns_made) == 450


def test_values_side_by_side_are_not_read_as_a_variable():
    """In the text of an embedded Task, and in the run's own results."""
    harness = one_step(
        pipeline_task("a", results=("x", "y")),
        embedded("b", ": $(tasks.a.results.x)$(tasks.a.results.y) $(params.p)$(params.q)"),
        params=[{"name": name, "default": "no"} for name in "pq"],
        run_params=[{"name": "p", "value": "$"}, {"name": "q", "value": "(context.taskRun.name)"}],
        results=[{"name": "r", "value": "$(tasks.a.results.x)$(tasks.a.results.y)"}],
    )
    harness.finish_task("a", x="$", y="(context.taskRun.name)")
    harness.reconcile()
    assert script_of(harness, "b") == ": $(context.taskRun.name) $(context.taskRun.name)"
    harness.finish_task("b")
    harness.reconcile()
    assert harness.status["results"] == [{"name": "r", "value": "$(context.taskRun.name)"}]


@pytest.mark.slow
def test_a_task_that_thousands_use_is_read_once_and_gone_through_within_bounds():
    harness = PipelineRunHarness(*({"name": f"t{n}", "taskRef": {"name": "large"}} for n in range(3_000)))
    task = {
        "apiVersion": "tekton.dev/v1",
        "kind": "Task",
        "metadata": {"name": "large", "namespace": "default"},
        "spec": {
            "steps": [{**STEP, "script": "true"}],
            "results": [{"name": f"r{n}"} for n in range(10_000)],
        },
    }
    harness.store.create(TASKS, task)
    harness.store.calls.clear()
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert "500000" in harness.condition[2]
    assert harness.store.calls.count(("get", "Task")) == 1


def test_many_entries_of_task_run_specs_for_one_task_are_refused():
    harness = one_step(pipeline_task("a"), run_taskRunSpecs=[{"pipelineTaskName": "a"}] * 33)
    assert harness.condition[:2] == ("False", "InvalidTaskRunSpecs")
    assert "33 taskRunSpecs" in harness.condition[2]
    assert "32" in harness.condition[2]


def test_a_large_pod_template_makes_batches_of_taskruns_smaller():
    env = [{"name": "E", "value": "x" * 1_000_000}]
    harness = one_step(
        *(pipeline_task(f"t{n}") for n in range(20)), run_taskRunTemplate={"podTemplate": {"env": env}}
    )
    assert len(harness.taskruns_made) == 6
