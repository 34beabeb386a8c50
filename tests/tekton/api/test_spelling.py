"""Field names in another case: taken and noted, as Go's decoder takes them."""

import copy

import pytest
from document_shapes import SHAPES
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.errors import InputError
from resultsfw.tekton.api.spelling import correct_case


def task(spec):
    return {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"Name": "t"}, "spec": spec}


def test_names_of_tekton_and_of_kubernetes_are_corrected_and_noted():
    """``mountpath`` is in Tekton's own example of isolated workspaces."""
    document = task(
        {
            "Steps": [
                {
                    "image": "i",
                    "WORKINGDIR": "/w",
                    "workspaces": [{"name": "w", "mountpath": "/x"}],
                    "volumemounts": [{"name": "v", "mountpath": "/y", "wrong": 1}],
                    "env": [{"name": "mountpath", "valuefrom": {"configmapkeyref": {"key": "Key"}}}],
                }
            ],
            "params": [{"name": "p", "default": {"mountpath": "data, not a field"}}],
        }
    )
    before = copy.deepcopy(document)
    corrected, notes = correct_case(document)
    assert document == before
    assert corrected["spec"] == {
        "steps": [
            {
                "image": "i",
                "workingDir": "/w",
                "workspaces": [{"name": "w", "mountPath": "/x"}],
                "volumeMounts": [{"name": "v", "mountPath": "/y", "wrong": 1}],
                "env": [{"name": "mountpath", "valueFrom": {"configMapKeyRef": {"key": "Key"}}}],
            }
        ],
        "params": [{"name": "p", "default": {"mountpath": "data, not a field"}}],
    }
    assert notes[0] == "spec.Steps: read as steps, the correct spelling"
    assert [note.partition(":")[0] for note in notes[1:4]] == [
        "spec.steps[0].WORKINGDIR",
        "spec.steps[0].workspaces[0].mountpath",
        "spec.steps[0].volumemounts",
    ]
    assert len(notes) == 7


def test_a_field_in_two_cases_is_refused_by_the_wrong_name():
    with pytest.raises(InputError, match="image is given as well") as caught:
        correct_case(task({"steps": [{"image": "i", "Image": "j"}]}))
    assert caught.value.subject == "spec.steps[0].Image"
    with pytest.raises(InputError, match="image is given as well"):
        correct_case(task({"steps": [{"IMAGE": "i", "Image": "j"}]}))


@given(st.sampled_from(["Task", "TaskRun", "Pipeline", "PipelineRun", "Pod"]), SHAPES)
def test_documents_with_right_names_stay_as_they_are(kind, spec):
    document = {"kind": kind, "spec": spec}
    assert correct_case(document) == (document, ())
