"""PipelineRuns by the controller as a whole process: results pass on long after their TaskRun was done."""

from resultsfw.controller.controller import slim_taskrun
from resultsfw.tekton.kinds import PIPELINERUNS, TASKRUNS

MINE = "resultsfw.dev/controller"


def a_task(name, *of, **fields):
    results = [{"name": "digest", "type": "string"}]
    spec = {"results": results, "steps": [{"name": "build", "image": "i", "script": "true"}]}
    params = [{"name": one, "value": f"$(tasks.{one}.results.digest)"} for one in of]
    return {"name": name, "taskSpec": spec, **({"params": params} if params else {}), **fields}


def test_results_pass_on_from_tasks_that_were_done_some_time_ago(room):
    room.start("--no-leader-elect")
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
