"""What Tekton's admission webhook refuses is found before anything runs, with the field.

Every row was given to Tekton's webhook (``kubectl create --dry-run=server``), which refused or took it alike.
"""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from resultsfw.tekton.pipelinerun.admission import pipeline_admission_errors, pipelinerun_admission_errors
from resultsfw.tekton.spec.admission import task_admission_errors, taskrun_admission_errors

STEP = "{name: a, image: i, script: 'true'}"
TASK = f"taskSpec: {{steps: [{STEP}]}}"
ONE, TWO = f"{{name: one, {TASK}", f"{{name: two, {TASK}"


def errors_of(kind, spec):
    check = {
        "Task": task_admission_errors,
        "TaskRun": taskrun_admission_errors,
        "Pipeline": pipeline_admission_errors,
        "PipelineRun": pipelinerun_admission_errors,
    }[kind]
    return list(check({"kind": kind, "metadata": {"name": "x"}, "spec": yaml.safe_load(spec)}))


IN_TASK_SPEC = [
    (f"steps: [{STEP}, {STEP}]", "steps[1].name"),
    ("steps: [{name: A_b, image: i}]", "steps[0].name"),
    ("steps: []", "steps"),
    ("steps: [{name: a, script: x}]", "steps[0].Image"),
    ("steps: [{image: i, script: x, command: [y]}]", "steps[0].script"),
    (
        "steps: [{image: i, volumeMounts: [{name: v, mountPath: /tekton/x}]}]",
        "steps[0].volumeMounts[0].mountPath",
    ),
    ("steps: [{image: i, workspaces: [{name: w}]}]", "steps[0].workspaces[0].name"),
    ("steps: [{image: i, script: echo $(params.p)}]", "steps[0].script"),
    ("steps: [{image: i, script: echo $(results.r.path)}]", "steps[0].script"),
    ("steps: [{image: i, script: echo $(context.taskRun.x)}]", "steps[0].script"),
    (f"{{steps: [{STEP}], volumes: [{{name: v}}, {{name: v}}]}}", "volumes[1].name"),
    (f"{{steps: [{STEP}], workspaces: [{{name: w}}, {{name: w}}]}}", "workspaces[1].name"),
    (f"{{steps: [{STEP}], sidecars: [{{name: tekton-log-results, image: i}}]}}", "sidecars.name"),
    (f"{{steps: [{STEP}], sidecars: [{{name: s}}]}}", "sidecars.image"),
    (f"{{steps: [{STEP}], params: [{{name: p}}, {{name: p}}]}}", "params[p]"),
    (f"{{steps: [{STEP}], params: [{{name: 1p}}]}}", "params"),
    (f"{{steps: [{STEP}], params: [{{name: p, type: array, default: x}}]}}", "params.p.default.type"),
    (f"{{steps: [{STEP}], results: [{{name: _r}}]}}", "results[0].name"),
    (f"{{steps: [{STEP}], results: [{{name: r, type: object}}]}}", "results[0].r.properties"),
]
IN_TASKRUN = [
    ("params: [{name: p, value: x}, {name: P, value: x}]", "params[P].name"),
    ("workspaces: [{name: w, emptyDir: {}}, {name: w, emptyDir: {}}]", "workspaces[1].name"),
    ("workspaces: [{name: w, emptyDir: {}, secret: {secretName: x}}]", "workspaces[0].emptyDir"),
    ("workspaces: [{name: w}]", "workspaces[0].persistentVolumeClaim"),
    ("workspaces: [{name: w, secret: {secretName: ''}}]", "workspaces[0].secret.secretName"),
    ("statusMessage: x", "statusMessage"),
    ("stepSpecs: [{name: a}, {name: a}]", "stepSpecs[1].name"),
    (
        "{stepSpecs: [{name: a, computeResources: {limits: {cpu: 1}}}], computeResources: {}}",
        "stepSpecs.resources",
    ),
]
IN_PIPELINE_SPEC = [
    ("tasks: []", "workspaces"),
    (f"tasks: [{ONE}}}, {ONE}}}]", "tasks[1].name"),
    (f"tasks: [{ONE}, runAfter: [two]}}, {TWO}, runAfter: [one]}}]", "tasks"),
    (f"tasks: [{ONE}, runAfter: [none]}}]", "tasks"),
    (f"{{tasks: [{ONE}}}], results: [{{name: r, value: $(tasks.none.results.x)}}]}}", "results[0].value"),
    (f"{{tasks: [{ONE}}}], results: [{{name: r, value: text}}]}}", "results[0].value"),
    (f"{{tasks: [], finally: [{ONE}}}]}}", "finally"),
    (f"{{tasks: [{ONE}}}], finally: [{TWO}, runAfter: [one]}}]}}", "finally[0]"),
    (
        f"{{tasks: [{ONE}}}], finally: [{TWO}, params: [{{name: p, value: $(tasks.two.results.x)}}]}}]}}",
        "finally[0].params[0].value",
    ),
    (f"tasks: [{ONE}, params: [{{name: p, value: $(params.x)}}]}}]", "tasks[0].params[0].value"),
    (f"tasks: [{ONE}, params: [{{name: p, value: a}}, {{name: p, value: b}}]}}]", "tasks[0].params[p].name"),
    (f"tasks: [{ONE}, params: [{{name: p, value: $(context.pipelineRun.x)}}]}}]", "tasks[0].params[0].value"),
    (f"tasks: [{ONE}, params: [{{name: p, value: $(foo.bar)}}]}}]", "tasks[0].params[0].value"),
    (
        f"tasks: [{ONE}}}, {TWO}, when: [{{input: $(tasks.one.status), operator: in, values: [a]}}]}}]",
        "tasks[1].when[0]",
    ),
    (
        f"{{tasks: [{ONE}}}], finally: [{TWO}, params: [{{name: p, value: $(tasks.none.status)}}]}}]}}",
        "finally[0].params[0].value",
    ),
    (f"tasks: [{ONE}, onError: continue, retries: 1}}]", "tasks[0].onError"),
    ("tasks: [{name: one, taskSpec: {steps: []}}]", "tasks[0].taskSpec.steps"),
    (
        "tasks: [{name: one, taskSpec: {steps: [{image: i, script: $(params.x)}]}}]",
        "tasks[0].taskSpec.steps[0].script",
    ),
]
IN_PIPELINERUN = [
    ("params: [{name: p, value: x}, {name: p, value: x}]", "params[p].name"),
    ("params: [{name: p, value: $(tasks.one.results.x)}]", "params[p].value"),
    ("workspaces: [{name: w}]", "workspaces[0].persistentVolumeClaim"),
    ("timeouts: {pipeline: 1m, tasks: 2m}", "timeouts.tasks"),
    ("timeouts: {pipeline: 2m, tasks: 90s, finally: 90s}", "timeouts.tasks"),
    (
        "{timeouts: {pipeline: 1m}, taskRunSpecs: [{pipelineTaskName: one, timeout: 2m}]}",
        "taskRunSpecs[0].timeout",
    ),
]


@pytest.mark.parametrize(("spec", "path"), IN_TASK_SPEC)
def test_a_task_is_refused_alone_and_embedded(spec, path):
    task_spec = yaml.safe_load(spec)
    for kind, whole, before in (
        ("Task", task_spec, "spec"),
        ("TaskRun", {"taskSpec": task_spec}, "spec.taskSpec"),
        ("Pipeline", {"tasks": [{"name": "t", "taskSpec": task_spec}]}, "spec.tasks[0].taskSpec"),
    ):
        found = errors_of(kind, yaml.safe_dump(whole))
        assert f"{before}.{path}" in [where for error in found for where in error.paths]


@pytest.mark.parametrize(
    ("kind", "spec", "path"),
    [
        *(("TaskRun", spec, path) for spec, path in IN_TASKRUN),
        *(("Pipeline", spec, path) for spec, path in IN_PIPELINE_SPEC),
        *(("PipelineRun", spec, path) for spec, path in IN_PIPELINERUN),
        ("Pipeline", f"tasks: [{ONE}, workspaces: [{{name: w, workspace: x}}]}}]", "tasks[0].workspaces[0]"),
    ],
)
def test_a_run_or_pipeline_is_refused(kind, spec, path):
    found = errors_of(kind, spec)
    assert f"spec.{path}" in [where for error in found for where in error.paths]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Task", f"steps: [{STEP}]"),
        ("TaskRun", "{params: [{name: p, value: x}], taskSpec: {steps: [{image: i, script: $(params.p)}]}}"),
        (
            "TaskRun",
            """
            taskSpec:
              steps: [{name: s, ref: {name: b}}]
              results: [{name: r, value: $(steps.s.results.r)}]
            """,
        ),
        (
            "PipelineRun",
            """
            params: [{name: o, value: {a: x}}]
            pipelineSpec:
              tasks:
              - name: t
                params: [{name: o, value: {b: y}}]
                taskSpec: {steps: [{image: i, script: $(params.o.a) $(params.o.b)}]}
            """,
        ),
        ("PipelineRun", f"{{timeouts: {{pipeline: 0s, tasks: 2h}}, pipelineSpec: {{tasks: [{ONE}}}]}}}}"),
    ],
)
def test_what_the_webhook_takes_is_taken(kind, spec):
    assert errors_of(kind, spec) == []


TEXTS = st.sampled_from(
    [
        "",
        "$(",
        "$(params.p",
        "$(params.p)",
        '$(params["p"])',
        "$(tasks.one.results.r[*])",
        "$(tasks.status)",
        "$(x)",
    ]
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(TEXTS, max_size=3).map("".join),
    st.lists(TEXTS, max_size=2),
    st.dictionaries(TEXTS, TEXTS, max_size=2),
)
def test_no_text_makes_the_checks_fail(text, array, mapping):
    params = [{"name": "p", "value": value} for value in (text, array, mapping)]
    step = {"image": text, "script": text, "args": array, "workspaces": [{"name": text}]}
    task = {"name": "t", "params": params, "taskSpec": {"steps": [step], "params": [{"name": text}]}}
    when = [{"input": text, "operator": "in", "values": array}]
    pipeline = {
        "tasks": [{**task, "when": when, "matrix": {"params": params[1:2]}}],
        "finally": [{**task, "name": "f"}],
        "results": [{"name": "r", "value": text}],
    }
    for kind, spec in (
        ("Pipeline", pipeline),
        ("PipelineRun", {"params": params, "pipelineSpec": pipeline}),
        ("TaskRun", {"params": params, "taskSpec": task["taskSpec"]}),
    ):
        for error in errors_of(kind, yaml.safe_dump(spec)):
            assert error.message
            assert all(path.startswith("spec.") for path in error.paths)
