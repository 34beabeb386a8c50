"""Whose runs and pods are: what the watches select and recognize, on objects of Tekton's controller."""

import json

import captures
import pytest
from controllerharness import MANAGED_BY, taskrun

from resultsfw.controller.ownership import TASKRUN_LABEL, RunSelector
from resultsfw.kube.store import matches_selector
from resultsfw.tekton.pod.builder import MANAGED_BY as MANAGED_BY_LABEL
from resultsfw.tekton.pod.builder import PodOptions, build_pod

OURS = RunSelector(MANAGED_BY)


def event(obj):
    """A watch event as an API server writes it."""
    line = {"type": "MODIFIED", "object": obj}
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", captures.names())
def test_pods_and_runs_of_tektons_controller_are_ruled_out(name):
    capture = captures.load(name)
    assert OURS.rules_out(event(capture["tekton_final"]))
    for pod in captures.first_pods(capture):
        assert matches_selector(TASKRUN_LABEL, pod)
        assert not matches_selector(OURS.pod_selector, pod)


def test_a_run_of_ours_is_not_ruled_out_and_its_pod_is_selected():
    """Tekton's webhook gives the label to every TaskRun; the pod must not inherit it."""
    run = taskrun("r")
    run["metadata"] |= {"uid": "u", "labels": {MANAGED_BY_LABEL: "tekton-pipelines"}}
    assert not OURS.rules_out(event(run))
    pod = build_pod(run, run["spec"]["taskSpec"], attempt=0, options=PodOptions())
    assert MANAGED_BY_LABEL not in pod["metadata"]["labels"]
    assert matches_selector(OURS.pod_selector, pod)


def test_a_controller_of_all_runs_rules_out_none_and_selects_all_pods():
    everything = RunSelector("")
    assert not everything.rules_out(event({"spec": {}}))
    assert everything.pod_selector == TASKRUN_LABEL
