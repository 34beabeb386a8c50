"""Steps that refer to StepActions: as Tekton's controller resolved them, and within limits."""

import base64
import json
from pathlib import Path

import pytest
from taskrun_harness import TaskRunHarness

from resultsfw import PODS
from resultsfw.limits import OBJECT_BYTES
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import RESOLUTION_REQUESTS, STEP_ACTIONS
from resultsfw.tekton.api.v1beta1 import convert_to_v1

CAPTURED = json.loads(
    (Path(__file__).parents[2] / "data" / "tekton" / "step-actions.json").read_text(encoding="utf-8")
)
RUNS = {run["about"]: run for run in CAPTURED["runs"]}
IMAGE = {"image": "busybox:1"}


def step_action(name, **spec):
    return {
        "apiVersion": "tekton.dev/v1beta1",
        "kind": "StepAction",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**IMAGE, **spec},
    }


def started(*actions, steps, **spec):
    """A TaskRun with these Steps, after its first reconcile."""
    harness = TaskRunHarness({"results-from": "termination-message"})
    for action in actions:
        Store.create(harness.cluster, STEP_ACTIONS, action)
    harness.submit(taskSpec={"steps": steps, **spec.pop("task", {})}, **spec)
    harness.reconcile()
    return harness


def command_of(harness, index=0):
    args = harness.pod()["spec"]["containers"][index]["args"]
    return args[args.index("-entrypoint") + 1 :]


# Against Tekton


@pytest.mark.parametrize("about", RUNS)
def test_a_run_is_resolved_or_refused_as_by_tekton(about):
    captured = RUNS[about]
    harness = TaskRunHarness({"results-from": "termination-message"})
    for action in CAPTURED["actions"]:
        metadata = {**action["metadata"], "namespace": "default"}
        Store.create(harness.cluster, STEP_ACTIONS, {**convert_to_v1(action).document, "metadata": metadata})
    harness.submit(**captured["spec"])
    harness.reconcile()
    if captured["reason"] == "TaskRunResolutionFailed":
        assert harness.condition["reason"] == captured["reason"]
        expected = captured["message"].replace('stepactions.tekton.dev "nowhere" not found', "")
        assert harness.condition["message"].startswith(expected)
        assert Store.list(harness.cluster, PODS) == []
        return
    # Only the run's own name differs, the value of a context variable.
    expected = json.dumps(captured["taskSpec"]).replace(f'"value": "{about}"', '"value": "run"')
    expected = expected.replace(f"you in {about}", "you in run")
    assert harness.taskrun["status"]["taskSpec"] == json.loads(expected)
    made = {container["name"]: container for container in harness.pod()["spec"]["containers"]}
    for container in captured["containers"]:
        assert made[container["name"]]["image"] == container["image"]
        assert made[container["name"]].get("workingDir") == container.get("workingDir")
        assert made[container["name"]].get("securityContext") == container.get("securityContext")


# What reaches the pod


def test_a_value_with_variables_is_data_to_the_step_action_and_to_the_task():
    hostile = "$(params.other) $(step.results.r.path) $(params.secret) $(steps.s.results.r)"
    harness = started(
        step_action(
            "show",
            params=[{"name": "text"}, {"name": "other", "default": "own"}],
            results=[{"name": "r"}],
            command=["echo", "$(params.text)", "$(params.other)"],
        ),
        steps=[
            {
                "name": "s",
                "ref": {"name": "show"},
                "params": [{"name": "text", "value": "<$(params.given)>"}],
            }
        ],
        task={"params": [{"name": "given"}, {"name": "secret", "default": "hidden"}]},
        params=[{"name": "given", "value": hostile}],
    )
    # A later pass knows the path, as in every value that a run is given.
    shown = hostile.replace("$(step.results.r.path)", "/tekton/steps/step-s/results/r")
    assert command_of(harness) == ["echo", "--", f"<{shown}>", "own"]


def test_a_variable_that_two_values_would_make_together_stays_text():
    harness = started(
        step_action(
            "show",
            params=[{"name": "a"}, {"name": "b"}],
            command=["echo", "$(params.a)$(params.b)"],
        ),
        steps=[
            {
                "name": "s",
                "ref": {"name": "show"},
                "params": [{"name": "a", "value": "$"}, {"name": "b", "value": "(params.secret)"}],
            }
        ],
        task={"params": [{"name": "secret", "default": "hidden"}]},
    )
    assert command_of(harness) == ["echo", "--", "$(params.secret)"]


def test_what_a_step_says_beside_its_step_action_holds_and_its_security_context_is_the_step_actions():
    harness = started(
        step_action(
            "run", command=["true"], securityContext={"runAsUser": 7}, env=[{"name": "A", "value": "1"}]
        ),
        steps=[
            {
                "name": "s",
                "ref": {"name": "run"},
                "timeout": "10s",
                "onError": "continue",
                "imagePullPolicy": "Never",
                "securityContext": {"runAsUser": 8},
                "computeResources": {"limits": {"memory": "1Mi"}},
            }
        ],
        task={"stepTemplate": {"env": [{"name": "A", "value": "0"}, {"name": "B", "value": "2"}]}},
    )
    container = harness.pod()["spec"]["containers"][0]
    assert container["securityContext"] == {"runAsUser": 7}
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert container["imagePullPolicy"] == "Never"
    assert container["resources"]["limits"] == {"memory": "1Mi"}
    assert container["args"][container["args"].index("-timeout") + 1] == "10s"
    assert "-on_error" in container["args"]


def test_a_step_action_is_read_once_however_many_steps_refer_to_it():
    harness = started(
        step_action("run", command=["true"]), steps=[{"ref": {"name": "run"}} for _ in range(5)]
    )
    assert harness.cluster.calls.count(("get", "StepAction")) == 1
    assert len(harness.pod()["spec"]["containers"]) == 5


def test_a_step_action_that_changes_later_does_not_change_the_run():
    harness = started(step_action("run", command=["true"]), steps=[{"name": "s", "ref": {"name": "run"}}])
    Store.patch(harness.cluster, STEP_ACTIONS, "default", "run", {"spec": {"command": ["false"]}})
    harness.reconcile()
    assert harness.taskrun["status"]["taskSpec"]["steps"][0]["command"] == ["true"]


def test_a_workspace_that_nobody_declares_is_not_bound_in_a_condition_as_in_tekton():
    when = [{"input": "$(workspaces.no.bound)", "operator": "in", "values": ["true"]}]
    harness = started(steps=[{"name": "s", **IMAGE, "command": ["true"], "when": when}])
    args = harness.pod()["spec"]["containers"][0]["args"]
    assert "$(workspaces.no.bound)" in args[args.index("--when_expressions") + 1]


# What is refused


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({"image": "i"}, "image cannot be used with Ref: steps[0].image"),
        ({"command": ["c"]}, "command cannot be used with Ref: steps[0].command"),
        ({"args": ["a"]}, "args cannot be used with Ref: steps[0].args"),
        ({"script": "x"}, "script cannot be used with Ref: steps[0].script"),
        ({"workingDir": "/"}, "working dir cannot be used with Ref: steps[0].workingDir"),
        ({"env": [{"name": "A"}]}, "env cannot be used with Ref: steps[0].env"),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            "volumeMounts cannot be used with Ref: steps[0].volumeMounts",
        ),
        ({"results": [{"name": "r"}]}, "results cannot be used with Ref: steps[0].results"),
        ({"ref": {}}, "missing field(s): steps[0].ref.name"),
        ({"ref": {"name": "$(params.x)"}}, "steps[0].ref.name"),
    ],
)
def test_a_step_that_says_what_its_step_action_says_is_refused(step, why):
    harness = started(
        step_action("run", command=["true"]), steps=[{"name": "s", "ref": {"name": "run"}, **step}]
    )
    assert harness.condition["status"] == "False"
    assert why in harness.condition["message"]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"image": ""}, "missing field(s): spec.Image"),
        ({"script": "x", "command": ["c"]}, "script cannot be used with command: spec.script"),
        (
            {"script": "$(params.a)", "params": [{"name": "a", "default": ""}]},
            "param substitution in scripts is not allowed.: spec.script",
        ),
        ({"args": ["$(params.none)"]}, 'non-existent variable in "$(params.none)": spec.args[0]'),
        (
            {"args": ["x$(params.a)"], "params": [{"name": "a", "type": "array", "default": []}]},
            'variable is not properly isolated in "x$(params.a)": spec.args[0]',
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            "invalid value: v: spec.volumeMounts[0].name\nexpect the Name to be a single param reference",
        ),
        ({"results": [{"name": "-"}]}, 'invalid key name "-": spec.results[0].name'),
        ({"params": [{"name": "a"}, {"name": "a"}]}, "parameter appears more than once: spec.params[a]"),
    ],
)
def test_an_invalid_step_action_is_refused_with_tektons_words(spec, why):
    harness = started(
        step_action("run", **{"command": ["c"], **spec}), steps=[{"name": "s", "ref": {"name": "run"}}]
    )
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert why in harness.condition["message"]


def test_step_actions_that_make_the_task_too_large_are_refused_before_the_rest_is_read():
    large = "x" * (OBJECT_BYTES // 3)
    actions = [step_action(f"a{number}", script=large) for number in range(6)]
    harness = started(*actions, steps=[{"ref": {"name": f"a{number}"}} for number in range(6)])
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert f"over the limit of {OBJECT_BYTES} bytes" in harness.condition["message"]
    assert harness.cluster.calls.count(("get", "StepAction")) == 3


def test_a_value_that_its_step_action_names_too_often_is_refused_before_it_is_built():
    args = ["$(params.p)"] * 100
    harness = started(
        step_action("run", command=["c"], params=[{"name": "p"}], args=args),
        steps=[{"ref": {"name": "run"}, "params": [{"name": "p", "value": "$(params.large)"}]}],
        task={"params": [{"name": "large"}]},
        params=[{"name": "large", "value": "x" * (OBJECT_BYTES // 4)}],
    )
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert f"over the limit of {OBJECT_BYTES} bytes one API object can hold" in harness.condition["message"]


def test_a_result_that_no_earlier_step_declares_is_refused():
    harness = started(
        step_action("run", command=["echo", "$(params.p)"], params=[{"name": "p"}]),
        steps=[
            {
                "name": "s",
                "ref": {"name": "run"},
                "params": [{"name": "p", "value": "$(steps.no.results.r)"}],
            }
        ],
    )
    assert harness.condition["status"] == "False"
    assert "$(steps.no.results.r)" in harness.condition["message"]


# Through a resolver


def test_resolvers_are_asked_for_all_step_actions_at_once_with_the_runs_params():
    ref = {"resolver": "git", "params": [{"name": "path", "value": "$(params.path)"}]}
    other = {"resolver": "git", "params": [{"name": "path", "value": "b.yaml"}]}
    harness = started(
        steps=[{"name": "a", "ref": ref}, {"name": "b", "ref": other}, {"name": "c", "ref": ref}],
        task={"params": [{"name": "path", "default": "a.yaml"}]},
    )
    assert harness.condition["reason"] == "ResolvingStepActionRef"
    assert harness.condition["message"] == "TaskRun default/run awaiting remote StepAction"
    requests = Store.list(harness.cluster, RESOLUTION_REQUESTS)
    assert [request["spec"]["params"][0]["value"] for request in requests] == ["a.yaml", "b.yaml"]


def test_a_step_action_from_a_resolver_is_used_and_its_source_recorded():
    ref = {"resolver": "git", "params": [{"name": "path", "value": "a.yaml"}]}
    inline = {"name": "inline", **IMAGE, "command": ["true"]}
    harness = started(steps=[inline, {"name": "s", "ref": ref}])
    found = {**step_action("run", command=["true"]), "apiVersion": "tekton.dev/v1alpha1"}
    source = {"uri": "git+https://example.com", "digest": {"sha1": "abc"}, "entryPoint": "a.yaml"}
    answer(harness, json.dumps(found), source)
    assert command_of(harness, 1) == ["true", "--"]
    steps = harness.taskrun["status"]["steps"]
    assert [step["provenance"] for step in steps] == [{}, {"refSource": source}]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: b", "resource is not a StepAction"),
        (
            json.dumps(step_action("run", comand=["true"])),
            "invalid runtime object: spec.comand: unknown field",
        ),
    ],
)
def test_what_a_resolver_finds_is_refused_unless_it_is_a_step_action(text, why):
    harness = started(steps=[{"name": "s", "ref": {"resolver": "git"}}])
    answer(harness, text, None)
    assert harness.condition["reason"] == "TaskRunResolutionFailed"
    assert harness.condition["message"].startswith('failed to resolve step ref for step "s" (index 0): ')
    assert why in harness.condition["message"]


def answer(harness, text, source):
    """Answer the run's ResolutionRequest, and reconcile."""
    (request,) = Store.list(harness.cluster, RESOLUTION_REQUESTS)
    status = {
        "data": base64.b64encode(text.encode()).decode(),
        "refSource": source,
        "conditions": [{"type": "Succeeded", "status": "True"}],
    }
    key = (RESOLUTION_REQUESTS, "default", request["metadata"]["name"])
    Store.patch(harness.cluster, *key, {"status": status}, subresource="status")
    harness.reconcile()
