"""Provenance of artifacts: parsed and merged as by Tekton, within the limits of results, never lost."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import ARTIFACTS, ExtractedResult, Extraction, Limits, ProblemCode, Reference, Run, Step
from resultsfw.artifacts import artifact_values
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.provenance import MalformedArtifactsError, merge_artifacts, parse_artifacts
from resultsfw.status import build_outcome, status_patch

RUN = Run(
    namespace="n",
    name="r",
    uid="u",
    artifacts=True,
    steps=(Step(name="a", container="step-a", artifacts=True), Step(name="b", container="step-b")),
)
LIMITS = Limits(result_bytes=200, run_bytes=500)
DOCUMENT = {"outputs": [{"name": "image", "values": [{"uri": "u"}]}]}
TEXT = json.dumps(DOCUMENT)


def found(value, step=None):
    return ExtractedResult(name=ARTIFACTS, value=value, step=step, source="here")


def outcome(*results, limits=LIMITS, run=RUN):
    return build_outcome(run, Extraction(results=results), limits)


def status_of(collected, now="2026-11-28T00:00:00Z"):
    taskrun = {"metadata": {"name": "r", "resourceVersion": "1"}, "status": {}}
    given = {"steps": [{"name": "a", "container": "step-a"}], "artifacts": {}}
    return status_patch(collected, taskrun, now=now, status=given)["status"]


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("null", {}),
        ("{}", {}),
        (' {"outputs": null, "more": [1]} ', {}),
        (
            '{"Outputs": [{"NAME": "n", "values": [{"URI": "x", "digest": {"sha256": null}}], "x": 1}]}',
            {"outputs": [{"name": "n", "values": [{"digest": {"sha256": ""}, "uri": "x"}]}]},
        ),
        ('{"outputs": [{"name": "n", "values": []}, null]}', {"outputs": [{"name": "n"}, {}]}),
        (
            '{"inputs": [{"name": "\\ud800", "buildOutput": true}]}',
            {"inputs": [{"name": "\ufffd", "buildOutput": True}]},
        ),
    ],
)
def test_a_document_is_decoded_as_go_does(text, document):
    """Captured from Tekton's controller, but for the surrogate."""
    assert parse_artifacts(text) == document


@pytest.mark.parametrize(
    "text",
    [
        *("", "{bad", "[]", "1", '"x"', "{} {}", '{"a": NaN}', "[" * 100_000, "9" * 5000),
        *('{"outputs": "x"}', '{"outputs": ["x"]}', '{"outputs": [{"name": 1}]}', '{"inputs": {}}'),
        *('{"inputs": [{"values": {}}]}', '{"inputs": [{"values": [1]}]}'),
        *('{"inputs": [{"values": [{"digest": []}]}]}', '{"inputs": [{"buildOutput": "true"}]}'),
    ],
)
def test_malformed_provenance_succeeds_as_in_tekton_and_is_named(text):
    with pytest.raises(MalformedArtifactsError):
        parse_artifacts(text)
    collected = outcome(found(text, "a"), found(TEXT), limits=Limits(result_bytes=10**6, run_bytes=10**6))
    status = status_of(collected)
    assert collected.ok
    assert status["artifacts"] == DOCUMENT
    assert status["conditions"][0]["reason"] == "Succeeded"
    assert 'artifacts of Step "a" left out' in status["conditions"][0]["message"]
    assert len(status["conditions"][0]["message"]) < 300


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda s: (
            st.lists(s)
            | st.dictionaries(st.sampled_from(["name", "values", "uri", "digest", "inputs", "outputs"]), s)
        ),
    )
)
def test_any_json_is_parsed_or_malformed_and_what_is_parsed_is_stable(value):
    try:
        document = parse_artifacts(json.dumps(value))
    except MalformedArtifactsError:
        return
    assert parse_artifacts(json.dumps(document)) == document
    assert merge_artifacts([merge_artifacts([document])]) == merge_artifacts([document])


def test_artifacts_of_steps_and_of_the_task_are_merged_by_name():
    first = {"inputs": [{"name": "src", "buildOutput": True, "values": [{"uri": "s"}]}], **DOCUMENT}
    second = {
        "outputs": [
            {"name": "image", "buildOutput": True, "values": [{"uri": "u"}, {"uri": "v"}]},
            {"name": "log"},
        ]
    }
    collected = outcome(
        found(json.dumps(first), "a"), found(json.dumps(second), "b"), found(TEXT), found(TEXT)
    )
    status = status_of(collected)
    assert status["artifacts"] == {
        "inputs": [{"name": "src", "values": [{"uri": "s"}]}],
        "outputs": [
            {"name": "image", "buildOutput": True, "values": [{"uri": "u"}, {"uri": "v"}]},
            {"name": "log"},
        ],
    }
    assert status["steps"][0]["inputs"] == first["inputs"]
    assert status["steps"][1] == {"name": "b", **second}


def test_what_several_steps_wrote_for_their_task_is_merged():
    """Tekton reads the file after each Step: one writes inputs to it, the next outputs over them."""
    collected = outcome(found('{"inputs": [{"name": "i"}]}'), found(TEXT))
    assert status_of(collected)["artifacts"] == {"inputs": [{"name": "i"}], **DOCUMENT}


@pytest.mark.parametrize(
    ("results", "code", "says"),
    [
        (
            [found("x" * 201, "a")],
            ProblemCode.RESULT_TOO_LARGE,
            'artifacts of Step "a" has 201 bytes, over the',
        ),
        ([found(" " * 150 + str(n), "a") for n in range(4)], ProblemCode.RUN_TOO_LARGE, "604 bytes"),
        ([found("\ud800", "a")], ProblemCode.NOT_UTF8, 'artifacts of Step "a"'),
        (
            [found(Reference(backend="x", location="l", size=1, digest="sha256:" + "0" * 64))],
            ProblemCode.TRANSPORT_CORRUPT,
            "arrived as a reference",
        ),
    ],
)
def test_limits_of_results_hold_for_provenance(results, code, says):
    collected = outcome(*results)
    assert [problem.code for problem in collected.problems] == [code]
    assert says in collected.problems[0].message


def test_artifacts_of_a_step_that_the_run_has_not_are_ignored_and_named():
    assert outcome(found(TEXT, "z")).ignored == (f"z.{ARTIFACTS}",)


def test_artifacts_that_the_object_cannot_hold_are_left_out_and_named():
    text = json.dumps({"outputs": [{"name": "n", "values": [{"uri": "x" * 1_000_000}]}]})
    whole = Limits(result_bytes=OBJECT_BYTES, run_bytes=OBJECT_BYTES)
    status = status_of(outcome(found(text, "a"), limits=whole))
    assert object_size(status) < OBJECT_BYTES
    assert status["artifacts"] == {}
    assert status["conditions"][0]["reason"] == "ObjectTooLarge"
    assert f'left out: "a.{ARTIFACTS}"' in status["conditions"][0]["message"]


@pytest.mark.parametrize(
    ("artifact", "text"),
    [
        ({"name": "n"}, "null"),
        (
            {"values": [{"digest": {"a": "1"}, "uri": "<&>"}]},
            r'[{"digest":{"a":"1"},"uri":"\u003c\u0026\u003e"}]',
        ),
    ],
)
def test_values_are_printed_as_go_prints_them(artifact, text):
    assert artifact_values(artifact) == text
