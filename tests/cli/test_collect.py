"""`resultsfw collect`: saved files in, the TaskRun with its status out."""

import json
import os
import threading
from pathlib import Path

import captures
import pytest
import yaml

SIDECAR = "sidecar-tekton-log-results"
WITHOUT_LOG = {
    "sl-exactly-4096",
    "sl-oversize",
    "sl-cancelled",
}  # Tekton deleted the pod before it could be saved
FAILED = {
    "sl-crd-overflow": "TaskRunResultLargerThanAllowedLimit",
    "sl-reserved-sidecar": "PodCreationFailed",
    "sl-step-fails": "StepFailed",
    "sl-step-oom": "StepOOM",
    "tm-overflow": "TaskRunResultLargerThanAllowedLimit",
    "tm-overflow-entrypoint": "StepFailed",
    "tm-retries": "StepFailed",
    "tm-step-fails": "StepFailed",
}


def verdict(taskrun):
    [condition] = taskrun["status"]["conditions"]
    return condition["status"], condition["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in captures.names() if name not in WITHOUT_LOG])
def test_every_complete_capture_gets_the_expected_verdict(cli, saved, name):
    ran = cli("collect", *saved(name), "-o", "json")
    reason = FAILED.get(name)
    assert verdict(ran.json) == (("False", reason) if reason else ("True", "Succeeded"))
    assert ran.status == (1 if reason else 0)


@pytest.mark.slow
def test_the_process_prints_json_only(program, saved):
    ran = program("collect", *saved("sl-basic"), "-o", "json")
    assert ran.status == 0
    assert [one["value"] for one in ran.json["status"]["results"]] == ["sha256:0123", "registry/app\n"]
    assert ran.err == ""


def test_the_default_is_yaml_with_the_same_results_as_json(cli, saved):
    options = saved("tm-array-object")
    as_yaml = yaml.safe_load(cli("collect", *options).out)
    as_json = cli("collect", *options, "-o", "json").json
    assert as_yaml["status"]["results"] == as_json["status"]["results"]


def test_the_table_of_a_failed_run_ends_with_advice(cli, saved):
    ran = cli("collect", *saved("tm-overflow"), "-o", "table")
    assert ran.status == 1
    assert "  small   string      5  hello\n" in ran.out
    assert "  big     string      -  none\n" in ran.out
    assert ran.out.count("kubectl patch") == 1


def test_a_pod_in_a_yaml_list_is_read(cli, saved, write):
    options = saved("tm-basic")
    pod = json.loads(Path("pod.json").read_text())
    write("pod.json", yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [pod]}))
    assert cli("collect", *options).status == 0


def test_a_run_saved_while_it_ran_has_not_timed_out_since(cli, saved):
    """A run that was saved while it ran has not run out of time since."""

    def begun(taskrun):
        final = captures.load("sl-basic")["tekton_final"]
        taskrun["status"] = {"startTime": final["status"]["startTime"]}

    ran = cli("collect", *saved("sl-basic", change=begun, pod=0), "-o", "json")
    assert ran.status == 1
    assert verdict(ran.json)[0] == "Unknown"
    assert "completionTime" not in ran.json["status"]


def test_collecting_twice_prints_the_same(cli, saved):
    options = saved("sl-basic")
    assert cli("collect", *options).out == cli("collect", *options).out


def test_options_override_the_saved_flags(cli, saved):
    ran = cli("collect", *saved("sl-100k"), "--max-result-size", "99999", "-o", "json")
    assert ran.status == 1
    message = ran.json["status"]["conditions"][0]["message"]
    assert 'result "big" has 100000 bytes, over the limit of 99999 bytes' in message


def test_a_log_is_read_from_a_pipe(cli, saved, tmp_path):
    options = saved("sl-basic", log=False)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    saved("sl-basic")
    writer = threading.Thread(target=lambda: fifo.write_bytes((tmp_path / "sidecar.log").read_bytes()))
    writer.start()
    ran = cli("collect", *options, "--log", f"{SIDECAR}={fifo}")
    writer.join(60)
    assert ran.status == 0


def test_a_missing_log_makes_results_unreadable_and_says_how_to_save_it(cli, saved):
    ran = cli("collect", *saved("sl-basic", log=False), "-o", "json")
    assert ran.status == 1
    assert verdict(ran.json) == ("False", "TaskRunResultsUnreadable")
    message = ran.json["status"]["conditions"][0]["message"]
    assert f"kubectl logs -n default sl-basic-pod -c {SIDECAR} > FILE" in message
    assert f"--log {SIDECAR}=FILE" in message


def test_a_run_that_is_refused_needs_no_pod(cli, saved):
    options = saved("sl-reserved-sidecar")
    assert "pod.json" not in options
    assert cli("collect", *options).status == 1


def test_the_task_is_taken_from_the_file_of_the_run(cli, saved, write):
    options = saved("tm-basic")
    run = json.loads(Path("taskrun.json").read_text())
    task = {
        "apiVersion": "tekton.dev/v1",
        "kind": "Task",
        "metadata": {"name": "t"},
        "spec": run["spec"].pop("taskSpec"),
    }
    run["spec"]["taskRef"] = {"name": "t"}
    write("taskrun.json", yaml.safe_dump_all([task, run]))
    assert cli("collect", *options).status == 0
    write("taskrun.json", yaml.safe_dump(run))
    ran = cli("collect", *options, "-o", "json")
    assert verdict(ran.json)[1] == "TaskRunResolutionFailed"


def refused(ran, *said):
    assert ran.status == 2
    assert ran.out == ""
    [line] = ran.err.splitlines()
    assert line.startswith("error: ")
    for words in said:
        assert words in line


def test_files_of_other_kinds_are_refused(cli, saved):
    saved("tm-basic")
    refused(cli("collect", "-f", "pod.json"), "pod.json: no TaskRun and no PipelineRun; found: Pod")
    refused(cli("collect", "-f", "taskrun.json"), "its Pod is not in the files")


def test_the_files_may_be_given_in_any_order_in_one_file_or_as_a_folder(cli, saved, write, tmp_path):
    options = saved("tm-basic")
    out = cli("collect", *options).out
    assert cli("collect", *options[4:], *options[:4]).out == out
    objects = [json.loads(Path(file).read_text()) for file in ("taskrun.json", "pod.json", "flags.json")]
    write("all.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    assert cli("collect", "-f", "all.json").out == out
    (tmp_path / "all.json").unlink()
    assert cli("collect", "-f", ".").out == out


def test_two_runs_are_refused_unless_one_is_named(cli, saved, write):
    options = saved("tm-basic")
    run = json.loads(Path("taskrun.json").read_text())
    other = {**run, "metadata": {**run["metadata"], "name": "other", "uid": "other"}}
    write("taskrun.json", yaml.safe_dump_all([run, other]))
    refused(cli("collect", *options), "taskrun.json, document 2", 'TaskRun "tm-basic", TaskRun "other"')
    assert cli("collect", "tr/tm-basic", *options).status == 0
    refused(cli("collect", "tm-basis", *options), 'no TaskRun or PipelineRun "tm-basis"', 'mean "tm-basic"?')
    write("taskrun.json", yaml.safe_dump_all([run, run]))
    refused(cli("collect", "tm-basic", *options), "taskrun.json, document 2", "a second TaskRun")


def test_a_pod_of_another_run_is_refused(cli, saved):
    options = saved("tm-basic", change=lambda run: run["metadata"].update(name="other", uid="1"))
    refused(cli("collect", *options), 'pod.json, document 1: pod "tm-basic-pod" is not of TaskRun "other"')


def test_a_valid_run_without_its_pod_is_refused(cli, saved):
    options = saved("tm-basic")
    place = options.index("pod.json")
    refused(
        cli("collect", *options[: place - 1], *options[place + 1 :]),
        'TaskRun "tm-basic": its Pod is not in the files',
        "kubectl get pod -n default tm-basic-pod",
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pod: pod.pop("metadata"), "metadata: is missing"),
        (lambda pod: pod["metadata"].update(name=5), "metadata.name: must be text"),
        (lambda pod: pod["status"].update(startTime=5), "status.startTime: must be text"),
        (
            lambda pod: pod["spec"].update(activeDeadlineSeconds=2**63),
            "spec.activeDeadlineSeconds",
        ),
        (lambda pod: pod["spec"].update(containers={}), "spec.containers: must be a list"),
        (lambda pod: pod["spec"]["containers"][1].pop("name"), "spec.containers[1].name: is missing"),
        (
            lambda pod: pod["spec"]["containers"][0].update(args=[5]),
            "spec.containers[0].args[0]: must be text",
        ),
        (
            lambda pod: pod["status"].update(containerStatuses=[5]),
            "status.containerStatuses[0]: must be a mapping",
        ),
        (
            lambda pod: pod["status"]["containerStatuses"][0]["state"]["terminated"].update(message=5),
            "status.containerStatuses[0].state.terminated.message: must be text",
        ),
        (
            lambda pod: pod["status"]["containerStatuses"][0]["state"]["terminated"].update(exitCode=True),
            "exitCode: must be a whole number",
        ),
        (
            lambda pod: pod["status"]["containerStatuses"][0]["state"]["terminated"].update(finishedAt=5),
            "finishedAt: must be text",
        ),
    ],
)
def test_a_pod_with_a_field_of_another_type_is_refused(cli, saved, write, change, said):
    options = saved("tm-basic")
    pod = json.loads(Path("pod.json").read_text())
    change(pod)
    write("pod.json", json.dumps(pod, indent=1))
    refused(cli("collect", *options), "pod.json, document 1, line ", said)


def test_a_pod_whose_status_is_null_is_pending(cli, saved, write):
    options = saved("tm-basic")
    pod = json.loads(Path("pod.json").read_text())
    pod["status"] = None
    write("pod.json", json.dumps(pod))
    ran = cli("collect", *options, "-o", "json")
    assert verdict(ran.json) == ("Unknown", "Pending")


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("x.log", '--log "x.log" is not of the form CONTAINER=FILE'),
        ("=x.log", "is not of the form CONTAINER=FILE"),
        (
            "step-x=x.log",
            '--log: the pod has no container "step-x" (it has: prepare, place-scripts, step-build',
        ),
        (f"{SIDECAR}s=x", f'did you mean "{SIDECAR}"?'),
        (f"{SIDECAR}=gone.log", f"--log {SIDECAR}=gone.log: No such file"),
        (f"{SIDECAR}=.", f"--log {SIDECAR}=.: Is a directory"),
    ],
)
def test_an_invalid_log_option_is_refused(cli, saved, log, said):
    refused(cli("collect", *saved("sl-basic", log=False), "--log", log), said)


def test_two_logs_of_one_container_are_refused(cli, saved):
    options = saved("sl-basic")
    refused(cli("collect", *options, *options[-2:]), f'--log names container "{SIDECAR}" twice')


def test_files_are_required(cli):
    refused(cli("collect", "run"), "give the files of the TaskRun and of its Pod with -f")
    refused(cli("collect", "-f", "gone.yaml"), "gone.yaml: no such file")
