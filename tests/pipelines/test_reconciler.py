"""PipelineRuns look by look: order, results, when, finally, times, cancel, and what ends a run by name."""

import json

import pytest
from pipelineworld import Counting, KilledError, World, a_task

from resultsfw.errors import ForbiddenError, ObjectTooLargeError
from resultsfw.limits import object_size
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, PIPELINES, TASKRUNS

P = {"name": "v", "value": "$(tasks.a.results.r)"}


# Order.


def test_independent_tasks_begin_at_once_and_others_wait():
    world = World(
        a_task("a", results=("r",)), a_task("b"), a_task("c", params=[P]), a_task("d", runAfter=["c"])
    )
    world.step()
    assert world.made == ["a", "b"]
    world.end("a", r="1")
    world.step()
    assert world.made == ["a", "b", "c"]
    assert world.params("c") == {"v": "1"}
    world.end("b")
    world.end("c")
    world.step()
    world.end("d")
    world.step()
    assert world.told == ("True", "Succeeded", "Tasks Completed: 4 (Failed: 0, Cancelled 0), Skipped: 0")


def test_a_result_in_when_makes_a_task_wait():
    when = [{"input": "$(tasks.a.results.r)", "operator": "in", "values": ["yes"]}]
    world = World(a_task("a", results=("r",)), a_task("b", when=when))
    world.step()
    assert world.made == ["a"]
    world.end("a", r="yes")
    world.step()
    assert world.made == ["a", "b"]


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (
            [a_task("a", runAfter=["b"]), a_task("b", runAfter=["a"])],
            'cycle detected; task "a" depends on "b"',
        ),
        ([a_task("a", runAfter=["z"])], "task a depends on z but z wasn't present in Pipeline"),
        (
            [a_task("a"), a_task("a")],
            "task a is already present in Graph, can't add it again: duplicate pipeline task",
        ),
    ],
)
def test_tasks_without_an_order_end_the_run_before_anything_is_made(tasks, said):
    world = World(*tasks)
    world.step()
    assert world.told[:2] == ("False", "PipelineInvalidGraph")
    assert said in world.told[2]
    assert world.made == []


# Results.


@pytest.mark.parametrize(
    ("value", "given", "passed"),
    [
        ("$(tasks.a.results.r)", "x", "x"),
        ("$(tasks.a.results['r'])", "x", "x"),
        ('$(tasks.a.results["r"])', "x", "x"),
        ("<$(tasks.a.results.r)$(tasks.a.results.r)>", "x", "<xx>"),
        ("$(tasks.a.results.r[*])", ["x", "y"], ["x", "y"]),
        ("$(tasks.a.results.r[1])", ["x", "y"], "y"),
        ("$(tasks.a.results.r.k)", {"k": "v"}, "v"),
        ("$(tasks.a.results.r[*])", {"k": "v"}, {"k": "v"}),
        (["a", "$(tasks.a.results.r[*])", "b"], ["x", "y"], ["a", "x", "y", "b"]),
        ({"k": "$(tasks.a.results.r)"}, "x", {"k": "x"}),
        (
            "$(tasks.a.results.r)",
            "$(tasks.a.results.r) $(params.x) \n\"\u2028'",
            "$(tasks.a.results.r) $(params.x) \n\"\u2028'",
        ),
    ],
)
def test_results_pass_on_as_they_are(value, given, passed):
    world = World(a_task("a", results=("r",)), a_task("b", params=[{"name": "v", "value": value}]))
    world.step()
    world.end("a", r=given)
    world.step()
    assert world.params("b") == {"v": passed}


def test_a_result_is_put_into_the_text_of_an_embedded_task_that_comes_after():
    spec = {"steps": [{"name": "s", "image": "i", "script": "echo $(tasks.a.results.r) $(params.own)"}]}
    spec["params"] = [{"name": "own", "default": "d"}]
    world = World(a_task("a", results=("r",)), {"name": "b", "runAfter": ["a"], "taskSpec": spec})
    world.step()
    world.end("a", r="x")
    world.step()
    assert world.taskrun("b")["spec"]["taskSpec"]["steps"][0]["script"] == "echo x $(params.own)"


def test_a_result_that_no_task_declares_ends_the_run_naming_both():
    world = World(a_task("a"), a_task("b", params=[P]))
    world.step()
    said = 'invalid result reference in pipeline task "b": "r" is not a named result returned by '
    assert world.told == ("False", "InvalidTaskResultReference", f'{said}pipeline task "a"')
    assert world.made == []


def test_a_pipeline_result_that_no_task_declares_ends_the_run():
    world = World(a_task("a"), results=[{"name": "out", "value": "$(tasks.a.results.r)"}])
    world.step()
    assert world.told[1] == "InvalidPipelineResultReference"
    assert 'pipeline result "out"' in world.told[2]


@pytest.mark.parametrize(
    ("value", "given", "said"),
    [
        (
            "$(tasks.a.results.r[2])",
            ["x", "y"],
            "array Result Index 2 for Task a Result r is out of bound of size 2",
        ),
        ("$(tasks.a.results.r.q)", {"k": "v"}, 'result "r" of pipeline task "a" has no key "q"'),
    ],
)
def test_a_part_that_a_result_does_not_have_ends_the_run(value, given, said):
    world = World(a_task("a", results=("r",)), a_task("b", params=[{"name": "v", "value": value}]))
    world.step()
    world.end("a", r=given)
    world.step()
    assert world.told[:2] == ("False", "PipelineValidationFailed")
    assert said in world.told[2]
    assert world.made == ["a"]


def test_finally_runs_after_a_missing_result_and_the_run_fails():
    world = World(a_task("a", results=("r",)), a_task("b", params=[P]), last=(a_task("f"),))
    world.step()
    world.end("a")
    world.step()
    assert world.made == ["a", "f"]
    assert world.told[0] == "Unknown"
    world.end("f")
    world.step()
    assert world.told[:2] == ("False", "PipelineValidationFailed")
    assert 'did not emit the result "r", which is referenced by task "b"' in world.told[2]


def test_a_final_task_whose_result_is_missing_is_left_out():
    world = World(a_task("a", results=("r",)), last=(a_task("f", params=[P]), a_task("g")))
    world.step()
    world.end("a", "Failed")
    world.step()
    assert world.made == ["a", "g"]
    assert world.skipped == {"f": "Results were missing"}


def test_a_pipelines_own_results():
    results = [
        {"name": "text", "value": "<$(tasks.a.results.r)>"},
        {"name": "gone", "value": "$(tasks.b.results.r)"},
        {"name": "last", "value": "$(finally.f.results.r)"},
        {"name": "mapped", "type": "object", "value": {"k": "$(tasks.a.results.r)"}},
    ]
    failing = a_task("b", results=("r",), onError="continue")
    world = World(a_task("a", results=("r",)), failing, last=(a_task("f", results=("r",)),), results=results)
    world.step()
    world.end("a", r="1")
    world.end("b", "Failed")
    world.step()
    world.end("f", r="2")
    world.step()
    assert world.told[0] == "True"
    assert world.status["results"] == [
        {"name": "text", "value": "<1>"},
        {"name": "last", "value": "2"},
        {"name": "mapped", "value": {"k": "1"}},
    ]


def test_a_pipeline_result_that_a_task_did_not_write_fails_the_run():
    world = World(a_task("a", results=("r",)), results=[{"name": "out", "value": "$(tasks.a.results.r)"}])
    world.step()
    world.end("a")
    world.step()
    assert world.told[:2] == ("False", "CouldntGetPipelineResult")
    assert "invalid pipelineresults [out]" in world.told[2]


# Failure, finally, when.


def test_why_a_task_did_not_run_comes_before_the_runs_own_results():
    value = "$(tasks.a.results.r)"
    world = World(
        a_task("a", results=("r",)),
        a_task("b", params=[{"name": "v", "value": value}]),
        results=[{"name": "out", "value": value}],
    )
    world.step()
    world.end("a")
    world.step()
    status, reason, message = world.told
    assert (status, reason) == ("False", "PipelineValidationFailed")
    assert "Failed Validation: 1" in message
    assert "invalid pipelineresults [out]" in message


def test_a_failure_stops_what_has_not_begun():
    world = World(a_task("a"), a_task("b"), a_task("c", runAfter=["b"]))
    world.step()
    world.end("a", "Failed")
    world.step()
    assert world.told[:2] == ("Unknown", "PipelineRunStopping")
    world.end("b")
    world.step()
    assert world.told == ("False", "Failed", "Tasks Completed: 2 (Failed: 1, Cancelled 0), Skipped: 1")
    assert world.skipped == {"c": "PipelineRun was stopping"}


def test_a_final_task_knows_how_the_others_ended():
    values = (
        "$(tasks.a.status)",
        "$(tasks.b.status)",
        "$(tasks.status)",
        "$(tasks.b.reason)",
        "$(tasks.c.status)",
    )
    given = [{"name": f"v{index}", "value": value} for index, value in enumerate(values)]
    world = World(
        a_task("a"),
        a_task("b", runAfter=["a"]),
        a_task("c", runAfter=["b"]),
        last=(a_task("f", params=given),),
    )
    world.step()
    world.end("a")
    world.step()
    world.end("b", "Failed")
    world.step()
    assert list(world.params("f").values()) == ["Succeeded", "Failed", "Failed", "Failed", "None"]


def test_who_only_comes_after_a_task_that_when_left_out_runs():
    no = [{"input": "a", "operator": "notin", "values": ["a"]}]
    world = World(
        a_task("a", when=no, results=("r",)),
        a_task("b", runAfter=["a"]),
        a_task("c", params=[P]),
        a_task("d", runAfter=["c"]),
    )
    world.step()
    assert world.made == ["b"]
    world.end("b")
    world.step()
    assert world.told[:2] == ("True", "Completed")
    assert world.skipped == {
        "a": "When Expressions evaluated to false",
        "c": "Results were missing",
        "d": "Parent Tasks were skipped",
    }


# Parameters, workspaces, metadata.


def test_parameters_at_every_level():
    world = World(
        a_task(
            "a",
            params=[
                {"name": "text", "value": "$(params.text)-$(params['text'])"},
                {"name": "all", "value": ["$(params.list[*])", "z"]},
                {"name": "one", "value": "$(params.list[1])"},
                {"name": "key", "value": "$(params.map.k)"},
                {"name": "map", "value": "$(params.map[*])"},
                {"name": "who", "value": "$(context.pipelineRun.name) $(context.pipeline.name)"},
            ],
        ),
        params=[
            {"name": "text", "default": "d"},
            {"name": "list", "type": "array", "default": ["x", "y"]},
            {
                "name": "map",
                "type": "object",
                "properties": {"k": {}, "l": {}},
                "default": {"k": "v", "l": "w"},
            },
        ],
        run_params=[{"name": "text", "value": "given"}, {"name": "map", "value": {"k": "mine"}}],
    )
    world.step()
    assert world.params("a") == {
        "text": "given-given", "all": ["x", "y", "z"], "one": "y", "key": "mine",
        "map": {"k": "mine", "l": "w"}, "who": "p p",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "given", "reason"),
    [
        ([{"name": "x"}], [], "ParameterMissing"),
        ([{"name": "x"}], [{"name": "x", "value": ["a"]}], "ParameterTypeMismatch"),
        ([{"name": "x", "properties": {"k": {}}}], [{"name": "x", "value": {}}], "ObjectParameterMissKeys"),
    ],
)
def test_parameters_that_do_not_fit_end_the_run(params, given, reason):
    world = World(a_task("a"), params=params, run_params=given)
    world.step()
    assert world.told[:2] == ("False", reason)
    assert world.made == []


def test_workspaces_are_passed_down_and_a_claim_is_made_once():
    template = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    used = [{"name": "mine", "workspace": "shared", "subPath": "below"}]
    world = World(
        a_task("a", workspaces=used), a_task("b", workspaces=used), workspaces=[{"name": "shared"}],
        run_workspaces=[{"name": "shared", "subPath": "top", "volumeClaimTemplate": template}],
    )  # fmt: skip
    world.step()
    a, b = (world.taskrun(one)["spec"]["workspaces"] for one in "ab")
    assert a == b
    assert (a[0]["name"], a[0]["subPath"]) == ("mine", "top/below")
    assert world.store.calls.count(("created", "PersistentVolumeClaim")) == 1


def test_a_workspace_that_nobody_binds_ends_the_run():
    world = World(a_task("a"), workspaces=[{"name": "shared"}])
    world.step()
    assert world.told[:2] == ("False", "InvalidWorkspaceBindings")


def test_what_a_taskrun_is_given():
    world = World(
        a_task("a", retries=2, timeout="5m", onError="continue"),
        run_managedBy="resultsfw.dev/controller",
        run_taskRunTemplate={"serviceAccountName": "sa", "podTemplate": {"nodeSelector": {"a": "b"}}},
        run_taskRunSpecs=[{"pipelineTaskName": "a", "metadata": {"labels": {"x": "y"}}, "timeout": "7m"}],
    )
    world.step()
    made = world.taskrun("a")
    assert made["spec"]["retries"] == 2
    assert made["spec"]["timeout"] == "7m"
    assert made["spec"]["managedBy"] == "resultsfw.dev/controller"
    assert made["spec"]["serviceAccountName"] == "sa"
    assert made["metadata"]["labels"]["x"] == "y"
    assert made["metadata"]["annotations"] == {"pipeline.tekton.dev/pipeline-task-on-error": "continue"}


# Cancel and time.


def test_cancelled_at_once():
    world = World(a_task("a"), a_task("b", runAfter=["a"]), last=(a_task("f"),))
    world.step()
    world.ask("Cancelled")
    world.step()
    assert world.told == ("False", "Cancelled", 'PipelineRun "p" was cancelled')
    assert world.taskrun("a")["spec"]["status"] == "TaskRunCancelled"
    assert world.made == ["a"]


@pytest.mark.parametrize("ask", ["CancelledRunFinally", "StoppedRunFinally"])
def test_cancelled_gently(ask):
    world = World(a_task("a"), a_task("b", runAfter=["a"]), last=(a_task("f"),))
    world.step()
    world.ask(ask)
    world.step()
    cancels = ask == "CancelledRunFinally"
    assert (world.taskrun("a")["spec"].get("status") == "TaskRunCancelled") is cancels
    assert world.told[1] == ask.replace("Run", "Running")
    assert world.skipped["b"] == f"PipelineRun was gracefully {'cancelled' if cancels else 'stopped'}"
    assert world.made == ["a"]
    world.end("a", "TaskRunCancelled" if cancels else "Succeeded")
    world.step()
    assert world.made == ["a", "f"]
    world.end("f")
    world.step()
    assert world.told == ("False", "Cancelled", 'PipelineRun "p" was cancelled')
    # Tekton's too: a cancelled Task counts as one that failed, and so the run as stopping.
    assert world.skipped["b"] == (
        "PipelineRun was stopping" if cancels else "PipelineRun was gracefully stopped"
    )


def test_pending_waits():
    world = World(a_task("a"), run_status="PipelineRunPending")
    assert world.step() is None
    assert world.told == ("Unknown", "PipelineRunPending", 'PipelineRun "p" is pending')
    assert world.made == []
    world.ask("")
    world.step()
    assert world.made == ["a"]


def test_out_of_time():
    world = World(a_task("a"), run_timeouts={"pipeline": "10s"})
    assert world.step() == 11  # a second more: the start is stored without its fraction
    world.step(11)
    assert world.told == ("False", "PipelineRunTimeout", 'PipelineRun "p" failed to finish within "10s"')
    spec = world.taskrun("a")["spec"]
    assert spec["statusMessage"] == "TaskRun cancelled as the PipelineRun it belongs to has timed out."
    assert world.status["completionTime"]


def test_the_time_of_tasks_is_over_and_finally_runs():
    timeouts = {"pipeline": "30s", "tasks": "10s"}
    world = World(a_task("a"), a_task("b", runAfter=["a"]), last=(a_task("f"),), run_timeouts=timeouts)
    world.step()
    world.step(11)
    assert world.taskrun("a")["spec"]["status"] == "TaskRunCancelled"
    world.end("a", "TaskRunCancelled")
    world.step()
    assert world.made == ["a", "f"]
    assert world.told[1] == "PipelineRunTimeoutRunningFinally"
    world.end("f")
    world.step()
    assert world.told[:2] == ("False", "PipelineRunTimeout")
    assert 'tasks failed to finish within "10s"' in world.told[2]


def test_without_a_timeout_it_never_wants_to_look_by_itself():
    world = World(a_task("a"), run_timeouts={"pipeline": "0"})
    assert world.step() is None


# Crash-only, and walls.


def test_law_4_killed_at_any_call_and_started_again_it_comes_to_the_same_end():
    def play(fail_at):
        world = World(a_task("a", results=("r",)), a_task("b", params=[P]), last=(a_task("f"),))
        world.store.fail_at = fail_at
        for _ in range(30):
            try:
                world.step()
            except KilledError:
                world.store.fail_at = None
                world.start()
                continue
            for name in ("a", "b", "f"):
                if (made := world.taskrun(name)) and "status" not in made:
                    world.end(name, **({"r": "1"} if name == "a" else {}))
            if world.done:
                break
        return world

    whole = play(None)
    told = (whole.told, whole.made, whole.status["childReferences"])
    for number in range(1, len(whole.store.calls) + 1):
        again = play(number)
        assert (again.told, again.made, again.status["childReferences"]) == told, f"killed at call {number}"
        assert again.store.calls.count(("created", "TaskRun")) == 3


def test_a_taskrun_of_that_name_that_is_somebody_elses_ends_the_run():
    world = World(a_task("a"))
    foreign = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "p-a", "namespace": "default"},
        "spec": {},
    }
    Store.create(world.store, TASKRUNS, foreign)
    world.step()
    assert world.told[:2] == ("False", "CreateRunFailed")
    assert "somebody else" in world.told[2]


def test_a_pipelinerun_stays_small_while_results_grow():
    sizes = set()
    for size in (1, 1000, 1_000_000):
        world = World(a_task("a", results=("r",)), a_task("b", runAfter=["a"]))
        world.step()
        world.end("a", r="x" * size)
        world.step()
        world.end("b")
        world.step()
        assert world.told[0] == "True"
        sizes.add(object_size(world.run))
    assert max(sizes) - min(sizes) < 20  # resource versions and times


def test_what_a_taskrun_cannot_hold_ends_the_run_with_name_and_numbers():
    params = [{"name": f"v{index}", "value": f"$(tasks.a{index}.results.r)"} for index in range(2)]
    tasks = [a_task(f"a{index}", results=("r",)) for index in range(2)]
    world = World(*tasks, a_task("b", params=params), last=(a_task("f"),))
    world.step()
    for index in range(2):
        world.end(f"a{index}", r="x" * (800_000 + index))
    world.step()
    world.end("f")
    world.step()
    assert world.told[:2] == ("False", "PipelineValidationFailed")
    for words in ('task "b"', "over the limit of 1556480 bytes", 'param "v1" has 800003 bytes'):
        assert words in world.told[2]
    assert world.made == ["a0", "a1", "f"]


def test_a_pipeline_result_that_the_run_cannot_hold_is_left_out_by_name():
    results = [{"name": one, "value": f"$(tasks.{one}.results.r)"} for one in ("a", "b")]
    world = World(a_task("a", results=("r",)), a_task("b", results=("r",)), results=results)
    world.step()
    world.end("a", r="x" * 1_000_000)
    world.end("b", r="y" * 900_000)
    world.step()
    assert world.told[:2] == ("False", "PipelineRunTooLarge")
    assert '"a" (1000002 bytes)' in world.told[2]
    assert [one["name"] for one in world.status["results"]] == ["b"]


@pytest.mark.parametrize(
    ("script", "given"),
    [(900_000, 0), (300_000, 1_100_000)],
    ids=["its Pipeline, which its status repeats", "its params beside it"],
)
def test_a_run_that_cannot_hold_its_status_ends_by_name_before_anything_is_made(script, given):
    task = a_task("a")
    task["taskSpec"]["steps"][0]["script"] = "x" * script
    world = World(
        task, params=[{"name": "v", "type": "string"}], run_params=[{"name": "v", "value": "y" * given}]
    )
    world.step()
    assert world.told[:2] == ("False", "PipelineRunTooLarge")
    assert "over the limit of 1556480 bytes" in world.told[2]
    spec = object_size(world.run["spec"]["pipelineSpec"])
    assert f"spec has {spec} bytes" in world.told[2]
    assert world.made == []


def test_a_run_that_its_server_stores_no_more_ends_by_name_with_its_tasks(monkeypatch):
    world = World(a_task("a"), a_task("b", runAfter=["a"]))
    world.step()
    patch = world.store.patch

    def refuses(kind, namespace, name, changes, **where):
        if "childReferences" in changes.get("status", {}):
            raise ObjectTooLargeError("etcdserver: request is too large (1600000 bytes)")
        return patch(kind, namespace, name, changes, **where)

    monkeypatch.setattr(world.store, "patch", refuses)
    world.end("a")
    assert world.step() is None
    assert world.told[:2] == ("False", "PipelineRunTooLarge")
    assert "request is too large (1600000 bytes)" in world.told[2]
    assert world.taskrun("b")["spec"]["status"] == "TaskRunCancelled"


def test_nothing_is_written_where_nothing_changed():
    world = World(a_task("a"))
    world.step()
    version = world.run["metadata"]["resourceVersion"]
    world.step()
    assert world.run["metadata"]["resourceVersion"] == version
    assert json.dumps(world.status)  # plain data
    assert Store.get(world.store, PIPELINERUNS, "default", "p") == world.run


# What a Pipeline cannot be run with.


def when(**fields):
    return [fields]


@pytest.mark.parametrize(
    ("spec", "reason", "said"),
    [
        (
            {"tasks": [a_task("a", when=when(cel="'a' == 'b'"))]},
            "PipelineValidationFailed",
            "spec.pipelineSpec.tasks[0].when[0].cel: CEL is not supported in a Pipeline",
        ),
        (
            {"tasks": [a_task("a", when=when(input="x", operator="isnt", values=["y"]))]},
            "PipelineValidationFailed",
            'operator "isnt" is not recognized',
        ),
        (
            {"tasks": [a_task("a", when=when(input="x", operator="in", values=[]))]},
            "PipelineValidationFailed",
            "non-empty values",
        ),
        ({"tasks": [a_task("a", matrix={})]}, "PipelineValidationFailed", "matrix"),
        ({"tasks": []}, "PipelineValidationFailed", "expected at least one, got none"),
        (
            {"tasks": [], "last": [a_task("z")]},
            "PipelineValidationFailed",
            "spec.tasks is empty but spec.finally has 1 tasks",
        ),
        (
            {"tasks": [a_task("a")], "last": [a_task("a")]},
            "PipelineValidationFailed",
            "expected exactly one, got both: finally[0].name",
        ),
        (
            {"tasks": [a_task("a")], "last": [a_task("z", runAfter=["a"])]},
            "PipelineValidationFailed",
            "no runAfter allowed under spec.finally",
        ),
        (
            {"tasks": [a_task("a")], "results": [{"name": "o", "value": "$(tasks.q.results.r)"}]},
            "PipelineValidationFailed",
            "referencing a nonexistent task: results[0].value",
        ),
        (
            {"tasks": [a_task("a", workspaces=[{"name": "w", "workspace": "nope"}])]},
            "CreateRunFailed",
            'expected workspace "nope" to be provided by pipelinerun for pipeline task "a"',
        ),
        (
            {
                "tasks": [a_task("a")],
                "params": [{"name": "p", "type": "string", "enum": ["a", "b"]}],
                "run_params": [{"name": "p", "value": "c"}],
            },
            "InvalidParamValue",
            "param `p` value: (1 bytes, not shown) is not in the enum list",
        ),
    ],
)
def test_what_cannot_be_run_ends_by_name_before_anything_is_made(spec, reason, said):
    world = World(*spec.pop("tasks"), **spec)
    world.step()
    assert world.told[:2] == ("False", reason)
    assert said in world.told[2]
    if reason == "PipelineValidationFailed":
        assert world.told[2].startswith(
            "[User error] Pipeline default/p can't be Run; it has an invalid spec: "
        )
    assert world.made == []


def test_a_task_that_is_not_given_what_it_needs_ends_the_run():
    task = a_task("a")
    task["taskSpec"]["params"] = [{"name": "x", "type": "string"}]
    world = World(task)
    world.step()
    assert world.told[:2] == ("False", "PipelineValidationFailed")
    assert world.told[2] == (
        "[User error] Validation failed for pipelinerun p with error invalid input params for task : missing "
        "values for these params which have no default values: [x]"
    )
    assert world.made == []


def test_a_workspace_that_is_optional_need_not_be_bound():
    workspaces = [{"name": "w", "optional": True}]
    world = World(a_task("a", workspaces=[{"name": "w"}]), workspaces=workspaces)
    world.step()
    assert world.made == ["a"]


# What people find a run by.


def test_a_run_gets_the_labels_of_its_pipeline_and_hands_them_on():
    world = World(a_task("a"))
    world.step()
    assert world.run["metadata"]["labels"] == {"tekton.dev/pipeline": "p"}
    named = World(run_pipelineRef={"name": "named"})
    labels, last = {"team": "x", "own": "pipeline"}, "kubectl.kubernetes.io/last-applied-configuration"
    metadata = {
        "name": "named",
        "namespace": "default",
        "labels": labels,
        "annotations": {"n": "1", last: ""},
    }
    pipeline = {"apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": metadata}
    named.store.create(PIPELINES, {**pipeline, "spec": {"tasks": [a_task("a")]}})
    patch = {"metadata": {"labels": {"own": "run"}}, "spec": {"pipelineSpec": None}}
    Store.patch(named.store, PIPELINERUNS, "default", "p", patch)
    named.step()
    marked = named.run["metadata"]
    assert marked["labels"] == {"team": "x", "own": "run", "tekton.dev/pipeline": "named"}
    assert marked["annotations"] == {"n": "1"}
    made = named.taskrun("a")["metadata"]
    assert marked["labels"].items() <= made["labels"].items()
    assert made["annotations"] == {"n": "1"}


class Strict(Counting):
    """A server on which the role of an earlier version is in force."""

    def patch(self, kind, namespace, name, patch, *, subresource=""):
        if kind == PIPELINERUNS and not subresource:
            raise ForbiddenError("may not patch pipelineruns")
        return super().patch(kind, namespace, name, patch, subresource=subresource)


def test_a_run_that_may_not_be_labelled_runs(caplog):
    strict, world = Strict(), World(a_task("a"))
    strict.create(PIPELINERUNS, {**world.run, "metadata": {"name": "p", "namespace": "default"}})
    world.store = strict
    world.start()
    world.step()
    assert world.made == ["a"]
    assert "gets no labels: may not patch pipelineruns" in caplog.text


def test_finally_begins_with_the_end_of_the_others_even_if_none_of_its_tasks_runs():
    never = when(input="x", operator="in", values=["y"])
    world = World(a_task("a"), last=(a_task("z", when=never),))
    world.step()
    assert "finallyStartTime" not in world.status
    world.end("a")
    world.step()
    assert world.status["finallyStartTime"]


def test_a_condition_that_stays_keeps_its_time():
    world = World(a_task("a"), a_task("b"), a_task("c", runAfter=["a"]))
    world.step()
    before = world.status["conditions"][0]
    world.step(60)
    patch = {"status": {"childReferences": []}}
    Store.patch(world.store, PIPELINERUNS, "default", "p", patch, subresource="status")
    world.step(60)
    assert world.status["childReferences"]
    assert world.status["conditions"][0] == before
