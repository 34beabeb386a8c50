"""The pod of a TaskRun: built again the same, and by the options of the operator and of the run."""

import copy
import re

import pytest
from pod_harness import OPTIONS, built, container, taskrun

from resultsfw.tekton.api.times import timeout_of
from resultsfw.tekton.pod.builder import PodOptions, build_pod
from resultsfw.tekton.spec.substitution import apply


def test_the_same_run_makes_the_same_pod():
    """A controller that restarts must not make another pod."""
    task = {
        "steps": [{"image": "i", "script": "a"}],
        "sidecars": [{"name": "w", "image": "i", "script": "b"}],
    }
    assert built(taskrun(task)) == built(taskrun(task))


def test_another_attempt_or_run_has_other_script_files():
    run = taskrun()
    other = copy.deepcopy(run)
    other["metadata"]["uid"] = "u-2"
    files = {
        container(pod, "step-s")["args"][-2] for pod in (built(run), built(run, attempt=1), built(other))
    }
    assert len(files) == 3


def test_shares_nothing_with_its_arguments():
    """A backend may change the pod as it likes."""
    run = taskrun(
        {
            "steps": [
                {
                    "image": "i",
                    "command": ["c"],
                    "env": [{"name": "A"}],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                    "securityContext": {"capabilities": {"drop": ["ALL"]}},
                    "computeResources": {"limits": {"cpu": "1"}},
                }
            ],
            "sidecars": [{"name": "w", "image": "i", "ports": [{"containerPort": 1}]}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
        podTemplate={"tolerations": [{"key": "k"}], "env": [{"name": "B"}]},
        workspaces=[{"name": "ws", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}}],
    )
    before = copy.deepcopy(run)
    spec = apply(run["spec"]["taskSpec"], run)
    stored = copy.deepcopy(spec)
    pod = build_pod(run, spec, attempt=0, options=OPTIONS)
    spoil(pod)
    assert run == before
    assert spec == stored
    assert build_pod(run, spec, attempt=0, options=OPTIONS)["spec"]["volumes"][0]["name"] != "spoilt"


def spoil(value):
    """Overwrite every text in plain data, in place."""
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(part, dict | list):
            spoil(part)
        elif isinstance(part, str):
            value[key] = "spoilt"


@pytest.mark.parametrize(
    ("timeout", "seconds", "deadline"),
    [
        (None, 3600, 5400),
        ("10s", 10, 15),
        ("1h30m", 5400, 8100),
        ("0s", 0, 2**31 - 1),
        ("200h", 720_000, 1_080_000),
        ("1000000h", 3_600_000_000, 2**31 - 1),
        ("1ms", 0.001, 3),
    ],
)
def test_deadline_is_one_and_a_half_timeouts(timeout, seconds, deadline):
    """But never within two seconds of the timeout, which counts from the end of the second of the start."""
    run = taskrun(timeout=timeout)
    assert timeout_of(run) == seconds
    assert built(run)["spec"]["activeDeadlineSeconds"] == deadline


def test_default_images_are_pinned():
    images = {c["image"] for c in built(taskrun(), options=PodOptions())["spec"]["initContainers"]}
    assert len(images) == 2
    assert all(re.search(r":v\d|@sha256:", image) for image in images)


def test_service_account():
    assert built(taskrun())["spec"]["serviceAccountName"] == "default"
    assert built(taskrun(serviceAccountName="robot"))["spec"]["serviceAccountName"] == "robot"


def test_restricted_init_containers():
    """The ``restricted`` Pod Security level asks this of every container."""
    options = PodOptions(security_context=True, read_only_root_filesystem=True)
    for part in built(taskrun(), options=options)["spec"]["initContainers"]:
        assert part["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            "readOnlyRootFilesystem": True,
        }


def test_steps_watch_for_their_cancellation():
    task = {"steps": [{"name": n, "image": "i", "script": "x"} for n in ("a", "b")]}
    pod = built(taskrun(task), options=PodOptions(keep_pod_on_cancel=True))
    volume = next(v for v in pod["spec"]["volumes"] if v["name"] == "tekton-internal-downward")
    assert [item["path"] for item in volume["downwardAPI"]["items"]] == ["ready", "cancel"]
    for name in ("step-a", "step-b"):
        assert "/tekton/downward" in {m["mountPath"] for m in container(pod, name)["volumeMounts"]}


def test_annotations_that_are_not_the_pods_stay_behind():
    run = taskrun()
    run["metadata"]["annotations"] = {
        "mine": "kept",
        "tekton.dev/ready": "READY",
        "kubectl.kubernetes.io/last-applied-configuration": "{...}",
    }
    assert built(run)["metadata"]["annotations"] == {"mine": "kept"}
