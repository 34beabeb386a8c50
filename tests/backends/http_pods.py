"""Pods of the backend ``http``, what their sidecar delivered, and a manager that reads them."""

import hashlib

import yaml
from sidecarlogs import UID, a_run, log_of, value

from resultsfw import ResultsManager
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw_sidecar import wire

AUDIENCE = "resultsfw-results"
RUN = a_run("a", "b")
PATH = "/v1/namespaces/default/runs/u/attempts/0"
BODY = log_of(value("a", "one"), wire.absent_line("b", "task"))
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


def core_for(url, token="", **config):
    given = {"url": url, "token-file": str(token), **config}
    return ResultsManager.from_flags(
        {"results-from": "http", "config.http": yaml.safe_dump(given), "max-result-size": "100000"}
    )


def a_pod(message="", *, code=0, state=None, phase="Succeeded", stamp="http/1"):
    ended = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}}
    return {
        "metadata": {
            "name": "pod",
            "namespace": "default",
            "uid": UID,
            "annotations": {"resultsfw.dev/stamp": stamp, "resultsfw.dev/max-result-size": "4096"},
        },
        "spec": {"containers": [{"name": "step-one"}], "initContainers": [{"name": RESULTS_SIDECAR}]},
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": "step-one", "state": {"terminated": {"exitCode": 0}}}],
            "initContainerStatuses": [{"name": RESULTS_SIDECAR, "state": state or ended}],
        },
    }
