"""``default-task-run-workspace-binding``: what a TaskRun must bind and does not is bound by default."""

import pytest
from taskrun_harness import TaskRunHarness

from resultsfw import ResultsManager
from resultsfw.errors import FlagError
from resultsfw.tekton.api.kinds import CLAIMS
from resultsfw.tekton.spec.default_workspaces import default_binding_of
from resultsfw.tekton.spec.run_defaults import run_defaults_of
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.tekton.taskrun.settings import settings_of

KEY = "default-task-run-workspace-binding"
TASK = {
    "workspaces": [{"name": "given"}, {"name": "missing"}, {"name": "may", "optional": True}],
    "steps": [
        {"name": "build", "image": "i", "script": "$(workspaces.missing.bound) $(workspaces.may.bound)"}
    ],
}


def harness_of(binding: str, workspaces: tuple[str, ...] = ("given",), **flags: str) -> TaskRunHarness:
    harness = TaskRunHarness({"results-from": "termination-message"})
    core = ResultsManager.from_flags(harness.flags)
    harness.reconciler = Reconciler(
        core,
        harness.cluster,
        clock=harness.clock,
        defaults=run_defaults_of({KEY: binding}),
        policies=settings_of(flags, {}).policies,
    )
    bound = [{"name": name, "persistentVolumeClaim": {"claimName": "c"}} for name in workspaces]
    harness.submit(taskSpec=TASK, workspaces=bound)
    harness.reconcile()
    return harness


def test_a_required_workspace_gets_the_default_and_an_optional_one_does_not():
    harness = harness_of("emptyDir: {medium: Memory}\nsubPath: below\nname: ignored")
    volumes = [volume for volume in harness.pod()["spec"]["volumes"] if volume["name"].startswith("ws-")]
    assert [sorted(volume.keys() - {"name"}) for volume in volumes] == [
        ["persistentVolumeClaim"],
        ["emptyDir"],
    ]
    # As a real Tekton has them for such a run.
    assert volumes[1] == {"name": "ws-b6f40", "emptyDir": {"medium": "Memory"}}
    mounts = {mount["mountPath"]: mount for mount in harness.pod()["spec"]["containers"][0]["volumeMounts"]}
    captured = {"name": "ws-b6f40", "mountPath": "/workspace/missing", "subPath": "below"}
    assert mounts["/workspace/missing"] == captured
    assert "subPath" not in mounts["/workspace/given"]
    assert "/workspace/may" not in mounts
    script = harness.taskrun["status"]["taskSpec"]["steps"][0]["script"]
    assert script == "true false"


def test_a_default_claim_is_made_for_each_run():
    harness = harness_of("volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}")
    (claim,) = harness.cluster.list(CLAIMS)
    assert claim["metadata"]["ownerReferences"][0]["name"] == "run"
    (volume,) = [
        volume
        for volume in harness.pod()["spec"]["volumes"]
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim["metadata"]["name"]
    ]
    assert volume["name"].startswith("ws-")


def test_without_a_default_the_run_is_refused():
    harness = harness_of("")
    assert harness.condition["message"].endswith('"missing" is required but has not been bound')


def test_a_default_claim_beside_a_given_one_is_refused_under_coschedule_workspaces():
    template = "volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}"
    harness = harness_of(template, coschedule="workspaces")
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert harness.condition["message"] == "[User error] more than one PersistentVolumeClaim is bound"
    assert harness_of(template, coschedule="disabled").condition["status"] == "Unknown"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("emptyDir: {}\nsecret: {secretName: s}", "give exactly one of"),
        ("subPath: x", "give exactly one of"),
        ("csi: {driver: d}", "give exactly one of"),
        ("emptyDirr: {}", "did you mean"),
        ("persistentVolumeClaim: c", "persistentVolumeClaim"),
        ("[]", "not a mapping"),
        ("a: &a b\nc: *a", "alias"),
    ],
)
def test_a_value_that_is_no_binding_is_refused_by_key(text, why):
    with pytest.raises(FlagError, match=why) as caught:
        default_binding_of({KEY: text})
    assert caught.value.subject == KEY
