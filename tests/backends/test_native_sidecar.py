"""The results sidecar as a native one, and any sidecar that still runs or was started again."""

import hashlib

import pytest
from sidecarlogs import CORE, UID, a_pod, a_run, codes, collect, log_of, prepared, value, values_of

from resultsfw import ProblemCode, Stamp
from resultsfw.errors import FlagError, TooEarlyError
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.sidecars import last_termination, may_have_missed
from resultsfw_sidecar import wire

RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
WHOLE = log_of(value("a", "1"))
OPEN = log_of(value("a", "1"), end=False)


def ended(code=0, at="2026-01-01T00:00:10Z"):
    reason = "Error" if code else "Completed"
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}}


def a_native_pod(sidecar, *, step=None, last=None, phase="Running"):
    """A pod with a native sidecar in these states, beside one Step."""
    status = {
        "name": RESULTS_SIDECAR,
        "state": sidecar,
        "lastState": last or {},
        "restartCount": int(bool(last)),
    }
    return {
        "metadata": {"name": "pod", "namespace": "default", "uid": UID},
        "spec": {
            "initContainers": [{"name": "prepare"}, {"name": RESULTS_SIDECAR, "restartPolicy": "Always"}],
            "containers": [{"name": "step-one"}],
        },
        "status": {
            "phase": phase,
            "initContainerStatuses": [status],
            "containerStatuses": [{"name": "step-one", "state": step or ended()}],
        },
    }


def a_plain_pod(sidecar, *, step=None, phase="Running"):
    pod = a_pod(state=sidecar, phase=phase)
    pod["status"]["containerStatuses"].append({"name": "step-one", "state": step or ended()})
    return pod


def stopped_log(*lines):
    """A whole log of a sidecar that was told to stop before it had seen the Steps' end."""
    before = wire.start_line(UID, wire.WATCH_INOTIFY) + b"".join(lines)
    digest = hashlib.sha256(before).hexdigest()
    return before + wire.end_line(UID, before.count(b"\n"), digest, wire.WHY_STOPPED)


def ready(pod, speaks=wire.WIRE):
    return CORE.is_ready(a_run("a"), pod, stamp=Stamp("sidecar-logs", speaks, 4096))


# The pod.


def test_a_native_sidecar_is_the_plain_one_but_for_its_place_and_that_it_stays():
    plain_pod, plain, _ = prepared("sidecar: plain")
    pod, native, _ = prepared("sidecar: native")
    assert pod["spec"]["initContainers"][-1] is native
    assert native["restartPolicy"] == "Always"
    assert native["command"] == [*plain["command"], "-kubernetes-sidecar-mode", "true"]
    assert {**native, "command": plain["command"]} == {**plain, "restartPolicy": "Always"}
    assert pod["spec"]["containers"] == plain_pod["spec"]["containers"][:-1]
    assert pod["spec"]["initContainers"][:-1] == plain_pod["spec"]["initContainers"]


def test_native_is_the_default():
    """Decision 0008."""
    assert prepared() == prepared("sidecar: native")


def test_a_pod_of_an_embedder_without_init_containers_gets_one():
    core = CORE.from_flags({"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: native"})
    pod = core.prepare_pod(a_run("a"), {"spec": {"containers": [{"name": "step-one"}]}})
    assert [container["name"] for container in pod["spec"]["initContainers"]] == [RESULTS_SIDECAR]
    assert [container["name"] for container in pod["spec"]["containers"]] == ["step-one"]


def test_another_way_to_run_it_is_refused_by_name():
    with pytest.raises(FlagError) as caught:
        prepared("sidecar: beside")
    assert "sidecar" in caught.value.message


# When to read.


@pytest.mark.parametrize(
    ("sidecar", "step", "phase", "is_ready"),
    [
        (RUNNING, RUNNING, "Running", False),
        (RUNNING, ended(), "Running", True),
        (RUNNING, ended(3), "Running", True),
        (RUNNING, ended(137), "Running", False),  # nobody told the sidecar
        (ended(137), RUNNING, "Running", False),  # it is started again
        (ended(), ended(), "Running", True),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, ended(), "Running", False),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, ended(), "Succeeded", True),
        (RUNNING, ended(), "Succeeded", False),
        ({}, {"waiting": {}}, "Pending", False),
    ],
)
def test_when_a_native_sidecar_is_read(sidecar, step, phase, is_ready):
    assert ready(a_native_pod(sidecar, step=step, phase=phase)) is is_ready


@pytest.mark.parametrize(("sidecar", "is_ready"), [(RUNNING, False), (ended(), True)])
def test_without_an_end_record_a_sidecar_is_read_when_it_has_ended(sidecar, is_ready):
    """Tekton's sidecar does not say that all is printed."""
    assert ready(a_native_pod(sidecar), wire.TEKTON) is is_ready


def test_a_plain_sidecar_that_must_have_printed_is_not_waited_for():
    assert ready(a_plain_pod(RUNNING)) is True
    assert ready(a_plain_pod(RUNNING, step=RUNNING)) is False


# A sidecar that still runs.


@pytest.mark.parametrize("pod", [a_native_pod(RUNNING), a_plain_pod(RUNNING)])
def test_a_running_sidecars_log_counts_once_its_end_record_is_there(pod):
    """Guarantee 0: no verdict while the sidecar may still print."""
    for length in range(len(WHOLE)):
        with pytest.raises(TooEarlyError):
            collect(a_run("a"), WHOLE[: max(length - 1, 0)], pod=pod)
    collected = collect(a_run("a"), WHOLE, pod=pod)
    assert collected.ok
    assert values_of(collected) == {"a": "1"}


def test_a_running_sidecars_log_that_nobody_will_read_again_is_judged_as_it_is():
    """Guarantee 1: what did arrive whole is kept beside the failure."""
    collected = collect(a_run("a", "b"), OPEN, pod=a_native_pod(RUNNING), final=True)
    assert codes(collected) == [ProblemCode.TRANSPORT_INCOMPLETE]
    assert '"b"' in collected.problems[0].message
    assert values_of(collected) == {"a": "1"}


def test_a_native_sidecar_that_failed_and_stays_is_a_verdict():
    """Guarantee 0: never a hang; it will not print its end record any more."""
    log = log_of(wire.error_line(wire.INTERNAL, "no space"), end=False)
    [problem] = collect(a_run("a"), log, pod=a_native_pod(RUNNING)).problems
    assert "Internal: no space" in problem.message


# A sidecar that was started again.


def test_a_sidecar_started_again_prints_everything_anew():
    pod = a_native_pod(RUNNING, last=ended(137))
    collected = collect(a_run("a"), WHOLE, pod=pod)
    assert collected.ok
    assert values_of(collected) == {"a": "1"}


def test_the_log_of_a_sidecar_that_was_not_started_again_is_judged_by_its_own_end():
    """Guarantee 7: asked for the log of a container that waits, the kubelet gives the one before."""
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    pod = a_native_pod(waiting, last=ended(137), phase="Succeeded")
    [problem] = collect(a_run("a", "b"), OPEN, pod=pod).problems
    assert problem.code is ProblemCode.TRANSPORT_INCOMPLETE
    assert "exit code 137" in problem.message
    assert collect(a_run("a"), WHOLE, pod=pod).ok


def test_a_sidecar_that_never_started_read_nothing():
    pod = a_native_pod({"waiting": {"reason": "PodInitializing"}}, phase="Failed")
    [problem] = collect(a_run("a"), WHOLE, pod=pod).problems
    assert "never started" in problem.message


# A sidecar that was told to stop while the Steps went on.


@pytest.mark.parametrize("make", [a_native_pod, a_plain_pod])
def test_what_was_printed_before_the_steps_had_ended_is_not_whole(make):
    """Guarantee 1: what a Step wrote after it is lost, and must not look absent."""
    log = stopped_log(wire.absent_line("a", "task"))
    [problem] = collect(a_run("a"), log, pod=make(ended(), phase="Succeeded")).problems
    assert problem.code is ProblemCode.TRANSPORT_INCOMPLETE
    assert "told to stop while a Step still ran" in problem.message


def test_a_step_that_outlived_the_sidecar_may_have_written_more():
    """A plain sidecar gets its SIGTERM together with the Steps, which may take their grace."""
    log = stopped_log(wire.absent_line("a", "task"))
    later = ended(143, at="2026-01-01T00:00:12Z")
    pod = a_plain_pod(ended(), step=later, phase="Failed")
    assert codes(collect(a_run("a"), log, pod=pod)) == [ProblemCode.TRANSPORT_INCOMPLETE]


def test_a_step_that_still_runs_may_write_more():
    """A deleted pod's log is read while its Steps take their grace."""
    log = stopped_log(wire.absent_line("a", "task"))
    pod = a_plain_pod(ended(), step=RUNNING)
    assert codes(collect(a_run("a"), log, pod=pod)) == [ProblemCode.TRANSPORT_INCOMPLETE]


@pytest.mark.parametrize("made", [a_native_pod, a_plain_pod])
def test_a_pod_that_goes_is_read_while_its_steps_run(made):
    """Its log goes with it; that it is whole is seen in its end record."""
    pod = made(RUNNING, step=RUNNING)
    assert not ready(pod)
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z"
    assert ready(pod)
    evicted = made(RUNNING, step=RUNNING)
    evicted["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    assert ready(evicted)
    with pytest.raises(TooEarlyError):
        collect(a_run("a"), OPEN, pod=evicted)


def test_a_step_that_ended_in_the_sidecars_last_second_may_have_written_after_it():
    """Seen on a real cluster: of 20 cancelled runs whose Step writes on SIGTERM, 12 lost that in silence."""
    log = stopped_log(wire.absent_line("a", "task"))
    pod = a_plain_pod(ended(), step=ended(143), phase="Failed")
    assert codes(collect(a_run("a"), log, pod=pod)) == [ProblemCode.TRANSPORT_INCOMPLETE]


LOST = {
    "terminated": {
        "containerID": None,
        "exitCode": 137,
        "finishedAt": None,
        "message": "The container could not be located when the pod was terminated",
        "reason": "ContainerStatusUnknown",
        "startedAt": None,
    }
}
"""What a kubelet reports of a container that it does not find any more when its pod is evicted."""


def test_a_step_whose_end_the_kubelet_lost_may_have_written_after_the_sidecar():
    log = stopped_log(wire.absent_line("a", "task"))
    pod = a_plain_pod(ended(), step=LOST, phase="Failed")
    assert codes(collect(a_run("a"), log, pod=pod)) == [ProblemCode.TRANSPORT_INCOMPLETE]


def test_a_sidecar_whose_end_the_kubelet_lost_may_have_missed_what_a_step_wrote():
    log = stopped_log(wire.absent_line("a", "task"))
    pod = a_plain_pod(LOST, step=ended(143), phase="Failed")
    assert codes(collect(a_run("a"), log, pod=pod)) == [ProblemCode.TRANSPORT_INCOMPLETE]


def test_a_deadline_beyond_every_time_is_not_reached():
    pod = a_native_pod(ended(), step=RUNNING)
    pod["spec"]["activeDeadlineSeconds"] = 2**63 - 1
    pod["status"] |= {
        "startTime": "9999-12-31T23:59:59Z",
        "conditions": [
            {
                "type": "DisruptionTarget",
                "reason": "TerminationByKubelet",
                "lastTransitionTime": "9999-12-31T23:59:59Z",
            }
        ],
    }
    assert not may_have_missed(a_run("a"), pod, None)


@pytest.mark.parametrize("step", [ended(143, at="2026-01-01T00:00:09Z"), ended(137)])
def test_a_step_that_was_over_before_the_sidecar_was_stopped_lost_nothing(step):
    """One that was killed with its entrypoint told nobody that it ended."""
    log = stopped_log(value("a", "1"))
    collected = collect(a_run("a"), log, pod=a_native_pod(ended(), step=step, phase="Failed"))
    assert collected.ok
    assert values_of(collected) == {"a": "1"}


@pytest.mark.parametrize("backend", ["sidecar-logs", "config-map"])
def test_a_sidecar_that_ended_well_is_read_while_the_kubelet_lets_it_wait_for_its_next_start(backend):
    """It ended itself because a container outstayed the Steps. Its log and message are of its last end."""
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    stamp = Stamp(backend, wire.WIRE, 4096)
    pod = a_native_pod(waiting, last=ended())
    assert CORE.is_ready(a_run("a"), pod, stamp=stamp)
    going_on = a_native_pod(waiting, last=ended(), step=RUNNING)
    assert not CORE.is_ready(a_run("a"), going_on, stamp=stamp)
    assert not CORE.is_ready(a_run("a"), a_native_pod(waiting, last=ended(137)), stamp=stamp)


def test_a_log_is_whole_while_its_sidecar_waits_for_its_next_start():
    pod = a_native_pod({"waiting": {"reason": "CrashLoopBackOff"}}, last=ended())
    collected = collect(a_run("a"), WHOLE, pod=pod)
    assert (values_of(collected), collected.problems) == ({"a": "1"}, ())


@pytest.mark.parametrize(
    ("state", "last", "code"),
    [(ended(137), ended(), 0), (ended(137), ended(1), 137), (ended(), ended(1), 0), (RUNNING, ended(), 0)],
)
def test_what_a_sidecar_said_that_ended_well_outlives_the_next_one_that_is_killed(state, last, code):
    end = last_termination(a_native_pod(state, last=last, phase="Failed"), RESULTS_SIDECAR)
    assert end["exitCode"] == code
