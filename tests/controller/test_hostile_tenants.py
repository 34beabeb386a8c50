"""Controller processes beside hostile objects: the runs of a good tenant succeed under every leader."""

import contextlib
import signal

import hostile
import pytest
from controllerharness import MANAGED_BY, NAMESPACE, ControllerHarness, condition
from pluginsite import Site

from resultsfw.cluster import Kind
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

pytestmark = pytest.mark.slow

LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease")
LIMITS = {"RLIMIT_AS": 4 << 30, "RLIMIT_CPU": 300}
QUICK = {"lease_seconds": 6, "renew_deadline": 4}
PATIENCE = 180
"""Seconds that nothing here comes near, on an idle machine."""

_GOOD = {"name": "one", "image": "i", "script": "printf x > $(results.digest.path)"}

_REASONS = ("TaskRunValidationFailed", "PipelineValidationFailed", "TaskRunResolutionFailed")
"""Of a run that is unreadable itself, or whose Task is."""

_OVER_THE_LIMIT = [
    name for name in hostile.SUBSTITUTION if any(word in name for word in ("grow", "8,000", "elements"))
]
"""Inputs whose substitution would exceed the size of an object."""


def create(harness, objects):
    for kind, obj in objects:
        harness.store.create(kind, obj)


def good(harness, number):
    """A good tenant's TaskRun and PipelineRun."""
    harness.create(f"good{number}")
    task = {"results": [{"name": "digest"}], "steps": [_GOOD]}
    spec = {"managedBy": MANAGED_BY, "pipelineSpec": {"tasks": [{"name": "a", "taskSpec": task}]}}
    name = f"good-pipeline{number}"
    harness.store.create(PIPELINERUNS, {"metadata": {"name": name, "namespace": "runs"}, "spec": spec})


def ended_well(harness, number):
    pipelinerun = harness.store.get(PIPELINERUNS, "runs", f"good-pipeline{number}")
    return all(condition(run).get("status") == "True" for run in (harness.run(f"good{number}"), pipelinerun))


def bad(harness, namespace="bad"):
    return [run for kind in (TASKRUNS, PIPELINERUNS) for run in harness.store.list(kind, namespace)]


def refused(runs):
    """Whether every one of these hostile runs was ended by name."""
    return all(condition(run).get("status") == "False" for run in runs)


class Takeover:
    """Two replicas and every hostile input, each in a namespace of its own, while the leader is killed.

    The good tenant's runs are created before and after the leader is killed. All inputs share the processes:
    a takeover takes as long as the lease.

    Attributes:
        settled: Of each input, whether its runs were ended, or left alone, under the first leader.
        log: Lines of the first leader, until it is killed.
        good: Whether the good tenant's runs ended before and after the takeover.
    """

    def __init__(self, harness):
        self.harness = harness
        self.inputs = {**hostile.UNREADABLE, **hostile.FOREIGN, **hostile.SUBSTITUTION}
        self.namespaces = {name: f"bad{number}" for number, name in enumerate(self.inputs)}
        harness.server.splices.update(hostile.SPLICES)
        for name, objects in self.inputs.items():
            create(harness, hostile.moved(objects, self.namespaces[name]))
        self.leader = harness.start(limits=LIMITS, **QUICK)
        self.leader.wait_for("this replica is the leader", PATIENCE)
        self.standby = harness.start(limits=LIMITS, **QUICK)
        self.good = [self._good_runs_end(1)]
        with contextlib.suppress(AssertionError):
            harness.until(lambda: all(map(self._is_settled, self.inputs)), PATIENCE)
        self.settled = {name: self._is_settled(name) for name in self.inputs}
        self.standby.wait_for("caches synced", PATIENCE)
        self.log = list(self.leader.lines)
        self.leader_was_alive = self.leader.process.poll() is None
        self.leader.signal(signal.SIGKILL)
        self.standby.wait_for("this replica is the leader", PATIENCE)
        self.good.append(self._good_runs_end(2))

    def runs(self, name):
        """The runs of an input, without those that its PipelineRun makes: a new one has no status yet."""
        found = bad(self.harness, self.namespaces[name])
        return [run for run in found if not run["metadata"].get("ownerReferences")]

    def _good_runs_end(self, number):
        good(self.harness, number)
        with contextlib.suppress(AssertionError):
            self.harness.until(lambda: ended_well(self.harness, number), PATIENCE)
        return ended_well(self.harness, number)

    def _is_settled(self, name):
        if name in hostile.FOREIGN:
            return True
        if name in hostile.UNREADABLE or name in _OVER_THE_LIMIT:
            return refused(self.runs(name))
        return all(run.get("status") for run in self.runs(name))


@pytest.fixture(scope="module")
def takeover(tmp_path_factory):
    harness = ControllerHarness(tmp_path_factory.mktemp("takeover"))
    try:
        yield Takeover(harness)
    finally:
        harness.close()


def test_other_tenants_runs_succeed_under_both_leaders_beside_every_hostile_input(takeover):
    assert takeover.leader_was_alive
    assert takeover.good == [True, True]
    assert takeover.standby.process.poll() is None
    assert takeover.standby.page("/healthz") == (200, "ok\n")


def test_the_lease_changes_hands_once(takeover):
    lease = takeover.harness.store.get(LEASES, NAMESPACE, "resultsfw-controller")
    assert lease["spec"]["leaseTransitions"] == 1


@pytest.mark.parametrize("name", hostile.UNREADABLE)
def test_a_run_that_cannot_be_reconciled_is_marked_as_failed(takeover, name):
    assert takeover.settled[name]
    for run in takeover.runs(name):
        assert condition(run)["status"] == "False"
        assert condition(run)["reason"] in _REASONS
        assert run["status"]["completionTime"]


@pytest.mark.parametrize("name", hostile.FOREIGN)
def test_an_object_of_another_controller_that_cannot_be_reconciled_is_left_alone(takeover, name):
    assert not any(run.get("status") for run in takeover.runs(name))


@pytest.mark.parametrize("name", hostile.SUBSTITUTION)
def test_the_substitution_of_a_hostile_run_finishes_under_the_first_leader(takeover, name):
    namespace = takeover.namespaces[name]
    assert takeover.settled[name], [line for line in takeover.log if f"{namespace}/" in str(line)]
    if name in _OVER_THE_LIMIT:
        for run in takeover.runs(name):
            assert condition(run)["status"] == "False"
            assert "over the limit of 1572864 bytes" in condition(run)["message"]


def test_an_object_that_cannot_be_decoded_is_logged_and_counted(harness):
    harness.server.splices.update(hostile.SPLICES)
    create(harness, hostile.FOREIGN["a PipelineRun of another controller"])
    leader = harness.start(limits=LIMITS, **QUICK)
    leader.wait_for("this replica is the leader", PATIENCE)
    standby = harness.start(limits=LIMITS, **QUICK)
    standby.wait_for("caches synced", PATIENCE)
    for process in (leader, standby):
        said = process.wait_for("nested in")["message"]
        assert said.startswith("PipelineRun bad/bad ")
        assert "it is nested" in said
        metrics = process.page("/metrics")[1]
        assert 'resultsfw_unreadable_objects{resource="pipelineruns"} 1.0' in metrics
        assert 'resultsfw_unreadable_objects{resource="taskruns"} 0.0' in metrics
    harness.store.delete(PIPELINERUNS, "bad", "bad")
    good(harness, 3)
    harness.until(lambda: ended_well(harness, 3), PATIENCE)
    assert 'resultsfw_unreadable_objects{resource="pipelineruns"} 0.0' in leader.page("/metrics")[1]


def test_objects_that_become_unreadable_restart_no_watch(harness):
    process = harness.start("--no-leader-elect", limits=LIMITS)
    process.wait_for("this replica is the leader", PATIENCE)
    harness.server.splices.update(hostile.SPLICES)
    for objects in (*hostile.UNREADABLE.values(), *hostile.FOREIGN.values()):
        create(harness, objects[:1])
        for kind, obj in objects[:1]:
            harness.store.patch(kind, "bad", obj["metadata"]["name"], {"metadata": {"labels": {"a": "b"}}})
            harness.store.delete(kind, "bad", obj["metadata"]["name"])
    good(harness, 1)
    harness.until(lambda: ended_well(harness, 1), PATIENCE)
    restarts = [line for line in process.page("/metrics")[1].splitlines() if "watch_restarts_total{" in line]
    assert not restarts, restarts


@pytest.fixture(scope="module")
def one_leader(tmp_path_factory):
    """A process with every text that names a backend which no flag allows, each in a namespace of its own.

    The backend leaves word that it was imported, in the file ``imported``, before it ends its process.
    """
    folder = tmp_path_factory.mktemp("backends")
    site = folder / "site"
    site.mkdir()
    harness = ControllerHarness(folder)
    harness.imported = folder / "imported"
    word = f"pathlib.Path({str(harness.imported)!r}).touch()"
    Site(site).backend("hostile", f"import os, pathlib\n{word}\nos._exit(3)\n")
    harness.server.splices.update(hostile.SPLICES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        for number, objects in enumerate(hostile.BACKENDS.values()):
            create(harness, hostile.moved(objects, f"bad{number}"))
            if any("finalizers" in obj["metadata"] for _, obj in objects):
                harness.store.delete(TASKRUNS, f"bad{number}", "bad")
        harness.process = harness.start("--no-leader-elect", limits=LIMITS)
    try:
        harness.process.wait_for("this replica is the leader", PATIENCE)
        yield harness
    finally:
        harness.close()


@pytest.mark.parametrize("name", hostile.BACKENDS)
def test_an_object_that_names_a_backend_which_no_flag_allows_imports_nothing(one_leader, name):
    harness, number = one_leader, list(hostile.BACKENDS).index(name)
    if any("finalizers" in obj["metadata"] for _, obj in hostile.BACKENDS[name]):
        harness.until(lambda: not bad(harness, f"bad{number}"), PATIENCE)
    else:
        harness.until(
            lambda: all(
                condition(run).get("status") in ("True", "False") for run in bad(harness, f"bad{number}")
            ),
            PATIENCE,
        )
    good(harness, number)
    harness.until(lambda: ended_well(harness, number), PATIENCE)
    assert not harness.imported.exists()
    assert harness.process.process.poll() is None


STALLING = """
import time
from resultsfw import Capabilities, Extraction, ExtractedResult, hookimpl

capabilities = Capabilities(summary="does not come back for one run")

@hookimpl
def prepare_pod(run, pod):
    while run.namespace == "bad":
        time.sleep(0.05)
    return 0

@hookimpl
def pod_ready(pod):
    return pod["status"]["phase"] == "Succeeded"

@hookimpl
def extract(run, pod):
    return Extraction(results=(ExtractedResult(name="digest", value=pod["metadata"]["name"], source="s"),))
"""


def test_a_run_that_stalls_a_worker_fails_the_health_check_is_reported_and_stalls_no_third_process(
    harness, tmp_path, monkeypatch
):
    folder = tmp_path / "site"
    folder.mkdir()
    Site(folder).backend("stalling", STALLING)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    harness.flags(results_from="stalling")
    create(harness, [hostile.taskrun(results=[{"name": "digest"}])])
    first = harness.start(stalled_after=4, leader_elect=False)
    said = first.wait_for("TaskRun bad/bad: a worker has been reconciling it for more than 4 s", PATIENCE)
    assert "prepare_pod" in said["message"], "where it is"
    status, text = first.page("/healthz")
    assert (status, text) == (503, "a worker is stalled by TaskRun bad/bad\n")
    shown = 'resultsfw_stalled_run_seconds{kind="TaskRun",name="bad",namespace="bad"}'
    assert shown in first.page("/metrics")[1]
    good(harness, 1)
    harness.until(lambda: ended_well(harness, 1), PATIENCE)
    noted = {"resultsfw.dev/stalled": "1"}
    harness.until(lambda: bad(harness)[0]["metadata"].get("annotations") == noted, PATIENCE)
    first.signal(signal.SIGKILL)  # as the liveness probe does in the end
    second = harness.start(stalled_after=4, leader_elect=False)
    second.wait_for("this replica is the leader", PATIENCE)
    good(harness, 2)
    harness.until(lambda: ended_well(harness, 2), PATIENCE)
    harness.until(lambda: refused(bad(harness)), PATIENCE)
    (run,) = bad(harness)
    assert condition(run)["reason"] == "TaskRunReconcileFailed"
    second.signal(signal.SIGKILL)
    third = harness.start(stalled_after=4, leader_elect=False)
    third.wait_for("this replica is the leader", PATIENCE)
    good(harness, 3)
    harness.until(lambda: ended_well(harness, 3), PATIENCE)
    assert third.page("/healthz") == (200, "ok\n")
