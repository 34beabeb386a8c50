"""Results by RunResult: what is made before the pod, what is stored, what is believed."""

from hashlib import sha256

import pytest
from configmaps import a_run, bare_pod, values_of
from hypothesis import given, settings
from hypothesis import strategies as st
from written_objects import Life

from resultsfw import ProblemCode, ResultsManager
from resultsfw.errors import BackendError, NotFoundError
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.local.store import Store
from resultsfw_backends import _policies, custom_resource
from resultsfw_backends._api_object import VALUE_BYTES
from resultsfw_backends._record_room import longest_records
from resultsfw_backends.custom_resource import RUN_RESULTS
from resultsfw_transports import run_result

CORE = ResultsManager.from_flags({"results-from": "custom-resource", "max-result-size": "1572864"})
COMPRESS = "compress: true"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)


def test_the_run_result_names_the_pod_and_is_the_runs():
    """Guarantee 8: least privilege. The policy compares spec.podName with the pod's token."""
    life = Life("custom-resource", {"digest": b"d"})
    assert life.object["spec"] == {"podName": "run-pod-0"}
    assert "status" not in life.object
    (owner,) = life.object["metadata"]["ownerReferences"]
    assert owner["uid"] == life.run.uid
    assert "blockOwnerDeletion" not in owner


def test_a_person_reads_values_under_their_results_names():
    life = Life("custom-resource", {"digest": b"sha256:1\n", "bytes": b"\1" * 200})
    message = life.deliver()
    status = life.object["status"]
    assert status["texts"] == {"digest": "sha256:1\n"}
    assert set(status["encoded"]) == {"bytes"}
    assert status["podUid"] == life.pod["metadata"]["uid"]
    assert values_of(life.collect(message)) == {"digest": "sha256:1\n", "bytes": "\1" * 200}
    [(method, path, _)] = life.transport._server.asked
    assert (method, path) == (
        "PATCH",
        f"/apis/resultsfw.dev/v1alpha1/namespaces/default/runresults/{life.name}/status",
    )


@pytest.mark.slow
@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(["a", "b", "c.d", "value-0"]), TEXTS, min_size=1))
def test_any_values_arrive(texts):
    life = Life("custom-resource", {name: text.encode() for name, text in texts.items()})
    collected = life.collect(life.deliver())
    assert (collected.ok, values_of(collected)) == (True, texts)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["x", '"', "<", "\1", "é", "\u2028", "\U0001f680", '"<\1\n'])
def test_a_mebibyte_of_anything_arrives_in_one_object(text):
    """Guarantee 2: the limit counts the value's bytes, however the server stores them."""
    half = VALUE_BYTES // 2
    value = (text * half).encode()[:half].decode(errors="ignore").encode()
    life = Life("custom-resource", {"a": value, "b": value, "c": b"x"})
    collected = life.collect(life.deliver())
    assert object_size(life.object) < OBJECT_BYTES - 100_000
    over = set() if len(value) < half else {"c"}
    assert {problem.result for problem in collected.problems} == over
    assert values_of(collected)["b"] == value.decode()


@pytest.mark.slow
def test_compressed_values_count_as_they_are_stored():
    noise = b"".join(sha256(str(number).encode()).hexdigest().encode() for number in range(20_000))
    life = Life("custom-resource", {"a": b"x" * 100_000, "b": noise, "c": noise[:90_000]}, config=COMPRESS)
    collected = life.collect(life.deliver())
    assert (collected.ok, len(values_of(collected)["b"])) == (True, 1_280_000)
    assert object_size(life.object) < 1_200_000
    life = Life("custom-resource", {"a": noise, "b": b"\1" * 100, "c": noise[::-1]}, config=COMPRESS)
    (problem,) = life.collect(life.deliver()).problems
    assert (problem.result, problem.limit) == ("c", 1_572_864)


def test_one_byte_more_is_refused_by_name_with_both_numbers():
    life = Life("custom-resource", {"a": b"x" * VALUE_BYTES, "b": b"y"})
    collected = life.collect(life.deliver())
    (problem,) = collected.problems
    assert (problem.code, problem.result) == (ProblemCode.RUN_TOO_LARGE, "b")
    assert (problem.size, problem.limit) == (VALUE_BYTES + 1, VALUE_BYTES)
    assert set(values_of(collected)) == {"a"}


def test_records_of_as_many_results_as_are_allowed_fit_at_their_longest():
    names = [f"result-{number}" for number in range(200)]
    size = longest_records(a_run(*names), bare_pod(), escaped=True, each=96).total
    assert size <= custom_resource.RECORD_BYTES
    assert custom_resource.RECORD_BYTES + VALUE_BYTES * 4 // 3 < OBJECT_BYTES - 16_384
    store = Store()
    with pytest.raises(BackendError, match=r"declares 1000 results.*a RunResult has room for 150000"):
        CORE.prepare_pod(a_run(*map(str, range(1000))), bare_pod(), cluster=store)
    assert store.list(RUN_RESULTS) == []


@pytest.mark.parametrize(
    "change",
    [
        {"records": "{}"},
        {"texts": {"digest": "forged"}},
        {"texts": None},
        {"texts": [], "encoded": {"digest": "%"}},
        {"texts": None, "encoded": {"digest": "/w=="}},
        None,
    ],
    ids=str,
)
def test_what_is_not_as_the_sidecar_wrote_it_is_never_believed(change):
    life = Life("custom-resource", {"digest": b"real"})
    message = life.deliver()
    life.store.patch(RUN_RESULTS, "default", life.name, {"status": change}, subresource="status")
    collected = life.collect(message)
    assert values_of(collected) == {}
    assert {problem.code for problem in collected.problems} == {ProblemCode.TRANSPORT_CORRUPT}


def test_without_the_digest_nothing_is_believed_and_a_missing_object_is_named():
    life = Life("custom-resource", {"digest": b"real"})
    message = life.deliver()
    (problem,) = life.collect("Undelivered: HTTP 422: denied", 1).problems
    assert "did not write RunResult" in problem.message
    assert "denied" in problem.message
    life.core.purge(life.run, life.pod, life.store)
    (problem,) = life.collect(message).problems
    assert "is not there, though the results sidecar had written it" in problem.message
    life.core.purge(life.run, life.pod, life.store)


def test_another_runs_object_of_that_name_is_refused_and_ones_own_is_taken():
    life = Life("custom-resource", {"digest": b"d"})
    again = Life("custom-resource", {"digest": b"d"}, store=life.store, attempt=1)
    assert {run_result["metadata"]["name"] for run_result in life.store.list(RUN_RESULTS)} == {
        life.name,
        again.name,
    }
    for change in ({"spec": {"podName": "another"}}, {"metadata": {"ownerReferences": []}}):
        store = Store()
        store.create(RUN_RESULTS, {**life.object, **change, "metadata": {"name": life.name}})
        with pytest.raises(BackendError, match="exists and is not of this run's pod"):
            CORE.prepare_pod(life.run, bare_pod(), cluster=store)


def test_a_pod_without_a_name_is_refused():
    pod = bare_pod()
    del pod["metadata"]["name"]
    with pytest.raises(BackendError, match="the pod has no name yet"):
        CORE.prepare_pod(a_run("a"), pod, cluster=Store())


class Cluster(Store):
    """With these policies, by kind, in place of those that the engine claims to have."""

    def __init__(self, **specs):
        super().__init__()
        self.specs = specs

    def get(self, kind, namespace, name):
        if kind in (_policies.POLICIES, _policies.BINDINGS):
            if (spec := self.specs.get(kind.kind)) is None:
                raise NotFoundError("none")
            return {"metadata": {"name": name}, "spec": spec}
        return super().get(kind, namespace, name)


POLICY = {"failurePolicy": "Fail"}
BINDING = {"policyName": "resultsfw-custom-resource", "validationActions": ["Deny"]}


@pytest.mark.parametrize(
    ("policy", "binding", "words"),
    [
        (None, BINDING, "no ValidatingAdmissionPolicy resultsfw-custom-resource"),
        (POLICY, None, "no ValidatingAdmissionPolicyBinding resultsfw-custom-resource"),
        ({"failurePolicy": "Ignore"}, BINDING, "has failurePolicy: Ignore"),
        (POLICY, {**BINDING, "validationActions": ["Audit"]}, "does not deny"),
        (POLICY, {**BINDING, "policyName": "another"}, "binds another policy"),
        (
            POLICY,
            {**BINDING, "matchResources": {"namespaceSelector": {"matchLabels": {"a": "b"}}}},
            "leaves out a part of the cluster",
        ),
        (POLICY, {**BINDING, "matchResources": {"excludeResourceRules": [{}]}}, "leaves out a part"),
    ],
)
def test_without_a_policy_that_denies_nothing_is_made_and_no_pod(policy, binding, words):
    cluster = Cluster(ValidatingAdmissionPolicy=policy, ValidatingAdmissionPolicyBinding=binding)
    with pytest.raises(BackendError, match=words) as raised:
        CORE.prepare_pod(a_run("a"), bare_pod(), cluster=cluster)
    assert "resultsfw install --backend custom-resource" in raised.value.message
    assert cluster.list(RUN_RESULTS) == []


def test_a_binding_with_the_servers_defaults_is_accepted():
    match = {"namespaceSelector": {}, "objectSelector": {}, "matchPolicy": "Equivalent"}
    cluster = Cluster(
        ValidatingAdmissionPolicy=POLICY,
        ValidatingAdmissionPolicyBinding={**BINDING, "matchResources": match},
    )
    CORE.prepare_pod(a_run("a"), bare_pod(), cluster=cluster)
    assert len(cluster.list(RUN_RESULTS)) == 1


def test_both_sides_mean_the_same():
    """The sidecar imports nothing of ours: what both must know stands in both."""
    assert (run_result.ENV_NAME, run_result.__name__) == (custom_resource.ENV_NAME, custom_resource.TRANSPORT)
    transport, kind = run_result.Transport, RUN_RESULTS
    assert (transport.prefix, transport.plural) == (f"/apis/{kind.api_version}", kind.plural)
    assert transport.what == kind.kind
