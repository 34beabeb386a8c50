"""Custom tasks: the CustomRun that is made, what of it is read, and what becomes of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipelinerun_harness import PipelineRunHarness, pipeline_task

from resultsfw import Object
from resultsfw.errors import NotFoundError
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.kinds import CUSTOMRUNS, PIPELINERUNS
from resultsfw.tekton.pipelinerun.children import is_custom
from resultsfw.tekton.pipelinerun.readable import unreadable_part
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.pipelinerun.taskrun_results import results_of

CUSTOM = {"apiVersion": "example.dev/v1", "kind": "Wait"}


def custom_task(name: str, **fields: Any) -> Object:
    return {"name": name, "taskRef": dict(CUSTOM), **fields}


def customrun(harness: PipelineRunHarness, task: str) -> Object:
    return Store.get(harness.store, CUSTOMRUNS, "default", f"p-{task}")


def finish(harness: PipelineRunHarness, task: str, verdict: str = "True", reason: str = "r", **results: Any):
    written = [{"name": name, "value": value} for name, value in results.items()]
    status = {"conditions": [condition(verdict, reason, "m", harness.now)], "results": written}
    write(harness, task, status)


def write(harness: PipelineRunHarness, task: str, status: Any) -> None:
    patch = {"status": status}
    Store.patch(harness.store, CUSTOMRUNS, "default", f"p-{task}", patch, subresource="status")


@pytest.mark.parametrize(
    ("task", "custom"),
    [
        ({"taskRef": CUSTOM}, True),
        ({"taskRef": {"apiVersion": "tekton.dev/v1", "kind": "Task", "name": "t"}}, True),
        ({"taskRef": {"kind": "Task", "name": "t"}}, False),
        ({"taskRef": {"name": "t"}}, False),
        ({"taskSpec": CUSTOM}, True),
        ({"taskSpec": {"steps": []}}, False),
    ],
)
def test_what_a_custom_task_is(task: Object, custom: bool) -> None:
    assert is_custom(task) == custom


def test_results_of_a_custom_task_reach_the_next_task_and_the_pipeline() -> None:
    given = [
        {"name": "v", "value": "$(tasks.c.results.text)"},
        {"name": "l", "value": "$(tasks.c.results.list[*])"},
    ]
    results = [{"name": name, "value": f"$(tasks.c.results.{name})"} for name in ("text", "list")]
    harness = PipelineRunHarness(custom_task("c"), pipeline_task("a", params=given), results=results)
    harness.reconcile()
    assert harness.taskruns_made == []
    finish(harness, "c", text="$(params.x) as it is", list='["one", "two"]')
    harness.reconcile()
    assert harness.params_of("a") == {"v": "$(params.x) as it is", "l": ["one", "two"]}
    harness.finish_task("a")
    harness.reconcile()
    assert harness.condition[:2] == ("True", "Succeeded")
    assert harness.status["results"] == [
        {"name": "text", "value": "$(params.x) as it is"},
        {"name": "list", "value": '["one", "two"]'},
    ]


def test_a_custom_task_gets_results_as_plain_values() -> None:
    given = [{"name": "v", "value": "$(tasks.a.results.r)"}]
    harness = PipelineRunHarness(pipeline_task("a", results=("r",)), custom_task("c", params=given))
    harness.reconcile()
    harness.finish_task("a", r="$(context.taskRun.name) $(~params.x)")
    harness.reconcile()
    made = customrun(harness, "c")
    assert made["spec"]["params"] == [{"name": "v", "value": "$(context.taskRun.name) $(~params.x)"}]
    assert "annotations" not in made["metadata"]


def test_the_text_of_an_embedded_custom_task_is_left_alone() -> None:
    spec = {"deep": [{"text": "$(params.own) $(tasks.none.results.x)"}], "number": 1}
    embedded = {**CUSTOM, "metadata": {"labels": {"l": "v"}}, "spec": spec}
    harness = PipelineRunHarness({"name": "c", "taskSpec": embedded})
    harness.reconcile()
    assert customrun(harness, "c")["spec"]["customSpec"] == embedded


@pytest.mark.parametrize("requested", ["Cancelled", "CancelledRunFinally"])
def test_a_cancelled_run_cancels_its_custom_task(requested: str) -> None:
    harness = PipelineRunHarness(custom_task("c"), last=(pipeline_task("f"),))
    harness.reconcile()
    harness.request_status(requested)
    harness.reconcile()
    spec = customrun(harness, "c")["spec"]
    assert spec["status"] == "RunCancelled"
    assert spec["statusMessage"] == "CustomRun cancelled as the PipelineRun it belongs to has been cancelled."
    assert harness.is_done == (requested == "Cancelled")
    if not harness.is_done:
        finish(harness, "c", "False", "CustomRunCancelled")
        harness.reconcile()
        harness.finish_task("f")
        harness.reconcile()
    assert harness.condition == ("False", "Cancelled", 'PipelineRun "p" was cancelled')


def test_a_custom_task_that_nobody_reconciles_ends_with_the_run() -> None:
    harness = PipelineRunHarness(custom_task("c"), run_timeouts={"pipeline": "10s"})
    assert harness.reconcile() == 11
    harness.reconcile(seconds=11)
    assert harness.condition[:2] == ("False", "PipelineRunTimeout")
    assert customrun(harness, "c")["spec"]["statusMessage"].endswith("has timed out.")


MALFORMED = [
    "text",
    {"conditions": "text"},
    {"conditions": ["text"]},
    {"conditions": [{"type": "Succeeded", "status": ["True"]}]},
    {"conditions": [condition("True", "r", "", PipelineRunHarness().now)], "results": [{"name": "r"}]},
    {"conditions": [condition("True", "r", "", PipelineRunHarness().now)], "results": {"r": "v"}},
    {
        "conditions": [condition("True", "r", "", PipelineRunHarness().now)],
        "results": [{"name": "r", "value": {}}],
    },
]


@pytest.mark.parametrize("status", MALFORMED)
def test_a_malformed_status_ends_the_run_by_name(status: Any) -> None:
    harness = PipelineRunHarness(custom_task("c"), pipeline_task("a"))
    harness.reconcile()
    write(harness, "c", status)
    harness.reconcile()
    verdict, _, message = harness.condition
    assert verdict == "False"
    assert message.startswith('CustomRun "p-c" cannot be read: status')
    assert harness.taskrun("a")["spec"]["status"] == "TaskRunCancelled"
    assert customrun(harness, "c")["spec"]["status"] == "RunCancelled"


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["conditions", "results", "name", "value", "status", "type"]), inner
        )
    ),
)


@given(ANY)
def test_what_is_readable_is_read_without_a_fault(status: Any) -> None:
    child = {"metadata": {"name": "c"}, "spec": {}, "status": status}
    if not unreadable_part(CUSTOMRUNS, child):
        results_of(child, CUSTOMRUNS)


def test_a_result_that_a_custom_task_did_not_write_is_named() -> None:
    wants = pipeline_task("a", params=[{"name": "v", "value": "$(tasks.c.results.none)"}])
    harness = PipelineRunHarness(custom_task("c"), wants)
    harness.reconcile()
    finish(harness, "c")
    harness.reconcile()
    assert harness.condition[1] == "PipelineValidationFailed"
    assert 'did not emit the result "none", which is referenced by task "a"' in harness.condition[2]


def test_a_custom_task_that_would_be_too_large_is_not_made() -> None:
    values = [{"name": f"v{index}", "value": "$(tasks.a.results.r)"} for index in range(3)]
    harness = PipelineRunHarness(pipeline_task("a", results=("r",)), custom_task("c", params=values))
    harness.reconcile()
    harness.finish_task("a", r="x" * 600_000)
    harness.reconcile()
    assert harness.condition[1] == "PipelineValidationFailed"
    assert 'the CustomRun of task "c" would have' in harness.condition[2]
    assert harness.store.list(CUSTOMRUNS, "default") == []


def test_a_server_without_customruns_ends_the_run_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = PipelineRunHarness(pipeline_task("a"), custom_task("c"))
    create = harness.store.create

    def refuse(kind: Any, obj: Object) -> Object:
        if kind == CUSTOMRUNS:
            raise NotFoundError("404 page not found", subject="customruns")
        return create(kind, obj)

    monkeypatch.setattr(harness.store, "create", refuse)
    harness.reconcile()
    assert harness.condition[:2] == ("False", "CreateRunFailed")
    assert "does the server have the CRD customruns.tekton.dev?" in harness.condition[2]
    assert harness.taskrun("a")["spec"]["status"] == "TaskRunCancelled"


def test_without_controllers_of_custom_tasks_a_run_is_refused_before_anything_is_made() -> None:
    harness = PipelineRunHarness(pipeline_task("a"), custom_task("c"))
    harness.reconciler = PipelineReconciler(
        harness.core, harness.store, clock=lambda: harness.now, custom_tasks=False
    )
    harness.reconcile()
    assert harness.condition[:2] == ("False", "CouldntGetTask")
    assert 'Pipeline Task "c" is a custom task (example.dev/v1, Wait)' in harness.condition[2]
    assert harness.taskruns_made == []


@pytest.mark.parametrize("mode", ["minimal", "both", "full"])
def test_a_customrun_is_always_named_by_reference(mode: str) -> None:
    harness = PipelineRunHarness(custom_task("c"), pipeline_task("a"), flags={"embedded-status": mode})
    harness.reconcile()
    references = [child["name"] for child in harness.status.get("childReferences") or ()]
    assert references == (["p-c"] if mode == "full" else ["p-c", "p-a"])
    finish(harness, "c")
    harness.finish_task("a")
    harness.reconcile()
    assert harness.condition[0] == "True"
    assert list(harness.status.get("taskRuns") or {}) == ([] if mode == "minimal" else ["p-a"])


def test_fields_that_no_customrun_has_are_named_in_a_warning() -> None:
    own = {"pipelineTaskName": "c", "serviceAccountName": "s", "podTemplate": {"schedulerName": "x"}}
    harness = PipelineRunHarness(custom_task("c"), pipeline_task("a"), run_taskRunSpecs=[own])
    warnings: list[tuple[str, str]] = []
    harness.reconciler = PipelineReconciler(
        harness.core,
        harness.store,
        clock=lambda: harness.now,
        warn=lambda _run, reason, message: warnings.append((reason, message)),
    )
    harness.reconcile()
    harness.reconcile()
    message = 'taskRunSpecs.podTemplate of Pipeline Task "c" has no effect on a CustomRun'
    assert warnings == [("FieldsIgnored", message)]


def test_a_customrun_of_somebody_else_is_refused() -> None:
    harness = PipelineRunHarness(custom_task("c"))
    other = {"metadata": {"name": "p-c", "namespace": "default"}, "spec": {}}
    Store.create(
        harness.store, CUSTOMRUNS, {"apiVersion": "tekton.dev/v1beta1", "kind": "CustomRun", **other}
    )
    harness.reconcile()
    assert harness.condition[1] == "CreateRunFailed"
    assert Store.get(harness.store, CUSTOMRUNS, "default", "p-c")["spec"] == {}
    assert Store.get(harness.store, PIPELINERUNS, "default", "p")
