"""PipelineRuns by the controller as a whole process: results pass on long after their TaskRun was done."""

from resultsfw.cluster import EVENTS
from resultsfw.controller.controller import slim_taskrun
from resultsfw.tekton.kinds import PIPELINERUNS, TASKRUNS

MINE = "resultsfw.dev/controller"


def a_task(name, *of, **fields):
    results = [{"name": "digest", "type": "string"}]
    spec = {"results": results, "steps": [{"name": "build", "image": "i", "script": "true"}]}
    params = [{"name": one, "value": f"$(tasks.{one}.results.digest)"} for one in of]
    return {"name": name, "taskSpec": spec, **({"params": params} if params else {}), **fields}


def test_results_pass_on_from_tasks_that_were_done_some_time_ago(room):
    process = room.start("--no-leader-elect")
    tasks = [a_task("a"), a_task("b", "a"), a_task("c", "a", "b")]
    results = [{"name": "first", "value": "$(tasks.a.results.digest)"}]
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "p", "namespace": "runs"},
        "spec": {"managedBy": MINE, "pipelineSpec": {"tasks": tasks, "results": results}},
    }
    room.store.create(PIPELINERUNS, run)

    def status():
        return room.store.get(PIPELINERUNS, "runs", "p").get("status", {})

    room.until(lambda: "completionTime" in status())
    assert status()["conditions"][0]["reason"] == "Succeeded", status()
    assert status()["results"] == [{"name": "first", "value": "p-a-pod"}]
    params = room.store.get(TASKRUNS, "runs", "p-c")["spec"]["params"]
    assert params == [{"name": "a", "value": "p-a-pod"}, {"name": "b", "value": "p-b-pod"}]
    _told_once(room, process)


def _told_once(room, process):
    """Each stage as an Event of its own, and the whole in the metrics."""

    def told():
        found = room.store.list(EVENTS, "runs")
        about = [one for one in found if one["involvedObject"]["kind"] == "PipelineRun"]
        return sorted((one["reason"], one["message"]) for one in about)

    stages = [
        ("Running", f"Tasks Completed: {done} (Failed: 0, Cancelled 0), Incomplete: {3 - done}, Skipped: 0")
        for done in range(3)
    ]
    end = ("Succeeded", "Tasks Completed: 3 (Failed: 0, Cancelled 0), Skipped: 0")
    expected = sorted([("Started", ""), *stages, end])
    room.until(lambda: len(told()) >= len(expected))
    assert told() == expected
    room.until(lambda: "resultsfw_running_pipelineruns 0.0" in process.page("/metrics")[1])
    text = process.page("/metrics")[1]
    assert 'resultsfw_pipelinerun_total{outcome="succeeded",reason="Succeeded"} 1.0' in text
    assert 'resultsfw_pipelinerun_duration_seconds_count{outcome="succeeded"} 1.0' in text
    assert 'resultsfw_pipelinerun_reconciles_total{result="done"}' in text
    assert "resultsfw_pipelinerun_queue_depth 0.0" in text


def test_what_is_kept_of_a_taskrun_that_is_over_says_by_which_backends_its_attempts_went():
    """Without it, what earlier attempts left outside would stay until the run is deleted."""
    provenance = {"featureFlags": {"resultExtractionMethod": "http"}}
    done = {"type": "Succeeded", "status": "True"}
    status = {
        "conditions": [done],
        "retriesStatus": [{"provenance": provenance, "steps": [1]}, {"steps": [2]}],
    }
    kept = slim_taskrun({"metadata": {"name": "r"}, "spec": {}, "status": status})
    assert kept["status"]["retriesStatus"] == [{"provenance": provenance}, {}]
