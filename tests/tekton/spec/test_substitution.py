"""References in a Task's spec: what is put in, where, and what is left alone."""

import copy
import string

import captures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.tekton.spec.expansion import Budget, Expansion
from resultsfw.tekton.spec.params import param_value
from resultsfw.tekton.spec.run_texts import run_texts
from resultsfw.tekton.spec.substitution import apply


def taskrun(**spec):
    return {
        "metadata": {"name": "run", "namespace": "ns", "uid": "u-1"},
        "spec": spec,
    }


def substituted(text, *, task=None, run=None, **step):
    """A script after substitution."""
    spec = {"steps": [{"name": "s", "image": "i", "script": text, **step}], **(task or {})}
    return apply(spec, run or taskrun())["steps"][0]["script"]


def test_a_substituted_spec_is_what_tekton_stored(capture):
    """The spec after substitution is the one Tekton left in ``status.taskSpec``."""
    run = captures.created(capture)
    assert apply(run["spec"]["taskSpec"], run) == capture["tekton_final"]["status"]["taskSpec"]


def test_a_stored_spec_stays_as_it_is(capture):
    """A status' spec went through once; once more changes nothing."""
    run = captures.created(capture)
    stored = capture["tekton_final"]["status"]["taskSpec"]
    assert apply(stored, run) == stored


def test_arguments_stay_as_they_are(capture):
    run = captures.created(capture)
    before = copy.deepcopy(run)
    apply(run["spec"]["taskSpec"], run)
    assert run == before


# Parameters


@pytest.mark.parametrize("reference", ["params.p", 'params["p"]', "params['p']", "inputs.params.p"])
def test_a_text_parameter_is_replaced_in_every_notation(reference):
    run = taskrun(params=[{"name": "p", "value": "v"}])
    assert substituted(f"echo $({reference})!", run=run) == "echo v!"


def test_a_name_with_dots_is_replaced_in_brackets():
    run = taskrun(params=[{"name": "a.b", "value": "v"}])
    assert substituted("$(params['a.b'])", run=run) == "v"


def test_a_given_value_replaces_the_default():
    task = {"params": [{"name": "p", "default": "d"}, {"name": "q", "default": "e"}]}
    run = taskrun(params=[{"name": "p", "value": "v"}])
    assert substituted("$(params.p) $(params.q)", task=task, run=run) == "v e"


def test_a_default_may_name_another_parameter():
    task = {"params": [{"name": "a", "default": "$(params.b)/$(params.c)/x"}, {"name": "b", "default": "b"}]}
    run = taskrun(params=[{"name": "c", "value": "C"}])
    assert substituted("$(params.a)", task=task, run=run) == "b/C/x"


def test_an_array_element_is_replaced_by_index():
    run = taskrun(params=[{"name": "p", "value": ["x", "y"]}])
    assert substituted("$(params.p[1])$(params['p'][0])$(params.p[2])", run=run) == "yx$(params.p[2])"


@pytest.mark.parametrize("reference", ["$(params.p[*])", "$(params.p)", "$(params['p'][*])"])
def test_a_whole_array_alone_becomes_arguments(reference):
    spec = {"steps": [{"image": "i", "command": ["c", reference], "args": ["a", reference, "z"]}]}
    step = apply(spec, taskrun(params=[{"name": "p", "value": ["x", "y"]}]))["steps"][0]
    assert step["command"] == ["c", "x", "y"]
    assert step["args"] == ["a", "x", "y", "z"]


def test_an_empty_array_leaves_no_arguments():
    spec = {"steps": [{"image": "i", "args": ["$(params.p[*])"]}]}
    assert "args" not in apply(spec, taskrun(params=[{"name": "p", "value": []}]))["steps"][0]


def test_a_whole_array_inside_a_text_stays():
    run = taskrun(params=[{"name": "p", "value": ["x"]}])
    assert substituted("a $(params.p[*])", run=run) == "a $(params.p[*])"


def test_object_keys_come_from_value_and_default():
    task = {"params": [{"name": "o", "type": "object", "default": {"a": "1", "b": "2"}}]}
    run = taskrun(params=[{"name": "o", "value": {"a": "9"}}])
    assert substituted("$(params.o.a)$(params.o.b)", task=task, run=run) == "92"


@pytest.mark.parametrize(
    ("given_value", "decoded"),
    [
        ("text", "text"),
        (5, "5"),
        (True, "true"),
        (None, ""),
        (["a", None], ["a", ""]),
        ({"a": "b"}, {"a": "b"}),
        ([1, 2], "[1,2]"),
        ({"a": {"b": "c"}}, '{"a":{"b":"c"}}'),
        ([], []),
    ],
)
def test_values_are_decoded_as_tekton_decodes_them(given_value, decoded):
    assert param_value(given_value) == decoded


# The other passes


def test_variables_of_the_context_are_replaced():
    script = (
        "$(context.taskRun.name) $(context.taskRun.namespace) $(context.taskRun.uid) $(context.task.name)"
    )
    assert substituted(script) == "run ns u-1 run"


def test_context_names_the_task_that_is_referred_to():
    spec = {"steps": [{"image": "i", "script": "$(context.task.name)"}]}
    run = taskrun(taskRef={"name": "build"})
    assert apply(spec, run)["steps"][0]["script"] == "build"
    assert apply(spec, run, task_name="other")["steps"][0]["script"] == "other"


def test_the_retry_count_is_replaced():
    run = taskrun() | {"status": {"retriesStatus": [{}, {}]}}
    assert substituted("$(context.task.retry-count)", run=run) == "2"


@pytest.mark.parametrize("reference", ["results.r.path", 'results["r"].path', "results['r'].path"])
def test_the_path_of_a_result_is_replaced_in_every_notation(reference):
    assert substituted(f"> $({reference})", task={"results": [{"name": "r"}]}) == "> /tekton/results/r"


@pytest.mark.parametrize("form", ["step.results.r.path", 'step.results["r"].path', "step.results['r'].path"])
def test_the_path_of_a_steps_own_result_is_replaced(form):
    path = substituted(f"$({form})", results=[{"name": "r"}])
    assert path == "/tekton/steps/step-s/results/r"


def test_the_path_of_an_unnamed_steps_own_result_is_replaced():
    script = substituted("$(step.results.r.path)", results=[{"name": "r"}], name="")
    assert script == "/tekton/steps/step-unnamed-0/results/r"


def test_another_steps_result_is_left_for_the_entrypoint():
    spec = {"steps": [{"image": "i", "command": ["c"], "args": ["$(steps.s.results.r)"]}]}
    assert apply(spec, taskrun())["steps"][0]["args"] == ["$(steps.s.results.r)"]


def test_the_path_of_an_exit_code_is_replaced():
    assert substituted("$(steps.step-s.exitCode.path)") == "/tekton/steps/step-s/exitCode"


def test_variables_of_workspaces_are_replaced():
    task = {"workspaces": [{"name": "w", "mountPath": "/src"}, {"name": "none", "optional": True}]}
    run = taskrun(workspaces=[{"name": "w", "persistentVolumeClaim": {"claimName": "c"}}])
    script = (
        "$(workspaces.w.path) $(workspaces.w.bound) $(workspaces.w.claim) "
        "<$(workspaces.none.path)> $(workspaces.none.bound)"
    )
    assert substituted(script, task=task, run=run) == "/src true c <> false"


def test_a_step_that_mounts_a_workspace_elsewhere_has_its_own_path():
    spec = {
        "workspaces": [{"name": "w"}],
        "steps": [
            {
                "image": "i",
                "script": "$(workspaces.w.path)",
                "workspaces": [{"name": "w", "mountPath": "/own"}],
            },
            {"image": "i", "script": "$(workspaces.w.path)"},
        ],
    }
    run = taskrun(workspaces=[{"name": "w", "emptyDir": {}}])
    scripts = [step["script"] for step in apply(spec, run)["steps"]]
    assert scripts == ["/own", "/workspace/w"]


def test_a_workspace_that_is_only_bound_is_declared():
    spec = {"steps": [{"image": "i", "script": "$(workspaces.w.path)"}]}
    after = apply(spec, taskrun(workspaces=[{"name": "w", "emptyDir": {}}]))
    assert after["workspaces"] == [{"name": "w"}]
    assert after["steps"][0]["script"] == "/workspace/w"


def test_the_claim_of_a_template_is_named_after_the_run():
    run = taskrun(workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}, "subPath": "$(params.p)"}])
    run["spec"]["params"] = [{"name": "p", "value": "sub"}]
    bound = run_texts(run, {}).bindings
    assert bound == [
        {"name": "w", "subPath": "sub", "persistentVolumeClaim": {"claimName": "pvc-dc5ff9daf0"}}
    ]


def test_a_value_may_name_what_a_later_pass_puts_in():
    """Tekton replaces in passes, and Tasks rely on it."""
    task = {"workspaces": [{"name": "w"}], "params": [{"name": "dir", "default": "$(workspaces.w.path)/app"}]}
    run = taskrun(workspaces=[{"name": "w", "emptyDir": {}}])
    assert substituted("cd $(params.dir)", task=task, run=run) == "cd /workspace/w/app"


# Where references are replaced


def test_all_fields_of_a_step_are_replaced():
    step = {
        "name": "s",
        "image": "$(params.p)",
        "workingDir": "$(params.p)",
        "imagePullPolicy": "$(params.p)",
        "onError": "$(params.p)",
        "script": "$(params.p)",
        "env": [
            {"name": "A", "value": "$(params.p)"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "$(params.p)", "key": "$(params.p)"}}},
        ],
        "envFrom": [{"prefix": "$(params.p)", "configMapRef": {"name": "$(params.p)"}}],
        "volumeMounts": [{"name": "$(params.p)", "mountPath": "$(params.p)", "subPath": "$(params.p)"}],
        "stdoutConfig": {"path": "$(params.p)"},
        "when": [{"input": "$(params.p)", "operator": "in", "values": ["$(params.p)", "$(params.a[*])"]}],
    }
    run = taskrun(params=[{"name": "p", "value": "v"}, {"name": "a", "value": ["x", "y"]}])
    assert apply({"steps": [step]}, run)["steps"][0] == {
        "name": "s",
        "image": "v",
        "workingDir": "v",
        "imagePullPolicy": "v",
        "onError": "v",
        "script": "v",
        "env": [
            {"name": "A", "value": "v"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "v", "key": "v"}}},
        ],
        "envFrom": [{"prefix": "v", "configMapRef": {"name": "v"}}],
        "volumeMounts": [{"name": "v", "mountPath": "v", "subPath": "v"}],
        "stdoutConfig": {"path": "v"},
        "when": [{"input": "v", "operator": "in", "values": ["v", "x", "y"]}],
        "computeResources": {},
    }


def test_template_sidecars_volumes_and_mount_paths_are_replaced():
    spec = {
        "steps": [{"image": "i", "script": "true"}],
        "stepTemplate": {"env": [{"name": "A", "value": "$(params.p)"}]},
        "sidecars": [{"name": "s", "image": "$(params.p)", "script": "$(params.p)"}],
        "volumes": [{"name": "v", "configMap": {"name": "$(params.p)"}}],
        "workspaces": [{"name": "w", "mountPath": "/$(params.p)"}],
    }
    after = apply(spec, taskrun(params=[{"name": "p", "value": "v"}]))
    assert after["stepTemplate"] == {"env": [{"name": "A", "value": "v"}], "computeResources": {}}
    assert after["sidecars"] == [{"name": "s", "image": "v", "script": "v", "computeResources": {}}]
    assert after["volumes"] == [{"name": "v", "configMap": {"name": "v"}}]
    assert after["workspaces"] == [{"name": "w", "mountPath": "/v"}]


def test_variables_of_a_pod_template_are_replaced():
    run = taskrun(
        params=[{"name": "p", "value": "v"}],
        podTemplate={"nodeSelector": {"$(params.p)": "$(params.p)"}, "hostNetwork": True},
    )
    assert run_texts(run, {}).pod_template == {"nodeSelector": {"v": "v"}, "hostNetwork": True}


def test_missing_types_of_params_and_results_are_inferred():
    spec = {
        "steps": [],
        "params": [
            {"name": "a", "default": ["x"]},
            {"name": "o", "properties": {"k": {}}},
            {"name": "s", "default": 5},
        ],
        "results": [{"name": "r"}, {"name": "o", "properties": {"k": None}}],
    }
    after = apply(spec, taskrun())
    assert [param["type"] for param in after["params"]] == ["array", "object", "string"]
    assert after["params"][1]["properties"] == {"k": {"type": "string"}}
    assert after["params"][2]["default"] == "5"
    assert [result["type"] for result in after["results"]] == ["string", "object"]


# Whatever the text


names = st.text(string.ascii_letters, min_size=1, max_size=8)
texts = st.text(st.characters(codec="utf-8"), max_size=80)


@given(texts.filter(lambda text: "$(" not in text))
def test_text_without_references_is_unchanged(text):
    run = taskrun(params=[{"name": "p", "value": "v"}])
    spec = {"steps": [{"image": "i", "script": "x" + text, "env": [{"name": "A", "value": text}]}]}
    step = apply(spec, run)["steps"][0]
    assert step["script"] == "x" + text
    assert step["env"][0]["value"] == text


@given(texts)
def test_unknown_references_are_unchanged(text):
    expansion = Expansion(lambda _: None, Budget())
    assert expansion.text(f"{text}$(params.unknown){text}", "f") == f"{text}$(params.unknown){text}"


@given(texts, texts, texts, names)
def test_a_value_is_put_in_exactly_once_and_not_looked_at_again(before, value, after, other):
    """No text of a value is taken for a reference to another parameter."""
    value = f"{value}$(params.{other})"
    run = taskrun(params=[{"name": "p0", "value": value}, {"name": other, "value": "X"}])
    before, after = before.replace("$", ""), after.replace("$", "")
    assert substituted(f"-{before}$(params.p0){after}", run=run) == f"-{before}{value}{after}"


@given(st.lists(texts, max_size=5))
def test_array_elements_arrive_whole(elements):
    spec = {"steps": [{"image": "i", "args": ["-", "$(params.p[*])"]}]}
    run = taskrun(params=[{"name": "p", "value": [element.replace("$", "") for element in elements]}])
    step = apply(spec, run)["steps"][0]
    assert step["args"] == ["-", *run["spec"]["params"][0]["value"]]


def test_a_variable_inside_a_shells_own_substitution_is_replaced():
    run = taskrun(params=[{"name": "p", "value": "v"}])
    assert substituted("x=$(cat $(params.p) $(ls))", run=run) == "x=$(cat v $(ls))"
