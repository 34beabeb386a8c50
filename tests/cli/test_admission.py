"""Documents of older versions and in other spellings: run as a cluster would run them, with warnings."""

import pytest

V1BETA1_RUN = """
apiVersion: tekton.dev/v1beta1
kind: Task
metadata: {name: greet}
spec:
  params: [{name: who}]
  results: [{name: greeting}]
  workspaces: [{name: w, mountpath: /workspace/w}]
  Steps:
    - {name: s, image: i, tty: true, resources: {requests: {memory: 1Mi}},
       script: 'printf "hello $(params.who)" > $(results.greeting.path); test -d /workspace/w'}
---
apiVersion: tekton.dev/v1beta1
kind: PipelineRun
metadata: {name: old}
spec:
  timeout: 5m
  serviceAccountName: builder
  pipelineSpec:
    tasks:
      - {name: a, taskRef: {name: greet}, params: [{name: who, value: you}],
         workspaces: [{name: w, workspace: shared}]}
    workspaces: [{name: shared}]
    results: [{name: g, value: $(tasks.a.results.greeting)}]
  workspaces: [{name: shared, emptyDir: {}}]
"""


@pytest.mark.slow
def test_v1beta1_and_other_cases_run_and_are_warned_about(cli, write):
    ran = cli("run", write("old.yaml", V1BETA1_RUN), "-o", "json")
    assert ran.status == 0, ran.err
    pipelinerun, taskrun = ran.items
    assert pipelinerun["apiVersion"] == "tekton.dev/v1"
    assert pipelinerun["spec"]["timeouts"] == {"pipeline": "5m"}
    assert pipelinerun["status"]["results"] == [{"name": "g", "value": "hello you"}]
    assert taskrun["spec"]["serviceAccountName"] == "builder"
    assert "spec.workspaces[0].mountpath: read as mountPath" in ran.err
    assert "spec.steps[0].tty: a deprecated field" in ran.err


def test_removed_fields_are_refused_with_their_line(cli, write):
    text = (
        "apiVersion: tekton.dev/v1beta1\nkind: TaskRun\nmetadata: {name: a}\n"
        "spec:\n  taskRef:\n    bundle: x\n    name: t\n"
    )
    ran = cli("run", write("x.yaml", text))
    assert ran.status == 2
    assert "x.yaml, document 1, line 6: spec.taskRef.bundle: bundle was removed" in ran.err
