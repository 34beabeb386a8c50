"""PipelineRuns as Tekton ended them, and ours from the same TaskRuns, CustomRuns and child PipelineRuns."""

import pytest
from captured_runs import CHILD_NAMES, NAMES, CapturedRun, bare, load, plain, without_nested_skips

from resultsfw.tekton.pipelinerun.children import kind_of_reference


@pytest.mark.parametrize("name", [*NAMES, *CHILD_NAMES])
def test_the_status_equals_tektons(name):
    capture = load(name)
    run = CapturedRun(capture)
    theirs = without_nested_skips(plain(capture["tekton_final"]["status"]))
    assert plain(run.play()) == theirs
    assert run.theirs.keys() == run.made.keys()


@pytest.mark.parametrize("name", [*NAMES, *CHILD_NAMES])
def test_the_children_equal_tektons(name):
    capture = load(name)
    run = CapturedRun(capture)
    run.play()
    for which, theirs in run.theirs.items():
        ours = run.made[which]
        labels = dict(theirs["metadata"]["labels"])
        labels.pop("app.kubernetes.io/managed-by", None)  # decision 0006
        labels["tekton.dev/pipelineRunUID"] = run.pipelinerun["metadata"]["uid"]
        inherited = _inherited(capture, theirs)
        assert ours["metadata"]["labels"] == {
            key: value for key, value in labels.items() if key not in inherited
        }
        wanted = {
            key: value
            for key, value in theirs["metadata"].get("annotations", {}).items()
            if "/release" not in key and key not in inherited
        }
        assert ours["metadata"].get("annotations", {}) == wanted
        (owner,) = ours["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("PipelineRun", capture["name"])
        assert not owner["controller"]  # decision 0006
        if kind_of_reference(theirs).kind == "TaskRun":
            assert ours["spec"].get("params") == theirs["spec"].get("params")
            assert bare(ours["spec"].get("taskSpec")) == bare(theirs["spec"].get("taskSpec"))
        else:
            # A default of Tekton's webhook; and what asked the child to end came later.
            left = {"timeouts", "status", "statusMessage"}
            given = {key: value for key, value in theirs["spec"].items() if key not in left}
            assert bare(ours["spec"]) == bare(given)


def _inherited(capture, child):
    """Return labels and annotations that a child PipelineRun got from its own Pipeline when it began."""
    name = child["spec"].get("pipelineRef", {}).get("name")
    own = [
        pipeline["metadata"]
        for pipeline in capture.get("pipelines", ())
        if pipeline["metadata"]["name"] == name
    ]
    return {key for metadata in own for part in ("labels", "annotations") for key in metadata.get(part, {})}
