"""The backend ``termination-message``: pods made by hand, as the kubelet would report them."""

import base64
import hashlib
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import ProblemCode, ResultsManager, ResultSpec, Run, Stamp, Step
from resultsfw.plugins import load_backend

STAMP = Stamp("termination-message", 0, 4096)
CORE = ResultsManager.from_flags({})
BACKEND = load_backend("termination-message")
WHOLE = st.text(st.characters(exclude_categories=["Cs"]))


def entry(key, value, kind=1):
    return {"key": key, "value": value, "type": kind}


STARTED = entry("StartedAt", "2026-11-23T16:31:45.722Z", 3)


def go(*entries):
    """A message as Tekton's entrypoint writes it."""
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":"))


def cut(text, budget):
    """What the kubelet leaves of a text."""
    return text.encode()[:budget].decode("utf-8", "replace")


def a_run(*names, steps=("one",), own=()):
    """A run of Steps; ``own`` gives a Step's own results as (step, name)."""
    return Run(
        namespace="default",
        name="run",
        uid="u",
        results=tuple(ResultSpec(name=name) for name in names),
        steps=tuple(
            Step(
                name=step,
                container=f"step-{step}",
                results=tuple(ResultSpec(name=name) for whose, name in own if whose == step),
            )
            for step in steps
        ),
    )


def a_pod(*messages, extra=0, reason="Completed", phase="Succeeded", names=("one", "two", "three", "four")):
    """A pod whose Steps ended with these messages; ``extra`` init containers take their share."""
    containers = [{"name": f"step-{name}"} for name, _ in zip(names, messages, strict=False)]
    statuses = [
        {"name": one["name"], "state": {"terminated": {"exitCode": 0, "reason": reason, "message": message}}}
        for one, message in zip(containers, messages, strict=True)
    ]
    return {
        "metadata": {"name": "pod", "namespace": "default"},
        "spec": {"containers": containers, "initContainers": [{"name": f"init-{i}"} for i in range(extra)]},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


def collect(run, pod):
    return CORE.collect(run, pod, None, stamp=STAMP)


def values_of(collected):
    return {one.name: one.value for one in collected.results}


def codes(collected):
    return [problem.code for problem in collected.problems]


# Whole messages.


def test_results_come_from_every_steps_message():
    pod = a_pod(go(entry("a", "1"), STARTED), go(entry("a", "1"), entry("b", "2"), STARTED))
    collected = collect(a_run("a", "b", steps=("one", "two")), pod)
    assert collected.ok
    assert values_of(collected) == {"a": "1", "b": "2"}
    assert collected.results[0].source == 'termination message of container "step-two"'


def test_of_a_result_two_steps_wrote_the_later_steps_counts_whatever_the_order_of_statuses():
    pod = a_pod(go(entry("a", "first")), go(entry("a", "second")))
    pod["status"]["containerStatuses"].reverse()
    assert values_of(collect(a_run("a", steps=("one", "two")), pod)) == {"a": "second"}


def test_steps_own_results_belong_to_the_step_whose_message_carries_them():
    run = a_run("img", steps=("one", "two"), own=[("one", "img"), ("two", "img")])
    pod = a_pod(go(entry("img", "1", 4), STARTED), go(entry("img", "2", 4), entry("img", "task")))
    collected = collect(run, pod)
    assert values_of(collected) == {"img": "task"}
    assert {step: some[0].value for step, some in collected.step_results.items()} == {"one": "1", "two": "2"}


def test_a_result_named_as_an_internal_entry_is_a_result():
    pod = a_pod(go(entry("StartedAt", "mine"), entry("ExitCode", "mine too"), STARTED))
    assert values_of(collect(a_run("StartedAt", "ExitCode"), pod)) == {
        "StartedAt": "mine",
        "ExitCode": "mine too",
    }


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,6}\Z"), WHOLE, max_size=5), st.booleans())
def test_any_values_arrive_byte_for_byte(values, compress):
    """Guarantee 6: awkward bytes survive, compressed too."""
    text = go(*(entry(name, value) for name, value in values.items()), STARTED)
    if compress:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = deflate.compress(text.encode()) + deflate.flush()
        text = "tknz:" + base64.b64encode(packed).decode().rstrip("=")
    collected = collect(a_run(*values), a_pod(text))
    assert collected.ok
    assert values_of(collected) == values


def test_no_message_means_nothing_was_written():
    pod = a_pod("")
    del pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
    assert collect(a_run("a"), pod).ok


def test_a_step_that_has_not_ended_has_no_message():
    pod = a_pod(go(entry("a", "1")), go(entry("b", "2")))
    pod["status"]["containerStatuses"][1]["state"] = {"running": {}}
    assert values_of(collect(a_run("a", "b", steps=("one", "two")), pod)) == {"a": "1"}


def test_undeclared_entries_are_ignored():
    """Guarantee 7: a Step that writes its own entries cannot add a result."""
    pod = a_pod(go(entry("a", "1"), entry("forged", "x"), entry("forged", "x", 4), entry("b", "x", 6)))
    collected = collect(a_run("a", "b"), pod)
    assert values_of(collected) == {"a": "1"}
    assert collected.ignored == ("forged", "one.forged")


def test_carriers_tell_what_each_message_used_of_its_budget():
    text = go(entry("a", "é"), entry("own", "1", 4), STARTED)
    [carrier] = collect(a_run("a"), a_pod(text, extra=3)).transports
    assert (carrier.container, carrier.transport) == ("step-one", "termination message")
    assert (carrier.used, carrier.budget, carrier.cut) == (len(text.encode()), 3072, False)
    assert carrier.results == ("a", "step-one.own")


# Cut messages.


@pytest.mark.parametrize(("extra", "budget"), [(0, 4096), (2, 4096), (3, 3072), (4, 2457), (23, 512)])
def test_a_cut_message_names_the_result_at_the_cut_and_the_budget_of_this_pod(extra, budget):
    """Guarantee 1: a cut termination message is a failure naming what was lost; what stands whole is kept."""
    text = go(entry("small", "hello"), entry("big", "x" * 5000), STARTED)
    collected = collect(a_run("small", "big"), a_pod(cut(text, budget), extra=extra))
    assert values_of(collected) == {"small": "hello"}
    [problem] = collected.problems
    assert problem.code is ProblemCode.TRANSPORT_CUT
    assert (problem.result, problem.step, problem.size, problem.limit) == ("big", None, budget, budget)
    for part in ('container "step-one"', f"at {budget} bytes", f"limit of {budget} bytes", 'result "big"'):
        assert part in problem.message
    assert '{"data":{"results-from":"sidecar-logs"}}' in problem.hint
    assert collected.transports[0].cut


def test_every_place_of_a_cut_is_noticed_and_never_gives_a_wrong_value():
    """Guarantee 1, at each byte a message can be cut at."""
    values = {"a": 'é"\\', "b": "2" * 30, "c": "😀" * 8}
    whole = go(*(entry(name, value) for name, value in values.items()), STARTED)
    size = len(whole.encode())
    for keep in range(1, size):
        extra = 12_288 // keep - 1
        if 12_288 // (extra + 1) != keep:
            continue  # no pod has this budget
        collected = collect(a_run(*values), a_pod(cut(whole, keep), extra=extra))
        assert codes(collected) == [ProblemCode.TRANSPORT_CUT]
        assert values_of(collected).items() <= values.items()


def test_a_cut_before_any_name_says_who_may_be_lost():
    text = go(entry("a", "1"), entry("b", "2"))
    pod = a_pod(cut(text, 40), extra=306)  # 12288 / 307 = 40
    [problem] = collect(a_run("a", "b", "c"), pod).problems
    assert problem.result is None
    assert "results (of b, c) did not arrive whole" in problem.message


def test_a_cut_that_can_only_have_cost_one_names_it():
    text = go(entry("a", "1"), entry("b", "2"))
    [problem] = collect(a_run("a", "b"), a_pod(cut(text, 40), extra=306)).problems
    assert problem.result == "b"


def test_one_loss_that_later_steps_repeat_is_told_once():
    text = go(entry("small", "s"), entry("big", "x" * 5000))
    pod = a_pod(cut(text, 4096), cut(text, 4096), go(entry("small", "s")))
    collected = collect(a_run("small", "big", steps=("one", "two", "three")), pod)
    [problem] = collected.problems
    assert 'container "step-one"' in problem.message


def test_two_steps_that_lose_results_of_one_name_are_both_told():
    """Guarantee 1: each loss is named; a Step's own result is not another Step's."""
    text = go(entry("out", "x" * 5000, 4))
    run = a_run(steps=("one", "two"), own=[("one", "out"), ("two", "out")])
    collected = collect(run, a_pod(cut(text, 4096), cut(text, 4096)))
    assert [(one.step, one.result) for one in collected.problems] == [("one", "out"), ("two", "out")]


def test_a_value_that_a_later_step_overwrote_and_lost_is_not_kept_in_its_old_edition():
    """Guarantee 1: what is named as lost is not there under an earlier value."""
    run = a_run("a", "big", steps=("one", "two"))
    first = go(entry("a", "1"), entry("big", "old"), STARTED)
    second = go(entry("a", "1"), entry("big", "n" * 5000), STARTED)
    collected = collect(run, a_pod(first, cut(second, 4096)))
    assert values_of(collected) == {"a": "1"}
    assert collected.problems[0].result == "big"


def test_a_cut_compressed_message_keeps_what_comes_out_and_names_who_may_be_lost():
    names = [f"r{index}" for index in range(40)]
    values = {name: hashlib.sha256(name.encode()).hexdigest() * 2 for name in names}
    text = go(*(entry(name, value) for name, value in values.items()))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflate.compress(text.encode()) + deflate.flush()
    message = "tknz:" + base64.b64encode(packed).decode().rstrip("=")
    budget = 512
    assert len(message) > budget
    collected = collect(a_run(*names), a_pod(cut(message, budget), extra=23))
    assert codes(collected) == [ProblemCode.TRANSPORT_CUT]
    assert values_of(collected)
    assert values_of(collected).items() <= values.items()


# Garbage.


def test_something_else_in_the_message_is_a_failure_and_not_absence():
    """Guarantee 0: an unparsable message is never "Succeeded, no results"."""
    collected = collect(a_run("a"), a_pod("Segmentation fault"))
    [problem] = collected.problems
    assert problem.code is ProblemCode.TRANSPORT_CORRUPT
    assert "step-one" in problem.message
    assert "Segmentation" not in problem.message


@pytest.mark.parametrize("reason", ["ContainerCannotRun", "StartError", "ContainerStatusUnknown"])
def test_the_runtimes_own_words_about_a_container_that_never_ran_lose_nothing(reason):
    assert collect(a_run("a"), a_pod("exec: not found", reason=reason)).ok


@pytest.mark.parametrize(
    ("bad", "result"),
    [
        ({"key": "a", "value": 5, "type": 1}, "a"),
        ({"key": "a", "type": 1}, "a"),
        ({"key": "a", "value": None, "type": 1}, "a"),
        ({"key": 1, "value": "x", "type": 1}, None),
        ({"value": "x", "type": "TaskRunResult"}, None),
    ],
)
def test_an_entry_of_a_result_that_is_no_text_is_a_failure_and_costs_only_itself(bad, result):
    """Guarantee 0: it is never "Succeeded, no results"."""
    collected = collect(a_run("a", "b"), a_pod(go(bad, entry("b", "2"))))
    assert [(one.code, one.result) for one in collected.problems] == [(ProblemCode.TRANSPORT_CORRUPT, result)]
    assert values_of(collected) == {"b": "2"}


def test_entries_of_types_nobody_knows_are_passed_over():
    pod = a_pod(go({"key": "a", "value": 5, "type": 10}, {"key": "a", "value": "x"}, {"more": []}))
    collected = collect(a_run("a"), pod)
    assert collected.ok
    assert collected.results == ()


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")), st.integers(0, 200))
def test_any_message_gives_a_verdict(text, extra):
    """Guarantee 0: whatever stands in a message, there is a verdict, and its words can be written."""
    collected = collect(a_run("a"), a_pod(text, extra=extra))
    assert values_of(collected).keys() <= {"a"}
    json.dumps(CORE.status_patch(collected, {}, now="now"), ensure_ascii=False).encode()


# What our own entrypoint refused.


def refused(*records):
    return entry("ResultsRefused", json.dumps(records), 3)


def test_what_the_entrypoint_refused_is_named_with_both_numbers():
    records = refused(
        {"name": "big", "type": 1, "bytes": 5000, "limit": 3072, "reason": "TooLarge"},
        {"name": "raw", "type": 1, "reason": "NotUtf8"},
        {"name": "fifo", "type": 4, "reason": "NotRegularFile"},
        {"name": "link", "type": 1, "reason": "OutsideFolder"},
        {"name": "odd", "type": 1, "reason": "SomethingNew"},
    )
    run = a_run("small", "big", "raw", "link", "odd", own=[("one", "fifo")])
    collected = collect(run, a_pod(go(entry("small", "s"), records, STARTED)))
    assert values_of(collected) == {"small": "s"}
    assert [(one.code, one.result, one.step) for one in collected.problems] == [
        (ProblemCode.RESULT_TOO_LARGE, "big", None),
        (ProblemCode.NOT_UTF8, "raw", None),
        (ProblemCode.NOT_REGULAR_FILE, "fifo", "one"),
        (ProblemCode.OUTSIDE_FOLDER, "link", None),
        (ProblemCode.FILE_UNREADABLE, "odd", None),
    ]
    big = collected.problems[0]
    assert (big.size, big.limit) == (5000, 3072)
    for part in ('result "big"', "5000 bytes", "3072 bytes", "step-one"):
        assert part in big.message
    assert "sidecar-logs" in big.hint
    assert 'result "fifo" of Step "one"' in collected.problems[2].message


def test_a_refusal_that_later_steps_repeat_is_told_once_and_beats_an_older_value():
    big = refused({"name": "big", "type": 1, "bytes": 5000, "limit": 4096, "reason": "TooLarge"})
    pod = a_pod(go(entry("big", "old")), go(big), go(big))
    collected = collect(a_run("big", steps=("one", "two", "three")), pod)
    assert len(collected.problems) == 1
    assert 'container "step-two"' in collected.problems[0].message
    assert collected.results == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"more":3}]', "3 more results"),
        ("not JSON", "an unknown number of results"),
        ("{}", "an unknown number of results"),
        ("[1]", "an unknown number of results"),
        ("null", "an unknown number of results"),
        ("[" * 3000, "an unknown number of results"),
    ],
)
def test_refusals_without_a_name_fail_the_run_too(text, says):
    """Guarantee 1: where not even the names had room, that is a failure and not silence."""
    collected = collect(a_run("a"), a_pod(go(entry("ResultsRefused", text, 3))))
    [problem] = collected.problems
    assert problem.code is ProblemCode.TRANSPORT_INCOMPLETE
    assert says in problem.message


def test_names_first_and_then_how_many_more():
    record = {"name": "big", "type": 1, "bytes": 5000, "limit": 4096, "reason": "TooLarge"}
    collected = collect(a_run("big", "b", "c"), a_pod(go(refused(record, {"more": 2}))))
    assert codes(collected) == [ProblemCode.RESULT_TOO_LARGE, ProblemCode.TRANSPORT_INCOMPLETE]
    assert "2 more results" in collected.problems[1].message


def test_a_result_of_that_name_is_no_refusal():
    assert values_of(collect(a_run("ResultsRefused"), a_pod(go(entry("ResultsRefused", "x"))))) == {
        "ResultsRefused": "x"
    }


# The pod.


@pytest.mark.parametrize(
    ("states", "phase", "ready"),
    [
        (["terminated", "terminated"], "Running", True),
        (["terminated", "running"], "Running", False),
        (["terminated", "waiting"], "Pending", False),
        (["terminated"], "Running", False),
        ([], "Pending", False),
        (["terminated", "running"], "Failed", True),
        ([], "Failed", True),
        (["terminated", "terminated"], "Succeeded", True),
    ],
)
def test_a_pod_is_ready_when_all_its_steps_have_ended_or_it_has(states, phase, ready):
    """Guarantee 0: no verdict before everything is there to be read."""
    pod = a_pod("", "", phase=phase)
    pod["status"]["containerStatuses"] = [
        {"name": f"step-{name}", "state": {state: {}}}
        for name, state in zip(("one", "two"), states, strict=False)
    ]
    assert CORE.is_ready(a_run("a", steps=("one", "two")), pod, stamp=STAMP) is ready


def test_a_pod_without_a_status_is_not_ready():
    assert CORE.is_ready(a_run("a"), {"metadata": {}, "spec": {"containers": []}}, stamp=STAMP) is False


def unprepared():
    args = [
        "-post_file",
        "/tekton/run/0/out",
        "-step_metadata_dir",
        "/tekton/run/0/status",
        "-entrypoint",
        "sh",
    ]
    containers = [{"name": "step-one", "args": list(args)}, {"name": "other", "args": list(args)}]
    return {"metadata": {"name": "pod"}, "spec": {"containers": containers}}


def test_a_pod_is_right_as_it_is():
    prepared = CORE.prepare_pod(a_run("a"), unprepared())
    assert prepared["spec"] == unprepared()["spec"]
    assert prepared["metadata"]["annotations"] == {
        "resultsfw.dev/stamp": "termination-message/0",
        "resultsfw.dev/max-result-size": "4096",
    }


def test_compression_is_asked_of_the_steps_entrypoints_where_tekton_asks_for_it():
    core = ResultsManager.from_flags({"config.termination-message": "compress: true"})
    one, other = core.prepare_pod(a_run("a"), unprepared())["spec"]["containers"]
    assert one["args"] == [
        *("-post_file", "/tekton/run/0/out", "-step_metadata_dir", "/tekton/run/0/status"),
        "-compress_termination_message=true",
        *("-entrypoint", "sh"),
    ]
    assert other["args"] == unprepared()["spec"]["containers"][1]["args"]


def test_a_step_that_is_not_started_through_the_entrypoint_is_left_alone():
    core = ResultsManager.from_flags({"config.termination-message": "compress: true"})
    pod = {"spec": {"containers": [{"name": "step-one", "image": "i"}], "restartPolicy": "Never"}}
    assert core.prepare_pod(a_run("a"), pod)["spec"] == pod["spec"]


def test_the_backends_own_walls_are_in_its_capabilities():
    assert (BACKEND.capabilities.result_bytes, BACKEND.capabilities.run_bytes) == (4096, 12_288)
    assert BACKEND.capabilities.permissions == ()
    assert BACKEND.capabilities.delivery == "value"
