"""A spec may hold nearly any JSON: a pass ends with a status or with an error of ours, and no other."""

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resultsfw import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, PIPELINES, TASKRUNS, TASKS
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.taskrun.reconciler import Reconciler

STEP = {
    "name": "one",
    "image": "i",
    "script": "echo $(params.p)",
    "args": ["$(params.a[*])"],
    "env": [{"name": "E", "value": "$(params.o.k)"}],
    "results": [{"name": "s", "type": "string"}],
    "workingDir": "/w",
    "timeout": "1m",
    "onError": "continue",
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    "securityContext": {"runAsUser": 1},
    "when": [{"input": "a", "operator": "in", "values": ["a"]}],
}
TASK = {
    "params": [
        {"name": "p", "type": "string", "default": "x", "enum": ["x", "y"]},
        {"name": "a", "type": "array", "default": ["x"]},
        {"name": "o", "type": "object", "properties": {"k": {"type": "string"}}, "default": {"k": "v"}},
    ],
    "results": [
        {"name": "r", "type": "string", "value": "$(steps.one.results.s)"},
        {"name": "q", "type": "object", "properties": {"k": {"type": "string"}}},
    ],
    "steps": [STEP],
    "sidecars": [{"name": "beside", "image": "i"}],
    "volumes": [{"name": "v", "emptyDir": {}}],
    "workspaces": [{"name": "w", "optional": True}],
    "stepTemplate": {"env": [{"name": "F", "value": "1"}]},
}
RUN = {
    "taskSpec": TASK,
    "params": [{"name": "p", "value": "y"}],
    "workspaces": [{"name": "w", "emptyDir": {}}],
    "timeout": "1h",
    "retries": 1,
    "serviceAccountName": "default",
    "podTemplate": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}]},
    "stepSpecs": [{"name": "one", "computeResources": {"requests": {"cpu": "1"}}}],
    "computeResources": {"limits": {"memory": "1Gi"}},
}
PIPELINE = {
    "params": [{"name": "p", "type": "string", "default": "x"}],
    "tasks": [
        {
            "name": "a",
            "taskSpec": TASK,
            "params": [{"name": "p", "value": "$(params.p)"}],
            "workspaces": [{"name": "w", "workspace": "w"}],
        },
        {
            "name": "b",
            "taskSpec": TASK,
            "runAfter": ["a"],
            "when": [{"input": "$(tasks.a.results.r)", "operator": "in", "values": ["x"]}],
            "params": [{"name": "p", "value": "$(tasks.a.results.r)"}],
            "retries": 1,
            "timeout": "1m",
            "matrix": None,
        },
    ],
    "finally": [{"name": "f", "taskSpec": TASK, "params": [{"name": "p", "value": "$(tasks.a.status)"}]}],
    "results": [{"name": "r", "value": "$(tasks.a.results.r)"}],
    "workspaces": [{"name": "w", "optional": True}],
}
PIPELINERUN = {
    "pipelineSpec": PIPELINE,
    "params": [{"name": "p", "value": "y"}],
    "workspaces": [{"name": "w", "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}],
    "timeouts": {"pipeline": "1h", "tasks": "30m", "finally": "30m"},
    "taskRunTemplate": {"serviceAccountName": "s", "podTemplate": {"nodeSelector": {"a": "b"}}},
    "taskRunSpecs": [{"pipelineTaskName": "a", "serviceAccountName": "t"}],
    "status": "",
}

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "$(params.p)", "$(params.", "-1", "1h", "999999999h", "a" * 70, "é\x00"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "value", "a", "", "type", "default", "steps"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within another."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(one for key, at in inner for one in places(at, (*path, key)))]


def changed(spec: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value in a place."""
    if not path:
        return value
    spec = copy.deepcopy(spec)
    at = spec
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return spec


def mutations(spec: Any) -> Any:
    """The spec with one or two values of any kind in it."""
    some = st.tuples(st.sampled_from([one for one in places(spec) if one]), ODD)

    def apply(pairs: list[Any]) -> Any:
        found = spec
        for path, value in pairs:
            with contextlib.suppress(LookupError, TypeError):  # the first took the place of the second
                found = changed(found, path, value)
        return found

    return st.lists(some, min_size=1, max_size=2).map(apply)


def reconciled(kind: Any, spec: Any, *, passes: int = 3, annotations: Any = None) -> Any:
    """Return the status after some passes, each of which may end with an error of ours."""
    store = Store()
    metadata = {"name": "run", "namespace": "n", "annotations": annotations or {}}
    store.create(kind, {"metadata": metadata, "spec": spec})
    core = CORE
    make = Reconciler if kind == TASKRUNS else PipelineReconciler
    for _ in range(passes):
        with contextlib.suppress(ResultsError):
            make(core, store).reconcile("n", "run")
    for one in store.list(TASKRUNS) if kind == PIPELINERUNS else ():
        with contextlib.suppress(ResultsError):
            Reconciler(core, store).reconcile("n", one["metadata"]["name"])
    return store.get(kind, "n", "run").get("status")


CORE = ResultsManager.from_flags({})

OFTEN = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_what_is_changed_here_runs_if_it_is_not_changed():
    assert reconciled(TASKRUNS, RUN)["conditions"][0]["status"] == "Unknown"
    assert reconciled(PIPELINERUNS, PIPELINERUN)["conditions"][0]["status"] == "Unknown"


@pytest.mark.slow
@OFTEN
@given(spec=mutations(RUN))
def test_a_taskrun_of_any_shape_has_a_status_or_is_refused(spec):
    reconciled(TASKRUNS, spec)


@pytest.mark.slow
@OFTEN
@given(spec=mutations(PIPELINERUN))
def test_a_pipelinerun_of_any_shape_has_a_status_or_is_refused(spec):
    reconciled(PIPELINERUNS, spec)


@pytest.mark.slow
@OFTEN
@given(spec=mutations(TASK), of=st.sampled_from([TASKS, PIPELINES]))
def test_a_task_of_any_shape_has_a_status_or_is_refused(spec, of):
    if of == TASKS:
        reconciled(TASKRUNS, {"taskSpec": spec})
    else:
        reconciled(PIPELINERUNS, {"pipelineSpec": {"tasks": [{"name": "a", "taskSpec": spec}]}})


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 1000, "null", "[]", '{"at":5}', '{"at":"x","reason":[]}']
)
def test_an_annotation_of_ours_that_somebody_edited_is_no_fault(text):
    for name in ("resultsfw.dev/stopped", "resultsfw.dev/released", "resultsfw.dev/stamp"):
        reconciled(TASKRUNS, RUN, annotations={name: text})


@pytest.mark.parametrize("part", ["params", "results", "workspaces", "steps", "sidecars"])
@pytest.mark.parametrize("name", ["", None])
def test_a_part_without_a_name_is_no_fault(part, name):
    spec = changed(TASK, (part, 0, "name"), name)
    assert reconciled(TASKRUNS, {"taskSpec": spec})["conditions"]
    assert reconciled(PIPELINERUNS, {"pipelineSpec": {"tasks": [{"name": "a", "taskSpec": spec}]}})


def test_an_index_of_thousands_of_digits_is_no_fault():
    spec = changed(TASK, ("steps", 0, "args"), [f"$(params.a[{'9' * 5000}])"])
    condition = reconciled(TASKRUNS, {"taskSpec": spec})["conditions"][0]
    assert "non-existent param references" in condition["message"]
