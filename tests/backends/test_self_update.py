"""Results by the TaskRun's own status: what fits, what is believed, and what is left in the status."""

import pytest
from configmaps import OWNER, a_run, bare_pod, values_of
from hypothesis import given, settings
from hypothesis import strategies as st
from written_objects import Life

from resultsfw import ProblemCode, ResultsManager
from resultsfw.errors import BackendError, TooEarlyError
from resultsfw.limits import OBJECT_BYTES, OBJECT_CAPACITY, object_size
from resultsfw.local.store import Store
from resultsfw.result_annotations import RESULT_ANNOTATIONS, annotation_removal, without_result_annotations
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw_backends import self_update
from resultsfw_backends.self_update import VALUE_BYTES
from resultsfw_transports import task_run

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(["a", "b", "c.d", "records"]), TEXTS, min_size=1))
def test_any_values_arrive(texts):
    life = Life("self-update", {name: text.encode() for name, text in texts.items()})
    collected = life.collect(life.deliver())
    assert (collected.ok, values_of(collected)) == (True, texts)


def test_values_are_annotations_of_the_status_under_their_results_names():
    life = Life("self-update", {"digest": b"sha256:1\n", "bytes": b"\1" * 200})
    life.deliver()
    names = {name.removeprefix(RESULT_ANNOTATIONS) for name in life.object["status"]["annotations"]}
    assert names == {"0.records", "0.text.digest", "0.base64.bytes"}
    [(method, path, _)] = life.transport._server.asked
    assert (method, path) == ("PATCH", "/apis/tekton.dev/v1/namespaces/default/taskruns/run/status")


@pytest.mark.slow
@pytest.mark.parametrize("size", [100, 400_000, 1_000_000])
def test_as_much_as_is_allowed_fits_into_the_taskrun_whatever_it_is(size):
    """Guarantee 2: the message names size and limit, and the limit is one that the server keeps."""
    store = Store()
    store.create(TASKRUNS, {"metadata": {"name": "run"}, "spec": {"params": ["x" * size]}})
    life = Life("self-update", {"a": b"\1" * 2_000_000, "b": b"y"}, store=store)
    (problem,) = life.collect(life.deliver()).problems
    assert (problem.code, problem.result) == (ProblemCode.RESULT_TOO_LARGE, "a")
    limit = problem.limit
    assert limit == min(VALUE_BYTES, limit)
    assert (limit == VALUE_BYTES) is (size == 100)
    again = Life("self-update", {"a": b"\1" * limit}, store=store, attempt=1)
    assert again.collect(again.deliver()).ok
    assert OBJECT_BYTES - 200_000 - (size == 100) * 100_000 < object_size(again.object) < OBJECT_CAPACITY


def test_compressed_values_count_as_they_are_stored():
    life = Life("self-update", {"a": b"x" * 1_500_000, "b": b"y"}, config="compress: true")
    collected = life.collect(life.deliver())
    assert (collected.ok, len(values_of(collected)["a"])) == (True, 1_500_000)
    assert object_size(life.object) < 10_000


def test_a_taskrun_without_room_is_refused_with_its_sizes():
    store = Store()
    store.create(TASKRUNS, {"metadata": {"name": "run"}, "spec": {"params": ["x" * 1_500_000]}})
    with pytest.raises(BackendError, match=r"the TaskRun has 1500\d{3} bytes.*no room is left"):
        Life("self-update", {"a": b""}, store=store)


def test_pods_of_other_things_than_the_taskrun_are_refused():
    core = ResultsManager.from_flags({"results-from": "self-update"})
    for owner in ({**OWNER, "uid": "another"}, {**OWNER, "kind": "Job"}, {**OWNER, "apiVersion": "v1"}):
        with pytest.raises(BackendError, match="only TaskRuns have a status for their results"):
            core.prepare_pod(a_run("a"), bare_pod((owner,)), cluster=Store())


def test_attempts_do_not_see_each_others():
    first = Life("self-update", {"a": b"first", "old": b"o"})
    message = first.deliver()
    second = Life("self-update", {"a": b"second"}, store=first.store, attempt=1)
    assert values_of(second.collect(second.deliver())) == {"a": "second"}
    assert values_of(first.collect(message)) == {"a": "first", "old": "o"}


def test_a_status_that_is_older_than_the_pod_is_read_again_and_at_last_named():
    """The controller's cache may be behind: that nothing is there yet is no verdict."""
    life = Life("self-update", {"digest": b"real"})
    stale = life.object
    message = life.deliver()
    fresh = life.object

    class Cached:
        found = stale

        def get(self, *_):
            return self.found

    cluster = Cached()
    with pytest.raises(TooEarlyError):
        life.core.collect(life.run, life.ended(message), cluster)
    (problem,) = life.core.collect(life.run, life.ended(message), cluster, final=True).problems
    assert (problem.code, '"digest"' in problem.message) == (ProblemCode.TRANSPORT_CORRUPT, True)
    cluster.found = fresh
    assert values_of(life.core.collect(life.run, life.ended(message), cluster)) == {"digest": "real"}


@pytest.mark.parametrize(
    "change", [{"0.records": "{}"}, {"0.text.digest": "forged"}, {"0.text.digest": None}], ids=str
)
def test_what_is_not_as_the_sidecar_wrote_it_is_never_believed(change):
    life = Life("self-update", {"digest": b"real"})
    message = life.deliver()
    annotations = {RESULT_ANNOTATIONS + name: text for name, text in change.items()}
    patch = {"status": {"annotations": annotations}}
    life.store.patch(TASKRUNS, "default", "run", patch, subresource="status")
    collected = life.collect(message, final=True)
    assert values_of(collected) == {}
    assert {problem.code for problem in collected.problems} == {ProblemCode.TRANSPORT_CORRUPT}


def test_only_these_annotations_are_removed():
    ours = {f"{RESULT_ANNOTATIONS}0.records": "r", f"{RESULT_ANNOTATIONS}0.text.a": "1"}
    for theirs in ({}, {"theirs": "kept"}):
        taskrun = {"metadata": {}, "status": {"podName": "p", "annotations": {**ours, **theirs}}}
        assert annotation_removal(taskrun) == {"annotations": dict.fromkeys(ours)}
        stripped = without_result_annotations(taskrun)
        assert stripped["status"].get("annotations", {}) == theirs
        assert annotation_removal(stripped) == {}
        assert without_result_annotations(stripped) is stripped
    for other in ({}, {"status": None}, {"status": {"annotations": ["x"]}}):
        assert without_result_annotations(other) is other


def test_both_sides_mean_the_same():
    """The sidecar imports nothing of ours: what both must know stands in both."""
    for name in ("ENV_NAME", "ENV_ROOM", "ENV_PREFIX", "RECORDS", "TEXT", "ENCODED"):
        assert getattr(task_run, name) == getattr(self_update, name)
    assert task_run.__name__ == self_update.TRANSPORT
    transport, kind = task_run.Transport, TASKRUNS
    assert kind == self_update.TASK_RUNS
    assert (transport.prefix, transport.plural) == (f"/apis/{kind.api_version}", kind.plural)
    assert transport.what == kind.kind
