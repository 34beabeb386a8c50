"""The admission policies of the backends: each pod may write what is its own, once, and nothing else.

Whether an API server evaluates them in the same way, ``tests/cluster`` shows.
"""

import copy

import pytest
from policy_harness import Policy

from resultsfw.controller.manifests import load
from resultsfw.local.rbac import STANDING
from resultsfw.result_annotations import RESULT_ANNOTATIONS
from resultsfw_backends import custom_resource, self_update

RUN_RESULT = {"metadata": {"name": "r"}, "spec": {"podName": "run-pod"}}
WRITTEN = {**RUN_RESULT, "status": {"podUid": "pod-uid", "records": "r", "texts": {"a": "1"}}}
"""A RunResult before and after its pod has written it."""

TASK_RUN = {
    "metadata": {"name": "run", "annotations": {"a": "b"}},
    "spec": {"params": []},
    "status": {
        "podName": "run-pod",
        "startTime": "now",
        "provenance": {"featureFlags": {"resultExtractionMethod": "self-update"}},
        "conditions": [{"type": "Succeeded", "status": "Unknown"}],
        "annotations": {"theirs": "kept"},
    },
}
OURS = {f"{RESULT_ANNOTATIONS}0.records": "r", f"{RESULT_ANNOTATIONS}0.text.a": "1"}


def status_with(**fields):
    """A TaskRun with these fields of the status changed; ``None`` removes one."""
    changed = copy.deepcopy(TASK_RUN)
    changed["status"] |= fields
    changed["status"] = {key: value for key, value in changed["status"].items() if value is not None}
    return changed


def delivered(annotations=OURS, **fields):
    return status_with(annotations={"theirs": "kept", **annotations}, **fields)


NOT_THE_POD = [
    {"pod": "other-pod"},
    {"pod": ""},  # a token that is bound to no pod
    {"user": "system:serviceaccount:other:default"},
    {"user": "somebody"},
]
"""Requesters that are not the run's pod."""


@pytest.fixture(scope="module")
def run_results():
    return Policy("custom-resource")


@pytest.fixture(scope="module")
def task_runs():
    return Policy("self-update")


@pytest.mark.parametrize("backend", [custom_resource, self_update])
def test_the_backend_requires_the_policy_that_is_installed_and_that_denies(backend):
    name = backend.POLICY
    policy = Policy(name.removeprefix("resultsfw-"))
    assert (policy.manifest["metadata"]["name"], policy.spec["failurePolicy"]) == (name, "Fail")
    (rule,) = policy.spec["matchConstraints"]["resourceRules"]
    kind = custom_resource.RUN_RESULTS if backend is custom_resource else self_update.TASK_RUNS
    assert (rule["apiGroups"], rule["resources"]) == ([kind.group], [f"{kind.plural}/status"])
    assert (rule["apiVersions"], rule["operations"]) == (["*"], ["UPDATE"])


# RunResults.


def test_a_pod_writes_its_run_result_once_and_may_say_the_same_again(run_results):
    assert run_results.refusal(RUN_RESULT, WRITTEN) == ""
    assert run_results.refusal(WRITTEN, WRITTEN) == ""


@pytest.mark.parametrize("who", NOT_THE_POD, ids=str)
@pytest.mark.parametrize("old", [RUN_RESULT, WRITTEN], ids=["empty", "written"])
def test_nobody_else_writes_a_run_result_or_reads_it_by_a_patch_without_effect(run_results, who, old):
    for new in (WRITTEN, old):
        assert "only the pod that spec.podName names" in run_results.refusal(old, new, **who)


def test_what_was_written_cannot_be_changed_nor_removed(run_results):
    changed = {**WRITTEN, "status": {**WRITTEN["status"], "records": "x"}}
    assert "cannot be changed, only deleted" in run_results.refusal(WRITTEN, changed)
    assert run_results.refusal(WRITTEN, RUN_RESULT)
    assert "status.podUid" in run_results.refusal(RUN_RESULT, WRITTEN, uid="earlier-uid")


# TaskRuns.


def test_only_those_who_could_not_write_the_status_anyway_are_limited(task_runs):
    assert task_runs.matches()
    assert task_runs.matches(allowed=[("patch", "status")])
    assert not task_runs.matches(allowed=[("patch", "")])
    assert not task_runs.matches(allowed=[("update", "status")])


def test_a_pod_adds_its_results_once_and_may_say_the_same_again(task_runs):
    assert task_runs.refusal(TASK_RUN, delivered()) == ""
    assert task_runs.refusal(delivered(), delivered()) == ""
    assert task_runs.refusal(status_with(annotations=None), status_with(annotations=OURS)) == ""


@pytest.mark.parametrize("who", NOT_THE_POD, ids=str)
def test_nobody_else_adds_results_or_reads_a_taskrun_by_a_patch_without_effect(task_runs, who):
    for new in (delivered(), TASK_RUN):
        assert "only the pod that status.podName names" in task_runs.refusal(TASK_RUN, new, **who)


@pytest.mark.parametrize(
    "new",
    [
        delivered(results=[{"name": "a", "value": "1"}]),
        delivered(conditions=[{"type": "Succeeded", "status": "True"}]),
        delivered(podName="other"),
        delivered(startTime=None),
        delivered(completionTime="now"),
        delivered({**OURS, "chains.tekton.dev/signed": "true"}),
        delivered({**OURS, "theirs": "changed"}),
        status_with(annotations=OURS),  # theirs is gone
        {key: value for key, value in TASK_RUN.items() if key != "status"},
    ],
    ids=lambda obj: str(sorted(obj.get("status", {}))),
)
def test_a_pod_changes_nothing_else(task_runs, new):
    assert task_runs.refusal(TASK_RUN, new)


def test_results_cannot_be_changed_removed_or_extended(task_runs):
    for annotations in (
        {**OURS, f"{RESULT_ANNOTATIONS}0.records": "x"},
        {},
        {**OURS, f"{RESULT_ANNOTATIONS}1.records": "more"},
    ):
        assert task_runs.refusal(delivered(), delivered(annotations))


@pytest.mark.parametrize(
    "fields",
    [
        {"completionTime": "now"},
        {"provenance": {"featureFlags": {"resultExtractionMethod": "termination-message"}}},
        {"provenance": {"featureFlags": {}}},
        {"provenance": None},
    ],
    ids=str,
)
def test_a_run_that_has_ended_or_uses_another_backend_gets_nothing(task_runs, fields):
    """The pods of Tekton's own TaskRuns among them."""
    message = task_runs.refusal(status_with(**fields), delivered(**fields))
    assert message == "the run has ended, or delivers its results in another way"


@pytest.mark.parametrize("fields", [{"podName": None}, {"podName": ""}], ids=str)
def test_a_run_without_a_pod_gets_nothing(task_runs, fields):
    assert "only the pod" in task_runs.refusal(status_with(**fields), delivered(**fields))
    assert "only the pod" in task_runs.refusal(status_with(**fields), delivered(**fields), pod="")


def test_pods_are_granted_on_the_engine_what_they_are_granted_on_a_cluster():
    roles = [
        role
        for name in ("custom-resource", "self-update")
        for role in load(f"backends/{name}")
        if role["kind"] == "ClusterRole" and role["metadata"]["name"].endswith("-pods")
    ]
    granted = {
        (verb, group, resource)
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert granted == STANDING
