"""The pod of a TaskRun is the one that Tekton's controller builds."""

import copy
import gzip
import json
import re
from pathlib import Path

import captures
import pytest
from pod_harness import OPTIONS, built

from resultsfw.tekton.pod.builder import build_pod
from resultsfw.tekton.spec.expansion import Budget, Expansion
from resultsfw.tekton.spec.params import param_value
from resultsfw.tekton.spec.substitution import apply

TEKTON = Path(__file__).parents[2] / "data" / "tekton" / "pods.jsonl.gz"
SUFFIX = re.compile(r"(script-\d+)-[bcdfghjklmnpqrstvwxz2456789]{5}")
DEFAULTED = {
    "dnsPolicy",
    "enableServiceLinks",
    "nodeName",
    "preemptionPolicy",
    "priority",
    "schedulerName",
    "securityContext",
    "serviceAccount",
    "terminationGracePeriodSeconds",
    "tolerations",
}


def without_random_names(value):
    return json.loads(SUFFIX.sub(r"\1-x", json.dumps(value)))


def without_defaults(spec):
    """A captured pod's spec without what the API server and the sidecar-logs backend add."""
    spec = copy.deepcopy({key: value for key, value in spec.items() if key not in DEFAULTED})
    spec["volumes"] = [v for v in spec["volumes"] if not v["name"].startswith("kube-api-access")]
    for volume in spec["volumes"]:
        if "downwardAPI" in volume:
            del volume["downwardAPI"]["defaultMode"]
            for item in volume["downwardAPI"]["items"]:
                del item["fieldRef"]["apiVersion"]
    spec["containers"] = [c for c in spec["containers"] if c["name"] != "sidecar-tekton-log-results"]
    for part in (*spec["containers"], *spec["initContainers"]):
        part["volumeMounts"] = [
            m for m in part["volumeMounts"] if not m["name"].startswith("kube-api-access")
        ]
        del part["terminationMessagePolicy"], part["imagePullPolicy"]
        if part["terminationMessagePath"] == "/dev/termination-log":
            del part["terminationMessagePath"]
        if "-result_from" in part.get("args", []):
            at = part["args"].index("-result_from")
            del part["args"][at : at + 2]
        if (compress := "-compress_termination_message=true") in part.get("args", []):  # by the backend
            part["args"].remove(compress)
    return spec


def without_empty(value):
    """Plain data without the fields Go leaves out when they are empty."""
    if isinstance(value, dict):
        kept = {key: without_empty(part) for key, part in value.items()}
        return {key: part for key, part in kept.items() if part not in (None, "", [], False)}
    return [without_empty(part) for part in value] if isinstance(value, list) else value


def from_tekton():
    lines = gzip.decompress(TEKTON.read_bytes()).decode().splitlines()
    return [case for case in map(json.loads, lines) if "pod" in case]


def test_is_the_pod_tekton_built(capture):
    """Every captured pod, but for what the API server and the sidecar-logs backend added."""
    run = captures.created(capture)
    for attempt, pod in enumerate(captures.first_pods(capture)):
        ours = built(run, attempt=attempt)
        assert without_random_names(ours["spec"]) == without_random_names(without_defaults(pod["spec"]))
        assert ours["metadata"]["name"] == pod["metadata"]["name"]
        assert ours["metadata"]["namespace"] == pod["metadata"]["namespace"]
        assert ours["metadata"]["ownerReferences"] == pod["metadata"]["ownerReferences"]
        labels = {k: v for k, v in pod["metadata"]["labels"].items() if k != "app.kubernetes.io/managed-by"}
        assert ours["metadata"]["labels"] == labels


def replaced(value, run):
    """What Tekton left, with the variables in it that we replace and Tekton does not.

    Those are parameters in the elements of an array by default; the path of credentials in a stored spec,
    which Tekton replaces in the pod; and of an optional workspace that is not bound, its claim and volume.
    """
    task = run["spec"]["taskSpec"]
    context = {"context.taskRun.name": run["metadata"]["name"], "context.taskRun.uid": run["metadata"]["uid"]}
    values = {param["name"]: param.get("default") for param in task.get("params") or ()}
    values |= {param["name"]: param["value"] for param in run["spec"].get("params") or ()}
    p = Expansion(context.get, Budget()).value(param_value(values.get("p")), "")
    names = {**context, "params.p": p, "credentials.path": "/tekton/creds"}
    bound = {workspace["name"] for workspace in run["spec"].get("workspaces") or ()}
    for workspace in task.get("workspaces") or ():
        if workspace.get("optional") and workspace["name"] not in bound:
            names |= {f"workspaces.{workspace['name']}.{part}": "" for part in ("claim", "volume")}
    defaults = value.pop("params", None) if "steps" in value else None
    changed = Expansion(names.get, Budget()).tree(value, "")
    return changed if defaults is None else {**changed, "params": defaults}


@pytest.mark.parametrize("case", range(len(from_tekton())))
def test_is_what_tektons_own_code_builds(case):
    """TaskRuns with everything in them, run through Tekton's builder (``data/tekton``)."""
    theirs = from_tekton()[case]
    run = theirs["taskrun"]
    spec = apply(run["spec"]["taskSpec"], run)
    assert without_empty(spec) == without_empty(replaced(theirs["taskSpec"], run))
    ours = build_pod(run, spec, attempt=0, options=OPTIONS)
    pod = replaced(theirs["pod"], run)
    del pod["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    del pod["metadata"]["annotations"]["pipeline.tekton.dev/release"]
    if pod["spec"]["activeDeadlineSeconds"] == 1:  # of a timeout of one second: ours is later on purpose
        pod["spec"]["activeDeadlineSeconds"] = 3
    assert without_random_names(without_empty(ours["spec"])) == without_random_names(
        without_empty(pod["spec"])
    )
    assert without_empty(ours["metadata"]) == without_empty({"annotations": {}, **pod["metadata"]})
