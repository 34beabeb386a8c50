"""Every refusal of what a person gives to `run` names file, document and field; nothing is started."""

import os

import pytest

TASK = "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: release}\nspec: {steps: [{image: x}]}\n"
NEXT = "---\n"
FLAGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: feature-flags}\ndata:\n"


def refused(ran, *said):
    assert ran.status == 2
    assert ran.out == ""
    [line] = ran.err.splitlines()
    assert line.startswith("error: ")
    for words in said:
        assert words in line


def run_of(spec):
    return f"apiVersion: tekton.dev/v1\nkind: TaskRun\nmetadata: {{name: a}}\nspec:\n  {spec}\n"


def test_a_missing_file_is_refused(cli, write):
    write("other", "")
    refused(cli("run", "gone.yaml"), "gone.yaml: no such file")


def test_a_folder_without_a_manifest_is_refused(cli, tmp_path):
    (tmp_path / "notes.txt").write_text("a: b")
    (tmp_path / "below.yaml").mkdir()
    refused(
        cli("run", tmp_path),
        f"{tmp_path} has no file *.json, *.yaml or *.yml; -R also reads the folders in it",
    )


def test_a_file_that_is_not_utf8_is_refused(cli, write):
    refused(cli("run", write("x.yaml", b"a: \xe9")), "x.yaml, line 1: is not UTF-8")


def test_a_file_over_the_limit_is_refused(cli, write, monkeypatch):
    monkeypatch.setattr("resultsfw.cli.files.inputs.FILE_BYTES", 10)
    refused(cli("run", write("x.yaml", "a: " + "b" * 20)), "x.yaml has more than 10 bytes")


def test_invalid_yaml_is_refused_with_its_line(cli, write):
    refused(cli("run", write("x.yaml", "a: 1\n---\nb: [")), "x.yaml, document 2, line 4: is not YAML")


def test_a_repeated_key_is_refused_with_its_line(cli, write):
    text = TASK + NEXT + run_of("taskRef: {name: a}\n  taskRef: {name: b}")
    refused(cli("run", write("x.yaml", text)), "x.yaml, document 2, line 11: spec.taskRef:", "occurs twice")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("5", "is not an object"),
        ("kind: Task", "apiVersion: is missing"),
        ("apiVersion: v1\nkind: 5", "kind: must be text"),
    ],
)
def test_a_document_that_is_no_object_is_refused(cli, write, text, field):
    refused(cli("run", write("x.yaml", text)), "x.yaml, document 1", field)


def test_files_without_a_run_are_refused_with_what_was_found(cli, write):
    action = TASK.replace("kind: Task", "kind: StepAction").replace("tekton.dev/v1", "tekton.dev/v1beta1")
    action = action.replace("{steps: [{image: x}]}", "{image: x}")
    refused(
        cli("run", write("x.yaml", action)),
        'x.yaml: no TaskRun, PipelineRun, Task or Pipeline to run; found: StepAction "release"',
    )
    refused(cli("run", write("e.yaml", "# empty\n")), "e.yaml: no TaskRun", "found: nothing")


PIPELINE = """apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: p}
spec:
  pipelineSpec:
    tasks:
    - name: one
      taskRef: {name: releese}
"""


def test_a_pipeline_whose_task_is_not_in_the_files_is_refused(cli, write):
    refused(
        cli("run", write("x.yaml", TASK + NEXT + PIPELINE)),
        "x.yaml, document 2, line 13: spec.pipelineSpec.tasks[0].taskRef.name: "
        'no Task "releese" in namespace "default"',
        'did you mean "release"?',
    )


@pytest.mark.parametrize(
    ("field", "at"),
    [
        ("pipelineRef: {name: x}", "pipelineRef"),
        ("pipelineSpec: {tasks: [{name: b, pipelineRef: {name: x}}]}", "pipelineSpec.tasks[0].pipelineRef"),
    ],
)
def test_a_pipeline_in_a_pipeline_that_is_not_in_the_files_is_refused(cli, write, field, at):
    text = PIPELINE.replace("taskRef: {name: releese}", field)
    refused(
        cli("run", write("x.yaml", text)),
        f"line 8: spec.pipelineSpec.tasks[0].{at}.name: ",
        'no Pipeline "x" in namespace "default"',
    )


def test_an_invalid_field_is_refused_with_its_line(cli, write):
    text = TASK + NEXT + run_of("taskSpec:\n    steps:\n    - imagee: x")
    refused(
        cli("run", write("x.yaml", text)),
        'x.yaml, document 2, line 12: spec.taskSpec.steps[0].imagee: unknown field; did you mean "image"?',
    )


def test_an_invalid_field_in_a_list_is_refused_with_its_path(cli, write):
    text = """\
        apiVersion: v1
        kind: List
        items:
        - apiVersion: tekton.dev/v1
          kind: TaskRun
          metadata: {name: a}
          spec: {retries: -1, taskSpec: {steps: [{image: x}]}}
        """
    refused(
        cli("run", write("x.yaml", text)),
        "x.yaml, document 1, items[0], line 7: spec.retries: must be at least 0",
    )


def test_a_list_whose_items_are_no_list_is_refused(cli, write):
    text = "apiVersion: v1\nkind: List\nitems: 5\n"
    refused(cli("run", write("x.yaml", text)), "x.yaml, document 1, line 3: items: must be a list")


def test_a_run_whose_task_is_not_in_the_files_is_refused(cli, write):
    text = TASK + NEXT + run_of("taskRef: {name: relase}")
    refused(
        cli("run", write("x.yaml", text)),
        'x.yaml, document 2, line 10: spec.taskRef.name: no Task "relase" in namespace "default"',
        'did you mean "release"?',
    )


def test_a_resolver_that_fetches_is_refused_unless_it_is_allowed(cli, write):
    refused(
        cli("run", write("x.yaml", run_of("taskRef: {resolver: git}"))),
        'x.yaml, document 1, line 5: spec.taskRef.resolver: the resolver "git" fetches what then runs as',
        "--resolver git",
    )
    refused(
        cli("run", write("x.yaml", run_of("taskRef: {resolver: hub}")), "--resolver", "git"),
        'there is no resolver "hub" without a cluster',
    )


def test_two_objects_of_one_name_are_refused(cli, write, manifest):
    write("x.yaml", manifest("same"))
    refused(
        cli("run", "x.yaml", write("y.yaml", manifest("same"))),
        'y.yaml, document 1, line 3: metadata.name: TaskRun "same" is already in x.yaml, document 1',
    )


def test_standard_input_twice_is_refused(cli):
    refused(cli("run", "-", stdin="a: ["), "standard input, document 1, line 2: is not YAML")
    refused(cli("run", "-", "-"), 'standard input ("-") can be read only once')


@pytest.mark.parametrize("field", ["metadata: 5", "metadata: {}", "data: {}"])
def test_a_config_map_without_a_name_is_refused(cli, write, manifest, field):
    text = manifest() + NEXT + f"apiVersion: v1\nkind: ConfigMap\n{field}\n"
    refused(cli("run", write("x.yaml", text)), "x.yaml, document 2", "metadata")


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("max-result-size: 5", "data.max-result-size: must be text: put it in quotes"),
        ('max-result-size: "0"', "data.max-result-size: invalid value"),
        ("results-from: sidecar-log", 'did you mean "sidecar-logs"?'),
        ("missing-results: maybe", "data.missing-results: "),
        ("allowed-results-from: nobody", "data.allowed-results-from: "),
        ("config.sidecar-logs: '{cpu: 5}'\n  results-from: sidecar-logs", "data.config.sidecar-logs: "),
    ],
)
def test_an_invalid_flag_is_refused_with_its_file_and_line(cli, write, manifest, flag, said):
    write("run.yaml", manifest())
    file = write("flags.yaml", f"{FLAGS}  {flag}\n")
    refused(cli("run", "run.yaml", "--feature-flags", file), "flags.yaml, document 1, line ", said)
    both = write("both.yaml", f"{manifest()}---\n{FLAGS}  {flag}\n")
    refused(cli("run", both), "both.yaml, document 2, line ", said)


def test_config_map_data_that_is_no_mapping_is_refused(cli, write, manifest):
    file = write("flags.yaml", f"{FLAGS.rstrip()} [x]")
    refused(
        cli("run", write("x.yaml", manifest()), "--feature-flags", file),
        "flags.yaml",
        "data: must be a mapping",
    )


def test_an_invalid_option_is_refused_by_name(cli, write, manifest):
    file = write("x.yaml", manifest())
    refused(cli("run", file, "--results-from", "sidecar"), "--results-from: ", 'did you mean "sidecar-logs"?')
    refused(cli("run", file, "--max-result-size", "5k"), "--max-result-size: ", '"5k" is not a whole number')
    refused(cli("run", file, "--feature-flags", "gone.yaml"), "gone.yaml: no such file")
    refused(
        cli("run", file, "--feature-flags", file), file, 'takes a manifest with one ConfigMap "feature-flags"'
    )
    for option in ("--workdir", "--claims"):
        refused(cli("run", file, option, f"{file}/below"), f"{option} {file}/below: Not a directory")


def test_two_config_maps_of_flags_are_refused(cli, write, manifest):
    text = f"{manifest()}---\n{FLAGS}---\n{FLAGS.replace('{name', '{namespace: other, name')}"
    refused(cli("run", write("x.yaml", text)), "x.yaml, document 3", 'a second ConfigMap "feature-flags"')


def test_wrong_usage_names_the_help_of_the_command(cli):
    refused(cli("run"), "FILE", "see resultsfw run --help")
    refused(cli("run", "x", "-o", "xml"), "'xml' is not one of")
    refused(cli("runn"), "Did you mean 'run'?")


@pytest.mark.slow
def test_nothing_is_started_when_the_last_file_is_refused(program, write, manifest):
    """As a process of its own: the first file is good, and no Step of it runs."""
    write("good.yaml", manifest(script="touch started"))
    ran = program("run", "good.yaml", write("bad.yaml", "kind: 5"))
    refused(ran, "bad.yaml, document 1")
    assert not os.path.lexists("started")


def test_a_backend_whose_server_is_silent_is_refused_before_a_step_runs(cli, write):
    """Nothing listens on port 1; results through another backend need no server."""
    task = 'taskSpec: {results: [{name: r}], steps: [{image: i, script: "true > $(results.r.path)"}]}'
    flags = FLAGS + '  results-from: "http"\n  config.http: "url: https://127.0.0.1:1"\n'
    refused(
        cli("run", write("x.yaml", run_of(task) + NEXT + flags)),
        'backend "http": nothing answers at 127.0.0.1:1, where it delivers results (Connection refused)',
        "resultsfw results-server --local",
    )
