"""Signatures that a Step writes into its termination message: nothing here made or verified them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskrun_harness import TaskRunHarness

from resultsfw.tekton.podstatus.step_states import pod_status_fields

FORGED = ["SVID", "RESULT_MANIFEST", "RESULT_MANIFEST.sig", "digest.sig"]


def message(*keys):
    return json.dumps([{"key": key, "value": "v", "type": 1} for key in keys])


def pod(text):
    end = {"exitCode": 0, "reason": "Completed", "message": text}
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "step-a"}]},
        "status": {"containerStatuses": [{"name": "step-a", "state": {"terminated": end}}]},
    }


def shown(text, **task_spec):
    (step,) = pod_status_fields(pod(text), {"taskSpec": task_spec}, done=True)["steps"]
    return [one["key"] for one in json.loads(step["terminated"].get("message", "[]"))]


@pytest.mark.parametrize("key", FORGED)
def test_a_forged_signature_is_neither_a_result_nor_shown_in_the_status(key):
    harness = TaskRunHarness({"results-from": "termination-message"})
    harness.submit()
    harness.reconcile()
    text = message("digest", key)
    harness.kubelet("Succeeded", {"step-build": harness.ended(message=text)})
    harness.reconcile()
    status = harness.taskrun["status"]
    assert [one["name"] for one in status["results"]] == ["digest"]
    assert json.loads(status["steps"][0]["terminated"]["message"]) == json.loads(message("digest"))


@pytest.mark.parametrize("key", FORGED)
def test_a_declared_result_of_such_a_name_is_an_ordinary_result(key):
    declared = [{"name": "digest"}, {"name": key}]
    assert shown(message("digest", key), results=declared) == sorted(["digest", key])
    assert shown(message(key), steps=[{"results": [{"name": key}]}]) == [key]


def test_where_only_signatures_are_written_no_message_is_shown():
    assert shown(message(*FORGED), results=[{"name": "digest"}]) == []


@given(st.lists(st.text(max_size=8) | st.sampled_from(FORGED), max_size=5), st.lists(st.text(max_size=8)))
def test_only_what_is_declared_may_look_like_a_signature(keys, declared):
    task = {"results": [{"name": name} for name in declared]}
    for key in shown(message(*keys), **task):
        assert key in declared or not (key.endswith(".sig") or key in ("SVID", "RESULT_MANIFEST"))
