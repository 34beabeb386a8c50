"""Observers: what they hear, and that one that fails is logged and harms nobody."""

import logging

import pytest
from extensions_harness import VALUE, Mine, Watcher, around, collect

from resultsfw import (
    ExtractedResult,
)


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3)], ids=repr)
def test_a_failing_observer_is_logged_and_the_others_still_hear(error, caplog):
    watchers = {"b": Watcher(error), "a": Watcher(), "c": Watcher()}
    with caplog.at_level(logging.ERROR, "resultsfw"):
        assert collect(around(Mine(VALUE), **watchers)).ok
    assert all(one.seen == [("collected", ["a"])] for one in watchers.values())
    [record] = caplog.records
    assert "extension b" in record.getMessage()
    assert "results_collected" in record.getMessage()


def test_observers_hear_of_failures():
    watcher = Watcher()
    collect(around(Mine(ExtractedResult(name="a", value="x" * 100, source="here")), w=watcher))
    assert watcher.seen == [("failed", "r", ["ResultTooLarge"])]


def test_an_observer_withholds_nothing():
    assert around(Mine(VALUE), w=Watcher()).redacting_extensions == ()
