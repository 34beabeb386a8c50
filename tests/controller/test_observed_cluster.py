"""Writes of reconcilers are fenced, their conditions reported once, and their versions known as own."""

import pytest
from controllerharness import taskrun

from resultsfw.cluster import PODS
from resultsfw.controller.condition_observer import ConditionObserver
from resultsfw.controller.fenced_cluster import FencedCluster
from resultsfw.controller.observed_cluster import ObservedCluster
from resultsfw.controller.write_tracker import WriteTracker
from resultsfw.errors import ConflictError, UnavailableError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import TASKRUNS


def status(value, reason="r"):
    return {"status": {"conditions": [{"type": "Succeeded", "status": value, "reason": reason}]}}


class Writer(ObservedCluster):
    """A cluster as reconcilers see it: fenced and observed."""

    def __init__(self, store, changed, may):
        self.writes, self.conditions = WriteTracker(), ConditionObserver(changed)
        super().__init__(FencedCluster(store, may), TASKRUNS, self.writes, self.conditions)

    def is_own(self, namespace, name, version):
        return self.writes.is_own(namespace, name, version)

    def forget(self, namespace, name):
        self.writes.forget(namespace, name)
        self.conditions.forget(namespace, name)


class Writers:
    def __init__(self):
        self.store = Store()
        self.told = []
        self.may = True
        self.cluster = self.another()
        self.store.create(TASKRUNS, taskrun("r"))

    def another(self):
        def changed(old, new):
            (condition,) = new["status"]["conditions"]
            self.told.append((old.get("status"), condition["status"]))

        return Writer(self.store, changed, lambda: self.may)

    def write(self, cluster, value, reason="r", **metadata):
        patch = {"metadata": metadata, **status(value, reason)}
        return cluster.patch(TASKRUNS, "runs", "r", patch, subresource="status")

    def reconcile(self, cluster, *values):
        """As a reconciliation does: read once, then write under the version that is known."""
        run = cluster.get(TASKRUNS, "runs", "r")
        for number, value in enumerate(values):
            version = run["metadata"]["resourceVersion"]
            run = self.write(cluster, value, f"{value}{number}", resourceVersion=version)
        return run["metadata"]["resourceVersion"]


@pytest.fixture
def writers():
    return Writers()


def test_every_change_of_the_condition_is_reported_with_the_one_before(writers):
    writers.reconcile(writers.cluster, "Unknown", "Unknown", "True")
    assert writers.told == [(None, "Unknown"), ("Unknown", "Unknown"), ("Unknown", "True")]


def test_a_refused_write_is_not_reported(writers):
    run = writers.cluster.get(TASKRUNS, "runs", "r")
    writers.reconcile(writers.another(), "Unknown")
    writers.told.clear()
    with pytest.raises(ConflictError):
        writers.write(writers.cluster, "True", resourceVersion=run["metadata"]["resourceVersion"])
    assert writers.told == []


def test_one_of_two_writers_reports_a_change(writers):
    writers.reconcile(writers.cluster, "Unknown")
    writers.reconcile(writers.another(), "True")
    assert writers.told == [(None, "Unknown"), ("Unknown", "True")]


def test_only_own_versions_are_own_writes(writers):
    version = writers.reconcile(writers.cluster, "Unknown", "Unknown")
    assert writers.cluster.is_own("runs", "r", version)
    foreign = writers.store.patch(TASKRUNS, "runs", "r", {"spec": {"status": "TaskRunCancelled"}})
    assert not writers.cluster.is_own("runs", "r", foreign["metadata"]["resourceVersion"])
    assert not writers.cluster.is_own("runs", "other", version)
    writers.cluster.forget("runs", "r")
    assert not writers.cluster.is_own("runs", "r", version)


def test_a_write_over_an_unseen_version_is_not_an_own_write(writers):
    """A cancel between a reconciliation's read and its unconditional patch must be reconciled."""
    writers.cluster.get(TASKRUNS, "runs", "r")
    writers.store.patch(TASKRUNS, "runs", "r", {"spec": {"status": "TaskRunCancelled"}})
    run = writers.cluster.patch(TASKRUNS, "runs", "r", {"metadata": {"annotations": {"a": "b"}}})
    version = run["metadata"]["resourceVersion"]
    assert not writers.cluster.is_own("runs", "r", version)
    run = writers.write(writers.cluster, "Unknown", resourceVersion=version)
    assert not writers.cluster.is_own("runs", "r", run["metadata"]["resourceVersion"])
    version = writers.reconcile(writers.cluster, "Unknown")
    assert writers.cluster.is_own("runs", "r", version)


def test_a_replica_that_is_not_the_leader_writes_nothing(writers):
    writers.may = False
    with pytest.raises(UnavailableError, match="not the leader"):
        writers.cluster.patch(TASKRUNS, "runs", "r", {})
    with pytest.raises(UnavailableError):
        writers.cluster.create(PODS, {})
    with pytest.raises(UnavailableError):
        writers.cluster.delete(TASKRUNS, "runs", "r")
    assert writers.cluster.get(TASKRUNS, "runs", "r")


def test_a_late_read_by_another_reconciliation_changes_nothing(writers):
    """A PipelineRun reads its child from a cache that lags behind, while the child is reconciled."""
    before = writers.cluster.get(TASKRUNS, "runs", "r")
    version = writers.reconcile(writers.cluster, "Unknown")
    writers.told.clear()
    for observer in (writers.cluster.writes, writers.cluster.conditions):
        observer.on_read(before)
    run = writers.write(writers.cluster, "Unknown", "Unknown0", resourceVersion=version)
    assert writers.cluster.is_own("runs", "r", run["metadata"]["resourceVersion"])
    assert writers.told == []
