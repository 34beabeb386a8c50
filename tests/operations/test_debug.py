"""Stacks say where threads are, and contain no value; a signal logs the state."""

import json
import logging
import os
import signal
import threading
from queue import SimpleQueue

import pytest

from resultsfw.operations.debug import (
    encode_state,
    install_signal_handler,
    stack_of,
    stacks_of_others,
    state_lines,
)


def waiting(depth, entered, go, word="hunter2"):
    """Wait at the end of so many calls."""
    if depth:
        return waiting(depth - 1, entered, go, word)
    entered.set()
    return go.wait(10)


def test_a_stack_names_the_innermost_functions_and_no_value():
    before = {thread.ident for thread in threading.enumerate()}  # of other tests: only so many are shown
    entered, go = threading.Event(), threading.Event()
    thread = threading.Thread(target=waiting, args=(30, entered, go), name="the-worker")
    thread.start()
    try:
        assert entered.wait(10)
        stack = stack_of(thread.ident)
        [other] = [found for found in stacks_of_others(before) if found["name"] == "the-worker"]
        others = stacks_of_others({*before, thread.ident})
        assert not [found for found in others if found["name"] == "the-worker"]
    finally:
        go.set()
        thread.join(10)
    assert len(stack) == len(other["stack"]) == 12
    assert stack[-1].startswith("threading:")
    assert any(frame.startswith(f"{__name__}:") and frame.endswith(" waiting") for frame in stack)
    assert "hunter2" not in json.dumps([stack, other])
    assert stack_of(thread.ident) == []


def test_a_state_is_one_line_of_the_log_for_each_item():
    state = {"leader": {"isLeader": True}, "workers": [{"name": "a\nb"}, {"name": "\u202e"}], "threads": []}
    assert list(state_lines(state)) == [
        'leader: {"isLeader": true}',
        'workers: {"name": "a\\nb"}',
        'workers: {"name": "\\u202e"}',
    ]
    assert json.loads(encode_state(state)) == state


@pytest.fixture
def logged():
    """What is logged, as it is logged."""
    lines = SimpleQueue()
    handler = logging.Handler()
    handler.emit = lambda record: lines.put(record.getMessage())
    logger = logging.getLogger("resultsfw.operations.debug")
    level, before = logger.level, signal.getsignal(signal.SIGUSR1)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    signal.signal(signal.SIGUSR1, before)
    logger.setLevel(level)
    logger.removeHandler(handler)


def test_the_signal_logs_the_state_and_a_failure_of_it(logged):
    answers = [{"queues": ["q"]}, RuntimeError("broken")]

    def state():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    install_signal_handler(state)
    for line in ('state: queues: "q"', "the state cannot be logged"):
        os.kill(os.getpid(), signal.SIGUSR1)
        assert logged.get(timeout=10) == line


def test_many_signals_start_no_threads_and_log_one_more_state(logged):
    asked, go = SimpleQueue(), threading.Event()

    def state():
        asked.put(threading.active_count())
        go.wait(10)
        return {"queues": "q"}

    install_signal_handler(state)
    os.kill(os.getpid(), signal.SIGUSR1)
    threads = asked.get(timeout=10)
    for _ in range(200):
        os.kill(os.getpid(), signal.SIGUSR1)
    assert threading.active_count() <= threads
    go.set()
    assert [logged.get(timeout=10) for _ in range(2)] == ['state: queues: "q"'] * 2
    assert asked.get(timeout=10)
    assert asked.empty()
