"""The metrics of the controller."""

from resultsfw.controller.metrics import Metrics
from resultsfw.types import CollectionOutcome, Problem, ProblemCode, Result


def taskrun(status="True", reason="Succeeded", *, backend="sidecar-logs", pod="r-pod"):
    annotations = {"resultsfw.dev/stamp": f"{backend}/1"} if backend else {}
    condition = {"type": "Succeeded", "status": status, "reason": reason}
    return {
        "metadata": {"name": "r", "namespace": "n", "annotations": annotations},
        "status": {"conditions": [condition], "podName": pod},
    }


UNKNOWN = {"status": "Unknown"}


def lines(metrics):
    return {line for line in metrics.text().decode().splitlines() if not line.startswith("#")}


def test_finished_taskruns_are_counted_by_backend_and_outcome():
    metrics = Metrics(["sidecar-logs"])
    metrics.on_taskrun_condition(UNKNOWN, taskrun())
    metrics.on_taskrun_condition(UNKNOWN, taskrun("False", "StepFailed"))
    metrics.on_taskrun_condition({}, taskrun("Unknown", "Pending"))
    metrics.on_taskrun_condition({"status": "True"}, taskrun())
    text = lines(metrics)
    assert 'resultsfw_runs_total{backend="sidecar-logs",outcome="succeeded",reason="Succeeded"} 1.0' in text
    assert 'resultsfw_runs_total{backend="sidecar-logs",outcome="failed",reason="StepFailed"} 1.0' in text


def test_a_run_that_fails_before_its_pod_is_counted_as_refused():
    metrics = Metrics([])
    refused = taskrun("False", "TaskRunValidationFailed", backend="", pod="")
    metrics.on_taskrun_condition({}, refused)
    metrics.on_taskrun_condition(
        UNKNOWN, taskrun("False", "TaskRunValidationFailed", backend="")
    )  # a result's type
    assert 'resultsfw_runs_refused_total{reason="TaskRunValidationFailed"} 1.0' in lines(metrics)


def test_an_unknown_backend_in_an_annotation_makes_no_series():
    metrics = Metrics(["sidecar-logs"])
    for number in range(50):
        metrics.on_taskrun_condition(UNKNOWN, taskrun(backend=f"made-up-{number}"))
    assert len([line for line in lines(metrics) if line.startswith("resultsfw_runs_total")]) == 1


def test_an_extraction_counts_bytes_seconds_and_problems():
    metrics = Metrics(["sidecar-logs"])
    one = Result(name="a", type="string", value="xyz", size=3, source="s")
    problem = Problem(code=ProblemCode.RESULT_TOO_LARGE, message="m")
    collected = CollectionOutcome(results=(one,), step_results={"s": (one,)}, problems=(problem,))
    metrics.on_extraction("sidecar-logs", collected, 0.02)
    text = lines(metrics)
    assert 'resultsfw_result_bytes_total{backend="sidecar-logs"} 6.0' in text
    assert 'resultsfw_results_refused_total{reason="ResultTooLarge"} 1.0' in text
    assert 'resultsfw_extraction_seconds_bucket{backend="sidecar-logs",le="0.025"} 1.0' in text
    assert 'resultsfw_extraction_seconds_bucket{backend="sidecar-logs",le="0.01"} 0.0' in text


def test_all_other_metrics_exist():
    metrics = Metrics([])
    metrics.watch_depth(lambda: 7)
    metrics.watch_restarts.labels("pods").inc()
    text = lines(metrics)
    assert "resultsfw_queue_depth 7.0" in text
    assert 'resultsfw_watch_restarts_total{kind="pods"} 1.0' in text
    assert "resultsfw_is_leader 0.0" in text
    assert "resultsfw_flags_reload_failures_total 0.0" in text
    assert "resultsfw_queue_retries_total 0.0" in text
    assert any(line.startswith("resultsfw_build_info{") for line in text)
    assert any(line.startswith("process_resident_memory_bytes") for line in text)


def test_two_metrics_objects_have_separate_registries():
    one, other = Metrics([]), Metrics([])
    one.retries.inc()
    assert "resultsfw_queue_retries_total 0.0" in lines(other)


def test_finished_pipelineruns_are_counted_and_timed():
    def ended(status, reason):
        condition = {"type": "Succeeded", "status": status, "reason": reason}
        times = {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:20Z"}
        return {"metadata": {"name": "p"}, "status": {"conditions": [condition], **times}}

    metrics = Metrics([])
    metrics.on_pipelinerun_condition(UNKNOWN, ended("True", "Completed"))
    metrics.on_pipelinerun_condition(UNKNOWN, ended("False", "Cancelled"))
    metrics.on_pipelinerun_condition({"status": "False"}, ended("False", "Cancelled"))
    metrics.on_pipelinerun_condition({}, ended("Unknown", "Running"))
    metrics.watch_pipelineruns(lambda: 3, lambda: 5)
    for result in ("done", "retry"):
        metrics.count_pipelinerun_reconcile(result)
    text = lines(metrics)
    assert 'resultsfw_pipelinerun_total{outcome="succeeded",reason="Completed"} 1.0' in text
    assert 'resultsfw_pipelinerun_total{outcome="failed",reason="Cancelled"} 1.0' in text
    assert 'resultsfw_pipelinerun_duration_seconds_sum{outcome="failed"} 20.0' in text
    assert "resultsfw_pipelinerun_queue_depth 3.0" in text
    assert "resultsfw_running_pipelineruns 5.0" in text
    assert 'resultsfw_pipelinerun_reconciles_total{result="retry"} 1.0' in text
    assert "resultsfw_queue_retries_total 1.0" in text
