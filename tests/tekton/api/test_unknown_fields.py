"""Fields that Kubernetes' own structures do not have."""

import pytest
from document_shapes import SHAPES
from hypothesis import given

from resultsfw.tekton.api.fields import ROOTS
from resultsfw.tekton.api.unknown import unknown_fields

STEP = {"name": "s", "image": "i", "script": "true"}


def document(kind="TaskRun", **spec):
    return {"apiVersion": "tekton.dev/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"steps": [{**STEP, "env": [{"nmae": "A"}]}]}, "steps[0].env[0].nmae: no field of Kubernetes"),
        ({"steps": [{**STEP, "securityContext": {"runAsUsr": 1}}]}, 'did you mean "runAsUser"?'),
        (
            {"steps": [STEP], "sidecars": [{"readinessProbe": {"httpGet": {"prt": 1}}}]},
            (
                "sidecars[0].readinessProbe.httpGet.prt: no field of Kubernetes that is known here; "
                'did you mean "port"?'
            ),
        ),
    ],
)
def test_a_field_that_kubernetes_does_not_have_is_found_with_the_nearest_name(task, said):
    (line,) = unknown_fields(document("Task", **task))
    assert said in line


def test_every_capture_has_only_known_fields(capture):
    assert list(unknown_fields(capture["taskrun"])) == []


@given(SHAPES)
def test_the_search_for_unknown_fields_never_fails_whatever_the_shape(value):
    for kind in ROOTS:
        list(unknown_fields({"kind": kind, "spec": value}))
