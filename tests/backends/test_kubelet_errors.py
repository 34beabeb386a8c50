"""An error of the kubelet's that stands, with HTTP 200, where the sidecar's log would begin or go on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sidecarlogs import UID, a_run, codes, collect, log_of, value, values_of

from resultsfw import ProblemCode
from resultsfw.errors import LogUnavailableError
from resultsfw_sidecar import wire

PATH = "/var/log/pods/default_p_51b37f1b/sidecar-tekton-log-results/0.log"
BEFORE_THE_FIRST_LINE = [
    "unable to retrieve container logs for containerd://ab79b6b4185cdaaae4fa5c522bea94d1ce4ff392407af503bb",
    "unable to retrieve container logs for cri-o://ab79b6b4185cdaaae4fa5c522bea94d1ce4ff392407af503bb",
    f'failed to try resolving symlinks in path "{PATH}": lstat {PATH}: no such file or directory',
    f'failed to open log file "{PATH}": open {PATH}: permission denied',
    "failed to create fsnotify watcher: too many open files",
    'failed to get parse function: unsupported log format: "secret"',
    "container status is nil",
    'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing"',
]
IN_BETWEEN = [
    f'failed to read log file "{PATH}": read {PATH}: input/output error',
    f'failed to open log file "{PATH}": open {PATH}: no such file or directory',
    f'failed to seek 0 in log file "{PATH}": seek {PATH}: invalid argument',
    f'failed to reset seek in log file "{PATH}": seek {PATH}: invalid argument',
]
WHOLE = log_of(value("a", "1"), value("b", "2"))
ERROR = IN_BETWEEN[0].encode()


@pytest.mark.parametrize("text", BEFORE_THE_FIRST_LINE)
def test_an_error_in_place_of_the_log_is_no_corrupt_log_but_is_read_again(text):
    with pytest.raises(LogUnavailableError) as caught:
        collect(a_run("a"), text.encode())
    assert caught.value.retryable
    assert "secret" not in caught.value.message
    final = collect(a_run("a"), text.encode(), final=True)
    assert codes(final) == [ProblemCode.TRANSPORT_UNREADABLE]
    assert '"a"' in final.problems[0].message


@pytest.mark.parametrize("text", IN_BETWEEN)
@pytest.mark.parametrize("speaks", [wire.WIRE, wire.TEKTON])
def test_an_error_after_a_good_part_of_the_log_keeps_what_was_read(text, speaks):
    first = value("a", "1") if speaks == wire.WIRE else wire.value_line("a", b"1", "task", wire=wire.TEKTON)
    log = (wire.start_line(UID, wire.WATCH_POLL) if speaks == wire.WIRE else b"") + first + text.encode()
    with pytest.raises(LogUnavailableError):
        collect(a_run("a", "b"), log, speaks=speaks)
    final = collect(a_run("a", "b"), log, speaks=speaks, final=True)
    assert values_of(final) == {"a": "1"}
    assert ProblemCode.TRANSPORT_UNREADABLE in codes(final)


@given(st.integers(0, len(WHOLE) - 1))
def test_an_error_after_any_byte_of_the_log_is_known(cut):
    """The kubelet hands out long lines in parts."""
    with pytest.raises(LogUnavailableError):
        collect(a_run("a", "b"), WHOLE[:cut] + ERROR)


@given(
    st.lists(st.sampled_from([*BEFORE_THE_FIRST_LINE, *IN_BETWEEN, "\n", "x", '"', "\\"])).map("".join),
    st.integers(0),
)
def test_nothing_that_a_step_writes_is_taken_for_the_kubelets_error(written, cut):
    """The sidecar alone writes its log, and a value is a JSON text: wherever it is cut, that is told."""
    log = log_of(value("a", written))
    whole = collect(a_run("a"), log, size=100_000)
    assert values_of(whole) == {"a": written}
    log = log[: cut % (len(log) - 1)]  # without the last line end alone it is still whole
    collected = collect(a_run("a"), log, size=100_000)  # raises no LogUnavailableError
    assert collected.problems
    assert ProblemCode.TRANSPORT_UNREADABLE not in codes(collected)


def test_a_line_that_says_so_and_ends_is_no_error_of_the_kubelets():
    collected = collect(a_run("a"), b"unable to retrieve container logs for containerd://1\n")
    assert ProblemCode.TRANSPORT_UNREADABLE not in codes(collected)
    assert ProblemCode.TRANSPORT_CORRUPT in codes(collected)
