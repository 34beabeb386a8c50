"""The API server of a machine without a cluster: who may do what to a ConfigMap, in a server's words."""

import base64
import http.client
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from localpods import await_pod, log_of, make_pod, over

from resultsfw.cluster import CONFIG_MAPS, PODS, Kind
from resultsfw.errors import ClusterError, NotFoundError, ObjectTooLargeError
from resultsfw.local import tokens
from resultsfw.local.apiserver import ApiServer
from resultsfw.local.rbac import GROUP, ROLE_BINDINGS, ROLES
from resultsfw.tekton.api.kinds import TASKRUNS

MERGE = "application/merge-patch+json"
MiB = 1_048_576


class Caller:
    def __init__(self, endpoint, token):
        self.endpoint = endpoint
        self.token = token

    def ask(self, method, name="theirs", body=None, *, media=MERGE, path=None, token=None):
        where = self.endpoint.variables()
        connection = http.client.HTTPConnection(
            where["KUBERNETES_SERVICE_HOST"], int(where["KUBERNETES_SERVICE_PORT"]), timeout=20
        )
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        text = self.token if token is None else token
        headers = {"Content-Type": media} | ({"Authorization": f"Bearer {text}"} if text else {})
        try:
            connection.request(method, path or f"/api/v1/namespaces/default/configmaps/{name}", data, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@pytest.fixture
def pod(store):
    return store.create(PODS, make_pod("true", serviceAccountName="builder"))


@pytest.fixture
def caller(store, pod):
    """With a Role for one ConfigMap, which is there, as another is."""
    for name in ("theirs", "other"):
        store.create(CONFIG_MAPS, {"metadata": {"name": name}, "data": {"a": "1"}})
    grant(store, resourceNames=["theirs"], verbs=["get", "patch", "update"])
    endpoint = ApiServer(store)
    yield Caller(endpoint, tokens.make(tokens.token_of(pod)))
    endpoint.close()


def grant(store, name="one", *, subject=None, **rule):
    rule = {"apiGroups": [""], "resources": ["configmaps"], **rule}
    store.create(ROLES, {"metadata": {"name": name}, "rules": [rule]})
    subject = subject or {"kind": "ServiceAccount", "name": "builder"}
    reference = {"apiGroup": GROUP, "kind": "Role", "name": name}
    store.create(ROLE_BINDINGS, {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]})


def test_a_granted_request_is_served(caller, store):
    assert caller.ask("GET")[1]["data"] == {"a": "1"}
    status, answer = caller.ask("PATCH", body={"data": {"b": "2"}})
    assert (status, answer["data"]) == (200, {"a": "1", "b": "2"})
    status, answer = caller.ask("PUT", body={"metadata": {"name": "theirs"}, "data": {"c": "3"}})
    assert (status, answer["data"]) == (200, {"c": "3"})
    assert store.get(CONFIG_MAPS, "default", "theirs")["data"] == {"c": "3"}


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_a_request_that_is_not_granted_is_forbidden_and_changes_nothing(caller, store, method):
    status, answer = caller.ask(method, "other", {"data": {"b": "2"}})
    assert (status, answer["kind"], answer["reason"]) == (403, "Status", "Forbidden")
    assert (
        'configmaps "other" is forbidden: User "system:serviceaccount:default:builder" cannot '
        in (answer["message"])
    )
    assert store.get(CONFIG_MAPS, "default", "other")["data"] == {"a": "1"}
    assert caller.ask("GET", "none")[0] == 403  # whether it is there, only who may ask is told


def test_a_verb_that_is_not_granted_is_forbidden(caller):
    assert caller.ask("DELETE")[0] == 403
    assert caller.ask("GET", path="/api/v1/namespaces/default/configmaps")[0] == 403
    assert caller.ask("GET", path="/api/v1/namespaces/elsewhere/configmaps/theirs")[0] == 403
    assert caller.ask("GET", path="/api/v1/namespaces/default/secrets/theirs")[0] == 403
    assert caller.ask("GET", path="/apis/apps/v1/namespaces/default/configmaps/theirs")[0] == 403
    assert caller.ask("GET", path="/healthz")[0] == 404


@pytest.mark.parametrize(
    ("subject", "status"),
    [
        ({"kind": "Group", "name": "system:serviceaccounts:default"}, 200),
        ({"kind": "Group", "name": "system:serviceaccounts"}, 200),
        ({"kind": "User", "name": "system:serviceaccount:default:builder"}, 200),
        ({"kind": "ServiceAccount", "name": "builder", "namespace": "default"}, 200),
        ({"kind": "ServiceAccount", "name": "builder", "namespace": "other"}, 403),
        ({"kind": "ServiceAccount", "name": "default"}, 403),
        ({"kind": "Group", "name": "system:masters"}, 403),
    ],
)
def test_subjects_of_a_binding_are_matched(caller, store, subject, status):
    grant(store, "two", subject=subject, resourceNames=["other"], verbs=["get"])
    assert caller.ask("GET", "other")[0] == status


def test_a_binding_without_its_role_or_to_a_cluster_role_grants_nothing(caller, store):
    for kind in ("Role", "ClusterRole"):
        reference = {"apiGroup": GROUP, "kind": kind, "name": "nowhere"}
        subjects = [{"kind": "ServiceAccount", "name": "builder"}]
        store.create(
            ROLE_BINDINGS,
            {"metadata": {"name": kind.lower()}, "roleRef": reference, "subjects": subjects},
        )
    assert caller.ask("GET", "other")[0] == 403


@pytest.mark.parametrize(
    ("kind", "spec"),
    [(TASKRUNS, {}), (Kind("resultsfw.dev", "v1alpha1", "runresults", "RunResult"), {"podName": "run-pod"})],
    ids=lambda kind: getattr(kind, "plural", ""),
)
def test_pods_patch_the_status_of_taskruns_and_run_results_and_nothing_else_of_them(
    caller, store, kind, spec
):
    """As `config/backends/` grants all pods; the policies that limit them are not evaluated here."""
    store.create(kind, {"metadata": {"name": "r"}, "spec": spec})
    path = f"/apis/{kind.api_version}/namespaces/default/{kind.plural}/r"
    patch = {"status": {"records": "x"}, "spec": {"forged": True}, "metadata": {"labels": {"a": "b"}}}
    status, answer = caller.ask("PATCH", body=patch, path=f"{path}/status")
    assert (status, answer["status"], answer["spec"]) == (200, {"records": "x"}, spec)
    assert "labels" not in answer["metadata"]
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        status, answer = caller.ask(method, body={}, path=path)
        assert (status, answer["reason"]) == (403, "Forbidden")
        assert f'{kind.plural}.{kind.group} "r" is forbidden' in answer["message"]
    elsewhere = path.replace("/default/", "/elsewhere/")
    assert caller.ask("PATCH", body={}, path=f"{elsewhere}/status")[0] == 403
    assert caller.ask("PUT", body={}, path=f"{path}/status")[0] == 403
    assert caller.ask("PATCH", body={}, path=f"{path[:-1]}none/status")[0] == 404


def test_the_engine_has_every_policy_and_nothing_else_of_admission(store):
    group = "admissionregistration.k8s.io"
    for name in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"):
        found = store.get(Kind(group, "v1", "x", name), "", "resultsfw-any")
        assert found["spec"]["policyName"] == found["metadata"]["name"] == "resultsfw-any"
    with pytest.raises(NotFoundError):
        store.get(Kind(group, "v1", "x", "ValidatingWebhookConfiguration"), "", "resultsfw-any")


def test_a_request_without_a_valid_token_is_unauthorized(caller, store, pod):
    own = tokens.token_of(pod)
    bad = [
        "",
        "x",
        tokens.PREFIX,
        tokens.make(replace(own, pod_uid="another")),
        tokens.make(replace(own, service_account="default")),
        tokens.make(replace(own, pod="nobody")),
        tokens.make(replace(own, audience="somebody else")),
    ]
    for token in bad:
        status, answer = caller.ask("GET", token=token)
        assert (status, answer["reason"]) == (401, "Unauthorized")
    store.delete(PODS, "default", "run-pod")
    assert caller.ask("GET")[0] == 401  # with its pod a token ends


def test_invalid_requests_are_refused(caller):
    assert caller.ask("PATCH", body=b"[")[0] == 400
    assert caller.ask("PATCH", body=[])[0] == 400
    assert caller.ask("PATCH", body={}, media="application/json")[0] == 415
    assert caller.ask("PATCH", body={"metadata": {"uid": "another"}})[0] == 409
    assert caller.ask("PATCH", body={"data": {"a/b": "1"}})[0] == 422
    status, answer = caller.ask("PATCH", body={"data": {"big": "x" * 3 * MiB}})
    assert (status, answer["message"]) == (413, f"Request entity too large: limit is {3 * MiB}")


def test_a_config_map_over_one_mebibyte_of_values_is_refused(caller):
    """ValidateConfigMap counts values, not keys; binary ones decoded."""
    half = "é" * (MiB // 4)
    whole = {"data": {"a": half}, "binaryData": {"b": base64.b64encode(b"\0" * (MiB // 2)).decode()}}
    assert caller.ask("PATCH", body=whole)[0] == 200
    status, answer = caller.ask("PATCH", body={"data": {"c": "1"}})
    assert (status, answer["reason"]) == (422, "Invalid")
    assert answer["message"] == (
        f'ConfigMap "theirs" is invalid: []: Too long: may not be more than {MiB} bytes'
    )


def test_an_immutable_config_map_cannot_change(caller):
    assert caller.ask("PATCH", body={"immutable": True})[0] == 200
    assert caller.ask("PATCH", body={"immutable": True, "data": {"a": "1"}})[0] == 200  # nothing new
    for patch in ({"data": {"a": "2"}}, {"data": {"b": ""}}, {"immutable": False}, {"data": None}):
        status, answer = caller.ask("PATCH", body=patch)
        assert status == 422
        assert "field is immutable when `immutable` is set" in answer["message"]


def test_annotations_over_their_limit_are_refused(store):
    fits = {"a": "x" * (262_144 - 1)}
    store.create(CONFIG_MAPS, {"metadata": {"name": "fits", "annotations": fits}})
    with pytest.raises(ObjectTooLargeError, match="annotations: Too long: may not be more than 262144"):
        store.create(CONFIG_MAPS, {"metadata": {"name": "over", "annotations": {**fits, "b": ""}}})


def test_a_key_in_data_and_binary_data_is_refused(store):
    with pytest.raises(ClusterError, match="duplicate"):
        store.create(CONFIG_MAPS, {"metadata": {"name": "x"}, "data": {"a": ""}, "binaryData": {"a": ""}})


def test_dependents_of_a_deleted_owner_are_deleted_transitively(store):
    def owned_by(name, owner, kind=CONFIG_MAPS):
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": owner["metadata"]["uid"]}
        return store.create(kind, {"metadata": {"name": name, "ownerReferences": [reference]}})

    first = store.create(CONFIG_MAPS, {"metadata": {"name": "first"}})
    second = owned_by("second", first)
    owned_by("third", second, ROLES)
    stays = store.create(CONFIG_MAPS, {"metadata": {"name": "stays"}})
    store.delete(CONFIG_MAPS, "default", "first")
    assert [config_map["metadata"]["name"] for config_map in store.list(CONFIG_MAPS)] == [
        stays["metadata"]["name"]
    ]
    with pytest.raises(NotFoundError):
        store.get(ROLES, "default", "third")


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(names, names, names, names, names)
def test_a_token_is_read_back(namespace, account, pod, uid, audience):
    token = tokens.Token(
        namespace=namespace, service_account=account, pod=pod, pod_uid=uid, audience=audience
    )
    text = tokens.make(token)
    assert text.isascii()
    assert tokens.read(text) == token


@given(st.one_of(st.text(), st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode())))
def test_text_that_is_no_token_is_none(text):
    assert tokens.read(text) is None
    assert tokens.read(tokens.PREFIX + text) is None


TOKEN = {
    "name": "token",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                }
            },
        ]
    },
}
PLACE = "/var/run/secrets/kubernetes.io/serviceaccount"


def test_only_containers_that_mount_a_token_find_token_and_server(store, kubelet):
    grant(store, resourceNames=["theirs"], verbs=["patch"])
    store.create(CONFIG_MAPS, {"metadata": {"name": "theirs"}})
    script = (
        "import http.client, os\n"
        f"token = open('{PLACE}/token').read(); namespace = open('{PLACE}/namespace').read()\n"
        "where = (os.environ['KUBERNETES_SERVICE_HOST'], os.environ['KUBERNETES_SERVICE_PORT'])\n"
        "assert os.environ['RESULTSFW_API_SCHEME'] == 'http'\n"
        "c = http.client.HTTPConnection(*where)\n"
        "head = {'Authorization': f'Bearer {token}', 'Content-Type': 'application/merge-patch+json'}\n"
        "path = f'/api/v1/namespaces/{namespace}/configmaps/theirs'\n"
        'c.request(\'PATCH\', path, \'{"data": {"a": "1"}}\', head)\n'
        "print(c.getresponse().status, flush=True)\n"
    )
    mount = {"name": "token", "mountPath": PLACE, "readOnly": True}
    sidecar = {
        "name": "sidecar-x",
        "image": "python:3.11",
        "command": ["python3", "-c", script],
        "volumeMounts": [mount],
    }
    pod = make_pod(f"cat {PLACE}/token", sidecars=(sidecar,), serviceAccountName="builder")
    pod["spec"]["volumes"].append(TOKEN)
    store.create(PODS, pod)
    await_pod(store, "run-pod", over)
    assert log_of(store, "run-pod", "sidecar-x") == "200\n"
    assert store.get(CONFIG_MAPS, "default", "theirs")["data"] == {"a": "1"}
    assert tokens.PREFIX not in log_of(store, "run-pod", "step-s0")


def test_a_token_for_another_audience_starts_no_server(store, kubelet):
    volume = {
        "name": "token",
        "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "results"}}]},
    }
    sidecar = {
        "name": "sidecar-x",
        "image": "busybox:1",
        "command": ["sh", "-c", 'cat /secret/token; echo; echo "<$KUBERNETES_SERVICE_HOST>"'],
        "volumeMounts": [{"name": "token", "mountPath": "/secret"}],
    }
    pod = make_pod("true", sidecars=(sidecar,))
    pod["spec"]["volumes"].append(volume)
    made = store.create(PODS, pod)
    await_pod(store, "run-pod", over)
    text, where = log_of(store, "run-pod", "sidecar-x").splitlines()
    assert tokens.read(text) == tokens.token_of(made, "results")
    assert (tokens.read(text).service_account, where) == ("default", "<>")
