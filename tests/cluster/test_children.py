"""Captured PipelineRuns with custom tasks and Pipelines in Pipelines live: as Tekton ended them.

The test plays the controller of the custom tasks: each CustomRun ends as it did under Tekton.
"""

from captured_runs import CHILD_NAMES, load, plain, without_nested_skips

from resultsfw.errors import ConflictError, NotFoundError
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import CUSTOMRUNS, PIPELINERUNS, PIPELINES


def test_every_captured_pipelinerun_with_other_children(make_place):
    place = make_place()
    place.flags(results_from="termination-message")
    place.start("--no-leader-elect")
    captures = {capture["name"]: capture for capture in map(load, CHILD_NAMES)}
    for capture in captures.values():
        _submit(place, capture)
    finals = {}

    def is_over():
        try:
            _end_customruns(place, captures.values())
            runs = {run["metadata"]["name"]: run for run in place.server.list(PIPELINERUNS, place.namespace)}
            _cancel(place, captures, runs)
        except (ConflictError, NotFoundError):
            return False
        finals.update(runs)
        return all(map(is_done, runs.values()))

    place.until(is_over, 300)
    for name, capture in captures.items():
        final = without_nested_skips(plain(capture["tekton_final"]["status"]))
        assert plain(finals[name]["status"]) == final, name
    place.assert_none_doubled()


def _submit(place, capture):
    """Create a captured run, and the Pipelines that it names."""
    for pipeline in capture.get("pipelines", ()):
        pipeline["metadata"]["namespace"] = place.namespace
        place.server.create(PIPELINES, pipeline)
    run = capture["pipelinerun"]
    run["metadata"]["namespace"] = place.namespace
    run["spec"]["managedBy"] = place.managed_by
    place.server.create(PIPELINERUNS, run)


def _end_customruns(place, captures):
    """End each CustomRun as it ended under Tekton; one that was cancelled there, once it is asked to end."""
    theirs = {child["metadata"]["name"]: child for one in captures for child in one["tekton_taskruns"]}
    for child in place.server.list(CUSTOMRUNS, place.namespace):
        status = theirs[child["metadata"]["name"]]["status"]
        waits = status["conditions"][0]["reason"] == "CustomRunCancelled" and not child["spec"].get("status")
        if not is_done(child) and not waits:
            name = child["metadata"]["name"]
            place.server.patch(CUSTOMRUNS, place.namespace, name, {"status": status}, subresource="status")


def _cancel(place, captures, runs):
    """Cancel the runs that were cancelled under Tekton, once they have children."""
    for name, capture in captures.items():
        children = runs[name].get("status", {}).get("childReferences")
        if "patch" in capture and children and not runs[name]["spec"].get("status"):
            place.server.patch(PIPELINERUNS, place.namespace, name, {"spec": capture["patch"]})
