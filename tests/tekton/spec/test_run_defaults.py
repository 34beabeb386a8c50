"""The defaults of runs: ``config-defaults``, read and filled in."""

import json

import pytest
from document_shapes import SHAPES
from hypothesis import given
from hypothesis import strategies as st
from pipelinerun_harness import PipelineRunHarness, pipeline_task
from taskrun_harness import TaskRunHarness

from resultsfw import PODS
from resultsfw.errors import FlagError
from resultsfw.local.store import Store
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.spec.run_defaults import RunDefaults, run_defaults_of, with_run_defaults
from resultsfw.tekton.taskrun.reconciler import Reconciler

TEMPLATE = "nodeSelector: {disk: ssd}\nenv: [{name: A, value: default}, {name: B, value: default}]\n"
DEFAULTS = run_defaults_of({"default-timeout-minutes": "10", "default-pod-template": TEMPLATE})


def filled(run, defaults=DEFAULTS):
    return with_run_defaults(run, defaults)["spec"]


def test_no_key_is_tektons_own_default():
    assert run_defaults_of({}) == RunDefaults(timeout="1h0m0s", pod_template=None)


@pytest.mark.parametrize(("minutes", "timeout"), [("10", "10m0s"), ("0", "0s"), ("90", "1h30m0s")])
def test_minutes_become_the_timeout_of_runs_without_one(minutes, timeout):
    defaults = run_defaults_of({"default-timeout-minutes": minutes})
    assert filled({"kind": "TaskRun", "spec": {}}, defaults) == {"timeout": timeout}
    assert filled({"kind": "TaskRun", "spec": {"timeout": "5s"}}, defaults) == {"timeout": "5s"}
    timeouts = filled({"kind": "PipelineRun", "spec": {"timeouts": {"tasks": "1m"}}}, defaults)["timeouts"]
    assert timeouts == {"tasks": "1m", "pipeline": timeout}
    own = {"timeouts": {"pipeline": "0"}}
    assert filled({"kind": "PipelineRun", "spec": own}, defaults) == own


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("default-timeout-minutes", "ten", "not a whole number"),
        ("default-timeout-minutes", "-1", "not a whole number"),
        ("default-timeout-minutes", "9" * 5000, "not a whole number"),
        ("default-timeout-minutes", "", "not a whole number"),
        ("default-pod-template", "nodeselector: {a: b}", 'did you mean "nodeSelector"'),
        ("default-pod-template", "tolerations: {a: b}", "tolerations: must be a list"),
        ("default-pod-template", "[a", "not YAML"),
        ("default-pod-template", "- a", "not a mapping"),
        ("default-pod-template", "[" * 500_000, "not YAML"),
        ("default-pod-template", "nodeSelector: &a {x: y}\naffinity: *a", "alias"),
        ("default-pod-template", "affinity: {a: .nan}", "number that JSON cannot express"),
        ("default-pod-template", "affinity: {a: !!binary aGk=}", "tags are not allowed"),
        ("default-pod-template", "affinity: " + "{a: " * 150 + "1" + "}" * 150, "nested deeper"),
    ],
)
def test_an_invalid_value_is_refused_by_its_key(key, value, words):
    with pytest.raises(FlagError, match=words) as caught:
        run_defaults_of({key: value})
    assert caught.value.subject == key
    assert len(caught.value.message) < 300


def test_a_template_is_read_as_kubernetes_reads_yaml_so_that_it_can_be_stored():
    made = run_defaults_of({"default-pod-template": "affinity: {since: 2020-01-01, 1: yes}"})
    assert json.loads(json.dumps(made.pod_template)) == {"affinity": {"since": "2020-01-01", "1": True}}


def test_a_pod_has_the_default_template_below_that_of_its_run():
    harness = TaskRunHarness()
    harness.reconciler = Reconciler(harness.reconciler.core, harness.cluster, defaults=DEFAULTS)
    harness.submit(podTemplate={"env": [{"name": "A", "value": "own"}], "dnsPolicy": "None"})
    harness.reconcile()
    (pod,) = Store.list(harness.cluster, PODS)
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert pod["spec"]["dnsPolicy"] == "None"
    variables = {variable["name"]: variable.get("value") for variable in pod["spec"]["containers"][0]["env"]}
    assert (variables["A"], variables["B"]) == ("own", "default")
    assert pod["spec"]["activeDeadlineSeconds"] == 900
    assert "timeout" not in harness.taskrun["spec"]


def test_the_taskruns_of_a_pipelinerun_have_the_default_template_and_a_longer_part_of_its_time():
    """A part over the default is given to each TaskRun (pipelineRunTimeout, pipelinerun.go)."""
    harness = PipelineRunHarness(pipeline_task("a"), run_timeouts={"pipeline": "30m", "tasks": "20m"})
    harness.reconciler = PipelineReconciler(
        harness.core, harness.store, clock=lambda: harness.now, defaults=DEFAULTS
    )
    harness.reconcile()
    taskrun = harness.taskrun("a")
    assert taskrun["spec"]["timeout"] == "20m0s"
    assert taskrun["spec"]["podTemplate"]["nodeSelector"] == {"disk": "ssd"}
    assert "podTemplate" not in harness.pipelinerun["spec"].get("taskRunTemplate", {})


@given(st.sampled_from(["TaskRun", "PipelineRun"]), SHAPES | st.fixed_dictionaries({"podTemplate": SHAPES}))
def test_runs_of_any_shape_are_filled_or_left_alone(kind, spec):
    run = {"kind": kind, "spec": spec}
    once = with_run_defaults(run, DEFAULTS)
    assert with_run_defaults(once, DEFAULTS) == once
    assert run == {"kind": kind, "spec": spec}
