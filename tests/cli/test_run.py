"""`resultsfw run`: real Steps, every exit status, what stands on which stream."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest
import yaml
from pluginsite import GOOD

from resultsfw.cli.run import run_files as run_module

pytestmark = pytest.mark.slow

WRITES = "printf 'hello' > $(results.greeting.path)"
NAMED = "[{name: greeting}]"
NO_IMAGES = "images are not pulled: Steps run as processes, with programs of this machine"


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_process_succeeds_if_all_runs_succeed(program, write, manifest):
    ran = program("run", write("x.yaml", manifest(script=WRITES, results=NAMED)), "-o", "json")
    assert ran.status == 0
    [taskrun] = ran.items
    assert taskrun["status"]["results"] == [{"name": "greeting", "type": "string", "value": "hello"}]
    assert taskrun["metadata"]["resourceVersion"]
    assert ran.err.count(NO_IMAGES) == 1


def test_one_failed_run_gives_status_1_and_the_end_of_its_log(cli, write, manifest):
    text = f"{manifest('good', WRITES, NAMED)}---\n{manifest('bad', 'echo why; exit 3')}"
    ran = cli("run", write("x.yaml", text))
    assert ran.status == 1
    assert ran.out == (
        "good succeeded\n"
        "  result    type    bytes  value\n"
        "  greeting  string      5  hello\n"
        "\n"
        "bad failed StepFailed\n"
        '  "step-one" exited with code 3: Error\n'
        '  log of Step "one":\n'
        "    why\n"
    )


def test_progress_is_plain_lines_without_a_terminal(cli, write, manifest):
    ran = cli("run", write("x.yaml", manifest(script="exit 3")))
    lines = ran.err.splitlines()
    assert lines[0] == NO_IMAGES
    assert lines[1] == "hello: started, pod hello-pod"
    assert lines[2].startswith("hello: Step one: failed, exit code 3 (")
    assert len(lines) == 3


def test_a_run_from_standard_input_is_printed_as_yaml(program, manifest):
    ran = program("run", "-", "-o", "yaml", stdin=f"{manifest('a')}---\n{manifest('b')}")
    assert ran.status == 0
    assert [item["metadata"]["name"] for item in yaml.safe_load(ran.out)["items"]] == ["a", "b"]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_awkward_values_are_printed_in_any_locale(program, write, manifest, locale):
    script = r"printf '\360\237\230\200 \033[31m\342\200\250\n' > $(results.greeting.path)"
    file = write("x.yaml", manifest(script=script, results=NAMED))
    env = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    value = "\U0001f600 \x1b[31m\u2028\n"
    assert program("run", file, "-o", "json", env=env).items[0]["status"]["results"][0]["value"] == value
    ran = program("run", file, env=env)
    assert ran.status == 0
    assert "\\x1b[31m\\u2028\\n" in ran.out


def test_tasks_generated_names_config_maps_and_secrets_are_taken_from_the_files(cli, write):
    text = """\
        apiVersion: v1
        kind: List
        items:
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: words}, data: {one: first}}
        - {apiVersion: v1, kind: Secret, metadata: {name: hidden}, stringData: {two: second}}
        - {apiVersion: v1, kind: Service, metadata: {name: unused}}
        ---
        apiVersion: tekton.dev/v1
        kind: TaskRun
        metadata: {generateName: made-}
        spec: {taskRef: {name: say}}
        ---
        apiVersion: tekton.dev/v1
        kind: Task
        metadata: {name: say}
        spec:
          results: [{name: said}]
          steps:
          - name: one
            image: busybox:1
            env:
            - {name: ONE, valueFrom: {configMapKeyRef: {name: words, key: one}}}
            - {name: TWO, valueFrom: {secretKeyRef: {name: hidden, key: two}}}
            script: printf "$ONE $TWO" > $(results.said.path)
        """
    ran = cli("run", write("x.yaml", text), "-o", "json")
    assert ran.status == 0
    [taskrun] = ran.items
    assert taskrun["metadata"]["name"].startswith("made-")
    assert taskrun["status"]["results"][0]["value"] == "first second"
    said = " ".join(ran.err.split())
    assert 'left out: Service "unused" (x.yaml, document 1, items[2]): only a cluster has objects' in said


def test_a_run_with_a_status_runs_again(cli, write, manifest):
    taskrun = yaml.safe_load(manifest(script=WRITES, results=NAMED))
    taskrun["metadata"] |= {"uid": "old", "resourceVersion": "7", "managedFields": []}
    taskrun["status"] = {"conditions": [{"type": "Succeeded", "status": "False", "reason": "Old"}]}
    ran = cli("run", write("x.json", json.dumps(taskrun)), "-o", "json")
    assert ran.status == 0
    assert ran.items[0]["metadata"]["uid"] != "old"


def test_options_override_the_flags_file_which_overrides_the_documents(cli, write, manifest):
    def flags(size):
        data = f'{{max-result-size: "{size}", results-from: sidecar-logs}}'
        return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: feature-flags}}\ndata: {data}\n"

    script = "head -c 2500 /dev/zero | tr '\\0' x > $(results.greeting.path)"
    file = write("x.yaml", f"{manifest(script=script, results=NAMED)}---\n{flags(1000)}")
    write("flags.yaml", flags(2000))
    for options, limit in (
        ([], 1000),
        (["--feature-flags", "flags.yaml"], 2000),
        (["--feature-flags", "flags.yaml", "--max-result-size", "2400"], 2400),
    ):
        ran = cli("run", file, *options)
        assert ran.status == 1
        assert f"has 2500 bytes, over the limit of {limit} bytes" in ran.out
    assert cli("run", file, "--max-result-size", "2500").status == 0


def test_a_result_too_large_gets_advice_for_here_and_for_a_cluster(cli, write, manifest):
    script = "head -c 5000 /dev/zero | tr '\\0' x > $(results.greeting.path)"
    file = write("x y.yaml", manifest(script=script, results=NAMED))
    ran = cli("run", file)
    assert ran.status == 1
    assert 'result "greeting" has 5000 bytes' in ran.out
    command = "  resultsfw run 'x y.yaml' --results-from sidecar-logs --max-result-size 8192\n"
    assert command in ran.out
    assert ran.out.count("kubectl patch cm feature-flags -n tekton-pipelines") == 2
    assert 'log of Step "one":' in ran.out
    assert cli("run", file, "--results-from", "sidecar-logs", "--max-result-size", "8192").status == 0


def test_the_advised_command_keeps_the_other_options(cli, write, manifest):
    script = "head -c 5000 /dev/zero | tr '\\0' x > $(results.greeting.path)"
    file = write("x.yaml", manifest(script=script, results=NAMED))
    ran = cli("run", file, "--results-from", "sidecar-logs")
    assert "  resultsfw run x.yaml --results-from sidecar-logs --max-result-size 8192\n" in ran.out


def test_a_max_result_size_over_the_object_limit_is_logged_and_the_default_used(cli, write, manifest):
    file = write("x.yaml", manifest(script=WRITES, results=NAMED))
    ran = cli("run", file, "--max-result-size", "1572865", "-o", "json")
    assert ran.status == 0
    assert ran.err.startswith('error: feature flag "max-result-size": 1572865 is over')
    assert ran.items[0]["status"]["provenance"]["featureFlags"]["maxResultSize"] == 4096


def test_a_program_that_is_not_installed_is_named(cli, write, manifest):
    ran = cli("run", write("x.yaml", manifest(script="#!/usr/bin/no-such-shell\ntrue")))
    assert ran.status == 1
    assert "this machine has no no-such-shell" in ran.out


def test_a_run_that_the_reconciler_refuses_fails(cli, write, manifest):
    ran = cli(
        "run", write("x.yaml", manifest().replace("taskSpec:\n", "taskSpec:\n    params: [{name: p}]\n"))
    )
    assert ran.status == 1
    assert "missing values for these params which have no default values: [p]" in " ".join(ran.out.split())


def test_a_run_that_the_admission_webhook_refuses_is_refused_with_its_line(cli, write, manifest):
    text = f"{manifest('good')}---\n{manifest('bad', results='[{name: _a}]')}"
    ran = cli("run", write("x.yaml", text))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith('error: x.yaml, document 2, line 18: invalid key name "_a": spec.taskSpec.')


@pytest.mark.parametrize("kind", ["TaskRun", "PipelineRun"])
def test_a_pending_run_is_refused(cli, write, kind):
    spec = {"steps": [{"image": "i", "script": "true"}]}
    inner = (
        {"taskSpec": spec}
        if kind == "TaskRun"
        else {"pipelineSpec": {"tasks": [{"name": "a", "taskSpec": spec}]}}
    )
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": kind,
        "metadata": {"name": "p"},
        "spec": {"status": f"{kind}Pending", **inner},
    }
    ran = cli("run", write("x.yaml", yaml.safe_dump(run)))
    assert ran.status == 2
    assert "spec.status" in ran.err
    assert "nothing here would start the run" in ran.err


@pytest.mark.parametrize(
    ("paths", "template", "said"),
    [
        (("/data", "/data2"), [], "got     string      1  0"),
        (("/data", "/data"), [], "must be unique"),
        # The Step's mount takes the place of the template's where both come to be at one path.
        (("/data", "/data2"), [{"name": "u", "mountPath": "$(params.one)"}], "got     string      1  0"),
        (("/data", "/data2"), [{"name": "u", "mountPath": "/data2"}], "got     string      1  0"),
    ],
)
def test_mount_paths_come_from_params_and_must_be_unique(cli, write, paths, template, said):
    """As on a server, which refuses two volumes at one path of a container."""
    script = 'touch %(one)s/x; ls %(two)s | wc -l | tr -d " \\n" > $(results.got.path)'
    names = {"one": "$(params.one)", "two": "$(params.two)"}
    step = {
        "image": "i",
        "script": script % names,
        "volumeMounts": [{"name": "v", "mountPath": names["one"]}, {"name": "w", "mountPath": names["two"]}],
    }
    task = {
        "params": [{"name": "one"}, {"name": "two"}],
        "results": [{"name": "got"}],
        "volumes": [{"name": name, "emptyDir": {}} for name in "uvw"],
        "stepTemplate": {"volumeMounts": template},
        "steps": [step],
    }
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "m"},
        "spec": {
            "params": [{"name": name, "value": path} for name, path in zip(names, paths, strict=True)],
            "taskSpec": task,
        },
    }
    ran = cli("run", write("x.yaml", yaml.safe_dump(run)))
    assert said in ran.out


def test_the_working_directory_is_removed_unless_it_is_kept(cli, write, manifest, tmp_path):
    file = write("x.yaml", manifest(script="echo said"))
    (tmp_path / "work").mkdir()
    assert cli("run", file, "--workdir", "work").status == 0
    assert list((tmp_path / "work").iterdir()) == []
    ran = cli("run", file, "--workdir", "work", "--keep")
    assert ran.status == 0
    assert f"kept: {tmp_path / 'work'}" in ran.err
    assert any(path.is_file() and path.read_bytes() == b"said\n" for path in (tmp_path / "work").rglob("*"))


def test_claims_in_a_given_folder_are_kept_for_the_next_call(cli, write, tmp_path):
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kept"}}
    claim["spec"] = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    step = {"name": "write", "image": "busybox", "script": "#!/bin/sh\necho again >> /kept/file"}
    volumes = [{"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}}]
    step["volumeMounts"] = [{"name": "kept", "mountPath": "/kept"}]
    run = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": "x"}}
    run["spec"] = {"taskSpec": {"steps": [step], "volumes": volumes}}
    files = [write("claim.yaml", json.dumps(claim)), write("run.yaml", json.dumps(run))]
    for _ in range(2):
        assert cli("run", *files, "--claims", "claims").status == 0
    assert (tmp_path / "claims/default/kept/file").read_text() == "again\nagain\n"


def test_the_first_and_last_lines_of_a_long_log_are_printed(cli, write, manifest):
    """Of the Step that failed, not of one before it that failed and was continued."""
    script = "cd /workspace; pwd; for n in $(seq 2000); do echo line $n; done; printf '\\351 last'; exit 1"
    text = manifest(script=script).replace(
        "    steps:\n",
        "    steps:\n    - {name: zero, image: i, onError: continue, script: echo other; exit 2}\n",
        1,
    )
    out = cli("run", write("x.yaml", text)).out.splitlines()
    at = out.index('  log of Step "one":')
    assert out[at + 1 :] == [
        "    /workspace",
        *(f"    line {n}" for n in range(1, 5)),
        "    ... 1,983 lines left out: --logs shows them, --keep keeps them",
        *(f"    line {n}" for n in range(1988, 2001)),
        "    \ufffd last",
    ]


@pytest.fixture
def started(write, manifest, tmp_path):
    """A process whose Step runs and has told its pid."""
    os.mkfifo(tmp_path / "fifo")
    processes = []

    def start(*options, first="true"):
        file = write("x.yaml", manifest(script=f"{first}\necho $$ > {tmp_path}/fifo\nexec sleep 1000"))
        process = subprocess.Popen(
            [sys.executable, "-m", "resultsfw.cli", "run", file, "--workdir", "work", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        with (tmp_path / "fifo").open() as fifo:  # waits for the Step
            return process, int(fifo.read())

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "status", "first"),
    [(signal.SIGINT, 130, "trap '' TERM"), (signal.SIGTERM, 143, "true"), (signal.SIGHUP, 129, "true")],
)
def test_a_signal_ends_every_process_and_removes_the_workdir(started, tmp_path, number, status, first):
    """A Step that will not hear SIGTERM, too."""
    process, step = started("-o", "json", first=first)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == status
    assert out == ""
    assert err.endswith(f"stopped by {number.name}; every process it started has ended\n")
    assert gone(step)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_terminal_shows_the_steps_as_they_run(write, manifest):
    file = write("x.yaml", manifest(script=WRITES, results=NAMED))
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "resultsfw.cli", "run", file],
        stdout=subprocess.PIPE,
        stderr=child,
        env={**os.environ, "TERM": "xterm-256color"},
    ) as process:
        os.close(child)
        shown = b""
        try:
            while piece := os.read(parent, 4096):
                shown += piece
        except OSError:
            pass  # Linux says EIO where a terminal ends
        os.close(parent)
        table = process.stdout.read()
    assert process.returncode == 0
    assert b"\x1b[" not in table
    assert b"greeting" in table
    assert b"images are not pulled" in shown
    assert b"\x1b[" in shown
    assert b"hello: started" not in shown
    last = shown.rsplit(b"\x1b[2K", 1)[-1]
    assert b"one" in last
    assert b"ok" in last


def test_an_exception_in_the_reconciler_gives_status_3(cli, write, manifest, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setattr(run_module.Reconciler, "reconcile", fail)
    ran = cli("run", write("x.yaml", manifest()))
    assert ran.status == 3
    assert "error: a fault of resultsfw itself: RuntimeError: broken" in ran.err


def test_flags_without_effect_are_warned_about(cli, write, manifest):
    write("flags.yaml", FLAGS.format(data='{max-result-sise: "5000", await-sidecar-readiness: "false"}'))
    ran = cli("run", write("x.yaml", manifest()), "--feature-flags", "flags.yaml")
    assert ran.status == 0
    said = " ".join(ran.err.split())
    assert 'warning: feature-flags: "max-result-sise" is no key that is known here' in said
    assert 'did you mean "max-result-size"?' in said
    assert "warning: feature-flags: await-sidecar-readiness has no effect here" in said


def test_a_security_policy_that_is_not_enforced_refuses_the_run(cli, write, manifest):
    write("flags.yaml", FLAGS.format(data="{enforce-nonfalsifiability: spire}"))
    ran = cli("run", write("x.yaml", manifest()), "--feature-flags", "flags.yaml")
    assert ran.status == 1
    assert "enforce-nonfalsifiability" in ran.out


def test_config_defaults_are_taken_from_the_files(cli, write, manifest):
    defaults = FLAGS.replace("feature-flags", "config-defaults").format(data="{default-service-account: bot}")
    file = write("x.yaml", f"{manifest()}---\n{defaults}")
    assert cli("run", file).status == 0


def test_a_field_that_only_a_cluster_can_honour_is_named(cli, write, manifest):
    text = manifest().replace("spec:\n", "spec:\n  debug: {breakpoints: {onFailure: enabled}}\n", 1)
    ran = cli("run", write("x.yaml", text))
    assert ran.status == 1
    assert "PodCreationFailed" in ran.out
    assert "debug.breakpoints.onFailure" in ran.out


FLAGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: feature-flags}}\ndata: {data}\n"


def test_a_field_unknown_to_kubernetes_is_warned_about(cli, write, manifest):
    text = manifest().replace("taskSpec:\n", "taskSpec:\n    volumes: [{name: v, emptyDirs: {}}]\n", 1)
    ran = cli("run", write("x.yaml", text))
    assert ran.status == 0
    said = " ".join(ran.err.split())
    assert "spec.taskSpec.volumes[0].emptyDirs: no field of Kubernetes that is known here" in said
    assert 'did you mean "emptyDir"?' in said


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (
            "taskSpec:\n    volumes: [{name: v, hostPath: {path: /etc}}]\n",
            "spec.taskSpec.volumes[0].hostPath",
        ),
        (
            "podTemplate: {volumes: [{name: u}, {name: v, hostPath: {path: /}}]}\n  taskSpec:\n",
            "spec.podTemplate.volumes[1].hostPath",
        ),
    ],
)
def test_a_host_path_is_refused_by_name(cli, write, manifest, part, field):
    ran = cli("run", write("x.yaml", manifest().replace("taskSpec:\n", part, 1)))
    assert ran.status == 2
    assert f"{field}: is refused: without a cluster it would be a folder of this machine" in ran.err


def test_a_backends_programming_error_ends_the_run_with_its_traceback(program, site, write, manifest):
    """It was repeated for five minutes, and the place was in no output."""
    site.backend("wrong", GOOD.replace("return Extraction(", 'return {}["absent"] or Extraction('))
    flags = write(
        "flags.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: f}, data: {results-from: wrong}}"
    )
    ran = program(
        "run", write("x.yaml", manifest(script=WRITES, results=NAMED)), "--feature-flags", flags, env=site.env
    )
    assert ran.status == 1
    assert 'backend "wrong" failed in extract: KeyError, at line 16 of' in " ".join(ran.out.split())
    frames = ran.err[ran.err.index("Traceback") :].splitlines()[1:]
    assert "plugin_wrong.py" in frames[0]  # none of those that call hooks


def test_logs_are_followed_on_standard_error_and_a_folder_is_bound(program, write, tmp_path):
    """The List, with the Pod, is what explain reads; a folder's content is seen, and written to, by Steps."""
    task = """\
        apiVersion: tekton.dev/v1
        kind: Task
        metadata: {name: t}
        spec:
          params: [{name: who}]
          workspaces: [{name: w}]
          results: [{name: r}]
          steps:
          - name: one
            image: i
            script: |
              cd $(workspaces.w.path)
              cat given
              printf '%s\\033[31m' "$(params.who) in $(pwd -P)"
              echo made > made
              printf x > $(results.r.path)
          - {name: two, image: i, onError: continue, script: "exit 3"}
        """
    (tmp_path / "here").mkdir()
    (tmp_path / "here/given").write_text("given\n")
    given = ("-p", "who=me", "-w", "name=w,folder=here", "--logs", "--keep", "--workdir", "work")
    ran = program("run", "-f", write("t.yaml", task), *given, "-o", "json")
    assert ran.status == 0
    # The second Step may be seen to end before the process of the first has ended.
    of_one = [line for line in ran.err.splitlines() if ": one] " in line or "Step one" in line]
    assert of_one[:2] == ["[t-run : one] given", "[t-run : one] me in /workspace/w\\x1b[31m"]
    assert of_one[2].startswith("t-run: Step one: ok")
    assert (tmp_path / "here/made").read_text() == "made\n"
    assert [item["kind"] for item in ran.items] == ["TaskRun", "Pod"]
    explained = program("explain", "-f", write("all.json", ran.out))
    assert explained.status == 0, explained.err
    assert "t-run" in explained.out
