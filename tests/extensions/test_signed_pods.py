"""What the extension `signed` adds to a pod: who signs, and who alone has the socket."""

import json

import pytest

from resultsfw import Capabilities, ResultsManager, ResultSpec, Run, Step, hookimpl, podparts
from resultsfw.errors import BackendError, InputError
from resultsfw.images import SIDECAR_SIGNED
from resultsfw.pods import containers
from resultsfw_extensions._signed_pods import VOLUME, signing_container
from resultsfw_extensions.signed import Signed
from resultsfw_signing import statement

SIDECAR = "sidecar-tekton-log-results"
RUN = Run(
    namespace="prod",
    name="r",
    uid="run-uid",
    attempt=2,
    results=(
        ResultSpec(name="text"),
        ResultSpec(name="list", type="array"),
        ResultSpec(name="taken", type="object"),
    ),
    steps=(
        Step(name="s", container="step-s", results=(ResultSpec(name="own", type="object"),), artifacts=True),
    ),
    spec={"steps": []},
)
PLAIN_RUN = Run(
    namespace="prod",
    name="r",
    uid="u",
    results=RUN.results[:1],
    steps=(Step(name="s", container="step-s"),),
)


def tekton_pod(**spec):
    names = ("results", "steps", "artifacts", "run-0")
    container = {
        "name": "step-s",
        "image": "busybox:1",
        "args": ["-step_metadata_dir", "/tekton/run/0/status", "--"],
    }
    return {
        "metadata": {"name": "p", "namespace": "prod", "annotations": {"kept": "yes"}},
        "spec": {
            "containers": [container],
            "volumes": [{"name": f"tekton-internal-{name}", "emptyDir": {}} for name in names],
            **spec,
        },
    }


def plain_pod():
    return {
        "metadata": {"name": "p", "namespace": "prod"},
        "spec": {"containers": [{"name": "step-s", "image": "busybox:1"}]},
    }


def prepare(pod, results_from="sidecar-logs", *, run=RUN, backend_options=None, register=None, **options):
    core = ResultsManager.from_flags(
        {
            "results-from": results_from,
            f"config.{results_from}": json.dumps(backend_options or {}),
            "config.signed": json.dumps({"trust-domain": "example.org", **options}),
        },
        register=register,
        register_extensions={"signed": Signed},
    )
    with core:
        return core.prepare_pod(run, pod)


def settings_of(container):
    return next(
        json.loads(entry["value"]) for entry in container["env"] if entry["name"] == "RESULTSFW_SIGNING"
    )


def mounted(pod):
    """Names of the containers that mount the socket's volume, with the mounts."""
    return {
        name: [mount for mount in container.get("volumeMounts", ()) if mount["name"] == VOLUME]
        for name, container in containers(pod).items()
        if any(mount["name"] == VOLUME for mount in container.get("volumeMounts", ()))
    }


def test_the_results_sidecar_signs_what_it_delivers():
    pod = prepare(tekton_pod())
    sidecar = containers(pod)[SIDECAR]
    assert sidecar["image"] == SIDECAR_SIGNED
    assert sidecar["resources"]["limits"]["memory"] == sidecar["resources"]["requests"]["memory"] == "128Mi"
    assert statement.SIGNER_CONTAINER not in containers(pod)
    assert pod["metadata"]["annotations"]["resultsfw.dev/signed"] == "1"
    assert pod["metadata"]["annotations"]["kept"] == "yes"
    assert mounted(pod) == {
        SIDECAR: [{"name": VOLUME, "mountPath": "/spiffe-workload-api", "readOnly": True}]
    }
    assert settings_of(sidecar) == {
        "socket": "unix:///spiffe-workload-api/spire-agent.sock",
        "domain": "example.org",
        "run": {"namespace": "prod", "name": "r", "uid": "run-uid", "attempt": 2},
        "specDigest": RUN.spec_digest,
        "types": {"results/list": "array", "results/taken": "object", "steps/s/results/own": "object"},
        "wait": 25,
        "tekton": False,
    }
    assert signing_container(pod) == SIDECAR


@pytest.mark.parametrize("mode", ["native", "plain"])
def test_a_sidecar_in_either_mode_signs(mode):
    pod = prepare(tekton_pod(), backend_options={"sidecar": mode})
    native = any(container["name"] == SIDECAR for container in pod["spec"].get("initContainers", ()))
    assert (native, list(mounted(pod))) == (mode == "native", [SIDECAR])


def test_a_sidecar_with_more_memory_keeps_it():
    pod = prepare(tekton_pod(), backend_options={"memory": "1Gi"})
    assert containers(pod)[SIDECAR]["resources"]["limits"]["memory"] == "1Gi"


@pytest.mark.parametrize(
    ("options", "volume"),
    [
        ({}, {"csi": {"driver": "csi.spiffe.io", "readOnly": True}}),
        ({"csi-driver": "other.io"}, {"csi": {"driver": "other.io", "readOnly": True}}),
        (
            {"workload-api": "host-path"},
            {"hostPath": {"path": "/run/spire/agent-sockets", "type": "Directory"}},
        ),
        (
            {"workload-api": "host-path", "socket-folder": "/run/agent"},
            {"hostPath": {"path": "/run/agent", "type": "Directory"}},
        ),
    ],
)
def test_the_socket_comes_from_the_csi_driver_or_from_the_node(options, volume):
    pod = prepare(tekton_pod(), **options)
    assert {"name": VOLUME, **volume} in pod["spec"]["volumes"]


def test_the_signer_gets_the_configured_name_of_the_socket():
    pod = prepare(tekton_pod(), **{"socket-file": "api.sock", "tekton-keys": True})
    settings = settings_of(containers(pod)[SIDECAR])
    assert (settings["socket"], settings["tekton"]) == ("unix:///spiffe-workload-api/api.sock", True)
    assert pod["metadata"]["annotations"]["resultsfw.dev/signed"] == "tekton"


@pytest.mark.parametrize(("grace", "wait"), [(300, 60), (40, 35), (30, 25), (3, 1), (0, 1)])
def test_the_signer_never_waits_longer_than_the_kubelet_lets_it_live(grace, wait):
    pod = prepare(tekton_pod(terminationGracePeriodSeconds=grace))
    assert settings_of(containers(pod)[SIDECAR])["wait"] == wait


@pytest.mark.parametrize(
    ("results_from", "options"), [("termination-message", {}), ("sidecar-logs", {"wire": "tekton"})]
)
def test_where_nothing_of_ours_delivers_a_container_of_its_own_signs(results_from, options):
    pod = prepare(tekton_pod(), results_from, backend_options=options)
    signer = containers(pod)["resultsfw-signer"]
    env = {entry["name"]: entry.get("value") for entry in signer["env"]}
    assert env["RESULTSFW_TRANSPORT"] == "resultsfw_signing.transport"
    assert (env["RESULTSFW_WIRE"], env["RESULTSFW_POD_UID"]) == ("1", None)
    assert "RESULTSFW_WATCH" not in env
    assert signer["restartPolicy"] == "Always"
    assert signer["command"][1:] == [
        *("-results-dir", "/tekton/results", "-result-names", "text,list,taken", "-step-names", "step-s"),
        *("-step-results", '{"step-s":["own"]}', "-kubernetes-sidecar-mode", "true"),
    ]
    paths = {mount["mountPath"] for mount in signer["volumeMounts"]}
    folders = {"/tekton/results", "/tekton/steps", "/tekton/artifacts", "/tekton/run/0"}
    assert paths == {*folders, "/spiffe-workload-api"}
    assert all(mount["readOnly"] for mount in signer["volumeMounts"])
    assert list(mounted(pod)) == ["resultsfw-signer"]
    assert signing_container(pod) == "resultsfw-signer"
    assert signer["securityContext"]["runAsNonRoot"]
    assert settings_of(signer)["run"]["uid"] == "run-uid"


def test_a_plain_pod_is_signed_by_its_results_sidecar():
    pod = prepare(plain_pod(), run=PLAIN_RUN)
    assert list(mounted(pod)) == [SIDECAR]


class Folders:
    """A third party's backend with folders for results, and perhaps a sidecar of its own."""

    capabilities = Capabilities(summary="own", plain_pods=True, artifacts=True)
    sidecar = None

    @hookimpl
    def prepare_pod(self, run, pod):
        podparts.add_result_folders(run, pod, result_from="own")
        self.seen = dict(pod["metadata"]["annotations"])
        if self.sidecar:
            podparts.add_sidecar(pod, self.sidecar)
        return 0

    @hookimpl
    def pod_ready(self):
        return True

    @hookimpl
    def extract(self):
        raise NotImplementedError


def test_a_plain_pod_of_another_backend_gets_a_container_that_signs_at_the_kubelets_signal():
    run = Run(
        namespace="prod",
        name="r",
        uid="u",
        results=RUN.results[:1],
        steps=(Step(name="s", container="step-s", results=(ResultSpec(name="own"),)),),
    )
    pod = prepare(plain_pod(), "own", run=run, register={"own": Folders()})
    signer = containers(pod)["resultsfw-signer"]
    env = {entry["name"]: entry.get("value") for entry in signer["env"]}
    assert (env["RESULTSFW_WATCH"], env["RESULTSFW_TEKTON_ROOT"]) == ("signal", "/resultsfw")
    paths = {mount["mountPath"]: mount["readOnly"] for mount in signer["volumeMounts"]}
    folders = ("/resultsfw/results", "/resultsfw/steps/step-s/results")
    assert paths == dict.fromkeys((*folders, "/spiffe-workload-api"), True)


def test_a_results_sidecar_with_a_transport_that_the_signing_image_lacks_keeps_its_image():
    backend = Folders()
    backend.sidecar = {
        "name": SIDECAR,
        "image": "mine:1",
        "env": [
            {"name": "RESULTSFW_WIRE", "value": "1"},
            {"name": "RESULTSFW_TRANSPORT", "value": "mine.transport"},
        ],
    }
    pod = prepare(tekton_pod(), "own", register={"own": backend})
    assert containers(pod)[SIDECAR]["image"] == "mine:1"
    assert list(mounted(pod)) == ["resultsfw-signer"]


def test_a_plain_pod_without_files_is_refused_where_results_must_verify_and_else_left_unsigned():
    with pytest.raises(InputError, match=r'"termination-message".*no signer can read.*mark or off'):
        prepare(plain_pod(), "termination-message", run=PLAIN_RUN)
    pod = prepare(plain_pod(), "termination-message", run=PLAIN_RUN, policy="mark")
    assert signing_container(pod) is None
    assert "resultsfw.dev/signed" not in pod["metadata"]["annotations"]
    assert not mounted(pod)


def test_with_the_policy_off_nothing_is_added():
    plain = ResultsManager.from_flags({"results-from": "sidecar-logs"}).prepare_pod(RUN, tekton_pod())
    assert prepare(tekton_pod(), policy="off") == plain
    assert prepare(tekton_pod(), namespaces={"prod": "off"}) == plain
    assert prepare(tekton_pod(), namespaces={"other": "off"}) != plain


@pytest.mark.parametrize("results_from", ["sidecar-logs", "termination-message"])
@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ({"shareProcessNamespace": True}, BackendError, "shareProcessNamespace.*policy off"),
        ({"hostPID": True}, BackendError, "hostPID"),
        ({"initContainers": [{"name": "resultsfw-signer"}]}, InputError, "resultsfw-signer"),
        ({"initContainers": [{"name": SIDECAR, "env": []}]}, InputError, SIDECAR),
        (
            {"initContainers": [{"name": "x", "volumeMounts": [{"name": VOLUME, "mountPath": "/x"}]}]},
            BackendError,
            'container "x" mounts volume',
        ),
    ],
)
def test_a_pod_in_which_others_could_sign_is_refused(results_from, spec, error, words):
    with pytest.raises(error, match=words):
        prepare(tekton_pod(**spec), results_from)


def test_a_pod_with_a_volume_of_that_name_is_refused():
    pod = tekton_pod()
    pod["spec"]["volumes"].append({"name": VOLUME, "emptyDir": {}})
    with pytest.raises(InputError, match=VOLUME):
        prepare(pod)


@pytest.mark.parametrize("name", ["SVID", "RESULT_MANIFEST", "digest.sig", ".sig"])
@pytest.mark.parametrize("of_step", [False, True])
def test_a_run_that_declares_a_name_of_a_signature_is_refused_before_the_pod_exists(name, of_step):
    results = (ResultSpec(name=name),)
    step = Step(name="s", container="step-s", results=results if of_step else ())
    run = Run(namespace="prod", name="r", uid="u", results=() if of_step else results, steps=(step,))
    with pytest.raises(InputError, match=f'result "{name}".*rename it'):
        prepare(tekton_pod(), run=run)
    assert prepare(tekton_pod(), run=run, namespaces={"prod": "off"})


def test_backends_with_fixed_room_see_that_the_pod_will_be_signed():
    backend = Folders()
    prepare(tekton_pod(), "own", register={"own": backend})
    assert backend.seen == {"kept": "yes", "resultsfw.dev/signed": "1"}
