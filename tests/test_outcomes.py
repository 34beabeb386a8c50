"""What two controllers must agree on is what users can tell apart, and nothing else."""

import copy

from outcomes import Outcome, differences, outcome

TASKRUN = {
    "kind": "TaskRun",
    "metadata": {"name": "build-x7k2p", "labels": {"tekton.dev/task": "build", "team": "a"}},
    "spec": {"params": [{"name": "p", "value": "v"}]},
    "status": {
        "conditions": [{"type": "Succeeded", "status": "True", "reason": "Succeeded", "message": "in ns-1"}],
        "results": [{"name": "image", "value": "ns-1/x"}],
        "steps": [{"name": "a", "container": "step-a", "terminated": {"exitCode": 0, "reason": "Completed"}}],
        "sidecars": [{"name": "tekton-log-results"}, {"name": "db"}],
        "artifacts": {},
    },
}
MADE_UP = {"ns-1": "NAMESPACE", "build-x7k2p": "GENERATED-0"}


def changed(path, value):
    """The outcome of the run with one value of it changed."""
    run = copy.deepcopy(TASKRUN)
    *parents, last = path
    at = run
    for key in parents:
        at = at[key]
    at[last] = value
    return outcome([run], MADE_UP)


def test_made_up_names_are_replaced_everywhere():
    reduced = outcome([TASKRUN], MADE_UP)
    assert list(reduced.runs) == ["TaskRun GENERATED-0"]
    assert reduced.runs["TaskRun GENERATED-0"]["results"] == {"image": "NAMESPACE/x"}
    assert reduced.messages == {"TaskRun GENERATED-0": "in NAMESPACE"}


def test_a_run_equals_itself_and_what_users_cannot_see_is_not_compared():
    same = outcome([TASKRUN], MADE_UP)
    assert same.summary() == "Succeeded"
    assert same.has_succeeded()
    for path, value in (
        (("status", "artifacts"), None),
        (("metadata", "labels", "team"), "b"),
        (("status", "sidecars"), [{"name": "db"}]),
        (("status", "conditions", 0, "message"), "otherwise"),
    ):
        assert differences(same, changed(path, value)) == []


def test_each_change_that_users_see_is_a_difference_with_its_path():
    same = outcome([TASKRUN], MADE_UP)
    for path, value, where in (
        (("status", "conditions", 0, "reason"), "Failed", "reason"),
        (("status", "results"), [], "results.image"),
        (("status", "steps", 0, "terminated", "exitCode"), 1, "steps[0].exitCode"),
        (("status", "sidecars"), [], "sidecars"),
        (("status", "retriesStatus"), [{}], "attempts"),
        (("spec", "params"), [], "params"),
        (("metadata", "labels", "tekton.dev/task"), "test", "labels.tekton.dev/task"),
    ):
        (line,) = differences(same, changed(path, value))
        assert line.startswith(f"TaskRun GENERATED-0.{where}: "), line
    assert differences(same, changed(("status", "conditions", 0, "message"), "no"), messages=True)


def test_a_run_without_a_verdict_and_an_object_that_was_refused_are_differences():
    same = outcome([TASKRUN], MADE_UP)
    unfinished = changed(("status", "conditions"), [])
    assert unfinished.summary() == "unfinished"
    assert "unfinished" in differences(same, unfinished)[0]
    refused = outcome([], MADE_UP, ["TaskRun: no such field in ns-1"])
    assert refused == Outcome(["TaskRun: no such field in NAMESPACE"], {}, {}, [])
    assert differences(same, refused)


def test_children_are_compared_whatever_their_order():
    children = [{"kind": "TaskRun", "name": name, "apiVersion": "tekton.dev/v1"} for name in ("b", "a")]
    run = {
        "kind": "PipelineRun",
        "metadata": {"name": "p"},
        "spec": {},
        "status": {"childReferences": children},
    }
    turned = {**run, "status": {"childReferences": children[::-1]}}
    assert differences(outcome([run], {}), outcome([turned], {})) == []
    fewer = {**run, "status": {"childReferences": children[:1]}}
    assert differences(outcome([run], {}), outcome([fewer], {}))
