"""Vectors by Tekton's own Go code: ``ConvertFrom`` of v1beta1, ``encoding/json``, SHA-256.

``statuses`` were filled at random by ``sigs.k8s.io/randfill``, ``captures`` are those of this repository.
"""

import contextlib
import gzip
import json
from functools import cache
from pathlib import Path

import captures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.errors import InputError
from resultsfw.signatures.tekton_quantities import canonical_quantity
from resultsfw.signatures.tekton_status import status_hash

VECTORS = Path(__file__).parents[1] / "data" / "signatures" / "tekton_status.json.gz"
FIELDS = [
    "steps",
    "taskSpec",
    "name",
    "value",
    "results",
    "terminated",
    "startedAt",
    "computeResources",
    "limits",
    "cpu",
    "volumes",
    "retriesStatus",
    "timeout",
    "port",
    "httpGet",
    "livenessProbe",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "1m", "a", "\ud800", "1h", "9e9"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=7,
)


@cache
def vectors():
    return json.loads(gzip.decompress(VECTORS.read_bytes()))


def taskrun(status, **annotations):
    return {"metadata": {"annotations": annotations}, "status": status}


@pytest.mark.parametrize("name", captures.names())
def test_the_hash_of_a_captured_status_is_tektons(name):
    assert status_hash(captures.load(name)["tekton_final"]) == vectors()["captures"][name]


def test_the_hash_of_a_random_status_is_tektons():
    for vector in vectors()["statuses"]:
        assert status_hash(taskrun(vector["status"])) == vector["hash"]


def test_a_quantity_is_written_as_go_writes_it_or_refused():
    refused = 0
    for given_text, written in vectors()["quantities"]:
        try:
            assert canonical_quantity(given_text) == (written or "0"), given_text
        except ValueError:
            refused += 1
    assert refused < len(vectors()["quantities"]) / 2


def test_the_order_of_keys_and_fields_without_a_value_change_nothing():
    status = captures.load("tm-retries")["tekton_final"]["status"]
    assert status["retriesStatus"]
    other = {**dict(reversed(status.items())), "sidecars": None, "spanContext": {"a": "b"}, "unknown": 1}
    assert status_hash(taskrun(other)) == status_hash(taskrun(status))


def test_a_changed_value_changes_the_hash():
    status = captures.load("sl-basic")["tekton_final"]["status"]
    before = status_hash(taskrun(status))
    status["results"][0]["value"] += "!"
    assert status_hash(taskrun(status)) != before


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ({"startTime": "2026-01-01T00:00:00.5Z"}, "status.startTime"),
        ({"podName": 1}, "status.podName"),
        ({"steps": {}}, "status.steps"),
        ({"results": [{"name": "a", "value": 1}]}, "status.results[0].value"),
        ({"results": [{"name": "a"}]}, "status.results[0].value"),
        (
            {"taskSpec": {"steps": [{"computeResources": {"limits": {"cpu": "1e3"}}}]}},
            "status.taskSpec.steps[0].computeResources.limits",
        ),
        ({"taskSpec": {"steps": [{"timeout": "soon"}]}}, "status.taskSpec.steps[0].timeout"),
        ({"podName": "\ud800"}, "status"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused_by_name(status, field):
    with pytest.raises(InputError) as refused:
        status_hash(taskrun(status))
    assert refused.value.subject == field


def test_old_fields_that_the_conversion_restores_are_refused():
    with pytest.raises(InputError, match="task-deprecations"):
        status_hash(taskrun({}, **{"tekton.dev/v1beta1.task-deprecations": "{}"}))


@pytest.mark.parametrize(
    "metadata", [None, True, 1.5, "a", [], {"annotations": []}, {"annotations": 1}], ids=str
)
def test_metadata_of_another_type_is_ignored(metadata):
    assert status_hash({"metadata": metadata, "status": {}}) == status_hash(taskrun({}))


@pytest.mark.parametrize("status", [True, 1.5, "a", [1]], ids=str)
def test_a_status_of_another_type_is_refused(status):
    with pytest.raises(InputError):
        status_hash({"status": status})


def test_a_deeply_nested_status_is_refused():
    status = {}
    for _ in range(200):
        status = {"retriesStatus": [status]}
    with pytest.raises(InputError, match="nested"):
        status_hash(taskrun(status))


@given(st.dictionaries(st.sampled_from(["steps", "taskSpec", "results", "podName", "retriesStatus"]), VALUES))
def test_no_status_raises_anything_else(status):
    with contextlib.suppress(InputError):
        assert len(status_hash(taskrun(status))) == 64
