"""Pods without Tekton's entrypoint: what is refused before they are made, and how they are read."""

import hashlib
import json

import plainpods
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plainpods import BACKENDS, RUN
from sidecarlogs import Logs, value

from resultsfw import ResultsManager, ResultSpec, Run, Step
from resultsfw.errors import InputError, TooEarlyError
from resultsfw.pods import RESULTS_SIDECAR, is_plain
from resultsfw_sidecar import wire

UID = "51b37f1b"
MESSAGES = ResultsManager.from_flags({})
LOGS = ResultsManager.from_flags({"results-from": "sidecar-logs"})


def core_of(backend):
    return ResultsManager.from_flags({"results-from": backend})


def with_container(**more):
    pod = plainpods.pod("true")
    pod["spec"]["containers"][0].update(more)
    return pod


def a_run(*steps, results=("a",)):
    return Run(
        namespace="default",
        name="report",
        uid="u",
        results=tuple(ResultSpec(name=name) for name in results),
        steps=steps,
    )


# Which pods these are.


@pytest.mark.parametrize(
    ("pod", "plain"),
    [
        (plainpods.pod("true"), True),
        ({"spec": plainpods.pod("true")["spec"]}, True),
        (plainpods.pod("true", volumes=[{"name": "tekton-internal-run-0", "emptyDir": {}}]), False),
        (with_container(args=["-step_metadata_dir", "/tekton/run/0/status"]), False),
    ],
)
def test_a_pod_with_neither_tektons_volumes_nor_its_entrypoint_is_plain(pod, plain):
    assert is_plain(RUN, pod) is plain


# The pod.


@pytest.mark.parametrize("backend", BACKENDS)
def test_everything_of_the_pods_own_stays(backend):
    pod = with_container(
        env=[{"name": "MINE", "value": "$(RESULTSFW_RESULTS)/x"}],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
    )
    pod["spec"] |= {
        "volumes": [{"name": "data", "emptyDir": {}}],
        "initContainers": [{"name": "mine", "image": "i"}],
    }
    before = json.loads(json.dumps(pod))
    spec = core_of(backend).prepare_pod(RUN, pod)["spec"]
    assert pod == before
    assert spec["volumes"][0] == {"name": "data", "emptyDir": {}}
    assert spec["initContainers"][0] == {"name": "mine", "image": "i"}
    (container,) = spec["containers"]
    assert container["env"][-1] == {"name": "MINE", "value": "$(RESULTSFW_RESULTS)/x"}
    assert container["volumeMounts"][0] == {"name": "data", "mountPath": "/data"}


def test_the_sidecar_has_all_folders_read_only_and_waits_for_its_signal():
    spec = LOGS.prepare_pod(RUN, plainpods.pod("true"))["spec"]
    (sidecar,) = spec["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["volumeMounts"] == [
        {**container, "readOnly": True} for container in spec["containers"][0]["volumeMounts"]
    ]
    env = {variable["name"]: variable.get("value") for variable in sidecar["env"]}
    assert env["RESULTSFW_WATCH"] == "signal"
    assert "/tekton" not in json.dumps([sidecar["command"][1:], sidecar["volumeMounts"], sidecar["env"]])


def test_a_job_template_is_prepared_as_a_pod_is():
    template = {"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "main", "image": "i"}]}}
    prepared = LOGS.prepare_pod(RUN, template)
    assert prepared["metadata"]["annotations"]["resultsfw.dev/stamp"] == "sidecar-logs/1"
    assert prepared["spec"]["restartPolicy"] == "OnFailure"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pod_that_does_not_say_ends(backend):
    pod = plainpods.pod("true")
    del pod["spec"]["restartPolicy"]
    assert core_of(backend).prepare_pod(RUN, pod)["spec"]["restartPolicy"] == "Never"


def test_in_a_pod_of_roots_the_sidecar_is_not_root():
    pod = plainpods.pod("true", securityContext={"runAsUser": 0})
    (sidecar,) = LOGS.prepare_pod(RUN, pod)["spec"]["initContainers"]
    assert sidecar["securityContext"]["runAsUser"] == 65532


# What is refused, by name.

EVERY = [
    ("steps", a_run(), plainpods.pod("true"), 'run "report" names no Step'),
    ("container", a_run(Step(name="s", container="other")), plainpods.pod("true"), 'container "other"'),
    (
        "two steps in one",
        a_run(Step(name="s", container="main"), Step(name="t", container="main")),
        plainpods.pod("true"),
        'Steps "s" and "t" run in one container',
    ),
    (
        "an init container",
        a_run(Step(name="s", container="first")),
        plainpods.pod("true", initContainers=[{"name": "first", "image": "i"}]),
        'container "first", which is none of',
    ),
    ("always", RUN, plainpods.pod("true", restartPolicy="Always"), "started again whenever it ends"),
    ("one always", RUN, with_container(restartPolicy="Always"), "started again whenever it ends"),
]
OF_LOGS = [
    ("variable", RUN, with_container(env=[{"name": "RESULTSFW_RESULTS", "value": "x"}]), "RESULTSFW_RESULTS"),
    (
        "mount",
        RUN,
        with_container(volumeMounts=[{"name": "data", "mountPath": "/resultsfw"}]),
        'mounts volume "data" at /resultsfw',
    ),
    (
        "mount below",
        RUN,
        with_container(volumeMounts=[{"name": "data", "mountPath": "/resultsfw/results/"}]),
        'mounts volume "data"',
    ),
    (
        "volume",
        RUN,
        plainpods.pod("true", volumes=[{"name": "resultsfw-results", "emptyDir": {}}]),
        'volume "resultsfw-results" of its own',
    ),
    ("twice", RUN, LOGS.prepare_pod(RUN, plainpods.pod("true")), "prepare each pod once"),
    ("comma", a_run(*RUN.steps, results=("a,b",)), plainpods.pod("true"), 'result "a,b"'),
    ("way out", a_run(*RUN.steps, results=("../a",)), plainpods.pod("true"), 'result "../a"'),
    ("long", a_run(*RUN.steps, results=("ü" * 128,)), plainpods.pod("true"), "at most 255 bytes"),
    (
        "step",
        a_run(Step(name="a/b", container="main", results=(ResultSpec(name="x"),))),
        plainpods.pod("true"),
        'Step "a/b"',
    ),
]
OF_MESSAGES = [
    (
        "logs",
        RUN,
        with_container(terminationMessagePolicy="FallbackToLogsOnError"),
        "FallbackToLogsOnError: its log would be taken for its results",
    ),
    (
        "covered",
        RUN,
        with_container(terminationMessagePath="/m", volumeMounts=[{"name": "data", "mountPath": "/m/"}]),
        'mounts volume "data" at /m',
    ),
]


@pytest.mark.parametrize(
    ("backend", "run", "pod", "said"),
    [
        pytest.param(backend, run, pod, said, id=f"{backend}-{name}")
        for backend, more in (("sidecar-logs", OF_LOGS), ("termination-message", OF_MESSAGES))
        for name, run, pod, said in [*EVERY, *more]
    ],
)
def test_what_is_in_the_way_is_refused_by_name(backend, run, pod, said):
    with pytest.raises(InputError) as caught:
        core_of(backend).prepare_pod(run, pod)
    assert said in caught.value.message
    assert caught.value.subject


@pytest.mark.parametrize("config", ["sidecar: plain", "wire: tekton"])
def test_a_sidecar_that_could_not_know_when_to_speak_is_refused(config):
    core = ResultsManager.from_flags({"results-from": "sidecar-logs", "config.sidecar-logs": config})
    with pytest.raises(InputError, match=config):
        core.prepare_pod(RUN, plainpods.pod("true"))


# When it has ended for good.


def seen(pod, *, main, sidecar=None, phase="Running", **metadata):
    """A prepared pod as the cluster has it."""
    status = {"phase": phase, "containerStatuses": [{"name": "main", "state": main}]}
    if sidecar is not None:
        status["initContainerStatuses"] = [{"name": RESULTS_SIDECAR, "state": sidecar}]
    return {**pod, "metadata": {**pod["metadata"], "uid": UID, **metadata}, "status": status}


def ended(code=0, at="2026-01-01T00:00:10Z", **more):
    return {
        "terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": at, **more}
    }


RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("policy", "rules", "code", "ready"),
    [
        ("Never", False, 1, True),
        ("OnFailure", False, 1, False),
        ("OnFailure", False, 0, True),
        ("Never", True, 1, False),
        ("Never", True, 0, True),
    ],
)
def test_a_container_that_will_be_started_again_has_not_ended(policy, rules, code, ready):
    pod = plainpods.pod("true", restartPolicy=policy)
    if rules:
        pod["spec"]["containers"][0]["restartPolicyRules"] = [{"action": "Restart"}]
    prepared = MESSAGES.prepare_pod(RUN, pod)
    assert MESSAGES.is_ready(RUN, seen(prepared, main=ended(code))) is ready
    assert MESSAGES.is_ready(RUN, seen(prepared, main=ended(code), phase="Failed"))
    prepared = LOGS.prepare_pod(RUN, pod)
    assert LOGS.is_ready(RUN, seen(prepared, main=ended(code), sidecar=ended())) is ready


def test_a_log_is_read_when_the_sidecar_has_ended_or_the_pod_goes():
    prepared = LOGS.prepare_pod(RUN, plainpods.pod("true"))
    assert not LOGS.is_ready(RUN, seen(prepared, main=ended(), sidecar=RUNNING))
    assert LOGS.is_ready(RUN, seen(prepared, main=ended(), sidecar=ended()))
    gone = {"deletionTimestamp": "2026-01-01T00:00:30Z"}
    assert LOGS.is_ready(RUN, seen(prepared, main=RUNNING, sidecar=RUNNING, **gone))


# Whether the sidecar was told before a Step had ended.


def stopped_log():
    before = wire.start_line(UID, wire.WATCH_SIGNAL) + value("a", "1")
    before += wire.absent_line("b", "task") + wire.absent_line("step-one.own", "step")
    digest = hashlib.sha256(before).hexdigest()
    return before + wire.end_line(UID, before.count(b"\n"), digest, wire.WHY_STOPPED)


def read(pod, **options):
    return LOGS.collect(RUN, pod, Logs([stopped_log()]), **options)


PREPARED = LOGS.prepare_pod(
    RUN, plainpods.pod("true", activeDeadlineSeconds=5, terminationGracePeriodSeconds=3)
)


@pytest.mark.parametrize("code", [0, 1, 137, 143])
@pytest.mark.parametrize("at", ["2026-01-01T00:00:09Z", "2026-01-01T00:00:10Z"])
def test_told_to_stop_is_the_regular_end(code, at):
    assert read(seen(PREPARED, main=ended(code, at), sidecar=ended())).ok


def test_a_container_that_ended_after_the_sidecar_is_reported():
    (problem,) = read(seen(PREPARED, main=ended(at="2026-01-01T00:00:11Z"), sidecar=ended())).problems
    assert problem.code == "TransportIncomplete"


@pytest.mark.parametrize(("at", "ok"), [("2026-01-01T00:00:09Z", True), ("2026-01-01T00:00:10Z", False)])
@pytest.mark.parametrize(
    "left",
    [
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:10Z"}},
        {"startTime": "2026-01-01T00:00:02Z"},
        {
            "conditions": [
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "TerminationByKubelet",
                    "lastTransitionTime": "2026-01-01T00:00:09Z",
                }
            ]
        },
    ],
    ids=["deleted", "deadline", "evicted"],
)
def test_a_container_that_took_all_of_its_grace_is_reported(left, at, ok):
    """After that the kubelet tells the sidecar whether or not the container has ended."""
    pod = seen(
        PREPARED, main=ended(137, at), sidecar=ended(at="2026-01-01T00:00:20Z"), **left.get("metadata", {})
    )
    pod["status"] |= {key: value for key, value in left.items() if key != "metadata"}
    assert read(pod).ok is ok


def test_a_pod_whose_containers_were_not_seen_to_end_is_looked_at_again():
    pod = seen(PREPARED, main=RUNNING, sidecar=RUNNING)
    with pytest.raises(TooEarlyError):
        read(pod)
    assert not read(pod, final=True).ok
    past = seen(PREPARED, main=RUNNING, sidecar=RUNNING, deletionTimestamp="2026-01-01T00:00:10Z")
    with pytest.raises(TooEarlyError):
        read(past)
    future = seen(PREPARED, main=RUNNING, sidecar=RUNNING, deletionTimestamp="9999-01-01T00:00:10Z")
    assert read(future).ok


@pytest.mark.slow
@given(st.text() | st.none() | st.integers() | st.just("2026-01-01T00:00:10"))
def test_no_time_is_too_odd(text):
    pod = seen(PREPARED, main=ended(at=text), sidecar=ended(at=text), deletionTimestamp=text)
    read(pod)


# Messages that containers write themselves.


def collected_from(text, *, code=0):
    pod = seen(MESSAGES.prepare_pod(RUN, plainpods.pod("true")), main=ended(code, message=text))
    return MESSAGES.collect(RUN, pod, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"key":"a","value":"1"}]', 'an entry of result "a" whose "type" is neither 1'),
        ('[{"key":"a","value":"1","type":"task"}]', 'an entry of result "a" whose "type"'),
        ('[{"key":"a","value":1,"type":1}]', 'value is not a string: result "a"'),
        ('[{"value":"1"}]', "an entry whose"),
        ('{"a":"1"}', "no JSON array of"),
        (
            '[{"key":"a","value":"1","type":1}]\n[{"key":"b","value":"2","type":1}]',
            "nothing before or behind it",
        ),
        ("cannot open /data: no such file", "no JSON array of"),
        ('[{"key":"a","value":"x\ufffdy","type":1}]', 'result "a" is not UTF-8'),
    ],
)
def test_a_message_that_is_not_of_the_format_is_reported(text, said):
    problems = collected_from(text).problems
    assert [said in problem.message for problem in problems] == [True], problems


def test_a_true_replacement_character_is_an_escape():
    collected = collected_from('[{"key":"a","value":"x\\ufffdy","type":1}]')
    assert (collected.problems, plainpods.values_of(collected)) == ((), {"a": "x\ufffdy"})


@given(st.dictionaries(st.sampled_from(["a", "b", "own_own"]), st.text(max_size=200)))
def test_what_pythons_json_writes_comes_as_it_was(values):
    """The one-liner of docs/how-to/embedding.md."""
    collected = collected_from(plainpods.message(**values))
    assert collected.ok, collected.problems
    expected = {name.replace("own_own", "one.own"): value for name, value in values.items()}
    assert plainpods.values_of(collected) == expected
