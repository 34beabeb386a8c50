"""Every situation captured on a real API server, judged from its saved objects alone.

Ours is Tekton's verdict but for the rows of `OURS`, where the design says otherwise and why.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any

import captures
import pytest

from resultsfw import ResultsManager
from resultsfw.errors import NotFoundError
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.taskrun.offline import Offline, taskrun_from_pod

TOO_LARGE = "TaskRunResultLargerThanAllowedLimit"
X = "x"

# The log of a pod that Tekton deleted at once could not be saved: what its sidecar must have printed,
# by the number of bytes that Tekton's own message counts (4135 and 5039 for these lines).
UNSAVED_LOGS = {
    "sl-exactly-4096": b'{"name":"big","value":"%s","type":"task"}\n' % (b"x" * 4096),
    "sl-oversize": b'{"name":"big","value":"%s","type":"task"}\n' % (b"x" * 5000)
    + b'{"name":"small","value":"s","type":"task"}\n',
}

OURS: dict[str, dict[str, Any]] = {
    "tm-overflow": {
        "reason": TOO_LARGE,
        "results": {"small": "hello"},
        "says": ['"big"', "3072 bytes", '"step-one"', "sidecar-logs"],
    },
    "sl-exactly-4096": {"reason": "Succeeded", "results": {"big": X * 4096}, "says": []},
    "sl-oversize": {
        "reason": TOO_LARGE,
        "results": {"small": "s"},
        "says": ['"big"', "5000 bytes", "4096 bytes", "max-result-size"],
    },
    "sl-crd-overflow": {
        "reason": TOO_LARGE,
        "results": {"a": "a" * 600_000, "b": "b" * 600_000},
        "says": ["1800000 bytes", "1572864 bytes", '"c"'],
    },
    "sl-step-oom": {
        "reason": "StepOOM",
        "results": {},
        "says": ['"step-one" exited with code 137: OOMKilled'],
    },
    "sl-cancelled": {
        "reason": "TaskRunCancelled",
        "results": {},
        "says": ['TaskRun "sl-cancelled" was cancelled.', "could not be read"],
    },
    "sl-forged": {
        "reason": "Succeeded",
        "results": {"digest": "real"},
        "says": ["All Steps have completed executing"],
    },
}


MALFORMED = {
    "tm-artifacts": '; artifacts of Step "report" left out, as in Tekton: not JSON: Expecting property name '
    "enclosed in double quotes (line 1, column 2)"
}
"""What we add to Tekton's message: of malformed artifacts Tekton says nothing in the status."""


class SavedLog:
    """The one log that was saved, or the server's word that there is none."""

    def __init__(self, log: bytes | None) -> None:
        self._log = log

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        assert container == "sidecar-tekton-log-results"
        if self._log is None:
            raise NotFoundError(f'pods "{pod}" not found', subject=f"Pod {namespace}/{pod}")
        yield self._log[:limit]


def last_pod(capture: dict[str, Any]) -> dict[str, Any] | None:
    pods = [event["object"] for event in capture["pod_events"]]
    order = lambda pod: (pod["metadata"]["name"], int(pod["metadata"]["resourceVersion"]))  # noqa: E731
    return max(pods, key=order) if pods else None


def judge(name: str) -> tuple[Offline, dict[str, Any]]:
    capture = captures.load(name)
    final = capture["tekton_final"]
    taskrun = json.loads(json.dumps(capture["taskrun"]))
    taskrun["metadata"] |= {"namespace": final["metadata"]["namespace"], "uid": final["metadata"]["uid"]}
    if "status" in final["spec"]:  # somebody cancelled it after it was created
        taskrun["spec"]["status"] = final["spec"]["status"]
    log = UNSAVED_LOGS.get(name)
    if "sidecar_log_base64" in capture:
        log = base64.b64decode(capture["sidecar_log_base64"])
    core = ResultsManager.from_flags(capture["flags"])
    now = parse_time(final["status"].get("completionTime", "2026-11-23T16:40:00Z"))
    judged = taskrun_from_pod(taskrun, last_pod(capture), core, SavedLog(log), now=now)  # type: ignore[arg-type]
    return judged, final["status"]


def verdict(status: dict[str, Any]) -> dict[str, Any]:
    (condition,) = [one for one in status["conditions"] if one["type"] == "Succeeded"]
    return condition


def values(status: dict[str, Any]) -> dict[str, Any]:
    return {result["name"]: result["value"] for result in status.get("results", [])}


def artifacts(status: dict[str, Any]) -> dict[str, Any]:
    """By name: Tekton's order is random."""
    return {
        kind: sorted(some, key=lambda artifact: artifact["name"])
        for kind, some in status.get("artifacts", {}).items()
    }


@pytest.mark.parametrize("name", sorted(set(captures.names()) - OURS.keys()))
def test_the_verdict_is_tektons(name):
    """Results, Steps, Sidecars, reason and message are what Tekton's controller wrote, to the letter."""
    judged, theirs = judge(name)
    ours = judged.taskrun["status"]
    assert values(ours) == values(theirs)
    assert {r["name"]: r["type"] for r in ours.get("results", [])} == {
        r["name"]: r["type"] for r in theirs.get("results", [])
    }
    assert ours.get("steps") == theirs.get("steps")
    assert ours.get("sidecars") == theirs.get("sidecars")
    assert ours["taskSpec"] == theirs["taskSpec"]
    assert artifacts(ours) == artifacts(theirs)
    for field in ("type", "status", "reason"):
        assert verdict(ours)[field] == verdict(theirs)[field]
    assert verdict(ours)["message"] == verdict(theirs)["message"] + MALFORMED.get(name, "")


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_verdict_is_ours_where_tektons_is_wrong(name):
    judged, _ = judge(name)
    status = judged.taskrun["status"]
    expected = OURS[name]
    assert verdict(status)["reason"] == expected["reason"]
    assert verdict(status)["status"] == ("True" if expected["reason"] == "Succeeded" else "False")
    assert values(status) == expected["results"]
    for words in expected["says"]:
        assert words in verdict(status)["message"]


def test_results_come_in_declaration_order():
    """Tekton's come in the order of termination message entries, which is by name."""
    judged, theirs = judge("tm-array-object")
    assert [one["name"] for one in judged.taskrun["status"]["results"]] == ["images", "image"]
    assert [one["name"] for one in theirs["results"]] == ["image", "images"]


def test_a_forged_entry_neither_replaces_nor_adds():
    """Guarantee 7: what a Step writes into its termination file is no result where results come by log."""
    judged, _ = judge("sl-forged")
    assert judged.collected is not None
    assert [(one.name, one.value) for one in judged.collected.results] == [("digest", "real")]


def test_a_log_that_is_gone_is_a_failure_with_its_own_reason():
    """Guarantee 0: a failed read is never "Succeeded, no results"."""
    capture = captures.load("sl-basic")
    taskrun = {**capture["taskrun"], "metadata": {"name": "sl-basic", "namespace": "default"}}
    core = ResultsManager.from_flags(capture["flags"])
    judged = taskrun_from_pod(taskrun, last_pod(capture), core, SavedLog(None))  # type: ignore[arg-type]
    condition = verdict(judged.taskrun["status"])
    assert (condition["status"], condition["reason"]) == ("False", "TaskRunResultsUnreadable")


@pytest.mark.parametrize("cut", [1, 20, 54, 55, 80, 107])
def test_a_log_of_tektons_that_is_cut_is_never_success(cut):
    """Guarantee 1: Tekton's sidecar sends no end record, yet a line cut in the middle is seen."""
    capture = captures.load("sl-basic")
    taskrun = {**capture["taskrun"], "metadata": {"name": "sl-basic", "namespace": "default"}}
    log = base64.b64decode(capture["sidecar_log_base64"])
    core = ResultsManager.from_flags(capture["flags"])
    judged = taskrun_from_pod(taskrun, last_pod(capture), core, SavedLog(log[:cut]))  # type: ignore[arg-type]
    whole_lines = log[:cut].endswith(b"\n")
    condition = verdict(judged.taskrun["status"])
    assert (condition["status"] == "True") == whole_lines
