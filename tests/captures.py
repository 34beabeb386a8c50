"""What a real API server and Tekton's controller said in 26 situations; see ``data/captures``.

Each is a mapping: ``name``, ``about``, ``flags``, ``taskrun`` as created, ``pod_events`` (of each
pod the first, the last, and the last in which it still was), ``sidecar_log_base64`` or
``sidecar_log_error``, and ``tekton_final``, the run as Tekton left it.
"""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data" / "captures"


def names() -> list[str]:
    """Names of all captures, sorted."""
    return sorted(path.name.split(".")[0] for path in FOLDER.iterdir())


def load(name: str) -> dict[str, Any]:
    """One capture, a fresh copy."""
    capture: dict[str, Any] = json.loads(_content(name))
    return capture


def created(capture: dict[str, Any]) -> dict[str, Any]:
    """The TaskRun as the API server stored it when it was created: with its uid and namespace."""
    taskrun: dict[str, Any] = json.loads(json.dumps(capture["taskrun"]))
    stored = capture["tekton_final"]["metadata"]
    taskrun["metadata"] |= {"namespace": stored["namespace"], "uid": stored["uid"]}
    return taskrun


def first_pods(capture: dict[str, Any]) -> list[dict[str, Any]]:
    """Each pod of the run as Tekton made it, in order of the attempts."""
    pods: dict[str, dict[str, Any]] = {}
    for event in capture["pod_events"]:
        pods.setdefault(event["object"]["metadata"]["name"], event["object"])
    return list(pods.values())


@cache
def _content(name: str) -> bytes:
    plain = FOLDER / f"{name}.json"
    if plain.exists():
        return plain.read_bytes()
    return gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes())
