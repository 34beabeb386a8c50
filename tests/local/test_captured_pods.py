"""The pods of the captures, as Tekton made them, run here: they must say what they said on the cluster."""

import base64
import copy
import json
import re

import captures
import pytest
from localpods import await_pod, log_of, over

from resultsfw.cluster import PODS
from resultsfw.local.kubelet import Kubelet

pytestmark = pytest.mark.slow

ELSEWHERE = {
    "sl-reserved-sidecar": "no pod was made",
    "sl-step-oom": "nobody kills for memory here",
    "sl-cancelled": "needs a controller that cancels",
    "sl-user-sidecar": "needs a controller that stops it",
    "sl-crd-overflow": "our sidecar refuses what the API server would",
    "sl-awkward-bytes": "our sidecar refuses what is not UTF-8",
    "tm-compressed": "another program compresses the same message to other bytes",
    "tm-overflow-entrypoint": "our entrypoint names what Tekton's leaves out",
}


def timeless(text):
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)


def comparable(line):
    """A line without the order of the fields of artifacts, which Tekton changes."""
    record = json.loads(line)
    if record["type"].endswith("Artifact"):
        record["value"] = json.loads(record["value"])
    return json.dumps(record, sort_keys=True)


def said(status):
    """How each container ended: the times and the ids are another matter."""
    ends = {}
    for one in status["initContainerStatuses"] + status["containerStatuses"]:
        ended = one["state"]["terminated"]
        ends[one["name"]] = (ended["exitCode"], ended["reason"], timeless(ended.get("message", "")))
    return ends


@pytest.mark.parametrize(
    "capture", [name for name in captures.names() if name not in ELSEWHERE], indirect=True
)
def test_a_captured_pod_writes_the_messages_it_wrote_on_the_cluster(capture, store, tmp_path):
    kubelet = Kubelet(store, workdir=tmp_path, pass_budget=False)
    try:
        for made in captures.first_pods(capture):
            pod, name = copy.deepcopy(made), made["metadata"]["name"]
            pod["metadata"].setdefault("annotations", {})["tekton.dev/ready"] = "READY"
            pod["spec"].pop("nodeName", None)
            store.create(PODS, pod)
            there = next(
                event["object"]["status"]
                for event in reversed(capture["pod_events"])
                if event["object"]["metadata"]["name"] == name
            )
            here = await_pod(store, name, over)["status"]
            assert said(here) == said(there)
            assert here["phase"] == there["phase"]
            assert [one["name"] for one in here["containerStatuses"]] == [
                one["name"] for one in there["containerStatuses"]
            ]
            assert {one["type"]: one["status"] for one in here["conditions"]} == {
                one["type"]: one["status"] for one in there["conditions"]
            }
        if capture.get("sidecar_log_base64"):
            log = log_of(store, name, "sidecar-tekton-log-results")
            printed = base64.b64decode(capture["sidecar_log_base64"]).decode()
            lines, theirs = (sorted(map(comparable, text.splitlines())) for text in (log, printed))
            assert lines == theirs, "Tekton's order is random"
    finally:
        kubelet.stop()
