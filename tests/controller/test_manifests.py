"""The manifests of ``config/`` grant only what is needed, and are what `kubectl` applies."""

import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from resultsfw import images
from resultsfw.controller import permissions
from resultsfw.controller.manifests import Choices, backends_with_rights, flags_patch, kind_of, load, plan_of
from resultsfw.core import ResultsManager
from resultsfw.errors import InputError
from resultsfw.tekton.taskrun.settings import settings_of

CONFIG = Path(__file__).parents[2] / "config"
OPT_INS = [f"backends/{backend}" for backend in backends_with_rights()]
RUN_CHECKS = "enable-run-checks-of-results-server"
COSCHEDULING = "enable-coscheduling"
LOG_ACCESS = "enable-log-access-to-controller"
ENCRYPTION = "enable-encryption"
ON_POSTGRESQL = "results-server-on-postgresql"
SIGNING = "enable-signing"
SIGNING_IDENTITIES = "signing-identities"
"""Not for the controller: for the controller manager of SPIRE."""
PATCHES = {ON_POSTGRESQL, SIGNING}
"""Components of patches, which cannot be applied alone."""
DISRUPTION = "disruption-budget"
NETWORK = "network-policies"
ADMISSION = "admission-policy"
EVERYTHING = [
    "",
    "crds",
    COSCHEDULING,
    ENCRYPTION,
    LOG_ACCESS,
    RUN_CHECKS,
    "monitoring",
    DISRUPTION,
    NETWORK,
    ADMISSION,
    *OPT_INS,
]


def is_of_pods(role):
    """Whether a role is for the pods of runs, and not for the controller."""
    name = role["metadata"]["name"]
    return name.endswith("-pods") and not name.startswith("resultsfw-controller")


def granted(objects):
    """Every right that the roles grant the controller, as (namespace, verb, resource, name or "")."""
    found = []
    for item in objects:
        if item["kind"] in ("Role", "ClusterRole") and not is_of_pods(item):
            for rule in item["rules"]:
                assert not rule.keys() - {"apiGroups", "resources", "resourceNames", "verbs"}
                found += [
                    (item["metadata"].get("namespace", ""), verb, f"{resource}.{group}".rstrip("."), name)
                    for verb in rule["verbs"]
                    for name in rule.get("resourceNames", [""])
                    for resource in rule["resources"]
                    for group in rule["apiGroups"]
                ]
    return found


def needed(needs):
    return [
        (
            need.namespace,
            need.verb,
            need.kind.plural
            + (f"/{need.subresource}" if need.subresource else "")
            + (f".{need.kind.group}" if need.kind.group else ""),
            need.name,
        )
        for need in needs
    ]


def of_kind(objects, kind):
    return [item for item in objects if item["kind"] == kind]


def kustomized(folder):
    built = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(built.stdout))


def test_the_roles_grant_what_the_controller_needs_and_nothing_more():
    """Guarantee 8: least privilege."""
    rights = granted(load(""))
    assert len(set(rights)) == len(rights)
    needs = permissions.controller_permissions("", "resultsfw")
    assert set(rights) == set(needed(needs))


def test_configmaps_and_the_lease_are_granted_by_name():
    """Guarantee 8: least privilege. Nothing of ours is in Tekton's namespace."""
    rights = [
        right for right in granted(load("")) if right[2] in ("configmaps", "leases.coordination.k8s.io")
    ]
    assert {right for right in rights if not right[3]} == {
        ("", "create", "configmaps", ""),
        ("resultsfw", "create", "leases.coordination.k8s.io", ""),
    }
    assert {item["metadata"].get("namespace", "resultsfw") for item in load("")} == {"resultsfw"}


def test_log_access_is_an_opt_in_role_that_grants_what_the_backend_declares():
    """Guarantee 8: least privilege."""
    manager = ResultsManager.from_flags({"results-from": "sidecar-logs"})
    declared = manager.backend("sidecar-logs").capabilities.permissions
    needs = permissions.backend_permissions("sidecar-logs", declared)
    assert set(granted(load(LOG_ACCESS))) == set(needed(needs))


def test_coscheduling_is_an_opt_in_role_that_grants_what_its_modes_need():
    """Guarantee 8: least privilege."""
    needs = permissions.coscheduling_permissions("workspaces")
    assert set(granted(load(COSCHEDULING))) == set(needed(needs))
    assert permissions.coscheduling_permissions("disabled") == []
    applied = plan_of(Choices(coscheduling=True)).applied
    assert len(applied) == len(plan_of(Choices()).applied) + len(load(COSCHEDULING))


@pytest.mark.parametrize(("mode", "left"), [("workspaces", "disabled"), ("pipelineruns", "pipelineruns")])
def test_without_the_right_only_a_mode_chosen_on_purpose_stays(mode, left):
    """``workspaces`` is what Tekton's own ConfigMap says; an install without the right must go on."""

    class Server:
        def can(self, _verb, kind, _namespace, _subresource="", *, name=""):
            assert not name
            return kind.kind != "StatefulSet"

    settings, lines = permissions.usable_settings(Server(), settings_of({"coschedule": mode}, {}))
    assert settings.coscheduling.mode == left
    assert not settings.policies.one_claim
    assert any("create statefulsets.apps" in line and "enable-coscheduling" in line for line in lines)


@pytest.mark.parametrize("name", backends_with_rights())
def test_the_opt_in_role_of_a_backend_grants_what_it_declares(name):
    """Guarantee 8: least privilege."""
    declared = ResultsManager.from_flags({"results-from": name}).backend(name).capabilities.permissions
    needs = permissions.backend_permissions(name, declared)
    needs = [need for need in needs if need.fix != permissions.LOG_ACCESS]  # has a role of its own
    rights = granted(load(f"backends/{name}"))
    assert (set(rights), len(rights)) == (set(needed(needs)), len(set(rights)))
    assert all(f"install --backend {name}" in need.fix for need in needs)


@pytest.mark.parametrize("name", ["custom-resource", "self-update"])
def test_the_policy_is_applied_before_pods_are_granted_anything(name):
    """Guarantee 8: least privilege. `kubectl apply` takes the files in this order, too."""
    first, second, *rest = load(f"backends/{name}")
    assert (first["kind"], second["kind"]) == (
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    )
    assert any(is_of_pods(need) for need in rest)


@pytest.mark.parametrize("name", ["object-store", "oci", "pvc"])
def test_encryption_is_an_opt_in_role_that_grants_what_its_option_needs(name):
    """Guarantee 8: least privilege."""
    declared = ResultsManager.from_flags({}).backend(name).capabilities.permissions
    without = needed(permissions.backend_permissions(name, declared, {"encryption": None}))
    needs = permissions.backend_permissions(name, declared, {"encryption": {"keys": "secret-file"}})
    assert set(granted(load(ENCRYPTION))) == set(needed(needs)) - set(without)
    [extra] = [need for need in needs if need.kind.plural == "secrets"]
    assert f"config/{ENCRYPTION}/" in extra.fix


def test_granting_permissions_of_a_backend_without_any_is_an_input_error():
    with pytest.raises(InputError, match="backends that have: config-map"):
        plan_of(Choices(backends=("sidecar-logs",)))


@pytest.mark.parametrize("folder", ["", COSCHEDULING, ENCRYPTION, LOG_ACCESS, *OPT_INS])
def test_every_role_is_bound_to_the_controllers_account(folder):
    objects = load(folder)
    account = {"kind": "ServiceAccount", "name": "resultsfw-controller", "namespace": "resultsfw"}
    assert folder or account["name"] in [
        item["metadata"]["name"] for item in of_kind(objects, "ServiceAccount")
    ]
    for kind in ("Role", "ClusterRole"):
        roles = {
            (item["metadata"].get("namespace"), item["metadata"]["name"])
            for item in of_kind(objects, kind)
            if not is_of_pods(item)
        }
        bound = set()
        for item in of_kind(objects, f"{kind}Binding"):
            if (
                item["roleRef"]["name"] == "system:auth-delegator"
            ):  # the cluster's own, and not the controller's
                assert item["subjects"] == [{**account, "name": "resultsfw-results-server"}]
                continue
            if is_of_pods(item):  # an admission policy limits each pod to what is its own
                assert of_kind(objects, "ValidatingAdmissionPolicyBinding")
                continue
            assert item["subjects"] == [account]
            assert item["roleRef"]["kind"] == kind
            bound.add((item["metadata"].get("namespace"), item["roleRef"]["name"]))
        assert bound == roles


@pytest.mark.parametrize("folder", [DISRUPTION, NETWORK])
def test_budgets_and_policies_select_the_projects_pods(folder):
    choice = folder.replace("-", "_")
    objects = load(folder)
    assert [item for item in plan_of(Choices(**{choice: True})).applied if item in objects] == objects
    pods = [
        item["spec"]["template"]["metadata"]["labels"]
        for item in of_kind([*load(""), *load("backends/http")], "Deployment")
    ]
    for item in objects:
        selector = item["spec"].get("selector") or item["spec"]["podSelector"]
        assert sum(selector["matchLabels"].items() <= labels.items() for labels in pods) == 1


def test_the_controller_receives_only_requests_for_its_metrics():
    """Guarantee 8: least privilege."""
    [policy] = [item for item in load(NETWORK) if item["metadata"]["name"] == "resultsfw-controller"]
    [rule] = policy["spec"]["ingress"]
    [container] = of_kind(load(""), "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    assert [port["port"] for port in rule["ports"]] == [port["name"] for port in container["ports"]]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"resultsfw.dev/scrapes-metrics": "true"}}}]


def test_the_opt_in_role_of_the_results_server_grants_only_get_of_taskruns():
    """Guarantee 8: least privilege."""
    objects = load(RUN_CHECKS)
    assert granted(objects) == [("", "get", "taskruns.tekton.dev", "")]
    [role] = of_kind(objects, "ClusterRole")
    [binding] = of_kind(objects, "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    account = {"kind": "ServiceAccount", "name": "resultsfw-results-server", "namespace": "resultsfw"}
    assert binding["subjects"] == [account]


def test_the_results_servers_probes_use_a_port_without_a_service():
    objects = load("backends/http")
    [deployment] = of_kind(objects, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == "status"
        assert "scheme" not in container[probe]["httpGet"]
    [service] = of_kind(objects, "Service")
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["https"]
    [policy] = of_kind(objects, "NetworkPolicy")
    open_to_all = [
        port["port"]
        for rule in policy["spec"]["ingress"]
        for port in rule["ports"]
        if {"namespaceSelector": {}} in rule["from"]
    ]
    assert open_to_all == ["https"]
    from resultsfw.server.process import Options  # noqa: PLC0415

    options = Options(store="file:///x")
    assert (options.listen, options.listen_status) == (f":{ports['https']}", f":{ports['status']}")


def test_the_results_servers_options_are_options():
    from resultsfw.cli.commands import resultsfw  # noqa: PLC0415
    from resultsfw.server.process import KEEP_DAYS, LIMIT, NAMESPACE_BYTES  # noqa: PLC0415

    [deployment] = of_kind(load("backends/http"), "Deployment")
    command, *arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    with resultsfw.commands[command].make_context(command, arguments) as context:
        given = context.params
        assert (given["limit_bytes"], given["namespace_bytes"], given["keep_days"]) == (
            LIMIT,
            NAMESPACE_BYTES,
            KEEP_DAYS,
        )


@pytest.mark.parametrize("folder", EVERYTHING)
def test_loaded_manifests_equal_what_kubectl_applies(folder):
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    documents = kustomized(CONFIG / folder)
    if not (CONFIG / folder / "kustomization.yaml").exists():  # then kubectl apply -f takes the folder, too
        files = sorted((CONFIG / folder).glob("*.yaml"))
        assert [obj for file in files for obj in yaml.safe_load_all(file.read_text())] == load(folder)
    key = lambda item: (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])  # noqa: E731
    assert sorted(load(folder), key=key) == sorted(documents, key=key)


def test_overlays_move_everything_to_a_namespace_and_rename_it(tmp_path):
    """What exists once in a cluster, such as an admission policy, is added by an overlay without prefix."""
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    shutil.copytree(CONFIG, tmp_path / "config")
    once = ["backends/custom-resource", "backends/self-update", SIGNING_IDENTITIES]
    components = [name for name in EVERYTHING if name not in ("", "crds", *once)]
    for name, overlay in {
        "inner": {
            "namespace": "team-x",
            "namePrefix": "x-",
            "resources": ["../config"],
            "components": [f"../config/{name}" for name in (*components, *PATCHES)],
        },
        "outer": {"resources": ["../inner"], "components": [f"../config/{name}" for name in once]},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    objects = kustomized(tmp_path / "outer")
    assert len(objects) > 40
    names = {f"x-resultsfw-{name}" for name in ("controller", "results-server")}
    for item in objects:
        assert item["metadata"].get("namespace", "team-x") == "team-x"
        for subject in item.get("subjects", ()):
            if subject["kind"] == "ServiceAccount":
                assert (subject["namespace"], subject["name"] in names) == ("team-x", True)
            else:
                assert subject["name"] == "system:serviceaccounts"
    assert "resultsfw-custom-resource" in {
        item["metadata"]["name"] for item in of_kind(objects, "ValidatingAdmissionPolicy")
    }
    [claim] = [
        volume["secret"]["secretName"]
        for item in of_kind(objects, "Deployment")
        for volume in item["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "tls"
    ]
    assert claim == "resultsfw-results-server-tls"  # the operator's own Secret is not renamed
    [variable] = [
        env
        for deployment in of_kind(objects, "Deployment")
        for env in deployment["spec"]["template"]["spec"]["containers"][0].get("env", [])
        if env["name"] == "POD_NAMESPACE"
    ]
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}


def test_the_component_replaces_the_results_servers_volume_by_a_database(tmp_path):
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    from resultsfw.cli.commands import resultsfw  # noqa: PLC0415

    for folder in ("backends/http", ON_POSTGRESQL):
        shutil.copytree(CONFIG / folder, tmp_path / folder)
    overlay = {"components": ["backends/http", ON_POSTGRESQL]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    objects = kustomized(tmp_path)
    assert of_kind(objects, "PersistentVolumeClaim") == []
    [deployment] = of_kind(objects, "Deployment")
    [usual] = of_kind(load("backends/http"), "Deployment")
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]) == (2, {"type": "RollingUpdate"})
    [container] = spec["template"]["spec"]["containers"]
    volumes = {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
    assert volumes == {mount["name"] for mount in container["volumeMounts"]} == {"tls", "database"}
    command, *arguments = container["args"]
    with resultsfw.commands[command].make_context(command, arguments) as context:
        assert context.params["store"].startswith("postgresql://resultsfw@")
        assert "sslmode" not in context.params["store"]  # so that the default verifies the server's name
        assert Path(context.params["store_password_file"]) == Path("/etc/resultsfw/database/password")
    [budget] = of_kind(objects, "PodDisruptionBudget")
    assert budget["spec"]["selector"] == spec["selector"]
    kept = usual["spec"]["template"]["spec"]["containers"][0]
    assert {**container, "args": 0, "volumeMounts": 0} == {**kept, "args": 0, "volumeMounts": 0}


def test_the_component_gives_the_controller_the_socket_as_the_installation_does(tmp_path):
    plan = plan_of(Choices(signing=True))
    [usual] = of_kind(plan_of(Choices()).applied, "Deployment")
    [deployment] = of_kind(plan.applied, "Deployment")
    spec, without = (item["spec"]["template"]["spec"] for item in (deployment, usual))
    volume = {"name": "spiffe-workload-api", "csi": {"driver": "csi.spiffe.io", "readOnly": True}}
    assert spec["volumes"] == [*without["volumes"], volume]
    [container], [unmounted] = spec["containers"], without["containers"]
    mount = {"name": "spiffe-workload-api", "mountPath": "/spiffe-workload-api", "readOnly": True}
    assert container == {**unmounted, "volumeMounts": [*unmounted["volumeMounts"], mount]}
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    shutil.copytree(CONFIG, tmp_path / "config")
    overlay = {"resources": ["config"], "components": [f"config/{SIGNING}"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    [patched] = of_kind(kustomized(tmp_path), "Deployment")
    key = lambda item: item.get("mountPath", item.get("name"))  # noqa: E731
    built = patched["spec"]["template"]["spec"]
    assert sorted(built["volumes"], key=key) == sorted(spec["volumes"], key=key)
    mounts = built["containers"][0]["volumeMounts"]
    assert sorted(mounts, key=key) == sorted(container["volumeMounts"], key=key)


def test_every_folder_of_config_is_tested():
    folders = {path.name for path in CONFIG.iterdir() if path.is_dir()}
    assert folders == {*EVERYTHING, "base", "backends", SIGNING_IDENTITIES, *PATCHES} - {"", *OPT_INS}


def test_every_object_has_its_namespace_and_label():
    for item in (obj for folder in EVERYTHING for obj in load(folder)):
        cluster_wide = (
            "Namespace",
            "ClusterRole",
            "ClusterRoleBinding",
            "CustomResourceDefinition",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        )
        assert ("namespace" in item["metadata"]) is (item["kind"] not in cluster_wide)
        labels = item["metadata"]["labels"]
        assert {key for key in labels if key.startswith("app.")} == {
            f"app.kubernetes.io/{key}"
            for key in ("name", "instance", "version", "component", "part-of", "managed-by")
        }
        assert labels["app.kubernetes.io/part-of"] == "resultsfw"
        assert labels["app.kubernetes.io/version"] == version("resultsfw")


def test_the_deployment_conforms_to_the_restricted_pod_security_level():
    (namespace,) = of_kind(load(""), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    (deployment,) = of_kind(load(""), "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["readOnlyRootFilesystem"] is True
    assert container["resources"].keys() == {"requests", "limits"}


def test_the_deployments_options_are_options():
    from resultsfw.cli.commands import resultsfw  # noqa: PLC0415

    choices = Choices(namespace="other", options={"sidecar-image": "s", "nop-image": "n"})
    (deployment,) = of_kind(plan_of(choices).applied, "Deployment")
    command, *arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    with resultsfw.commands[command].make_context(command, arguments) as context:
        assert context.params["lease_namespace"] == "$(POD_NAMESPACE)"
        assert context.params["namespace"] == "other"
        assert (context.params["sidecar_image"], context.params["nop_image"]) == ("s", "n")


def container_of(deployment):
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container


def test_the_manifests_name_images_without_a_registry_until_one_is_chosen():
    names = {images.CONTROLLER, images.RESULTS_SERVER}
    deployments = of_kind([*load(""), *load("backends/http")], "Deployment")
    assert {container_of(deployment)["image"] for deployment in deployments} == names
    assert set(plan_of(Choices(backends=("http",))).images) == names
    plan = plan_of(Choices(backends=("http",), image_registry="r.example:5000/team/"))
    assert set(plan.images) == {name.replace(images.NO_REGISTRY, "r.example:5000/team") for name in names}
    controller = container_of(plan.applied[-1])
    assert {"name": images.REGISTRY_VARIABLE, "value": "r.example:5000/team"} in controller["env"]
    assert plan_of(Choices(image_registry="r.example", controller_image="mine:1")).images == ["mine:1"]


@pytest.mark.parametrize(
    "registry", ["https://r.example", "r.example/A", "r.example:x", "-", "r/../x", "r e"]
)
def test_an_invalid_registry_is_refused(registry):
    with pytest.raises(InputError, match="is not a registry"):
        plan_of(Choices(image_registry=registry))


def test_the_servicemonitor_scrapes_the_port_of_the_process():
    (monitor,) = of_kind(load("monitoring"), "ServiceMonitor")
    (service,) = of_kind(load(""), "Service")
    (deployment,) = of_kind(load(""), "Deployment")
    labels = monitor["spec"]["selector"]["matchLabels"]
    assert labels.items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    assert monitor["spec"]["endpoints"][0]["port"] == port["name"]
    (own,) = deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert port["targetPort"] == own["name"]


def test_the_podmonitor_scrapes_the_status_port_of_the_results_server():
    (monitor,) = of_kind(load("monitoring"), "PodMonitor")
    (deployment,) = of_kind(load("backends/http"), "Deployment")
    template = deployment["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports


# What an operator chooses.


def test_the_default_plan_is_the_base_with_its_deployment_last():
    plan = plan_of(Choices())
    assert not plan.made
    assert list(plan.applied) == sorted(load(""), key=lambda item: item["kind"] == "Deployment")


def test_tektons_namespace_can_be_another():
    plan = plan_of(Choices(namespace="ci", crds=True, log_access=True))
    everything = [*plan.made, *plan.applied]
    assert "tekton-pipelines" not in {
        item["metadata"].get(key) for item in everything for key in ("name", "namespace")
    }
    assert [(item["kind"], item["metadata"]["name"]) for item in plan.made] == [
        ("Namespace", "ci"),
        ("ConfigMap", "feature-flags"),
    ]
    keys = [
        (kind_of(item), item["metadata"].get("namespace"), item["metadata"]["name"]) for item in plan.applied
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("choices", "subject"),
    [
        ({"namespace": "Big"}, "--namespace"),
        ({"namespace": ""}, "--namespace"),
        ({"namespace": "a" * 64}, "--namespace"),
        ({"controller_image": "a b"}, "--controller-image"),
        ({"options": {"sidecar-image": "x\ny"}}, "--sidecar-image"),
        ({"options": {"nop-image": "--qps"}}, "--nop-image"),
    ],
)
def test_a_plan_with_invalid_choices_is_refused(choices, subject):
    with pytest.raises(InputError) as caught:
        plan_of(Choices(**choices))
    assert caught.value.subject == subject


def test_the_flags_are_printed_as_a_shell_command():
    plan = plan_of(Choices(flags={"results-from": "sidecar-logs", "max-result-size": "9000"}))
    assert flags_patch(plan) == (
        "kubectl patch configmap feature-flags -n tekton-pipelines "
        """-p '{"data":{"results-from":"sidecar-logs","max-result-size":"9000"}}'"""
    )
    assert flags_patch(plan_of(Choices())) == ""


def test_kinds_have_their_plural():
    for item in (obj for folder in EVERYTHING for obj in load(folder)):
        assert not item["kind"].endswith(("s", "x"))
        assert kind_of(item).plural == re.sub("policys$", "policies", item["kind"].lower() + "s")


def test_the_deployment_reads_an_optional_secret_for_object_stores():
    [deployment] = of_kind(load(""), "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "resultsfw-object-store", "optional": True}}]
