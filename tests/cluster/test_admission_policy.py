"""The admission policies on a real API server, bound to a namespace of the test, under names of its own."""

import copy
from contextlib import suppress

import pytest
from admission_harness import ANNOTATION, CASES, MANAGED_BY

from resultsfw.cluster import CONFIG_MAPS
from resultsfw.controller.manifests import Choices, kind_of, plan_of
from resultsfw.errors import ClusterError, NotFoundError
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

KINDS = {kind.kind: kind for kind in (TASKRUNS, PIPELINERUNS)}


@pytest.fixture
def policies(place):
    """The policies and bindings of an installation that is limited to the namespace."""
    plan = plan_of(
        Choices(admission_policy=True, watch_namespaces=(place.namespace,), namespace=place.namespace)
    )
    made = []
    for found in plan.applied:
        if not found["kind"].startswith("ValidatingAdmissionPolicy"):
            continue
        obj = copy.deepcopy(found)
        obj["metadata"] = {"name": f"{obj['metadata']['name']}-{place.namespace}", "namespace": ""}
        if "policyName" in obj["spec"]:
            obj["spec"]["policyName"] += f"-{place.namespace}"
        place.server.create(kind_of(obj), obj)
        made.append(obj)
    yield made
    for obj in made:
        with suppress(NotFoundError):
            place.server.delete(kind_of(obj), "", obj["metadata"]["name"])


def apply(place, case, number):
    """Create a case's run, which nobody reconciles; return the message that refuses it."""
    run = copy.deepcopy(case.run)
    run["metadata"] |= {"name": f"run-{number}", "namespace": place.namespace}
    if run["spec"]["managedBy"] == MANAGED_BY:
        run["spec"]["managedBy"] = place.managed_by
    try:
        place.server.create(KINDS[run["kind"]], run)
    except ClusterError as error:
        return error.message
    place.server.delete(KINDS[run["kind"]], place.namespace, f"run-{number}")
    return ""


def test_each_run_that_the_controller_would_refuse_is_refused_and_no_other(place, policies):
    place.flags()
    named = {case.name: case for case in CASES}
    number = 0

    def until_refused(name, seconds=60):
        """Wait until the server has read the policies, or the flags."""

        def so():
            nonlocal number
            number += 1
            return named[name].refused in (refusal := apply(place, named[name], number)) and refusal

        place.until(so, seconds)

    assert {obj["kind"] for obj in policies} == {
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    until_refused("sidecar")
    for flags, last in (({}, "no-flags"), (named["sidecar"].flags, "not-allowed")):
        place.server.patch(CONFIG_MAPS, place.namespace, "feature-flags", {"data": flags})
        until_refused(last)
        for case in CASES:
            if ANNOTATION in case.run["metadata"]["annotations"] and case.flags != flags:
                continue
            number += 1
            refusal = apply(place, case, number)
            assert bool(refusal) == bool(case.refused), (case.name, refusal)
            assert case.refused in refusal, case.name
            assert not refusal or "ValidatingAdmissionPolicy" in refusal
    for obj in policies:  # the expressions fit the API's types as far as the server knows them
        if obj["kind"] == "ValidatingAdmissionPolicy":
            status = place.server.get(kind_of(obj), "", obj["metadata"]["name"]).get("status", {})
            assert not status.get("typeChecking", {}).get("expressionWarnings"), status
