"""Observers: what they hear, and that one that fails is logged and harms nobody."""

import asyncio
import logging

import pytest
from extensions_harness import RUN, STAMP, VALUE, Mine, Watcher, around, collect

from resultsfw import ExtractedResult, Extraction, Run, Stamp, hookimpl
from resultsfw.errors import NotFoundError, ResultsError, UnavailableError


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), asyncio.CancelledError()], ids=repr)
def test_a_failing_observer_is_logged_and_the_others_still_hear(error, caplog):
    watchers = {"b": Watcher(error), "a": Watcher(), "c": Watcher()}
    with caplog.at_level(logging.ERROR, "resultsfw"):
        assert collect(around(Mine(VALUE), **watchers)).ok
    assert all(watcher.seen == [("collected", ["a"])] for watcher in watchers.values())
    [record] = caplog.records
    assert "extension b" in record.getMessage()
    assert "results_collected" in record.getMessage()


def test_observers_hear_of_failures():
    watcher = Watcher()
    collect(around(Mine(ExtractedResult(name="a", value="x" * 100, source="here")), w=watcher))
    assert watcher.seen == [("failed", "r", ["ResultTooLarge"])]


def test_an_observer_withholds_nothing():
    assert around(Mine(VALUE), w=Watcher()).redacting_extensions == ()


def heard(backend, run=RUN, **more):
    """What an observer hears of one call of collect."""
    watcher = Watcher()
    core = around(backend, w=watcher)
    try:
        core.collect(run, {}, None, stamp=STAMP, **more)
    except ResultsError as error:
        watcher.seen.append(("raised", error.code))
    return watcher.seen


def test_one_observer_is_called_for_each_verdict_and_none_before_it():
    """The table of docs/how-to/writing-an-extension.md."""
    failed = ("failed", "r", ["TransportUnreadable"])
    away = UnavailableError("away")
    assert heard(Mine(error=away)) == [("raised", "Unavailable")]
    assert heard(Mine(error=away), final=True) == [failed]
    assert heard(Mine(error=NotFoundError("gone"))) == [failed]
    assert heard(Extracting(Extraction(too_early=True))) == [("raised", "TooEarly")]
    assert heard(Extracting(Extraction(results=(VALUE,), too_early=True)), final=True) == [
        ("collected", ["a"])
    ]
    assert heard(Extracting(Extraction(read_error=away))) == [("raised", "Unavailable")]
    assert heard(Mine(VALUE), Run(namespace="n", name="r", uid="u")) == []
    watcher = Watcher()
    core = around(Mine(VALUE), w=watcher)
    assert core.collect(RUN, {}, None, stamp=Stamp("absent", 1, 99), final=True).problems
    assert watcher.seen == []


class Extracting(Mine):
    """Returns an extraction that is given whole."""

    def __init__(self, extraction):
        super().__init__()
        self.extraction = extraction

    @hookimpl
    def extract(self):
        return self.extraction
