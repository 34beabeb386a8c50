"""What `resultsfw run` is given: folders, params, workspaces, and files with a Task and no run."""

import contextlib
import inspect
import json
import logging
import os
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from resultsfw.cli.files.admission import admit
from resultsfw.cli.files.folders import files_in
from resultsfw.cli.files.inputs import Document, read_files
from resultsfw.cli.files.manifests import GivenInputs, pick
from resultsfw.cli.files.run_params import with_params
from resultsfw.cli.files.run_workspaces import parse_bindings
from resultsfw.cli.run.repeated_messages import each_once
from resultsfw.cli.run.shell_hints import hint_for
from resultsfw.cli.run.step_logs import FailedStep, log_lines
from resultsfw.errors import InputError

TASK = """
apiVersion: tekton.dev/v1
kind: Task
metadata: {name: build}
spec:
  params:
  - {name: text}
  - {name: list, type: array, default: []}
  - {name: map, type: object, properties: {a: {}, b: {}}, default: {a: x, b: y}}
  workspaces: [{name: source}, {name: cache, optional: true}]
  steps: [{image: i, script: 'true'}]
"""
RUN = """
apiVersion: tekton.dev/v1
kind: TaskRun
metadata: {name: own}
spec:
  params: [{name: text, value: before}]
  taskSpec: {steps: [{image: i, script: 'echo $(params.text) $(params.free)'}]}
"""
BOUND = "name=source,emptyDir="


def picked(write, text, params=(), workspaces=()):
    files = [write("x.yaml", text)]
    bindings = parse_bindings(workspaces)
    return pick(read_files(files), files, given=GivenInputs(params=params, bindings=bindings))


def spec_of(write, text, params=(), workspaces=()):
    [run] = picked(write, text, params, workspaces).runs
    return run["spec"]


def test_a_folder_stands_for_its_manifests_in_order(tmp_path):
    for name in ("b.yml", "a.yaml", "c.json", "notes.txt", "inner/d.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "inner/loop").symlink_to(tmp_path)
    names = [str(tmp_path / name) for name in ("a.yaml", "b.yml", "c.json")]
    assert files_in(["-", str(tmp_path)]) == ["-", *names]
    assert files_in([str(tmp_path)], recursive=True) == [*names, str(tmp_path / "inner/d.yaml")]


def test_folders_may_be_nested_deeply(tmp_path):
    inner = tmp_path.joinpath(*"d" * 300)
    inner.mkdir(parents=True)
    for folder, name in ((tmp_path, "e.yaml"), (inner, "a.yaml"), (tmp_path, "c.yaml")):
        (folder / name).touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        found = files_in([str(tmp_path)], recursive=True)
    finally:
        sys.setrecursionlimit(limit)
    assert found == [str(tmp_path / "c.yaml"), str(inner / "a.yaml"), str(tmp_path / "e.yaml")]


def test_a_pipe_in_a_folder_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(InputError, match=r"a\.yaml is no regular file"):
        files_in([str(tmp_path)])
    assert files_in([str(tmp_path / "a.yaml")]) == [str(tmp_path / "a.yaml")]


def test_a_task_without_a_run_is_run_with_what_the_options_give(write):
    manifests = picked(write, TASK, ["text=a=b", "list=a,b", "map=a:1, b:2"], [BOUND])
    assert [run["metadata"]["name"] for run in manifests.runs] == ["build-run"]
    assert manifests.runs[0]["spec"] == {
        "taskRef": {"name": "build"},
        "params": [
            {"name": "text", "value": "a=b"},
            {"name": "list", "value": ["a", "b"]},
            {"name": "map", "value": {"a": "1", "b": "2"}},
        ],
        "workspaces": [{"name": "source", "emptyDir": {}}],
    }


def test_arrays_and_objects_may_be_json_and_empty(write):
    params = ['list=["a,b", "c"]', 'map={"a": "1:2", "b": ""}', "text="]
    values = {param["name"]: param["value"] for param in spec_of(write, TASK, params, [BOUND])["params"]}
    assert values == {"list": ["a,b", "c"], "map": {"a": "1:2", "b": ""}, "text": ""}
    assert spec_of(write, TASK, ["text=x", "list="], [BOUND])["params"][1]["value"] == []


def test_params_of_a_run_are_replaced_and_propagated_ones_added(write):
    assert spec_of(write, RUN, ["free=y", "text=x"])["params"] == [
        {"name": "text", "value": "x"},
        {"name": "free", "value": "y"},
    ]


@pytest.mark.parametrize(
    ("params", "workspaces", "why"),
    [
        (["text"], [BOUND], "is not of the form NAME=VALUE"),
        (["txet=secret-value"], [BOUND], 'did you mean "text"?'),
        (["text=x", "list=[secret-value"], [BOUND], "is of type array: elements between commas"),
        (["text=x", "map=secret-value"], [BOUND], "is of type object: KEY:VALUE between commas"),
        (["text=x", 'list=["secret-value", 1]'], [BOUND], "or a JSON array of strings"),
        ([], [], 'it needs param "text", workspace "source": add -p text=VALUE -w name=source,emptyDir='),
        (["text=x"], ["emptyDir="], "names no workspace"),
        (["text=x"], ["name=source"], "must have one of emptyDir, claimName"),
        (["text=x"], ["name=source,emptyDir=,secret=s"], "must have one of"),
        (["text=x"], ["name=source,emptyDir=Disk"], "Memory or HugePages"),
        (["text=x"], ["name=source,csiFile=x"], 'does not know "csiFile"'),
        (["text=x"], ["name=source,config=c,item=a"], "item=KEY=PATH"),
        (["text=x"], ["name=source,emptyDir=,item=a=b"], "which only config and secret have"),
        (["text=x"], ["name=source,folder=gone"], "gone is not a folder"),
        (["text=x"], [BOUND, "name=sauce,emptyDir="], 'did you mean "source"?'),
    ],
)
def test_what_cannot_be_given_is_refused_without_its_value(write, params, workspaces, why):
    with pytest.raises(InputError) as refused:
        picked(write, TASK, params, workspaces)
    assert why in str(refused.value)
    assert "secret-value" not in str(refused.value)


def test_workspaces_are_bound_as_tkn_binds_them(write, tmp_path):
    (tmp_path / "here").mkdir()
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "t"}, "spec": {}}
    write("claim.yaml", json.dumps(claim))
    for option, binding in (
        ("claimName=c,subPath=a/b", {"subPath": "a/b", "persistentVolumeClaim": {"claimName": "c"}}),
        ("config=c,item=k=p", {"configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}}),
        ("secret=s", {"secret": {"secretName": "s"}}),
        ("emptyDir=Memory", {"emptyDir": {"medium": "Memory"}}),
        ("volumeClaimTemplateFile=claim.yaml", {"volumeClaimTemplate": claim}),
    ):
        given = spec_of(write, TASK, ["text=x"], [f"name=source,{option}"])["workspaces"]
        assert given == [{"name": "source", **binding}]
    manifests = picked(write, TASK, ["text=x"], ["name=source,folder=here"])
    assert manifests.folders == {("default", "folder-of-0"): tmp_path / "here"}
    assert [obj["metadata"]["name"] for obj in manifests.needed] == ["folder-of-0"]


def test_of_several_tasks_none_is_chosen_but_a_pipeline_is(write):
    other = TASK.replace("build", "other")
    with pytest.raises(InputError, match=r"more than one could be run: Task \"build\" .*Task \"other\""):
        picked(write, f"{TASK}---{other}")
    pipeline = (
        "\napiVersion: tekton.dev/v1\nkind: Pipeline\nmetadata: {name: all, namespace: n}\n"
        "spec: {tasks: [{name: a, taskSpec: {steps: [{image: i, script: x}]}}]}\n"
    )
    [run] = picked(write, f"{TASK}---{other}---{pipeline}").runs
    assert (run["kind"], run["metadata"]) == ("PipelineRun", {"name": "all-run", "namespace": "n"})


def test_left_out_is_said_only_of_what_has_no_effect(write):
    text = "".join(
        f"---\n{{apiVersion: {version}, kind: {kind}, metadata: {{name: x}}}}\n"
        for version, kind in (
            ("rbac.authorization.k8s.io/v1", "Role"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("v1", "ServiceAccount"),
            ("v1", "Namespace"),
            ("v1", "Pod"),
            ("v1", "Service"),
            ("tekton.dev/v1alpha1", "VerificationPolicy"),
        )
    )
    manifests = picked(write, RUN.replace(" $(params.free)", "") + text)
    assert [obj["kind"] for obj in manifests.needed] == ["Role", "RoleBinding", "ServiceAccount"]
    assert [line.partition(" ")[0] for line in manifests.left_out] == ["Pod", "Service", "VerificationPolicy"]
    assert "are not verified on this machine" in manifests.left_out[2]


def test_a_list_is_run_again_without_what_its_pipelinerun_makes(write):
    owner = {"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "p", "uid": "u"}
    step = {"image": "i", "script": "x"}
    pipelinerun = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"pipelineSpec": {"tasks": [{"name": "a", "taskSpec": {"steps": [step]}}]}},
    }
    taskrun = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {
            "name": "p-a",
            "namespace": "n",
            "ownerReferences": [owner, "odd", {"kind": "PipelineRun", "name": []}],
        },
        "spec": {"taskSpec": {"steps": [step]}},
    }
    items = {"apiVersion": "v1", "kind": "List", "items": [pipelinerun, taskrun]}
    manifests = picked(write, json.dumps(items))
    assert [run["metadata"]["name"] for run in manifests.runs] == ["p"]
    assert "its PipelineRun makes it anew" in manifests.left_out[0]
    assert [run["kind"] for run in picked(write, json.dumps(taskrun)).runs] == ["TaskRun"]


TEXT = st.text(st.sampled_from('a=,:{}[]"\\ \n\x00é1'), max_size=12)


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT)
def test_no_option_makes_anything_but_an_input_error(name, value):
    documents, _ = admit([Document("x", 1, yaml.safe_load(TASK), "")])
    run = Document("x", 1, yaml.safe_load(RUN), "")
    spec = documents[0].obj["spec"]
    for option in (f"{name}={value}", f"list={value}", f"map={value}"):
        for known in (spec, None):
            try:
                [changed] = with_params([run], [known], [option])
            except InputError:
                continue
            assert yaml.safe_dump(changed.obj)
    with contextlib.suppress(InputError):
        parse_bindings([f"name={name},{value}", value])


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, 0), (20, 20), (21, 20), (30_000, 20)],
)
def test_a_log_is_shown_whole_or_by_its_ends(tmp_path, size, shown):
    log = tmp_path / "log"
    log.write_bytes(b"".join(b"/here/line %d\n" % number for number in range(size)))
    lines = log_lines(FailedStep(name="s", log=log, paths={"/here": "/workspace"}), kept=True)
    assert len(lines) == shown
    if size > 20:
        assert lines[0] == "/workspace/line 0"
        assert lines[5] == f"... {size - 19:,} lines left out: all of them are in {log}"
        assert lines[-1] == f"/workspace/line {size - 1}"


def test_very_long_lines_are_cut_and_none_is_shown_twice(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"a" * 300_000 + b"\n" + b"b" * 300_000)
    first, last = log_lines(FailedStep(name="s", log=log, paths={}), kept=False)
    assert (first[:2], last[:2]) == ("aa", "bb")
    assert len(first) == len(last) < 500


@pytest.mark.parametrize(
    ("line", "shell", "said"),
    [
        ("/tekton/scripts/s: 3: [: a: unexpected operator", "dash", "is dash on this machine"),
        ("s: 3: [[: not found", "dash", "is dash on this machine"),
        ('s: 4: Syntax error: "(" unexpected', "dash", "is dash on this machine"),
        ("s: 3: set: Illegal option -o pipefail", "dash", "is dash on this machine"),
        ("s: 1: kubectl: not found", "dash", "this machine has no kubectl"),
        ("s: line 1: kubectl: command not found", "bash", "this machine has no kubectl"),
        ("s: 3: [[: not found", "bash", ""),
        ("everything is fine", "dash", ""),
    ],
)
def test_a_log_that_shows_another_shell_or_a_missing_program_has_a_hint(line, shell, said):
    hint = hint_for(["before", line], shell)
    assert said in hint
    assert bool(said) == bool(hint)


def test_a_repeated_warning_is_printed_once(caplog):
    logger = logging.getLogger("resultsfw")
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    with each_once():
        for number in (1, 1, 2):
            logging.getLogger("resultsfw.tekton").warning("down: %s", number)
    logging.getLogger("resultsfw.tekton").warning("down: %s", 1)
    logger.removeHandler(handler)
    assert [record.getMessage() for record in records] == ["down: 1", "down: 2", "down: 1"]
