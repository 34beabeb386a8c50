"""The backend ``sidecar-logs`` bounds what it reads, and reports a read that fails."""

import itertools
import tracemalloc

import pytest
from sidecarlogs import (
    CORE,
    Logs,
    a_pod,
    a_run,
    codes,
    collect,
    log_of,
    tekton_lines,
    value,
    values_of,
)

from resultsfw import ProblemCode, Stamp
from resultsfw.errors import ForbiddenError, NotFoundError, UnavailableError
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw_backends.sidecar_logs import TEKTON_LOG_BYTES
from resultsfw_sidecar import wire


def test_a_line_of_100_megabytes_stops_reading_at_the_cap():
    """Guarantee 3: stop reading at the first byte too many."""
    cluster = Logs(itertools.chain([log_of(end=False)], itertools.repeat(b"x" * 65_536, 1600)))
    collected = collect(a_run("a"), cluster)
    assert codes(collected)[0] is ProblemCode.TRANSPORT_CORRUPT
    most = collected.problems[0].limit
    assert f"more than {most} bytes" in collected.problems[0].message
    assert most < 70_000
    assert cluster.asked == ("default", "pod", RESULTS_SIDECAR, most + 1)
    assert cluster.pulled == most + 1
    assert cluster.closed
    assert collected.transports[0].cut
    assert collected.transports[0].used == most


def test_a_stream_that_gives_more_than_was_asked_for_is_left_at_the_cap():
    pulled = []

    def stream(*_args, **_more):
        for _ in range(1600):
            pulled.append(1)
            yield b"x" * 65_536

    cluster = Logs([])
    cluster.read_log = stream
    assert not collect(a_run("a"), cluster).ok
    assert len(pulled) == 1


@pytest.mark.slow
@pytest.mark.parametrize("junk", [b"\n", b"{}\n", b'{"type":"task","name":"n","value":"v","sha256":""}\n'])
def test_a_log_of_nothing_but_junk_takes_bounded_memory(junk):
    """Guarantee 3: a problem is larger than the empty line it speaks of; there must not be one for each."""
    size = 1_500_000
    tracemalloc.start()
    try:
        cluster = Logs(itertools.repeat(junk * (50_000 // len(junk)), 40))
        collected = collect(a_run("a"), cluster, size=size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024
    assert len(collected.problems) < 110
    assert cluster.pulled < 1_000_000
    assert cluster.closed
    assert any("more lines" in one.message and "stopped" in one.message for one in collected.problems)


def test_of_many_bad_lines_each_declared_result_is_still_named():
    names = [f"r{index}" for index in range(300)]
    lines = [value(name, "1")[:-20] + b"\n" for name in names]
    collected = collect(a_run(*names), log_of(b"junk\n" * 200, *lines))
    assert {one.result for one in collected.problems} >= set(names)
    assert any("100 more lines" in one.message for one in collected.problems)


def test_forged_names_without_number_are_not_all_handed_on():
    """Guarantee 3, on Tekton's wire, whose log may have many more bytes than the limits allow values."""
    log = tekton_lines(*((f"forged{index}", "x") for index in range(5000)), ("a", "1"))
    collected = collect(a_run("a"), log, speaks=wire.TEKTON)
    assert values_of(collected) == {"a": "1"}
    assert len(collected.ignored) == 1000


def test_tektons_log_may_be_as_large_as_it_prints():
    cluster = Logs([tekton_lines(("a", "1"))])
    collect(a_run("a"), cluster, speaks=wire.TEKTON)
    assert cluster.asked[3] == TEKTON_LOG_BYTES + 1


@pytest.mark.parametrize("error", [UnavailableError("cut stream"), ForbiddenError("no pods/log")])
def test_a_read_that_can_come_right_is_raised_and_at_the_end_a_verdict(error):
    """Guarantee 0: a failed read is retried while it can come right, and then a failure of its own."""
    log = log_of(value("a", "1"))
    cluster = Logs([log[:-50]], error)
    with pytest.raises(type(error)):
        collect(a_run("a"), cluster)
    assert cluster.closed
    collected = collect(a_run("a"), Logs([log[:-50]], error), final=True)
    assert codes(collected) == [ProblemCode.TRANSPORT_UNREADABLE]
    assert error.message in collected.problems[0].message


def test_a_log_that_is_gone_is_a_verdict_at_once():
    collected = collect(a_run("a"), Logs([], NotFoundError("log gone")))
    assert codes(collected) == [ProblemCode.TRANSPORT_UNREADABLE]


def test_a_stream_that_is_no_generator_is_closed_too():
    class Stream:
        closed = False

        def __iter__(self):
            return iter([log_of(value("a", "1"))])

        def close(self):
            self.closed = True

    cluster = Logs([])
    stream = Stream()
    cluster.read_log = lambda *_args, **_more: stream
    assert collect(a_run("a"), cluster).ok
    assert stream.closed


def test_a_pod_without_the_sidecar_cannot_be_read():
    pod = a_pod()
    pod["spec"]["containers"].pop()
    [problem] = collect(a_run("a"), b"", pod=pod).problems
    assert problem.code is ProblemCode.TRANSPORT_UNREADABLE
    assert RESULTS_SIDECAR in problem.message


@pytest.mark.parametrize(
    ("state", "phase", "ready"),
    [
        ({"terminated": {}}, "Running", True),
        ({"running": {}}, "Running", False),
        ({"running": {}}, "Failed", False),
        ({"waiting": {}}, "Pending", False),
        ({"waiting": {}}, "Failed", True),
        ({}, "Succeeded", True),
    ],
)
def test_a_pod_is_ready_when_the_sidecar_has_spoken(state, phase, ready):
    """Guarantee 0: no verdict while the sidecar may still print."""
    assert (
        CORE.is_ready(a_run("a"), a_pod(state=state, phase=phase), stamp=Stamp("sidecar-logs", 1, 1)) is ready
    )
