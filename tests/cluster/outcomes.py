"""Reduce what became of a manifest's runs to what two controllers must agree on, and compare it.

Names that a controller or the API server made up, times and uids are left out or replaced, so that two
outcomes are equal where users could not tell the controllers apart.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resultsfw import Object

_UID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHOWN = 90
_LABELS = ("app.kubernetes.io/managed-by", "tekton.dev/")
_OWN_LABELS = ("tekton.dev/pipelineRunUID", "tekton.dev/taskRunUID")


@dataclass(frozen=True)
class Outcome:
    """What became of one manifest under one controller.

    Attributes:
        refused: What the API server answered to objects that it did not store.
        runs: Every run of the namespace by kind and name, reduced to what is compared.
        messages: The message of each run's condition, which is not compared by default.
        unfinished: Runs that had not ended in time.
    """

    refused: Sequence[str] = ()
    runs: Mapping[str, Object] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)
    unfinished: Sequence[str] = ()

    def summary(self) -> str:
        """Return the outcome in a few words: refused, unfinished, or the reasons of runs nobody owns."""
        if self.refused:
            return "refused"
        if self.unfinished:
            return "unfinished"
        top = [run for run in self.runs.values() if run["top"]]
        return ", ".join(sorted({run["reason"] for run in top})) or "nothing to run"

    def has_succeeded(self) -> bool:
        """Return whether every run that the manifest made has succeeded."""
        top = [run for run in self.runs.values() if run["top"]]
        return bool(top) and not self.refused and all(run["status"] == "True" for run in top)


def outcome(runs: Iterable[Object], made_up: Mapping[str, str], refused: Sequence[str] = ()) -> Outcome:
    """Return the outcome of the runs in a namespace.

    Args:
        runs: Every TaskRun, PipelineRun and CustomRun in it.
        made_up: Names that differ from one namespace to another, and what stands for each: at least the
            namespace's own.
        refused: Answers of the API server to objects that it did not store.
    """
    reduced: dict[str, Object] = {}
    messages: dict[str, str] = {}
    unfinished = []
    for run in runs:
        key = f"{run['kind']} {_plain(run['metadata']['name'], made_up)}"
        condition = _succeeded(run)
        reduced[key] = _reduce(run, condition, made_up)
        messages[key] = _plain(condition.get("message", ""), made_up)
        if condition.get("status") not in ("True", "False"):
            unfinished.append(key)
    return Outcome(sorted(_plain(text, made_up) for text in refused), reduced, messages, sorted(unfinished))


def differences(tekton: Outcome, resultsfw: Outcome, *, messages: bool = False) -> list[str]:
    """Return where two outcomes differ, one line each: the path, Tekton's value, ours."""
    found = list(_differences("refused", list(tekton.refused), list(resultsfw.refused)))
    found += _differences("unfinished", list(tekton.unfinished), list(resultsfw.unfinished))
    found += _differences("", dict(tekton.runs), dict(resultsfw.runs))
    if messages:
        found += _differences("message", dict(tekton.messages), dict(resultsfw.messages))
    return found


def _succeeded(run: Object) -> Object:
    conditions = run.get("status", {}).get("conditions") or ()
    return next((entry for entry in conditions if entry["type"] == "Succeeded"), {})


def _reduce(run: Object, condition: Object, made_up: Mapping[str, str]) -> Object:
    status, metadata = run.get("status") or {}, run["metadata"]
    reduced: Object = {
        "top": not metadata.get("ownerReferences"),
        "status": condition.get("status", ""),
        "reason": condition.get("reason", ""),
        "params": run["spec"].get("params") or [],
        "results": {result["name"]: result["value"] for result in status.get("results") or ()},
        "attempts": 1 + len(status.get("retriesStatus") or ()),
        "labels": _labels(metadata),
        "refSource": _source(status),
    }
    if run["kind"] == "TaskRun":
        reduced["steps"] = [_step(step) for step in status.get("steps") or ()]
        reduced["sidecars"] = sorted(sidecar["name"] for sidecar in _sidecars(status))
        reduced["artifacts"] = _by_name(status.get("artifacts"))
        reduced["workspaces"] = sorted(binding["name"] for binding in run["spec"].get("workspaces") or ())
    if run["kind"] == "PipelineRun":
        children = [_without(child, "apiVersion") for child in status.get("childReferences") or ()]
        reduced["children"] = sorted(children, key=lambda child: (child["kind"], child["name"]))
        skipped = status.get("skippedTasks") or ()
        reduced["skipped"] = sorted(skipped, key=lambda task: task["name"])
    return json.loads(_plain(json.dumps(reduced), made_up))


def _labels(metadata: Object) -> dict[str, str]:
    labels = metadata.get("labels") or {}
    return {key: value for key, value in labels.items() if key.startswith(_LABELS) and key not in _OWN_LABELS}


def _sidecars(status: Object) -> Iterator[Object]:
    """Yield the Sidecars of the Task's author: not those that extract results."""
    for sidecar in status.get("sidecars") or ():
        if sidecar["name"] not in ("tekton-log-results", "resultsfw-results"):
            yield sidecar


def _step(step: Object) -> Object:
    ended = step.get("terminated") or {}
    return {
        "name": step.get("name", ""),
        "container": step.get("container", ""),
        "exitCode": ended.get("exitCode"),
        "reason": ended.get("reason"),
        "terminationReason": step.get("terminationReason"),
        "results": {result["name"]: result["value"] for result in step.get("results") or ()},
        "inputs": step.get("inputs"),
        "outputs": step.get("outputs"),
        "refSource": _source(step),
    }


def _by_name(artifacts: Object | None) -> Object | None:
    """Return artifacts in order of their names, which Tekton writes in any order; ``None`` for none."""
    # Tekton writes {} where there are none.
    return {
        kind: sorted(listed, key=lambda artifact: str(artifact.get("name")))
        for kind, listed in (artifacts or {}).items()
    } or None


def _source(status: Object) -> Object | None:
    """Return where a spec came from; without its digest, which covers the uid of an object in the cluster."""
    source = (status.get("provenance") or {}).get("refSource")
    if source is None:
        return None
    return {
        **source,
        "uri": _UID.sub("", source.get("uri", "")),
        "digest": sorted(source.get("digest") or ()),
    }


def _without(obj: Object, *keys: str) -> Object:
    return {key: value for key, value in obj.items() if key not in keys}


def _plain(text: str, made_up: Mapping[str, str]) -> str:
    """Return a text in which what stands for it replaces each made-up name, the longest first, and uids."""
    for name in sorted(made_up, key=len, reverse=True):
        text = text.replace(name, made_up[name])
    return _UID.sub("UID", text)


def _differences(path: str, tekton: Any, resultsfw: Any) -> Iterator[str]:
    if isinstance(tekton, dict) and isinstance(resultsfw, dict):
        for key in sorted({*tekton, *resultsfw}):
            below = f"{path}.{key}" if path else key
            if key not in tekton or key not in resultsfw:
                where = "under Tekton only" if key in tekton else "under resultsfw only"
                yield f"{below}: {where}"
            else:
                yield from _differences(below, tekton[key], resultsfw[key])
    elif isinstance(tekton, list) and isinstance(resultsfw, list) and len(tekton) == len(resultsfw):
        for index, (theirs, ours) in enumerate(zip(tekton, resultsfw, strict=True)):
            yield from _differences(f"{path}[{index}]", theirs, ours)
    elif tekton != resultsfw:
        yield f"{path}: {_shown(tekton)} under Tekton, {_shown(resultsfw)} under resultsfw"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
