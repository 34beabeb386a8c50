"""Pipelines of thousands of Tasks: work grows with their number, not its square, and nothing recurses."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resultsfw import Object
from resultsfw.cli.graph.drawing import draw
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.pipelinerun.child_builder import ChildBuilder
from resultsfw.tekton.pipelinerun.dag import CycleError, graph_of
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.pipeline_spec import make_plan
from resultsfw.tekton.pipelinerun.status import child_references, skipped_tasks, verdict
from resultsfw.tekton.pipelinerun.timeouts import times_of

MANY = 4000
START = datetime(2026, 1, 1, tzinfo=UTC)
SPEC: Object = {"results": [{"name": "r"}], "steps": [{"image": "i", "script": "true"}]}
NEVER = [{"input": "a", "operator": "in", "values": ["b"]}]


def _task(number: int, **fields: Any) -> Object:
    return {"name": f"t{number}", "taskSpec": SPEC, **fields}


def _reversed(count: int) -> Object:
    """Each Task waits for the one that is declared behind it."""
    chain = [_task(number, runAfter=[f"t{number + 1}"]) for number in range(count - 1)]
    return {"tasks": [*chain, _task(count - 1)]}


def _forward(count: int) -> Object:
    return {"tasks": [_task(0), *(_task(number, runAfter=[f"t{number - 1}"]) for number in range(1, count))]}


def _by_results(count: int) -> Object:
    def params(number: int) -> list[Object]:
        return [{"name": "p", "value": f"$(tasks.t{number - 1}.results.r)"}]

    return {"tasks": [_task(0), *(_task(number, params=params(number)) for number in range(1, count))]}


def _fan_in(count: int) -> Object:
    return {
        "tasks": [
            _task(0, runAfter=[f"t{number}" for number in range(1, count)]),
            *map(_task, range(1, count)),
        ]
    }


def _fan_out(count: int) -> Object:
    return {"tasks": [_task(0), *(_task(number, runAfter=["t0"]) for number in range(1, count))]}


def _skipped_chain(count: int) -> Object:
    """The first is left out by its ``when``, the second for the result it lacks, and all others for that."""
    spec = _by_results(count)
    spec["tasks"][0]["when"] = NEVER
    return spec


def _wide_finally(count: int) -> Object:
    when = [{"input": "$(tasks.status)", "operator": "in", "values": ["Succeeded", "Failed", "None"]}]
    half = count // 2
    return {"tasks": [*map(_task, range(half))], "finally": [_task(n, when=when) for n in range(half, count)]}


SHAPES = [_reversed, _forward, _by_results, _fan_in, _fan_out, _skipped_chain, _wide_finally]


def _nothing(_name: str, _number: int) -> str:
    return ""


def _all(_name: str, _number: int) -> str:
    return "True"


def _one_failed(_name: str, number: int) -> str:
    return "False" if number == 0 else "True" if number % 3 else ""


STATES = [_nothing, _all, _one_failed]


def _look(spec: Object, state: Callable[[str, int], str], *, seconds: float) -> Facts:
    """What a reconciliation of a PipelineRun works out."""
    tasks = [*spec["tasks"], *spec.get("finally", ())]
    runs = {
        task["name"]: (
            {
                "metadata": {"name": task["name"]},
                "spec": {},
                "status": {
                    "conditions": [condition(ended, "r", "m", START)],
                    "results": [{"name": "r", "value": "v"}],
                },
            },
        )
        for number, task in enumerate(tasks)
        if (ended := state(task["name"], number))
    }
    own = [{"pipelineTaskName": task["name"], "serviceAccountName": "s"} for task in tasks]
    run = {
        "metadata": {"name": "p", "namespace": "d", "uid": "u"},
        "spec": {"pipelineSpec": spec, "taskRunSpecs": own, "timeouts": {"tasks": "20s"}},
        "status": {"startTime": "2026-01-01T00:00:00Z"},
    }
    facts = Facts(make_plan(run, spec, "p"), runs, "", times_of(run, START + timedelta(seconds=seconds)))
    build = ChildBuilder(run).build
    for name in facts.next_tasks():
        list(build(facts, name))
    verdict("p", facts)
    skipped_tasks(facts)
    child_references(facts)
    return facts


def _calls(work: Callable[[], object]) -> int:
    """How many functions are called: a measure of work that is the same on every machine."""
    count = 0

    def seen(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__.strip("_"))
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__.strip("_"))
@pytest.mark.parametrize("seconds", [1, 30], ids=["in time", "late"])
def test_four_times_the_tasks_are_four_times_the_work(shape, state, seconds):
    few, many = (
        _calls(lambda count=count: _look(shape(count), state, seconds=seconds))
        for count in (MANY // 32, MANY // 8)
    )
    assert many < 4 * few * 1.1


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__.strip("_"))
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__.strip("_"))
def test_more_tasks_than_the_stack_is_deep_are_no_recursion(shape, state):
    limit, deep = sys.getrecursionlimit(), len(inspect.stack(0))
    count = 600
    sys.setrecursionlimit(deep + count // 2)
    try:
        facts = _look(shape(count), state, seconds=30)
    finally:
        sys.setrecursionlimit(limit)
    assert len(facts.tasks) == count


@pytest.mark.slow
def test_a_skipped_task_skips_all_that_depend_on_it():
    facts = _look(_skipped_chain(MANY), _nothing, seconds=1)
    why = {name: facts.skip_reason(name) for name in facts.tasks}
    assert why["t0"] == "When Expressions evaluated to false"
    assert why["t1"] == "Results were missing"
    assert why["t2"] == "Parent Tasks were skipped"
    assert why[f"t{MANY - 1}"] == "Parent Tasks were skipped"


def test_each_task_is_ordered_behind_those_it_waits_for():
    for shape in SHAPES:
        graph = graph_of(shape(200))
        place = {name: number for number, name in enumerate(graph.order)}
        assert len(place) == len(graph.parents)
        assert all(place[parent] < place[name] for name in place for parent in graph.parents[name])


@pytest.mark.slow
def test_a_long_cycle_is_named():
    spec = _reversed(MANY)
    spec["tasks"][-1]["runAfter"] = ["t0"]
    with pytest.raises(CycleError, match='task "t0" depends on "t1"'):
        graph_of(spec)


def test_a_long_pipeline_can_be_drawn():
    spec = _reversed(MANY)
    picture = draw(
        {"metadata": {"name": "p"}, "spec": {"pipelineSpec": spec}, "status": {"pipelineSpec": spec}}, []
    )
    assert picture.count("<rect") > MANY


SCRIPT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
sys.path[:0] = {path!r}
import test_many_tasks as many
for shape in many.SHAPES:
    facts = many._look(shape(6000), many._nothing, seconds=1)
    print(shape.__name__, len(facts.tasks), flush=True)
"""


@pytest.mark.slow
def test_six_thousand_tasks_of_each_shape_take_twenty_seconds_of_the_processor_at_most():
    """Some seconds. What is hidden from counting calls, one call's own work, would show here."""
    script = SCRIPT.format(path=sys.path)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"{shape.__name__} 6000" for shape in SHAPES], done.stderr
