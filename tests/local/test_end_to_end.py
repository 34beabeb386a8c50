"""Whole runs on the engine: our reconciler and backends, real Steps, the real sidecar, real walls."""

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from localpods import argument, await_true, log_of, processes_with

from resultsfw import Object, ResultsManager
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.local.engine import Engine
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.taskrun.reconciler import Reconciler

pytestmark = pytest.mark.slow

FLAGS = {
    "termination-message": {"results-from": "termination-message"},
    "plain sidecar": {"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: plain"},
    "native sidecar": {"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: native"},
}
WAYS = list(FLAGS)
SIDECARS = WAYS[1:]
SIDECAR = "sidecar-tekton-log-results"
TOO_LARGE = "TaskRunResultLargerThanAllowedLimit"


def run(
    task: Object,
    tmp_path: Path,
    on_event: Callable[[Engine, str, Object], None] | None = None,
    flags: dict[str, str] | None = None,
    **spec: Any,
) -> Object:
    """The TaskRun as it is when it is over."""
    core = ResultsManager.from_flags(flags or {"results-from": "sidecar-logs"})
    box: list[Engine] = []

    def seen(change: str, obj: Object) -> None:
        if on_event is not None and box:
            on_event(box[0], change, obj)

    with Engine(lambda cluster: Reconciler(core, cluster), workdir=tmp_path, on_event=seen) as engine:
        box.append(engine)
        engine.submit(
            {
                "apiVersion": "tekton.dev/v1",
                "kind": "TaskRun",
                "metadata": {"name": "run", "namespace": "default"},
                "spec": {"taskSpec": task, **spec},
            }
        )
        (final,) = engine.run_until_done(timeout=60)
    return final


def step(script: str, name: str = "one", **more: Any) -> Object:
    return {"name": name, "image": "busybox:1", "script": f"#!/bin/sh\n{script}", **more}


def task(*steps: Object, results: list[str] | None = None, **more: Any) -> Object:
    declared = [{"name": name, "type": "string"} for name in (["digest"] if results is None else results)]
    return {"results": declared, "steps": list(steps), **more}


def values(taskrun: Object) -> dict[str, Any]:
    return {one["name"]: one["value"] for one in taskrun["status"].get("results", [])}


def condition(taskrun: Object) -> Object:
    (one,) = [one for one in taskrun["status"]["conditions"] if one["type"] == "Succeeded"]
    return one


@pytest.mark.parametrize("way", WAYS)
def test_results_of_a_successful_run_arrive(way, tmp_path):
    two = task(
        step("printf first > $(results.digest.path)\nprintf 'a\\nb\\n' > $(results.lines.path)"),
        step("printf later > $(results.digest.path)", name="two"),
        results=["digest", "lines", "never"],
    )
    final = run(two, tmp_path, flags=FLAGS[way])
    assert condition(final)["status"] == "True"
    assert values(final) == {"digest": "later", "lines": "a\nb\n"}
    assert [one["terminated"]["exitCode"] for one in final["status"]["steps"]] == [0, 0]


@pytest.mark.parametrize("way", WAYS)
def test_results_written_before_a_step_failed_are_kept(way, tmp_path):
    failing = task(
        step("printf kept > $(results.digest.path)"),
        step("exit 3", name="two"),
        step("printf no > $(results.digest.path)", name="three"),
    )
    final = run(failing, tmp_path, flags=FLAGS[way])
    assert condition(final)["reason"] == "StepFailed"
    assert condition(final)["message"] == '"step-two" exited with code 3: Error'
    assert values(final) == {"digest": "kept"}
    assert final["status"]["steps"][2]["terminationReason"] == "Skipped"


@pytest.mark.parametrize("way", WAYS)
def test_on_error_continue_reports_the_exit_code_and_goes_on(way, tmp_path):
    going_on = task(
        step("printf kept > $(results.digest.path); exit 4", onError="continue"), step("true", name="two")
    )
    final = run(going_on, tmp_path, flags=FLAGS[way])
    assert condition(final)["status"] == "True"
    assert values(final) == {"digest": "kept"}
    first = final["status"]["steps"][0]
    assert (first["terminated"]["exitCode"], first["terminationReason"]) == (4, "Continued")


@pytest.mark.parametrize("way", SIDECARS)
def test_arrays_objects_and_results_taken_from_steps_arrive(way, tmp_path):
    structured = {
        "params": [{"name": "who", "type": "string"}],
        "results": [
            {"name": "images", "type": "array"},
            {"name": "where", "type": "object", "properties": {"url": {"type": "string"}}},
            {"name": "digest", "type": "string", "value": "$(steps.one.results.digest)"},
        ],
        "steps": [
            step(
                'printf \'["a","$(params.who)"]\' > $(results.images.path)\n'
                'printf \'{"url":"r"}\' > $(results.where.path)\n'
                "printf sha > $(step.results.digest.path)",
                results=[{"name": "digest", "type": "string"}],
            )
        ],
    }
    final = run(structured, tmp_path, flags=FLAGS[way], params=[{"name": "who", "value": "b"}])
    assert values(final) == {"images": ["a", "b"], "where": {"url": "r"}, "digest": "sha"}
    assert final["status"]["steps"][0]["results"][0]["value"] == "sha"


def test_a_result_of_another_type_fails_with_tektons_message(tmp_path):
    wrong = {
        "results": [{"name": "images", "type": "array"}],
        "steps": [step("printf x > $(results.images.path)")],
    }
    final = run(wrong, tmp_path)
    assert condition(final)["reason"] == "TaskRunValidationFailed"
    assert condition(final)["message"] == (
        "[User error] Provided results don't match declared results; may be invalid JSON or missing result "
        'declaration:  "images": task result is expected to be "array" type but was initialized to a '
        'different type "string"'
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_timeout_stops_the_processes_and_keeps_the_results(way, tmp_path):
    slow = task(step("printf early > $(results.digest.path)"), step("exec sleep 600", name="two"))
    final = run(slow, tmp_path, flags=FLAGS[way], timeout="3s")
    assert condition(final)["reason"] == "TaskRunTimeout"
    assert condition(final)["message"].startswith('TaskRun "run" failed to finish within "3s"')
    assert values(final) == {"digest": "early"}


@pytest.mark.parametrize("way", WAYS)
def test_cancelling_during_the_second_step_keeps_the_first_results(way, tmp_path):
    def cancel(engine: Engine, _change: str, obj: Object) -> None:
        steps = {one["name"]: one for one in obj.get("status", {}).get("steps", [])}
        if obj["kind"] == "TaskRun" and "terminated" in steps.get("one", {}):
            engine.store.patch(TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})

    slow = task(step("printf early > $(results.digest.path)"), step("exec sleep 600", name="two"))
    final = run(slow, tmp_path, cancel, flags=FLAGS[way])
    assert condition(final)["reason"] == "TaskRunCancelled"
    assert values(final) == {"digest": "early"}


def test_a_step_killed_while_writing_leaves_a_prefix_or_no_result(tmp_path):
    """What is read of a file that is being written is one consistent read, and the run still fails."""
    writer = "while :; do printf 0123456789 >> $(results.digest.path); done"
    final = run(task(step(writer)), tmp_path, flags={"results-from": "sidecar-logs"}, timeout="3s")
    assert condition(final)["reason"] == "TaskRunTimeout"
    for value in values(final).values():
        assert value == ("0123456789" * (len(value) // 10 + 1))[: len(value)]


def test_a_result_over_the_message_limit_fails_with_both_numbers(tmp_path):
    big = task(
        step("printf s > $(results.small.path); head -c 5000 /dev/zero | tr '\\0' x > $(results.big.path)"),
        results=["small", "big"],
    )
    final = run(big, tmp_path, flags={"results-from": "termination-message"})
    assert condition(final)["reason"] == TOO_LARGE
    for words in ('"big"', "5000 bytes", "4096 bytes", '"step-one"', "sidecar-logs"):
        assert words in condition(final)["message"]
    assert values(final) == {"small": "s"}


def test_a_result_over_the_pods_message_limit_fails_with_both_numbers(tmp_path):
    """Five Steps, prepare and place-scripts: 12288 / 7 bytes each."""
    steps = [step("true", name=f"s{number}") for number in range(4)]
    big = task(*steps, step("head -c 1800 /dev/zero | tr '\\0' x > $(results.digest.path)", name="last"))
    final = run(big, tmp_path, flags={"results-from": "termination-message"})
    assert condition(final)["reason"] == TOO_LARGE
    for words in ('"digest"', "1800 bytes", "1755 bytes"):
        assert words in condition(final)["message"]


def test_a_result_over_max_result_size_fails_with_both_numbers(tmp_path):
    one = "head -c 4096 /dev/zero | tr '\\0' x > $(results.fits.path)"
    two = "head -c 4097 /dev/zero | tr '\\0' x > $(results.big.path)"
    final = run(task(step(f"{one}\n{two}"), results=["big", "fits"]), tmp_path)
    assert condition(final)["reason"] == TOO_LARGE
    for words in ('"big"', "4097 bytes", "4096 bytes", "max-result-size"):
        assert words in condition(final)["message"]
    assert values(final) == {"fits": "x" * 4096}


def test_results_over_the_limit_of_a_run_fail_with_both_numbers(tmp_path):
    lines = [f"head -c 600000 /dev/zero | tr '\\0' {name} > $(results.{name}.path)" for name in "abc"]
    flags = {"results-from": "sidecar-logs", "max-result-size": "1000000"}
    final = run(task(step("\n".join(lines)), results=["a", "b", "c"]), tmp_path, flags=flags)
    assert condition(final)["reason"] == TOO_LARGE
    for words in ('"c"', "1800000 bytes", "1572864 bytes"):
        assert words in condition(final)["message"]
    assert sorted(values(final)) == ["a", "b"]


def test_results_over_the_limit_of_an_object_fail_with_both_numbers(tmp_path):
    """A value of HTML is small in bytes and large in an object: each "<" is six bytes there."""
    html = "head -c 400000 /dev/zero | tr '\\0' '<' > $(results.digest.path)"
    flags = {"results-from": "sidecar-logs", "max-result-size": "1000000"}
    final = run(task(step(html)), tmp_path, flags=flags)
    assert condition(final)["reason"] == TOO_LARGE
    assert '"digest"' in condition(final)["message"]
    assert str(OBJECT_BYTES) in condition(final)["message"]
    assert object_size(final) <= OBJECT_BYTES


@pytest.mark.parametrize("way", SIDECARS)
def test_a_result_of_1_4_megabytes_arrives_whole(way, tmp_path):
    flags = {**FLAGS[way], "max-result-size": "1500000"}
    big = task(step("head -c 1400000 /dev/zero | tr '\\0' x > $(results.digest.path)"))
    final = run(big, tmp_path, flags=flags)
    assert condition(final)["status"] == "True"
    assert values(final)["digest"] == "x" * 1_400_000


@pytest.mark.parametrize("way", SIDECARS)
def test_a_thousand_results_arrive_whole_and_in_order(way, tmp_path):
    names = [f"r{number}" for number in range(1000)]
    script = "cd $(results.r0.path)/.. 2>/dev/null || cd $(dirname $(results.r0.path))\n"
    script += "i=0; while [ $i -lt 1000 ]; do printf %s $i > r$i; i=$((i+1)); done"
    final = run(task(step(script), results=names), tmp_path, flags=FLAGS[way])
    assert condition(final)["status"] == "True"
    assert [one["name"] for one in final["status"]["results"]] == names
    assert values(final)["r999"] == "999"


@pytest.mark.parametrize("way", SIDECARS)
def test_results_that_are_no_text_files_are_refused_by_name_and_others_arrive(way, tmp_path):
    """Guarantees 5 and 6, with real files."""
    awkward = task(
        step(
            "mkfifo $(results.pipe.path)\n"
            "mkdir $(results.folder.path)\n"
            "ln -s /etc/passwd $(results.link.path)\n"
            "printf 'caf\\351' > $(results.latin.path)\n"
            "printf '\\360\\237\\232\\200 <\"\\\\>\\001\\n' > $(results.fine.path)\n"
        ),
        results=["pipe", "folder", "link", "latin", "fine"],
    )
    final = run(awkward, tmp_path, flags=FLAGS[way])
    assert condition(final)["reason"] == "TaskRunResultRefused"
    for name in ("pipe", "folder", "link", "latin"):
        assert f'"{name}"' in condition(final)["message"]
    assert values(final) == {"fine": '\U0001f680 <"\\>\x01\n'}


@pytest.mark.parametrize("way", WAYS)
def test_forged_entries_add_no_results(way, tmp_path):
    """Guarantee 7: only what is declared counts; beside the sidecar, nothing of a message does."""
    entries = [
        {"key": "digest", "value": "forged", "type": 1},
        {"key": "undeclared", "value": "x", "type": 1},
    ]
    forging = step(
        f"printf real > $(results.digest.path)\nprintf '%s' '{json.dumps(entries)}' > /tekton/termination"
    )
    final = run(task(forging), tmp_path, flags=FLAGS[way])
    assert condition(final)["status"] == "True"
    assert values(final) == {"digest": "real"}


def test_a_step_whose_interpreter_is_missing_fails(tmp_path):
    lost = task({"name": "one", "image": "node:22", "script": "#!/usr/bin/no-such-interpreter\nx"})
    final = run(lost, tmp_path)
    assert condition(final)["reason"] == "StepFailed"
    assert final["status"]["steps"][0]["terminated"]["exitCode"] in (126, 127)


@pytest.mark.parametrize("way", SIDECARS)
def test_a_user_sidecar_runs_beside_the_steps_and_is_stopped(way, tmp_path):
    beside = task(
        step("while [ ! -e /workspace/up ]; do sleep 0.02; done; printf seen > $(results.digest.path)"),
        sidecars=[{"name": "web", "image": "i", "script": "#!/bin/sh\ntouch /workspace/up\nexec sleep 600"}],
    )
    final = run(beside, tmp_path, flags=FLAGS[way])
    assert values(final) == {"digest": "seen"}


def test_forty_runs_at_once_succeed(tmp_path):
    core = ResultsManager.from_flags({"results-from": "sidecar-logs"})
    with Engine(lambda cluster: Reconciler(core, cluster), workdir=tmp_path) as engine:
        for number in range(40):
            engine.submit(
                {
                    "apiVersion": "tekton.dev/v1",
                    "kind": "TaskRun",
                    "metadata": {"name": f"run{number}", "namespace": "default"},
                    "spec": {"taskSpec": task(step(f"printf {number} > $(results.digest.path)"))},
                }
            )
        finals = engine.run_until_done(timeout=60)
    for number, final in enumerate(finals):
        assert values(final) == {"digest": str(number)}, final["status"]


def test_no_process_or_folder_is_left_at_the_end(tmp_path):
    """No process, no thread, no folder, whatever the Steps started."""
    before = threading.active_count()
    final = run(task(step("(sleep 600 &) ; printf d > $(results.digest.path)")), tmp_path)
    assert values(final) == {"digest": "d"}
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == before
    mine = str(tmp_path).encode()
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) != os.getpid():
            try:
                environ = (process / "environ").read_bytes()
            except OSError:
                continue
            assert mine not in environ


def test_a_failing_init_container_ends_the_run_at_once(tmp_path):
    """No Step began: there is nothing to read, and waiting for it would bring nothing."""
    nowhere = f"/workspace/{'x' * 300}"  # no file system takes that name
    final = run(task({**step("printf d > $(results.digest.path)"), "workingDir": nowhere}), tmp_path)
    assert condition(final)["reason"] == "InitContainerFailed"
    said = 'init container failed, "working-dir-initializer" exited with code'
    assert condition(final)["message"].startswith(said)


def test_a_script_larger_than_one_argument_runs(tmp_path):
    """Under Tekton it ends its run in place-scripts."""
    long = "# " + "y" * 200_000 + "\nprintf d > $(results.digest.path)"
    assert condition(run(task(step(long)), tmp_path))["reason"] == "Succeeded"


def test_an_exception_in_on_event_ends_run_until_done(tmp_path):
    """A progress display whose pipe is closed raises SystemExit on the engine's thread."""

    def leave(_engine: Engine, _change: str, _obj: Object) -> None:
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        run(task(step("true")), tmp_path, leave)


def _kill_the_sidecar(tmp_path: Path) -> Callable[[Engine, str, Object], None]:
    """When the first Step has ended, SIGKILL for the results sidecar, once; the second waits for that."""
    killed: list[int] = []

    def kill(engine: Engine, _change: str, obj: Object) -> None:
        status = obj.get("status", {})
        steps = {one["name"]: one for one in status.get("steps", [])}
        if obj["kind"] == "TaskRun" and "terminated" in steps.get("one", {}) and not killed:
            killed.extend(pid for pid in processes_with(str(tmp_path)) if argument(pid, "-result-names"))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        for one in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            again = one["restartCount"] == 1 and "running" in one["state"]
            if one["name"] == SIDECAR and (again or "terminated" in one["state"]):
                if again:  # once it has begun it hears a SIGTERM
                    await_true(lambda: log_of(engine.store, "run-pod", SIDECAR) != "")
                (tmp_path / "known").touch()

    return kill


def _once_killed(tmp_path: Path) -> str:
    return f"while [ ! -e {tmp_path}/known ]; do sleep 0.02; done"


def test_a_killed_native_sidecar_is_restarted_and_no_result_is_lost(tmp_path):
    two = task(
        step("printf early > $(results.digest.path)"),
        step(f"{_once_killed(tmp_path)}; printf late > $(results.late.path)", name="two"),
        results=["digest", "late"],
    )
    final = run(two, tmp_path, _kill_the_sidecar(tmp_path), flags=FLAGS["native sidecar"])
    assert condition(final)["status"] == "True"
    assert values(final) == {"digest": "early", "late": "late"}


def test_a_killed_plain_sidecar_fails_the_run_by_name(tmp_path):
    two = task(step("printf early > $(results.digest.path)"), step(_once_killed(tmp_path), name="two"))
    final = run(two, tmp_path, _kill_the_sidecar(tmp_path), flags=FLAGS["plain sidecar"])
    assert condition(final)["reason"] == "TaskRunResultsIncomplete"
    assert '"digest"' in condition(final)["message"]
    assert "exit code 137" in condition(final)["message"]


def test_an_unmountable_volume_ends_the_run_by_name(tmp_path):
    """Nothing on this machine would bring it later."""
    lost = task(
        step("true", volumeMounts=[{"name": "v", "mountPath": "/etc/nope"}]),
        volumes=[{"name": "v", "configMap": {"name": "nope"}}],
    )
    final = run(lost, tmp_path)
    assert condition(final)["reason"] == "FailedMount"
    assert "nope" in condition(final)["message"]
