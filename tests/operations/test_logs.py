"""Logs are JSON, one object a line, with the fields of their context."""

import io
import json
import logging
import threading

import pytest

from resultsfw.operations.logs import about, set_up


@pytest.fixture
def lines():
    """Everything logged in the test, decoded."""
    root, ours = logging.getLogger(), logging.getLogger("resultsfw")
    before = (root.handlers, root.level, ours.handlers, ours.propagate, ours.level)
    stream = io.StringIO()
    set_up("info", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers, ours.handlers, ours.propagate = before[0], before[2], before[3]
    root.setLevel(before[1])
    ours.setLevel(before[4])


log = logging.getLogger("resultsfw.test")


def test_every_line_is_one_json_object_whatever_the_message(lines):
    log.info("a\nb %s", "\u2028\x00é")
    (line,) = lines()
    assert line["message"] == "a\nb \u2028\x00é"
    assert (line["level"], line["logger"]) == ("info", "resultsfw.test")
    assert line["time"].endswith("+00:00")
    assert "run" not in line


def test_lines_within_the_context_have_its_fields(lines):
    with about(run="ns/r", pod="r-pod", backend="sidecar-logs"):
        log.warning("one")
        with about(backend="other"):
            logging.getLogger("somebody.else").warning("two")
        log.info("three")
    log.info("four")
    one, two, three, four = lines()
    assert (one["run"], one["pod"], one["backend"]) == ("ns/r", "r-pod", "sidecar-logs")
    assert (two["run"], two["backend"]) == ("ns/r", "other")
    assert three["backend"] == "sidecar-logs"
    assert "run" not in four


def test_log_contexts_of_threads_are_separate(lines):
    barrier = threading.Barrier(2)

    def work(name):
        with about(run=name):
            barrier.wait(5)
            log.info("from %s", name)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {line["run"]: line["message"] for line in lines()} == {"a": "from a", "b": "from b"}


def test_a_traceback_is_part_of_its_line(lines):
    try:
        int("no")
    except ValueError:
        log.exception("it failed")
    (line,) = lines()
    assert "ValueError: invalid" in line["error"]
    assert line["level"] == "error"


def test_debug_is_left_out_at_info(lines):
    log.debug("no")
    assert lines() == []
