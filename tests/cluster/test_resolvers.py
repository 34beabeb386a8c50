"""Runs with resolvers, answered by Tekton's own, end under this controller as under Tekton's.

The cluster needs Tekton's resolvers, whose ``cluster`` resolver reads the namespace of the test.
"""

import re

from captured_resolution import objects

from resultsfw.local.engine import kind_of
from resultsfw.tekton.api.conditions import is_done, succeeded
from resultsfw.tekton.api.kinds import PIPELINERUNS, RESOLUTION_REQUESTS, TASKRUNS, VERIFICATION_POLICIES


def reference(kind, name, namespace):
    params = {"kind": kind, "name": name, "namespace": namespace}
    return {"resolver": "cluster", "params": [{"name": key, "value": params[key]} for key in params]}


def runs(namespace):
    """The specs of the runs by name."""
    which = [{"name": "who", "value": "me"}, {"name": "which", "value": "greet"}]
    here = "$(context.taskRun.namespace)"
    step = {"name": "act", "ref": reference("stepaction", "act", namespace)}
    return {
        (TASKRUNS, "task"): {"params": which, "taskRef": reference("task", "$(params.which)", here)},
        (TASKRUNS, "missing"): {"taskRef": reference("task", "nothing", namespace)},
        (TASKRUNS, "action"): {"taskSpec": {"steps": [step]}},
        (PIPELINERUNS, "pipeline"): {
            "params": which[:1],
            "pipelineRef": reference("pipeline", "greeting", "$(context.pipelineRun.namespace)"),
        },
        (PIPELINERUNS, "no-task"): {
            "pipelineRef": {"name": "greeting"},
            "params": [{"name": "task", "value": "nothing"}],
        },
    }


def create(server, kind, namespace, name, spec):
    metadata = {"name": name, "namespace": namespace}
    body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}
    server.create(kind, body)


def ended(run, name):
    """What is compared: without what is made of the run's name."""
    condition, status = succeeded(run), run["status"]
    message = re.sub("cluster-[0-9a-f]{32}", "REQUEST", condition["message"]).replace(name, "RUN")
    return {
        "condition": (condition["status"], condition["reason"], message),
        "results": status.get("results"),
        "refSource": (status.get("provenance") or {}).get("refSource"),
        "steps": [step.get("provenance") for step in status.get("steps") or ()],
        "children": [
            child["name"].removeprefix(run["metadata"]["name"])
            for child in status.get("childReferences") or ()
        ],
    }


def test_runs_with_resolvers_end_as_under_tektons_controller(place):
    server, namespace = place.server, place.namespace
    place.flags(results_from="termination-message")
    place.start("--no-leader-elect")
    for obj in objects():
        obj["metadata"]["namespace"] = namespace
        server.create(kind_of(obj), obj)
    made = {}
    for managed_by in ("", place.managed_by):
        for (kind, name), spec in runs(namespace).items():
            full = f"{name}-{'ours' if managed_by else 'tekton'}"
            body = {**spec, **({"managedBy": managed_by} if managed_by else {})}
            create(server, kind, namespace, full, body)
            made[name, bool(managed_by)] = (kind, full)

    def final(key):
        kind, full = made[key]
        return server.get(kind, namespace, full)

    place.until(lambda: all(is_done(final(key)) for key in made), 240)
    for name in {name for name, _ in made}:
        ours, theirs = (ended(final((name, side)), made[name, side][1]) for side in (True, False))
        assert ours == theirs, name
    assert succeeded(final(("pipeline", True)))["status"] == "True"
    # Each TaskRun of a Pipeline reads the request that was made when its Task was validated.
    asked = [
        request["metadata"]["ownerReferences"][0]["name"]
        for request in server.list(RESOLUTION_REQUESTS, namespace)
        if request["metadata"]["ownerReferences"][0]["name"].endswith("-ours")
    ]
    assert sorted(asked) == [
        "action-ours",
        "missing-ours",
        "no-task-ours",
        "no-task-ours",
        *["pipeline-ours"] * 3,
        "task-ours",
    ]


def test_what_must_be_signed_is_refused(place):
    server, namespace = place.server, place.namespace
    place.flags(results_from="termination-message")
    place.start("--no-leader-elect")
    task = objects()[0]
    task["metadata"]["namespace"] = namespace
    server.create(kind_of(task), task)
    policy = {
        "resources": [{"pattern": "https://example.com"}],
        "authorities": [{"name": "a", "key": {"data": "k"}}],
    }
    create(server, VERIFICATION_POLICIES, namespace, "signed", policy)
    spec = {"taskRef": reference("task", "greet", namespace), "managedBy": place.managed_by}
    create(server, TASKRUNS, namespace, "r", spec)
    run = place.until_done(60)["r"]
    assert succeeded(run)["reason"] == "ResourceVerificationFailed"
