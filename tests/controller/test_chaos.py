"""The controller process while its API server fails, or a SIGKILL ends it: no run is lost, none doubled.

Each of these servers' faults alone stands in tests/kube; here all of the controller meets them, with 30 runs
at work through both backends.
"""

import random
import signal
import sys
import threading
from collections import Counter

import pytest
from controllerharness import condition
from faults import Dice, Strike

from resultsfw.cluster import CONFIG_MAPS, PODS
from resultsfw.controller.live_flags import CONFIG_MAP, OTHERS

pytestmark = pytest.mark.slow

NAMES = [f"r{number:02}" for number in range(30)]
BACKENDS = ("termination-message", "sidecar-logs")


def create(harness, *names):
    """Runs, whose backends alternate."""
    for number, name in enumerate(names):
        harness.create(name, annotations={"resultsfw.dev/results-from": BACKENDS[number % 2]})


def new_seed():
    """Printed: pytest shows it beside a failure."""
    seed = random.SystemRandom().randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    return seed


def half_way(harness):
    """Until all pods are there and none may end."""
    harness.kubelet.go.clear()
    create(harness, *NAMES)
    harness.until(lambda: len(harness.store.list(PODS)) == len(NAMES), seconds=60)


def finish(harness, process=None):
    harness.kubelet.go.set()
    harness.until(lambda: harness.done(*NAMES), seconds=90)
    harness.assert_all_succeeded(*NAMES)
    if process is not None:
        assert 'resultsfw_reconciles_total{kind="TaskRun",result="bug"} 0.0' in process.page("/metrics")[1]
        assert process.process.poll() is None


@pytest.fixture
def harness(harness):
    harness.flags(allowed_results_from=",".join(BACKENDS))
    return harness


@pytest.fixture
def process(harness):
    one = harness.start("--no-leader-elect")
    one.wait_for("this replica is the leader", seconds=60)
    return one


def test_runs_finish_although_watches_start_with_410(harness, process):
    harness.server.faults.fail("GET", "/taskruns?watch=", 410, 1)
    harness.server.faults.fail("GET", "/pods?watch=", 410, 2)
    half_way(harness)
    harness.server.cut()
    finish(harness, process)
    assert harness.server.faults.suffered == {410: 3}
    assert 'watch_restarts_total{resource="pods"}' in process.page("/metrics")[1]


@pytest.mark.parametrize("faults", [("slow", "expired"), ("cut", "pause"), ("end", "bookmark")], ids="-".join)
def test_runs_finish_although_watches_are_disturbed_at_their_events(harness, process, faults):
    half_way(harness)
    # "expired" comes last: a list leaves events out.
    times = {fault: 1 if fault == "expired" else 3 for fault in faults}
    for plural in ("taskruns", "pods"):
        for fault in faults:
            harness.server.faults.upset(plural, fault, times[fault])
    harness.server.faults.release.set()
    finish(harness, process)
    # A watch that starts again after the last run has ended is sent what it missed.
    harness.until(lambda: harness.server.faults.suffered == {fault: 2 * times[fault] for fault in faults})


def test_a_watch_that_stops_within_a_line_delays_no_other_watch(harness, process):
    half_way(harness)
    harness.server.faults.upset("configmaps", "pause", 1)
    harness.flags(max_result_size="100")
    finish(harness, process)
    assert harness.server.faults.suffered == {"pause": 1}
    harness.server.faults.release.set()
    process.wait_for("max-result-size=100")


def test_runs_finish_although_pages_of_lists_expire(harness):
    harness.server.page = 4
    harness.server.faults.fail("GET", "/taskruns?limit=100&continue=", 410, 1)
    harness.server.faults.fail("GET", "&continue=", 410, 1)
    half = NAMES[:20]
    create(harness, *half)
    process = harness.start("--no-leader-elect")
    harness.until(lambda: harness.done(*half), seconds=60)
    harness.server.faults.fail("GET", "/pods?watch=", 410, 1)
    harness.server.faults.fail("GET", "/pods?limit=100&labelSelector", 410, 1)
    create(harness, *NAMES[20:])
    harness.server.cut()
    finish(harness, process)
    assert harness.server.faults.suffered == {410: 4}
    assert harness.server.requests["GET taskruns"] > len(half) // harness.server.page


def test_a_quiet_watch_resumes_from_a_bookmark_without_a_list(harness, process):
    half_way(harness)
    lists = harness.server.lists["configmaps"]
    quiet = harness.store.get(CONFIG_MAPS, "tekton-pipelines", "feature-flags")["metadata"]["resourceVersion"]
    harness.server.faults.mark += 1
    harness.until(lambda: harness.server.marked["configmaps"] >= len((CONFIG_MAP, *OTHERS)))
    # All that happened before now is forgotten, as by an API server after some minutes.
    with harness.store._lock:
        while int(quiet) >= harness.store._history[0][0] - 1:
            harness.store._history.popleft()
    harness.server.cut()
    finish(harness, process)
    harness.flags(max_result_size="100")
    process.wait_for("max-result-size=100")
    assert harness.server.lists["configmaps"] == lists


def test_runs_finish_although_every_kind_of_request_fails(harness, process):
    for method, part in (("PATCH", "/status"), ("PATCH", "/pods"), ("POST", "/pods"), ("GET", "/log")):
        for fault in (409, 429, 500, 503, "lost", "half"):
            if fault != 409 or part == "/status":
                harness.server.faults.fail(method, part, fault, 1 if fault == 429 else 2)
    half_way(harness)
    finish(harness, process)
    assert harness.server.faults.suffered == {
        409: 2,
        429: 4,
        **dict.fromkeys((500, 503, "lost", "half"), 8),
    }


def test_runs_finish_although_random_requests_and_watches_fail(harness, process):
    seed = new_seed()
    dice = Dice(seed, faults=300)
    harness.server.faults.dice, harness.server.faults.longest = dice, 0.3
    half_way(harness)
    harness.server.cut()
    finish(harness, process)
    sys.stdout.write(f"{dict(harness.server.faults.suffered)}\n")
    assert dice.left <= 270


def test_a_sigkill_before_or_after_any_write_loses_no_run(harness):
    """Guarantee 4: killed before and after any write, and started again, it reaches the same status.

    A run whose verdict was written is not read again, and none has a second pod.
    """
    seed = new_seed()
    draw = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    reads, late = Counter(), []

    def reads_log(pod):
        name = pod.removesuffix("-pod")
        reads[name] += 1
        if harness.done(name):
            late.append(name)

    harness.server.reads_log = reads_log
    create(harness, *NAMES)
    for _ in range(6):
        struck = threading.Event()
        strike = Strike(draw.randint(1, 30), draw.random() < 0.5, struck.set)
        process = harness.start("--no-leader-elect")
        strike.do = lambda process=process, struck=struck: (process.process.kill(), struck.set())
        harness.server.faults.strike = strike
        assert struck.wait(60), "it ended before it was killed"
        assert process.wait() == -signal.SIGKILL
    assert not harness.done(*NAMES)
    finish(harness, harness.start("--no-leader-elect"))
    assert not late
    assert max(reads.values()) <= 1 + 6
    assert sum(reads.values()) <= len(NAMES) // 2 + 6 * 4  # of each worker one may be repeated


def test_every_run_records_its_own_backend(harness, process):
    half_way(harness)
    finish(harness, process)
    for number, name in enumerate(NAMES):
        status = harness.run(name)["status"]
        assert condition({"status": status})["status"] == "True"
        assert status["provenance"]["featureFlags"]["resultExtractionMethod"] == BACKENDS[number % 2]
