"""Breakpoints: what the pod has for them, and what the scripts do in a Step's container."""

import subprocess

import pytest
from pod_harness import built, container, taskrun

from resultsfw.errors import InputError
from resultsfw.local.admission import problems_of
from resultsfw.tekton.api.models import validate_taskrun_document
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.pod.breakpoints import Breakpoints

TASK = {
    "steps": [
        {"name": "first", "image": "i", "command": ["c"], "args": ["-debug_before_step"]},
        {"name": "second", "image": "i", "command": ["c"]},
    ]
}


def pod_of(**breakpoints):
    return built(taskrun(TASK, debug={"breakpoints": breakpoints}))


def flags_of(pod, name):
    args = container(pod, name)["args"]
    return [flag for flag in args[: args.index("--")] if flag.startswith(("-breakpoint", "-debug"))]


def test_each_step_gets_the_flags_of_its_breakpoints():
    pod = pod_of(onFailure="enabled", beforeSteps=["second"])
    assert flags_of(pod, "step-first") == ["-breakpoint_on_failure"]
    assert flags_of(pod, "step-second") == ["-breakpoint_on_failure", "-debug_before_step"]
    plain = built(taskrun(TASK, debug={"breakpoints": {"onFailure": ""}}))
    assert plain["spec"] == built(taskrun(TASK))["spec"]


def test_a_breakpoint_before_no_step_is_refused():
    with pytest.raises(RefusedRun, match=r'beforeSteps\[1\]: there is no Step "thrid"'):
        pod_of(beforeSteps=["first", "thrid"])


@pytest.mark.parametrize(
    ("debug", "words"),
    [
        ({"breakpoints": {"onFailure": "yes"}}, "onFailure"),
        ({"breakpoints": {"beforeSteps": ["a", "a"]}}, "twice"),
        ({"breakpoint": {}}, 'did you mean "breakpoints"'),
    ],
)
def test_other_breakpoints_are_refused_by_the_path_of_the_field(debug, words):
    document = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "r"},
        "spec": {"taskSpec": TASK, "debug": debug},
    }
    with pytest.raises(InputError, match=words) as caught:
        validate_taskrun_document(document)
    assert caught.value.subject.startswith("spec.debug")


@pytest.mark.parametrize(
    ("script", "written"),
    [
        ("debug-continue", {"out": "", "out.breakpointexit": "0\n"}),
        ("debug-fail-continue", {"out.err": "", "out.breakpointexit": "1\n"}),
        ("debug-beforestep-continue", {"out.beforestepexit": "0\n"}),
        ("debug-beforestep-fail-continue", {"out.beforestepexit.err": "1\n"}),
    ],
)
def test_a_script_writes_the_files_that_the_entrypoint_waits_for(tmp_path, script, written):
    """In the container of Step 12, whose number only the one mounted folder tells."""
    (tmp_path / "debug/info/12").mkdir(parents=True)
    (tmp_path / "run/12").mkdir(parents=True)
    scripts = Breakpoints(on_failure=True, before_steps=frozenset({"s"})).scripts()
    text = scripts[f"/tekton/debug/scripts/{script}"].decode().replace("/tekton", str(tmp_path))
    done = subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "Step 12 goes on\n"
    assert {path.name: path.read_text() for path in (tmp_path / "run/12").iterdir()} == written


def test_the_local_engine_refuses_breakpoints_by_their_fields():
    problems = " ".join(problems_of(pod_of(onFailure="enabled", beforeSteps=["second"])))
    assert "debug.breakpoints.onFailure needs a cluster" in problems
    assert "debug.breakpoints.beforeSteps needs a cluster" in problems
    assert list(problems_of(built(taskrun(TASK)))) == []
