"""Check the guarantees that the core keeps for every backend, with two built-in backends as examples."""

import hashlib
import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import ProblemCode, ResultsManager, ResultSpec, Run, Step
from resultsfw_sidecar import wire

UID = "51b37f1b"
SIDECAR = "sidecar-tekton-log-results"
RUN = Run(
    namespace="default",
    name="run",
    uid="u",
    results=(ResultSpec(name="digest"), ResultSpec(name="list", type="array")),
    steps=(Step(name="one", container="step-one"),),
)


def made_by(backend):
    """A pod as the core prepares it under this backend, and as a cluster then has it."""
    core = ResultsManager.from_flags({"results-from": backend})
    pod = core.prepare_pod(
        RUN,
        {"metadata": {"name": "pod", "namespace": "default"}, "spec": {"containers": [{"name": "step-one"}]}},
    )
    pod["metadata"]["uid"] = UID
    return core, pod


def ended(pod, **messages):
    """The pod when all its containers have ended, with these termination messages."""
    statuses = [
        {
            "name": one["name"],
            "state": {
                "terminated": {
                    "exitCode": 0,
                    "reason": "Completed",
                    "message": messages.get(one["name"].replace("-", "_"), ""),
                }
            },
        }
        for one in pod["spec"]["containers"]
    ]
    return {**pod, "status": {"phase": "Succeeded", "containerStatuses": statuses}}


def message(**values):
    return json.dumps([{"key": key, "value": value, "type": 1} for key, value in values.items()])


def cluster_with(log):
    """A cluster that has one log."""
    return SimpleNamespace(read_log=lambda *_where, limit: iter([log[:limit]]))


def log_of(**values):
    lines = [
        wire.absent_line(name, "task") if text is None else wire.value_line(name, text, "task")
        for name, text in values.items()
    ]
    before = wire.start_line(UID, wire.WATCH_POLL) + b"".join(lines)
    return before + wire.end_line(
        UID, len(lines) + 1, hashlib.sha256(before).hexdigest(), wire.WHY_STEPS_DONE
    )


def values_of(collected):
    return {one.name: one.value for one in collected.results}


@pytest.mark.parametrize("backend", ["termination-message", "sidecar-logs"])
def test_pod_that_still_runs_is_not_ready(backend):
    """Guarantee 0: a run is never marked complete before extraction has reached a verdict."""
    core, pod = made_by(backend)
    assert not core.is_ready(RUN, pod)
    running = [{"name": one["name"], "state": {"running": {}}} for one in pod["spec"]["containers"]]
    assert not core.is_ready(RUN, {**pod, "status": {"phase": "Running", "containerStatuses": running}})
    assert core.is_ready(RUN, ended(pod))


def test_result_without_any_record_is_lost_and_not_absent():
    """Guarantee 1: one that no Step wrote is simply absent, and must never be confused with one lost."""
    core, pod = made_by("sidecar-logs")
    said = core.collect(RUN, ended(pod), cluster_with(log_of(digest=None, list=None)))
    assert said.ok
    silent = core.collect(RUN, ended(pod), cluster_with(b""))
    assert [one.code for one in silent.problems] == [ProblemCode.TRANSPORT_INCOMPLETE]
    assert '"digest", "list"' in silent.problems[0].message


def test_step_cannot_replace_a_result_of_the_log_by_its_termination_message():
    """Guarantee 7: only from the transport the run was stamped with; as in the capture sl-forged."""
    core, pod = made_by("sidecar-logs")
    forged = ended(pod, step_one=message(digest="forged", extra="forged"))
    collected = core.collect(RUN, forged, cluster_with(log_of(digest="real", list=None)))
    assert values_of(collected) == {"digest": "real"}
    assert collected.ignored == ()
    assert collected.ok


def test_log_is_not_read_when_the_pod_is_stamped_with_termination_message():
    """Guarantee 7: the other way round, and nobody is asked for a log."""
    core, pod = made_by("termination-message")
    collected = core.collect(RUN, ended(pod, step_one=message(digest="real")), None)
    assert values_of(collected) == {"digest": "real"}


def test_log_of_another_pod_is_refused():
    """Guarantee 7: a record of another attempt (retry) or another pod is refused."""
    core, pod = made_by("sidecar-logs")
    pod["metadata"]["uid"] = "of-the-retry"
    collected = core.collect(RUN, ended(pod), cluster_with(log_of(digest="stale", list=None)))
    assert values_of(collected) == {}
    assert collected.problems[0].code is ProblemCode.TRANSPORT_FOREIGN


@pytest.mark.slow
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_arrives_unchanged_through_either_backend(text):
    """Guarantee 6: awkward bytes survive; the backend chosen changes no value."""
    core, pod = made_by("sidecar-logs")
    by_log = core.collect(RUN, ended(pod), cluster_with(log_of(digest=text, list=json.dumps([text]))))
    core, pod = made_by("termination-message")
    whole = message(digest=text, list=json.dumps([text]))
    by_message = core.collect(RUN, ended(pod, step_one=whole), None)
    assert values_of(by_log) == values_of(by_message) == {"digest": text, "list": [text]}


@pytest.mark.parametrize("backend", ["termination-message", "sidecar-logs"])
def test_limit_counts_the_same_bytes_with_either_backend(backend):
    """Guarantee 2: limits count the value's bytes, and messages print both numbers."""
    core, pod = made_by(backend)
    pod["metadata"]["annotations"]["resultsfw.dev/max-result-size"] = "9"
    for text, fits in (("é" * 4 + "x", True), ("é" * 5, False)):
        some = ended(pod, step_one=message(digest=text))
        collected = core.collect(RUN, some, cluster_with(log_of(digest=text, list=None)))
        assert collected.ok is fits
        if not fits:
            assert "10 bytes, over the limit of 9 bytes" in collected.problems[0].message
