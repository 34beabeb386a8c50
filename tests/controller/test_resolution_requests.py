"""Runs are reconciled when all they asked Tekton's resolvers for is answered, and the watch begins late."""

from resultsfw.controller.resolution_requests import AnswerEvents, RequestNotingCluster, trim_request
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import RESOLUTION_REQUESTS, TASKS


def request(name, verdict="", *, kind="PipelineRun", data=""):
    conditions = [{"type": "Succeeded", "status": verdict}] if verdict else []
    return {
        "apiVersion": "resolution.tekton.dev/v1beta1",
        "kind": "ResolutionRequest",
        "metadata": {"name": name, "namespace": "n", "ownerReferences": [{"kind": kind, "name": "run"}]},
        "spec": {"params": [{"name": "token", "value": "secret"}]},
        "status": {"conditions": conditions, "data": data},
    }


def enqueued(*events):
    found = []
    answers = AnswerEvents({"PipelineRun": found.append, "TaskRun": found.append})
    for change, obj in events:
        answers.on_request(change, trim_request(obj))
    return found


def test_a_run_is_enqueued_when_the_last_of_its_requests_is_answered():
    events = [("ADDED", request("a")), ("ADDED", request("b")), ("MODIFIED", request("a", "True"))]
    assert enqueued(*events) == []
    assert enqueued(*events, ("MODIFIED", request("b", "True"))) == [("n", "run")]


def test_a_failure_is_not_held_back_by_what_is_unanswered():
    assert enqueued(("ADDED", request("a")), ("ADDED", request("b", "False"))) == [("n", "run")]


def test_a_deleted_request_enqueues_nothing_and_is_not_waited_for():
    events = [("ADDED", request("a")), ("ADDED", request("b")), ("DELETED", request("b"))]
    assert enqueued(*events) == []
    assert enqueued(*events, ("MODIFIED", request("a", "True"))) == [("n", "run")]


def test_requests_of_others_are_left_alone():
    assert enqueued(("ADDED", request("a", "True", kind="Other"))) == []
    assert enqueued(("ADDED", request("a", "True", kind="TaskRun"))) == [("n", "run")]


def test_the_cache_holds_neither_what_was_asked_nor_what_was_found():
    kept = str(trim_request(request("a", "True", data="x" * 1000)))
    assert "secret" not in kept
    assert len(kept) < 300


def test_the_watch_begins_with_the_first_request_and_once():
    started = []
    cluster = RequestNotingCluster(Store(), lambda: started.append(1))
    cluster.create(TASKS, {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "t"}})
    assert started == []
    for name in ("a", "b"):
        cluster.create(RESOLUTION_REQUESTS, request(name))
    cluster.get(RESOLUTION_REQUESTS, "n", "a")
    assert started == [1]
