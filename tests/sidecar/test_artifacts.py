"""Provenance of artifacts: which records there are of it, in our format and in Tekton's."""

import json
import os

from resultsfw_sidecar import wire

TASK = {"RESULTSFW_TASK_ARTIFACTS": "true"}
TEKTON = {"RESULTSFW_WIRE": "0"}


def folder_of(pod, step, number):
    folder = pod.step_folder(step, number).parent / "artifacts"
    folder.mkdir()
    return folder


def test_provenance_comes_after_the_results_each_with_its_digest(make_pod):
    pod = make_pod(steps=2)
    pod.write("r", b"1")
    (pod.root / "artifacts").mkdir()
    (pod.root / "artifacts/provenance.json").write_bytes(b'{"inputs": []}\n')
    (folder_of(pod, "step-a", 0) / "provenance.json").write_bytes("{ é }".encode())
    folder_of(pod, "step-b", 1)
    log = pod.print("r", flags=["-step-names", "step-a,step-b,step-none"], variables=TASK)
    assert [(record["name"], record.get("value")) for record in log.results] == [
        ("r", "1"),
        (wire.ARTIFACTS, '{"inputs": []}\n'),
        (f"step-a.{wire.ARTIFACTS}", "{ é }"),
        (f"step-b.{wire.ARTIFACTS}", None),
        (f"step-none.{wire.ARTIFACTS}", None),
    ]
    assert [record["type"] for record in log.results] == ["task", "task", "step", "absent", "absent"]


def test_hostile_or_large_provenance_is_refused_by_name(make_pod, tmp_path):
    pod = make_pod(steps=3)
    (tmp_path / "secret").write_text("s")
    (folder_of(pod, "step-link", 0) / "provenance.json").symlink_to(tmp_path / "secret")
    (folder_of(pod, "step-large", 1) / "provenance.json").write_bytes(b"x" * 11)
    (folder_of(pod, "step-odd", 2) / "provenance.json").mkdir()
    variables = {**TASK, "RESULTSFW_MAX_RESULT_SIZE": "10"}
    log = pod.print(flags=["-step-names", "step-link,step-large,step-odd"], variables=variables)
    assert [(record["type"], record["reason"]) for record in log.results] == [
        ("refused", "Unreadable"),  # the Task's folder is not mounted
        ("refused", "OutsideFolder"),
        ("refused", "TooLarge"),
        ("refused", "NotRegularFile"),
    ]
    assert (log.results[2]["bytes"], log.results[2]["limit"]) == (11, 10)


def test_a_fifo_that_a_later_steps_entrypoint_would_open_ends_the_wait(make_pod):
    pod = make_pod(steps=2)
    os.mkfifo(folder_of(pod, "step-a", 0) / "provenance.json")
    pod.end(0)
    log = pod.start(flags=["-step-names", "step-a"]).log()
    assert log.why == wire.WHY_STEP_BLOCKED
    assert log.results[0]["reason"] == "NotRegularFile"


def test_tektons_controller_gets_a_line_for_each_step_without_blanks(make_pod):
    """As by Tekton's own sidecar (the capture sl-artifacts); nothing for a Step that wrote none."""
    pod = make_pod(steps=2)
    (folder_of(pod, "step-a", 0) / "provenance.json").write_text('{ "outputs": [{"name": "<é>"}] }\n')
    folder_of(pod, "step-b", 1)
    log = pod.print(flags=["-step-names", "step-a,step-b"], variables=TEKTON)
    assert log.status == 0
    assert log.records == [
        {"name": "step-a", "value": '{"outputs":[{"name":"<é>"}]}', "type": "stepArtifact"}
    ]


def test_malformed_provenance_is_left_out_for_tekton_and_fails_the_container(make_pod, tmp_path):
    pod = make_pod(steps=2)
    pod.write("r", b"1")
    (folder_of(pod, "step-a", 0) / "provenance.json").write_text("{bad")
    (folder_of(pod, "step-b", 1) / "provenance.json").write_text("[" * 100_000)
    message = tmp_path / "message"
    message.touch()
    variables = {**TEKTON, "RESULTSFW_TERMINATION_LOG": str(message)}
    log = pod.print("r", flags=["-step-names", "step-a,step-b"], variables=variables)
    assert [json.loads(line)["name"] for line in log.lines] == ["r"]
    assert log.status == 1
    assert "step-a.artifacts/provenance.json: Unreadable: invalid artifacts" in message.read_text()
