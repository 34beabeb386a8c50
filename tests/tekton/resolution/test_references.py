"""References: what is replaced in them, the names of requests, and which forms are refused."""

import base64

import pytest
from document_shapes import SHAPES
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.controller.resolution_requests import trim_request
from resultsfw.errors import InputError
from resultsfw.tekton.api.kinds import STEP_ACTIONS, TASKRUNS, TASKS
from resultsfw.tekton.api.models import validate_taskrun_document
from resultsfw.tekton.api.task_models import is_url
from resultsfw.tekton.resolution.content import document_of
from resultsfw.tekton.resolution.outcomes import ResolutionFailed
from resultsfw.tekton.resolution.references import Reference, reference_of
from resultsfw.tekton.resolution.requests import (
    Requester,
    build_request,
    content_of,
    is_answered,
    ref_source_of,
)
from resultsfw.tekton.spec.expansion import Budget, Expansion, TooLargeError

RUN = {"metadata": {"name": "r", "namespace": "n", "uid": "u"}}
VALUES = st.text() | st.lists(st.text(), max_size=3) | st.dictionaries(st.text(), st.text(), max_size=3)


def expansion(**values):
    return Expansion({f"params.{name}": value for name, value in values.items()}.get, Budget())


def test_params_and_urls_are_replaced_and_a_plain_name_is_not():
    ref = {"resolver": "http", "name": "http://$(params.host)/x", "params": []}
    assert reference_of(ref, TASKS, expansion(host="h"), "ref").name == "http://h/x"
    ref = {
        "resolver": "git",
        "params": [{"name": "a", "value": "$(params.a)"}, {"name": "b", "value": "$(b)"}],
    }
    found = reference_of(ref, TASKS, expansion(a=["1", "2"]), "ref")
    assert [param["value"] for param in found.params] == [["1", "2"], "$(b)"]
    assert reference_of({"name": "$(params.a)"}, TASKS, expansion(a="x"), "ref").name == "$(params.a)"


def test_params_do_not_grow_beyond_an_object():
    ref = {"resolver": "git", "params": [{"name": "a", "value": "$(params.a)" * 3}]}
    with pytest.raises(TooLargeError):
        reference_of(ref, TASKS, expansion(a="x" * 600_000), "ref")


@given(st.lists(st.tuples(st.text(min_size=1), VALUES), max_size=4), st.text())
def test_a_request_has_a_label_for_a_name_whatever_it_asks_for(params, resolver):
    named = [{"name": name, "value": value} for name, value in params]
    request = build_request(Reference(TASKS, "", resolver, named), Requester(RUN, TASKRUNS, "r"))
    name = request["metadata"]["name"]
    assert len(name) <= 63
    assert name.rpartition("-")[0] == resolver[:30]
    again = build_request(Reference(TASKS, "", resolver, named), Requester(RUN, TASKRUNS, "other"))
    assert again["metadata"]["name"] != name


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_a_document_or_refused(text):
    with pytest.raises(ResolutionFailed):
        document_of(text, TASKS)


def test_a_content_larger_than_an_object_is_refused():
    data = base64.b64encode(b"x" * 1_600_000).decode()
    with pytest.raises(ResolutionFailed, match="1600000 bytes, over the limit of 1572864"):
        content_of({"metadata": {"name": "a"}, "status": {"data": data}})


def test_a_source_that_would_take_the_space_of_results_is_refused():
    def source(length):
        return {"metadata": {"name": "a"}, "status": {"refSource": {"uri": "x" * length}}}

    assert ref_source_of(source(32_000))["uri"] == "x" * 32_000
    with pytest.raises(ResolutionFailed, match="over the limit of 32768 bytes"):
        ref_source_of(source(32_768))


@given(SHAPES, SHAPES, SHAPES)
def test_a_request_of_any_shape_is_read_or_refused(spec, status, conditions):
    """Whoever may write a status writes anything: Tekton's CRD checks no shapes."""
    wanted = build_request(Reference(TASKS, "", "git", []), Requester(RUN, TASKRUNS, "r"))
    forms = [spec, {"params": spec}], [status, {"conditions": conditions, "data": status, "refSource": spec}]
    for its_spec in forms[0]:
        for its_status in (*forms[1], {"conditions": [conditions, {"type": "Succeeded", "status": "True"}]}):
            request = {**wanted, "spec": its_spec, "status": its_status}
            trim_request(request)
            try:
                if is_answered(request, wanted):
                    ref_source_of(request)
                    document_of(content_of(request), TASKS)
            except ResolutionFailed:
                pass


def test_only_the_first_document_is_read():
    text = "# a comment\n---\napiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: a}\n---\n}"
    assert document_of(text, TASKS)["metadata"] == {"name": "a"}


def test_older_versions_are_converted():
    task = "apiVersion: tekton.dev/v1beta1\nkind: Task\nmetadata: {name: a}\nspec: {steps: [{resources: {}}]}"
    assert document_of(task, TASKS)["spec"] == {"steps": [{"computeResources": {}}]}
    action = "apiVersion: tekton.dev/v1alpha1\nkind: StepAction\nmetadata: {name: a, ownerReferences: []}"
    assert document_of(action, STEP_ACTIONS)["apiVersion"] == "tekton.dev/v1beta1"
    assert document_of(action, STEP_ACTIONS)["metadata"] == {"name": "a"}


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        ({"name": "a", "resolver": "git"}, "invalid URI for request"),
        ({"name": "http://a", "resolver": "http", "params": [{"name": "a", "value": "b"}]}, "name, params"),
        ({"params": [{"name": "a", "value": "b"}]}, "missing field(s): resolver"),
        ({"name": "http://a"}, "missing field(s): resolver"),
    ],
)
def test_forms_that_tektons_webhook_refuses_are_refused(ref, why):
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "r"},
        "spec": {"taskRef": ref},
    }
    with pytest.raises(InputError) as caught:
        validate_taskrun_document(run)
    assert why in caught.value.message


def test_what_is_a_url_is_tektons_rule():
    assert is_url("https://a")
    assert is_url("git+ssh:/x")
    assert not is_url("a/b:c")
