"""When the sidecar prints, and how it stops."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SIDECAR = Path(__file__).parents[2] / "sidecar"
QUIET = 0.2  # seconds in which nothing may be printed


def test_prints_when_the_last_step_ends(make_pod):
    pod = make_pod(12)
    sidecar = pod.start("a")
    assert sidecar.line()["type"] == "start"
    for number in range(11):
        pod.end(number)
    assert not sidecar.speaks(QUIET)
    pod.write("a", b"late")
    pod.end(11)
    log = sidecar.log()
    assert log.values == {"a": "late"}
    assert (log.why, log.status) == ("steps-done", 0)


def test_prints_when_a_step_fails(make_pod):
    """The later ones are skipped: nothing else will come."""
    pod = make_pod(3)
    pod.write("a", b"1")
    sidecar = pod.start("a")
    sidecar.line()
    pod.end(0)
    pod.end(1, failed=True)
    log = sidecar.log()
    assert log.values == {"a": "1"}
    assert (log.why, log.status) == ("step-failed", 0)


def test_the_steps_ended_before_we_began(make_pod):
    pod = make_pod(2)
    pod.end(0)
    pod.end(1, failed=True)
    assert pod.start().log().why == "step-failed"


def test_other_folders_are_no_steps(pod):
    (pod.run / "lost+found").mkdir()
    (pod.run / "7").touch()
    pod.end(0)
    assert pod.start().log().why == "steps-done"


def test_an_event_is_enough(pod, variant, request, tmp_path):
    """Files moved and linked into place count, and inotify waits for no safety look: here, an hour."""
    if variant[1] == "poll":
        pytest.skip("there are no events")
    code = SIDECAR if variant[0] == "module" else request.getfixturevalue("zipapp")
    patient = tmp_path / "patient.py"
    patient.write_text(
        f"import os, sys; sys.path.insert(0, {str(code)!r})\n"
        "from resultsfw_sidecar import watch\n"
        "from resultsfw_sidecar.program import run\n"
        "from resultsfw_sidecar.stop import Stop\n"
        "assert watch.SAFETY == 1\n"
        "watch.SAFETY = 3600\n"
        "os._exit(run([os.fsencode(a) for a in sys.argv[1:]], dict(os.environb), Stop()))\n"
    )
    pod.command = [sys.executable, "-IS", str(patient)]
    sidecar = pod.start()
    sidecar.line()
    (pod.root / "elsewhere").touch()
    # Its CPU time stands still: it waits.
    while (before := sidecar.cpu()) and not sidecar.speaks(0.05) and sidecar.cpu() > before:
        pass
    (pod.root / "elsewhere").rename(pod.run / "0" / "out")
    assert sidecar.log().why == "steps-done"


@pytest.mark.parametrize("interval", ["", "1h"])
def test_waiting_costs_nothing(pod, variant, interval):
    variables = {"SIDECAR_LOG_POLLING_INTERVAL": interval}
    sidecar = pod.start(variables=variables)
    sidecar.line()
    begin = sidecar.cpu()
    assert not sidecar.speaks(0.4)
    assert sidecar.cpu() - begin < 0.02
    if interval != "1h" or variant[1] == "inotify":
        pod.end(0)
        assert sidecar.log().why == "steps-done"
    else:
        sidecar.signal()
        assert sidecar.log().why == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_with_nothing_there(pod, number):
    sidecar = pod.start("a")
    sidecar.line()
    sidecar.signal(number)
    log = sidecar.log()
    assert [record["type"] for record in log.results] == ["absent"]
    assert (log.why, log.status) == ("stopped", 0)


def test_stopped_half_way(make_pod):
    pod = make_pod(2)
    pod.write("a", b"1")
    sidecar = pod.start("a", "b")
    sidecar.line()
    pod.end(0)
    sidecar.signal()
    log = sidecar.log()
    assert log.values == {"a": "1"}
    assert (log.why, log.status) == ("stopped", 0)


def test_stopped_when_all_is_done_is_done(pod):
    """What `why` says is true, whichever came first."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        pod.end(0)
        sidecar = pod.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    sidecar.signal()
    assert sidecar.log().why == "steps-done"


def test_a_signal_before_the_first_instruction_is_not_lost(pod):
    """A parent that blocks it while it starts us, as the local engine can, loses none."""
    pod.write("a", b"1")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        sidecar = pod.start("a")
        sidecar.signal()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    log = sidecar.log()
    assert log.values == {"a": "1"}
    assert (log.why, log.status) == ("stopped", 0)


@pytest.mark.slow
def test_a_signal_at_any_instant_of_the_start(pod):
    """Either the interpreter died of it before our first line ran, or all is printed: never a part."""
    pod.write("a", b"1")
    random.seed(1)
    ends = set()
    for number in range(16):
        sidecar = pod.start("a")
        sidecar.speaks(random.random() * 0.04 * 1.5**number)  # noqa: S311 - a delay, up to a busy machine's
        sidecar.signal()
        log = sidecar.log()
        ends.add(log.status)
        if log.status == -signal.SIGTERM:
            assert log.raw == b""
        else:
            assert (log.status, log.why, log.values) == (0, "stopped", {"a": "1"})
    assert 0 in ends


def test_signals_while_printing_break_nothing(pod):
    """The pipe is full, so it stands in the middle of a line."""
    pod.write("a", b"x" * 1_000_000)
    sidecar = pod.start("a")
    sidecar.line()
    pod.end(0)
    assert sidecar.speaks(10)
    for _ in range(20):
        sidecar.signal()
        sidecar.signal(signal.SIGINT)
    log = sidecar.log()
    assert log.values == {"a": "x" * 1_000_000}
    assert (log.why, log.status) == ("steps-done", 0)


def test_a_native_sidecar_stays(pod):
    pod.write("a", b"1")
    pod.end(0)
    sidecar = pod.start("a", flags=["-kubernetes-sidecar-mode", "true"])
    sidecar.until("end")
    assert not sidecar.speaks(QUIET)
    assert sidecar.process.poll() is None
    sidecar.signal()
    log = sidecar.log()
    assert log.values == {"a": "1"}
    assert log.status == 0


def test_a_native_sidecar_that_was_stopped_ends(pod):
    sidecar = pod.start(flags=["-kubernetes-sidecar-mode=true"])
    sidecar.line()
    sidecar.signal()
    log = sidecar.log()
    assert (log.why, log.status) == ("stopped", 0)


def test_a_native_sidecar_that_failed_stays(pod):
    """Kubernetes would start it again and again."""
    (pod.run / "0").rmdir()
    sidecar = pod.start(flags=["-kubernetes-sidecar-mode", "true"])
    sidecar.until("error")
    assert not sidecar.speaks(QUIET)
    sidecar.signal()
    log = sidecar.log()
    assert [record["reason"] for record in log.records] == ["NoRunFolder"]
    assert log.status == 1


@pytest.fixture
def as_process_1():
    """The start of a command that gives it a process table of its own."""
    command = [shutil.which("unshare") or "/", "--pid", "--fork"]
    try:
        subprocess.run([*command, "/bin/true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not make a process namespace here")
    return command


def test_stopped_as_process_1(pod, as_process_1):
    """The kernel gives process 1 no signal that it does not handle."""
    pod.write("a", b"1")
    sidecar = pod.start("a", prefix=as_process_1)
    sidecar.line()
    parent = sidecar.process.pid
    child = int(Path(f"/proc/{parent}/task/{parent}/children").read_text())
    os.kill(child, signal.SIGTERM)
    log = sidecar.log()
    assert (log.why, log.values, log.status) == ("stopped", {"a": "1"}, 0)


def test_polls_where_there_is_no_ctypes(pod, tmp_path, variant):
    if variant != ["module", "inotify"]:
        pytest.skip("one variant is enough")
    (tmp_path / "ctypes.py").write_text("raise ImportError\n")
    sidecar = pod.start(variables={"PYTHONPATH": f"{tmp_path}:{pod.variables['PYTHONPATH']}"})
    assert sidecar.line()["watch"] == "poll"
    pod.end(0)
    assert sidecar.log().why == "steps-done"


def test_nobody_reads(pod):
    pod.write("a", b"1")
    sidecar = pod.start("a")
    sidecar.line()
    sidecar.process.stdout.close()
    pod.end(0)
    assert sidecar.process.wait(20) == 1
    assert sidecar.process.stderr.read() == b""


def test_no_stdout_at_all(pod):
    """The next file we open would be the new stdout."""
    pod.write("a", b"1")
    log = pod.print("a", prefix=["sh", "-c", 'exec "$@" >&-', "sh"])
    assert (log.status, log.raw) == (1, b"")


def test_a_full_disk(pod):
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        sidecar = pod.start(stdout=full)
    assert sidecar.process.wait(20) == 1
    assert sidecar.process.stderr.read() == b""


def test_a_stdout_that_does_not_block(pod):
    pod.write("a", b"x" * 1_000_000)
    pod.end(0)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    sidecar = pod.start("a", stdout=writer)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor
        raw = pipe.read()
    assert sidecar.process.wait(20) == 0
    assert raw.count(b"\n") == 3
    assert len(raw) > 1_000_000


def test_stdout_is_a_file(pod, tmp_path):
    """As the local engine has it."""
    pod.write("a", b"1")
    pod.end(0)
    with (tmp_path / "log").open("wb") as file:
        assert pod.start("a", stdout=file).process.wait(20) == 0
    assert (tmp_path / "log").read_bytes().count(b"\n") == 3


@pytest.mark.slow
def test_errors(pod, variant):
    cases = [
        (["-nonsense", "x"], {}, "BadFlag"),
        (["-result-names"], {}, "BadFlag"),
        (["stray"], {}, "BadFlag"),
        (["--"], {}, "BadFlag"),
        (["-step-results", "{"], {}, "BadFlag"),
        (["-step-results", "[" * 100_000], {}, "BadFlag"),
        (["-step-results", "[]"], {}, "BadFlag"),
        (["-step-results", '{"a":"b"}'], {}, "BadFlag"),
        (["-step-results", '{"a":[1]}'], {}, "BadFlag"),
        (["-result-names", os.fsdecode(b"\xff")], {}, "BadFlag"),
        (["-kubernetes-sidecar-mode", "maybe"], {}, "BadFlag"),
        ([], {"RESULTSFW_WIRE": "3"}, "BadEnvironment"),
        ([], {"RESULTSFW_MAX_RESULT_SIZE": "4k"}, "BadEnvironment"),
        ([], {"RESULTSFW_MAX_RUN_SIZE": "0"}, "BadEnvironment"),
        ([], {"RESULTSFW_MAX_RUN_SIZE": "-1"}, "BadEnvironment"),
        ([], {"RESULTSFW_TEKTON_ROOT": "/nonexistent"}, "NoRunFolder"),
        ([], {"RESULTSFW_TEKTON_ROOT": str(pod.root / "run")}, "NoRunFolder"),
    ]
    if variant[1] == "poll":
        cases = cases[:1]
    (pod.root.parent / "termination-log").touch()
    for flags, variables, reason in cases:
        log = pod.start(flags=flags, variables=variables).log()
        assert log.status == 1, flags
        assert [record["type"] for record in log.records] in (["start", "error"], ["error"])
        assert list(log.records[-1]) == ["type", "reason", "message"]
        assert log.records[-1]["reason"] == reason, flags
        assert reason in (pod.root.parent / "termination-log").read_text()


def test_an_error_of_ours_is_no_line_of_tektons(pod):
    for flags, variables in ((["-nonsense", "x"], {}), ([], {"RESULTSFW_MAX_RUN_SIZE": "x"})):
        log = pod.start(flags=flags, variables={"RESULTSFW_WIRE": "0", **variables}).log()
        assert (log.status, log.raw) == (1, b"")


def test_what_nobody_thought_of(pod, tmp_path, variant):
    """A fault of ours in the middle of a line: it ends, and the error has a line of its own."""
    if variant != ["module", "inotify"]:
        pytest.skip("one variant is enough")
    (tmp_path / "fault.py").write_text(
        "import sys\n"
        "from resultsfw_sidecar import wire\n"
        "def value_pieces(*_, **__):\n"
        "    yield b'{\"name\":'\n"
        "    raise MemoryError('none left')\n"
        "wire.value_pieces = value_pieces\n"
        "from resultsfw_sidecar.program import run\n"
        "from resultsfw_sidecar.stop import Stop\n"
        "import os\n"
        "os._exit(run([os.fsencode(a) for a in sys.argv[1:]], dict(os.environb), Stop()))\n"
    )
    pod.write("a", b"1")
    pod.end(0)
    pod.command = [sys.executable, str(tmp_path / "fault.py")]
    process = pod.start("a").process
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (1, b"")
    lines = out.split(b"\n")
    assert lines[1] == b'{"name":'
    assert lines[2].startswith(
        b'{"type":"error","reason":"Internal","message":"MemoryError: none left (fault.py:5)'
    )


# Without run folders, in a pod that has no entrypoint.

BY_SIGNAL = {"RESULTSFW_WATCH": "signal"}


@pytest.mark.parametrize("flags", [(), ("-kubernetes-sidecar-mode", "true")])
def test_the_kubelets_word_is_the_steps_end(make_pod, flags):
    pod = make_pod(0)
    sidecar = pod.start("a", "b", flags=flags, variables=BY_SIGNAL)
    assert sidecar.line()["watch"] == "signal"
    pod.write("a", b"last")
    assert not sidecar.speaks(QUIET)
    sidecar.signal()
    log = sidecar.log()
    assert (log.values, log.why, log.status) == ({"a": "last"}, "stopped", 0)
    assert [result["name"] for result in log.results if result["type"] == "absent"] == ["b"]


def test_files_of_steps_ends_mean_nothing_then(pod):
    pod.end(0)
    sidecar = pod.start("a", variables=BY_SIGNAL)
    sidecar.line()
    assert not sidecar.speaks(QUIET)
    sidecar.signal()
    assert sidecar.log().why == "stopped"


NATIVE = ["-kubernetes-sidecar-mode", "true"]


def test_a_native_sidecar_ends_itself_where_a_step_that_has_ended_keeps_its_container(pod):
    """Nobody asks it to stop then: that Kubernetes starts it again is what the controller sees."""
    pod.write("a", b"1")
    pod.end(0)
    log = pod.start("a", flags=NATIVE, variables={"RESULTSFW_LINGER": "50ms"}).log()
    assert (log.values, log.why, log.status) == ({"a": "1"}, "steps-done", 0)


def test_a_native_sidecar_stays_until_it_is_asked_to_stop(pod):
    pod.end(0)
    sidecar = pod.start("a", flags=NATIVE)
    sidecar.until("end")
    assert sidecar.process.poll() is None
    sidecar.signal()
    assert sidecar.log().status == 0


def test_a_native_sidecar_that_failed_stays_however_long(pod):
    """Its Steps may still work, and it would say the same again and again."""
    variables = {"RESULTSFW_LINGER": "0s", "RESULTSFW_TEKTON_ROOT": "/nonexistent"}
    sidecar = pod.start("a", flags=NATIVE, variables=variables)
    sidecar.until("error")
    assert not sidecar.speaks(QUIET)
    assert sidecar.process.poll() is None


def test_a_fifo_as_the_result_of_a_step_that_ended_is_reported_before_later_steps_end(make_pod):
    """The entrypoint of a later Step that refers to it opens it, for ever, before its command begins."""
    pod = make_pod(3)
    folders = [pod.step_folder(f"step-{name}", number) for number, name in enumerate("abc")]
    os.mkfifo(folders[1] / "r")
    sidecar = pod.start(flags=["-step-results", '{"step-a":["r"],"step-b":["r"]}'])
    sidecar.line()
    (folders[0] / "r").write_bytes(b"1")
    pod.end(0)
    assert not sidecar.speaks(QUIET)  # while it runs, the second Step may still replace it
    pod.end(1)
    log = sidecar.log()
    assert (log.why, log.status) == ("step-blocked", 0)
    assert [record["type"] for record in log.records] == ["start", "step", "refused", "end"]
    assert log.records[2]["reason"] == "NotRegularFile"


def test_a_regular_step_result_lets_later_steps_go_on(make_pod):
    pod = make_pod(2)
    folder = pod.step_folder("step-a", 0)
    pod.step_folder("step-b", 1)
    (folder / "r").write_bytes(b"1")
    sidecar = pod.start(flags=["-step-results", '{"step-a":["r","other"]}'])
    sidecar.line()
    pod.end(0)
    assert not sidecar.speaks(QUIET)
    pod.end(1)
    assert sidecar.log().why == "steps-done"
