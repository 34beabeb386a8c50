"""Whatever TaskRun the models accept, it makes a pod or is refused."""

import json
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pod_harness import OPTIONS
from pydantic import BaseModel

from resultsfw.errors import InputError
from resultsfw.tekton.api.models import TaskRunSpec, validate_taskrun_document
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.api.task_models import TaskSpec, TaskStep
from resultsfw.tekton.pod.builder import build_pod
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.tekton.spec.substitution import apply
from resultsfw.tekton.spec.validate_taskrun import refuse_invalid
from resultsfw.tekton.spec.workspaces import claims_of

words = st.sampled_from(["a", "b", "w", "", "/m", "$(params.a)", "$(params.a[0])", "$(workspaces.w.path)"])
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
checked = {
    "_name": st.sampled_from(["a", "b"]),
    "_duration": st.sampled_from(["5s", "1h30m", "0"]),
    "_on_error": st.sampled_from(["continue", "$(params.a)"]),
}


def documents(model):
    """Documents that a model accepts."""
    fields = {}
    for field in model.model_fields.values():
        checks = [check.func.__name__ for check in field.metadata if hasattr(check, "func")]
        values = checked[checks[0]] if checks else values_of(field.annotation)
        if field.alias == "name" and not checks:
            values = st.sampled_from(["a", "b", "w", "a.b"])
        fields[field.alias] = values
    required = {field.alias for field in model.model_fields.values() if field.is_required()}
    return st.fixed_dictionaries(
        {key: values for key, values in fields.items() if key in required},
        optional={key: values for key, values in fields.items() if key not in required},
    )


def values_of(annotation):
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        return st.lists(values_of(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(words, values_of(arguments[1]), max_size=2)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is Annotated:
        return checked[arguments[1].func.__name__]
    if origin in {Union, UnionType}:
        return st.one_of(values_of(argument) for argument in arguments)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return st.deferred(lambda: documents(annotation))
    simple = {str: words, bool: st.booleans(), int: st.integers(0, 2), type(None): st.none()}
    return simple.get(annotation, plain)


@pytest.mark.slow
@given(
    documents(TaskRunSpec),
    documents(TaskSpec),
    st.lists(documents(TaskStep), min_size=1, max_size=2),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_what_the_models_accept_makes_a_pod_or_is_refused(spec, task, steps, mended):
    """Between the document and the pod no other exception leaves this package."""
    task["steps"] = [{**step, "name": f"s{number}"} for number, step in enumerate(steps)]
    if mended:  # hardly anything made at random can run
        task |= {"params": [{"name": "a", "default": ["x"]}], "workspaces": [], "results": []}
        for part in (*task["steps"], *(task.get("sidecars") or [])):
            part |= {"image": "i", "command": ["c"], "script": "", "workspaces": []}
        for step in task["steps"]:
            step |= {"ref": None, "results": [], "params": [], "workingDir": "/m", "env": [], "args": []}
        spec |= {"debug": None, "params": [], "stepSpecs": [{"name": "s0"}], "sidecarSpecs": []}
        spec["workspaces"] = [{"name": "w", "volumeClaimTemplate": {}}]
    spec.pop("taskRef", None)
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "run", "namespace": "ns", "uid": "u-1"},
        "spec": {**spec, "taskSpec": task},
    }
    try:
        validate_taskrun_document(run)
        refuse_invalid(run, task)
    except (InputError, RefusedRun):
        return
    substituted = apply(task, run)
    run_of(run, substituted, attempt=0)
    claims_of(run)
    try:
        json.dumps(build_pod(run, substituted, attempt=0, options=OPTIONS))
    except RefusedRun as refused:
        assert refused.reason == "PodCreationFailed"  # noqa: PT017 - most make a pod
