"""The commands that inspect runs, on a real cluster: our runs, a deleted pod, and a user with few rights."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from place import Place

from resultsfw import PODS, Kind, Object
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS, TASKRUNS

ROLES = Kind("rbac.authorization.k8s.io", "v1", "roles", "Role")
BINDINGS = Kind("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")


def taskrun(place: Place, name: str, size: int) -> Object:
    """A run with a small and a large result, which this controller takes."""
    script = f"printf s > $(results.small.path); head -c {size} /dev/zero | tr '\\0' x > $(results.big.path)"
    user = os.environ.get("RESULTSFW_RUN_AS_USER")
    context = {"runAsUser": int(user)} if user else {}
    return {
        "apiVersion": TASKRUNS.api_version,
        "kind": TASKRUNS.kind,
        "metadata": {"name": name, "namespace": place.namespace},
        "spec": {
            "managedBy": place.managed_by,
            "podTemplate": {"securityContext": context},
            "taskSpec": {
                "results": [{"name": "small"}, {"name": "big"}],
                "steps": [
                    {
                        "name": "one",
                        "image": os.environ.get("RESULTSFW_SHELL_IMAGE", "busybox:1"),
                        "imagePullPolicy": "IfNotPresent",
                        "script": script,
                    }
                ],
            },
        },
    }


def command(*words: str, kubeconfig: str) -> tuple[int, str, str]:
    """Run resultsfw as a user does; what it printed, without the breaks of lines."""
    done = subprocess.run(
        [sys.executable, "-m", "resultsfw", *words, "--kubeconfig", kubeconfig],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, " ".join(done.stdout.split()), " ".join(done.stderr.split())


def limited_user(place: Place, folder: Path) -> str:
    """A kubeconfig of a service account that may read TaskRuns and Pods, and no log."""
    server, space = place.server, place.namespace
    named = {"metadata": {"name": "few", "namespace": space}}

    def create(kind: Kind, **fields: Any) -> None:
        server.create(kind, {"apiVersion": kind.api_version, "kind": kind.kind, **named, **fields})

    create(SERVICE_ACCOUNTS)
    rules = [
        {"apiGroups": ["tekton.dev"], "resources": ["taskruns"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ]
    create(ROLES, rules=rules)
    role = {"apiGroup": ROLES.group, "kind": "Role", "name": "few"}
    subject = {"kind": "ServiceAccount", "name": "few", "namespace": space}
    create(BINDINGS, roleRef=role, subjects=[subject])
    kubectl = [
        "kubectl",
        "--kubeconfig",
        os.environ["RESULTSFW_KUBECONFIG"],
        "create",
        "token",
        "few",
        "-n",
        space,
    ]
    token = subprocess.run(kubectl, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    config: dict[str, Any] = yaml.safe_load(Path(os.environ["RESULTSFW_KUBECONFIG"]).read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    for context in config["contexts"]:
        context["context"]["namespace"] = space
    file = folder / "few.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return str(file)


@pytest.fixture
def finished(place: Place) -> Place:
    place.flags(results_from="sidecar-logs", max_result_size="10000")
    place.start()
    for name, size in (("fits", 5000), ("too-large", 20000)):
        place.server.create(TASKRUNS, taskrun(place, name, size))
    place.until_done(180)
    return place


def test_runs_are_listed_explained_and_read(finished: Place, tmp_path: Path) -> None:
    """One place for all: a controller and two runs are slow to start."""
    admin, space = os.environ["RESULTSFW_KUBECONFIG"], finished.namespace
    here = ("-n", space, "--flags-namespace", space)
    status, out, err = command("list", "-n", space, kubeconfig=admin)
    assert (status, err) == (0, "")
    assert "fits TaskRun Succeeded sidecar-logs 2/2 5001" in out
    assert "too-large TaskRun Failed sidecar-logs 1/2 1" in out
    status, out, _ = command("explain", "fits", *here, kubeconfig=admin)
    assert status == 0
    assert 'arrived in the log of container "sidecar-tekton-log-results": 5000 bytes of the 10000' in out
    status, out, _ = command("explain", "too-large", *here, kubeconfig=admin)
    assert status == 1
    assert 'refused: result "big" has 20000 bytes, over the limit of 10000 bytes' in out
    assert command("value", "fits", "big", *here, kubeconfig=admin) == (0, "x" * 5000, "")
    status, _, err = command("value", "fist", "big", *here, kubeconfig=admin)
    assert (status, 'did you mean "fits"?' in err) == (1, True)

    few = limited_user(finished, tmp_path)
    status, out, err = command("explain", "fits", kubeconfig=few)
    assert status == 0
    assert "may not be read: the default flags are taken" in err
    assert f'you may not get pods/log in namespace "{space}"' in out
    assert "is in the status: 5000 bytes" in out
    status, _, err = command("list", kubeconfig=few)
    assert (status, "you may not list pipelineruns.tekton.dev" in err) == (1, True)
    assert command("list", "taskruns", kubeconfig=few)[0] == 0

    finished.server.delete(PODS, space, "fits-pod", grace_seconds=0)
    status, out, _ = command("explain", "fits", *here, kubeconfig=admin)
    assert (status, 'its Pod "fits-pod" was deleted, and its logs with it' in out) == (0, True)
