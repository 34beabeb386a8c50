"""The containers of a pod: entrypoint arguments, step templates, resources, scripts, refusals."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pod_harness import built, container, taskrun

from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.pod.scripts import PREAMBLE, place_scripts


def test_entrypoint_arguments_of_a_step_with_everything():
    step = {
        "name": "s",
        "image": "i",
        "command": ["run", "fast"],
        "args": ["$(steps.a.results.r)", "--", "$HOME", "$$"],
        "onError": "continue",
        "timeout": "90s",
        "results": [{"name": "x"}, {"name": "y"}],
        "stdoutConfig": {"path": "/o"},
        "stderrConfig": {"path": "/e"},
        "when": [{"input": "<a&b>", "operator": "in", "values": ["é"]}],
    }
    task = {"steps": [step], "results": [{"name": "a"}, {"name": "b", "value": "$(steps.s.results.x)"}]}
    assert container(built(taskrun(task)), "step-s")["args"] == [
        *("-wait_file", "/tekton/downward/ready", "-wait_file_content"),
        *("-post_file", "/tekton/run/0/out", "-termination_path", "/tekton/termination"),
        *("-step_metadata_dir", "/tekton/run/0/status"),
        *("-on_error", "continue", "-timeout", "1m30s", "-stdout_path", "/o", "-stderr_path", "/e"),
        *("-step_results", "x,y"),
        "--when_expressions",
        '[{"input":"\\u003ca\\u0026b\\u003e","operator":"in","values":["é"]}]',
        *("-results", "a"),
        *("-entrypoint", "run", "--", "fast", "$(steps.a.results.r)", "--", "$HOME", "$$"),
    ]


def test_template_gives_what_a_step_lacks():
    task = {
        "stepTemplate": {
            "image": "base",
            "env": [{"name": "A", "value": "template"}, {"name": "B", "value": "template"}],
            "securityContext": {"runAsUser": 1, "capabilities": {"drop": ["ALL"]}},
            "computeResources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        },
        "steps": [
            {
                "name": "s",
                "command": ["c"],
                "env": [{"name": "B", "value": "step"}, {"name": "C", "value": "step"}],
                "securityContext": {"runAsUser": 2},
                "computeResources": {"requests": {"cpu": "2"}},
            }
        ],
    }
    step = container(built(taskrun(task)), "step-s")
    assert step["image"] == "base"
    assert {e["name"]: e["value"] for e in step["env"]} == {"A": "template", "B": "step", "C": "step"}
    assert step["securityContext"] == {"runAsUser": 2, "capabilities": {"drop": ["ALL"]}}
    assert step["resources"] == {"requests": {"cpu": "2", "memory": "1Gi"}}


def test_a_steps_variable_replaces_the_templates_whole():
    """Tekton merges their sources, and the API server refuses the pod."""
    source = {"secretKeyRef": {"name": "s", "key": "k"}}
    task = {
        "stepTemplate": {"env": [{"name": "A", "valueFrom": source}]},
        "steps": [{"name": "s", "image": "i", "command": ["c"], "env": [{"name": "A", "value": "v"}]}],
    }
    assert container(built(taskrun(task)), "step-s")["env"] == [{"name": "A", "value": "v"}]


def test_resources_of_the_run_are_shared_among_steps():
    task = {"steps": [{"name": n, "image": "i", "command": ["c"]} for n in ("a", "b")]}
    run = taskrun(task, computeResources={"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})
    assert container(built(run), "step-b")["resources"] == {
        "requests": {"cpu": "500m"},
        "limits": {"cpu": "2"},
    }


def test_an_amount_that_is_none_is_refused():
    with pytest.raises(RefusedRun, match=r"computeResources.*quantity") as refusal:
        built(taskrun(computeResources={"requests": {"cpu": "much"}}))
    assert refusal.value.reason == "PodCreationFailed"


def test_what_substitution_made_invalid_is_refused():
    task = {
        "params": [{"name": "p", "default": "never"}],
        "steps": [{"image": "i", "script": "x", "onError": "$(params.p)"}],
    }
    with pytest.raises(RefusedRun, match="set to an invalid value") as refusal:
        built(taskrun(task))
    assert refusal.value.subject == "TaskRun ns/run"
    assert "never" not in refusal.value.message  # a parameter's value


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"steps": []}, "no steps specified"),
        ({"steps": [{"image": "i"}]}, 'Step "unnamed-0" has neither script nor command'),
        (
            {"steps": [{"image": "i", "script": "x"}], "volumes": [{"name": "tekton-internal-bin"}]},
            'multiple volumes with same name "tekton-internal-bin"',
        ),
    ],
)
def test_what_has_no_pod(task, message):
    run = taskrun({"steps": [{}]})
    run["spec"]["taskSpec"] = task
    with pytest.raises(RefusedRun, match=re.escape(message)):
        built(run)


def test_a_reserved_volume_cannot_be_declared_by_a_pod_template():
    run = taskrun({"steps": [{"image": "i", "script": "x"}]})
    run["spec"]["podTemplate"] = {"volumes": [{"name": "resultsfw-account", "emptyDir": {}}]}
    with pytest.raises(RefusedRun, match='volume name "resultsfw-account" cannot start with "resultsfw-"'):
        built(run)


def script_in(shell):
    return base64.b64decode(shell.split("'_EOF_'\n")[1].split("\n")[0]).decode()


@pytest.mark.parametrize(
    ("script", "placed"),
    [
        ("echo a", PREAMBLE + "echo a"),
        ("\n echo a", PREAMBLE + "\n echo a"),
        ("#!/usr/bin/env python3\nprint()", "#!/usr/bin/env python3\nprint()"),
        ("\n  #!/bin/bash\necho $$ $(HOME)", "\n  #!/bin/bash\necho $$ $(HOME)"),
    ],
)
def test_shebang_or_preamble(script, placed):
    assert script_in(place_scripts([{"script": script}], [], seed="s").shell[1]) == placed


@given(st.text(min_size=1).map(lambda text: "#!" + text.encode("utf-8", "replace").decode()))
def test_any_script_arrives_byte_for_byte(script):
    """Neither the shell nor the kubelet sees the script's own characters."""
    _, shell = place_scripts([{"script": script}], [], seed="s").shell
    assert script_in(shell) == script
    assert "$(" not in shell


def test_no_script_no_init_container():
    pod = built(taskrun({"steps": [{"image": "i", "command": ["c"]}]}))
    assert [c["name"] for c in pod["spec"]["initContainers"]] == ["prepare"]
