"""What the reconciler writes: only while it may, told once, and known as its own."""

import pytest
from controllerroom import taskrun

from resultsfw.cluster import PODS
from resultsfw.controller.ledger import Ledger
from resultsfw.errors import ConflictError, UnavailableError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import TASKRUNS


def status(value, reason="r"):
    return {"status": {"conditions": [{"type": "Succeeded", "status": value, "reason": reason}]}}


class Room:
    def __init__(self):
        self.store = Store()
        self.told = []
        self.may = True
        self.ledger = self.another()
        self.store.create(TASKRUNS, taskrun("r"))

    def another(self):
        def changed(old, new):
            (condition,) = new["status"]["conditions"]
            self.told.append((old.get("status"), condition["status"]))

        return Ledger(self.store, changed=(changed,), may_write=lambda: self.may)

    def write(self, ledger, value, reason="r", **metadata):
        patch = {"metadata": metadata, **status(value, reason)}
        return ledger.patch(TASKRUNS, "runs", "r", patch, subresource="status")

    def look(self, ledger, *values):
        """As a look does: read once, then write under the version that is known."""
        run = ledger.get(TASKRUNS, "runs", "r")
        for number, value in enumerate(values):
            version = run["metadata"]["resourceVersion"]
            run = self.write(ledger, value, f"{value}{number}", resourceVersion=version)
        return run["metadata"]["resourceVersion"]


@pytest.fixture
def room():
    return Room()


def test_every_change_of_the_condition_is_told_with_what_was_before(room):
    room.look(room.ledger, "Unknown", "Unknown", "True")
    assert room.told == [(None, "Unknown"), ("Unknown", "Unknown"), ("Unknown", "True")]


def test_a_write_that_is_refused_is_not_told(room):
    run = room.ledger.get(TASKRUNS, "runs", "r")
    room.look(room.another(), "Unknown")
    room.told.clear()
    with pytest.raises(ConflictError):
        room.write(room.ledger, "True", resourceVersion=run["metadata"]["resourceVersion"])
    assert room.told == []


def test_of_two_writers_one_tells(room):
    room.look(room.ledger, "Unknown")
    room.look(room.another(), "True")
    assert room.told == [(None, "Unknown"), ("Unknown", "True")]


def test_an_own_version_is_known_and_a_foreign_one_is_not(room):
    version = room.look(room.ledger, "Unknown", "Unknown")
    assert room.ledger.is_own("runs", "r", version)
    foreign = room.store.patch(TASKRUNS, "runs", "r", {"spec": {"status": "TaskRunCancelled"}})
    assert not room.ledger.is_own("runs", "r", foreign["metadata"]["resourceVersion"])
    assert not room.ledger.is_own("runs", "other", version)
    room.ledger.forget("runs", "r")
    assert not room.ledger.is_own("runs", "r", version)


def test_a_write_over_something_unseen_is_not_passed_off_as_no_news(room):
    """A cancel between a look's read and its unconditional patch must be looked at."""
    room.ledger.get(TASKRUNS, "runs", "r")
    room.store.patch(TASKRUNS, "runs", "r", {"spec": {"status": "TaskRunCancelled"}})
    run = room.ledger.patch(TASKRUNS, "runs", "r", {"metadata": {"annotations": {"a": "b"}}})
    version = run["metadata"]["resourceVersion"]
    assert not room.ledger.is_own("runs", "r", version)
    run = room.write(room.ledger, "Unknown", resourceVersion=version)
    assert not room.ledger.is_own("runs", "r", run["metadata"]["resourceVersion"])
    version = room.look(room.ledger, "Unknown")
    assert room.ledger.is_own("runs", "r", version)


def test_who_does_not_lead_writes_nothing(room):
    room.may = False
    with pytest.raises(UnavailableError, match="does not lead"):
        room.ledger.patch(TASKRUNS, "runs", "r", {})
    with pytest.raises(UnavailableError):
        room.ledger.create(PODS, {})
    with pytest.raises(UnavailableError):
        room.ledger.delete(TASKRUNS, "runs", "r")
    assert room.ledger.get(TASKRUNS, "runs", "r")
