"""Runs, pods and extractions that the suite for extensions gives to an extension."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from resultsfw.cluster import Object
from resultsfw.errors import UnavailableError
from resultsfw.testing.tasks import VALUE_MARK
from resultsfw.types import (
    ARTIFACTS,
    ExtractedResult,
    Extraction,
    Problem,
    ProblemCode,
    Reference,
    ResultSpec,
    Run,
    Step,
    TransportUsage,
)

__all__ = [
    "BACKEND",
    "ENVELOPES",
    "EXTRACTIONS",
    "extraction_of",
    "mark_of",
    "reference_of",
    "sample_object",
    "sample_pod",
    "sample_run",
    "sample_status",
]

BACKEND: Final = "suite-backend"
"""Name of the backend that the extension is put around."""

_DEEP: Final = 100_000
_LARGE: Final = 1 << 20


def mark_of(number: int) -> str:
    """Return a text that is in everything of one run and in nothing of another."""
    return f"mark{number:06d}"


def sample_run(number: int) -> Run:
    """Return a run with results of all types, results of a Step, and artifacts."""
    mark = mark_of(number)
    return Run(
        namespace=f"namespace-{mark}",
        name=f"run-{mark}",
        uid=f"uid-{mark}",
        results=(
            ResultSpec(name="text"),
            ResultSpec(name="list", type="array"),
            ResultSpec(name="map", type="object", properties=("key",)),
            ResultSpec(name="large"),
        ),
        steps=(
            Step(name="build", container="step-build", results=(ResultSpec(name="own"),), artifacts=True),
            Step(name="test", container="step-test"),
        ),
    )


def sample_pod(run: Run) -> Object:
    """Return the pod of a run, before it is prepared."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{run.name}-pod",
            "namespace": run.namespace,
            "uid": f"pod-{run.uid}",
            "labels": {"tekton.dev/taskRun": run.name},
            "annotations": {"example.com/note": "of the run's author"},
        },
        "spec": {
            "serviceAccountName": "default",
            "restartPolicy": "Never",
            "initContainers": [{"name": "prepare", "image": "busybox:1", "command": ["true"]}],
            "containers": [
                {
                    "name": step.container,
                    "image": "busybox:1",
                    "command": ["/tekton/bin/entrypoint"],
                    "args": ["-entrypoint", "sh", "--", "-c", f"echo {run.name}"],
                    "env": [{"name": "HOME", "value": "/tekton/home"}],
                    "volumeMounts": [{"name": "tekton-internal-results", "mountPath": "/tekton/results"}],
                }
                for step in run.steps
            ],
            "volumes": [{"name": "tekton-internal-results", "emptyDir": {}}],
        },
        "status": {
            "phase": "Succeeded",
            "containerStatuses": [
                {"name": step.container, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
                for step in run.steps
            ],
        },
    }


def sample_object(run: Run) -> Object:
    """Return the object of a run, with its status before the run ends."""
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {
            "name": run.name,
            "namespace": run.namespace,
            "uid": run.uid,
            "creationTimestamp": "2026-01-02T03:04:00Z",
        },
        "spec": {"taskRef": {"name": "task"}},
        "status": {"podName": f"{run.name}-pod", "conditions": [{"type": "Succeeded", "status": "Unknown"}]},
    }


def sample_status(run: Run) -> Object:
    """Return a status that ends a run, as it would be stored."""
    return {
        "podName": f"{run.name}-pod",
        "conditions": [{"type": "Succeeded", "status": "True", "reason": "Succeeded", "message": "done"}],
        "completionTime": "2026-01-02T03:04:05Z",
        "results": [{"name": "text", "type": "string", "value": f"{VALUE_MARK} of {run.name}"}],
        "steps": [{"name": "build", "container": "step-build", "terminated": {"exitCode": 0}}],
    }


def reference_of(run: Run, data: bytes) -> Reference:
    """Return a reference to data of a run."""
    digest = hashlib.sha256(data).hexdigest()
    return Reference(
        backend=BACKEND,
        location=f"{run.namespace}/{run.uid}/large",
        size=len(data),
        digest=f"sha256:{digest}",
    )


def _result(name: str, value: str | Reference, step: str | None = None) -> ExtractedResult:
    return ExtractedResult(name=name, value=value, step=step, source='log of container "sidecar"')


def extraction_of(run: Run) -> Extraction:
    """Return an extraction with a value for each declared result of `sample_run` but ``large``."""
    text = f"{VALUE_MARK} of {run.name}"
    used = TransportUsage(container="sidecar", transport="log", used=1, results=("text", "step-build.own"))
    return Extraction(
        results=(
            _result("text", text),
            _result("list", json.dumps([text, "b"])),
            _result("map", json.dumps({"key": text})),
            _result("own", text, "build"),
        ),
        transports=(used,),
    )


def _with(run: Run, *more: ExtractedResult) -> Extraction:
    found = extraction_of(run)
    return replace(found, results=(*found.results, *more))


def _problems(run: Run) -> Iterator[Problem]:
    for code in ProblemCode:
        yield Problem(code=code, message=f"{code} in {run.name}")
        yield Problem(code=code, message="m", result="text", size=2, limit=1, hint="raise the limit")
        yield Problem(code=code, message="m", result="own", step="build")


_NULLS: Final = f"{VALUE_MARK}\0\x7f\u202e\ufffd\U0001f600\r\n"
_PROVENANCE: Final = json.dumps({"outputs": [{"name": "image", "values": [{"uri": f"pkg:{VALUE_MARK}"}]}]})

EXTRACTIONS: Final[dict[str, Callable[[Run], Extraction]]] = {
    "plain": extraction_of,
    "nothing": lambda _: Extraction(),
    "empty": lambda run: _with(run, _result("text", "")),
    "twice": lambda run: _with(run, _result("text", f"{VALUE_MARK} later")),
    "undeclared": lambda run: _with(run, _result("unknown\n", VALUE_MARK), _result("own", "x", "no-step")),
    "control-characters": lambda run: _with(run, _result("text", _NULLS)),
    "a-number-for-an-array": lambda run: _with(run, _result("list", "7")),
    "no-json": lambda run: _with(run, _result("list", f"[{VALUE_MARK}"), _result("map", "")),
    "deep-json": lambda run: _with(run, _result("list", "[" * _DEEP), _result("map", '{"a":' * _DEEP)),
    "large": lambda run: _with(run, _result("text", VALUE_MARK + "x" * _LARGE)),
    "by-reference": lambda run: _with(run, _result("large", reference_of(run, b"kept"))),
    "artifacts": lambda run: _with(run, _result(ARTIFACTS, _PROVENANCE, "build")),
    "artifacts-no-json": lambda run: _with(run, _result(ARTIFACTS, f"{{{VALUE_MARK}", "build")),
    "problems": lambda run: Extraction(problems=tuple(_problems(run))),
    "some-lost": lambda run: replace(extraction_of(run), problems=tuple(_problems(run))[:2]),
    "read-error": lambda _: Extraction(read_error=UnavailableError("away", subject="pods/log")),
    "too-early": lambda run: replace(extraction_of(run), too_early=True),
}
"""What a backend may return from ``extract``, by name."""

ENVELOPES: Final[dict[str, str]] = {
    "no-json": f"{{{VALUE_MARK}",
    "an-array": "[]",
    "deep-json": "[" * _DEEP,
    "large": '{"payload":"' + "A" * _LARGE,
    "control-characters": "\0\ud800\u202e",
    "unsigned": json.dumps(
        {
            "payloadType": "application/vnd.in-toto+json",
            "payload": "e30=",
            "signatures": [{"keyid": "spiffe://example.org/x", "sig": "AA==", "certificate": "AA=="}],
        }
    ),
}
"""What may stand in place of a signed envelope, by name. None has a valid signature."""
