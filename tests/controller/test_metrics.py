"""The metrics of the controller."""

from resultsfw.cluster import Kind
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


class Cache(list):
    """A reflector, as far as it is counted."""

    def __init__(self, resource, objects, unreadable):
        super().__init__(range(objects))
        self.kind = Kind("", "v1", resource, "")
        self.unreadable = dict.fromkeys(range(unreadable))


def lines(metrics):
    return {line for line in metrics.text().decode().splitlines() if not line.startswith("#")}


def test_finished_taskruns_are_counted_by_backend_and_outcome():
    metrics = Metrics(["sidecar-logs"])
    metrics.runs.on_taskrun_condition(UNKNOWN, taskrun())
    metrics.runs.on_taskrun_condition(UNKNOWN, taskrun("False", "StepFailed"))
    metrics.runs.on_taskrun_condition({}, taskrun("Unknown", "Pending"))
    metrics.runs.on_taskrun_condition({"status": "True"}, taskrun())
    text = lines(metrics)
    assert (
        'resultsfw_taskrun_total{backend="sidecar-logs",outcome="succeeded",reason="Succeeded"} 1.0' in text
    )
    assert 'resultsfw_taskrun_total{backend="sidecar-logs",outcome="failed",reason="StepFailed"} 1.0' in text


def test_a_run_that_fails_before_its_pod_is_counted_as_refused():
    metrics = Metrics([])
    refused = taskrun("False", "TaskRunValidationFailed", backend="", pod="")
    metrics.runs.on_taskrun_condition({}, refused)
    metrics.runs.on_taskrun_condition(
        UNKNOWN, taskrun("False", "TaskRunValidationFailed", backend="")
    )  # a result's type
    assert 'resultsfw_taskruns_refused_total{reason="TaskRunValidationFailed"} 1.0' in lines(metrics)


def test_an_unknown_backend_in_an_annotation_makes_no_series():
    metrics = Metrics(["sidecar-logs"])
    for number in range(50):
        metrics.runs.on_taskrun_condition(UNKNOWN, taskrun(backend=f"made-up-{number}"))
    assert len([line for line in lines(metrics) if line.startswith("resultsfw_taskrun_total")]) == 1


def test_an_extraction_counts_bytes_seconds_and_problems():
    metrics = Metrics(["sidecar-logs"])
    one = Result(name="a", type="string", value="xyz", size=3, source="s")
    problem = Problem(code=ProblemCode.RESULT_TOO_LARGE, message="m")
    collected = CollectionOutcome(results=(one,), step_results={"s": (one,)}, problems=(problem,))
    metrics.runs.on_extraction("sidecar-logs", collected, 0.02)
    text = lines(metrics)
    assert 'resultsfw_result_size_bytes_sum{backend="sidecar-logs"} 6.0' in text
    assert 'resultsfw_result_size_bytes_bucket{backend="sidecar-logs",le="64.0"} 2.0' in text
    assert 'resultsfw_results_refused_total{reason="ResultTooLarge"} 1.0' in text
    assert 'resultsfw_extraction_seconds_bucket{backend="sidecar-logs",le="0.025"} 1.0' in text
    assert 'resultsfw_extraction_seconds_bucket{backend="sidecar-logs",le="0.01"} 0.0' in text


def test_all_other_metrics_exist():
    metrics = Metrics([])
    metrics.watch_restarts.labels("pods").inc()
    caches = [Cache("pods", 4, 1), Cache("pods", 3, 0), Cache("taskruns", 2, 0)]
    metrics.watch({}, caches, taskruns=lambda: 3, pipelineruns=lambda: 5)
    text = lines(metrics)
    assert 'resultsfw_watch_restarts_total{resource="pods"} 1.0' in text
    assert 'resultsfw_cached_objects{resource="pods"} 7.0' in text
    assert 'resultsfw_cached_objects{resource="taskruns"} 2.0' in text
    assert "resultsfw_running_taskruns 3.0" in text
    assert "resultsfw_running_pipelineruns 5.0" in text
    assert 'resultsfw_unreadable_objects{resource="pods"} 1.0' in text
    assert "resultsfw_is_leader 0.0" in text
    assert "resultsfw_flags_reload_failures_total 0.0" in text
    assert any(line.startswith("resultsfw_build_info{") for line in text)
    assert any(line.startswith("process_resident_memory_bytes") for line in text)


def test_two_metrics_objects_have_separate_registries():
    first, second = Metrics([]), Metrics([])
    first.events_dropped.inc()
    assert "resultsfw_events_dropped_total 0.0" in lines(second)


def test_taskruns_are_timed_from_their_start_to_their_first_step_and_to_their_end():
    metrics = Metrics([])
    finished = taskrun()
    ends = [{"terminated": {"startedAt": f"2026-01-01T00:00:0{second}Z"}} for second in (7, 4)]
    times = {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:20Z"}
    finished["status"] |= {**times, "steps": [*ends, {"waiting": {}}]}
    metrics.runs.on_taskrun_condition(UNKNOWN, finished)
    metrics.runs.on_taskrun_condition(UNKNOWN, taskrun("False", "StepFailed"))  # no times
    text = lines(metrics)
    assert 'resultsfw_taskrun_duration_seconds_sum{outcome="succeeded"} 20.0' in text
    assert 'resultsfw_taskrun_duration_seconds_bucket{le="30.0",outcome="succeeded"} 1.0' in text
    assert "resultsfw_taskrun_start_latency_seconds_sum 4.0" in text
    assert "resultsfw_taskrun_start_latency_seconds_count 1.0" in text


def test_requests_are_counted_and_timed_by_verb_and_code():
    metrics = Metrics([])
    for code in (200, 200, 409, 0, 987):
        metrics.api.on_request("patch", code, 0.02)
    metrics.api.on_wait(0.3)
    text = lines(metrics)
    assert 'resultsfw_api_requests_total{code="200",verb="patch"} 2.0' in text
    assert 'resultsfw_api_requests_total{code="409",verb="patch"} 1.0' in text
    assert 'resultsfw_api_requests_total{code="0",verb="patch"} 2.0' in text
    assert 'resultsfw_api_request_duration_seconds_bucket{le="0.025",verb="patch"} 5.0' in text
    assert "resultsfw_api_rate_limiter_duration_seconds_sum 0.3" in text


def test_finished_pipelineruns_are_counted_and_timed():
    def ended(status, reason):
        condition = {"type": "Succeeded", "status": status, "reason": reason}
        times = {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:20Z"}
        return {"metadata": {"name": "p"}, "status": {"conditions": [condition], **times}}

    metrics = Metrics([])
    metrics.runs.on_pipelinerun_condition(UNKNOWN, ended("True", "Completed"))
    metrics.runs.on_pipelinerun_condition(UNKNOWN, ended("False", "Cancelled"))
    metrics.runs.on_pipelinerun_condition({"status": "False"}, ended("False", "Cancelled"))
    metrics.runs.on_pipelinerun_condition({}, ended("Unknown", "Running"))
    text = lines(metrics)
    assert 'resultsfw_pipelinerun_total{outcome="succeeded",reason="Completed"} 1.0' in text
    assert 'resultsfw_pipelinerun_total{outcome="failed",reason="Cancelled"} 1.0' in text
    assert 'resultsfw_pipelinerun_duration_seconds_sum{outcome="failed"} 20.0' in text
