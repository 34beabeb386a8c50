"""What ``resultsfw install --print`` prints is what a real API server takes, to the last field."""

import os
import subprocess
import sys
from contextlib import suppress

import pytest
import yaml

from resultsfw.controller.install import NAMESPACES
from resultsfw.controller.manifests import kind_of
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
    command = [sys.executable, "-m", "resultsfw.cli", "install", "--print", "--crds", "--enable-log-access"]
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
