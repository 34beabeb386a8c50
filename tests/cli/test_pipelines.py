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
    for words in ("make", "use", "left", "big: 300000 bytes", "When Expressions evaluated to false"):
        assert words in drawn


def test_json_has_the_pipelinerun_and_its_taskruns(cli, write):
    kinds = [
        (one["kind"], one["metadata"]["name"])
        for one in cli("run", write("p.yaml", a_run()), *FLAGS, "-o", "json").json
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
