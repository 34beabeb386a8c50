"""The pod of a TaskRun: the one Tekton builds, made again the same."""

import base64
import copy
import gzip
import json
import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import captures
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from resultsfw.errors import InputError
from resultsfw.tekton.ending import timeout_of
from resultsfw.tekton.models import Step, TaskRunSpec, TaskSpec, parse_taskrun
from resultsfw.tekton.pod import PodOptions, build_pod
from resultsfw.tekton.run import run_of
from resultsfw.tekton.scripts import PREAMBLE, place_scripts
from resultsfw.tekton.spec.expansion import Budget, Expansion
from resultsfw.tekton.spec.params import param_value
from resultsfw.tekton.spec.substitution import apply
from resultsfw.tekton.validate import RefusedRun, refuse_invalid
from resultsfw.tekton.workspaces import claims_of, workspace_volumes

OPTIONS = PodOptions(
    entrypoint_image="tekton/entrypoint:1",
    shell_image="busybox:1",
    workingdirinit_image="tekton/workingdirinit:1",
)
TEKTON = Path(__file__).parents[1] / "data" / "tekton" / "pods.jsonl.gz"
SUFFIX = re.compile(r"(script-\d+)-[bcdfghjklmnpqrstvwxz2456789]{5}")
DEFAULTED = {
    "dnsPolicy",
    "enableServiceLinks",
    "nodeName",
    "preemptionPolicy",
    "priority",
    "schedulerName",
    "securityContext",
    "serviceAccount",
    "terminationGracePeriodSeconds",
    "tolerations",
}


def taskrun(task=None, **spec):
    task = task or {"steps": [{"name": "s", "image": "i", "script": "true"}]}
    return {
        "metadata": {"name": "run", "namespace": "ns", "uid": "u-1"},
        "spec": {"taskSpec": task, **spec},
    }


def built(run, *, attempt=0, options=OPTIONS):
    return build_pod(run, apply(run["spec"]["taskSpec"], run), attempt=attempt, options=options)


def container(pod, name):
    return next(c for c in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]) if c["name"] == name)


def without_random_names(value):
    return json.loads(SUFFIX.sub(r"\1-x", json.dumps(value)))


def without_defaults(spec):
    """A captured pod's spec without what the API server and the sidecar-logs backend add."""
    spec = copy.deepcopy({key: value for key, value in spec.items() if key not in DEFAULTED})
    spec["volumes"] = [v for v in spec["volumes"] if not v["name"].startswith("kube-api-access")]
    for volume in spec["volumes"]:
        if "downwardAPI" in volume:
            del volume["downwardAPI"]["defaultMode"]
            for item in volume["downwardAPI"]["items"]:
                del item["fieldRef"]["apiVersion"]
    spec["containers"] = [c for c in spec["containers"] if c["name"] != "sidecar-tekton-log-results"]
    for part in (*spec["containers"], *spec["initContainers"]):
        part["volumeMounts"] = [
            m for m in part["volumeMounts"] if not m["name"].startswith("kube-api-access")
        ]
        del part["terminationMessagePolicy"], part["imagePullPolicy"]
        if part["terminationMessagePath"] == "/dev/termination-log":
            del part["terminationMessagePath"]
        if "-result_from" in part.get("args", []):
            at = part["args"].index("-result_from")
            del part["args"][at : at + 2]
    return spec


def without_empty(value):
    """Plain data without the fields Go leaves out when they are empty."""
    if isinstance(value, dict):
        kept = {key: without_empty(part) for key, part in value.items()}
        return {key: part for key, part in kept.items() if part not in (None, "", [], False)}
    return [without_empty(part) for part in value] if isinstance(value, list) else value


def from_tekton():
    lines = gzip.decompress(TEKTON.read_bytes()).decode().splitlines()
    return [case for case in map(json.loads, lines) if "pod" in case]


# Against Tekton


def test_is_the_pod_tekton_built(capture):
    """Every captured pod, but for what the API server and the sidecar-logs backend added."""
    run = captures.created(capture)
    for attempt, pod in enumerate(captures.first_pods(capture)):
        ours = built(run, attempt=attempt)
        assert without_random_names(ours["spec"]) == without_random_names(without_defaults(pod["spec"]))
        assert ours["metadata"]["name"] == pod["metadata"]["name"]
        assert ours["metadata"]["namespace"] == pod["metadata"]["namespace"]
        assert ours["metadata"]["ownerReferences"] == pod["metadata"]["ownerReferences"]
        labels = {k: v for k, v in pod["metadata"]["labels"].items() if k != "app.kubernetes.io/managed-by"}
        assert ours["metadata"]["labels"] == labels


def replaced(value, run):
    """What Tekton left, with the variables in it that we replace and Tekton does not.

    Those are parameters in the elements of an array by default; the path of credentials in a stored spec,
    which Tekton replaces in the pod; and of an optional workspace that is not bound, its claim and volume.
    """
    task = run["spec"]["taskSpec"]
    context = {"context.taskRun.name": run["metadata"]["name"], "context.taskRun.uid": run["metadata"]["uid"]}
    values = {param["name"]: param.get("default") for param in task.get("params") or ()}
    values |= {param["name"]: param["value"] for param in run["spec"].get("params") or ()}
    p = Expansion(context.get, Budget()).value(param_value(values.get("p")), "")
    names = {**context, "params.p": p, "credentials.path": "/tekton/creds"}
    bound = {workspace["name"] for workspace in run["spec"].get("workspaces") or ()}
    for workspace in task.get("workspaces") or ():
        if workspace.get("optional") and workspace["name"] not in bound:
            names |= {f"workspaces.{workspace['name']}.{part}": "" for part in ("claim", "volume")}
    defaults = value.pop("params", None) if "steps" in value else None
    changed = Expansion(names.get, Budget()).tree(value, "")
    return changed if defaults is None else {**changed, "params": defaults}


@pytest.mark.parametrize("case", range(len(from_tekton())))
def test_is_what_tektons_own_code_builds(case):
    """TaskRuns with everything in them, run through Tekton's builder (``data/tekton``)."""
    theirs = from_tekton()[case]
    run = theirs["taskrun"]
    spec = apply(run["spec"]["taskSpec"], run)
    assert without_empty(spec) == without_empty(replaced(theirs["taskSpec"], run))
    ours = build_pod(run, spec, attempt=0, options=OPTIONS)
    pod = replaced(theirs["pod"], run)
    del pod["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    del pod["metadata"]["annotations"]["pipeline.tekton.dev/release"]
    if pod["spec"]["activeDeadlineSeconds"] == 1:  # of a timeout of one second: ours is later on purpose
        pod["spec"]["activeDeadlineSeconds"] = 3
    assert without_random_names(without_empty(ours["spec"])) == without_random_names(
        without_empty(pod["spec"])
    )
    assert without_empty(ours["metadata"]) == without_empty({"annotations": {}, **pod["metadata"]})


# Made again


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


# What an operator or a run decides


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


# Steps


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


# Scripts


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


# Workspaces


@pytest.mark.parametrize(
    ("names", "volumes"),
    [
        (["custom"], ["ws-20573"]),
        # Four names of one hash, from Tekton's tests.
        (
            ["test-01097628", "test-01617609", "test-01675975", "test-01809743"],
            ["ws-f32ff", "ws-a0814", "ws-b2d09", "ws-60320"],
        ),
    ],
)
def test_volumes_are_named_as_tekton_names_them(names, volumes):
    bound = [{"name": name, "emptyDir": {}} for name in names]
    assert [volume["name"] for volume in workspace_volumes(bound).values()] == volumes


def test_a_claim_bound_twice_is_one_volume():
    claim = {"persistentVolumeClaim": {"claimName": "c"}}
    run = taskrun(workspaces=[{"name": "a", **claim}, {"name": "b", **claim, "subPath": "sub"}])
    pod = built(run)
    claims = [v for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]
    assert len(claims) == 1
    mounts = [m for m in container(pod, "step-s")["volumeMounts"] if m["name"] == claims[0]["name"]]
    assert mounts == [
        {"name": claims[0]["name"], "mountPath": "/workspace/a"},
        {"name": claims[0]["name"], "mountPath": "/workspace/b", "subPath": "sub"},
    ]


def test_claims_to_make_before_the_pod():
    template = {"metadata": {"name": "cache"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    run = taskrun(workspaces=[{"name": "w", "volumeClaimTemplate": template}, {"name": "e", "emptyDir": {}}])
    (claim,) = claims_of(run)
    assert claim["metadata"]["name"] == "cache-dc5ff9daf0"
    assert claim["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert claim["spec"] == template["spec"]
    volumes = built(run)["spec"]["volumes"]
    assert {"claimName": "cache-dc5ff9daf0"} in [v.get("persistentVolumeClaim") for v in volumes]


def test_names_that_are_too_long():
    run = taskrun({"steps": [{"name": "a" * 63, "image": "i", "script": "x"}]})
    run["metadata"]["name"] = "r" * 63
    pod = built(run)
    assert len(pod["metadata"]["name"]) <= 63
    assert pod["spec"]["containers"][0]["name"] == "step-" + "a" * 58


# Whatever the document


words = st.sampled_from(["a", "b", "w", "", "/m", "$(params.a)", "$(params.a[0])", "$(workspaces.w.path)"])
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
checked = {
    "_name": st.sampled_from(["a", "b"]),
    "_duration": st.sampled_from(["5s", "1h30m", "0"]),
    "_on_error": st.sampled_from(["continue", "$(params.a)"]),
}


def documents(model):
    """Documents that a model accepts."""
    fields = {}
    for field in model.model_fields.values():
        checks = [check.func.__name__ for check in field.metadata if hasattr(check, "func")]
        values = checked[checks[0]] if checks else values_of(field.annotation)
        if field.alias == "name" and not checks:
            values = st.sampled_from(["a", "b", "w", "a.b"])
        fields[field.alias] = values
    required = {field.alias for field in model.model_fields.values() if field.is_required()}
    return st.fixed_dictionaries(
        {key: values for key, values in fields.items() if key in required},
        optional={key: values for key, values in fields.items() if key not in required},
    )


def values_of(annotation):
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        return st.lists(values_of(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(words, values_of(arguments[1]), max_size=2)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is Annotated:
        return checked[arguments[1].func.__name__]
    if origin in {Union, UnionType}:
        return st.one_of(values_of(argument) for argument in arguments)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return st.deferred(lambda: documents(annotation))
    simple = {str: words, bool: st.booleans(), int: st.integers(0, 2), type(None): st.none()}
    return simple.get(annotation, plain)


@given(
    documents(TaskRunSpec),
    documents(TaskSpec),
    st.lists(documents(Step), min_size=1, max_size=2),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_what_the_models_accept_makes_a_pod_or_is_refused(spec, task, steps, mended):
    """Between the document and the pod no other exception leaves this package."""
    task["steps"] = [{**step, "name": f"s{number}"} for number, step in enumerate(steps)]
    if mended:  # hardly anything made at random can run
        task |= {"params": [{"name": "a", "default": ["x"]}], "workspaces": [], "results": []}
        for part in (*task["steps"], *(task.get("sidecars") or [])):
            part |= {"image": "i", "command": ["c"], "script": "", "workspaces": []}
        for step in task["steps"]:
            step |= {"ref": None, "results": [], "params": [], "workingDir": "/m", "env": [], "args": []}
        spec |= {"debug": None, "params": [], "stepSpecs": [{"name": "s0"}], "sidecarSpecs": []}
        spec["workspaces"] = [{"name": "w", "volumeClaimTemplate": {}}]
    spec.pop("taskRef", None)
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "run", "namespace": "ns", "uid": "u-1"},
        "spec": {**spec, "taskSpec": task},
    }
    try:
        parse_taskrun(run)
        refuse_invalid(run, task)
    except (InputError, RefusedRun):
        return
    substituted = apply(task, run)
    run_of(run, substituted, attempt=0)
    claims_of(run)
    try:
        json.dumps(build_pod(run, substituted, attempt=0, options=OPTIONS))
    except RefusedRun as refused:
        assert refused.reason == "PodCreationFailed"  # noqa: PT017 - most make a pod
