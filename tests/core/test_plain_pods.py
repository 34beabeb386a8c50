"""Pods without Tekton's entrypoint: which backends get them, and what the public helpers add to them."""

import copy

import pytest

from resultsfw import ARTIFACTS, Capabilities, Extraction, ResultsManager, ResultSpec, Run, Step, hookimpl
from resultsfw.errors import BackendError, InputError
from resultsfw.podchecks import refuse_secrets
from resultsfw.podparts import (
    add_init_container,
    add_result_folders,
    add_sidecar,
    add_volumes,
    confined,
    result_files,
    wait_for_sigterm_handler,
)
from resultsfw.sidecars import describe_end, read_digest

RUN = Run(
    namespace="default",
    name="run",
    uid="u",
    results=(ResultSpec(name="a"),),
    steps=(
        Step(name="one", container="step-one", results=(ResultSpec(name="own"),)),
        Step(name="two", container="step-two"),
    ),
)
DIGEST = f"sha256:{'0f' * 32}"


def a_pod(*, tekton=False, **spec):
    containers = [{"name": f"step-{name}", "image": "i"} for name in ("one", "two")]
    volumes = [{"name": f"tekton-internal-{name}", "emptyDir": {}} for name in ("results", "steps", "bin")]
    if tekton:
        for container in containers:
            container["args"] = ["-step_metadata_dir", "/tekton/run/0/status", "-entrypoint", "sh"]
        spec = {"volumes": volumes, **spec}
    return {"metadata": {"name": "pod"}, "spec": {"containers": containers, **spec}}


class Backend:
    def __init__(self, **capabilities):
        self.capabilities = Capabilities(summary="s", **capabilities)
        self.prepared = []

    @hookimpl
    def prepare_pod(self, pod):
        self.prepared.append(pod)
        return 1

    @hookimpl
    def pod_ready(self):
        return True

    @hookimpl
    def extract(self):
        return Extraction()


def core_of(**backends):
    return ResultsManager.from_flags({"results-from": next(iter(backends))}, register=backends)


# The capability.


def test_a_backend_that_does_not_serve_plain_pods_never_gets_one():
    backend = Backend()
    core = core_of(mine=backend, other=Backend(plain_pods=True), third=Backend())
    with pytest.raises(BackendError) as caught:
        core.prepare_pod(RUN, a_pod())
    assert backend.prepared == []
    assert caught.value.subject == "mine"
    for part in ('backend "mine"', 'pod "pod"', "(the flags allow other)", "resultsfw.dev/results-from"):
        assert part in caught.value.message
    core.prepare_pod(RUN, a_pod(tekton=True))
    assert len(backend.prepared) == 1


def test_without_an_allowed_backend_that_serves_plain_pods_the_error_says_so():
    with pytest.raises(BackendError, match="the flags allow none"):
        core_of(mine=Backend()).prepare_pod(RUN, a_pod())


def test_what_no_backend_can_serve_is_refused_for_every_backend():
    backend = Backend(plain_pods=True, artifacts=True)
    for run, pod, wrong in [
        (RUN, a_pod(restartPolicy="Always"), "is started again whenever it ends"),
        (RUN, a_pod(containers=[{"name": "step-one"}]), "none of the pod's spec.containers"),
        (Run(namespace="n", name="r", uid="u", artifacts=True, steps=RUN.steps), a_pod(), "provenance"),
    ]:
        with pytest.raises(InputError, match=wrong):
            core_of(mine=backend).prepare_pod(run, pod)
    assert backend.prepared == []
    core_of(mine=backend).prepare_pod(RUN, a_pod())
    assert backend.prepared[0]["spec"]["restartPolicy"] == "Never"


# What is added.


@pytest.mark.parametrize("tekton", [True, False])
def test_each_file_is_below_a_mount_of_the_sidecar_and_where_its_step_is_told(tekton):
    pod = a_pod(tekton=tekton)
    mounts = add_result_folders(RUN, pod, result_from="mine")
    assert all(mount["readOnly"] for mount in mounts)
    present = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in mounts} <= present
    files = result_files(RUN, pod)
    assert [(file.step, file.name) for file in files] == [("one", "own"), (None, "a")]
    root = "/tekton" if tekton else "/resultsfw"
    assert [file.path for file in files] == [f"{root}/steps/step-one/results/own", f"{root}/results/a"]
    for file in files:
        assert any(file.path.startswith(f"{mount['mountPath']}/") for mount in mounts)
    first, second = pod["spec"]["containers"]
    if tekton:
        assert first["args"][:4] == ["-step_metadata_dir", "/tekton/run/0/status", "-result_from", "mine"]
        assert "env" not in first
    else:
        folders = {variable["name"]: variable["value"] for variable in first["env"]}
        assert f"{folders['RESULTSFW_STEP_RESULTS']}/own" == files[0].path
        assert f"{folders['RESULTSFW_RESULTS']}/a" == files[1].path
        assert [variable["name"] for variable in second["env"]] == ["RESULTSFW_RESULTS"]


def test_provenance_of_artifacts_is_a_file_like_a_result():
    steps = (Step(name="one", container="step-one", artifacts=True),)
    run = Run(namespace="n", name="r", uid="u", steps=steps, artifacts=True)
    assert [(file.step, file.name, file.path) for file in result_files(run, a_pod(tekton=True))] == [
        ("one", ARTIFACTS, "/tekton/steps/step-one/artifacts/provenance.json"),
        (None, ARTIFACTS, "/tekton/artifacts/provenance.json"),
    ]


@pytest.mark.parametrize(
    ("pods", "given", "user"),
    [(None, None, None), (None, 7, 7), (0, None, 65532), (0, 7, 7), (1000, None, None), (1000, 7, None)],
)
def test_a_containers_user_is_never_root_and_else_the_pods(pods, given, user):
    pod = a_pod(securityContext={} if pods is None else {"runAsUser": pods})
    context = confined(pod, cpu="1m", memory="1Mi", user=given)["securityContext"]
    assert context.get("runAsUser") == user
    assert context["runAsNonRoot"] is True


def test_a_native_sidecar_comes_after_the_pods_own_init_containers():
    pod = a_pod(initContainers=[{"name": "own"}])
    add_sidecar(pod, {"name": "s"}, volumes=[{"name": "v"}])
    add_init_container(pod, {"name": "fetch"})
    add_sidecar(pod, {"name": "plain"}, native=False)
    spec = pod["spec"]
    assert [container["name"] for container in spec["initContainers"]] == ["own", "s", "fetch"]
    assert spec["initContainers"][1] == {"name": "s", "restartPolicy": "Always"}
    assert spec["containers"][-1] == {"name": "plain"}
    assert spec["volumes"] == [{"name": "v"}]


def test_names_that_the_pod_has_are_refused_and_so_are_mounts_of_the_sidecars_volumes():
    pod = a_pod(volumes=[{"name": "v"}])
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "secret", "mountPath": "/x"}]
    before = copy.deepcopy(pod)
    for add in (add_sidecar, add_init_container):
        with pytest.raises(InputError, match='container "step-one"'):
            add(pod, {"name": "step-one"})
    with pytest.raises(InputError, match='volume "v"'):
        add_volumes(pod, [{"name": "v"}])
    with pytest.raises(BackendError, match='container "step-one" mounts volume "secret"'):
        add_sidecar(pod, {"name": "s"}, volumes=[{"name": "secret"}])
    assert pod == before


def test_only_plain_pods_wait_for_the_sidecars_handler():
    assert wait_for_sigterm_handler(RUN, a_pod(tekton=True)) == {}
    assert "postStart" in wait_for_sigterm_handler(RUN, a_pod())["lifecycle"]


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": [{"name": "v", "secret": {"secretName": "key"}}]},
        {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "key"}}]}}]},
        {"initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "key"}}]}]},
        {
            "initContainers": [
                {"name": "i", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "key"}}}]}
            ]
        },
    ],
)
def test_a_secret_that_another_container_can_read_is_refused(spec):
    with pytest.raises(BackendError, match='takes from the Secret "key"'):
        refuse_secrets(a_pod(**spec), "key", backend="mine")
    refuse_secrets(a_pod(**spec), "other", backend="mine")


def test_a_container_of_the_backends_own_may_have_its_secret():
    pod = a_pod(initContainers=[{"name": "fetch", "envFrom": [{"secretRef": {"name": "key"}}]}])
    refuse_secrets(pod, "key", backend="mine", own=("fetch",))


# How a sidecar ended.


def ended(message, code=0):
    state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}}
    return {"spec": {}, "status": {"containerStatuses": [{"name": "s", "state": state}]}}


@pytest.mark.parametrize("message", [DIGEST, f"{DIGEST}\n"])
def test_a_digest_is_read_whatever_the_exit_code(message):
    assert read_digest(ended(message), "s") == read_digest(ended(message, 137), "s") == DIGEST


@pytest.mark.parametrize(
    "message", ["", None, DIGEST.upper(), f"{DIGEST}0", f"{DIGEST} x", "sha256:", DIGEST[7:]]
)
def test_any_other_message_is_no_digest(message):
    assert read_digest(ended(message), "s") is None
    assert read_digest(ended(DIGEST), "other") is None


def test_the_end_is_described_with_a_bounded_message():
    assert "nothing is known" in describe_end({"spec": {}}, "s")
    assert (
        describe_end(ended("", 1), "s") == 'container "s" ended with exit code 1 (Error) and left no message'
    )
    assert len(describe_end(ended("x" * 9000, 1), "s")) < 500
