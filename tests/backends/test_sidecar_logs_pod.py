"""The pod that the backend ``sidecar-logs`` prepares, and its options."""

import captures
import pytest
from sidecarlogs import (
    CORE,
    Logs,
    a_pod,
    a_run,
    log_of,
    prepared,
    value,
)

from resultsfw import ExtractedResult, Limits, ResultSpec, Run, Step
from resultsfw.errors import FlagError
from resultsfw.plugins import load_backend
from resultsfw.pods import RESULTS_SIDECAR

BACKEND = load_backend("sidecar-logs")


def test_the_sidecar_is_tektons_but_for_read_only_mounts():
    """Wire compatibility: either sidecar image works under either controller."""
    _, ours, theirs = prepared("sidecar: plain")
    assert ours["command"] == theirs["command"]
    assert ours["env"][0] == theirs["env"][0] == {"name": "SIDECAR_LOG_POLLING_INTERVAL", "value": "100ms"}
    added = "/var/run/secrets/kubernetes.io/serviceaccount"  # by the API server
    mounts = [{**mount, "readOnly": True} for mount in theirs["volumeMounts"] if mount["mountPath"] != added]
    assert [{**mount, "readOnly": True} for mount in ours["volumeMounts"]] == mounts
    assert ours["volumeMounts"] == mounts


def test_the_steps_are_told_as_tekton_tells_them_but_for_the_files_of_results():
    """Tekton's entrypoint opens every file of ``-results`` after its ``out`` file, a FIFO for ever."""
    [original] = captures.first_pods(captures.load("sl-basic"))
    for container in original["spec"]["containers"][:2]:
        at = container["args"].index("-results")
        del container["args"][at : at + 2]
    out, ours, _ = prepared("sidecar: plain")
    assert out["spec"]["containers"][:2] == original["spec"]["containers"][:2]
    assert out["spec"]["containers"][2:] == [ours]
    assert {**out["spec"], "containers": []} == {**original["spec"], "containers": []}


def test_the_sidecar_has_no_more_rights_than_it_needs():
    """Guarantee 8: the sidecar runs read-only, non-root, without capabilities."""
    _, ours, _ = prepared()
    assert ours["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert ours["resources"] == {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}}


def test_the_sidecar_is_told_limits_wire_and_its_pod():
    _, ours, _ = prepared(flags={"max-result-size": "9000"})
    assert ours["env"][1:] == [
        {"name": "RESULTSFW_WIRE", "value": "1"},
        {"name": "RESULTSFW_MAX_RESULT_SIZE", "value": "9000"},
        {"name": "RESULTSFW_MAX_RUN_SIZE", "value": "1572864"},
        {"name": "RESULTSFW_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
    ]


def test_tektons_image_is_told_what_tektons_controller_tells_it():
    out, ours, theirs = prepared("wire: tekton\nimage: tekton/sidecarlogresults:1")
    assert ours["env"] == theirs["env"]
    assert ours["image"] == theirs["image"]
    assert out["metadata"]["annotations"]["resultsfw.dev/stamp"] == "sidecar-logs/0"
    assert prepared()[0]["metadata"]["annotations"]["resultsfw.dev/stamp"] == "sidecar-logs/1"


def test_every_option_arrives():
    _, ours, _ = prepared("image: i\npolling-interval: 1.5s\ncpu: 7m\nmemory: 64Mi")
    assert ours["image"] == "i"
    assert ours["env"][0]["value"] == "1.5s"
    assert ours["resources"] == {"requests": {"cpu": "7m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}


@pytest.mark.parametrize(
    "config",
    [
        "wire: other",
        "polling-interval: soon",
        "polling-interval: '100'",
        'polling-interval: "1s\\n"',
        "image: 5",
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(config):
    with pytest.raises(FlagError) as caught:
        prepared(config)
    assert config.partition(":")[0] in caught.value.message


def test_steps_own_results_are_told_as_tekton_tells_them():
    run = Run(
        namespace="n",
        name="r",
        uid="u",
        steps=(
            Step(name="push", container="step-push", results=(ResultSpec(name="b"), ResultSpec(name="a"))),
            Step(name="build", container="step-build", results=(ResultSpec(name="c"),)),
        ),
    )
    _, ours, _ = prepared(run=run)
    command = ours["command"]
    assert command[command.index("-step-results") + 1] == '{"step-build":["c"],"step-push":["b","a"]}'
    assert command[command.index("-result-names") + 1] == ""


def test_a_pod_of_an_embedder_needs_no_volumes():
    pod = {"spec": {"containers": [{"name": "step-one"}], "volumes": None}}
    (ours,) = CORE.prepare_pod(a_run("a"), pod)["spec"]["initContainers"]
    assert [mount["name"] for mount in ours["volumeMounts"]] == ["resultsfw-results"]


def test_the_permission_it_needs_is_stated():
    """Guarantee 8: a missing permission can be reported by name."""
    [permission] = BACKEND.capabilities.permissions
    assert (permission.verb, permission.resource, permission.group) == ("get", "pods/log", "")


def test_a_backend_hands_over_plain_data():
    extraction = BACKEND.hook.extract(
        run=a_run("a"),
        pod=a_pod(),
        cluster=Logs([log_of(value("a", "1"))]),
        limits=Limits(result_bytes=4096, run_bytes=1 << 20),
        config=BACKEND.configure({}),
        wire=1,
        backend="sidecar-logs",
    )
    source = f'log of container "{RESULTS_SIDECAR}"'
    assert extraction.results == (ExtractedResult(name="a", value="1", source=source),)
    assert extraction.transports[0].results == ("a",)
