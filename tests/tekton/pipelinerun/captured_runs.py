"""Nine PipelineRuns as Tekton ended them, and what of a status can be compared."""

import gzip
import json
from pathlib import Path

CAPTURES = Path(__file__).parents[2] / "data" / "pipelines"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in CAPTURES.glob("*.json.gz"))


def load(name):
    return json.loads(gzip.decompress((CAPTURES / f"{name}.json.gz").read_bytes()))


def plain(status):
    """Without times, spec (Tekton adds empty fields) and flags."""
    left = {"pipelineSpec", "provenance", "startTime", "completionTime", "finallyStartTime"}
    comparable = {key: value for key, value in status.items() if key not in left}
    for condition in comparable["conditions"]:
        condition.pop("lastTransitionTime")
    return comparable
