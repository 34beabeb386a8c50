"""Missing permissions, flags, CRDs and images are reported with the manifest that provides them."""

import copy
import json
from types import SimpleNamespace

import pytest

from resultsfw import images
from resultsfw.cluster import CONFIG_MAPS
from resultsfw.controller import cluster_checks, doctor, permissions
from resultsfw.controller.manifests import kind_of, load
from resultsfw.core import ResultsManager
from resultsfw.errors import ForbiddenError, NotFoundError, UnavailableError
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS, TASKRUNS

IMAGES = {"entrypoint": "tekton/entrypoint:1", "scripts": "busybox"}


def crd(*, managed_by=True, version="v1"):
    spec = {"properties": {"managedBy": {}} if managed_by else {}}
    schema = {"openAPIV3Schema": {"properties": {"spec": spec}}}
    return {"spec": {"versions": [{"name": version, "served": True, "schema": schema}]}}


class Fake:
    """A cluster in which all is well but what a test takes away."""

    def __init__(self, flags=None):
        self.denied = set()
        self.asked = set()
        self.objects = {
            ("configmaps", "feature-flags"): {"data": flags or {}},
            **{
                ("customresourcedefinitions", f"{kind}.tekton.dev"): crd()
                for kind in ("taskruns", "tasks", "pipelineruns", "pipelines")
            },
        }
        self.slices = []
        self.nodes = [
            node("amd64", "docker.io/tekton/entrypoint:1", "docker.io/library/busybox:latest"),
        ]

    def get(self, kind, _namespace, name):
        found = self.objects.get((kind.plural, name))
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise NotFoundError("there is none")
        return found

    def list(self, kind, _namespace=None):
        if kind.plural == "endpointslices":
            return self.slices
        if isinstance(self.nodes, Exception):
            raise self.nodes
        return self.nodes

    def can(self, verb, kind, _namespace, subresource="", *, name=""):
        self.asked.add((verb, kind.plural, name))
        if isinstance(self.denied, Exception):
            raise self.denied
        return f"{verb} {kind.plural}" + (f"/{subresource}" if subresource else "") not in self.denied


def node(architecture, *images):
    info = {"operatingSystem": "linux", "architecture": architecture}
    return {"status": {"nodeInfo": info, "images": [{"names": [image]} for image in images]}}


def examine(cluster, **more):
    given = {"namespace": "ns", "lease_namespace": "ns", "images": IMAGES, **more}
    return doctor.examine(cluster, **given)


def bad(found):
    return {finding.what: finding for finding in found if finding.well is False}


def test_a_complete_installation_has_no_missing_finding():
    found = examine(Fake())
    assert not bad(found)
    assert all(finding.well for finding in found)


@pytest.mark.parametrize(
    ("options", "named"),
    [("", "csi.spiffe.io"), ("csi-driver: upstream.csi.spiffe.io", "upstream.csi.spiffe.io")],
)
def test_the_driver_without_which_pods_that_sign_never_start_is_checked(options, named):
    cluster = Fake({"extensions": "signed", "config.signed": f"trust-domain: example.org\n{options}"})
    what = f"CSIDriver {named}"
    assert "stay Pending" in bad(examine(cluster))[what].detail
    cluster.objects["csidrivers", named] = {}
    assert what not in bad(examine(cluster))
    cluster.objects["csidrivers", named] = ForbiddenError("no")
    assert [finding.well for finding in examine(cluster) if finding.what == what] == [None]


def test_the_server_of_a_backend_must_have_a_ready_pod():
    cluster = Fake({"results-from": "http", "allowed-results-from": "http"})
    what = "Service resultsfw/resultsfw-results-server"
    assert "pods cannot deliver" in bad(examine(cluster))[what].detail
    cluster.objects["services", "resultsfw-results-server"] = {}
    labels = {"kubernetes.io/service-name": "resultsfw-results-server"}
    cluster.slices = [
        {"metadata": {}, "endpoints": [{}]},
        {"metadata": {"labels": labels}, "endpoints": [{"conditions": {"ready": False}}]},
    ]
    assert "no ready pod" in bad(examine(cluster))[what].detail
    cluster.slices[1]["endpoints"].append({"conditions": {"ready": True}})
    assert what not in bad(examine(cluster))
    cluster.objects["services", "resultsfw-results-server"] = ForbiddenError("no")
    assert [finding.well for finding in examine(cluster) if finding.what == what] == [None]


def test_a_server_elsewhere_is_not_asked():
    cluster = Fake({"results-from": "http", "config.http": "url: https://results.example.org"})
    assert not [finding for finding in examine(cluster) if finding.what.startswith("Service ")]


def test_identities_that_nobody_gives_to_pods_that_sign_are_a_warning():
    def identities():
        return {
            finding.what.removeprefix("ClusterSPIFFEID resultsfw-"): (finding.well, finding.doubtful)
            for finding in examine(cluster)
            if "SPIFFEID" in finding.what
        }

    cluster = Fake({"extensions": "signed", "config.signed": "trust-domain: example.org"})
    cluster.objects["clusterspiffeids", "resultsfw-signer"] = {"status": {"stats": {}}}
    cluster.objects["clusterspiffeids", "resultsfw-controller"] = {}
    cluster.objects["clusterspiffeids", "resultsfw-sidecar"] = ForbiddenError("no")
    assert identities() == {"signer": (True, False), "controller": (True, True), "sidecar": (None, False)}
    del cluster.objects["clusterspiffeids", "resultsfw-signer"]
    assert identities()["signer"] == (True, True)
    entries = "trust-domain: a.b\nentries: {server: 's:1', parent-id: 'spiffe://a.b/nodes'}"
    cluster.objects["configmaps", "feature-flags"]["data"]["config.signed"] = entries
    assert not identities()


def test_without_the_driver_it_is_not_asked_for():
    options = "trust-domain: example.org\nworkload-api: host-path"
    found = examine(Fake({"extensions": "signed", "config.signed": options}))
    assert not [finding for finding in found if "CSIDriver" in finding.what]


def test_a_missing_permission_of_an_extension_is_a_warning_that_says_how_to_grant_it():
    """Whether a run needs it depends on its backend."""
    cluster = Fake({"extensions": "signed", "config.signed": "trust-domain: example.org"})
    cluster.objects["csidrivers", "csi.spiffe.io"] = {}
    named = "get pods/log"
    (finding,) = [finding for finding in examine(cluster) if finding.what == named]
    assert (finding.well, finding.doubtful) == (True, False)
    assert "extension signed" in finding.detail
    cluster.denied = {named}
    found = examine(cluster)
    (finding,) = [finding for finding in found if finding.what == named]
    assert (finding.well, finding.doubtful) == (True, True)
    assert "config/enable-log-access-to-controller/" in finding.detail
    assert not bad(found)


def test_the_check_at_the_start_names_what_an_extension_lacks():
    flags = {"extensions": "signed", "config.signed": "trust-domain: example.org"}
    cluster = Fake()
    with ResultsManager.from_flags(flags) as core:
        assert permissions.missing_for_plugins(cluster, core) == []
        cluster.denied = {"get pods/log"}
        (line,) = permissions.missing_for_plugins(cluster, core)
    assert line.startswith("get pods/log: not allowed, but needed extension signed: ")


def test_extensions_are_reported():
    flags = {"extensions": "redact", "config.redact": "patterns: {a: b}"}
    (finding,) = [finding for finding in examine(Fake(flags)) if finding.what == "extension redact"]
    assert (finding.well, finding.detail) == (True, "loaded; implements extract")
    (bad_one,) = bad(examine(Fake({"extensions": "redakt"}))).values()
    assert 'did you mean "redact"?' in bad_one.detail


def test_a_missing_permission_of_the_controller_is_reported_with_its_manifest():
    cluster = Fake()
    cluster.denied.add("patch taskruns/status")
    (finding,) = bad(examine(cluster)).values()
    assert finding.what == "patch taskruns.tekton.dev/status"
    assert finding.fix == permissions.BASE


def test_log_access_is_checked_only_if_the_backend_needs_it():
    cluster = Fake()
    cluster.denied.add("get pods/log")
    assert not bad(examine(cluster))
    cluster = Fake({"allowed-results-from": "sidecar-logs"})
    cluster.denied.add("get pods/log")
    (finding,) = bad(examine(cluster)).values()
    assert finding.what == "get pods/log"
    assert finding.fix == permissions.LOG_ACCESS
    assert "sidecar-logs" in finding.detail


def test_every_permission_that_a_backend_declares_is_checked():
    rights = {"create roles", "create rolebindings", "create configmaps", "patch configmaps"}
    cluster = Fake({"results-from": "config-map"})
    cluster.denied |= rights
    found = bad(examine(cluster))
    group = ".rbac.authorization.k8s.io"
    assert set(found) == {f"{right}{group}" if "role" in right else right for right in rights}
    for finding in found.values():
        assert finding.fix == (
            "resultsfw install --backend config-map, or kubectl apply -f config/backends/config-map/"
        )


@pytest.mark.parametrize("backend", ["custom-resource", "self-update"])
def test_a_missing_or_changed_admission_policy_is_reported_with_its_manifest(backend):
    """What keeps pods apart is compared with the manifest, not only looked for."""
    cluster = Fake({"results-from": backend})
    fix = f"resultsfw install --backend {backend}, or kubectl apply -f config/backends/{backend}/"
    found = bad(examine(cluster))
    names = [f"ValidatingAdmissionPolicy{kind} resultsfw-{backend}" for kind in ("", "Binding")]
    assert set(names) <= set(found)
    assert {finding.fix for finding in found.values()} == {fix}
    for obj in load(f"backends/{backend}"):
        with_defaults = {"spec": {**copy.deepcopy(obj.get("spec", {})), "added": "by the API server"}}
        cluster.objects[kind_of(obj).plural, obj["metadata"]["name"]] = with_defaults
    assert not bad(examine(cluster))
    policy = cluster.objects["validatingadmissionpolicies", f"resultsfw-{backend}"]["spec"]
    policy["validations"][0]["expression"] = "true"
    (changed,) = bad(examine(cluster)).values()
    assert "not as this version's manifests have it" in changed.detail
    cluster.objects["validatingadmissionpolicies", f"resultsfw-{backend}"] = ForbiddenError("no")
    assert not bad(examine(cluster))


def test_a_permission_that_cannot_be_checked_is_unknown():
    cluster = Fake()

    def can(*_, **_name):
        raise UnavailableError("no")

    cluster.can = can
    assert not bad(examine(cluster))


def test_configmaps_and_the_lease_are_asked_for_by_name():
    cluster = Fake()
    found = examine(cluster)
    names = {"feature-flags", "config-defaults", "config-events", "config-spire"}
    watched = {(verb, "configmaps", name) for verb in ("get", "list", "watch") for name in names}
    lease = {
        ("get", "leases", permissions.LEASE),
        ("patch", "leases", permissions.LEASE),
        ("create", "leases", ""),
    }
    assert watched | lease == {right for right in cluster.asked if right[1] in ("configmaps", "leases")} - {
        ("create", "configmaps", "")
    }
    assert any(finding.what == "watch configmaps config-spire in ns" for finding in found)


def test_without_leader_election_no_lease_is_needed():
    assert not [finding for finding in examine(Fake(), lease_namespace=None) if "leases" in finding.what]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "not found"),
        (crd(version="v1beta1"), "not v1"),
        (crd(managed_by=False), "without spec.managedBy"),
    ],
)
def test_a_missing_or_outdated_crd_is_reported(content, word):
    cluster = Fake()
    cluster.objects["customresourcedefinitions", "taskruns.tekton.dev"] = content
    (finding,) = bad(examine(cluster)).values()
    assert finding.what == "CRD taskruns.tekton.dev"
    assert word in finding.detail
    assert finding.fix


def test_embedded_status_that_the_crd_does_not_store_is_a_warning():
    def said(**flags):
        found = examine(Fake({key.replace("_", "-"): value for key, value in flags.items()}))
        return [finding.detail for finding in found if finding.doubtful]

    assert said() == []
    assert said(results_from="sidecar-logs") == []
    (pruned,) = said(embedded_status="full")
    assert "does not store status.taskRuns" in pruned
    large, pruned = said(embedded_status="both", results_from="sidecar-logs")
    assert "embedded-status is both, and results-from sidecar-logs" in large
    keeping = Fake({"embedded-status": "full"})
    schema = keeping.objects["customresourcedefinitions", "pipelineruns.tekton.dev"]["spec"]["versions"][0]
    schema["schema"]["openAPIV3Schema"]["properties"]["status"] = {
        "x-kubernetes-preserve-unknown-fields": True
    }
    assert not [finding for finding in examine(keeping) if finding.doubtful]


def test_keys_without_effect_are_warnings_and_unenforced_policies_missing():
    cluster = Fake(
        {"max-result-sise": "5000", "enforce-nonfalsifiability": "spire", "coschedule": "disabled"}
    )
    cluster.objects["configmaps", "config-events"] = {"data": {"sink": "https://host"}}
    cluster.objects["configmaps", "config-defaults"] = {"data": {"default-forbidden-env": "A"}}
    found = examine(cluster)
    doubtful = [finding.detail for finding in found if finding.doubtful]
    assert any('did you mean "max-result-size"?' in line for line in doubtful)
    assert any(line.startswith("config-events: sink has no effect here") for line in doubtful)
    assert len(doubtful) == 3
    (policy,) = [finding for finding in found if finding.what == "policy"]
    assert policy.well is False
    assert "enforce-nonfalsifiability" in policy.detail


def test_a_crd_that_may_not_be_read_is_unknown():
    cluster = Fake()
    cluster.objects["customresourcedefinitions", "taskruns.tekton.dev"] = ForbiddenError("no")
    assert cluster_checks.check_crd(cluster, TASKRUNS).well is None


def test_an_invalid_or_missing_configmap_is_reported():
    cluster = Fake({"results-from": "nonsense"})
    (finding,) = bad(examine(cluster)).values()
    assert "nonsense" in finding.detail
    (finding,) = bad(examine(Fake({"keep-pod-on-cancel": "maybe"}))).values()
    assert "keep-pod-on-cancel" in finding.detail
    cluster.objects["configmaps", "feature-flags"] = ForbiddenError("no")
    (finding,) = bad(examine(cluster)).values()
    assert "cannot be read" in finding.detail
    del cluster.objects["configmaps", "feature-flags"]
    assert "not found; the defaults" in examine(cluster)[0].detail


def test_an_image_is_ok_only_if_a_node_of_every_architecture_lists_it():
    cluster = Fake()
    cluster.nodes.append(node("arm64", "docker.io/tekton/entrypoint:1"))
    entrypoint, scripts = cluster_checks.check_images(cluster, IMAGES)
    assert entrypoint.well is True
    assert scripts.well is None
    assert "unknown for linux/arm64" in scripts.detail
    cluster.nodes = ForbiddenError("no")
    assert [finding.well for finding in examine(cluster)][-1] is None


def test_nodes_that_are_not_linux_are_ignored():
    cluster = Fake()
    cluster.nodes.append({"status": {"nodeInfo": {"operatingSystem": "windows", "architecture": "amd64"}}})
    assert all(finding.well for finding in cluster_checks.check_images(cluster, IMAGES))
    for nodes in ([], cluster.nodes[1:]):
        cluster.nodes = nodes
        (found,) = cluster_checks.check_images(cluster, IMAGES)
        assert found.well is None
        assert "no Linux node" in found.detail


def test_the_image_of_every_backend_is_checked():
    for flags, image in (
        ({"results-from": "sidecar-logs", "config.sidecar-logs": "image: x/y:1"}, "x/y:1"),
        ({"results-from": "sidecar-logs", "config.sidecar-logs": "image: mine:1"}, "mine:1"),
    ):
        (finding,) = [finding for finding in examine(Fake(flags)) if finding.what == f"image {image}"]
        assert finding.well is None  # no node lists it
    assert not [finding for finding in examine(Fake()) if "sidecar" in finding.what]


def test_an_image_without_a_registry_is_missing_unless_every_node_has_it(monkeypatch):
    monkeypatch.delenv(images.REGISTRY_VARIABLE)
    flags = {"results-from": "sidecar-logs"}
    cluster = Fake(flags)
    (finding,) = bad(examine(cluster)).values()
    assert (finding.what, "--image-registry" in finding.fix) == (f"image {images.SIDECAR}", True)
    for registry in ("r.example", "r.example:5000/team"):
        found = examine(cluster, image_registry=registry)
        assert not bad(found)
        assert f"image {registry}/sidecar:{images.VERSION}" in {finding.what for finding in found}
    cluster.nodes = [node("amd64", *IMAGES.values(), images.SIDECAR)]
    assert not bad(examine(cluster))


ACCOUNT = "system:serviceaccount:resultsfw:controller"


def as_other(**denied):
    other = Fake()
    for name in list(other.objects):
        other.objects[name] = ForbiddenError("a controller may not read that")
    other.nodes = ForbiddenError("nor that")
    other.__dict__.update(denied)
    return doctor.Subject(ACCOUNT, other)


def test_permissions_are_checked_as_the_subject():
    cluster = Fake({"results-from": "sidecar-logs"})
    cluster.denied = UnavailableError("one's own rights are not asked for")
    cluster.objects["serviceaccounts", "controller"] = {}
    found = examine(cluster, subject=as_other(denied={"get pods/log", "list taskruns"}))
    assert sorted(bad(found)) == ["get pods/log", "list taskruns.tekton.dev"]
    assert found[0].what == "ServiceAccount resultsfw/controller"
    assert {finding.what: finding.well for finding in found}["CRD taskruns.tekton.dev"] is True


def test_unreadable_objects_are_unknown_and_not_missing():
    cluster = Fake()
    for name in [*cluster.objects, ("serviceaccounts", "controller")]:
        cluster.objects[name] = ForbiddenError("no")
    cluster.nodes = ForbiddenError("no")
    found = examine(cluster, subject=as_other())
    assert not bad(found)
    assert [finding.what for finding in found if finding.well is None] == [
        "ServiceAccount resultsfw/controller",
        "ConfigMap ns/feature-flags",
        "CRD taskruns.tekton.dev",
        "CRD tasks.tekton.dev",
        "CRD pipelineruns.tekton.dev",
        "CRD pipelines.tekton.dev",
        "images",
    ]


def test_a_missing_service_account_is_reported_first():
    found = examine(Fake(), subject=as_other())
    assert "is --as correct?" in bad(found)["ServiceAccount resultsfw/controller"].detail
    assert not [
        finding
        for finding in examine(Fake(), subject=doctor.Subject("jane", Fake()))
        if "Account" in finding.what
    ]


def test_a_forbidden_impersonation_is_reported_once():
    refused = ForbiddenError('User "me" cannot impersonate resource "serviceaccounts"')
    with pytest.raises(ForbiddenError, match="you may not impersonate") as caught:
        examine(Fake(), subject=as_other(denied=refused))
    assert '"impersonate"' in caught.value.message
    for passing in (ForbiddenError("cannot create selfsubjectaccessreviews"), UnavailableError("away")):
        assert not bad(examine(Fake(), subject=doctor.Subject("jane", as_other(denied=passing).cluster)))


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("a/b:1", "docker.io/a/b:1"),
        ("ghcr.io/a/b@sha256:1", "ghcr.io/a/b@sha256:1"),
        ("localhost:5000/b", "localhost:5000/b:latest"),
    ],
)
def test_image_names_are_compared_as_the_kubelet_lists_them(name, full):
    assert cluster_checks._full(name) == full


def test_every_permission_can_be_checked():
    needs = permissions.controller_permissions("ns", "ns")
    assert len({need.what for need in needs}) == len(needs)
    assert [(need.verb, need.namespace) for need in needs if need.kind == CONFIG_MAPS] == [
        ("create", ""),
        *((verb, "ns") for _ in range(4) for verb in ("get", "list", "watch")),
    ]


def test_the_command_prints_json_and_exits_1_if_something_is_missing(monkeypatch, capsys, tmp_path):
    from resultsfw.cli import doctor as command  # noqa: PLC0415
    from resultsfw.cli import main  # noqa: PLC0415

    cluster = Fake({"results-from": "sidecar-logs"})
    cluster.denied.add("get pods/log")
    monkeypatch.setattr(command, "KubeCluster", lambda _: cluster)
    monkeypatch.setattr(command, "connect", lambda *_, **__: SimpleNamespace(close=lambda: None))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "missing: get pods/log" in out
    assert "  ok       get, list, watch taskruns.tekton.dev" in out
    assert "  missing  get pods/log" in out
    assert "kubectl apply -f config/enable-log-access-to-controller/" in out
    assert main(["doctor", "-o", "yaml"]) == 1
    assert "- what: get pods/log\n  well: false\n" in capsys.readouterr().out
    assert main(["doctor", "-o", "json"]) == 1
    assert any(
        finding["what"] == "get pods/log" and finding["well"] is False
        for finding in json.loads(capsys.readouterr().out)
    )
    cluster.denied.clear()
    assert main(["doctor"]) == 0


def test_the_command_impersonates_only_for_permissions(harness, capsys):
    from resultsfw.cli import main  # noqa: PLC0415

    harness.server.denied = {"create pods"}
    harness.server.impersonators = {ACCOUNT}
    harness.store.create(SERVICE_ACCOUNTS, {"metadata": {"name": "controller", "namespace": "resultsfw"}})
    command = ["doctor", "--kubeconfig", str(harness.kubeconfig), "-o", "json"]
    assert main([*command, "--as", ACCOUNT]) == 1
    found = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert [what for what, item in found.items() if item["well"] is False and "CRD" not in what] == [
        "create pods"
    ]
    assert harness.server.acted["selfsubjectaccessreviews"] == {ACCOUNT}
    assert harness.server.acted["configmaps"] == harness.server.acted["serviceaccounts"] == {""}
    assert main([*command, "--as", "system:admin"]) == 1
    said = capsys.readouterr().err
    assert said.startswith('error: --as: you may not impersonate "system:admin"')
    assert said.count("\n") == 1
