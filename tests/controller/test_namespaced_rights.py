"""An installation that is limited to namespaces grants there what the manifests grant everywhere."""

import dataclasses

import pytest

from resultsfw.controller.manifests import Choices, backends_with_rights, kind_of, plan_of
from resultsfw.controller.namespaced_rights import FLAGS_ROLE

WATCHED = ("team-a", "team-b")
EVERYTHING = Choices(
    log_access=True,
    coscheduling=True,
    encryption=True,
    admission_policy=True,
    backends=tuple(backends_with_rights()),
)
CLUSTER_SCOPED = {"nodes", "validatingadmissionpolicies", "validatingadmissionpolicybindings"}


def rights(objects):
    """Every right as (role, group, resource, verb), by the namespace where it is granted; "" everywhere."""
    found = {}
    for obj in objects:
        if obj["kind"] in ("Role", "ClusterRole"):
            here = found.setdefault(obj["metadata"].get("namespace", ""), set())
            here |= {
                (obj["metadata"]["name"], group, resource, verb, *rule.get("resourceNames", ()))
                for rule in obj["rules"]
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
            }
    return found


@pytest.fixture(scope="module")
def objects():
    return plan_of(dataclasses.replace(EVERYTHING, watch_namespaces=WATCHED, namespace="flags")).applied


def test_each_namespace_has_the_rights_that_the_whole_cluster_would_have(objects):
    """Guarantee 8: least privilege."""
    everywhere = rights(plan_of(EVERYTHING).applied)
    limited = rights(objects)
    whole = {right for right in everywhere[""] if right[2] in CLUSTER_SCOPED}
    flags = {right for right in everywhere[""] if right[0] == FLAGS_ROLE}
    assert limited[""] == whole
    assert limited["team-a"] == limited["team-b"] == everywhere[""] - whole - flags
    assert limited["flags"] == flags | {(FLAGS_ROLE, "", "events", "create")}
    assert limited["resultsfw"] == everywhere["resultsfw"]


def test_each_role_is_bound_where_it_is_and_to_whom_the_manifests_bind_it(objects):
    roles = {
        (obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        for obj in objects
        if obj["kind"] in ("Role", "ClusterRole")
    }
    bound = {}
    for obj in objects:
        if "roleRef" in obj and obj["roleRef"]["name"] != "system:auth-delegator":
            namespace = obj["metadata"].get("namespace", "")
            key = (obj["roleRef"]["kind"], namespace, obj["roleRef"]["name"])
            assert obj["kind"] == f"{key[0]}Binding"
            bound[key] = obj["subjects"]
    unbound = {name for _, _, name in roles - bound.keys()}
    assert unbound == {"resultsfw-self-update-pods"}  # an operator binds it
    assert bound.keys() <= roles
    for namespace in WATCHED:
        pods = bound["Role", namespace, "resultsfw-custom-resource-pods"]
        assert [subject["name"] for subject in pods] == [f"system:serviceaccounts:{namespace}"]


def test_a_team_installs_into_its_own_namespace_without_a_right_across_the_cluster():
    plan = plan_of(
        Choices(
            watch_namespaces=("team-a",), namespace="team-a", controller_namespace="team-a", log_access=True
        )
    )
    assert {obj["metadata"].get("namespace") for obj in plan.applied} == {"team-a"}
    kinds = {obj["kind"] for obj in plan.applied}
    assert kinds == {"Role", "RoleBinding", "ServiceAccount", "Service", "Deployment"}
    subjects = [subject for obj in plan.applied for subject in obj.get("subjects", ())]
    assert {(subject["name"], subject["namespace"]) for subject in subjects} == {
        ("resultsfw-controller", "team-a")
    }
    args = plan.applied[-1]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[args.index("--watch-namespaces") + 1] == "team-a"
    assert args[args.index("--namespace") + 1] == "team-a"


def test_admission_policies_are_bound_to_the_namespaces_and_read_the_flags_of_the_installation(objects):
    bindings = {
        obj["metadata"]["name"]: obj["spec"]
        for obj in objects
        if obj["kind"] == "ValidatingAdmissionPolicyBinding"
    }
    assert bindings["resultsfw-allowed-backends"]["paramRef"]["namespace"] == "flags"
    for spec in bindings.values():
        (expression,) = spec["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert expression["values"] == [*WATCHED]


def test_every_object_is_there_once(objects):
    names = [(kind_of(obj), obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in objects]
    assert len(set(names)) == len(names)
    assert objects[-1]["kind"] == "Deployment"
