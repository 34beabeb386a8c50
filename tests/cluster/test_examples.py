"""The examples that an operator copies, on a real cluster: what they promise without one holds there."""

from pathlib import Path

import pytest
import yaml

from resultsfw.tekton.api.conditions import is_done, succeeded
from resultsfw.tekton.api.kinds import PIPELINERUNS, PIPELINES, TASKRUNS, TASKS

EXAMPLES = Path(__file__).parents[2] / "examples"
KINDS = {kind.kind: kind for kind in (TASKS, PIPELINES, PIPELINERUNS)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "07-build-with-sbom",
            {"build-build-container": {"IMAGE_URL": 33, "IMAGE_DIGEST": 71, "SBOM": 96133}},
        ),
        ("08-matrix", {"test-everywhere-compare": {"worst": 25}}),
    ],
)
def test_an_example_returns_its_results(make_place, name, expected):
    place = make_place()
    place.flags(
        results_from="termination-message",
        allowed_results_from="termination-message,sidecar-logs",
        max_result_size="262144",
    )
    place.start("--no-leader-elect")
    text = (EXAMPLES / name / "pipeline.yaml").read_text()
    # The image that the nodes of these tests have.
    for document in yaml.safe_load_all(text.replace("python:3.11-slim", "python:3.11")):
        document["metadata"]["namespace"] = place.namespace
        if document["kind"] == "PipelineRun":
            document["spec"]["managedBy"] = place.managed_by
        place.server.create(KINDS[document["kind"]], document)
    runs = []

    def is_over():
        runs[:] = place.server.list(PIPELINERUNS, place.namespace)
        return all(map(is_done, runs))

    place.until(is_over, 180)
    taskruns = {run["metadata"]["name"]: run for run in place.server.list(TASKRUNS, place.namespace)}
    failed = [succeeded(run) for run in (*runs, *taskruns.values()) if succeeded(run)["status"] != "True"]
    assert not failed
    for taskrun, sizes in expected.items():
        results = {result["name"]: len(result["value"]) for result in taskruns[taskrun]["status"]["results"]}
        assert results == sizes
