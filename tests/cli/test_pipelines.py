"""PipelineRuns from the command line: the tree, the objects, the picture."""

import xml.etree.ElementTree as ET

import pytest
import yaml

pytestmark = pytest.mark.slow


def a_run(**spec):
    def task(name, script, results=(), **fields):
        declared = [{"name": one, "type": "string"} for one in results]
        inner = {"results": declared, "steps": [{"name": "s", "image": "i", "script": script}]}
        return {"name": name, "taskSpec": inner, **fields}

    no = [{"input": "a", "operator": "in", "values": ["b"]}]
    uses = task("use", "wc -c < /tekton/params/big > $(results.n.path)", ["n"])
    uses["params"] = [{"name": "big", "value": "$(tasks.make.results.big)"}]
    uses["taskSpec"]["params"] = [{"name": "big", "type": "string"}]
    tasks = [
        task("make", "head -c 300000 /dev/zero | tr '\\0' 'q' > $(results.big.path)", ["big"]),
        uses,
        task("left", "true", when=no),
    ]
    pipeline = {"tasks": tasks, "results": [{"name": "size", "value": "$(tasks.use.results.n)"}]}
    return yaml.safe_dump(
        {
            "apiVersion": "tekton.dev/v1",
            "kind": "PipelineRun",
            "metadata": {"name": "p"},
            "spec": {"pipelineSpec": pipeline, **spec},
        }
    )


FLAGS = ("--results-from", "sidecar-logs", "--max-result-size", "400000")


def test_a_large_result_is_used_by_the_next_task_and_drawn(cli, write, tmp_path):
    picture = tmp_path / "p.svg"
    ran = cli("run", write("p.yaml", a_run()), *FLAGS, "--graph", str(picture))
    assert ran.status == 0
    for words in ("p succeeded Completed", "big (300000 bytes)", "left  skipped", "size        7  300000"):
        assert words in ran.out
    drawn = "".join(ET.fromstring(picture.read_text()).itertext())  # noqa: S314 - our own
    for words in ("make", "use", "left", "big300000 bytes", "When Expressions evaluated to false"):
        assert words in drawn


def test_json_has_the_pipelinerun_and_its_taskruns(cli, write):
    kinds = [
        (run["kind"], run["metadata"]["name"])
        for run in cli("run", write("p.yaml", a_run()), *FLAGS, "-o", "json").items
    ]
    assert kinds == [("PipelineRun", "p"), ("TaskRun", "p-make"), ("TaskRun", "p-use")]


def test_a_failed_pipelinerun_names_the_task_and_the_reason(cli, write):
    ran = cli("run", write("p.yaml", a_run()), "--results-from", "sidecar-logs")
    assert ran.status == 1
    for words in (
        "make  TaskRunResultLargerThanAllowedLimit",
        'result "big" has 300000 bytes',
        "PipelineRun was stopping",
    ):
        assert words in ran.out


def test_a_graph_of_two_pipelineruns_or_to_an_unwritable_file_is_refused(cli, write):
    two = a_run() + "---\n" + a_run().replace("name: p\n", "name: q\n")
    assert (
        "--graph draws one PipelineRun; there are 2"
        in cli("run", write("p.yaml", two), "--graph", "x.svg").err
    )
    assert "--graph" in cli("run", write("p.yaml", a_run()), "--graph", "no/folder.svg").err


def test_a_run_that_never_got_its_pipeline_is_printed_though_it_cannot_be_drawn(cli, write):
    text = a_run().replace("    tasks:", "    params: [{name: none}]\n    tasks:", 1)
    ran = cli("run", write("p.yaml", text), "--graph", "x.svg")
    assert (ran.status, ran.err.count("--graph: not drawn: its status has no Pipeline yet")) == (1, 1)
    assert "p failed" in ran.out


MATRIX = """\
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: p}
spec:
  pipelineSpec:
    results:
    - {name: all, value: "$(tasks.build.results.image[*])"}
    tasks:
    - name: targets
      taskSpec:
        results: [{name: found, type: array}]
        steps: [{name: s, image: i, script: "printf '[\\"arm\\",\\"x86\\"]' > $(results.found.path)"}]
    - name: build
      displayName: for $(params.target)
      matrix:
        params: [{name: target, value: "$(tasks.targets.results.found[*])"}]
        include: [{name: own, params: [{name: target, value: riscv}, {name: flags, value: -v}]}]
      taskSpec:
        params: [{name: target}, {name: flags, default: ""}]
        results: [{name: image}]
        steps:
        - {name: s, image: i, script: "printf %s $(params.target)$(params.flags) > $(results.image.path)"}
    - name: gather
      params:
      - {name: images, value: "$(tasks.build.results.image[*])"}
      - {name: count, value: "$(tasks.build.matrix.length)"}
      taskSpec:
        params: [{name: images, type: array}, {name: count}]
        steps:
        - name: s
          image: i
          args: ["$(params.images[*])"]
          script: test "$# $3" = "$(params.count) riscv-v"
    finally:
    - name: none
      matrix: {params: [{name: target, value: []}]}
      taskSpec: {params: [{name: target}], steps: [{name: s, image: i, script: exit 1}]}
"""


def test_a_matrix_runs_and_each_combination_is_named(cli, write, tmp_path):
    picture = tmp_path / "p.svg"
    ran = cli("run", write("p.yaml", MATRIX), "--graph", str(picture))
    assert ran.status == 0, ran.out
    for words in ("build-0 (for arm)", "build-1 (for x86)", "build-2 (own)", '["arm","x86","riscv-v"]'):
        assert words in ran.out
    assert "Matrix Parameters have an empty array" in ran.out
    drawn = "".join(ET.fromstring(picture.read_text()).itertext())  # noqa: S314 - our own
    assert "build \u00d7 3" in drawn
    assert "image13 bytes in 3" in drawn


def a_pipelinerun(*tasks):
    run = {"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": "p"}}
    return yaml.safe_dump({**run, "spec": {"pipelineSpec": {"tasks": list(tasks)}}})


def test_a_child_pipelinerun_is_printed_below_its_run(cli, write):
    steps = [{"name": "s", "image": "i", "script": "exit 3"}]
    nested = {"name": "n", "pipelineSpec": {"tasks": [{"name": "t", "taskSpec": {"steps": steps}}]}}
    ran = cli("run", write("p.yaml", a_pipelinerun(nested)))
    assert ran.status == 1
    heads = [line for line in ran.out.splitlines() if line.startswith("p")]
    assert heads == ["p failed", "p-n failed", "p-n-t failed StepFailed"]


def test_a_custom_task_is_refused_by_name(cli, write):
    custom = {"name": "c", "taskRef": {"apiVersion": "example.dev/v1", "kind": "Wait"}}
    ran = cli("run", write("p.yaml", a_pipelinerun(custom)))
    assert ran.status == 1
    assert 'Pipeline Task "c" is a custom task (example.dev/v1, Wait)' in " ".join(ran.out.split())


def test_a_pipeline_within_a_pipeline_that_is_not_there_is_named_with_its_path(cli, write):
    nested = {"name": "n", "pipelineSpec": {"tasks": [{"name": "t", "pipelineRef": {"name": "nowhere"}}]}}
    ran = cli("run", write("p.yaml", a_pipelinerun(nested)))
    assert ran.status == 2
    assert (
        'spec.pipelineSpec.tasks[0].pipelineSpec.tasks[0].pipelineRef.name: no Pipeline "nowhere"' in ran.err
    )
