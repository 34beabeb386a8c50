"""What ``resultsfw install --print`` prints is what a real API server takes, to the last field."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from resultsfw.controller.install import NAMESPACES
from resultsfw.controller.manifests import kind_of, load
from resultsfw.errors import NotFoundError
from resultsfw.kube import KubeCluster, connect


@pytest.fixture
def cluster():
    connection = connect(os.environ["RESULTSFW_KUBECONFIG"])
    yield KubeCluster(connection)
    connection.close()


@pytest.fixture
def namespace(cluster, name):
    """As strict as the controller's own will be."""
    labels = {
        "pod-security.kubernetes.io/enforce": "restricted",
    }
    cluster.create(NAMESPACES, {"metadata": {"name": name, "labels": labels}})
    yield name
    with suppress(NotFoundError):
        cluster.delete(NAMESPACES, "", name)


def test_every_object_is_taken(cluster, namespace):
    """In a dry run, under names of the test's own: nothing that is there is touched."""
    command = [sys.executable, "-m", "resultsfw", "install", "--print", "--crds"]
    command += [
        f"--{option}"
        for option in (
            *("enable-log-access", "enable-coscheduling", "enable-encryption", "disruption-budget"),
            *("network-policies", "backend=http", "backend=config-map", "backend=pvc"),
        )
    ]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    printed = printed.replace("tekton.dev", f"{namespace}.resultsfw.dev")
    taken = []
    for obj in yaml.safe_load_all(printed):
        if "namespace" in obj["metadata"]:
            obj["metadata"]["namespace"] = namespace
        elif obj["kind"] != "CustomResourceDefinition":
            obj["metadata"]["name"] += f"-{namespace}"
        answer = cluster.apply(kind_of(obj), obj, manager="resultsfw-test", dry_run=True)
        taken.append(answer["kind"])
    assert {"Deployment", "CustomResourceDefinition", "ClusterRole", "ConfigMap"} <= set(taken)
    assert len(taken) > 15


ROOT = Path(__file__).parents[2]
OPT_INS = ("enable-log-access-to-controller", "enable-encryption", "disruption-budget", "network-policies")


def run(*command):
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.fixture(params=["kustomize", "helm"])
def installed(request, name, tmp_path):
    """An installation under a prefix and in a namespace of its own; removed at the end."""
    kubeconfig = f"--kubeconfig={os.environ['RESULTSFW_KUBECONFIG']}"
    if shutil.which(tool := {"kustomize": "kubectl"}.get(request.param, request.param)) is None:
        pytest.skip(f"there is no {tool}")
    if request.param == "helm":
        values = ["image.registry=registry.invalid/x", f"namePrefix={name}-", "controller.replicas=0"]
        values += [
            f"components.{key}=true"
            for key in ("logAccess", "encryption", "disruptionBudget", "networkPolicies")
        ]
        settings = [f"--set={value}" for value in values]
        release = (name, f"--namespace={name}", kubeconfig)
        run("helm", "install", *release, str(ROOT / "charts" / "resultsfw"), "--create-namespace", *settings)
        run("helm", "upgrade", *release, str(ROOT / "charts" / "resultsfw"), "--reuse-values")
        yield name, f"{name}-resultsfw-controller"
        run("helm", "uninstall", *release)
        run("kubectl", kubeconfig, "delete", "namespace", name, "--wait=false")
        return
    shutil.copytree(ROOT / "config", tmp_path / "config")
    overlay = {
        "namespace": name,
        "namePrefix": f"{name}-",
        "resources": ["config"],
        "components": [f"config/{folder}" for folder in OPT_INS],
        "replicas": [{"name": "resultsfw-controller", "count": 0}],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    run("kubectl", kubeconfig, "apply", "-k", str(tmp_path))
    yield name, f"{name}-resultsfw-controller"
    run("kubectl", kubeconfig, "delete", "-k", str(tmp_path), "--wait=false")


def test_an_installation_elsewhere_has_what_the_controller_needs(cluster, installed):
    """ConfigMaps and the Lease by name: the API server itself is asked, for the service account."""
    namespace, account = installed
    command = ["doctor", "--kubeconfig", os.environ["RESULTSFW_KUBECONFIG"], "--lease-namespace", namespace]
    command += ["--as", f"system:serviceaccount:{namespace}:{account}", "-o", "json"]
    examined = subprocess.run(
        [sys.executable, "-m", "resultsfw", *command], capture_output=True, text=True, check=False
    )
    findings = json.loads(examined.stdout)
    words = {finding["what"]: finding["well"] for finding in findings}
    assert words["watch configmaps config-spire in tekton-pipelines"]
    assert words[f"patch leases.coordination.k8s.io resultsfw-controller in {namespace}"]
    assert words["get configmaps feature-flags in tekton-pipelines"]
    missing = [what for what, well in words.items() if well is False]
    assert not [what for what in missing if what.split()[0] in ("get", "list", "watch", "create", "patch")]
    for folder in OPT_INS:
        for obj in load(folder):
            name = account.removesuffix("resultsfw-controller") + obj["metadata"]["name"]
            where = namespace if "namespace" in obj["metadata"] else ""
            assert cluster.get(kind_of(obj), where, name)
