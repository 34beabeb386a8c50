"""Test guarantees 1 and 2 for provenance of artifacts, of a backend that delivers it."""

import json
from typing import Final

from resultsfw.cluster import Object
from resultsfw.references import read_reference
from resultsfw.testing.assertions import fail, skip
from resultsfw.testing.base import Base
from resultsfw.testing.harness import Harness
from resultsfw.testing.tasks import VALUE_MARK

__all__ = ["ArtifactCases"]

WHOLE: Final = "guarantee 1: provenance of artifacts arrives whole, or the run ends naming it"
LIMIT: Final = "guarantee 2: limits count the bytes of provenance, and messages print the number"

_OF_STEP: Final = {"inputs": [{"name": "source", "values": [{"uri": f"pkg:git/{VALUE_MARK}"}]}]}
_OF_TASK: Final = {
    "outputs": [
        {
            "name": "image",
            "buildOutput": True,
            "values": [{"digest": {"sha256": "2b"}, "uri": f"é<&>{VALUE_MARK}"}],
        }
    ]
}
_FLAGS: Final = {"enable-artifacts": "true"}


class ArtifactCases(Base):
    """Provenance of artifacts of Steps and of the Task."""

    def test_artifacts(self, harness: Harness) -> None:
        """Provenance of a Step and of the Task arrives, though no result is declared."""
        _skip_without(harness)
        steps = [_step("fetch", _OF_STEP, "step.artifacts.path"), _step("build", _OF_TASK, "artifacts.path")]
        status = harness.reconcile({"steps": steps}, flags=_FLAGS)["status"]
        _assert_succeeded(status)
        if status.get("artifacts") != {**_OF_STEP, **_OF_TASK}:
            fail(WHOLE, f"the status has other artifacts than were written: {sorted(status['artifacts'])}")
        if {kind: status["steps"][0].get(kind) for kind in _OF_STEP} != _OF_STEP:
            fail(WHOLE, "the status of the Step lacks what the Step wrote")

    def test_artifacts_beside_results(self, harness: Harness) -> None:
        """Provenance that no Step wrote is absent, and the results beside it arrive."""
        _skip_without(harness)
        script = "test -n $(artifacts.path)$(step.artifacts.path); printf kept > $(results.r.path)"
        step = {"name": "none", "image": "busybox:1", "script": script}
        task = {"steps": [step], "results": [{"name": "r"}]}
        status = harness.reconcile(task, flags=_FLAGS)["status"]
        _assert_succeeded(status)
        values = [result["value"] for result in status["results"]]
        arrived = values == ["kept"] or (len(values) == 1 and read_reference(values[0]) is not None)
        if status.get("artifacts") != {} or not arrived:
            fail(WHOLE, f"the status has artifacts {status.get('artifacts')} and not the one result")

    def test_large_artifacts(self, harness: Harness) -> None:
        """Provenance over the limit of a value fails the run naming the Step and its bytes."""
        _skip_without(harness)
        document = {"outputs": [{"name": "n", "values": [{"uri": "x" * 4096}]}]}
        steps = [
            _step("fetch", _OF_STEP, "step.artifacts.path"),
            _step("build", document, "step.artifacts.path"),
        ]
        status = harness.reconcile({"steps": steps}, flags=_FLAGS)["status"]
        (condition,) = status["conditions"]
        size = len(json.dumps(document))
        if condition["status"] != "False":
            fail(LIMIT, f"the run succeeds with {size} bytes of provenance, over the limit of 4096")
        for part in ('artifacts of Step "build"', f"{size} bytes"):
            if part not in condition["message"]:
                fail(LIMIT, f"the message does not contain {part!r}: {condition['message'][:500]}")


def _skip_without(harness: Harness) -> None:
    if not harness.capabilities.artifacts:
        skip("artifacts=False", "the backend does not deliver provenance of artifacts")


def _assert_succeeded(status: Object) -> None:
    (condition,) = status["conditions"]
    if condition["status"] != "True":
        fail(WHOLE, f"the run fails: {condition['message'][:500]}")


def _step(name: str, document: Object, path: str) -> Object:
    script = f"#!/bin/sh\nprintf %s '{json.dumps(document, ensure_ascii=False)}' > $({path})"
    return {"name": name, "image": "busybox:1", "script": script}
