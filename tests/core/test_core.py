"""The core as an embedder holds it: the stamp, collecting, errors, and the whole in a few lines."""

import copy
import json
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, model_validator

from resultsfw import (
    Capabilities,
    CollectionOutcome,
    ExtractedResult,
    Extraction,
    Flags,
    Limits,
    ProblemCode,
    ResultsManager,
    ResultSpec,
    Run,
    Stamp,
    Step,
    hookimpl,
    read_stamp,
)
from resultsfw.errors import (
    BackendError,
    ConflictError,
    FlagError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
    UnknownBackendError,
)
from resultsfw.stamps import LIMIT_ANNOTATION, STAMP_ANNOTATION

RUN = Run(
    namespace="default",
    name="run",
    uid="u",
    results=(ResultSpec(name="a"),),
    steps=(Step(name="one", container="step-one"),),
)
NOWHERE: Any = object()  # stands for a cluster that nobody asks anything
SPEC = {"containers": [], "volumes": [{"name": "tekton-internal-results", "emptyDir": {}}]}
POD = {"metadata": {"name": "pod", "annotations": {"mine": "kept"}}, "spec": SPEC}


class Spy:
    """A backend that remembers what it was called with and does as it is told."""

    capabilities = Capabilities(summary="spy", result_bytes=1000, external_state="owned")

    def __init__(self, *, wire=2, extraction=None, error=None):
        self.wire = wire
        self.extraction = Extraction() if extraction is None else extraction
        self.error = error
        self.calls = []

    @hookimpl
    def prepare_pod(self, pod, limits):
        self.calls.append(("prepare_pod", limits))
        pod["spec"]["containers"].append({"name": "added"})
        return self.wire

    @hookimpl
    def pod_ready(self, pod, wire):
        self.calls.append(("pod_ready", wire))
        return pod.get("ready", True)

    @hookimpl
    def extract(self, limits, wire):
        self.calls.append(("extract", limits, wire))
        if self.error is not None:
            raise self.error
        return self.extraction

    @hookimpl
    def purge(self, run):
        self.calls.append(("purge", run.name))


def a_core(spy, other=None, **flags):
    data = {"results-from": "spy", **{key.replace("_", "-"): value for key, value in flags.items()}}
    return ResultsManager.from_flags(data, register={"spy": spy, "other": other or Spy()})


# The stamp.


def test_a_prepared_pod_is_stamped_and_the_argument_left_as_it_was():
    before = copy.deepcopy(POD)
    spy = Spy()
    pod = a_core(spy, max_result_size="500").prepare_pod(RUN, POD, cluster=NOWHERE)
    assert before == POD
    assert pod["metadata"]["annotations"] == {
        "mine": "kept",
        "resultsfw.dev/stamp": "spy/2",
        "resultsfw.dev/max-result-size": "500",
    }
    assert pod["spec"]["containers"] == [{"name": "added"}]
    assert spy.calls == [("prepare_pod", Limits(result_bytes=500, run_bytes=1572864))]
    assert read_stamp(pod) == Stamp("spy", 2, 500)


@pytest.mark.parametrize("metadata", [{}, {"annotations": None}, {"annotations": {}}])
def test_a_pod_without_annotations_is_stamped(metadata):
    pod = a_core(Spy()).prepare_pod(RUN, {"metadata": metadata, "spec": SPEC}, cluster=NOWHERE)
    assert read_stamp(pod) == Stamp("spy", 2, 4096)


def test_a_run_that_declares_nothing_is_left_alone():
    spy = Spy()
    core = a_core(spy)
    empty = Run(namespace="n", name="r", uid="u", steps=RUN.steps)
    assert core.prepare_pod(empty, POD, cluster=NOWHERE) == POD
    assert core.prepare_pod(empty, POD, cluster=NOWHERE) is not POD
    assert core.is_ready(empty, POD)
    assert core.collect(empty, POD, None) == CollectionOutcome()
    core.purge(empty, POD, None)
    assert spy.calls == []


def test_a_stamp_that_a_pod_brings_along_is_replaced():
    """Guarantee 7: results come only from the transport the run was stamped with; a user writes no stamp."""
    forged = {"metadata": {"annotations": {STAMP_ANNOTATION: "other/9", LIMIT_ANNOTATION: "9"}}}
    pod = a_core(Spy()).prepare_pod(RUN, {**forged, "spec": SPEC}, cluster=NOWHERE)
    assert read_stamp(pod) == Stamp("spy", 2, 4096)


def test_reading_follows_the_stamp_after_the_flags_flip():
    """Flipping the flags later never changes how a pod is read."""
    pod = a_core(Spy(), max_result_size="500").prepare_pod(RUN, POD, cluster=NOWHERE)
    spy, other = (
        Spy(extraction=Extraction(results=(ExtractedResult(name="a", value="x" * 501, source="s"),))),
        Spy(),
    )
    flipped = a_core(spy, other, results_from="other", max_result_size="900")
    assert flipped.is_ready(RUN, pod)
    [problem] = flipped.collect(RUN, pod, None).problems
    assert (problem.size, problem.limit) == (501, 500)
    flipped.purge(RUN, pod, None)
    assert other.calls == []
    assert spy.calls == [
        ("pod_ready", 2),
        ("extract", Limits(result_bytes=500, run_bytes=1572864), 2),
        ("purge", "run"),
    ]


def test_a_pods_own_stamp_counts_before_the_one_given():
    spy, other = Spy(), Spy()
    core = a_core(spy, other)
    pod = core.prepare_pod(RUN, POD, cluster=NOWHERE)
    core.collect(RUN, pod, None, stamp=Stamp("other", 7, 1))
    core.collect(RUN, POD, None, stamp=Stamp("other", 7, 1))
    assert [call[0] for call in spy.calls] == ["prepare_pod", "extract"]
    assert other.calls == [("extract", Limits(result_bytes=1, run_bytes=1572864), 7)]


def test_a_run_may_choose_its_backend():
    other = Spy(wire=5)
    core = a_core(Spy(), other, allowed_results_from="other")
    pod = core.prepare_pod(RUN, POD, cluster=NOWHERE, annotations={"resultsfw.dev/results-from": "other"})
    assert read_stamp(pod) == Stamp("other", 5, 4096)
    with pytest.raises(FlagError):
        a_core(Spy(), other).prepare_pod(
            RUN, POD, cluster=NOWHERE, annotations={"resultsfw.dev/results-from": "other"}
        )


@pytest.mark.parametrize(
    "annotations",
    [
        {STAMP_ANNOTATION: "spy/2"},
        {STAMP_ANNOTATION: "spy", LIMIT_ANNOTATION: "1"},
        {STAMP_ANNOTATION: "/2", LIMIT_ANNOTATION: "1"},
        {STAMP_ANNOTATION: "spy/", LIMIT_ANNOTATION: "1"},
        {STAMP_ANNOTATION: "spy/-1", LIMIT_ANNOTATION: "1"},
        {STAMP_ANNOTATION: "spy/2", LIMIT_ANNOTATION: "many"},
        {STAMP_ANNOTATION: "", LIMIT_ANNOTATION: "1"},
        {STAMP_ANNOTATION: "spy/" + "9" * 5000, LIMIT_ANNOTATION: "1"},
        {STAMP_ANNOTATION: "spy/2", LIMIT_ANNOTATION: "9" * 5000},
        {STAMP_ANNOTATION: "spy/٣", LIMIT_ANNOTATION: "1"},
    ],
)
def test_a_garbled_stamp_is_refused_and_never_guessed(annotations):
    pod = {"metadata": {"name": "pod", "annotations": annotations}}
    core = a_core(Spy())
    with pytest.raises(BackendError, match="not for editing"):
        read_stamp(pod)
    with pytest.raises(BackendError):
        core.is_ready(RUN, pod, stamp=Stamp("spy", 2, 9))
    with pytest.raises(BackendError):
        core.collect(RUN, pod, None, stamp=Stamp("spy", 2, 9))
    [problem] = core.collect(RUN, pod, None, stamp=Stamp("spy", 2, 9), final=True).problems
    assert problem.code is ProblemCode.TRANSPORT_UNREADABLE


@pytest.mark.parametrize("pod", [{}, {"metadata": {}}, {"metadata": {"annotations": None}}, POD])
def test_a_pod_without_a_stamp_needs_one_given(pod):
    core = a_core(Spy())
    assert read_stamp(pod) is None
    with pytest.raises(BackendError, match="carries no stamp"):
        core.is_ready(RUN, pod)
    with pytest.raises(BackendError, match="carries no stamp"):
        core.collect(RUN, pod, None)
    core.purge(RUN, pod, None)


def test_a_stamp_of_a_backend_that_is_gone_names_pod_and_backend_and_not_the_flag():
    core = a_core(Spy())
    pod = {"metadata": {"name": "pod", "annotations": {STAMP_ANNOTATION: "gone/1", LIMIT_ANNOTATION: "1"}}}
    with pytest.raises(UnknownBackendError) as caught:
        core.collect(RUN, pod, None)
    assert caught.value.subject == "gone"
    assert '"pod"' in caught.value.message
    assert '"gone", which is not installed' in caught.value.message
    assert "results-from" not in caught.value.message


@pytest.mark.parametrize("wire", [None, "1", -1, 1.0, True])
def test_a_backend_that_returns_no_wire_version_fails_before_there_is_a_pod(wire):
    """Such a stamp could never be read again."""
    with pytest.raises(BackendError) as caught:
        a_core(Spy(wire=wire)).prepare_pod(RUN, POD, cluster=NOWHERE)
    assert caught.value.subject == "spy"
    assert "prepare_pod" in caught.value.message


# Collecting.


@pytest.mark.parametrize("error", [UnavailableError("later"), ForbiddenError("no"), ConflictError("changed")])
def test_a_read_that_can_come_right_is_raised_until_it_is_final(error):
    """Guarantee 0: a failed read is retried while it can come right, and then a failure of its own."""
    core = a_core(Spy(error=error))
    stamp = Stamp("spy", 2, 9)
    with pytest.raises(type(error)):
        core.collect(RUN, POD, None, stamp=stamp)
    collected = core.collect(RUN, POD, None, stamp=stamp, final=True)
    assert not collected.ok
    [problem] = collected.problems
    assert problem.code is ProblemCode.TRANSPORT_UNREADABLE
    assert error.message in problem.message


def test_a_read_that_cannot_come_right_is_a_verdict_at_once():
    collected = a_core(Spy(error=NotFoundError("gone"))).collect(RUN, POD, None, stamp=Stamp("spy", 2, 9))
    assert [problem.code for problem in collected.problems] == [ProblemCode.TRANSPORT_UNREADABLE]


def test_observers_hear_of_a_verdict_without_a_read():
    seen = []

    class Watching(Spy):
        @hookimpl
        def collection_failed(self, problems):
            seen.extend(problems)

    core = a_core(Watching(error=NotFoundError("gone")))
    collected = core.collect(RUN, POD, None, stamp=Stamp("spy", 2, 9))
    assert tuple(seen) == collected.problems != ()


@pytest.mark.parametrize(
    "extraction", [(), {"found": []}, "x", ExtractedResult(name="a", value="1", source="s")]
)
def test_a_backend_that_hands_over_something_else_fails_loudly(extraction):
    core = a_core(Spy(extraction=extraction))
    collected = core.collect(RUN, POD, None, stamp=Stamp("spy", 2, 9))
    assert "and not an Extraction" in collected.problems[0].message


def test_missing_results_fail_follows_the_flag():
    stamp = Stamp("spy", 2, 9)
    assert a_core(Spy()).collect(RUN, POD, None, stamp=stamp).ok
    failed = a_core(Spy(), missing_results="fail").collect(RUN, POD, None, stamp=stamp)
    assert [problem.code for problem in failed.problems] == [ProblemCode.MISSING]


def test_ready_is_the_backends_word():
    core = a_core(Spy())
    assert core.is_ready(RUN, {**POD, "ready": True}, stamp=Stamp("spy", 2, 9)) is True
    assert core.is_ready(RUN, {**POD, "ready": False}, stamp=Stamp("spy", 2, 9)) is False


def test_a_core_is_made_of_flags_as_well():
    core = ResultsManager(Flags(results_from="spy"), register={"spy": Spy})
    assert read_stamp(core.prepare_pod(RUN, POD, cluster=NOWHERE)) == Stamp("spy", 2, 4096)


def test_a_backend_is_made_once():
    made = []

    class Counted(Spy):
        def __init__(self):
            made.append(1)
            super().__init__()

    core = ResultsManager.from_flags({"results-from": "spy"}, register={"spy": Counted})
    core.prepare_pod(RUN, POD, cluster=NOWHERE)
    core.prepare_pod(RUN, POD, cluster=NOWHERE)
    assert made == [1]


# The whole, as an embedder has it.


def test_an_embedder_in_a_few_lines():
    core = ResultsManager.from_flags({"max-result-size": "100"})
    pod = core.prepare_pod(
        RUN, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "step-one"}]}}, cluster=NOWHERE
    )
    assert not core.is_ready(RUN, pod)
    message = json.dumps([{"key": "a", "value": "1", "type": 1}])
    ended = {"name": "step-one", "state": {"terminated": {"exitCode": 0, "message": message}}}
    pod["status"] = {"phase": "Succeeded", "containerStatuses": [ended]}
    assert core.is_ready(RUN, pod)
    patch = core.status_patch(core.collect(RUN, pod, cluster=None), {"metadata": {}}, now="now")
    assert patch["status"]["results"] == [{"name": "a", "type": "string", "value": "1"}]
    assert patch["status"]["conditions"][0]["status"] == "True"


def test_collecting_twice_gives_the_same_and_changes_nothing():
    """Guarantee 4: stopped at any instant and started again, the same status is reached."""
    found = (
        ExtractedResult(name="a", value="x" * 20, source="s"),
        ExtractedResult(name="z", value="", source="s"),
    )
    pod = a_core(Spy(), max_result_size="9").prepare_pod(RUN, POD, cluster=NOWHERE)
    before = copy.deepcopy(pod)
    first = a_core(Spy(extraction=Extraction(results=found))).collect(RUN, pod, None)
    again = a_core(Spy(extraction=Extraction(results=found))).collect(RUN, pod, None)
    assert first == again
    assert pod == before
    obj = {"metadata": {"resourceVersion": "1"}}
    assert ResultsManager.status_patch(first, obj, now="n") == ResultsManager.status_patch(
        again, obj, now="n"
    )


class _Kept:
    """A backend of a stranger's, with these capabilities."""

    def __init__(self, **capabilities):
        self.capabilities = Capabilities(summary="s", **capabilities)

    @hookimpl
    def prepare_pod(self):
        return 1

    @hookimpl
    def pod_ready(self):
        return True

    @hookimpl
    def extract(self):
        return Extraction()

    @hookimpl
    def dereference(self):
        return b""


@pytest.mark.parametrize(
    ("capabilities", "warned"),
    [
        ({}, True),
        ({"run_bytes": 12_289}, True),
        ({"run_bytes": 12_288}, False),
        ({"delivery": "reference"}, False),
    ],
)
def test_copies_of_large_results_are_warned_of_whatever_the_backends_name(capabilities, warned):
    backend = _Kept(**capabilities)
    for mode in ("minimal", "full", "both"):
        data = {"results-from": "mine", "embedded-status": mode}
        said = ResultsManager.from_flags(data, register={"mine": backend}).warnings()
        assert bool(said) == (warned and mode != "minimal")
        assert all(f"embedded-status is {mode}, and results-from mine" in line for line in said)


def test_options_are_validated_once_however_many_hooks_are_called():
    validated = []

    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")

        @model_validator(mode="after")
        def _count(self):
            validated.append(self)
            return self

    class WithOptions(Spy):
        pass

    WithOptions.Config = Config
    core = a_core(WithOptions())
    pod = core.prepare_pod(RUN, POD, cluster=object())
    for _ in range(3):
        core.is_ready(RUN, pod)
        core.collect(RUN, pod, None)
    core.purge(RUN, pod, None)
    assert len(validated) == 1
