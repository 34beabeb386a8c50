"""Identities of the cluster with the rights of the manifests and no more, and tokens of pods."""

import copy
import os
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from resultsfw.controller.manifests import kind_of, load
from resultsfw.errors import AlreadyExistsError, NotFoundError
from resultsfw.local.rbac import ROLE_BINDINGS
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS


@contextmanager
def least_kubeconfig(place, backend, folder):
    """A kubeconfig of a controller with the rights of the base and of a backend; removed at the end."""
    server = place.server
    account = {"kind": "ServiceAccount", "name": "controller", "namespace": place.namespace}
    server.create(SERVICE_ACCOUNTS, {"metadata": {"name": "controller", "namespace": place.namespace}})
    made = []
    try:
        objects = [*load(""), *load(f"backends/{backend}")]
        roles = [obj for obj in objects if "Role" in obj["kind"] and not is_of_pods(obj)]
        made.extend(_granted(place, obj, account) for obj in roles)
        yield write_kubeconfig(token(server, place.namespace, "controller"), folder)
    finally:
        for kind, metadata in made:
            with suppress(NotFoundError):
                server.delete(kind, metadata["namespace"], metadata["name"])


def _granted(place, obj, account):
    """Create a role, or its binding to an account, under a name of the place's own; return which it is."""
    metadata = {"name": f"{obj['metadata']['name']}-{place.namespace}", "namespace": ""}
    if not obj["kind"].startswith("Cluster"):
        metadata["namespace"] = place.namespace
    if "roleRef" in obj:
        name = f"{obj['roleRef']['name']}-{place.namespace}"
        obj = {**obj, "roleRef": {**obj["roleRef"], "name": name}, "subjects": [account]}
    place.server.create(kind_of(obj), {**obj, "metadata": metadata})
    return kind_of(obj), metadata


def write_kubeconfig(text, folder):
    """Write the kubeconfig of the tests with another token for its user."""
    config = yaml.safe_load(Path(os.environ["RESULTSFW_KUBECONFIG"]).read_text())
    user = next(context for context in config["contexts"] if context["name"] == config["current-context"])[
        "context"
    ]
    for entry in config["users"]:
        if entry["name"] == user["user"]:
            entry["user"] = {"token": text}
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


def is_of_pods(role):
    """Whether a role, or its binding, is for the pods of runs, and not for the controller."""
    name = role["metadata"]["name"]
    return name.endswith("-pods") and not name.startswith("resultsfw-controller")


def install(server, backend):
    """Install what a backend needs beside the controller's rights: CRD, policy, rights of pods. It stays."""
    for obj in load(f"backends/{backend}"):
        if "Role" in obj["kind"] and not is_of_pods(obj):
            continue
        kind, metadata = kind_of(obj), {**obj["metadata"], "namespace": ""}
        try:
            server.create(kind, {**obj, "metadata": metadata})
        except AlreadyExistsError:
            if "spec" in obj:
                server.patch(kind, "", metadata["name"], {"spec": obj["spec"]})


def token(server, namespace, account, pod=None):
    """Return a token of a service account, bound to a pod if there is one."""
    bound = {}
    if pod is not None:
        names = {key: pod["metadata"][key] for key in ("name", "uid")}
        bound = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", **names}}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    return server._json("POST", path, {"spec": bound})["status"]["token"]


def as_user(server, text):
    """Return the server as the owner of a token sees it."""
    other = copy.copy(server)
    other._headers = {"Authorization": f"Bearer {text}"}
    return other


def bind_pods(place):
    """What an operator grants the pods of a namespace by hand."""
    group = "rbac.authorization.k8s.io"
    place.server.create(
        ROLE_BINDINGS,
        {
            "metadata": {"name": "resultsfw-self-update-pods", "namespace": place.namespace},
            "subjects": [
                {"apiGroup": group, "kind": "Group", "name": f"system:serviceaccounts:{place.namespace}"}
            ],
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "resultsfw-self-update-pods"},
        },
    )
