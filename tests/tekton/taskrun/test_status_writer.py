"""The status that ends a run: what it removes, and what it keeps."""

from datetime import UTC, datetime

import pytest

from resultsfw.errors import ObjectTooLargeError
from resultsfw.tekton.taskrun.status_writer import write_final_status

DELIVERED = "results.resultsfw.dev/0.digest"
SIGNED = {"resultsfw.dev/verdict": "signed"}
TASKRUN = {
    "metadata": {"name": "build", "namespace": "default", "resourceVersion": "1"},
    "status": {"annotations": {DELIVERED: "x"}, "conditions": [{"type": "Succeeded", "status": "Unknown"}]},
}
ENDED = {"conditions": [{"type": "Succeeded", "status": "True"}], "annotations": SIGNED}


class Cluster:
    def __init__(self, *failures):
        self.failures = [*failures]
        self.patches = []

    def patch(self, _kind, _namespace, _name, patch, *, subresource):
        assert subresource == "status"
        self.patches.append(patch["status"])
        if self.failures:
            raise self.failures.pop()
        return {"metadata": TASKRUN["metadata"]}


@pytest.mark.parametrize("failures", [(), (ObjectTooLargeError("too large"),)])
def test_the_annotations_that_delivered_results_are_removed_and_a_signature_stays(failures):
    cluster = Cluster(*failures)
    write_final_status(cluster, TASKRUN, ENDED, datetime.now(UTC))
    annotations = [patch["annotations"] for patch in cluster.patches]
    assert annotations == [{**SIGNED, DELIVERED: None}, {DELIVERED: None}][: 1 + len(failures)]
