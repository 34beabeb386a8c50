"""Inputs of public bug reports (``data/cases``), run as a user runs them: each begins with what is right."""

from pathlib import Path

import pytest

CASES = Path(__file__).parents[1] / "data" / "cases"
RIGHT = {
    "binding-from-param": {"r": "hello"},
    "binding-from-result": {"r": "hello"},
    "context-in-embedded": {"r": "run=ctxin", "e": "ctxin/ctxin"},
    "default-context": {"got": "ctxdef-dev"},
    "dotted-beside-own": {"d": "t9/i"},
    "duplicate-mounts": {"got": "0"},
    "propagated-workspace": {"got": "true src"},
    "step-actions": {"all": "hello you/city of a/3/3", "embedded": "hello hello you/city of a/3/3"},
}


def test_every_case_has_its_expected_results():
    assert {file.stem for file in CASES.iterdir()} == set(RIGHT)


@pytest.mark.slow
@pytest.mark.parametrize("case", RIGHT)
def test_a_case_succeeds_with_the_expected_results(cli, case):
    ran = cli("run", CASES / f"{case}.yaml", "-o", "json")
    assert ran.status == 0, ran.err
    found = ran.items
    objects = found if isinstance(found, list) else [found]
    run = next(one for one in objects if one["kind"] in ("PipelineRun", "TaskRun"))
    assert {one["name"]: one["value"] for one in run["status"]["results"]} == RIGHT[case]


@pytest.mark.parametrize("text", ["$(workspaces.src.path)", "$(params.dir)", "$(context.pipelineRun.nmae)"])
def test_a_variable_that_nothing_replaces_never_reaches_this_machines_shell(cli, write, tmp_path, text):
    """A path with an unknown variable was emptied: "rm -rf $(workspaces.src.path)/*" was "rm -rf /*"."""
    (tmp_path / "kept").write_text("x")
    run = f"""
        apiVersion: tekton.dev/v1
        kind: PipelineRun
        metadata: {{name: p}}
        spec:
          pipelineSpec:
            tasks:
            - name: a
              taskSpec:
                steps:
                - {{image: i, script: 'rm -rf "{tmp_path}/{text}"*'}}
    """
    ran = cli("run", write("p.yaml", run))
    assert ran.status in (1, 2)
    assert text in ran.out + ran.err
    assert (tmp_path / "kept").exists()
