"""Artifacts of Pipeline Tasks in the params, ``when`` and embedded Tasks of those that run after them."""

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task

from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.policies import Policies, pipeline_violations

IMAGE = "$(tasks.build.outputs.image)"
ARTIFACTS = {
    "inputs": [{"name": "source", "values": [{"uri": "u$(params.p)"}]}],
    "outputs": [
        {"name": "log"},
        {"name": "image", "values": [{"uri": "<i>", "digest": {"sha256": "2", "sha1": "1"}}]},
    ],
}
VALUES = r'[{"digest":{"sha1":"1","sha256":"2"},"uri":"\u003ci\u003e"}]'


def script_of(taskrun):
    return taskrun["spec"]["taskSpec"]["steps"][0]["script"]


def with_script(name, script, **fields):
    task = pipeline_task(name, **fields)
    task["taskSpec"]["steps"][0]["script"] = script
    return task


def param(value):
    return [{"name": "x", "value": value}]


def finish(harness, task, artifacts, reason="Succeeded"):
    verdict = "True" if reason == "Succeeded" else "False"
    status = {"conditions": [condition(verdict, reason, "m", harness.now)], "artifacts": artifacts}
    Store.patch(harness.store, TASKRUNS, "default", f"p-{task}", {"status": status}, subresource="status")
    harness.reconcile()


def test_values_are_put_where_they_are_named_and_are_data():
    used = with_script("use", f"echo '{IMAGE}' '$(tasks.build.outputs)' '$(tasks.build.inputs.source)'")
    used["taskSpec"]["params"] = [{"name": "x"}]
    last = with_script("last", "echo '$(tasks.build.inputs)'")
    when = [{"input": IMAGE, "operator": "in", "values": [VALUES]}]
    harness = PipelineRunHarness(
        pipeline_task("build"), {**used, "params": param(f"at {IMAGE}"), "when": when}, last=(last,)
    )
    harness.reconcile()
    assert harness.taskruns_made == ["build"], "it waits for what it names"
    finish(harness, "build", ARTIFACTS)
    taskrun = harness.taskrun("use")
    # A variable in a value is written with a tilde until the TaskRun's own variables are replaced.
    assert script_of(taskrun) == f"echo '{VALUES}' 'null' '[{{\"uri\":\"u$(~params.p)\"}}]'"
    assert harness.params_of("use") == {"x": f"at {VALUES}"}
    finish(harness, "use", {})
    assert script_of(harness.taskrun("last")) == 'echo \'[{"uri":"u$(~params.p)"}]\''


@pytest.mark.parametrize("artifacts", [{}, None, {"inputs": [{"name": "image"}]}])
def test_an_artifact_that_was_not_written_fails_the_run_by_name(artifacts):
    harness = PipelineRunHarness(
        pipeline_task("build"), with_script("use", IMAGE), last=(with_script("last", IMAGE),)
    )
    harness.reconcile()
    finish(harness, "build", artifacts)
    assert harness.taskruns_made == ["build"]
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert 'task "build" has no output artifact "image", which task "use" names' in harness.condition[2]
    assert harness.skipped_tasks["last"] == "Results were missing"


def test_artifacts_of_a_task_that_failed_are_there_for_finally():
    harness = PipelineRunHarness(pipeline_task("build"), last=(with_script("last", IMAGE),))
    harness.reconcile()
    finish(harness, "build", ARTIFACTS, "Failed")
    assert script_of(harness.taskrun("last")) == VALUES


def test_a_task_is_skipped_with_the_task_whose_artifact_it_names():
    never = [{"input": "a", "operator": "in", "values": ["b"]}]
    harness = PipelineRunHarness(pipeline_task("build", when=never), with_script("use", IMAGE))
    harness.reconcile()
    assert harness.skipped_tasks == {
        "build": "When Expressions evaluated to false",
        "use": "Results were missing",
    }


def test_artifacts_of_a_matrix_are_merged():
    matrix = {"params": [{"name": "x", "value": ["a", "b"]}]}
    build = {**pipeline_task("build"), "matrix": matrix}
    build["taskSpec"]["params"] = [{"name": "x"}]
    harness = PipelineRunHarness(build, with_script("use", IMAGE))
    harness.reconcile()
    for index in range(2):
        finish(harness, f"build-{index}", {"outputs": [{"name": "image", "values": [{"uri": f"{index}"}]}]})
    assert script_of(harness.taskrun("use")) == '[{"uri":"0"},{"uri":"1"}]'


@pytest.mark.parametrize(
    ("tasks", "reason", "says"),
    [
        (
            [with_script("use", IMAGE)],
            "PipelineInvalidGraph",
            "use depends on build but build wasn't present",
        ),
        ([with_script("build", IMAGE)], "PipelineInvalidGraph", "cycle detected"),
        ([pipeline_task("build"), with_script("use", "$(tasks.build.output.x)")], None, "stands for nothing"),
    ],
)
def test_a_reference_to_nothing_is_refused(tasks, reason, says):
    harness = PipelineRunHarness(*tasks)
    harness.reconcile()
    assert harness.taskruns_made == []
    assert reason is None or harness.condition[1] == reason
    assert says in harness.condition[2]


@pytest.mark.parametrize(("allowed", "count"), [(True, 0), (False, 2)])
def test_the_feature_flag_lets_references_through(allowed, count):
    tasks = [pipeline_task("build"), pipeline_task("use", params=param(IMAGE))]
    spec = {"tasks": tasks, "finally": [pipeline_task("last", params=param(IMAGE))]}
    found = pipeline_violations(spec, Policies(artifacts=allowed))
    assert len(found) == count
    assert all("enable-artifacts" in why for why in found)
