"""What the reconciler writes: only while it may, told once, and known as its own."""

import pytest
from controllerroom import taskrun

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


class Room:
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
def room():
    return Room()


def test_every_change_of_the_condition_is_told_with_what_was_before(room):
    room.reconcile(room.cluster, "Unknown", "Unknown", "True")
    assert room.told == [(None, "Unknown"), ("Unknown", "Unknown"), ("Unknown", "True")]


def test_a_write_that_is_refused_is_not_told(room):
    run = room.cluster.get(TASKRUNS, "runs", "r")
    room.reconcile(room.another(), "Unknown")
    room.told.clear()
    with pytest.raises(ConflictError):
        room.write(room.cluster, "True", resourceVersion=run["metadata"]["resourceVersion"])
    assert room.told == []


def test_of_two_writers_one_tells(room):
    room.reconcile(room.cluster, "Unknown")
    room.reconcile(room.another(), "True")
    assert room.told == [(None, "Unknown"), ("Unknown", "True")]


def test_an_own_version_is_known_and_a_foreign_one_is_not(room):
    version = room.reconcile(room.cluster, "Unknown", "Unknown")
    assert room.cluster.is_own("runs", "r", version)
    foreign = room.store.patch(TASKRUNS, "runs", "r", {"spec": {"status": "TaskRunCancelled"}})
    assert not room.cluster.is_own("runs", "r", foreign["metadata"]["resourceVersion"])
    assert not room.cluster.is_own("runs", "other", version)
    room.cluster.forget("runs", "r")
    assert not room.cluster.is_own("runs", "r", version)


def test_a_write_over_something_unseen_is_not_passed_off_as_no_news(room):
    """A cancel between a reconciliation's read and its unconditional patch must be reconciled."""
    room.cluster.get(TASKRUNS, "runs", "r")
    room.store.patch(TASKRUNS, "runs", "r", {"spec": {"status": "TaskRunCancelled"}})
    run = room.cluster.patch(TASKRUNS, "runs", "r", {"metadata": {"annotations": {"a": "b"}}})
    version = run["metadata"]["resourceVersion"]
    assert not room.cluster.is_own("runs", "r", version)
    run = room.write(room.cluster, "Unknown", resourceVersion=version)
    assert not room.cluster.is_own("runs", "r", run["metadata"]["resourceVersion"])
    version = room.reconcile(room.cluster, "Unknown")
    assert room.cluster.is_own("runs", "r", version)


def test_who_does_not_lead_writes_nothing(room):
    room.may = False
    with pytest.raises(UnavailableError, match="not the leader"):
        room.cluster.patch(TASKRUNS, "runs", "r", {})
    with pytest.raises(UnavailableError):
        room.cluster.create(PODS, {})
    with pytest.raises(UnavailableError):
        room.cluster.delete(TASKRUNS, "runs", "r")
    assert room.cluster.get(TASKRUNS, "runs", "r")
