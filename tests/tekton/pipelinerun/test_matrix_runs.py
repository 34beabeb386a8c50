"""Pipeline Tasks with a matrix: their children, results, lengths and names, and what is refused."""

import pytest
from pipelinerun_harness import KilledError, PipelineRunHarness, pipeline_task

from resultsfw.errors import UnavailableError
from resultsfw.limits import OBJECT_CAPACITY
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.kinds import CUSTOMRUNS, PIPELINERUNS, TASKRUNS
from resultsfw.tekton.api.policies import Policies
from resultsfw.tekton.pipelinerun import display_names
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.spec.expansion import Expansion

ALL = "$(tasks.m.results.r[*])"
ENDED = {"conditions": [{"type": "Succeeded", "status": "True", "reason": "Succeeded", "message": ""}]}
RESULT = {"name": "r", "type": "string", "value": "a"}
DYNAMIC = {"params": [{"name": "v", "value": "$(tasks.gen.results.list[*])"}]}


def matrix(*values, name="v"):
    return {"params": [{"name": name, "value": list(values)}]}


def task(name, *, takes=("v",), default=None, results=("r",), **fields):
    """Return a Pipeline Task whose embedded Task takes these params."""
    made = pipeline_task(name, results=results, **fields)
    made["taskSpec"]["params"] = [{"name": param, "default": default} for param in takes]
    return made


def gen(kind="array"):
    made = pipeline_task("gen", results=("list",))
    made["taskSpec"]["results"][0]["type"] = kind
    return made


def param(value, name="v"):
    return [{"name": name, "value": value}]


def taking_all(result="r"):
    made = pipeline_task("use", params=param(f"$(tasks.m.results.{result}[*])"))
    made["taskSpec"]["params"] = [{"name": "v", "type": "array"}]
    return made


def limited(harness, limit):
    policies = Policies(max_combinations=limit)
    harness.reconciler = PipelineReconciler(
        harness.core, harness.store, clock=lambda: harness.now, policies=policies
    )


def children(harness):
    return [
        (child["name"], child.get("displayName", "")) for child in harness.status.get("childReferences") or ()
    ]


def test_each_combination_is_a_child_and_their_results_are_one_array():
    harness = PipelineRunHarness(
        task("m", matrix=matrix("a", "b"), takes=("v", "w"), params=param("W", "w"), timeout="3m", retries=2),
        taking_all(),
        results=[{"name": "all", "value": ALL}],
    )
    harness.reconcile()
    assert harness.taskruns_made == ["m-0", "m-1"]
    made = harness.taskrun("m-1")["spec"]
    assert made["params"] == [{"name": "v", "value": "b"}, {"name": "w", "value": "W"}]
    assert (made["timeout"], made["retries"]) == ("3m", 2)
    harness.finish_task("m-1", r="$(params.v)")
    harness.reconcile()
    assert harness.taskruns_made == ["m-0", "m-1"]
    harness.finish_task("m-0", r="0")
    harness.reconcile()
    assert harness.params_of("use") == {"v": ["0", "$(params.v)"]}
    harness.finish_task("use")
    harness.reconcile()
    assert harness.status["results"] == [{"name": "all", "value": ["0", "$(params.v)"]}]
    assert harness.condition[2].startswith("Tasks Completed: 2 ")


def test_one_combination_has_the_name_of_a_task_without_a_matrix():
    harness = PipelineRunHarness(task("m", matrix=matrix("a")), taking_all())
    harness.reconcile()
    assert harness.taskruns_made == ["m"]
    harness.finish_task("m", r="x")
    harness.reconcile()
    assert harness.params_of("use") == {"v": ["x"]}


def test_results_fan_out_and_none_of_them_skips_the_task():
    harness = PipelineRunHarness(
        gen(),
        task("m", matrix=DYNAMIC),
        task("after", matrix=matrix("$(tasks.m.results.r[*])", "last")),
        last=(task("end", matrix={"params": param([])}),),
    )
    harness.reconcile()
    harness.finish_task("gen", list=["$(tasks.x.results.y)", "b"])
    harness.reconcile()
    assert harness.params_of("m-0") == {"v": "$(tasks.x.results.y)"}
    harness.finish_task("m-0", r="0")
    harness.finish_task("m-1", r="1")
    harness.reconcile()
    assert [harness.params_of(f"after-{number}")["v"] for number in range(3)] == ["0", "1", "last"]

    harness = PipelineRunHarness(
        gen(),
        task("m", matrix=DYNAMIC),
        pipeline_task("next", runAfter=["m"]),
        last=(task("end", matrix={"params": param([])}),),
    )
    harness.reconcile()
    harness.finish_task("gen", list=[])
    harness.reconcile()
    empty = "Matrix Parameters have an empty array"
    assert harness.skipped_tasks == {"m": empty, "next": "Parent Tasks were skipped", "end": empty}
    assert harness.condition[:2] == ("True", "Completed")


def test_a_matrix_whose_value_is_no_array_fails_the_run():
    harness = PipelineRunHarness(gen("string"), task("m", matrix=DYNAMIC))
    harness.reconcile()
    harness.finish_task("gen", list="text")
    harness.reconcile()
    assert harness.condition[:2] == ("False", "InvalidMatrixParameterTypes")
    assert (
        'array only are allowed, but param "v" has type "string" in pipelineTask "m"' in harness.condition[2]
    )


@pytest.mark.parametrize("is_dynamic", [False, True])
def test_a_matrix_over_the_operators_limit_makes_no_child(is_dynamic):
    harness = PipelineRunHarness(gen(), task("m", matrix=DYNAMIC if is_dynamic else matrix("a", "b", "c")))
    limited(harness, 2)
    harness.reconcile()
    if is_dynamic:
        harness.finish_task("gen", list=["a", "b", "c"])
        harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert "expected 0 <= 3 <= 2" in harness.condition[2]
    assert harness.taskruns_made == (["gen"] if is_dynamic else [])


def test_lengths_are_counted_and_waited_for():
    lengths = [
        *param("$(tasks.m.matrix.length)/$(tasks.m.matrix.r.length)", "both"),
        *param("$(tasks.fixed.matrix.length)", "fixed"),
    ]
    harness = PipelineRunHarness(
        gen(),
        task("m", matrix=DYNAMIC, onError="continue"),
        task("fixed", matrix=matrix("a", "b", "c"), runAfter=["early"]),
        task("early", takes=("fixed",), params=[lengths[1]]),
        task("len", takes=("both", "fixed"), params=lengths, displayName="of $(tasks.m.matrix.length)"),
    )
    harness.reconcile()
    assert harness.params_of("early") == {"fixed": "3"}  # what the text says needs no run
    harness.finish_task("gen", list=["a", "b"])
    harness.reconcile()
    assert harness.taskrun("len") is None
    harness.finish_task("m-0", r="x")
    harness.finish_task("m-1", "Failed")
    harness.reconcile()
    assert harness.params_of("len") == {"both": "2/1", "fixed": "3"}
    assert ("p-len", "of 2") in children(harness)


def test_children_are_named_for_people_by_their_params():
    includes = [
        {"name": "one $(params.v)", "params": param("a")},
        {"name": "all", "params": param("W", "w")},
        {"params": param("extra")},
        {"name": "$(params.z)", "params": param("$(tasks.gen.results.list[0])", "z")},
    ]
    harness = PipelineRunHarness(
        gen(),
        task(
            "m",
            takes=("v", "w", "z"),
            default="",
            displayName="see $(params.v) of $(context.pipelineRun.name)",
            matrix={**matrix("a", "b"), "include": includes},
        ),
        task("single", params=param("x"), displayName="see $(params.v)"),
        params=[{"name": "v", "default": "the Pipeline's"}],
    )
    harness.reconcile()
    harness.finish_task("gen", list=["$(params.v)"])
    harness.reconcile()
    named = [
        ("p-m-0", "one a all $(params.v)"),
        ("p-m-1", "all $(params.v)"),
        ("p-m-2", "see extra of p"),
        ("p-single", "see the Pipeline's"),
    ]
    assert children(harness)[1:] == named
    # Of a TaskRun that has ended the controller's cache holds no params.
    harness.finish_task("m-0")
    Store.patch(harness.store, TASKRUNS, "default", "p-m-0", {"spec": {"params": None}})
    harness.reconcile()
    assert children(harness)[1:] == named


def test_params_contexts_and_states_are_put_into_a_matrix():
    values = ["$(params.p)", "$(params.list[*])", "$(context.pipelineTask.retries)"]
    harness = PipelineRunHarness(
        task("m", matrix=matrix(*values), retries=3),
        last=(task("end", matrix=matrix("$(tasks.m.status)", "$(tasks.status)")),),
        params=[{"name": "p", "default": "x"}, {"name": "list", "default": ["y", "z"]}],
    )
    harness.reconcile()
    assert [harness.params_of(f"m-{number}")["v"] for number in range(4)] == ["x", "y", "z", "3"]
    for number in range(4):
        harness.finish_task(f"m-{number}")
    harness.reconcile()
    assert [harness.params_of(f"end-{number}")["v"] for number in range(2)] == ["Succeeded", "Succeeded"]


def test_a_param_of_the_matrix_is_the_tasks_own_and_not_the_pipelines():
    made = task("m", matrix=matrix("a", "b"))
    made["taskSpec"]["steps"][0]["script"] = "echo $(params.v) $(params.p)"
    harness = PipelineRunHarness(
        made,
        params=[{"name": "v", "default": "outer"}, {"name": "p", "default": "inner"}],
        run_taskRunSpecs=[
            {"pipelineTaskName": "m", "podTemplate": {"nodeSelector": {"node": "$(params.v)"}}},
        ],
    )
    harness.reconcile()
    spec = harness.taskrun("m-1")["spec"]
    assert spec["taskSpec"]["steps"][0]["script"] == "echo $(params.v) inner"
    assert spec["podTemplate"] == {"nodeSelector": {"node": "$(params.v)"}}


REFUSED = [
    (
        [task("m", matrix=matrix("a")), task("u", params=param("$(tasks.m.results.r)"))],
        "can only be consumed in aggregate using [*] notation, but is currently set to tasks.m.results.r",
    ),
    (
        [task("m", matrix=matrix("a")), task("u", params=param("x $(tasks.m.results.r[*])"))],
        "tasks.m.results.r[*] is an array, and must be the whole text: tasks[1]",
    ),
    (
        [
            task("m", matrix=matrix("a")),
            pipeline_task("u", when=[{"input": ALL, "operator": "in", "values": ["a"]}]),
        ],
        "an array has its place in values: tasks[1].when.input",
    ),
    (
        [task("m", matrix=matrix("a"), params=param("b"))],
        "expected exactly one, got both: tasks[0].matrix[v], tasks[0].params[v]",
    ),
    (
        [task("m", matrix={"params": param(["a"]) + param(["b"])})],
        'must be unique, the parameter "v" is also defined at: tasks[0].matrix.params[1].name',
    ),
    (
        [task("m", matrix={"include": [{"params": param("a") + param("b")}]})],
        "is also defined at: tasks[0].matrix.include[0].params[1].name",
    ),
    (
        [
            gen() | {"name": "m", "matrix": matrix("a")},
            taking_all("list"),
        ],
        "must have an underlying type string, but result list has type array in pipelineTask m",
    ),
    ([task("m", matrix=matrix("$(params.nothing)"))], "variable $(params.nothing) stands for nothing"),
    (
        [task("m", matrix=matrix("a")), task("u", params=param("$(tasks.u.matrix.length)"))],
        "variable $(tasks.u.matrix.length) stands for nothing",
    ),
    (
        [task("m", matrix=matrix("a", name="w"))],
        "missing values for these params which have no default values: [v]",
    ),
]


@pytest.mark.parametrize(("tasks", "why"), REFUSED, ids=[why[:40] for _, why in REFUSED])
def test_an_invalid_matrix_is_refused_before_there_is_a_child(tasks, why):
    harness = PipelineRunHarness(*tasks)
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed"), harness.condition
    assert why in harness.condition[2]
    assert not harness.taskruns_made


def test_a_failed_combination_fails_the_task_when_all_have_ended():
    harness = PipelineRunHarness(task("m", matrix=matrix("a", "b")), pipeline_task("next", runAfter=["m"]))
    harness.reconcile()
    harness.finish_task("m-0", "Failed")
    harness.reconcile()
    assert harness.condition[0] == "Unknown"
    harness.finish_task("m-1")
    harness.reconcile()
    assert harness.condition == ("False", "Failed", "Tasks Completed: 1 (Failed: 1, Cancelled 0), Skipped: 1")


def test_children_that_the_server_does_not_take_now_are_created_later(monkeypatch):
    harness = PipelineRunHarness(gen(), task("m", matrix=DYNAMIC), taking_all())
    harness.reconcile()
    harness.finish_task("gen", list=["a", "b", "c"])
    create = harness.store.create

    def create_two(kind, obj):
        if obj["metadata"]["name"] == "p-m-2":
            raise UnavailableError("not now")
        return create(kind, obj)

    monkeypatch.setattr(harness.store, "create", create_two)
    with pytest.raises(UnavailableError):
        harness.reconcile()
    assert [name for name, _ in children(harness)] == ["p-gen", "p-m-0", "p-m-1"]
    harness.finish_task("m-0", r="0")
    harness.finish_task("m-1", r="1")
    with pytest.raises(UnavailableError):
        harness.reconcile()
    assert harness.condition[0] == "Unknown"
    monkeypatch.undo()
    harness.reconcile()
    assert harness.taskruns_made == ["gen", "m-0", "m-1", "m-2"]
    harness.finish_task("m-2", r="2")
    harness.reconcile()
    assert harness.params_of("use") == {"v": ["0", "1", "2"]}


def test_children_that_no_status_names_are_cancelled_with_the_run():
    harness = PipelineRunHarness(gen(), task("m", matrix=DYNAMIC))
    harness.reconcile()
    harness.finish_task("gen", list=["a", "b", "c"])
    _kill_after_creating(harness, "p-m-1")
    assert harness.taskruns_made == ["gen", "m-0", "m-1"]
    assert [name for name, _ in children(harness)] == ["p-gen"]
    harness.restart_controller()
    harness.request_status("Cancelled")
    harness.reconcile()
    assert harness.condition[:2] == ("False", "Cancelled")
    for name in ("m-0", "m-1"):
        assert harness.taskrun(name)["spec"]["status"] == "TaskRunCancelled"
    assert harness.taskruns_made == ["gen", "m-0", "m-1"]


def _kill_after_creating(harness, name):
    create = harness.store.create

    def killed(kind, obj):
        made = create(kind, obj)
        if obj["metadata"]["name"] == name:
            raise KilledError
        return made

    harness.store.create = killed
    with pytest.raises(KilledError):
        harness.reconcile()
    del harness.store.create


def test_a_batch_counts_children():
    tasks = [task(f"t{number}", matrix=matrix(*"abcdefghij")) for number in range(30)]
    harness = PipelineRunHarness(*tasks)
    assert harness.reconcile() == pytest.approx(0.05)
    assert len(harness.taskruns_made) == 200
    harness.reconcile()
    assert len(harness.taskruns_made) == 300


def test_an_aggregated_array_larger_than_an_object_ends_the_run_naming_it():
    harness = PipelineRunHarness(task("m", matrix=matrix(*"abc")), taking_all(), last=(pipeline_task("end"),))
    harness.reconcile()
    for number in range(3):
        harness.finish_task(f"m-{number}", r="x" * 600_000)
    harness.reconcile()
    harness.finish_task("end")
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    why = f"whose 3 elements have 1800010 bytes together, over the limit of {OBJECT_CAPACITY}"
    assert f'task "use" needs result "r" of task "m", {why}' in harness.condition[2]
    assert why in harness.condition[2]
    assert not [run for run in harness.store.list(TASKRUNS, "default") if run["metadata"]["name"] == "p-use"]


def test_a_chain_of_matrices_takes_no_recursion():
    tasks = [task("t0", matrix=matrix("a"))]
    for number in range(1, 400):
        named = f"$(tasks.t{number - 1}.results.r[*])"
        tasks.append(task(f"t{number}", matrix=matrix(named)))
    harness = PipelineRunHarness(*tasks)
    harness.reconcile()
    first = harness.taskrun("t0")
    ended = {"conditions": [condition("True", "Succeeded", "", harness.now)], "results": [RESULT]}
    for number in range(1, 399):
        metadata = {
            **first["metadata"],
            "name": f"p-t{number}",
            "uid": "",
            "resourceVersion": "",
            "labels": {},
        }
        Store.create(harness.store, TASKRUNS, {**first, "metadata": metadata})
        Store.patch(
            harness.store, TASKRUNS, "default", f"p-t{number}", {"status": ended}, subresource="status"
        )
    harness.finish_task("t0", r="a")
    references = [{"name": f"p-t{number}", "pipelineTaskName": f"t{number}"} for number in range(399)]
    known = {"childReferences": references}
    Store.patch(harness.store, PIPELINERUNS, "default", "p", {"status": known}, subresource="status")
    harness.reconcile()
    assert harness.params_of("t399") == {"v": "a"}


def one_matrix_of_others(**fields):
    values = [*param("$(tasks.a.results.r)", "w"), *param("x", "z")]
    shown = "of $(params.v) $(params.w)"
    return {"name": "m", "matrix": matrix("a", "b"), "params": values, "displayName": shown, **fields}


def runs_of(harness, kind):
    harness.reconcile()
    harness.finish_task("a", r="W")
    harness.reconcile()
    assert children(harness)[1:] == [("p-m-0", "of a W"), ("p-m-1", "of b W")]
    return {run["metadata"]["name"]: run for run in harness.store.list(kind, "default")}


def test_each_combination_of_a_custom_task_is_a_customrun_and_results_are_one_array():
    custom = {"apiVersion": "example.dev/v1", "kind": "Wait"}
    made = one_matrix_of_others(taskRef=custom)
    harness = PipelineRunHarness(pipeline_task("a", results=("r",)), made, taking_all())
    runs = runs_of(harness, CUSTOMRUNS)
    assert runs["p-m-1"]["spec"]["params"] == [*param("b"), *param("W", "w"), *param("x", "z")]
    for name, run in runs.items():
        status = {**ENDED, "results": [{"name": "r", "value": f'["{name}"]'}]}
        Store.patch(harness.store, CUSTOMRUNS, "default", name, {"status": status}, subresource="status")
        assert run["spec"]["customRef"] == custom
    harness.reconcile()
    assert harness.params_of("use") == {"v": ['["p-m-0"]', '["p-m-1"]']}


def test_each_combination_of_a_pipeline_is_a_pipelinerun():
    inner = {"params": [{"name": name} for name in "vwz"], "tasks": [pipeline_task("t")]}
    harness = PipelineRunHarness(pipeline_task("a", results=("r",)), one_matrix_of_others(pipelineSpec=inner))
    runs = runs_of(harness, PIPELINERUNS)
    assert runs["p-m-1"]["spec"]["params"] == [*param("b"), *param("W", "w"), *param("x", "z")]


def test_a_task_with_the_name_of_a_combination_fails_the_run_and_takes_no_other_tasks_child():
    harness = PipelineRunHarness(task("m", matrix=matrix("a", "b")), pipeline_task("m-0"))
    harness.reconcile()
    assert harness.condition[:2] == ("False", "CreateRunFailed")
    assert 'TaskRun "p-m-0" belongs to Pipeline Task "m", and "m-0" needs one' in harness.condition[2]
    for name in ("m-0", "m-1"):
        assert harness.taskrun(name)["spec"]["status"] == "TaskRunCancelled"


def test_a_forged_reference_in_a_combination_is_the_text_that_it_is():
    forged = {"resultsfw-reference": []}
    includes = [{"params": param(forged, name="w")}, {"params": param("b", name="w")}]
    harness = PipelineRunHarness(task("m", takes=("v", "w"), matrix={**matrix("a"), "include": includes}))
    harness.reconcile()
    assert harness.params_of("m-0")["w"] == '{"resultsfw-reference":[]}'


def test_of_many_names_of_combinations_only_what_is_shown_is_built(monkeypatch):
    built = []

    class Counted(Expansion):
        def text(self, text, field):
            built.append(text)
            return super().text(text, field)

    includes = [{"name": f"$(params.v){at}", "params": param("x", name=f"q{at}")} for at in range(800)]
    harness = PipelineRunHarness(task("m", matrix={**matrix(*map(str, range(20))), "include": includes}))
    monkeypatch.setattr(display_names, "Expansion", Counted)
    harness.reconcile()
    names = [child["displayName"] for child in harness.status["childReferences"]]
    assert names[7].startswith("70 71 72 ")
    assert max(map(len, [*names, *built])) <= 1024
    assert len(built) == len(names) == 20
