"""The whole controller while its API server, or a SIGKILL, does its worst: no run is lost, none doubled.

Each of these servers' faults alone stands in tests/kube; here all of the controller meets them, with 30 runs
at work through both backends.
"""

import random
import signal
import sys
import threading
from collections import Counter

import pytest
from controllerroom import condition
from faults import Dice, Strike

from resultsfw.cluster import CONFIG_MAPS, PODS

NAMES = [f"r{number:02}" for number in range(30)]
BACKENDS = ("termination-message", "sidecar-logs")


def create(room, *names):
    """Runs, whose backends take turns."""
    for number, name in enumerate(names):
        room.create(name, annotations={"resultsfw.dev/results-from": BACKENDS[number % 2]})


def new_seed():
    """Printed: pytest shows it beside a failure."""
    seed = random.SystemRandom().randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    return seed


def half_way(room):
    """Until all pods are there and none may end."""
    room.kubelet.go.clear()
    create(room, *NAMES)
    room.until(lambda: len(room.store.list(PODS)) == len(NAMES), seconds=60)


def finish(room, process=None):
    room.kubelet.go.set()
    room.until(lambda: room.done(*NAMES), seconds=90)
    room.assert_all_well(*NAMES)
    if process is not None:
        assert 'resultsfw_reconciles_total{result="bug"}' not in process.page("/metrics")[1]
        assert process.process.poll() is None


@pytest.fixture
def room(room):
    room.flags(allowed_results_from=",".join(BACKENDS))
    return room


@pytest.fixture
def process(room):
    one = room.start("--no-leader-elect")
    one.wait_for("this replica is the leader", seconds=60)
    return one


def test_a_watch_whose_start_is_refused_with_410(room, process):
    room.server.faults.fail("GET", "/taskruns?watch=", 410, 1)
    room.server.faults.fail("GET", "/pods?watch=", 410, 2)
    half_way(room)
    room.server.cut()
    finish(room, process)
    assert room.server.faults.suffered == {410: 3}
    assert 'watch_restarts_total{kind="pods"}' in process.page("/metrics")[1]


@pytest.mark.parametrize("fault", ["expired", "cut", "slow", "pause", "end", "bookmark"])
def test_a_watch_that_is_disturbed_at_its_events(room, process, fault):
    half_way(room)
    times = 1 if fault == "expired" else 4  # a list leaves events out
    for plural in ("taskruns", "pods"):
        room.server.faults.upset(plural, fault, times)
    room.server.faults.release.set()
    finish(room, process)
    assert room.server.faults.suffered == {fault: 2 * times}


def test_a_watch_that_stops_in_the_middle_of_a_line_keeps_nobody_else_waiting(room, process):
    half_way(room)
    room.server.faults.upset("configmaps", "pause", 1)
    room.flags(max_result_size="100")
    finish(room, process)
    assert room.server.faults.suffered == {"pause": 1}
    room.server.faults.release.set()
    process.wait_for("max-result-size=100")


def test_lists_in_pages_one_of_which_is_gone(room):
    room.server.page = 4
    room.server.faults.fail("GET", "/taskruns?limit=100&continue=", 410, 1)
    room.server.faults.fail("GET", "&continue=", 410, 1)
    half = NAMES[:20]
    create(room, *half)
    process = room.start("--no-leader-elect")
    room.until(lambda: room.done(*half), seconds=60)
    room.server.faults.fail("GET", "/pods?watch=", 410, 1)
    room.server.faults.fail("GET", "/pods?limit=100&labelSelector", 410, 1)
    create(room, *NAMES[20:])
    room.server.cut()
    finish(room, process)
    assert room.server.faults.suffered == {410: 4}
    assert room.server.requests["GET taskruns"] > len(half) // room.server.page


def test_a_bookmark_spares_a_quiet_watch_its_list(room, process):
    half_way(room)
    lists = room.server.lists["configmaps"]
    quiet = room.store.get(CONFIG_MAPS, "tekton-pipelines", "feature-flags")["metadata"]["resourceVersion"]
    room.server.faults.mark += 1
    room.until(lambda: room.server.marked["configmaps"] > 0)
    # All that happened before now is forgotten, as by an API server after some minutes.
    with room.store._lock:
        while int(quiet) >= room.store._history[0][0] - 1:
            room.store._history.popleft()
    room.server.cut()
    finish(room, process)
    room.flags(max_result_size="100")
    process.wait_for("max-result-size=100")
    assert room.server.lists["configmaps"] == lists


def test_refusals_of_every_kind_at_once(room, process):
    for method, part in (("PATCH", "/status"), ("PATCH", "/pods"), ("POST", "/pods"), ("GET", "/log")):
        for fault in (409, 429, 500, 503, "lost", "half"):
            if fault != 409 or part == "/status":
                room.server.faults.fail(method, part, fault, 1 if fault == 429 else 2)
    half_way(room)
    finish(room, process)
    assert room.server.faults.suffered == {
        409: 2,
        429: 4,
        **dict.fromkeys((500, 503, "lost", "half"), 8),
    }


def test_faults_at_random(room, process):
    seed = new_seed()
    dice = Dice(seed, faults=300)
    room.server.faults.dice, room.server.faults.longest = dice, 0.3
    half_way(room)
    room.server.cut()
    finish(room, process)
    sys.stdout.write(f"{dict(room.server.faults.suffered)}\n")
    assert dice.left <= 270


def test_sigkill_at_any_write(room):
    """Guarantee 4: killed before and after any write, and started again, it reaches the same status.

    A run whose verdict was written is not read again, and none has a second pod.
    """
    seed = new_seed()
    draw = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    reads, late = Counter(), []

    def reads_log(pod):
        name = pod.removesuffix("-pod")
        reads[name] += 1
        if room.done(name):
            late.append(name)

    room.server.reads_log = reads_log
    create(room, *NAMES)
    for _ in range(6):
        struck = threading.Event()
        strike = Strike(draw.randint(1, 30), draw.random() < 0.5, struck.set)
        process = room.start("--no-leader-elect")
        strike.do = lambda process=process, struck=struck: (process.process.kill(), struck.set())
        room.server.faults.strike = strike
        assert struck.wait(60), "it ended before it was killed"
        assert process.wait() == -signal.SIGKILL
    assert not room.done(*NAMES)
    finish(room, room.start("--no-leader-elect"))
    assert not late
    assert max(reads.values()) <= 1 + 6
    assert sum(reads.values()) <= len(NAMES) // 2 + 6 * 4  # a look of each worker may have been repeated


def test_every_run_says_its_own_backend(room, process):
    half_way(room)
    finish(room, process)
    for number, name in enumerate(NAMES):
        status = room.run(name)["status"]
        assert condition({"status": status})["status"] == "True"
        assert status["provenance"]["featureFlags"]["resultExtractionMethod"] == BACKENDS[number % 2]
