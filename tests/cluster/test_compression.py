"""Compressed values on a real cluster: more than a ConfigMap, a third of a log, refused by an older sidecar.

RESULTSFW_SIDECAR_NET_IMAGE serves both backends. RESULTSFW_OLDER_SIDECAR_IMAGE is an image of a version that
knows no compression.
"""

import os

import pytest

from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.tekton.api.kinds import TASKRUNS

IMAGE = os.environ.get("RESULTSFW_SIDECAR_NET_IMAGE", "docker.io/resultsfw/sidecar-net:0.1.0")
OLDER = os.environ.get("RESULTSFW_OLDER_SIDECAR_IMAGE")
SIZE = 1_399_990
SCRIPT = f"""#!/bin/sh
seq -s ' ' 100000 299999 | head -c {SIZE} > $(results.report.path)
printf s > $(results.small.path)
"""
REPORT = " ".join(map(str, range(100_000, 300_000)))[:SIZE]


def submit(place, backend, image):
    place.flags(
        **{
            "results-from": backend,
            "max-result-size": "1572864",
            f"config.{backend}": f"compress: true\nimage: {image}",
        }
    )
    user = os.environ.get("RESULTSFW_RUN_AS_USER")
    template = {"podTemplate": {"securityContext": {"runAsUser": int(user)}}} if user else {}
    results = [{"name": "report"}, {"name": "small"}]
    steps = [{"name": "one", "image": "busybox:1", "script": SCRIPT}]
    place.server.create(
        TASKRUNS,
        {
            "apiVersion": TASKRUNS.api_version,
            "kind": TASKRUNS.kind,
            "metadata": {"name": "run", "namespace": place.namespace},
            "spec": {
                "managedBy": place.managed_by,
                "taskSpec": {"results": results, "steps": steps},
                **template,
            },
        },
    )
    place.start("--no-leader-elect", sidecar=False)
    return place.until_done(120)["run"]["status"]


@pytest.mark.parametrize("backend", ["sidecar-logs", "config-map"])
def test_a_report_of_more_than_a_mebibyte_arrives(place, backend):
    status = submit(place, backend, IMAGE)
    (verdict,) = status["conditions"]
    assert verdict["reason"] == "Succeeded", verdict
    assert {result["name"]: result["value"] for result in status["results"]} == {
        "report": REPORT,
        "small": "s",
    }
    log = b"".join(place.server.read_log(place.namespace, "run-pod", RESULTS_SIDECAR, limit=10**7))
    assert len(log) < SIZE // 2 if backend == "sidecar-logs" else log == b""
    place.assert_none_doubled()


@pytest.mark.skipif(OLDER is None, reason="RESULTSFW_OLDER_SIDECAR_IMAGE is not set")
def test_an_older_sidecar_refuses_by_name(place):
    """Where its Python starts slowly, the Step begins before it has failed."""
    status = submit(place, "sidecar-logs", OLDER)
    (verdict,) = status["conditions"]
    assert verdict["reason"] in ("SidecarFailed", "TaskRunResultsIncomplete"), verdict
    assert "this sidecar knows 0 and 1, not '2'" in verdict["message"]
    assert "results" not in status
