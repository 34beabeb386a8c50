"""Runs with resolvers as Tekton ended them, with their ResolutionRequests and what these refer to."""

import gzip
import json
from functools import cache
from pathlib import Path

from resultsfw.tekton.resolution.requests import ASKED_LABEL

_FILE = Path(__file__).parents[1] / "data" / "resolution.json.gz"


@cache
def _text():
    return gzip.decompress(_FILE.read_bytes()).decode()


def capture(name):
    """The run of that name as Tekton left it, its ``requests`` and, of a PipelineRun, its ``children``."""
    (found,) = [entry for entry in json.loads(_text())["runs"] if entry["run"]["metadata"]["name"] == name]
    return found


def objects():
    """What the runs and the cluster resolver refer to."""
    return json.loads(_text())["objects"]


def as_created(run):
    """The run before any controller saw it."""
    kept = {key: value for key, value in run.items() if key != "status"}
    labels = {"own": "yes1"} if (run["metadata"].get("labels") or {}).get("own") else {}
    return {**kept, "metadata": {"name": run["metadata"]["name"], "namespace": "resolving", "labels": labels}}


def asked(request):
    """What of a request decides what is fetched, and by whom."""
    metadata = request["metadata"]
    labels = {key: value for key, value in metadata["labels"].items() if key != ASKED_LABEL}
    return metadata["name"], labels, request["spec"]
