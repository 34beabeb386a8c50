"""Runs that the admission policies of ``config/admission-policy/`` refuse, or let pass, for both tests."""

import functools
from dataclasses import dataclass, field

import celpy

MANAGED_BY = "resultsfw.dev/controller"
ANNOTATION = "resultsfw.dev/results-from"
FLAGS = {"results-from": "Sidecar-Logs ", "allowed-results-from": "pvc, http,"}

RESULT = {"name": "digest"}
STEP = {"name": "build", "image": "busybox:1", "script": "true"}


def evaluate(expression, context, functions=None):
    """Return the value of an expression of a policy, by cel-python."""
    environment, parsed = _parsed(expression)
    return environment.program(parsed, functions=functions).evaluate(context)


@functools.cache
def _parsed(expression):
    environment = celpy.Environment()
    return environment, environment.compile(expression)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run.

    Attributes:
        name: Of the case.
        run: As a tenant applies it.
        refused: Part of the policy's message; "" if it passes.
        flags: The data of the ConfigMap ``feature-flags``.
    """

    name: str
    run: dict
    refused: str = ""
    flags: dict = field(default_factory=lambda: FLAGS)


def _task(**spec):
    return {"results": [RESULT], "steps": [STEP], **spec}


def taskrun(annotations=None, managed_by=MANAGED_BY, **task):
    """A TaskRun of an embedded Task with these fields."""
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "run", "namespace": "ns", "annotations": annotations or {}},
        "spec": {"managedBy": managed_by, "taskSpec": _task(**task)},
    }


def pipelinerun(annotations=None, section="tasks", more=None, **task):
    """A PipelineRun of two embedded Tasks, one with these fields."""
    embedded = {"name": "second", "taskSpec": _task(**task), **(more or {})}
    spec = {"tasks": [{"name": "first", "taskSpec": _task()}]}
    spec[section] = [*spec.get(section, []), embedded]
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "run", "namespace": "ns", "annotations": annotations or {}},
        "spec": {"managedBy": MANAGED_BY, "pipelineSpec": spec},
    }


def _step(*mounts):
    return {**STEP, "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in mounts]}


def _sidecar(name, *mounts):
    return {**_step(*mounts), "name": name}


def _volumes(*names):
    return [{"name": name, "emptyDir": {}} for name in names]


_SIDECAR = "cannot use reserved sidecar name tekton-log-results: sidecars.name in "
_VOLUME = 'volume name cannot start with "resultsfw-": volumes.name in '
_MOUNT = 'volumeMount name cannot start with "tekton-internal-" or "resultsfw-": volumeMounts.name in '
_SECOND = "taskSpec of the Pipeline Task second"
_BACKEND = "is not among the backends a run may choose here"
_TRUE = [{"input": "a", "operator": "in", "values": ["b"]}]

CASES = [
    # Names.
    Case(name="plain", run=taskrun()),
    Case(
        name="other-names",
        run=taskrun(
            volumes=_volumes("resultsfw", "tekton-internal-x", "a-resultsfw-"),
            steps=[_step("resultsfw", "a-resultsfw-")],
            sidecars=[_sidecar("tekton-log-results-2")],
        ),
    ),
    Case(
        name="sidecar",
        run=taskrun(sidecars=[_sidecar("a"), _sidecar("tekton-log-results")]),
        refused=f"{_SIDECAR}spec.taskSpec",
    ),
    Case(name="volume", run=taskrun(volumes=_volumes("a", "resultsfw-x")), refused=f"{_VOLUME}spec.taskSpec"),
    Case(name="mount", run=taskrun(steps=[_step("resultsfw-x")]), refused=f"{_MOUNT}spec.taskSpec"),
    Case(name="tektons-mount", run=taskrun(steps=[STEP, _step("a", "tekton-internal-run")]), refused=_MOUNT),
    Case(name="sidecars-mount", run=taskrun(sidecars=[_sidecar("a", "tekton-internal-run")]), refused=_MOUNT),
    Case(
        name="templates-mount",
        run=taskrun(stepTemplate={"volumeMounts": [{"name": "resultsfw-x", "mountPath": "/x"}]}),
        refused=_MOUNT,
    ),
    Case(name="foreign", run=taskrun(managed_by="somebody/else", volumes=_volumes("resultsfw-x"))),
    # Names in Pipelines.
    Case(name="pipeline", run=pipelinerun()),
    Case(
        name="pipelines-sidecar",
        run=pipelinerun(sidecars=[_sidecar("tekton-log-results")]),
        refused=f"{_SIDECAR}{_SECOND}",
    ),
    Case(
        name="finally",
        run=pipelinerun(section="finally", volumes=_volumes("resultsfw-x")),
        refused=f"{_VOLUME}{_SECOND}",
    ),
    Case(name="pipelines-mount", run=pipelinerun(steps=[_step("resultsfw-x")]), refused=f"{_MOUNT}{_SECOND}"),
    Case(name="skipped", run=pipelinerun(more={"when": _TRUE}, volumes=_volumes("resultsfw-x"))),
    # Backends.
    Case(name="the-default", run=taskrun({ANNOTATION: "sidecar-logs"})),
    Case(name="allowed", run=taskrun({ANNOTATION: " PVC"})),
    Case(name="allowed-too", run=pipelinerun({ANNOTATION: "http"})),
    Case(name="empty", run=taskrun({ANNOTATION: " "})),
    Case(name="not-allowed", run=taskrun({ANNOTATION: "OCI"}), refused=f'"oci" {_BACKEND} (sidecar-logs, '),
    Case(name="pipelines-not-allowed", run=pipelinerun({ANNOTATION: "oci"}), refused=_BACKEND),
    Case(name="part-of-a-name", run=taskrun({ANNOTATION: "pv"}), refused=_BACKEND),
    Case(name="long", run=taskrun({ANNOTATION: "x" * 300}), refused=f'"{"x" * 64}" {_BACKEND}'),
    Case(
        name="no-flags",
        run=taskrun({ANNOTATION: "sidecar-logs"}),
        refused=f"{_BACKEND} (termination-message); ask",
        flags={},
    ),
    Case(name="no-flags-default", run=taskrun({ANNOTATION: "termination-message"}), flags={}),
    Case(name="foreign-backend", run=taskrun({ANNOTATION: "oci"}, managed_by="somebody/else")),
]
