"""``resultsfw install``, against an API server on loopback."""

import copy

import pytest
import yaml
from storeserver import ApiServer

from resultsfw import images
from resultsfw.cli import main
from resultsfw.cluster import CONFIG_MAPS, Kind
from resultsfw.controller.install import DEFINITIONS, DEPLOYMENTS, NAMESPACES, wait_for_rollout
from resultsfw.controller.manifests import load
from resultsfw.errors import ClusterError, NotFoundError

TEKTON = "tekton-pipelines"
ROLES = Kind("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")


class Site:
    """A server, and the command against it."""

    def __init__(self, folder, capsys):
        self.server = ApiServer()
        self.store = self.server.store
        self._capsys = capsys
        self._kubeconfig = str(self.server.kubeconfig(folder / "kubeconfig"))

    def install(self, *options):
        self.status = main(["install", "--kubeconfig", self._kubeconfig, *options])
        self.out, self.err = self._capsys.readouterr()
        return self.status

    def words(self):
        """What became of each object, by what it is."""
        return dict(line.split() for line in self.out.splitlines())

    def tekton(self, **flags):
        """Tekton is there."""
        self.store.create(NAMESPACES, {"metadata": {"name": TEKTON}})
        for name in ("taskruns", "tasks", "pipelineruns", "pipelines"):
            self.definition(f"{name}.tekton.dev")
        metadata = {"name": "feature-flags", "namespace": TEKTON, "labels": {"owner": "tekton"}}
        self.store.create(CONFIG_MAPS, {"metadata": metadata, "data": flags})

    def definition(self, name):
        self.store.create(DEFINITIONS, {"metadata": {"name": name}, "spec": {"versions": []}})

    def flags(self):
        return self.store.get(CONFIG_MAPS, TEKTON, "feature-flags").get("data", {})

    def deployment(self):
        return self.store.get(DEPLOYMENTS, "resultsfw", "resultsfw-controller")

    def untouched(self):
        return not [
            request for request in self.server.requests if request.partition(" ")[0] in ("POST", "PATCH")
        ]


@pytest.fixture
def site(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    site = Site(tmp_path, capsys)
    yield site
    site.server.down()


def test_installing_beside_tekton_twice_changes_nothing_the_second_time(site):
    site.tekton(**{"enable-api-fields": "beta"})
    before = copy.deepcopy(site.store.get(CONFIG_MAPS, TEKTON, "feature-flags"))
    assert site.install() == 0, site.err
    assert set(site.words().values()) == {"created"}
    assert "deployment.apps/resultsfw-controller" in site.words()
    assert site.store.get(CONFIG_MAPS, TEKTON, "feature-flags") == before
    with pytest.raises(NotFoundError):
        site.store.get(ROLES, "default", "resultsfw-controller-pod-log-access")
    assert site.install() == 0
    assert set(site.words().values()) == {"unchanged"}
    assert site.install("--controller-image", "mine:2") == 0
    assert [name for name, word in site.words().items() if word != "unchanged"] == [
        "deployment.apps/resultsfw-controller"
    ]
    assert site.deployment()["spec"]["template"]["spec"]["containers"][0]["image"] == "mine:2"


def test_images_without_a_registry_are_refused_before_anything_changes(site, monkeypatch):
    site.tekton()
    monkeypatch.delenv(images.REGISTRY_VARIABLE)
    assert site.install() == 2
    assert "no registry is set for controller:0.1.0: build" in site.err
    controller = ("--controller-image", "mine:1")
    assert site.install(*controller, "--results-from", "sidecar-logs") == 2
    assert "no registry is set for sidecar:0.1.0: build" in site.err
    assert site.install("--image-registry", "https://r.example") == 2
    assert site.untouched()
    assert site.install(*controller, "--results-from", "sidecar-logs", "--sidecar-image", "mine:2") == 0, (
        site.err
    )
    assert site.install("--image-registry", "r.example:5000/", "--results-from", "sidecar-logs") == 0, (
        site.err
    )
    (container,) = site.deployment()["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "r.example:5000/controller:0.1.0"
    assert {"name": images.REGISTRY_VARIABLE, "value": "r.example:5000"} in container["env"]


def test_flags_that_were_not_chosen_are_not_changed(site):
    site.tekton(**{"enable-api-fields": "beta", "max-result-size": "8192"})
    assert site.install("--results-from", "sidecar-logs") == 0, site.err
    assert site.words()["configmap/feature-flags"] == "configured"
    wanted = {"enable-api-fields": "beta", "max-result-size": "8192", "results-from": "sidecar-logs"}
    assert site.flags() == wanted
    # What an earlier call has set is not taken back by one that says nothing of it.
    assert site.install() == 0
    assert site.flags() == wanted
    assert 'allow the backend "sidecar-logs"' in " ".join(site.err.split())
    assert "--enable-log-access" in site.err
    assert (site.install("--enable-log-access"), site.err) == (0, "")
    assert site.install("--results-from", "sidecar-logs", "--max-result-size", "9000") == 0
    assert site.flags() == {**wanted, "max-result-size": "9000"}
    assert site.install("--results-from", "sidecar-logs") == 0
    assert set(site.words().values()) == {"unchanged"}


def test_a_backend_that_tekton_does_not_know_is_refused_in_its_configmap_before_anything_changes(site):
    site.tekton()
    labels = {"metadata": {"labels": {"app.kubernetes.io/part-of": "tekton-pipelines"}}}
    site.store.patch(CONFIG_MAPS, TEKTON, "feature-flags", labels)
    assert site.install("--results-from", "config-map") == 2
    assert "ConfigMap of its own (--namespace, an existing namespace)" in site.err
    assert site.untouched()
    assert site.install("--results-from", "sidecar-logs") == 0, site.err
    assert site.install("--backend", "config-map") == 0, site.err
    site.store.create(NAMESPACES, {"metadata": {"name": "mine"}})
    assert site.install("--results-from", "config-map", "--namespace", "mine") == 0, site.err


@pytest.mark.parametrize(
    ("options", "granted"),
    [
        ([], False),
        (["--results-from", "sidecar-logs"], True),
        (["--results-from", "termination-message"], False),
        (["--enable-log-access"], True),
        (["--results-from", "sidecar-logs", "--no-log-access"], False),
    ],
)
def test_log_access_is_granted_if_the_backend_needs_it_or_on_request(site, options, granted):
    site.tekton()
    assert site.install(*options) == 0, site.err
    assert (
        "clusterrole.rbac.authorization.k8s.io/resultsfw-controller-pod-log-access" in site.words()
    ) is granted


def test_objects_that_only_an_earlier_call_chose_are_named_and_stay(site):
    site.tekton()
    assert (site.install("--enable-log-access", "--watch-namespaces", TEKTON), site.err) == (0, "")
    assert site.install("--watch-namespaces", TEKTON) == 0
    role = f"resultsfw-controller-pod-log-access -n {TEKTON}"
    noted = " ".join(site.err.split())
    assert f"kubectl delete roles.rbac.authorization.k8s.io {role}" in noted
    assert noted.count("kubectl delete") == 2  # and the binding
    assert "unchanged" in site.out
    assert (site.install("--enable-log-access", "--watch-namespaces", TEKTON), site.err) == (0, "")


@pytest.mark.parametrize(
    ("options", "granted"),
    [
        ([], False),
        (["--results-from", "config-map"], True),
        (["--backend", "config-map", "--backend", "config-map"], True),
        (["--results-from", "sidecar-logs"], False),
        (["--backend", "config-map", "--backend", "custom-resource"], True),
    ],
)
def test_the_permissions_of_a_backend_are_granted_if_it_is_selected_or_on_request(site, options, granted):
    site.tekton()
    assert site.install(*options) == 0, site.err
    assert (
        "clusterrole.rbac.authorization.k8s.io/resultsfw-controller-config-map" in site.words()
    ) is granted


def test_installing_permissions_of_a_backend_without_any_is_refused(site):
    site.tekton()
    assert site.install("--backend", "sidecar-logs") == 2
    assert 'the backend "sidecar-logs" has no permissions to grant' in site.err
    assert site.untouched()


def test_flags_are_set_before_the_controller_starts(site):
    site.tekton()
    site.install("--results-from", "sidecar-logs")
    names = list(site.words())
    assert names[-2:] == ["configmap/feature-flags", "deployment.apps/resultsfw-controller"]


def test_installing_without_tekton_needs_the_crds_option(site):
    assert site.install() == 2
    assert "CRD taskruns.tekton.dev not found; install Tekton, or add --crds" in site.err
    assert site.untouched()
    assert site.install("--crds", "--results-from", "sidecar-logs") == 0, site.err
    assert site.words()["customresourcedefinition.apiextensions.k8s.io/taskruns.tekton.dev"] == "created"
    assert next(iter(site.words())) == "namespace/tekton-pipelines"
    assert site.flags() == {"results-from": "sidecar-logs"}
    site.store.patch(CONFIG_MAPS, TEKTON, "feature-flags", {"data": {"keep-pod-on-cancel": "true"}})
    assert site.install("--crds") == 0
    assert set(site.words().values()) == {"unchanged"}
    assert site.flags() == {"results-from": "sidecar-logs", "keep-pod-on-cancel": "true"}


def test_tektons_crds_are_never_replaced(site):
    site.tekton()
    assert site.install("--crds") == 2
    assert "leave --crds out" in site.err
    assert site.untouched()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--results-from", "sidecar-log"], 'did you mean "sidecar-logs"'),
        (["--max-result-size", "many"], "many"),
        (["--max-result-size", "1572865"], "more than an API object can hold"),
        (["--controller-image", "a b"], "not a valid image reference"),
        (["--namespace", "No"], "is not a valid namespace"),
        (["--namespace", "elsewhere"], "Namespace elsewhere not found"),
        (["--monitoring"], "install the Prometheus operator"),
        (["--print", "--wait", "3"], "--wait"),
    ],
)
def test_invalid_options_are_rejected_before_anything_is_changed(site, options, word):
    site.tekton()
    site.server.requests.clear()
    assert site.install(*options) == 2
    assert word in site.err
    assert site.untouched()


def test_flags_that_the_controller_would_reject_are_rejected(site):
    site.tekton(**{"missing-results": "nonsense"})
    assert site.install("--results-from", "sidecar-logs") == 2
    assert "would reject the ConfigMap" in site.err
    assert "missing-results" in site.err
    assert site.untouched()


def test_objects_that_the_api_server_rejects_are_reported_before_anything_is_changed(site):
    site.tekton()
    site.server.faults.fail("PATCH", "/clusterroles/", 403, 1)
    assert site.install() == 1
    assert "ClusterRole" in site.err
    with pytest.raises(NotFoundError):
        site.store.get(NAMESPACES, "default", "resultsfw")


def test_a_field_of_another_manager_is_a_conflict(site):
    site.tekton()
    assert site.install() == 0
    site.server.faults.fail("PATCH", "/deployments/", 409, 1)
    assert site.install("--controller-image", "mine:2") == 1
    assert "--force-conflicts" in site.err
    assert site.deployment()["spec"]["template"]["spec"]["containers"][0]["image"] != "mine:2"


def test_monitoring_installs_alerts(site):
    site.tekton()
    for name in ("podmonitors", "servicemonitors", "prometheusrules"):
        site.definition(f"{name}.monitoring.coreos.com")
    assert site.install("--monitoring") == 0, site.err
    assert site.words()["servicemonitor.monitoring.coreos.com/resultsfw-controller"] == "created"


def test_print_warns_of_images_without_a_registry(capsys, monkeypatch):
    monkeypatch.delenv(images.REGISTRY_VARIABLE)
    assert main(["install", "--print"]) == 0
    out, err = capsys.readouterr()
    assert "warning: no registry is set for controller:0.1.0" in err
    assert f"image: {images.CONTROLLER}" in out


def test_print_writes_manifests_for_kubectl(capsys):
    options = [
        "--crds",
        "--monitoring",
        "--results-from",
        "sidecar-logs",
        "--sidecar-image",
        "mine/sidecar:1",
    ]
    assert main(["install", "--print", *options]) == 0
    out, err = capsys.readouterr()
    documents = list(yaml.safe_load_all(out))
    kinds = [document["kind"] for document in documents]
    assert kinds[0] == "Namespace"
    assert kinds[-1] == "Deployment"
    assert documents[-1]["spec"]["template"]["spec"]["containers"][0]["args"][-2:] == [
        "--sidecar-image",
        "mine/sidecar:1",
    ]
    folders = ("", "crds", "enable-log-access-to-controller", "monitoring")
    assert len(documents) == sum(len(load(folder)) for folder in folders)
    # Applied by kubectl, a ConfigMap with some of the flags would remove the others.
    flags = [document for document in documents if document["metadata"]["name"] == "feature-flags"]
    assert [document.get("data") for document in flags] == [None]
    patch = """'{"data":{"results-from":"sidecar-logs"}}'"""
    command = f"kubectl patch configmap feature-flags -n tekton-pipelines -p {patch}"
    assert f"to set the flags: {command}" in err
    assert command in out


class Rollout:
    """A Deployment that comes up after some looks."""

    def __init__(self, looks):
        self.looks = looks

    def get(self, kind, namespace, name):
        assert (kind, namespace, name) == (DEPLOYMENTS, "n", "d")
        self.looks -= 1
        ready = 2 if self.looks <= 0 else 1
        condition = {"type": "Available", "status": "False", "message": "not enough replicas"}
        return {
            "metadata": {"generation": 2},
            "spec": {"replicas": 2},
            "status": {
                "observedGeneration": 2,
                "replicas": 2,
                "updatedReplicas": 2,
                "availableReplicas": ready,
                "conditions": [] if ready == 2 else [condition],
            },
        }


def test_a_rollout_is_awaited_and_its_timeout_reports_the_conditions():
    deployment = {"metadata": {"namespace": "n", "name": "d"}}
    wait_for_rollout(Rollout(3), deployment, 60, pause=lambda _: None)
    with pytest.raises(ClusterError, match="1 of 2 replicas are available; not enough replicas"):
        wait_for_rollout(Rollout(10**9), deployment, 0, pause=lambda _: None)


def test_a_rollout_that_was_not_observed_yet_is_not_finished():
    class Unseen(Rollout):
        def get(self, *asked):
            return {**super().get(*asked), "metadata": {"generation": 3}}

    with pytest.raises(ClusterError):
        wait_for_rollout(Unseen(0), {"metadata": {"namespace": "n", "name": "d"}}, 0, pause=lambda _: None)
